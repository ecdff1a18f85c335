//! What a jail makes of evidence, minute by minute.

mod in_turn;
mod memory;
mod passwords;
mod trouble;

use super::*;
use crate::tally::Witness;
use crate::trust::Standing;

const MALLORY: &str = "192.0.2.7";

/// A time, in minutes from some start.
fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(60 * minute).unwrap()
}

/// Three attempts in 60 minutes bring a ban of 30.
fn jail() -> Jail {
    jail_with(3, 60)
}

const MAX_SOURCES: usize = 5000;

fn jail_with(attempts: u32, window_minutes: u64) -> Jail {
    Jail::new(Rule {
        attempts: NonZeroU32::new(attempts).unwrap(),
        window: Duration::from_mins(window_minutes),
        ban_time: Duration::from_mins(30),
        customer_attempts: NonZeroU32::new(100).unwrap(),
        max_sources: MAX_SOURCES,
    })
}

fn evidence(minute: i64, source: &str, outcome: Outcome) -> Evidence {
    Evidence {
        at: at(minute),
        filter: "dovecot".into(),
        source: source.parse().unwrap(),
        user: Some(format!("user{minute}")),
        session: None,
        password: None,
        service: None,
        method: None,
        outcome,
    }
}

fn failure(minute: i64, witness: Witness, attempts: u32) -> Evidence {
    evidence(minute, MALLORY, Outcome::Failure { witness, attempts })
}

fn front(minute: i64, attempts: u32) -> Evidence {
    failure(minute, Witness::Front, attempts)
}

fn pam(minute: i64) -> Evidence {
    failure(minute, Witness::Back("pam_unix".into()), 1)
}

/// Shows a jail evidence, and says for each piece how many attempts were new, and whether a ban follows.
fn show(jail: &mut Jail, all: &[Evidence]) -> Vec<(u32, bool)> {
    all.iter()
        .map(|evidence| {
            let (new, decision) = jail.observe(evidence, Standing::Stranger);
            (new, decision.is_some())
        })
        .collect()
}

#[test]
fn the_limit_is_exact() {
    for limit in [1, 2, 3, 10] {
        let mut jail = jail_with(limit, 60);
        for n in 1..limit {
            assert_eq!(
                jail.observe(&front(i64::from(n), 1), Standing::Stranger),
                (1, None),
                "{limit}"
            );
        }
        let decision = Decision {
            first: front(1, 1).at,
            attempts: limit,
            user: Some(format!("user{limit}")),
        };
        assert_eq!(
            jail.observe(&front(i64::from(limit), 1), Standing::Stranger),
            (1, Some(decision))
        );
    }
}

#[test]
fn one_line_may_tell_of_all_attempts() {
    let mut jail = jail();
    let (new, decision) = jail.observe(&front(0, 3), Standing::Stranger);
    assert_eq!((new, decision.unwrap().attempts), (3, 3));
    let mut jail = jail_with(3, 60);
    assert_eq!(
        show(&mut jail, &[front(0, 2), front(1, 7)]),
        [(2, false), (7, true)]
    );
}

#[test]
fn the_window_slides() {
    // Two an hour, for ever: the one before the last is always just out of the window.
    let mut slow = jail();
    for n in 0..100 {
        assert_eq!(
            slow.observe(&front(30 * n, 1), Standing::Stranger),
            (1, None),
            "{n}"
        );
    }
    let mut quicker = jail();
    assert_eq!(
        show(&mut quicker, &[front(0, 1), front(30, 1), front(59, 1)]),
        [(1, false), (1, false), (1, true)]
    );
    // What happened a whole window ago does not count any more.
    let mut sharp = jail();
    assert_eq!(
        show(
            &mut sharp,
            &[front(0, 1), front(1, 1), front(60, 1), front(60, 1)]
        ),
        [(1, false), (1, false), (1, false), (1, true)]
    );
}

#[test]
fn all_witnesses_of_an_attempt_are_one_attempt() {
    let mut jail = jail();
    let mut lines = Vec::new();
    for minute in 0..2 {
        lines.push(pam(minute));
        lines.push(failure(minute, Witness::Back("pam".into()), 1));
        lines.push(failure(minute, Witness::Back("passwd-file".into()), 1));
    }
    lines.push(front(2, 2));
    assert!(
        show(&mut jail, &lines).iter().all(|(_, ban)| !ban),
        "two attempts"
    );
    assert_eq!(
        show(&mut jail, &[pam(3), front(3, 1)]),
        [(1, true), (0, false)]
    );
}

