//! From the journal to a ban.

use std::collections::BTreeSet;

use crate::firewalld::Firewalld;
use crate::host::{Host, becomes};
use crate::journal::{Entry, now};

const HOUR: u64 = 3_600_000_000;

#[test]
fn the_third_attempt_bans_and_not_the_second() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    let signals = host.listen();

    host.attempts("198.18.0.1", 2);
    agent.catches_up();
    assert_eq!(agent.banned(), [""; 0]);
    let jail = agent.jail("dovecot");
    assert_eq!(agent.run(jail.currently_failed()), Ok(1));

    let third = host.journal.write(&Entry::imap("198.18.0.1", 1));
    signals.hear("BanNew 198.18.0.1 dovecot");
    // The clock is the journal's: a ban begins with the entry that brings it.
    assert_eq!(
        agent.bans(),
        [("198.18.0.1".into(), "dovecot".into(), third, third + HOUR)]
    );
    firewalld.holds(&["198.18.0.1"]);
    assert_eq!(agent.run(jail.currently_failed()), Ok(0));
    assert_eq!(agent.run(jail.currently_banned()), Ok(1));
    assert_eq!(agent.run(jail.list_bans()).unwrap().len(), 1);
}

#[test]
fn ipv6_sources_are_banned_in_their_own_set() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    let _agent = host.start();
    host.attempts("2001:db8:bad::1", 3);
    firewalld.holds(&["2001:db8:bad::/64"]);
    assert_eq!(
        firewalld.take_changes(),
        ["addEntry banjour-ipv6 2001:db8:bad::/64"]
    );
}

#[test]
fn neighbours_have_nothing_to_do_with_one_another() {
    let host = Host::new();
    let agent = host.start();
    for source in ["198.18.0.1", "198.18.0.2", "198.18.0.3"] {
        host.attempts(source, 2);
    }
    host.attempts("198.18.0.2", 1);
    agent.catches_up();
    assert_eq!(agent.banned(), ["198.18.0.2 dovecot"]);
}

#[test]
fn postfix_is_heard_as_a_service_and_as_instances() {
    let host = Host::new();
    let agent = host.start();
    for (unit, source) in [
        ("postfix.service", "198.18.0.1"),
        ("postfix@-.service", "198.18.0.2"),
        ("postfix@relay.service", "198.18.0.3"),
    ] {
        for _ in 0..3 {
            host.journal.write(&Entry::smtpd(unit, source));
        }
    }
    agent.catches_up();
    assert_eq!(
        agent.banned(),
        [
            "198.18.0.1 postfix-sasl",
            "198.18.0.2 postfix-sasl",
            "198.18.0.3 postfix-sasl"
        ]
    );
}

#[test]
fn the_right_line_from_the_wrong_mouth_bans_nobody() {
    let host = Host::new();
    let agent = host.start();
    let imap = Entry::imap("198.18.0.1", 3);
    let smtpd = Entry::smtpd("postfix@-.service", "198.18.0.1");
    let of = |entry: &Entry, unit: &str, uid| Entry {
        unit: unit.to_owned(),
        uid,
        ..entry.clone()
    };
    for entry in [
        of(&imap, "user@1000.service", 0),
        of(&imap, "session-3.scope", 0),
        of(&imap, "postfix.service", 0),
        of(&imap, "dovecot.service", 1),
        of(&imap, "dovecot.service", 4_000_000),
        of(&imap, "", 0),
        of(&smtpd, "postfix@-.service", 0),
        of(&smtpd, "postfix@x.service.evil", 65534),
        of(&smtpd, "dovecot.service", 65534),
    ] {
        for _ in 0..3 {
            host.journal.write(&entry);
        }
    }
    agent.catches_up();
    assert_eq!(agent.banned(), [""; 0]);
    assert_eq!(agent.totals().0, 1000, "the barrier's alone");
}

/// With PAM, two IMAP attempts are four lines; the front's comes when the connection ends.
#[test]
fn two_attempts_with_all_their_lines_are_two() {
    let host = Host::new();
    let agent = host.start();
    for _ in 0..2 {
        host.journal.write(&Entry::pam("198.18.0.1"));
    }
    host.journal.write(&Entry::imap("198.18.0.1", 2));
    agent.catches_up();
    assert_eq!(agent.banned(), [""; 0]);
    assert_eq!(agent.totals().0, 1002);
    host.journal.write(&Entry::pam("198.18.0.1"));
    becomes(&["198.18.0.1 dovecot"][..], || agent.banned());
}

