//! Who has logged in from where: a user's failures from there are a stale password, and not somebody's guesses. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use lru::LruCache;

use crate::jail::before;
use crate::source::Source;

/// Users with their sources that are remembered; above that, those go who have not logged in for the longest time. Only
/// who has a right password gets in here.
pub const MAX_PAIRS: usize = 131_072;

/// The longest name of a user that is remembered, in bytes, as long as filters let them be. Of more, nothing is known.
const MAX_USER: usize = 256;

/// A login is noted again when so much of the time of trust is over, so that a busy customer is not saved each minute.
const RENEWALS: u32 = 16;

/// Who it is that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Anybody.
    Stranger,
    /// Who has logged in from there, under this name.
    Customer,
}

impl Standing {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Stranger, Self::Customer];
}

/// A user at a source.
pub type Pair = (Source, Box<str>);

/// The users who have logged in, each with the sources where from.
#[derive(Debug)]
pub struct Trust {
    lasts: Duration,
    max_pairs: usize,
    /// When they last logged in. A user of a domain is there a second time, as one of any domain.
    pairs: LruCache<Pair, Timestamp>,
    /// The last login from each source.
    sources: BTreeMap<Source, Timestamp>,
    /// When somebody last had to be forgotten who was still trusted.
    pub overflowed: Timestamp,
}

impl Trust {
    /// Trust that lasts for so long after a login.
    #[must_use]
    pub fn new(lasts: Duration) -> Self {
        Self::of_size(lasts, MAX_PAIRS)
    }

    fn of_size(lasts: Duration, max_pairs: usize) -> Self {
        Self {
            lasts,
            max_pairs,
            // Unbounded in itself so that memory grows with use; `note` keeps the bound.
            pairs: LruCache::unbounded(),
            sources: BTreeMap::new(),
            overflowed: Timestamp::MIN,
        }
    }

    /// Lasts for another time from now on; who has logged in stays known.
    pub fn set_time(&mut self, lasts: Duration) {
        self.lasts = lasts;
    }

    /// Somebody has logged in. Returns what is to be remembered, if that is news.
    pub fn learn(&mut self, source: Source, user: &str, at: Timestamp) -> Option<Pair> {
        let pair = (source, folded(user)?);
        let renewed = self.lasts / RENEWALS;
        let known = self.pairs.get(&pair).copied();
        if known.is_some_and(|last| before(at, renewed) < last) {
            return None;
        }
        self.restore(pair.clone(), at);
        Some(pair)
    }

    /// Takes up what was remembered.
    pub fn restore(&mut self, (source, user): Pair, at: Timestamp) {
        if let Some((name, _)) = user.split_once('@') {
            self.note((source, of_any_domain(name)), at);
        }
        self.note((source, user), at);
    }

    /// What a name is at a source.
    #[must_use]
    pub fn standing(&self, source: Source, user: Option<&str>, at: Timestamp) -> Standing {
        if user.is_some_and(|user| self.holds(source, user, at)) {
            Standing::Customer
        } else {
            Standing::Stranger
        }
    }

    /// Whether this user has logged in from this source lately. A name without a domain is the same as one with any:
    /// what clients write and what servers make of it may differ by that.
    fn holds(&self, source: Source, user: &str, at: Timestamp) -> bool {
        // Of most sources nobody has ever logged in, and there may be a million of them.
        if !self.sources.contains_key(&source) {
            return false;
        }
        let Some(user) = folded(user) else {
            return false;
        };
        let other: Box<str> = match user.split_once('@') {
            Some((name, _)) => name.into(),
            None => of_any_domain(&user),
        };
        let since = before(at, self.lasts);
        [user, other].into_iter().any(|user| {
            self.pairs
                .peek(&(source, user))
                .is_some_and(|last| *last > since)
        })
    }

    /// Whether somebody has logged in lately from a source in this network.
    #[must_use]
    pub fn within(&self, network: Source, at: Timestamp) -> bool {
        let since = before(at, self.lasts);
        network
            .entries(&self.sources)
            .any(|(_, last)| *last > since)
    }

    /// Who has logged in lately from a source in this network, and when last.
    #[must_use]
    pub fn of_source(&self, network: Source, at: Timestamp) -> Vec<(String, Timestamp)> {
        let since = before(at, self.lasts);
        let logins = self
            .iter()
            .filter(|((source, _), last)| network.overlaps(*source) && *last > since);
        logins
            .map(|((_, user), last)| (user.into(), last))
            .collect()
    }

    /// All that is to be remembered, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Pair, Timestamp)> {
        let pairs = self
            .pairs
            .iter()
            .filter(|((_, user), _)| !user.ends_with('\0'));
        pairs.map(|(pair, at)| (pair.clone(), *at))
    }

    fn note(&mut self, pair: Pair, at: Timestamp) {
        if self.pairs.len() >= self.max_pairs
            && !self.pairs.contains(&pair)
            && let Some(((source, _), last)) = self.pairs.pop_lru()
        {
            if self.sources.get(&source) == Some(&last) {
                self.sources.remove(&source);
            }
            if last > before(at, self.lasts) {
                self.overflowed = self.overflowed.max(at);
            }
        }
        let last = self.sources.entry(pair.0).or_insert(at);
        *last = at.max(*last);
        let known = self.pairs.get_or_insert_mut(pair, || at);
        *known = at.max(*known);
    }
}