/// `imap-login` speaks when the connection ends; by then, PAM's lines have brought the ban.
#[test]
fn a_late_front_line_after_a_ban_is_nothing_new() {
    let mut jail = jail();
    let bans = show(&mut jail, &[pam(0), pam(0), pam(0)]);
    assert_eq!(bans, [(1, false), (1, false), (1, true)]);
    jail.settle(MALLORY.parse().unwrap(), at(30));
    assert_eq!(show(&mut jail, &[front(3, 3)]), [(0, false)]);
    assert_eq!(jail.currently_failed(at(3)), 0);
}

#[test]
fn what_happens_during_a_ban_does_not_count_after_it() {
    let mut jail = jail();
    let mallory = MALLORY.parse().unwrap();
    show(&mut jail, &[front(0, 3)]);
    jail.settle(mallory, at(30));
    // An open connection goes on guessing. These are attempts all the same, and are told.
    assert_eq!(
        show(&mut jail, &[front(10, 2), front(29, 1), front(30, 5)]),
        [(2, false), (1, false), (5, false)]
    );
    assert_eq!(jail.currently_failed(at(30)), 0);
    assert_eq!(
        show(&mut jail, &[front(31, 1), front(32, 1), front(33, 1)]),
        [(1, false), (1, false), (1, true)]
    );
}

#[test]
fn an_unban_forgives_what_was_and_only_that() {
    let mut jail = jail();
    let mallory = MALLORY.parse().unwrap();
    show(&mut jail, &[front(0, 3)]);
    jail.settle(mallory, at(30));
    // Lifted at minute 10: what comes from then on counts, though the ban would have lasted.
    jail.settle(mallory, at(10));
    assert_eq!(
        show(&mut jail, &[front(11, 1), front(12, 1), front(13, 1)]),
        [(1, false), (1, false), (1, true)]
    );
    // Forgiven before any ban: the count begins anew.
    let mut other = jail_with(3, 60);
    show(&mut other, &[front(0, 2)]);
    other.settle(mallory, at(1));
    assert_eq!(other.currently_failed(at(1)), 0);
    assert_eq!(
        show(&mut other, &[front(2, 2), front(3, 1)]),
        [(2, false), (1, true)]
    );
}

/// As after a restart: what is settled is known first, then the window is read again.
#[test]
fn settled_before_the_evidence_is_read_again() {
    let mut jail = jail();
    jail.settle(MALLORY.parse().unwrap(), at(30));
    assert_eq!(
        show(&mut jail, &[pam(0), pam(1), pam(2), front(3, 3)]),
        [(1, false), (1, false), (1, false), (0, false)]
    );
    assert_eq!(
        show(&mut jail, &[pam(31), pam(32)]),
        [(1, false), (1, false)]
    );
    assert_eq!(show(&mut jail, &[pam(33)]), [(1, true)]);
}

#[test]
fn successes_do_nothing() {
    let mut jail = jail();
    let success = |minute| evidence(minute, MALLORY, Outcome::Success);
    assert_eq!(
        show(
            &mut jail,
            &[
                front(0, 2),
                success(1),
                success(2),
                success(3),
                front(4, 1),
                success(5)
            ]
        ),
        [
            (2, false),
            (0, false),
            (0, false),
            (0, false),
            (1, true),
            (0, false)
        ]
    );
}

#[test]
fn sources_are_counted_separately() {
    let mut jail = jail();
    let attempt = |source| {
        evidence(
            0,
            source,
            Outcome::Failure {
                witness: Witness::Front,
                attempts: 1,
            },
        )
    };
    for source in ["192.0.2.6", "192.0.2.8", "2001:db8::7", "2001:db8::8"] {
        assert_eq!(
            show(&mut jail, &[attempt(source), attempt(source)]),
            [(1, false), (1, false)]
        );
    }
    assert_eq!(show(&mut jail, &[front(0, 1)]), [(1, false)]);
    assert_eq!(jail.currently_failed(at(1)), 5);
    // One address, written in two ways.
    let mapped = attempt("::ffff:192.0.2.8");
    assert_eq!(show(&mut jail, &[mapped]), [(1, true)]);
    assert_eq!(jail.currently_failed(at(1)), 4);
}

