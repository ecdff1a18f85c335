use super::*;
use crate::trust::Standing;

const HOME: &str = "192.0.2.7";
const AWAY: &str = "2001:db8::7";

/// A short story of witnesses and logins, a second each.
struct Story {
    habits: Habits,
    second: i64,
}

impl Story {
    fn new() -> Self {
        Self {
            habits: Habits::default(),
            second: 0,
        }
    }

    /// A guesser has shown that PAM and a password file are asked.
    fn of_two_databases() -> Self {
        let mut story = Self::new();
        story
            .pam_refuses(AWAY, "root", "x")
            .file_refuses(AWAY, "root", "x")
            .fails(AWAY, "root", "x");
        story
    }

    fn evidence(&mut self, source: &str, user: &str, session: &str, outcome: Outcome) -> Evidence {
        self.second += 1;
        Evidence {
            at: Timestamp::from_second(self.second).unwrap(),
            filter: "dovecot".into(),
            source: source.parse().unwrap(),
            user: Some(user.to_owned()),
            session: (!session.is_empty()).then(|| session.to_owned()),
            password: None,
            service: None,
            method: None,
            outcome,
        }
    }

    /// In a session ("": none), the witness refuses the user.
    fn refuses(&mut self, witness: Witness, source: &str, user: &str, session: &str) -> &mut Self {
        let attempts = 1;
        let word = self.evidence(
            source,
            user,
            session,
            Outcome::Failure { witness, attempts },
        );
        self.habits.hear(&word, Standing::Stranger);
        self
    }

    fn pam_refuses(&mut self, source: &str, user: &str, session: &str) -> &mut Self {
        self.refuses(Witness::Back("pam_unix".into()), source, user, "")
            .refuses(Witness::Back("pam".into()), source, user, session)
    }

    fn pam_does_not_know(&mut self, source: &str, user: &str) -> &mut Self {
        self.refuses(Witness::Unknown("pam_unix".into()), source, user, "")
    }

    /// The login process tells of it at the end.
    fn fails(&mut self, source: &str, user: &str, session: &str) -> &mut Self {
        self.refuses(Witness::Front, source, user, session)
    }

    fn file_refuses(&mut self, source: &str, user: &str, session: &str) -> &mut Self {
        self.refuses(Witness::Back("passwd-file".into()), source, user, session)
    }

    /// The user logs in; whether something is learned.
    fn learns(&mut self, source: &str, user: &str, session: &str) -> bool {
        let login = self.evidence(source, user, session, Outcome::Success);
        self.habits.learn(&login)
    }

    /// Whether a wrong password and an unknown user count, if this database tells of them.
    fn counts(&self, back: &str) -> (bool, bool) {
        let counts = |wrong, unknown| self.habits.counting(&back.into(), wrong, unknown) > 0;
        (counts(1, 0), counts(0, 1))
    }
}

#[test]
fn two_logins_of_users_whom_pam_does_not_know_show_that_another_database_is_asked_next() {
    let mut story = Story::new();
    assert!(
        !story
            .pam_does_not_know(HOME, "carol")
            .learns(HOME, "carol", "a")
    );
    assert_eq!(story.counts("pam_unix"), (true, true));
    assert!(
        story
            .pam_does_not_know(AWAY, "dan")
            .learns(AWAY, "dan", "b")
    );
    assert_eq!(story.counts("pam_unix"), (true, false));
}

/// Dovecot and PAM let whoever mistypes wait for some seconds.
#[test]
fn nothing_is_learned_of_words_about_an_earlier_attempt() {
    let mut story = Story::new();
    for session in ["a", "b", "c"] {
        story.pam_does_not_know(HOME, "carol").second += 3;
        assert!(!story.learns(HOME, "carol", session));
    }
    assert_eq!(story.counts("pam_unix"), (true, true));
}

