//! Password databases that are asked in turn. How a host does it is learned from logins (see `tally/habits.rs`); here is
//! what follows.

use super::*;

/// PAM does not know carol, the database that is asked next does.
fn unknown(minute: i64, source: &str) -> Evidence {
    Evidence {
        user: Some("carol".to_owned()),
        ..evidence(
            minute,
            source,
            Outcome::Failure {
                witness: Witness::Unknown("pam_unix".into()),
                attempts: 1,
            },
        )
    }
}

fn login(minute: i64, source: &str) -> Evidence {
    Evidence {
        user: Some("carol".to_owned()),
        ..evidence(minute, source, Outcome::Success)
    }
}

#[test]
fn a_customer_whom_pam_does_not_know_is_not_banned_for_logging_in() {
    let mut jail = jail();
    for minute in 0..20 {
        let shown = show(
            &mut jail,
            &[unknown(minute, MALLORY), login(minute, MALLORY)],
        );
        assert!(shown.iter().all(|(_, ban)| !ban), "minute {minute}");
        let counting = jail.counting(MALLORY.parse().unwrap());
        assert_eq!(counting, 0, "minute {minute}");
    }
    // Whoever guesses is told of by the fronts.
    let guesser = "192.0.2.8";
    let shown = show(
        &mut jail,
        &[30, 31, 32].map(|minute| unknown(minute, guesser)),
    );
    assert_eq!(shown, [(0, false); 3]);
    let three = Outcome::Failure {
        witness: Witness::Front,
        attempts: 3,
    };
    assert_eq!(
        show(&mut jail, &[evidence(33, guesser, three)]),
        [(3, true)]
    );
}

/// A password file is asked first, PAM next; then the file is asked again, as a user database. All tell of it
/// (`auth_verbose = yes`). Who comes first to a host of which nothing is known yet has mistyped, and comes back.
#[test]
fn the_first_customer_is_not_banned_before_anything_is_learned() {
    let mut jail = jail();
    let words = |millisecond: i64, session: &str, right: bool| {
        let word = |after: i64, witness: Witness| Evidence {
            at: Timestamp::from_millisecond(3_600_000 + millisecond + after).unwrap(),
            user: Some("bob".to_owned()),
            session: Some(session.to_owned()),
            ..failure(0, witness, 1)
        };
        let file = || Witness::Unknown("passwd-file".into());
        if right {
            let login = Evidence {
                outcome: Outcome::Success,
                ..word(10, file())
            };
            vec![word(0, file()), word(5, file()), login]
        } else {
            vec![word(0, file()), word(2, Witness::Back("pam".into()))]
        }
    };
    let mut story = words(0, "a", false);
    story.extend(words(4_000, "a", true));
    for session in 1..9 {
        story.extend(words(session * 60_000, &format!("b{session}"), true));
    }
    for (shown, evidence) in show(&mut jail, &story).into_iter().zip(&story) {
        assert!(!shown.1, "{evidence:?}");
    }
    assert_eq!(jail.attempts(MALLORY.parse().unwrap()), 1);
}

/// A telephone opens several connections at a time.
#[test]
fn what_was_counted_before_it_was_learned_is_taken_back() {
    let mut jail = jail();
    let office = "192.0.2.9".parse().unwrap();
    show(
        &mut jail,
        &[unknown(0, "192.0.2.9"), unknown(0, "192.0.2.9")],
    );
    assert_eq!(jail.counting(office), 2);
    for minute in 1..3 {
        show(
            &mut jail,
            &[unknown(minute, MALLORY), login(minute, MALLORY)],
        );
    }
    assert_eq!(jail.counting(office), 0);
    assert_eq!(jail.counting(MALLORY.parse().unwrap()), 0);
}

#[test]
fn names_that_pam_does_not_know_count_where_nobody_logs_in_under_one() {
    let mut jail = jail();
    let shown = show(&mut jail, &[0, 1, 2].map(|minute| unknown(minute, MALLORY)));
    assert_eq!(shown, [(1, false), (1, false), (1, true)]);
}
