//! How a host asks its password databases, learned from those who log in.
//!
//! Where there are several, Dovecot asks one after the other, and each but the last one writes a failure at every right
//! password that it does not know. Nothing in its journal says so; but somebody whom a database has just refused, and
//! who then logs in, shows that its word was not the last.

mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use lru::LruCache;

use super::Witness;
use crate::filter::{Evidence, Outcome};
use crate::trust::Standing;
pub use words::Word;
use words::Words;

/// Users who have logged in and are remembered.
const MAX_CUSTOMERS: usize = 4096;

/// Password databases, and pairs of them, that are remembered. Their names are the server's, so this is never reached in
/// earnest.
const MAX_BACKS: usize = 64;

/// The words of a session are looked for among so many. Under attack there are others between them; but once will do.
const NEAR: usize = 64;

/// So many logins must show it, and more than show the contrary: one customer who mistypes and gets in at once does not.
const LOGINS: u32 = 2;

/// A database that is asked first has spoken this long before the login at the most: PAM takes 1.5 to 2.5 s to refuse. Where
/// that was a password of its own, the client hears of it later still, and must try another.
const SAME_ATTEMPT: SignedDuration = SignedDuration::from_secs(3);

/// A look-up for somebody whose password was right comes this soon; after a wrong one, the client must wait and try again.
const LOOK_UP: SignedDuration = SignedDuration::from_secs(1);

/// What is known of a host's password databases.
#[derive(Debug)]
pub struct Habits {
    /// What witnesses that may be wrong have said of late.
    words: Words,
    /// Pairs of databases that have refused the same attempts, and how many logins showed that the second one is asked
    /// after the first.
    followed: BTreeMap<(Arc<str>, Arc<str>), u32>,
    /// Databases that do not know somebody who logged in.
    unknowing: BTreeMap<Arc<str>, Logins>,
    customers: LruCache<String, Customer>,
    /// What was learned up to here is known, and not learned again from a journal that is read again.
    known_until: Timestamp,
    /// Something has been learned since it was last saved.
    changed: bool,
}

/// What is learned of a host, as it is saved: pairs of databases with their logins, and databases with logins told and
/// untold.
type Saved = (Vec<(Arc<str>, Arc<str>, u32)>, Vec<(Arc<str>, u32, u32)>);

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
            words: Words::default(),
            followed: BTreeMap::new(),
            unknowing: BTreeMap::new(),
            // Unbounded in itself so that memory grows with use; `learn_who_is_unknowing` keeps the bound.
            customers: LruCache::unbounded(),
            known_until: Timestamp::MIN,
            changed: false,
        }
    }
}

impl Habits {
    /// What has been learned, to be saved, if it has changed, or whenever `all` is.
    pub fn save(&mut self, all: bool) -> Option<String> {
        if !std::mem::take(&mut self.changed) && !all {
            return None;
        }
        let pair = |((first, second), logins): (&(Arc<str>, Arc<str>), &u32)| {
            (Arc::clone(first), Arc::clone(second), *logins)
        };
        let unknowing =
            |(back, logins): (&Arc<str>, &Logins)| (Arc::clone(back), logins.told, logins.untold);
        let saved: Saved = (
            self.followed.iter().map(pair).collect(),
            self.unknowing.iter().map(unknowing).collect(),
        );
        serde_json::to_string(&saved).ok()
    }

    /// Takes up what had been learned up to a time. What makes no sense is learned anew.
    pub fn take_up(&mut self, saved: &str, until: Timestamp) {
        let Ok((followed, unknowing)) = serde_json::from_str::<Saved>(saved) else {
            return;
        };
        let followed = followed.into_iter().take(MAX_BACKS);
        self.followed = followed
            .map(|(first, second, logins)| ((first, second), logins))
            .collect();
        let unknowing = unknowing.into_iter().take(MAX_BACKS);
        self.unknowing = unknowing
            .map(|(back, told, untold)| (back, Logins { told, untold }))
            .collect();
        self.known_until = until;
    }

    /// How many of a database's words count: `wrong` passwords, `unknown` users.
    #[must_use]
    pub fn counting(&self, back: &Arc<str>, wrong: u32, unknown: u32) -> u32 {
        if self.is_followed(back) {
            0
        } else if self.does_not_know_all(back) {
            wrong
        } else {
            wrong.saturating_add(unknown)
        }
    }

