//! Evidence → attempts: the counting rule.
//!
//! One attempt writes several lines. Fronts (`smtpd`, `imap-login`, …) are disjoint, since an attempt passes exactly one:
//! their counts add up. Every back (`pam`, `passwd-file`, …) sees an attempt at most once, so backs don't add up. Names
//! that are refused before any password check never reach a back. For one source:
//!
//! ```text
//! attempts = max( sum over fronts,  refused names + max over backs )
//! ```
//!
//! The counts only ever grow, and so does their maximum; what it grows by are the attempts that are new. A second
//! witness of the same attempt, however late (`imap-login` speaks when the connection ends), adds nothing.

use std::sync::Arc;

/// Who says that an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Witness {
    /// A program that talks to the client.
    Front,
    /// A password database, by name.
    Back(Arc<str>),
    /// The name was refused before any password was checked.
    Refused,
}

/// What the witnesses said of one source.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    fronts: u32,
    refused: u32,
    backs: Vec<(Arc<str>, u32)>,
    attempts: u32,
}

impl Tally {
    /// Takes what a witness says and returns how many attempts nobody had told of before.
    pub fn add(&mut self, witness: &Witness, count: u32) -> u32 {
        let counter = match witness {
            Witness::Front => &mut self.fronts,
            Witness::Refused => &mut self.refused,
            Witness::Back(name) => self.back(name),
        };
        *counter = counter.saturating_add(count);

        let backs = self.backs.iter().map(|(_, n)| *n).max().unwrap_or(0);
        let attempts = self.fronts.max(self.refused.saturating_add(backs));
        let new = attempts - self.attempts;
        self.attempts = attempts;
        new
    }

    fn back(&mut self, name: &Arc<str>) -> &mut u32 {
        let index = self
            .backs
            .iter()
            .position(|(known, _)| known == name)
            .unwrap_or_else(|| {
                self.backs.push((Arc::clone(name), 0));
                self.backs.len() - 1
            });
        &mut self.backs[index].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(name: &str) -> Witness {
        Witness::Back(name.into())
    }

    #[test]
    fn three_lines_of_one_attempt_are_one_attempt() {
        let mut tally = Tally::default();
        assert_eq!(tally.add(&back("pam_unix"), 1), 1);
        assert_eq!(tally.add(&back("pam"), 1), 0);
        assert_eq!(tally.add(&Witness::Front, 1), 0);
    }

    #[test]
    fn a_front_that_speaks_at_the_end_adds_nothing_to_what_backs_said() {
        let mut tally = Tally::default();
        assert_eq!([1, 2, 3].map(|_| tally.add(&back("pam"), 1)), [1, 1, 1]);
        assert_eq!(tally.add(&Witness::Front, 3), 0);
    }

    #[test]
    fn fronts_add_up_and_backs_do_not() {
        let mut tally = Tally::default();
        assert_eq!(tally.add(&Witness::Front, 2), 2);
        assert_eq!(tally.add(&Witness::Front, 1), 1);
        assert_eq!(tally.add(&back("pam"), 2), 0);
        assert_eq!(tally.add(&back("passwd-file"), 2), 0);
        assert_eq!(tally.add(&back("passwd-file"), 2), 1);
    }

    #[test]
    fn refused_names_come_on_top_of_backs() {
        let mut tally = Tally::default();
        assert_eq!(tally.add(&Witness::Refused, 1), 1);
        assert_eq!(tally.add(&back("pam"), 1), 1);
        assert_eq!(tally.add(&Witness::Front, 2), 0);
    }
}
