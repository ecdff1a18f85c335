//! How a host asks its password databases, learned from those who log in.
//!
//! Where there are several, Dovecot asks one after the other, and each but the last one writes a failure at every right
//! password that it does not know. Nothing in its journal says so; but somebody whom a database has just refused, and
//! who then logs in, shows that its word was not the last.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;

use jiff::Timestamp;
use lru::LruCache;

use super::Witness;
use crate::filter::{Evidence, Outcome};
use crate::source::Source;

/// Words that are kept: those of the attempts under way, even while many attack.
const MAX_WORDS: usize = 1024;

/// Users who have logged in and are remembered.
const MAX_CUSTOMERS: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// Password databases that are remembered; their names are the server's, so this is never reached in earnest.
const MAX_BACKS: usize = 64;

/// So many logins must show it, or a customer who mistypes and gets in at once would.
const LOGINS: u32 = 2;

/// What is known of a host's password databases.
#[derive(Debug)]
pub struct Habits {
    /// What witnesses that may be wrong have said of late.
    words: VecDeque<Word>,
    /// Databases that ever refused a password, by filter.
    heard: BTreeSet<(Arc<str>, Arc<str>)>,
    /// Databases after which another one is asked, whatever they say.
    not_last: BTreeSet<Arc<str>>,
    /// Databases that do not know somebody who logged in.
    unknowing: BTreeMap<Arc<str>, Logins>,
    customers: LruCache<String, Customer>,
}

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
    filter: Arc<str>,
    user: Option<String>,
    session: Option<String>,
    /// Its user has logged in since.
    settled: bool,
}

/// Logins of users whom a database does not know.
#[derive(Clone, Copy, Debug, Default)]
struct Logins {
    /// It was asked, and said so.
    told: u32,
    /// It was not asked, so it comes after the one that knows them.
    untold: u32,
}

/// A user who has logged in.
#[derive(Debug, Default)]
struct Customer {
    /// So often without a word of a database that does not know the name.
    untold: u32,
    unknown_to: BTreeSet<Arc<str>>,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            words: VecDeque::new(),
            heard: BTreeSet::new(),
            not_last: BTreeSet::new(),
            unknowing: BTreeMap::new(),
            customers: LruCache::new(MAX_CUSTOMERS),
        }
    }
}

impl Habits {
    /// How many of a database's words count: `wrong` passwords, `unknown` users.
    #[must_use]
    pub fn counting(&self, back: &Arc<str>, wrong: u32, unknown: u32) -> u32 {
        if self.not_last.contains(back) {
            return 0;
        }
        let others_know = self
            .unknowing
            .get(back)
            .is_some_and(|logins| logins.told >= LOGINS && logins.told > logins.untold);
        if others_know {
            wrong
        } else {
            wrong.saturating_add(unknown)
        }
    }

    /// Takes in a failure. Returns whether something was learned by it: then all that was counted is to be counted again.
    pub fn hear(&mut self, evidence: &Evidence) -> bool {
        let Outcome::Failure { witness, attempts } = &evidence.outcome else {
            return false;
        };
        if witness.is_sure() {
            return false;
        }
        if let Some(back) = witness.back()
            && self.heard.len() < MAX_BACKS
        {
            self.heard
                .insert((Arc::clone(&evidence.filter), Arc::clone(back)));
        }
        if self.words.len() >= MAX_WORDS {
            self.words.pop_front();
        }
        self.words.push_back(Word {
            at: evidence.at,
            source: evidence.source,
            witness: witness.clone(),
            attempts: *attempts,
            filter: Arc::clone(&evidence.filter),
            user: evidence.user.clone(),
            session: evidence.session.clone(),
            settled: false,
        });
        let known = self.others_know();
        if let (Witness::Unknown(back), Some(user)) = (witness, &evidence.user)
            && let Some(customer) = self.customers.peek_mut(user)
        {
            customer.is_unknown_to(back, &mut self.unknowing);
        }
        known != self.others_know()
    }