    /// Takes in a failure. Returns whether something was learned by it: then all that was counted is to be counted again.
    pub fn hear(&mut self, evidence: &Evidence, standing: Standing) -> bool {
        let Outcome::Failure { witness, attempts } = &evidence.outcome else {
            return false;
        };
        if witness.is_sure() {
            self.learn_who_agree(evidence);
            return false;
        }
        self.words.push(Word {
            at: evidence.at,
            source: evidence.source,
            witness: witness.clone(),
            attempts: *attempts,
            standing,
            filter: Arc::clone(&evidence.filter),
            user: evidence.user.clone(),
            session: evidence.session.clone(),
            settled: false,
        });
        let (Witness::Unknown(back), Some(user)) = (witness, &evidence.user) else {
            return false;
        };
        // Most are no customers, or known to be unknown to it: this is on the way of every attempt.
        let is_news = |customer: &Customer| !customer.unknown_to.contains(back);
        if !self.customers.peek(user).is_some_and(is_news) {
            return false;
        }
        let before = self.not_counting();
        if let Some(customer) = self.customers.peek_mut(user) {
            let unknowing = (evidence.at > self.known_until).then_some(&mut self.unknowing);
            self.changed |= unknowing.is_some();
            customer.is_unknown_to(back, unknowing);
        }
        before != self.not_counting()
    }

    /// Takes out what was said after `since`.
    pub fn take_words(&mut self, since: Timestamp) -> VecDeque<Word> {
        self.words.take(since)
    }

    /// Whether a database says again at once that it does not know the user of a session: then it is asked as a user
    /// database, which comes after the right password.
    #[must_use]
    pub fn is_look_up(&self, evidence: &Evidence) -> bool {
        let Outcome::Failure { witness, .. } = &evidence.outcome else {
            return false;
        };
        let again = |word: &Word| {
            word.witness == *witness
                && word.session == evidence.session
                && word.user == evidence.user
                && evidence.at.duration_since(word.at) <= LOOK_UP
        };
        evidence.session.is_some()
            && matches!(witness, Witness::Unknown(_))
            && self.words.about(evidence).rev().take(NEAR).any(again)
    }

    /// A login that may be of an attempt which a database has just refused, because it does not know the user, explains
    /// what was counted since this time: in doubt, as long as nothing shows that the database has the last word.
    #[must_use]
    pub fn explained_since(&self, login: &Evidence) -> Option<Timestamp> {
        let since = login.at - SAME_ATTEMPT;
        let in_doubt = |back: &Arc<str>| {
            let logins = self.unknowing.get(back).copied().unwrap_or_default();
            logins.untold == 0 || self.does_not_know_all(back)
        };
        let explained = |word: &Word| {
            word.is_of(login)
                && !word.settled
                && word.at >= since
                && matches!(&word.witness, Witness::Unknown(back) if in_doubt(back))
        };
        let mut words = self.words.about(login);
        words.any(explained).then_some(since)
    }

    /// Takes in a login. Returns whether something was learned by it, as [`Habits::hear`] does.
    pub fn learn(&mut self, login: &Evidence) -> bool {
        let Some(user) = &login.user else {
            return false;
        };
        let before = self.not_counting();
        self.learn_who_is_unknowing(login, user);
        self.learn_who_is_followed(login);
        self.words.settle(login);
        before != self.not_counting()
    }

    /// Another database is asked next, whatever this one says.
    fn is_followed(&self, back: &Arc<str>) -> bool {
        let mut pairs = self.followed.iter().filter(|((first, _), _)| first == back);
        pairs.any(|((first, second), logins)| {
            let contrary = self.followed.get(&(Arc::clone(second), Arc::clone(first)));
            *logins >= LOGINS && *logins > contrary.copied().unwrap_or(0)
        })
    }

    /// Another database is asked next where this one does not know the user.
    fn does_not_know_all(&self, back: &Arc<str>) -> bool {
        self.unknowing
            .get(back)
            .is_some_and(|logins| logins.told >= LOGINS && logins.told > logins.untold)
    }

    /// The databases of whose words some don't count, and whether any do.
    fn not_counting(&self) -> BTreeMap<Arc<str>, bool> {
        let firsts = self.followed.keys().map(|(first, _)| first);
        self.unknowing
            .keys()
            .chain(firsts)
            .filter(|back| self.counting(back, 0, 1) == 0)
            .map(|back| (Arc::clone(back), self.is_followed(back)))
            .collect()
    }

