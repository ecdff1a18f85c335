//! The server's own trouble.

use super::*;
use crate::filter::Client;
use crate::trust::Standing;

fn seconds(second: i64) -> Timestamp {
    Timestamp::from_second(3600 + second).unwrap()
}

fn said(second: i64, source: &str, witness: Witness) -> Evidence {
    Evidence {
        at: seconds(second),
        ..evidence(
            0,
            source,
            Outcome::Failure {
                witness,
                attempts: 1,
            },
        )
    }
}

/// A database is down for all.
fn trouble(second: i64) -> Trouble {
    Trouble {
        at: seconds(second),
        filter: "dovecot".into(),
        client: None,
        explains: Duration::from_secs(30),
        deceives: false,
        message: String::new(),
    }
}

/// A database could not check one client's password.
fn trouble_of(second: i64, source: &str, session: bool) -> Trouble {
    Trouble {
        client: Some(Client {
            user: None,
            source: source.parse().unwrap(),
            session,
            back: "ldap".into(),
        }),
        ..trouble(second)
    }
}

#[test]
fn while_no_password_can_be_checked_nobody_is_counted_who_may_have_been_right() {
    let mut jail = jail();
    let (mallory, pam) = (MALLORY.parse().unwrap(), Witness::Back("pam_unix".into()));
    jail.observe(&said(0, MALLORY, pam.clone()), Standing::Stranger);
    jail.observe(&said(8, MALLORY, pam.clone()), Standing::Stranger);
    jail.excuse(&trouble(10), Standing::Stranger);
    assert_eq!(
        jail.counting(mallory),
        1,
        "what was said before is no attempt"
    );
    for second in 11..=40 {
        let new = [pam.clone(), Witness::UnsureFront]
            .map(|witness| jail.observe(&said(second, MALLORY, witness), Standing::Stranger));
        assert_eq!(new, [(0, None), (0, None)], "{second}");
    }
    assert_eq!(
        jail.observe(&said(41, MALLORY, pam), Standing::Stranger),
        (1, None)
    );
    let decision = jail
        .observe(&said(42, MALLORY, Witness::UnsureFront), Standing::Stranger)
        .1;
    assert_eq!(decision, None, "a second witness");
}

#[test]
fn while_no_password_can_be_checked_those_are_counted_who_were_surely_wrong() {
    let mut jail = jail();
    jail.excuse(&trouble(0), Standing::Stranger);
    let shown = show(
        &mut jail,
        &[
            said(1, MALLORY, Witness::Front),
            said(2, MALLORY, Witness::Refused),
            said(3, MALLORY, Witness::Front),
            said(4, MALLORY, Witness::Front),
        ],
    );
    assert_eq!(shown, [(1, false), (0, false), (1, false), (1, true)]);
}

#[test]
fn a_password_that_could_not_be_checked_is_its_owners_alone() {
    let mut jail = jail();
    for second in 0..4 {
        jail.excuse(&trouble_of(10 * second, MALLORY, false), Standing::Stranger);
        let shown = show(
            &mut jail,
            &[
                said(10 * second + 2, MALLORY, Witness::UnsureFront),
                said(10 * second + 2, "192.0.2.8", Witness::UnsureFront),
            ],
        );
        assert_eq!(shown, [(0, false), (1, second == 2)], "{second}");
    }
}

/// A login process says by itself that the password was not checked; its client's passwords at Postfix are another matter.
#[test]
fn a_password_that_a_login_process_took_explains_nothing_at_postfix() {
    let mut jail = jail();
    jail.excuse(&trouble_of(0, MALLORY, true), Standing::Stranger);
    assert_eq!(
        jail.observe(&said(1, MALLORY, Witness::UnsureFront), Standing::Stranger),
        (1, None)
    );
}