/// No client can write this: filters take control characters out of names.
fn of_any_domain(name: &str) -> Box<str> {
    format!("{name}@\0").into()
}

/// A name as it is compared. Servers make capitals small.
fn folded(user: &str) -> Option<Box<str>> {
    let sensible = !user.is_empty() && user.len() <= MAX_USER;
    sensible.then(|| user.to_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: Duration = Duration::from_hours(7 * 24);
    const DAY: i64 = 86_400;

    fn source(text: &str) -> Source {
        text.parse().unwrap()
    }

    fn second(n: i64) -> Timestamp {
        Timestamp::from_second(n).unwrap()
    }

    #[test]
    fn a_user_is_trusted_where_he_has_logged_in_and_for_a_time() {
        let [office, home] = ["192.0.2.7", "2001:db8::/64"].map(source);
        let mut trust = Trust::new(WEEK);
        assert!(!trust.holds(office, "bob", second(0)));
        assert!(trust.learn(office, "bob", second(0)).is_some());
        assert!(trust.holds(office, "bob", second(6 * DAY)));
        assert!(trust.holds(office, "Bob", second(6 * DAY)));
        assert!(!trust.holds(office, "alice", second(0)));
        assert!(!trust.holds(home, "bob", second(0)));
        assert!(!trust.holds(office, "bob", second(7 * DAY)));
        trust.learn(office, "bob", second(7 * DAY));
        assert!(trust.holds(office, "bob", second(13 * DAY)));
    }

    #[test]
    fn a_name_without_a_domain_is_one_with_any_and_domains_are_told_apart() {
        let office = source("192.0.2.7");
        let mut trust = Trust::new(WEEK);
        trust.learn(office, "bob@a.example", second(0));
        trust.learn(office, "carol", second(0));
        let holds = |user| trust.holds(office, user, second(1));
        assert!(holds("bob@a.example") && holds("bob") && holds("BOB@A.example"));
        assert!(holds("carol") && holds("carol@a.example"));
        assert!(!holds("bob@b.example") && !holds("bo") && !holds("bob@") && !holds(""));
    }

    #[test]
    fn a_login_is_news_now_and_then() {
        let office = source("192.0.2.7");
        let mut trust = Trust::new(WEEK);
        let mut news = 0;
        for minute in 0..7 * 24 * 60 {
            news += u32::from(trust.learn(office, "bob", second(60 * minute)).is_some());
        }
        assert_eq!(news, RENEWALS);
    }

    #[test]
    fn a_network_with_a_customer_in_it_is_known() {
        let mut trust = Trust::new(WEEK);
        trust.learn(source("192.0.2.7"), "bob", second(0));
        trust.learn(source("2001:db8:1:2::/64"), "bob", second(0));
        let within = |network, at| trust.within(source(network), second(at));
        assert!(within("192.0.2.0/24", 1) && within("192.0.2.7", 1));
        assert!(within("2001:db8:1::/48", 1) && within("2001:db8:1::/56", 1));
        assert!(!within("192.0.3.0/24", 1) && !within("192.0.2.0/30", 1));
        assert!(!within("192.0.2.0/24", 7 * DAY));
    }

    #[test]
    fn who_is_not_trusted_any_more_is_no_loss() {
        let mut trust = Trust::of_size(WEEK, 4);
        for host in 1..=9 {
            let at = second(host / 5 * 8 * DAY);
            trust.learn(source(&format!("192.0.2.{host}")), "bob", at);
        }
        assert_eq!(trust.overflowed, second(8 * DAY));
        let mut trust = Trust::of_size(WEEK, 4);
        for host in 1..=8 {
            let at = second((host - 1) / 4 * 8 * DAY);
            trust.learn(source(&format!("192.0.2.{host}")), "bob", at);
        }
        assert_eq!(trust.overflowed, Timestamp::MIN);
    }

    #[test]
    fn there_is_a_bound() {
        let mut trust = Trust::of_size(WEEK, 4);
        for host in 1..=9 {
            trust.learn(
                source(&format!("192.0.2.{host}")),
                "bob@a.example",
                second(host),
            );
        }
        assert_eq!(trust.overflowed, second(9));
        assert_eq!((trust.pairs.len(), trust.sources.len()), (4, 2));
        let holds = |host: &str| trust.holds(source(host), "bob", second(9));
        assert!(holds("192.0.2.9") && !holds("192.0.2.1"));
        assert_eq!(
            trust.learn(source("192.0.2.1"), &"x".repeat(9000), second(9)),
            None
        );
    }
}
