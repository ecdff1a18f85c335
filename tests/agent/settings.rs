//! Configuration: taken into force at start and by a reload, refused as a whole when a part is wrong.

use std::process::ExitStatus;

use nix::sys::signal::Signal;

use crate::daemon::Agent;
use crate::firewalld::Firewalld;
use crate::host::{Host, becomes, until};
use crate::journal::Entry;

const HOUR: u64 = 3_600_000_000;

fn jails(agent: &Agent<'_>) -> Vec<String> {
    agent.run(agent.manager().jails()).unwrap()
}

/// Starts an agent that must not start; returns how it ended.
fn refused(host: &Host) -> ExitStatus {
    let mut agent = host.launch(&[]);
    let end = agent.wait();
    assert!(!host.notified("READY=1"));
    end
}

#[test]
fn a_faulty_configuration_is_one_line_and_no_start() {
    let host = Host::new();
    for (text, parts) in [
        ("nonsense\n", &["banjour.toml:1"][..]),
        ("\nbans = 1\n", &["banjour.toml:2", "bans"]),
        (
            "[jail.dovecot]\nattempts = 0\n",
            &["banjour.toml:2", "attempts", "0", "from 1 to"],
        ),
        (
            "[jail.dovecot]\nwindow = \"soon\"\n",
            &["banjour.toml:2", "window", "\"soon\"", "60min"],
        ),
        (
            "ignore = [\"mail\"]\n",
            &[
                "banjour.toml:1",
                "ignore",
                "\"mail\"",
                "192.0.2.7",
                "office.example",
            ],
        ),
        (
            "[jail.x]\nfilters = [\"exim\"]\n",
            &[
                "banjour.toml",
                "\"exim\"",
                "dovecot, dovecot-probe, postfix-probe, postfix-reject, postfix-sasl, saslauthd",
            ],
        ),
    ] {
        host.configure(text);
        assert!(!refused(&host).success(), "{text}");
        let stderr = host.stderr();
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        for part in parts {
            assert!(stderr.contains(part), "{part}: {stderr}");
        }
    }
    host.configure("");
    host.start();
}

#[test]
fn drop_ins_are_laid_over_in_order() {
    let host = Host::new();
    host.configure("[jail.dovecot]\nattempts = 4\n");
    host.write(
        "usr/lib/banjour/banjour.toml.d/10-a.toml",
        "[jail.dovecot]\nattempts = 5\nwindow = \"2h\"\n",
    );
    host.write(
        "etc/banjour/banjour.toml.d/20-b.toml",
        "[jail.dovecot]\nattempts = 6\n",
    );
    let agent = host.start();
    let jail = agent.jail("dovecot");
    assert_eq!(agent.run(jail.attempts()), Ok(6));
    assert_eq!(agent.run(jail.window_usec()), Ok(2 * HOUR));
    // The admin's file hides the vendor's of the same name.
    host.write("etc/banjour/banjour.toml.d/10-a.toml", "");
    agent.reload().unwrap();
    assert_eq!(agent.run(jail.window_usec()), Ok(HOUR));
}

#[test]
fn jails_come_and_go_by_a_reload_and_their_objects_with_them() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    let signals = host.listen();
    assert_eq!(jails(&agent), ["dovecot", "manual", "postfix-sasl"]);
    agent.ban("198.18.0.1", "postfix-sasl", HOUR).unwrap();
    agent.ban("198.18.0.2", "dovecot", HOUR).unwrap();
    firewalld.holds(&["198.18.0.1", "198.18.0.2"]);

    host.configure(
        "[jail.postfix-sasl]\nenabled = false\n[jail.my_jail]\nfilters = [\"dovecot\"]\n",
    );
    agent.reload().unwrap();
    let heard = signals.hear("BanRemoved 198.18.0.1 postfix-sasl jail-removed");
    assert!(
        heard.contains(&"PropertiesChanged Jails".to_owned())
            || !signals.hear("PropertiesChanged Jails").is_empty()
    );
    assert_eq!(jails(&agent), ["dovecot", "manual", "my_jail"]);
    firewalld.holds(&["198.18.0.2"]);
    until("the new jail's object is there", || {
        agent.run(agent.jail("my_jail").name()).ok()
    });
    until("the old jail's object is gone", || {
        agent.run(agent.jail("postfix-sasl").name()).err()
    });
    host.attempts("198.18.0.3", 3);
    becomes(
        &[
            "198.18.0.2 dovecot",
            "198.18.0.3 dovecot",
            "198.18.0.3 my_jail",
        ][..],
        || agent.banned(),
    );

    // And back again: it remembers its totals, and lifted bans stay lifted.
    host.configure("");
    agent.reload().unwrap();
    let jail = agent.jail("postfix-sasl");
    until("the old jail's object is there", || {
        agent.run(jail.total_banned()).ok()
    });
    assert_eq!(agent.run(jail.total_banned()), Ok(1));
    assert_eq!(agent.run(jail.currently_banned()), Ok(0));
}

