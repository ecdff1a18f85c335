//! What the agent can't see, it tells; and `banjour check` tells it again.

use serde_json::Value;

use crate::firewalld::Firewalld;
use crate::host::{Host, until};
use crate::journal::{Entry, now};

const DROPPED: &str = "a596d6fe7bfa4994828e72309e95d61e";
const MINUTE: u64 = 60_000_000;

/// What journald writes when it takes a unit's lines again.
fn suppressed(unit: &str) -> Entry {
    let message = format!("Suppressed 488 messages from {unit}");
    Entry {
        fields: vec![
            ("MESSAGE_ID", DROPPED.to_owned()),
            ("_TRANSPORT", "driver".to_owned()),
        ],
        ..Entry::of("systemd-journald.service", 0, &message)
    }
}

/// The same, said by somebody in the mail server's unit.
fn forged() -> Entry {
    let said = suppressed("dovecot.service");
    Entry {
        unit: "dovecot.service".to_owned(),
        fields: vec![
            ("MESSAGE_ID", DROPPED.to_owned()),
            ("_TRANSPORT", "syslog".to_owned()),
        ],
        ..said
    }
}

fn strange(n: usize) -> Entry {
    let message = format!("imap-login: Refused: login denied: rip=198.18.0.{n}");
    Entry::of("dovecot.service", 0, &message)
}

#[test]
fn dropped_lines_of_mail_units_are_a_problem_until_the_window_is_over() {
    let host = Host::new();
    let _firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    for entry in [suppressed("cron.service"), forged()] {
        host.journal.write(&entry);
    }
    agent.catches_up();
    agent.no_problem();
    host.journal.write(&suppressed("dovecot.service"));
    agent.one_problem("journald has dropped lines of \"dovecot.service\"");
    until("STATUS= tells", || {
        host.status().contains("has dropped lines").then_some(())
    });
    // Read again, it is told again: the attempts are still missing.
    drop(agent);
    let agent = host.start();
    agent.one_problem("journald has dropped lines of \"dovecot.service\"");
}

#[test]
fn lines_dropped_before_the_longest_window_are_none_of_todays_problems() {
    let host = Host::new();
    let _firewalld = Firewalld::start(&host.bus);
    host.journal
        .write_at(now() - 63 * MINUTE, &suppressed("dovecot.service"));
    let agent = host.start();
    agent.catches_up();
    agent.no_problem();
}

/// An upgrade has changed what Dovecot writes.
#[test]
fn many_failures_that_no_filter_knows_are_a_problem() {
    let host = Host::new();
    let _firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    for n in 1..20 {
        host.journal.write(&strange(n));
    }
    agent.catches_up();
    agent.no_problem();
    for n in 20..25 {
        host.journal.write(&strange(n));
    }
    agent.one_problem("known to no filter");
    let problems = agent.problems();
    assert!(
        problems[0].contains("login denied: rip=198.18.0.1\""),
        "{problems:?}"
    );
    // As soon as most are known again, it is over.
    for n in 0..50 {
        host.journal
            .write(&Entry::imap(&format!("198.18.1.{n}"), 1));
    }
    agent.no_problem();
}

/// They belong to filters that no jail uses, or to the mail itself.
#[test]
fn what_other_filters_know_and_what_other_servers_say_is_no_problem() {
    let host = Host::new();
    let _firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    for n in 1..=40 {
        for message in [
            format!(
                "NOQUEUE: reject: RCPT from unknown[198.18.0.{n}]: 554 5.7.1 <a@b.example>: Relay access denied; from=<c@d.example> to=<a@b.example> proto=ESMTP helo=<x>"
            ),
            format!(
                "4bKx2J3z8Yz1C: to=<a@b.example>, relay=mx.b.example[198.18.0.{n}]:25, status=bounced (host mx.b.example[198.18.0.{n}] said: 550 denied)"
            ),
        ] {
            let mut entry = Entry::smtpd("postfix.service", "198.18.0.1");
            entry.message = message.into_bytes();
            host.journal.write(&entry);
        }
    }
    agent.catches_up();
    agent.no_problem();
}

#[test]
fn the_bus_tells_when_the_configuration_was_read() {
    let host = Host::new();
    let before = now();
    let agent = host.start();
    let loaded = || agent.run(agent.manager().loaded_usec()).unwrap();
    let first = loaded();
    assert!((before..=now()).contains(&first), "{first}");
    agent.reload().unwrap();
    let second = loaded();
    assert!(second > first);
    host.configure("nonsense");
    agent.reload().unwrap_err();
    assert_eq!(loaded(), second, "what could not be read is not in force");
}

/// What this machine's own journal and mail servers are does not matter here.
#[test]
fn check_tells_of_an_agent_that_does_not_run_and_of_its_problems() {
    let host = Host::new();
    let out = host.banjour(&["check", "--json"]);
    assert_eq!(out.status.code(), Some(3), "{out:?}");
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    let find = |report: &Value, part: &str| {
        let findings = report["findings"].as_array().unwrap().clone();
        let is_it = |finding: &Value| finding["what"].as_str().unwrap().contains(part);
        findings.into_iter().find(is_it)
    };
    let stopped = find(&report, "banjour does not run").unwrap();
    assert_eq!(
        (&stopped["group"], &stopped["level"]),
        (&"agent".into(), &"to-do".into())
    );
    assert!(
        stopped["action"]
            .as_str()
            .unwrap()
            .contains("systemctl enable --now banjour")
    );

    let _agent = host.start();
    let out = host.banjour(&["check", "--json"]);
    assert_eq!(out.status.code(), Some(1), "there is no firewall: {out:?}");
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(find(&report, "banjour does not run"), None);
    let problem = find(&report, "there is no firewall").unwrap();
    assert_eq!(problem["level"], "to-do");
    assert!(report["to_do"].as_u64().unwrap() >= 1);

    let lines = host.banjour(&["check"]);
    let lines = String::from_utf8(lines.stdout).unwrap();
    assert!(
        lines.lines().all(|line| line.split('\t').count() == 4),
        "{lines}"
    );
    assert!(!lines.contains('\x1b'), "a pipe gets no colours");
}