#[test]
fn currently_failed_are_those_with_attempts_in_the_window() {
    let mut jail = jail();
    assert_eq!(jail.currently_failed(at(0)), 0);
    show(&mut jail, &[front(0, 1)]);
    assert_eq!(
        [0, 1, 59, 60, 61, 1000].map(|minute| jail.currently_failed(at(minute))),
        [1, 1, 1, 0, 0, 0]
    );
    show(&mut jail, &[front(30, 1)]);
    assert_eq!(
        [60, 89, 90].map(|minute| jail.currently_failed(at(minute))),
        [1, 1, 0]
    );
    show(&mut jail, &[front(31, 1)]);
    assert_eq!(jail.currently_failed(at(31)), 0, "it is banned");
}

#[test]
fn memory_is_bounded_and_the_longest_unheard_is_forgotten() {
    let mut jail = jail();
    let attempt = |n: u32| Evidence {
        source: std::net::IpAddr::from(std::net::Ipv4Addr::from_bits(n)).into(),
        ..front(0, 1)
    };
    let most = u32::try_from(MAX_SOURCES).unwrap();
    for n in 0..most {
        jail.observe(&attempt(n), Standing::Stranger);
    }
    assert_eq!(jail.currently_failed(at(0)), MAX_SOURCES);
    // The first is heard of again, so that the second is the longest unheard.
    jail.observe(&attempt(0), Standing::Stranger);
    assert_eq!(jail.overflowed(), Timestamp::MIN);
    jail.observe(&attempt(most), Standing::Stranger);
    assert_eq!(jail.overflowed(), at(0));
    assert_eq!(jail.currently_failed(at(0)), MAX_SOURCES);
    assert!(
        jail.observe(&attempt(0), Standing::Stranger).1.is_some(),
        "it was remembered"
    );
    assert_eq!(
        show(&mut jail, &[attempt(1), attempt(1)]),
        [(1, false), (1, false)],
        "it was forgotten"
    );
}

#[test]
fn two_jails_judge_the_same_evidence_each_by_its_rule() {
    let (mut strict, mut patient) = (jail_with(2, 60), jail_with(4, 10));
    let lines = [front(0, 1), front(5, 1), front(11, 1), front(12, 1)];
    assert_eq!(
        show(&mut strict, &lines),
        [(1, false), (1, true), (1, false), (1, true)]
    );
    assert_eq!(
        show(&mut patient, &lines),
        [(1, false), (1, false), (1, false), (1, false)]
    );
}

/// An SMTP attempt is one line of Postfix and one of PAM in Dovecot's unit; an IMAP attempt one of PAM and one of `imap-login`.
#[test]
fn a_jail_over_both_filters_counts_across_them() {
    let smtp = |minute| {
        [
            pam(minute),
            Evidence {
                filter: "postfix-sasl".into(),
                ..front(minute, 1)
            },
        ]
    };
    let mut jail = jail();
    assert_eq!(
        show(&mut jail, &[smtp(0), smtp(1)].concat()),
        [(1, false), (0, false), (1, false), (0, false)]
    );
    assert_eq!(
        show(&mut jail, &[pam(2), front(2, 1)]),
        [(1, true), (0, false)]
    );
}

#[test]
fn another_rule_applies_to_what_is_known() {
    let mut jail = jail_with(5, 60);
    show(&mut jail, &[front(0, 1), front(1, 1)]);
    jail.set_rule(Rule {
        attempts: NonZeroU32::new(3).unwrap(),
        ..jail.rule()
    });
    assert_eq!(show(&mut jail, &[front(2, 1)]), [(1, true)]);
}

#[test]
fn times_before_and_after_never_overflow() {
    let (most, hour) = (Duration::MAX, Duration::from_hours(1));
    assert_eq!(before(at(60), hour), at(0));
    assert_eq!(after(at(0), hour), at(60));
    assert_eq!(before(at(0), most), Timestamp::MIN);
    assert_eq!(after(at(0), most), Timestamp::MAX);
    assert_eq!(before(Timestamp::MIN, hour), Timestamp::MIN);
    assert_eq!(after(Timestamp::MAX, hour), Timestamp::MAX);
}
