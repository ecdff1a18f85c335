//! Password databases that are asked in turn.

use super::*;

/// PAM does not know carol, the database that is asked next does.
fn unknown(minute: i64, source: &str) -> Evidence {
    Evidence {
        user: Some("carol".to_owned()),
        unknown: true,
        source: source.parse().unwrap(),
        ..pam(minute)
    }
}

fn login(minute: i64, user: &str, source: &str) -> Evidence {
    Evidence {
        user: Some(user.to_owned()),
        ..evidence(minute, source, Outcome::Success)
    }
}

#[test]
fn a_customer_whom_pam_does_not_know_is_not_banned_for_logging_in() {
    let mut jail = jail();
    for minute in 0..20 {
        let shown = show(
            &mut jail,
            &[unknown(minute, MALLORY), login(minute, "carol", MALLORY)],
        );
        assert!(shown.iter().all(|(_, ban)| !ban), "minute {minute}");
        assert_eq!(jail.counting(MALLORY.parse().unwrap()), 0);
    }
    // Whoever guesses is told of by the fronts.
    let shown = show(
        &mut jail,
        &[
            unknown(30, "192.0.2.8"),
            unknown(31, "192.0.2.8"),
            unknown(32, "192.0.2.8"),
        ],
    );
    assert_eq!(shown, [(0, false); 3]);
    let three = evidence(
        33,
        "192.0.2.8",
        Outcome::Failure {
            witness: Witness::Front,
            attempts: 3,
        },
    );
    assert_eq!(show(&mut jail, &[three]), [(3, true)]);
}

#[test]
fn names_that_pam_does_not_know_count_where_nobody_logs_in_under_one() {
    let mut jail = jail();
    let shown = show(
        &mut jail,
        &[
            unknown(0, MALLORY),
            login(1, "bob", MALLORY),
            login(1, "carol", "192.0.2.8"),
            unknown(2, MALLORY),
            unknown(3, MALLORY),
        ],
    );
    assert_eq!(
        shown,
        [(1, false), (0, false), (0, false), (1, false), (1, true)]
    );
}
