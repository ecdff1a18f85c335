//! Who is never banned: files, the host's own addresses, private networks; and what is told of those who try.

use std::fs;
use std::os::unix::fs::symlink;

use crate::daemon::Agent;
use crate::firewalld::Firewalld;
use crate::host::{Host, becomes, ip, own_network, until};
use crate::journal::Entry;

const HOUR: u64 = 3_600_000_000;

/// Why a source can't be banned, or that it can.
pub(crate) fn why(agent: &Agent<'_>, source: &str) -> String {
    match agent.ban(source, "", HOUR) {
        Ok(()) => {
            agent.unban(source, "").unwrap();
            "it can".to_owned()
        }
        Err(refusal) => {
            assert_eq!(refusal.name, "SourceIgnored");
            refusal.text
        }
    }
}

/// Whether it is never banned.
pub(crate) fn ignored(agent: &Agent<'_>, source: &str) -> bool {
    why(agent, source) != "it can"
}

/// Waits until there is a problem that says all this.
#[track_caller]
pub(crate) fn has_problem(agent: &Agent<'_>, parts: &[&str]) {
    until(&format!("a problem with {parts:?}"), || {
        let problems = agent.problems();
        let tells = |problem: &String| parts.iter().all(|part| problem.contains(part));
        problems.iter().any(tells).then_some(())
    });
}

/// Waits until there is none.
#[track_caller]
pub(crate) fn has_no_problem(agent: &Agent<'_>) {
    becomes(&[""; 0][..], || agent.problems());
}

#[test]
fn an_ignored_source_is_counted_and_told_of_once_and_not_banned() {
    let host = Host::new();
    host.configure("ignore = [\"198.18.7.0/24\"]\n[jail.twice]\nfilters = [\"dovecot\"]\nattempts = 2\nwindow = \"1s\"\n");
    let agent = host.start();
    let signals = host.listen();
    host.attempts("198.18.7.1", 20);
    host.attempts("198.18.7.2", 3);
    agent.catches_up();
    let mut heard = signals.hear("BanRemoved 203.0.113.200 dovecot unbanned");
    heard.retain(|signal| signal.starts_with("BanIgnored"));
    let of_dovecot = |signal: &&String| signal.contains(" dovecot ");
    assert_eq!(
        heard.iter().filter(of_dovecot).collect::<Vec<_>>(),
        [
            "BanIgnored 198.18.7.1 dovecot 3 bob",
            "BanIgnored 198.18.7.2 dovecot 3 bob"
        ]
    );
    assert!(heard.contains(&"BanIgnored 198.18.7.2 twice 2 bob".to_owned()));
    assert_eq!(agent.banned(), [""; 0]);
    let jail = agent.jail("dovecot");
    assert_eq!(agent.run(jail.total_failed()), Ok(1023));
    assert_eq!(agent.run(jail.currently_failed()), Ok(2));
    assert_eq!(
        why(&agent, "198.18.7.1"),
        "198.18.7.1 is never banned: 198.18.7.0/24 stands in \"ignore\""
    );

    // What is read again after a restart was told; and who is ignored no more is banned by the next attempt.
    agent.stop();
    let agent = host.start();
    let signals = host.listen();
    agent.catches_up();
    host.configure("");
    agent.reload().unwrap();
    host.attempts("198.18.7.1", 1);
    let heard = signals.hear("BanNew 198.18.7.1 dovecot");
    assert!(
        !heard.iter().any(|signal| signal.starts_with("BanIgnored")),
        "{heard:?}"
    );
}

/// A monitoring host connects, may speak TLS, and goes.
#[test]
fn who_connects_and_never_logs_in_is_not_counted() {
    let host = Host::new();
    let agent = host.start();
    for message in [
        "imap-login: Disconnected: Connection closed (no auth attempts in 0 secs): user=<>, rip=198.18.0.1, lip=192.0.2.2, session=<x>",
        "imap-login: Login aborted: Logged out (no auth attempts in 0 secs) (no_auth_attempts): user=<>, rip=198.18.0.1, lip=192.0.2.2, TLS, session=<x>",
        "imap-login: Disconnected: Aborted login by logging out (no auth attempts in 0 secs): user=<>, rip=198.18.0.1, lip=192.0.2.2, TLS, session=<x>",
    ] {
        for _ in 0..5 {
            host.journal
                .write(&Entry::of("dovecot.service", 0, message));
        }
    }
    agent.catches_up();
    assert_eq!(agent.totals().0, 1000);
    assert_eq!(agent.run(agent.jail("dovecot").currently_failed()), Ok(0));
}

