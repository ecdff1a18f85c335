//! What the agent did, by its own entries.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use jiff::Timestamp;

use super::MAX_SOURCES;
use crate::ban::JailName;
use crate::journal::{Act, Error, Own, OwnEntry};
use crate::source::Source;

/// Accounts under attack that are named.
const MAX_BESIEGED: usize = 1000;

/// Bans are sorted by their length: up to so many hours, each; the last ones are longer than a week.
pub const LENGTHS: [(u64, &str); 8] = [
    (1, "up to 1 h"),
    (2, "to 2 h"),
    (4, "to 4 h"),
    (8, "to 8 h"),
    (24, "to 1 d"),
    (72, "to 3 d"),
    (168, "to 7 d"),
    (u64::MAX, "longer"),
];

/// Bans of a time.
#[derive(Debug, Default)]
pub struct Bans {
    /// How many were made.
    pub made: u64,
    /// How many an administrator lifted.
    pub lifted: u64,
    /// How many were not made, since their source is never banned.
    pub ignored: u64,
    /// How many were not made, since their jail only observes.
    pub observed: u64,
    /// Who was banned.
    pub by_source: BTreeMap<Source, Banned>,
    /// By jail.
    pub by_jail: BTreeMap<JailName, u64>,
    /// How many were to last so long, as [`LENGTHS`] has it.
    pub lengths: [u64; LENGTHS.len()],
    /// Accounts that came under attack.
    pub besieged: BTreeSet<String>,
    /// More were banned than are remembered.
    pub(super) forgotten: bool,
}

/// A source that was banned.
#[derive(Clone, Copy, Debug)]
pub struct Banned {
    /// How often.
    pub bans: u64,
    /// When first, …
    pub first: Timestamp,
    /// … and last.
    pub last: Timestamp,
    /// Until when, that time.
    pub until: Timestamp,
}

impl Bans {
    pub(super) fn read(
        own: &mut Own,
        time: RangeInclusive<Timestamp>,
        mut made: impl FnMut(Timestamp),
    ) -> Result<Self, Error> {
        let mut bans = Self::default();
        while let Some(entry) = own.advance()? {
            if time.contains(&entry.at) && bans.hear(&entry) {
                made(entry.at);
            }
        }
        Ok(bans)
    }

    /// Takes in an entry, and tells whether it is a ban.
    fn hear(&mut self, entry: &OwnEntry) -> bool {
        match entry.act {
            Act::Ban => return self.ban(entry).is_some(),
            Act::Unban => {
                self.lifted += u64::from(entry.reason.as_deref() == Some("unbanned"));
            }
            Act::BanIgnored => self.ignored += 1,
            Act::Observe => self.observed += 1,
            Act::AccountUnderAttack => {
                if let Some(user) = &entry.user
                    && self.besieged.len() < MAX_BESIEGED
                {
                    self.besieged.insert(user.clone());
                }
            }
        }
        false
    }

    fn ban(&mut self, entry: &OwnEntry) -> Option<()> {
        let (source, until, at) = (entry.source?, entry.until?, entry.at);
        let jail = entry.jail.clone()?;
        self.made += 1;
        *self.by_jail.entry(jail).or_default() += 1;
        let minutes = until.duration_since(at).as_mins().max(0).unsigned_abs();
        // The entry is a moment younger than the ban.
        let fits = |(hours, _): &(u64, &str)| minutes <= hours.saturating_mul(60);
        let length = LENGTHS.iter().position(fits).unwrap_or(LENGTHS.len() - 1);
        self.lengths[length] += 1;
        if self.by_source.len() >= MAX_SOURCES && !self.by_source.contains_key(&source) {
            self.forgotten = true;
            return Some(());
        }
        let banned = self.by_source.entry(source).or_insert(Banned {
            bans: 0,
            first: at,
            last: at,
            until,
        });
        banned.bans += 1;
        (banned.last, banned.until) = (at, until);
        Some(())
    }

    /// Those who were banned more than once, the most often first.
    #[must_use]
    pub fn returners(&self) -> Vec<(Source, Banned)> {
        let mut returners: Vec<_> = self
            .by_source
            .iter()
            .filter(|(_, banned)| banned.bans > 1)
            .map(|(source, banned)| (*source, *banned))
            .collect();
        returners.sort_by_key(|(source, banned)| (std::cmp::Reverse(banned.bans), *source));
        returners
    }

    /// How many sources were banned once, twice, …, and five times or more.
    #[must_use]
    pub fn times(&self) -> [u64; 5] {
        let mut times = [0; 5];
        for banned in self.by_source.values() {
            let most = times.len() as u64;
            let index = usize::try_from(banned.bans.clamp(1, most) - 1).unwrap_or(0);
            times[index] += 1;
        }
        times
    }
}
