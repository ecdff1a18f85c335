//! The bans in force, by source and by end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::jail::after;
use crate::source::Source;
use crate::tried::Names;
use crate::usec::Usec;

/// A jail's name: cheap to copy, since every ban carries one.
pub type JailName = Arc<str>;

/// How many bans there may be at once: as many as the firewall's sets hold (`maxelem` in `policy/firewalld/ipsets`).
pub const MAX_BANS: usize = 131_072;

/// That a jail keeps a source out, since when and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Who is kept out.
    pub source: Source,
    /// The jail that decided it.
    pub jail: JailName,
    /// The time of the journal entry that decided it, or of an admin's order.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
    /// Why it was made.
    pub cause: Cause,
}

/// Why a source is banned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// An admin's order.
    #[default]
    Order,
    /// What it did.
    Attempts(Attempts),
    /// So many bans in this network.
    Network(u32),
}

/// What a source did to be banned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// How many attempts led to it.
    pub count: u32,
    /// When the first of these happened.
    #[serde(rename = "first_usec")]
    pub first: Usec,
    /// Names that it tried of late, as the client wrote them, cut short; last the one that brought the ban.
    pub users: Names,
}

impl Cause {
    /// What the source did, if that is why.
    #[must_use]
    pub fn attempts(&self) -> Option<&Attempts> {
        match self {
            Self::Attempts(attempts) => Some(attempts),
            Self::Order | Self::Network(_) => None,
        }
    }

    /// The name that brought the ban.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.attempts()?.users.last()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order => write!(f, "by an administrator"),
            Self::Attempts(attempts) => {
                write!(f, "{} failed logins", attempts.count)?;
                self.user()
                    .map_or(Ok(()), |user| write!(f, ", the last as {user:?}"))
            }
            Self::Network(bans) => write!(f, "{bans} bans in this network"),
        }
    }
}

impl Ban {
    /// A ban that lasts for `time`.
    #[must_use]
    pub fn new(
        source: Source,
        jail: &JailName,
        since: Timestamp,
        time: Duration,
        cause: Cause,
    ) -> Self {
        Self {
            source,
            jail: Arc::clone(jail),
            since,
            until: after(since, time),
            cause,
        }
    }
}

/// A jail, by its place among the names.
type JailIndex = u32;
/// Since when, until when, and why.
type Term = (Usec, Usec, Cause);

/// All bans that are in force. A source has one ban in a jail at the most.
#[derive(Debug, Default)]
pub struct Bans {
    by_source: BTreeMap<(Source, JailIndex), Term>,
    by_end: BTreeSet<(Usec, Source, JailIndex)>,
    /// Of all jails that have ever banned, in order: a few.
    jails: Vec<JailName>,
}

impl FromIterator<Ban> for Bans {
    /// In less memory than one by one.
    fn from_iter<T: IntoIterator<Item = Ban>>(all: T) -> Self {
        let mut bans = Self::default();
        let all: Vec<Ban> = all.into_iter().collect();
        for ban in &all {
            bans.index(&ban.jail);
        }
        let by_source = all.into_iter().map(|ban| bans.entry(ban));
        let by_source: BTreeMap<_, _> = by_source.collect();
        let ends = by_source.iter();
        bans.by_end = ends
            .map(|((source, jail), (_, until, _))| (*until, *source, *jail))
            .collect();
        bans.by_source = by_source;
        while bans.len() > MAX_BANS {
            bans.take_first_to_end();
        }
        bans
    }
}

impl Bans {
    /// Puts a ban in force, in the place of one that the jail has for this source already.
    /// Above [`MAX_BANS`], the ban that would end first makes room and is returned.
    pub fn insert(&mut self, ban: Ban) -> Option<Ban> {
        let ((source, jail), term) = self.entry(ban);
        let until = term.1;
        if let Some((_, end, _)) = self.by_source.insert((source, jail), term) {
            self.by_end.remove(&(end, source, jail));
        }
        self.by_end.insert((until, source, jail));
        if self.len() > MAX_BANS {
            self.take_first_to_end()
        } else {
            None
        }
    }