#[test]
fn nothing_is_learned_of_words_about_others() {
    let mut story = Story::new();
    story
        .pam_does_not_know(HOME, "carol")
        .pam_does_not_know(HOME, "carol");
    for _ in 0..9 {
        assert!(!story.learns(HOME, "bob", "a"), "another user");
        assert!(!story.learns(AWAY, "carol", "a"), "another source");
    }
    assert_eq!(story.counts("pam_unix"), (true, true));
}

/// The database with carol is asked first, and writes nothing: PAM hears of her only when she mistypes.
#[test]
fn a_database_that_is_asked_after_the_one_that_knows_has_the_last_word() {
    let mut story = Story::new();
    for _ in 0..2 {
        story
            .pam_does_not_know(HOME, "carol")
            .learns(HOME, "carol", "a");
        story.learns(HOME, "carol", "b");
        story.learns(AWAY, "carol", "c");
    }
    assert_eq!(story.counts("pam_unix"), (true, true));
}

#[test]
fn logins_before_the_first_mistake_show_that_as_well() {
    let mut story = Story::new();
    for source in [HOME, AWAY, HOME] {
        assert!(!story.learns(source, "carol", "a"));
    }
    story
        .pam_does_not_know(HOME, "carol")
        .learns(HOME, "carol", "b");
    story
        .pam_does_not_know(AWAY, "carol")
        .learns(AWAY, "carol", "c");
    assert_eq!(story.counts("pam_unix"), (true, true));
}

#[test]
fn what_was_learned_too_early_is_forgotten() {
    let mut story = Story::new();
    for session in ["a", "b"] {
        story
            .pam_does_not_know(HOME, "carol")
            .learns(HOME, "carol", session);
    }
    assert_eq!(story.counts("pam_unix"), (true, false));
    assert!(!story.learns(AWAY, "carol", "c"));
    assert!(story.learns(AWAY, "carol", "d"));
    assert_eq!(story.counts("pam_unix"), (true, true));
}

#[test]
fn a_database_that_refuses_more_often_than_another_is_followed_by_it() {
    let mut story = Story::of_two_databases();
    for (session, learned) in [("a", false), ("b", true), ("c", false)] {
        story.pam_refuses(HOME, "carol", session);
        assert_eq!(story.learns(HOME, "carol", session), learned, "{session}");
        assert_eq!(story.counts("pam"), (session == "a", session == "a"));
        assert_eq!(story.counts("pam_unix"), story.counts("pam"));
    }
    assert_eq!(story.counts("passwd-file"), (true, true));
}

#[test]
fn a_mistake_before_the_right_password_does_not_hide_that() {
    let mut story = Story::of_two_databases();
    for session in ["a", "b"] {
        story
            .pam_refuses(HOME, "carol", session)
            .file_refuses(HOME, "carol", session)
            .pam_refuses(HOME, "carol", session)
            .learns(HOME, "carol", session);
    }
    assert_eq!(story.counts("pam"), (false, false));
    assert_eq!(story.counts("passwd-file"), (true, true));
}

/// A word may reach the journal late.
#[test]
fn the_order_that_most_logins_show_is_the_true_one() {
    let mut story = Story::of_two_databases();
    for session in ["a", "b"] {
        story
            .file_refuses(HOME, "bob", session)
            .learns(HOME, "bob", session);
    }
    assert_eq!(story.counts("passwd-file"), (false, false));
    for session in ["c", "d"] {
        story
            .pam_refuses(HOME, "carol", session)
            .learns(HOME, "carol", session);
    }
    assert_eq!(story.counts("passwd-file"), (true, true));
    assert_eq!(story.counts("pam"), (true, true));
    story
        .pam_refuses(HOME, "carol", "e")
        .learns(HOME, "carol", "e");
    assert_eq!(story.counts("passwd-file"), (true, true));
    assert_eq!(story.counts("pam"), (false, false));
}

