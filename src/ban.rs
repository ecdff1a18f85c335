//! The bans in force, by source and by end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::jail::after;
use crate::source::Source;

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
    Attempts(Arc<Attempts>),
    /// So many bans in this network.
    Network(u32),
}

/// What a source did to be banned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// How many attempts led to it.
    pub count: u32,
    /// When the first of these happened.
    #[serde(
        rename = "first_usec",
        with = "jiff::fmt::serde::timestamp::microsecond::required"
    )]
    pub first: Timestamp,
    /// Names that it tried of late, as the client wrote them, cut short; last the one that brought the ban.
    pub users: Vec<Arc<str>>,
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
        self.attempts()?.users.last().map(|user| &**user)
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

type Key = (Source, JailName);
/// Since when, until when, and why.
type Term = (Timestamp, Timestamp, Cause);

/// All bans that are in force. A source has one ban in a jail at the most.
#[derive(Debug, Default)]
pub struct Bans {
    by_source: BTreeMap<Key, Term>,
    by_end: BTreeSet<(Timestamp, Source, JailName)>,
}

impl Bans {
    /// Puts a ban in force, in the place of one that the jail has for this source already.
    /// Above [`MAX_BANS`], the ban that would end first makes room and is returned.
    pub fn insert(&mut self, ban: Ban) -> Option<Ban> {
        let Ban {
            source,
            jail,
            since,
            until,
            cause,
        } = ban;
        let key = (source, Arc::clone(&jail));
        if let Some((_, end, _)) = self.by_source.insert(key, (since, until, cause)) {
            self.by_end.remove(&(end, source, Arc::clone(&jail)));
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
        let bans: Vec<Ban> = self
            .of_source(source)
            .filter(|ban| jail.is_none_or(|jail| *ban.jail == *jail))
            .collect();
        for ban in &bans {
            self.by_source.remove(&(ban.source, Arc::clone(&ban.jail)));
            self.by_end
                .remove(&(ban.until, ban.source, Arc::clone(&ban.jail)));
        }
        bans
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
        self.by_end.first().map(|(end, ..)| *end)
    }

    /// The bans of one source, in any jail.
    pub fn of_source(&self, source: Source) -> impl Iterator<Item = Ban> {
        self.by_source
            .range((source, JailName::from(""))..)
            .take_while(move |((s, _), _)| *s == source)
            .map(to_ban)
    }

    /// The bans of a network and of all that is in it.
    #[must_use]
    pub fn inside(&self, network: Source) -> Vec<Ban> {
        self.by_source
            .range((network, JailName::from(""))..)
            .take_while(|((source, _), _)| network.contains(*source))
            .map(to_ban)
            .collect()
    }

    /// Whether a network around this source is banned.
    #[must_use]
    pub fn covers(&self, source: Source) -> bool {
        source
            .around()
            .any(|network| self.of_source(network).next().is_some())
    }

    /// Every ban, by source.
    pub fn iter(&self) -> impl Iterator<Item = Ban> {
        self.by_source.iter().map(to_ban)
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
        let (until, source, jail) = self.by_end.pop_first()?;
        let (since, _, cause) = self.by_source.remove(&(source, Arc::clone(&jail)))?;
        Some(Ban {
            source,
            jail,
            since,
            until,
            cause,
        })
    }
}

fn to_ban(((source, jail), (since, until, cause)): (&Key, &Term)) -> Ban {
    Ban {
        source: *source,
        jail: Arc::clone(jail),
        since: *since,
        until: *until,
        cause: cause.clone(),
    }
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