    /// Takes a source's bans out of one jail, or out of all.
    pub fn remove(&mut self, source: Source, jail: Option<&str>) -> Vec<Ban> {
        let of_source = self.by_source.range(all_of(source));
        let keys: Vec<_> = of_source
            .map(|(key, _)| *key)
            .filter(|(_, index)| jail.is_none_or(|jail| *self.jails[*index as usize] == *jail))
            .collect();
        keys.into_iter().filter_map(|key| self.take(key)).collect()
    }

    /// Takes out the bans that end at `now` or before.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Ban> {
        let mut ended = Vec::new();
        while self.next_end().is_some_and(|end| end <= now) {
            ended.extend(self.take_first_to_end());
        }
        ended
    }

    /// When the next ban ends.
    #[must_use]
    pub fn next_end(&self) -> Option<Timestamp> {
        self.by_end.first().map(|(end, ..)| end.time())
    }

    /// The bans of one source, in any jail.
    pub fn of_source(&self, source: Source) -> impl Iterator<Item = Ban> {
        let bans = self.by_source.range(all_of(source));
        bans.map(|(key, term)| self.ban(*key, term.clone()))
    }

    /// The bans of a network and of all that is in it.
    #[must_use]
    pub fn inside(&self, network: Source) -> Vec<Ban> {
        self.by_source
            .range((network, 0)..)
            .take_while(|((source, _), _)| network.contains(*source))
            .map(|(key, term)| self.ban(*key, term.clone()))
            .collect()
    }

    /// Whether a source is banned, by itself.
    #[must_use]
    pub fn contains(&self, source: Source) -> bool {
        self.by_source.range(all_of(source)).next().is_some()
    }

    /// Whether a network around this source is banned.
    #[must_use]
    pub fn covers(&self, source: Source) -> bool {
        source.around().any(|network| self.contains(network))
    }

    /// Every ban, by source.
    pub fn iter(&self) -> impl Iterator<Item = Ban> {
        let bans = self.by_source.iter();
        bans.map(|(key, term)| self.ban(*key, term.clone()))
    }

    /// How many bans are in force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_source.len()
    }

    /// Whether nobody is banned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_source.is_empty()
    }

    fn take_first_to_end(&mut self) -> Option<Ban> {
        let (_, source, jail) = *self.by_end.first()?;
        self.take((source, jail))
    }

    fn take(&mut self, key: (Source, JailIndex)) -> Option<Ban> {
        let term = self.by_source.remove(&key)?;
        self.by_end.remove(&(term.1, key.0, key.1));
        Some(self.ban(key, term))
    }

    fn entry(&mut self, ban: Ban) -> ((Source, JailIndex), Term) {
        let index = self.index(&ban.jail);
        let term = (ban.since.into(), ban.until.into(), ban.cause);
        ((ban.source, index), term)
    }

    /// A jail's place. The names are in order, so that a source's bans are too.
    fn index(&mut self, jail: &JailName) -> JailIndex {
        let place = |at| JailIndex::try_from(at).unwrap_or(JailIndex::MAX);
        let at = match self.jails.binary_search(jail) {
            Ok(at) => return place(at),
            Err(at) => at,
        };
        self.jails.insert(at, Arc::clone(jail));
        let index = place(at);
        let moved = |of: JailIndex| if of < index { of } else { of + 1 };
        if at + 1 < self.jails.len() {
            let by_source = std::mem::take(&mut self.by_source).into_iter();
            self.by_source = by_source
                .map(|((source, jail), term)| ((source, moved(jail)), term))
                .collect();
            let by_end = std::mem::take(&mut self.by_end).into_iter();
            self.by_end = by_end
                .map(|(until, source, jail)| (until, source, moved(jail)))
                .collect();
        }
        index
    }

    fn ban(&self, (source, jail): (Source, JailIndex), (since, until, cause): Term) -> Ban {
        Ban {
            source,
            jail: Arc::clone(&self.jails[jail as usize]),
            since: since.time(),
            until: until.time(),
            cause,
        }
    }
}

