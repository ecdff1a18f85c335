//! What witnesses said of late.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use jiff::Timestamp;

use crate::filter::Evidence;
use crate::source::Source;
use crate::tally::Witness;
use crate::trust::Standing;

/// Words that are kept: those of the attempts under way, even while many attack.
const MAX_WORDS: usize = 1024;

/// Something that a witness has said.
#[derive(Clone, Debug)]
pub struct Word {
    /// When.
    pub at: Timestamp,
    /// Of whom.
    pub source: Source,
    /// Who.
    pub witness: Witness,
    /// How many attempts it told of.
    pub attempts: u32,
    /// As what they were counted.
    pub standing: Standing,
    pub(super) filter: Arc<str>,
    pub(super) user: Option<String>,
    pub(super) session: Option<String>,
    /// Its user has logged in since.
    pub(super) settled: bool,
}

/// The last words, in their order. Most logins are of people of whom there is none, and cost no search.
#[derive(Debug, Default)]
pub(super) struct Words {
    ring: VecDeque<Word>,
    sources: HashMap<Source, u32>,
    /// Users whom a database does not know.
    unknown: HashMap<String, u32>,
}

impl Word {
    /// Whether it may be about the same attempts as what a login process says.
    pub(super) fn is_of(&self, login: &Evidence) -> bool {
        self.source == login.source && self.user == login.user
    }

    fn unknown_user(&self) -> Option<&String> {
        let unknown = matches!(self.witness, Witness::Unknown(_));
        self.user.as_ref().filter(|_| unknown)
    }
}

impl Words {
    pub(super) fn push(&mut self, word: Word) {
        if self.ring.len() >= MAX_WORDS
            && let Some(oldest) = self.ring.pop_front()
        {
            self.forget(&oldest);
        }
        *self.sources.entry(word.source).or_default() += 1;
        if let Some(user) = word.unknown_user() {
            *self.unknown.entry(user.clone()).or_default() += 1;
        }
        self.ring.push_back(word);
    }

    /// Takes out what was said after `since`.
    pub(super) fn take(&mut self, since: Timestamp) -> VecDeque<Word> {
        let start = self.ring.partition_point(|word| word.at <= since);
        let taken = self.ring.split_off(start);
        for word in &taken {
            self.forget(word);
        }
        taken
    }

    /// All words, if there may be one of this source, or about this user being unknown.
    pub(super) fn about(&self, login: &Evidence) -> impl DoubleEndedIterator<Item = &Word> {
        let words = self.concern(login).then_some(&self.ring);
        words.into_iter().flatten()
    }

    /// From now on the words of this login are about what is over.
    pub(super) fn settle(&mut self, login: &Evidence) {
        if self.concern(login) {
            for word in &mut self.ring {
                word.settled |= word.is_of(login);
            }
        }
    }

    fn concern(&self, login: &Evidence) -> bool {
        let user = login.user.as_ref();
        self.sources.contains_key(&login.source)
            || user.is_some_and(|user| self.unknown.contains_key(user))
    }

    fn forget(&mut self, word: &Word) {
        take_one(&mut self.sources, &word.source);
        if let Some(user) = word.unknown_user() {
            take_one(&mut self.unknown, user);
        }
    }
}

/// Counts one less; what there is none of is not kept.
fn take_one<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