#[test]
fn files_are_followed_however_they_change() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    host.configure("ignore = [\"/etc/banjour/office\", \"/srv/lists/partners\"]\n");
    host.write("etc/banjour/office", "# ours\n198.18.0.0/24\n");
    let agent = host.start();
    let signals = host.listen();
    assert_eq!(
        why(&agent, "198.18.0.1"),
        "198.18.0.1 is never banned: 198.18.0.0/24 stands in /etc/banjour/office:2"
    );
    has_problem(
        &agent,
        &[
            "/srv/lists/partners: No such file",
            "nobody is ignored by it",
        ],
    );
    until("STATUS= tells", || {
        host.status().contains("/srv/lists/partners").then_some(())
    });

    // Its directory comes, and then the file.
    agent.ban("198.18.1.1", "", HOUR).unwrap();
    agent.ban("198.18.2.1", "", HOUR).unwrap();
    firewalld.holds(&["198.18.1.1", "198.18.2.1"]);
    host.write("srv/lists/partners", "198.18.1.1\n");
    signals.hear("BanRemoved 198.18.1.1 manual ignored");
    firewalld.holds(&["198.18.2.1"]);
    has_no_problem(&agent);

    // Editors write another file and rename it.
    host.write(
        "srv/lists/.new",
        "198.18.2.0/24\n198.18.3\nmail\n\n# x\n2001:db8::/32\n",
    );
    fs::rename(host.path("srv/lists/.new"), host.path("srv/lists/partners")).unwrap();
    signals.hear("BanRemoved 198.18.2.1 manual ignored");
    has_problem(
        &agent,
        &[
            "/srv/lists/partners:2: \"198.18.3\" is not",
            "/srv/lists/partners:3: \"mail\"",
        ],
    );
    assert!(ignored(&agent, "2001:db8::7"));
    assert!(!ignored(&agent, "198.18.1.1"), "it is not listed any more");

    // What is gone keeps its last good content.
    fs::remove_file(host.path("srv/lists/partners")).unwrap();
    has_problem(
        &agent,
        &["/srv/lists/partners: No such file", "2 entries known of it"],
    );
    assert!(ignored(&agent, "198.18.2.1"));

    // The configuration is a link, to be changed as a whole.
    for (version, source) in [("one", "198.18.4.1"), ("two", "198.18.5.1")] {
        host.write(&format!("srv/{version}/partners"), source);
    }
    fs::remove_dir(host.path("srv/lists")).unwrap();
    symlink("one", host.path("srv/lists")).unwrap();
    until("the first version", || {
        ignored(&agent, "198.18.4.1").then_some(())
    });
    symlink("two", host.path("srv/next")).unwrap();
    fs::rename(host.path("srv/next"), host.path("srv/lists")).unwrap();
    until("the second version", || {
        ignored(&agent, "198.18.5.1").then_some(())
    });
    assert!(!ignored(&agent, "198.18.4.1"));
    has_no_problem(&agent);
}

#[test]
fn the_hosts_own_addresses_are_followed() {
    own_network();
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    ip(&["address", "add", "198.18.0.1/32", "dev", "lo"]);
    let agent = host.start();
    let signals = host.listen();
    assert_eq!(
        why(&agent, "198.18.0.1"),
        "198.18.0.1 is never banned: 198.18.0.1 is an address of this host"
    );
    agent.ban("198.18.0.2", "", HOUR).unwrap();
    agent.ban("2001:db8:1::/64", "", HOUR).unwrap();
    firewalld.holds(&["198.18.0.2", "2001:db8:1::/64"]);

    ip(&["address", "add", "198.18.0.2/32", "dev", "lo"]);
    signals.hear("BanRemoved 198.18.0.2 manual ignored");
    ip(&["address", "add", "2001:db8:1::1/128", "dev", "lo"]);
    signals.hear("BanRemoved 2001:db8:1::/64 manual ignored");
    firewalld.holds(&[]);
    ip(&["address", "delete", "198.18.0.1/32", "dev", "lo"]);
    until("a former own address can be banned", || {
        (!ignored(&agent, "198.18.0.1")).then_some(())
    });
}