    /// A database that does not know somebody who logs in is followed by one that does, or it follows that one: then it
    /// is asked only when the password is wrong.
    fn learn_who_is_unknowing(&mut self, login: &Evidence, user: &str) {
        if self.customers.len() >= MAX_CUSTOMERS && !self.customers.contains(user) {
            self.customers.pop_lru();
        }
        let customer = self
            .customers
            .get_or_insert_mut_ref(user, Customer::default);
        let is_news = login.at > self.known_until;
        let (mut told, mut mistaken) = (BTreeSet::new(), false);
        for word in self.words.about(login) {
            let Witness::Unknown(back) = &word.witness else {
                continue;
            };
            if word.user.as_deref() == Some(user) {
                let unknowing = is_news.then_some(&mut self.unknowing);
                customer.is_unknown_to(back, unknowing);
            }
            if word.is_of(login) && !word.settled {
                if login.at.duration_since(word.at) <= SAME_ATTEMPT {
                    told.insert(back);
                } else {
                    mistaken = true;
                }
            }
        }
        if mistaken && told.is_empty() {
            return;
        }
        if told.is_empty() {
            customer.untold = customer.untold.saturating_add(1);
        }
        if !is_news {
            return;
        }
        self.changed |= !customer.unknown_to.is_empty();
        for back in &customer.unknown_to {
            let logins = self.unknowing.entry(Arc::clone(back)).or_default();
            if told.contains(back) {
                logins.told = logins.told.saturating_add(1);
            } else {
                logins.untold = logins.untold.saturating_add(1);
            }
        }
    }

    /// A login process tells that a session's attempts all failed: so these databases are asked about the same passwords. (In
    /// one that ended with a login, a user database may have spoken.)
    fn learn_who_agree(&mut self, front: &Evidence) {
        let of_session = |word: &&Word| {
            word.session == front.session || word.session.is_none() && word.is_of(front)
        };
        let backs: BTreeSet<_> = self
            .words
            .about(front)
            .rev()
            .take(NEAR)
            .filter(|word| front.session.is_some() && word.filter == front.filter)
            .filter(of_session)
            .filter_map(|word| word.witness.back().cloned())
            .collect();
        for first in &backs {
            for second in backs.iter().filter(|second| *second != first) {
                let pair = (Arc::clone(first), Arc::clone(second));
                if self.followed.len() < MAX_BACKS && !self.followed.contains_key(&pair) {
                    self.followed.insert(pair, 0);
                    self.changed = true;
                }
            }
        }
    }

    /// All databases tell (`auth_verbose = yes`), and one has refused more often than another: the last time, the other
    /// one has accepted, or was not asked any more.
    fn learn_who_is_followed(&mut self, login: &Evidence) {
        let words = || {
            self.words
                .about(login)
                .filter(|word| word.is_of(login) && !word.settled && word.filter == login.filter)
        };
        let is_known = login.at <= self.known_until;
        if is_known || login.session.is_none() || !words().any(|word| word.session == login.session)
        {
            return;
        }
        let refusals = |back: &Arc<str>| {
            words()
                .filter(|word| word.witness.back() == Some(back))
                .count()
        };
        let pairs: Vec<_> = self.followed.keys().cloned().collect();
        for pair in pairs {
            if refusals(&pair.0) > refusals(&pair.1)
                && let Some(logins) = self.followed.get_mut(&pair)
            {
                *logins = logins.saturating_add(1);
                self.changed = true;
            }
        }
    }
}

impl Customer {
    /// A database has said that it does not know the name. If it is news, earlier logins bear on it.
    fn is_unknown_to(
        &mut self,
        back: &Arc<str>,
        unknowing: Option<&mut BTreeMap<Arc<str>, Logins>>,
    ) {
        if self.unknown_to.len() < MAX_BACKS
            && self.unknown_to.insert(Arc::clone(back))
            && let Some(unknowing) = unknowing
        {
            let logins = unknowing.entry(Arc::clone(back)).or_default();
            logins.untold = logins.untold.saturating_add(self.untold);
        }
    }
}

#[cfg(test)]
mod tests;