#[test]
fn messages_that_are_no_text_do_no_harm() {
    let host = Host::new();
    let agent = host.start();
    let with = |message: Vec<u8>| Entry {
        message,
        ..Entry::imap("198.18.0.1", 3)
    };
    let line = |name: &[u8]| {
        let text = String::from_utf8(Entry::imap("198.18.0.1", 1).message).unwrap();
        let (head, tail) = text.split_once("bob").unwrap();
        [head.as_bytes(), name, tail.as_bytes()].concat()
    };
    host.journal.write(&with(Vec::new()));
    host.journal.write(&with(vec![0; 1000]));
    host.journal.write(&with(vec![0xff; 200_000]));
    host.journal.write(&with(line(&vec![b'x'; 100_000])));
    host.journal.write(&with(line(b"a\0b\xff\nc")));
    host.journal.write(&with(line(
        b"x>, rip=198.51.100.1, lip=192.0.2.2, session=<y",
    )));
    agent.catches_up();
    assert_eq!(agent.banned(), [""; 0]);
    host.journal.write(&with(line(&[b'x'; 4000])));
    becomes(&["198.18.0.1 dovecot"][..], || agent.banned());
}

#[test]
fn what_happened_before_the_first_start_counts_if_the_window_reaches_it() {
    let host = Host::new();
    let third = now() - 30 * 60_000_000 + 2;
    host.attempts_ago(300, "198.18.0.1", 3);
    host.attempts_ago(50, "198.18.0.2", 2);
    host.attempts_ago(30, "198.18.0.3", 3);
    let agent = host.start();
    host.attempts("198.18.0.2", 1);
    agent.catches_up();
    assert_eq!(agent.banned(), ["198.18.0.2 dovecot", "198.18.0.3 dovecot"]);
    let (.., since, until) = agent.bans().pop().unwrap();
    assert!(since.abs_diff(third) < 10_000_000, "{since} is not {third}");
    assert_eq!(until, since + HOUR);
}

#[test]
fn attempts_that_are_far_apart_ban_nobody() {
    let host = Host::new();
    host.configure("[jail.dovecot]\nwindow = \"10min\"\n");
    host.attempts_ago(25, "198.18.0.1", 2);
    host.attempts_ago(14, "198.18.0.1", 2);
    host.attempts_ago(3, "198.18.0.1", 2);
    let agent = host.start();
    agent.catches_up();
    assert_eq!(agent.banned(), [""; 0]);
}

#[test]
fn ignored_sources_are_never_banned() {
    let host = Host::new();
    host.configure("ignore = [\"198.18.1.0/24\", \"2001:db8:bad::/48\"]\n");
    let agent = host.start();
    for source in ["198.18.1.9", "2001:db8:bad::9", "127.0.0.1", "::1"] {
        host.attempts(source, 5);
    }
    host.attempts("198.18.2.9", 3);
    agent.catches_up();
    assert_eq!(agent.banned(), ["198.18.2.9 dovecot"]);
}

#[test]
fn jails_judge_the_same_evidence_each_by_its_rule() {
    let host = Host::new();
    host.configure(
        "[jail.dovecot]\nenabled = false\n\
         [jail.strict]\nfilters = [\"dovecot\"]\nattempts = 2\nban-time = \"1d\"\n\
         [jail.patient]\nfilters = [\"dovecot\"]\nattempts = 4\n",
    );
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    host.attempts("198.18.0.1", 2);
    becomes(&["198.18.0.1 strict"][..], || agent.banned());
    host.attempts("198.18.0.1", 2);
    becomes(&["198.18.0.1 patient", "198.18.0.1 strict"][..], || {
        let mut banned = agent.banned();
        banned.dedup();
        banned
    });
    // Kept out as long as any jail says so.
    assert_eq!(agent.unban("198.18.0.1", "strict"), Ok(1));
    firewalld.holds(&["198.18.0.1"]);
    assert_eq!(agent.unban("198.18.0.1", ""), Ok(1));
    firewalld.holds(&[]);
}

/// One SMTP attempt and two IMAP attempts are three in a jail over both filters.
#[test]
fn a_jail_over_both_filters_counts_across_them() {
    let host = Host::new();
    host.configure(
        "[jail.postfix-sasl]\nenabled = false\n[jail.dovecot]\nenabled = false\n\
         [jail.mail]\nfilters = [\"dovecot\", \"postfix-sasl\"]\n",
    );
    let agent = host.start();
    host.journal.write(&Entry::pam("198.18.0.1"));
    host.journal
        .write(&Entry::smtpd("postfix.service", "198.18.0.1"));
    host.journal.write(&Entry::pam("198.18.0.1"));
    host.journal.write(&Entry::imap("198.18.0.1", 1));
    agent.catches_up();
    assert_eq!(agent.banned(), [""; 0]);
    host.journal.write(&Entry::pam("198.18.0.1"));
    becomes(&["198.18.0.1 mail"][..], || agent.banned());
}

#[test]
fn a_thousand_attackers_at_once_are_all_banned() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    let sources: BTreeSet<String> = (0..1000)
        .map(|n| format!("198.18.{}.{}", n / 250, n % 250 + 1))
        .collect();
    for _ in 0..3 {
        for source in &sources {
            host.journal.write(&Entry::imap(source, 1));
        }
    }
    becomes(&sources, || firewalld.entries());
    assert_eq!(agent.totals(), (3000, 1000));
}