#[test]
fn a_reload_changes_rules_and_keeps_bans_and_counts() {
    let host = Host::new();
    host.configure("[jail.dovecot]\nattempts = 5\n");
    let agent = host.start();
    host.attempts("198.18.0.1", 5);
    host.attempts("198.18.0.2", 2);
    becomes(&["198.18.0.1 dovecot"][..], || agent.banned());
    let bans = agent.bans();
    host.configure("[jail.dovecot]\nattempts = 3\nban-time = \"1min\"\n");
    agent.reload().unwrap();
    host.attempts("198.18.0.2", 1);
    becomes(&["198.18.0.1 dovecot", "198.18.0.2 dovecot"][..], || {
        agent.banned()
    });
    assert_eq!(
        agent.bans()[0],
        bans[0],
        "a ban in force lasts as it was made"
    );
    assert_eq!(agent.bans()[1].3 - agent.bans()[1].2, 60_000_000);
    assert_eq!(agent.totals(), (8, 2), "nothing is counted twice");
}

#[test]
fn a_new_jail_knows_what_happened_in_its_window() {
    let host = Host::new();
    let agent = host.start();
    host.attempts("198.18.0.1", 2);
    host.attempts("198.18.0.2", 1);
    becomes(&3, || agent.totals().0);
    host.configure("[jail.late]\nfilters = [\"dovecot\"]\n[jail.dovecot]\nattempts = 9\n");
    agent.reload().unwrap();
    host.attempts("198.18.0.1", 1);
    becomes(&["198.18.0.1 late"][..], || agent.banned());
    // What was before it is known to it, but was not its own.
    let late = agent.jail("late");
    assert_eq!(agent.run(late.total_failed()), Ok(1));
    assert_eq!(agent.run(late.currently_failed()), Ok(1));
    assert_eq!(agent.totals().0, 4);
}

#[test]
fn who_is_ignored_from_now_on_is_free() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    let signals = host.listen();
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    agent.ban("198.18.0.0/16", "", HOUR).unwrap();
    agent.ban("198.19.0.1", "", HOUR).unwrap();
    host.configure("ignore = [\"198.18.0.0/24\"]\n");
    agent.reload().unwrap();
    signals.hear("BanRemoved 198.18.0.1 manual ignored");
    firewalld.holds(&["198.19.0.1"]);
}

#[test]
fn a_faulty_reload_changes_nothing_and_says_so() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    host.configure("[jail.dovecot]\nattempts = 2\n");
    let agent = host.start();
    becomes(&[""; 0][..], || agent.problems());
    agent.ban("198.18.0.1", "postfix-sasl", HOUR).unwrap();

    host.configure("[jail.dovecot]\nattempts = 9\n[jail.postfix-sasl]\nenabled = 7\n");
    let refusal = agent.reload().unwrap_err();
    assert_eq!(refusal.name, "ReloadFailed");
    assert!(
        refusal.text.contains("banjour.toml:4") && refusal.text.lines().count() == 1,
        "{}",
        refusal.text
    );
    let problems = agent.problems();
    assert!(
        problems.len() == 1 && problems[0].contains("banjour.toml:4"),
        "{problems:?}"
    );
    until("STATUS= tells", || {
        host.status().contains("banjour.toml:4").then_some(())
    });
    host.attempts("198.18.0.2", 2);
    becomes(
        &["198.18.0.1 postfix-sasl", "198.18.0.2 dovecot"][..],
        || agent.banned(),
    );
    firewalld.holds(&["198.18.0.1", "198.18.0.2"]);

    host.configure("");
    agent.reload().unwrap();
    assert_eq!(agent.problems(), [""; 0]);
}

#[test]
fn sighup_reloads() {
    let host = Host::new();
    let agent = host.start();
    host.configure("[jail.dovecot]\nattempts = 7\n");
    agent.signal(Signal::SIGHUP);
    let jail = agent.jail("dovecot");
    becomes(&7, || agent.run(jail.attempts()).unwrap());
    host.configure("nonsense\n");
    agent.signal(Signal::SIGHUP);
    until("the fault is told", || {
        agent
            .problems()
            .iter()
            .any(|problem| problem.contains("banjour.toml:1"))
            .then_some(())
    });
    assert_eq!(agent.run(jail.attempts()), Ok(7));
}

/// Again and again while evidence comes in: nothing is lost, nothing is counted twice.
#[test]
fn reloads_in_the_midst_of_an_attack_lose_nothing() {
    let host = Host::new();
    let agent = host.start();
    for n in 0..300 {
        host.journal
            .write(&Entry::imap(&format!("198.18.{}.1", n % 100), 1));
        if n % 20 == 7 {
            agent.reload().unwrap();
        }
    }
    becomes(&(300, 100), || agent.totals());
    agent.catches_up();
    assert_eq!(agent.totals(), (1300, 101));
    assert_eq!(agent.banned().len(), 100);
}

#[test]
fn an_admins_filter_is_used_in_the_place_of_the_shipped_one() {
    let host = Host::new();
    host.write(
        "etc/banjour/filters/mine.toml",
        "description = \"x\"\nunits = [\"mine.service\"]\nusers = [\"root\"]\n\
         [[pattern]]\nname = \"x\"\nkind = \"front\"\nregex = '^bad login from (?<address>[0-9a-f.:]+)$'\n",
    );
    host.configure("[jail.mine]\nfilters = [\"mine\"]\n");
    let agent = host.start();
    for _ in 0..3 {
        let line = Entry::of("mine.service", 0, "bad login from 198.18.0.1");
        host.journal.write(&line);
    }
    becomes(&["198.18.0.1 mine"][..], || agent.banned());
}
