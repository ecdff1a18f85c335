//! From a ban to the firewall: whatever firewalld does, its sets come to hold what is banned.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::firewalld::{Fault, Firewalld};
use crate::host::{Host, becomes, own_network, until};

const HOUR: u64 = 3_600_000_000;

#[test]
fn few_bans_at_once_are_added_and_many_are_set() {
    let host = Host::new();
    let agent = host.start();
    let add = |range: std::ops::Range<u8>| {
        for n in range {
            agent.ban(&format!("198.18.0.{n}"), "", HOUR).unwrap();
        }
    };
    add(1..11);
    agent.ban("2001:db8:bad::1", "", HOUR).unwrap();
    let firewalld = Firewalld::start(&host.bus);
    agent.no_problem();
    assert_eq!(firewalld.entries().len(), 11);
    let changes = firewalld.take_changes();
    assert_eq!(changes.len(), 11);
    assert!(changes.iter().all(|call| call.starts_with("addEntry")));

    firewalld.stop();
    add(11..13);
    let firewalld = Firewalld::start(&host.bus);
    agent.no_problem();
    assert_eq!(firewalld.entries().len(), 13);
    let changes = firewalld.take_changes();
    let verbs: Vec<_> = changes
        .iter()
        .map(|call| call.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(verbs, ["setEntries banjour-ipv4", "addEntry banjour-ipv6"]);
}

/// Attackers that come while a call is under way wait for it, and then go in together.
#[test]
fn bans_that_come_while_firewalld_is_busy_go_in_together() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    agent.no_problem();
    firewalld.set_fault(Fault::Busy);
    let sources: BTreeSet<String> = (1..=100).map(|n| format!("198.18.0.{n}")).collect();
    for source in &sources {
        agent.ban(source, "", HOUR).unwrap();
    }
    firewalld.set_fault(Fault::None);
    becomes(&sources, || firewalld.entries());
    let changes = firewalld.take_changes();
    assert!(changes.len() <= 2, "{changes:?}");
    assert!(changes[changes.len() - 1].starts_with("setEntries"));
}

#[test]
fn a_prefix_takes_the_place_of_the_hosts_inside_it() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    for source in ["198.18.0.1", "198.18.0.2", "198.18.1.1"] {
        agent.ban(source, "", HOUR).unwrap();
    }
    firewalld.holds(&["198.18.0.1", "198.18.0.2", "198.18.1.1"]);
    firewalld.take_changes();

    // firewalld refuses entries that overlap.
    agent.ban("198.18.0.0/24", "", HOUR).unwrap();
    firewalld.holds(&["198.18.0.0/24", "198.18.1.1"]);
    assert_eq!(
        firewalld.take_changes(),
        [
            "removeEntry banjour-ipv4 198.18.0.1",
            "removeEntry banjour-ipv4 198.18.0.2",
            "addEntry banjour-ipv4 198.18.0.0/24"
        ]
    );
    // A host more inside it changes nothing.
    agent.ban("198.18.0.3", "", HOUR).unwrap();
    agent.ban("198.18.0.128/25", "", HOUR).unwrap();
    assert_eq!(agent.unban("198.18.0.2", ""), Ok(1));
    assert_eq!(agent.unban("198.18.0.0/24", ""), Ok(1));
    firewalld.holds(&["198.18.0.1", "198.18.0.3", "198.18.0.128/25", "198.18.1.1"]);
    agent.no_problem();
    assert_eq!(agent.banned().len(), 4);
}

#[test]
fn no_more_than_a_providers_network_is_kept_out() {
    // An address of the machine may lie in these.
    own_network();
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    for source in ["2000::/3", "2001::/15", "128.0.0.0/1", "198.0.0.0/7"] {
        let error = agent.ban(source, "", HOUR).unwrap_err();
        assert!(error.text.contains("too large"), "{}", error.text);
    }
    agent.ban("2001::/16", "", HOUR).unwrap();
    agent.ban("198.0.0.0/8", "", HOUR).unwrap();
    firewalld.holds(&["198.0.0.0/8", "2001::/16"]);
}

