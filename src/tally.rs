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
//! Three things are taken off. What a back says is no attempt's end where another back is asked next ([`Habits`] knows
//! that). And an attempt that a back could not check, because its database is down, is none, whatever the other backs
//! say of it, or a front that can't tell. And the same wrong password again, where a back tells its hash, is no new guess.
//!
//! Whoever counts asks again after each word. What the number grows by are the attempts that are new; a second witness of
//! the same attempt, however late (`imap-login` speaks when the connection ends), adds nothing.

mod habits;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

pub use habits::{Habits, Word};

/// Who says that an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Witness {
    /// A program that talks to the client.
    Front,
    /// A program that talks to the client, and can't tell a password that was refused from one that nobody could check.
    UnsureFront,
    /// A password database, by name.
    Back(Arc<str>),
    /// A password database that does not know the user. Another one may be asked next, and know it.
    Unknown(Arc<str>),
    /// The name was refused before any password was checked.
    Refused,
}

/// What the witnesses said of one source.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    fronts: u32,
    unsure_fronts: u32,
    /// Attempts by way of unsure fronts that a database could not check.
    excused: u32,
    refused: u32,
    /// Most sources are heard of by one, and there may be a million of them.
    backs: SmallVec<[Back; 1]>,
}

/// What one password database said.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Back {
    #[serde(with = "name")]
    name: Arc<str>,
    /// Passwords that it refused.
    wrong: u32,
    /// Users that it does not know.
    unknown: u32,
    /// Passwords that it could not check.
    unchecked: u32,
    /// Passwords that it had refused before, for the same user.
    repeated: u32,
}

impl Witness {
    /// The password database, if it is one.
    #[must_use]
    pub fn back(&self) -> Option<&Arc<str>> {
        match self {
            Self::Back(name) | Self::Unknown(name) => Some(name),
            Self::Front | Self::UnsureFront | Self::Refused => None,
        }
    }

    /// Whether the witness knows that the password was refused, in the end.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        matches!(self, Self::Front | Self::Refused)
    }
}

impl Tally {
    /// Takes what a witness says.
    pub fn add(&mut self, witness: &Witness, count: u32) {
        let counter = self.counter(witness);
        *counter = counter.saturating_add(count);
    }

    /// Takes back what [`Tally::add`] took.
    pub fn take_back(&mut self, witness: &Witness, count: u32) {
        let counter = self.counter(witness);
        *counter = counter.saturating_sub(count);
    }

    /// A password database could not check a password, which came through a login process (those tell by themselves) or
    /// not.
    pub fn unchecked(&mut self, name: &Arc<str>, login_process: bool) {
        let back = self.back(name);
        back.unchecked = back.unchecked.saturating_add(1);
        if !login_process {
            self.excused = self.excused.saturating_add(1);
        }
    }

    /// A password database has refused the same password for the same user before: that is no new guess.
    pub fn repeated(&mut self, witness: &Witness) {
        if let Some(name) = witness.back() {
            let back = self.back(name);
            back.repeated = back.repeated.saturating_add(1);
        }
    }

    /// How many attempts there were.
    #[must_use]
    pub fn attempts(&self, habits: &Habits) -> u32 {
        let fronts = self
            .fronts
            .saturating_add(self.unsure_fronts.saturating_sub(self.excused));
        let sum = |sum: u32, back: &Back| sum.saturating_add(back.unchecked);
        let unchecked = self.backs.iter().fold(0, sum);
        let refusals = |back: &Back| {
            let by_others = unchecked - back.unchecked;
            habits
                .counting(&back.name, back.wrong, back.unknown)
                .saturating_sub(by_others)
        };
        let backs = self.backs.iter().map(refusals).max().unwrap_or(0);
        let repeated = self.backs.iter().map(|back| back.repeated).max();
        fronts
            .max(self.refused.saturating_add(backs))
            .saturating_sub(repeated.unwrap_or(0))
    }

    fn counter(&mut self, witness: &Witness) -> &mut u32 {
        match witness {
            Witness::Front => &mut self.fronts,
            Witness::UnsureFront => &mut self.unsure_fronts,
            Witness::Refused => &mut self.refused,
            Witness::Back(name) => &mut self.back(name).wrong,
            Witness::Unknown(name) => &mut self.back(name).unknown,
        }
    }

    fn back(&mut self, name: &Arc<str>) -> &mut Back {
        let index = self
            .backs
            .iter()
            .position(|back| back.name == *name)
            .unwrap_or_else(|| {
                let new = Back {
                    name: Arc::clone(name),
                    wrong: 0,
                    unknown: 0,
                    unchecked: 0,
                    repeated: 0,
                };
                self.backs.push(new);
                self.backs.len() - 1
            });
        &mut self.backs[index]
    }
}

/// A database's name, as it is saved.
mod name {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(name: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
        (**name).serialize(to)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(from).map(Arc::from)
    }
}

#[cfg(test)]
mod tests;
