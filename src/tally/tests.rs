use super::*;

fn back(name: &str) -> Witness {
    Witness::Back(name.into())
}

/// How many attempts there are after each word.
fn count(words: &[(Witness, u32)]) -> Vec<u32> {
    let mut tally = Tally::default();
    let add = |(witness, count): &(Witness, u32)| {
        tally.add(witness, *count);
        tally.attempts(&Habits::default())
    };
    words.iter().map(add).collect()
}

#[test]
fn three_lines_of_one_attempt_are_one_attempt() {
    let words = [(back("pam_unix"), 1), (back("pam"), 1), (Witness::Front, 1)];
    assert_eq!(count(&words), [1, 1, 1]);
}

#[test]
fn a_front_that_speaks_at_the_end_adds_nothing_to_what_backs_said() {
    let pam = (back("pam"), 1);
    let words = [pam.clone(), pam.clone(), pam, (Witness::Front, 3)];
    assert_eq!(count(&words), [1, 2, 3, 3]);
}

#[test]
fn fronts_add_up_and_backs_do_not() {
    let words = [
        (Witness::Front, 2),
        (Witness::UnsureFront, 1),
        (back("pam"), 2),
        (back("passwd-file"), 2),
        (back("passwd-file"), 2),
    ];
    assert_eq!(count(&words), [2, 3, 3, 3, 4]);
}

#[test]
fn refused_names_come_on_top_of_backs() {
    let words = [(Witness::Refused, 1), (back("pam"), 1), (Witness::Front, 2)];
    assert_eq!(count(&words), [1, 2, 2]);
}

#[test]
fn a_database_that_does_not_know_the_user_has_refused_the_attempt() {
    let unknown = Witness::Unknown("pam_unix".into());
    let words = [
        (unknown.clone(), 1),
        (back("pam_unix"), 1),
        (back("pam"), 1),
        (unknown, 1),
    ];
    assert_eq!(count(&words), [1, 2, 2, 3]);
}

/// PAM refuses, SQL is down: Dovecot answers that it can't tell.
#[test]
fn what_a_database_could_not_check_is_no_attempt_whatever_the_others_say() {
    for sql_first in [false, true] {
        let mut tally = Tally::default();
        for _ in 0..5 {
            if sql_first {
                tally.unchecked(&"sql".into(), true);
            }
            tally.add(&back("pam_unix"), 1);
            tally.add(&back("pam"), 1);
            if !sql_first {
                tally.unchecked(&"sql".into(), true);
            }
            assert_eq!(tally.attempts(&Habits::default()), 0);
        }
        // It is up again.
        tally.add(&back("pam"), 1);
        assert_eq!(tally.attempts(&Habits::default()), 1);
        tally.add(&back("sql"), 2);
        assert_eq!(tally.attempts(&Habits::default()), 2);
    }
}

/// Postfix is told of a failure only, login processes are told why.
#[test]
fn what_a_database_could_not_check_explains_what_unsure_fronts_say() {
    let mut tally = Tally::default();
    tally.unchecked(&"sql".into(), false);
    tally.add(&Witness::UnsureFront, 1);
    assert_eq!(tally.attempts(&Habits::default()), 0);
    tally.unchecked(&"sql".into(), true);
    tally.add(&Witness::UnsureFront, 1);
    assert_eq!(tally.attempts(&Habits::default()), 1);
    tally.unchecked(&"sql".into(), false);
    tally.add(&Witness::Front, 1);
    assert_eq!(tally.attempts(&Habits::default()), 1);
}