#[test]
fn after_a_reload_of_firewalld_every_ban_is_there_again() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    let sources = ["198.18.0.1", "198.18.0.2", "2001:db8:bad::/64"];
    for source in sources {
        agent.ban(source, "", HOUR).unwrap();
    }
    firewalld.holds(&sources);
    for _ in 0..3 {
        firewalld.reload();
        firewalld.holds(&sources);
    }
    agent.no_problem();
}

#[test]
fn after_a_restart_of_firewalld_every_ban_is_there_again() {
    let host = Host::new();
    host.configure("firewall = \"firewalld\"\n");
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    firewalld.holds(&["198.18.0.1"]);
    firewalld.stop();
    agent.one_problem("firewalld does not run");
    agent.ban("198.18.0.2", "", HOUR).unwrap();
    let firewalld = Firewalld::start(&host.bus);
    firewalld.holds(&["198.18.0.1", "198.18.0.2"]);
    agent.no_problem();
}

#[test]
fn a_host_without_firewalld_hears_so_until_it_runs() {
    let host = Host::new();
    host.configure("firewall = \"firewalld\"\n");
    let agent = host.start();
    agent.one_problem("systemctl start firewalld");
    until("STATUS= tells", || {
        host.status()
            .starts_with("firewalld does not run")
            .then_some(())
    });
    host.attempts("198.18.0.1", 3);
    becomes(&["198.18.0.1 dovecot"][..], || agent.banned());
    let signals = host.listen();
    let firewalld = Firewalld::start(&host.bus);
    firewalld.holds(&["198.18.0.1"]);
    signals.hear("PropertiesChanged Problems");
    agent.no_problem();
    until("STATUS= tells", || {
        host.status()
            .starts_with("1 ban in force; jails: dovecot, manual, postfix-sasl")
            .then_some(())
    });
}

#[test]
fn missing_sets_or_policy_are_told_with_the_command_that_brings_them() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    firewalld.forget();
    let agent = host.start();
    agent.one_problem("firewall-cmd --reload");
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    firewalld.load();
    firewalld.holds(&["198.18.0.1"]);
    agent.no_problem();
    // Sets of which no policy makes use keep nobody out.
    firewalld.forget_policy();
    firewalld.reloaded();
    agent.one_problem("firewall-cmd --reload");
    firewalld.load();
    firewalld.holds(&["198.18.0.1"]);
    agent.no_problem();
}

#[test]
fn an_error_of_firewalld_is_told_and_tried_again() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    agent.no_problem();
    firewalld.set_fault(Fault::RefusesChanges(
        "COMMAND_FAILED: 'python-nftables' failed",
    ));
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    agent.one_problem("COMMAND_FAILED: 'python-nftables' failed");
    // By itself, without any event.
    firewalld.take_changes();
    until("it is tried again", || {
        (firewalld.calls() > 2).then_some(())
    });
    firewalld.set_fault(Fault::None);
    firewalld.holds(&["198.18.0.1"]);
    agent.no_problem();
}

#[test]
fn a_firewalld_that_fails_from_the_start_is_no_end() {
    let host = Host::new();
    let firewalld =
        Firewalld::start_with(&host.bus, Fault::Refuses("UNKNOWN_ERROR: nothing works"));
    let agent = host.start();
    agent.one_problem("nothing works");
    host.attempts("198.18.0.1", 3);
    becomes(&["198.18.0.1 dovecot"][..], || agent.banned());
    firewalld.set_fault(Fault::None);
    firewalld.holds(&["198.18.0.1"]);
    agent.no_problem();
}

/// Nobody waits for the firewall: orders, evidence and the agent's end go on.
#[test]
fn a_firewalld_that_never_answers_holds_up_nobody() {
    let host = Host::new();
    let firewalld = Firewalld::start_with(&host.bus, Fault::Silent);
    let agent = host.start();
    until("it is asked", || (firewalld.calls() > 0).then_some(()));
    let begin = Instant::now();
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    host.attempts("198.18.0.2", 3);
    becomes(&["198.18.0.1 manual", "198.18.0.2 dovecot"][..], || {
        agent.banned()
    });
    assert_eq!(agent.unban("198.18.0.1", ""), Ok(1));
    assert_eq!(agent.totals(), (3, 2));
    agent.reload().unwrap();
    assert!(host.banjour(&["status"]).status.success());
    assert!(agent.stop().success());
    assert!(begin.elapsed() < Duration::from_secs(10));
}