    /// Takes out what was said after `since`.
    pub fn take_words(&mut self, since: Timestamp) -> VecDeque<Word> {
        let start = self.words.partition_point(|word| word.at <= since);
        self.words.split_off(start)
    }

    /// Takes in a login. Returns whether something was learned by it, as [`Habits::hear`] does.
    pub fn learn(&mut self, login: &Evidence) -> bool {
        let Some(user) = &login.user else {
            return false;
        };
        let before = (self.not_last.len(), self.others_know());
        self.learn_who_is_unknowing(login, user);
        self.learn_who_is_not_last(login);
        for word in &mut self.words {
            word.settled |= word.is_of(login);
        }
        before != (self.not_last.len(), self.others_know())
    }

    /// The databases that are followed by one that may know whom they don't.
    fn others_know(&self) -> Vec<Arc<str>> {
        let silent = |back: &&Arc<str>| self.counting(back, 0, 1) == 0;
        self.unknowing.keys().filter(silent).cloned().collect()
    }

    /// A database that does not know somebody who logs in is followed by one that does, or it follows that one: then it
    /// is asked only when the password is wrong.
    fn learn_who_is_unknowing(&mut self, login: &Evidence, user: &str) {
        let customer = self
            .customers
            .get_or_insert_mut_ref(user, Customer::default);
        let mut told = BTreeSet::new();
        for word in &self.words {
            let Witness::Unknown(back) = &word.witness else {
                continue;
            };
            if word.user.as_deref() == Some(user) {
                customer.is_unknown_to(back, &mut self.unknowing);
            }
            if word.is_of(login) && !word.settled {
                told.insert(back);
            }
        }
        if told.is_empty() {
            customer.untold = customer.untold.saturating_add(1);
        }
        for back in &customer.unknown_to {
            let logins = self.unknowing.entry(Arc::clone(back)).or_default();
            if told.contains(back) {
                logins.told = logins.told.saturating_add(1);
            } else {
                logins.untold = logins.untold.saturating_add(1);
            }
        }
    }

    /// All databases tell (`auth_verbose = yes`), and one has refused more often than another: the last time, the other
    /// one has accepted, or was not asked any more.
    fn learn_who_is_not_last(&mut self, login: &Evidence) {
        let words = || {
            self.words
                .iter()
                .filter(|word| word.is_of(login) && !word.settled && word.filter == login.filter)
        };
        if login.session.is_none() || !words().any(|word| word.session == login.session) {
            return;
        }
        let refusals = |back: &Arc<str>| {
            words()
                .filter(|word| word.witness.back() == Some(back))
                .count()
        };
        let backs: Vec<_> = self
            .heard
            .iter()
            .filter(|(filter, back)| *filter == login.filter && !self.not_last.contains(back))
            .map(|(_, back)| (Arc::clone(back), refusals(back)))
            .collect();
        let fewest = backs.iter().map(|(_, count)| *count).min().unwrap_or(0);
        let more = backs.into_iter().filter(|(_, count)| *count > fewest);
        self.not_last.extend(more.map(|(back, _)| back));
    }
}

impl Customer {
    /// A database has said that it does not know the name. If it is news, earlier logins bear on it.
    fn is_unknown_to(&mut self, back: &Arc<str>, unknowing: &mut BTreeMap<Arc<str>, Logins>) {
        if self.unknown_to.len() < MAX_BACKS && self.unknown_to.insert(Arc::clone(back)) {
            let logins = unknowing.entry(Arc::clone(back)).or_default();
            logins.untold = logins.untold.saturating_add(self.untold);
        }
    }
}

impl Word {
    /// Whether it may be about the same attempts as a login.
    fn is_of(&self, login: &Evidence) -> bool {
        self.source == login.source && self.user == login.user
    }
}

#[cfg(test)]
mod tests;