/// A source's bans, in whatever jail.
fn all_of(source: Source) -> RangeInclusive<(Source, JailIndex)> {
    (source, 0)..=(source, JailIndex::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(source: &str, jail: &str, since: i64, until: i64) -> Ban {
        let at = |second| Timestamp::from_second(second).unwrap();
        Ban {
            source: source.parse().unwrap(),
            jail: jail.into(),
            since: at(since),
            until: at(until),
            cause: Cause::Order,
        }
    }

    #[test]
    fn a_ban_in_its_own_place_leaves_no_trace_of_the_old_one() {
        let mut bans = Bans::default();
        bans.insert(ban("192.0.2.7", "dovecot", 0, 10));
        bans.insert(ban("192.0.2.7", "dovecot", 5, 20));
        assert!(bans.expire(Timestamp::from_second(10).unwrap()).is_empty());
        assert_eq!(
            bans.expire(Timestamp::from_second(20).unwrap()),
            [ban("192.0.2.7", "dovecot", 5, 20)]
        );
        assert!(bans.is_empty() && bans.next_end().is_none());
    }

    #[test]
    fn bans_are_in_order_whichever_jail_was_first() {
        let all = [("192.0.2.7", "b"), ("192.0.2.8", "c"), ("192.0.2.7", "a")];
        let all = all.map(|(source, jail)| ban(source, jail, 0, 10));
        let mut bans = Bans::default();
        for ban in all.clone() {
            bans.insert(ban);
        }
        let wanted = [&all[2], &all[0], &all[1]];
        assert!(bans.iter().eq(wanted.into_iter().cloned()));
        assert!(all.into_iter().collect::<Bans>().iter().eq(bans.iter()));
        let lifted = bans.remove("192.0.2.7".parse().unwrap(), Some("b"));
        assert_eq!(lifted, [ban("192.0.2.7", "b", 0, 10)]);
        assert_eq!(bans.expire(Timestamp::from_second(10).unwrap()).len(), 2);
        assert!(bans.is_empty() && bans.next_end().is_none());
    }

    #[test]
    fn neighbours_and_jails_are_lifted_separately() {
        let mut bans = Bans::default();
        for (source, jail) in [
            ("192.0.2.7", "a"),
            ("192.0.2.7", "b"),
            ("192.0.2.8", "a"),
            ("192.0.2.0/24", "a"),
        ] {
            bans.insert(ban(source, jail, 0, 10));
        }
        assert_eq!(
            bans.remove("192.0.2.7".parse().unwrap(), Some("b")),
            [ban("192.0.2.7", "b", 0, 10)]
        );
        assert_eq!(
            bans.remove("192.0.2.7".parse().unwrap(), None),
            [ban("192.0.2.7", "a", 0, 10)]
        );
        assert_eq!(bans.remove("192.0.2.7".parse().unwrap(), None), []);
        assert_eq!(bans.len(), 2);
    }

    #[test]
    fn the_ban_that_ends_first_makes_room() {
        let mut bans = Bans::default();
        for n in 0..u32::try_from(MAX_BANS).unwrap() {
            let source = std::net::IpAddr::from(std::net::Ipv4Addr::from_bits(n)).into();
            let until = Timestamp::from_second(100 + i64::from(n)).unwrap();
            assert_eq!(
                bans.insert(Ban {
                    source,
                    jail: "a".into(),
                    since: Timestamp::UNIX_EPOCH,
                    until,
                    cause: Cause::Order,
                }),
                None
            );
        }
        let first = bans.insert(ban("2001:db8::1", "a", 0, 1000)).unwrap();
        assert_eq!(
            (first.source.to_string(), bans.len()),
            ("0.0.0.0".to_owned(), MAX_BANS)
        );
    }
}