/// Signals that nobody looks at yet do not stop the bus' others.
#[test]
fn many_reloads_of_a_firewalld_that_hangs_hold_up_nobody() {
    let host = Host::new();
    let firewalld = Firewalld::start_with(&host.bus, Fault::Silent);
    let agent = host.start();
    until("it is asked", || (firewalld.calls() > 0).then_some(()));
    for _ in 0..300 {
        firewalld.reloaded();
    }
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    assert_eq!(agent.banned(), ["198.18.0.1 manual"]);
    firewalld.stop();
    let firewalld = Firewalld::start(&host.bus);
    firewalld.holds(&["198.18.0.1"]);
}

#[test]
fn a_firewalld_that_hangs_is_forgotten_when_another_runs() {
    let host = Host::new();
    let firewalld = Firewalld::start_with(&host.bus, Fault::Silent);
    let agent = host.start();
    until("it is asked", || (firewalld.calls() > 0).then_some(()));
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    firewalld.stop();
    let firewalld = Firewalld::start(&host.bus);
    firewalld.holds(&["198.18.0.1"]);
    agent.no_problem();
}

/// Whatever happens in whatever order, the sets come to hold what is wanted.
#[test]
fn reloads_of_firewalld_in_the_midst_of_bans_lose_none() {
    let host = Host::new();
    let firewalld = Firewalld::start_with(&host.bus, Fault::Slow(Duration::from_millis(2)));
    let agent = host.start();
    let mut wanted = BTreeSet::new();
    for n in 0..120 {
        let source = format!("198.18.0.{n}");
        agent.ban(&source, "", HOUR).unwrap();
        wanted.insert(source);
        if n % 7 == 3 {
            firewalld.reload();
        }
        if n % 5 == 4 {
            let source = format!("198.18.0.{}", n - 2);
            agent.unban(&source, "").unwrap();
            wanted.remove(&source);
        }
    }
    becomes(&wanted, || firewalld.entries());
    agent.no_problem();
}

#[test]
fn a_ban_ends_by_itself() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    let signals = host.listen();
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    agent.ban("198.18.0.2", "dovecot", 1_000_000).unwrap();
    firewalld.holds(&["198.18.0.1", "198.18.0.2"]);
    signals.hear("BanRemoved 198.18.0.2 dovecot expired");
    firewalld.holds(&["198.18.0.1"]);
    assert_eq!(agent.banned(), ["198.18.0.1 manual"]);
}

#[test]
fn a_source_is_out_of_the_firewall_only_when_its_last_ban_ends() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    let signals = host.listen();
    agent.ban("198.18.0.1", "dovecot", 500_000).unwrap();
    agent.ban("198.18.0.1", "manual", 1_500_000).unwrap();
    signals.hear("BanRemoved 198.18.0.1 dovecot expired");
    firewalld.holds(&["198.18.0.1"]);
    signals.hear("BanRemoved 198.18.0.1 manual expired");
    firewalld.holds(&[]);
    assert_eq!(
        firewalld.take_changes(),
        [
            "addEntry banjour-ipv4 198.18.0.1",
            "removeEntry banjour-ipv4 198.18.0.1"
        ]
    );
}

/// What somebody put into the sets that are banjour's, or what an agent left there that was killed, goes.
#[test]
fn the_sets_hold_nothing_else() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    firewalld.put("banjour-ipv4", "198.18.0.9");
    firewalld.put("banjour-ipv6", "2001:db8:bad::/64");
    let agent = host.start();
    firewalld.holds(&[]);
    firewalld.put("banjour-ipv4", "198.18.0.0/24");
    firewalld.reloaded();
    firewalld.holds(&[]);
    // It is in the way of a host inside it, too.
    firewalld.put("banjour-ipv4", "198.18.0.0/24");
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    firewalld.holds(&["198.18.0.1"]);
    agent.no_problem();
}