#[test]
fn a_mistake_before_the_right_password_shows_nothing() {
    // One database, with two witnesses.
    let mut story = Story::new();
    story.pam_refuses(HOME, "bob", "a");
    assert!(!story.pam_refuses(HOME, "bob", "b").learns(HOME, "bob", "b"));
    // Two, and the first one knows bob; or the second one, which is quiet about names that it refuses.
    story
        .pam_refuses(HOME, "bob", "c")
        .file_refuses(HOME, "bob", "c");
    assert!(!story.learns(HOME, "bob", "c"));
    assert_eq!(story.counts("pam"), (true, true));
    assert_eq!(story.counts("passwd-file"), (true, true));
}

/// CRAM-MD5 is a witness of its own, and is not asked when a password is sent in the clear.
#[test]
fn a_witness_of_other_attempts_shows_nothing() {
    let mut story = Story::new();
    story
        .refuses(Witness::Back("cram-md5".into()), AWAY, "bob", "x")
        .fails(AWAY, "bob", "x");
    for session in ["a", "b", "c"] {
        story.pam_refuses(HOME, "bob", session);
        assert!(!story.learns(HOME, "bob", session));
    }
    assert_eq!(story.counts("pam"), (true, true));
    assert_eq!(story.counts("pam_unix"), (true, true));
}

/// Its look-up comes after the password was found right.
#[test]
fn a_user_database_is_not_asked_for_passwords() {
    let mut story = Story::new();
    let passwd = || Witness::Unknown("passwd".into());
    for session in ["a", "b", "c"] {
        story
            .file_refuses(HOME, "virt", session)
            .refuses(passwd(), HOME, "virt", session)
            .learns(HOME, "virt", session);
        story
            .file_refuses(HOME, "bob", session)
            .learns(HOME, "bob", session);
    }
    assert_eq!(story.counts("passwd-file"), (true, true));
    assert_eq!(story.counts("passwd"), (true, false));
}

/// PAM's module writes always, the rest with `auth_verbose = yes` only.
#[test]
fn nothing_is_learned_while_databases_are_quiet() {
    let mut story = Story::new();
    story
        .pam_refuses(HOME, "bob", "a")
        .file_refuses(HOME, "bob", "a")
        .fails(HOME, "bob", "a");
    let pam_unix = || Witness::Back("pam_unix".into());
    for _ in 0..3 {
        assert!(
            !story
                .refuses(pam_unix(), AWAY, "bob", "")
                .learns(AWAY, "bob", "b")
        );
    }
    assert_eq!(story.counts("pam_unix"), (true, true));
}

/// After a restart, what was learned is known: also where the journal that is read again tells only a part of it, or
/// nothing, and none of that is learned twice.
#[test]
fn what_was_learned_outlives_the_agent_and_is_not_learned_twice() {
    let tell = |story: &mut Story| {
        story
            .pam_refuses(HOME, "carol", "a")
            .learns(HOME, "carol", "a");
        story
            .pam_does_not_know(HOME, "carol")
            .learns(HOME, "carol", "b");
        story
            .pam_does_not_know(AWAY, "dan")
            .learns(AWAY, "dan", "c");
        story.pam_refuses(AWAY, "dan", "d").learns(AWAY, "dan", "d");
    };
    let mut story = Story::of_two_databases();
    tell(&mut story);
    let saved = story.habits.save(false).unwrap();
    assert_eq!(story.habits.save(false), None);
    assert_eq!(story.habits.save(true), Some(saved.clone()));
    let known = ["pam", "pam_unix", "passwd-file"].map(|back| story.counts(back));
    assert_eq!(known, [(false, false), (false, false), (true, true)]);
    let position = Timestamp::from_second(story.second).unwrap();

    let mut again = Story::new();
    again.habits.take_up(&saved, position);
    assert_eq!(
        ["pam", "pam_unix", "passwd-file"].map(|back| again.counts(back)),
        known
    );
    again.second = story.second - 10;
    tell(&mut again);
    assert_eq!(again.habits.save(true), Some(saved));
    // From then on, it learns.
    again.second = story.second + 1;
    again
        .pam_does_not_know(AWAY, "eve")
        .learns(AWAY, "eve", "e");
    assert!(again.habits.save(false).is_some());
    again.habits.take_up("nonsense", position);
    assert_eq!(again.counts("pam"), (false, false));
}
