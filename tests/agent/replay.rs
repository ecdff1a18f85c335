//! `banjour replay` and `banjour test`, which ask no agent.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::host::{Host, until};
use crate::journal::{Entry, now};

const MINUTE: u64 = 60_000_000;
/// A system account of the host that the journal comes from, and a person's there.
const SOME_DAEMON: u32 = 110;
const SOMEBODY: u32 = 1000;

/// The findings, when all `entries` can be read: the journal is written by another process.
fn replay(host: &Host, entries: u64, arguments: &[&str]) -> Value {
    let directory = host.journal.directory().display().to_string();
    let mut all = vec!["replay", "--json", "--directory", &directory];
    all.extend(arguments);
    until("all entries are in the journal", || {
        let out = host.banjour(&all);
        assert!(out.status.success(), "{out:?}");
        let findings: Value = serde_json::from_slice(&out.stdout).unwrap();
        (findings["entries"] == entries).then_some(findings)
    })
}

fn smtpd(uid: u32, source: &str) -> Entry {
    Entry {
        uid,
        ..Entry::smtpd("postfix@-.service", source)
    }
}

#[test]
fn each_attempt_is_counted_once_and_bans_are_told_with_their_times() {
    let host = Host::new();
    let start = now() - 120 * MINUTE;
    for minute in 0..3 {
        host.journal
            .write_at(start + minute * MINUTE, &Entry::pam("198.18.0.1"));
    }
    host.journal
        .write_at(start + 3 * MINUTE, &Entry::imap("198.18.0.1", 3));
    host.journal
        .write_at(start + 4 * MINUTE, &Entry::imap("2001:db8:bad::1", 2));
    let findings = replay(&host, 5, &[]);
    assert_eq!(findings["failures"], 5);
    assert_eq!(findings["matched"], 5);
    assert_eq!(
        findings["sources"],
        json!([
            {"source": "198.18.0.1", "failures": 3, "successes": 0, "users": ["bob"]},
            {"source": "2001:db8:bad::/64", "failures": 2, "successes": 0, "users": ["bob"]},
        ])
    );
    let third = start + 2 * MINUTE;
    assert_eq!(
        findings["bans"],
        json!([{
            "source": "198.18.0.1",
            "jail": "dovecot",
            "at_usec": third,
            "until_usec": third + 60 * MINUTE,
            "failures": 3,
        }])
    );
}

#[test]
fn another_hosts_daemons_are_believed_and_its_people_are_not() {
    let host = Host::new();
    for uid in [SOME_DAEMON, SOMEBODY, 0] {
        host.journal
            .write(&smtpd(uid, &format!("198.18.1.{}", uid % 200)));
    }
    let findings = replay(&host, 3, &[]);
    let sources = findings["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 1, "{findings}");
    assert_eq!(sources[0]["source"], "198.18.1.110");
}

/// PAM does not know carol, and the database that is asked next lets her in.
#[test]
fn a_login_takes_back_what_a_database_said_that_does_not_know_the_name() {
    let host = Host::new();
    let dovecot = |message: &str| Entry::of("dovecot.service", 0, message);
    let pam = dovecot(
        "pam_unix(dovecot:auth): authentication failure; logname= uid=0 euid=0 tty=dovecot ruser=carol \
         rhost=198.18.0.1",
    );
    let login = dovecot(
        "imap-login: Login: user=<carol>, method=PLAIN, rip=198.18.0.1, lip=192.0.2.2, mpid=7, session=<x>",
    );
    for _ in 0..4 {
        host.journal.write(&pam);
        host.journal.write(&login);
    }
    host.journal.write(&Entry::imap("198.18.0.1", 1));
    let findings = replay(&host, 9, &[]);
    let source = &findings["sources"][0];
    assert_eq!(
        (&source["failures"], &source["successes"]),
        (&json!(1), &json!(4))
    );
    assert_eq!(findings["bans"], json!([]));
}

#[test]
fn a_part_of_the_journal_and_other_settings_may_be_tried() {
    let host = Host::new();
    let start = now() / MINUTE * MINUTE - 300 * MINUTE;
    for hour in 0..4 {
        host.journal
            .write_at(start + hour * 60 * MINUTE, &Entry::imap("198.18.0.1", 1));
    }
    let seconds = |usec: u64| format!("@{}", usec / 1_000_000);
    let (second, third) = (seconds(start + 30 * MINUTE), seconds(start + 130 * MINUTE));
    replay(&host, 4, &[]);
    let part = replay(&host, 2, &["--since", &second, "--until", &third]);
    assert_eq!(part["failures"], 2);

    host.configure("[jail.dovecot]\nattempts = 2\nwindow = \"2h\"\nban-time = \"30min\"");
    let file = host.path("etc/banjour/banjour.toml").display().to_string();
    let other = replay(&host, 4, &["--config", &file]);
    let bans = other["bans"].as_array().unwrap();
    assert_eq!(bans.len(), 2, "{other}");
    assert_eq!(bans[0]["at_usec"], start + 60 * MINUTE);
}

#[test]
fn what_looks_like_a_failure_and_is_known_to_no_filter_is_shown_once_for_each_shape() {
    let host = Host::new();
    for n in 1..=3 {
        let message = format!("frobnicator: login denied for 198.18.0.{n}");
        host.journal
            .write(&Entry::of("dovecot.service", 0, &message));
    }
    host.journal.write(&Entry::of(
        "dovecot.service",
        0,
        "master: all is well at 198.18.0.9",
    ));
    let findings = replay(&host, 4, &[]);
    assert_eq!(
        findings["unmatched"],
        json!([{"message": "frobnicator: login denied for 198.18.0.1", "count": 3}])
    );
}

#[test]
fn a_replay_that_cannot_be_says_why() {
    let host = Host::new();
    for (arguments, expected) in [
        (["--directory", "/nonexistent"], "No such file"),
        (["--config", "/nonexistent"], "/nonexistent: No such file"),
        (["--since", "soon"], "is not a time such as"),
    ] {
        let out = host.banjour(&[&["replay"], &arguments[..]].concat());
        let error = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && error.contains(expected), "{error}");
    }
}

#[test]
fn messages_are_explained_one_by_one() {
    let host = Host::new();
    let mut command = host.command(env!("CARGO_BIN_EXE_banjour"));
    command
        .args(["test", "--json", "--filter", "dovecot"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let good = Entry::imap("198.18.0.1", 3).message;
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"Nov 22 14:53:37 mail dovecot: ").unwrap();
    input.write_all(&good).unwrap();
    let entry = json!({"MESSAGE": good, "_SYSTEMD_UNIT": "user@1000.service", "_UID": "0"});
    write!(input, "\n{entry}\nimap-login: x\n").unwrap();
    drop(input);
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{out:?}");
    let lines: Vec<Value> = String::from_utf8(out.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["filters"][0]["captures"]["address"], "198.18.0.1");
    assert_eq!(lines[0]["filters"][0]["kind"], "front");
    assert_eq!(lines[1]["filters"][0]["believed"], false);
    assert_eq!(lines[2]["filters"][0]["stopped"], "imap-login: ".len());
}
