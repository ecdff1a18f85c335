//! Host names in `ignore`, which systemd-resolved resolves.

use std::time::{Duration, Instant};

use crate::firewalld::Firewalld;
use crate::host::{Host, until};
use crate::ignore::{has_no_problem, has_problem, ignored, why};
use crate::resolved::Resolved;

const HOUR: u64 = 3_600_000_000;

/// `SD_RESOLVED_DNS` and `SD_RESOLVED_NO_SEARCH`.
const FLAGS: u64 = 0x101;

#[test]
fn names_mean_the_addresses_that_resolved_says_of_both_families() {
    let host = Host::new();
    let _firewalld = Firewalld::start(&host.bus);
    let office = ("office.example", &["198.18.0.1", "2001:db8::7"][..]);
    let resolved = Resolved::start(&host.bus, &[office]);
    host.configure("ignore = [\"Office.Example\"]\n");
    let agent = host.start();
    until("it is resolved", || {
        ignored(&agent, "198.18.0.1").then_some(())
    });
    assert_eq!(
        why(&agent, "2001:db8::7"),
        "2001:db8::7 is never banned: 2001:db8::7 is office.example, which stands in \"ignore\""
    );
    assert_eq!(resolved.asked()[0], ("office.example".to_owned(), 0, FLAGS));

    // It has another address, and those whom it had before are strangers.
    let signals = host.listen();
    agent.ban("198.18.0.2", "", HOUR).unwrap();
    resolved.set("office.example", &["198.18.0.2"]);
    agent.reload().unwrap();
    signals.hear("BanRemoved 198.18.0.2 manual ignored");
    assert!(!ignored(&agent, "198.18.0.1"));

    // The name is gone: the last good answer stays, over a restart and without any resolver, too.
    resolved.forget("office.example");
    agent.reload().unwrap();
    has_problem(
        &agent,
        &[
            "cannot resolve office.example",
            "\"office.example\" not found",
            "stay ignored",
        ],
    );
    assert!(ignored(&agent, "198.18.0.2"));
    resolved.stop();
    agent.stop();
    let agent = host.start();
    assert!(ignored(&agent, "198.18.0.2"));
    has_problem(
        &agent,
        &["systemd-resolved", "enable --now", "stay ignored"],
    );

    // Once it runs, it is asked.
    let _resolved = Resolved::start(&host.bus, &[office]);
    until("it is resolved", || {
        ignored(&agent, "198.18.0.1").then_some(())
    });
    has_no_problem(&agent);
}

#[test]
fn a_name_without_an_answer_keeps_no_other_waiting() {
    let host = Host::new();
    let _firewalld = Firewalld::start(&host.bus);
    let names = [
        ("b.example", &["198.18.0.2"][..]),
        ("c.example", &["198.18.0.3"]),
    ];
    let resolved = Resolved::start(&host.bus, &names);
    resolved.silence("a.example");
    host.write("etc/banjour/names", "a.example\nb.example\n");
    host.configure("ignore = [\"/etc/banjour/names\", \"c.example\"]\n");
    let agent = host.start();
    for source in ["198.18.0.2", "198.18.0.3"] {
        until(source, || ignored(&agent, source).then_some(()));
    }
    assert_eq!(agent.problems(), [""; 0]);
    assert_eq!(resolved.asked().len(), 3);

    // Nor one that is listed now.
    resolved.set("d.example", &["198.18.0.4"]);
    host.write("etc/banjour/names", "a.example\nd.example\n");
    let start = Instant::now();
    until("the new name is resolved", || {
        ignored(&agent, "198.18.0.4").then_some(())
    });
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn without_a_resolver_that_is_one_problem() {
    let host = Host::new();
    let _firewalld = Firewalld::start(&host.bus);
    host.configure("ignore = [\"a.example\", \"b.example\"]\n");
    let agent = host.start();
    has_problem(
        &agent,
        &[
            "systemd-resolved",
            "a.example (nobody is ignored by it)",
            "b.example",
        ],
    );
    assert_eq!(agent.problems().len(), 1);
    host.configure("");
    agent.reload().unwrap();
    has_no_problem(&agent);
}

#[test]
fn no_more_names_are_asked_for_than_the_bus_lets_wait() {
    let host = Host::new();
    let _firewalld = Firewalld::start(&host.bus);
    let resolved = Resolved::start(&host.bus, &[("n01.example", &["198.18.0.1"])]);
    let names: Vec<_> = (1..=66).map(|n| format!("n{n:02}.example")).collect();
    host.write("etc/banjour/names", &names.join("\n"));
    host.configure("ignore = [\"/etc/banjour/names\"]\n");
    let agent = host.start();
    has_problem(
        &agent,
        &["more than 64 host names, ignoring 2 of them, the first n65.example"],
    );
    until("the others are resolved", || {
        ignored(&agent, "198.18.0.1").then_some(())
    });
    assert_eq!(resolved.asked().len(), 64);
}