/// Who shares a /64 with the host, or with an address on the list, is no part of it.
#[test]
fn the_neighbours_of_who_is_ignored_are_not() {
    own_network();
    let host = Host::new();
    ip(&["address", "add", "2001:db8:1::1/128", "dev", "lo"]);
    host.configure("ignore = [\"2001:db8:2::1\"]\n");
    let agent = host.start();
    // From any of its addresses, a stranger is one client, …
    for n in 1..=3 {
        host.attempts(&format!("2001:db8:3::{n}"), 1);
    }
    // … and so is a neighbour, but for the part of the network that is the host's.
    for n in 1..=3 {
        host.attempts(&format!("2001:db8:1:0:8000::{n}"), 1);
    }
    host.attempts("2001:db8:2::2", 3);
    host.attempts("2001:db8:2::1", 3);
    host.attempts("2001:db8:1::1", 3);
    agent.catches_up();
    let banned = [
        "2001:db8:1:0:8000::/65 dovecot",
        "2001:db8:2::2/127 dovecot",
        "2001:db8:3::/64 dovecot",
    ];
    assert_eq!(agent.banned(), banned);
    assert_eq!(agent.run(agent.jail("dovecot").total_failed()), Ok(1015));
    // An address speaks for the network that it was banned with.
    assert_eq!(agent.unban("2001:db8:1:0:8000::77", ""), Ok(1));
}

#[test]
fn private_networks_are_a_switch() {
    let host = Host::new();
    let agent = host.start();
    for source in ["10.1.2.3", "192.168.1.1", "fd00::1"] {
        assert!(!ignored(&agent, source), "{source}");
        agent.ban(source, "", HOUR).unwrap();
    }
    host.configure("ignore-private = true\n");
    agent.reload().unwrap();
    assert_eq!(agent.banned(), [""; 0]);
    assert!(why(&agent, "172.16.0.1").contains("\"ignore-private\""));
    assert!(!ignored(&agent, "100.64.0.1"));
}

#[test]
fn a_replay_bans_nobody_who_is_ignored_and_says_what_it_does_not_know() {
    let host = Host::new();
    for n in 1..=5 {
        host.attempts(&format!("198.18.0.{n}"), 3);
    }
    let list = host.path("list");
    fs::write(&list, "198.18.0.2\nb.example\n").unwrap();
    let config = host.path("try.toml");
    let text = format!("ignore = [\"198.18.0.1\", {list:?}, \"a.example\"]\n");
    fs::write(&config, text).unwrap();
    fs::write(
        host.state().join("names.json"),
        "{\"a.example\": [\"198.18.0.3\"]}",
    )
    .unwrap();
    let findings = until("the journal is read", || {
        let out = host
            .command(env!("CARGO_BIN_EXE_banjour"))
            .args(["replay", "--json", "--directory"])
            .arg(host.journal.directory())
            .arg("--config")
            .arg(&config)
            .env("STATE_DIRECTORY", host.state())
            .output()
            .unwrap();
        let stderr = String::from_utf8(out.stderr).unwrap();
        assert!(
            out.status.success() && stderr.contains("b.example is left out"),
            "{stderr}"
        );
        let findings: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        (findings["entries"] == 15).then_some(findings)
    });
    let bans = findings["bans"].as_array().unwrap();
    let sources: Vec<_> = bans
        .iter()
        .map(|ban| ban["source"].as_str().unwrap())
        .collect();
    assert_eq!(sources, ["198.18.0.4", "198.18.0.5"]);
    assert_eq!(findings["failures"], 15);
}
