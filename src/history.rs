//! Who was banned before: the next ban lasts longer, and where many of one network are banned, all of it is. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use itertools::Itertools;
use jiff::Timestamp;

use crate::jail::before;
use crate::oldest::Oldest;
use crate::source::Source;
use crate::usec::Usec;

/// Sources whose bans are remembered, as many as there may be bans; above that, the one goes whose last ban is oldest.
pub const MAX_SOURCES: usize = 131_072;

/// How bans grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Each ban lasts so many times as long as the one before …
    pub factor: u16,
    /// … and none longer than this, unless the first is.
    pub longest: Duration,
    /// For each such time without a ban, one of those before is forgotten.
    pub forget: Duration,
}

impl Default for Growth {
    fn default() -> Self {
        const WEEK: Duration = Duration::from_hours(7 * 24);
        Self {
            factor: 2,
            longest: WEEK,
            forget: WEEK,
        }
    }
}

/// When a whole network is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// So many of it were banned; 0: never.
    pub sources: u16,
    /// In this time.
    pub window: Duration,
}

/// What a source has behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// Its bans.
    pub bans: u32,
    /// When the last one began.
    pub since: Timestamp,
    /// When it ended, or will.
    pub until: Timestamp,
}

impl Past {
    /// How many of its bans are not forgotten.
    fn left(&self, at: Timestamp, forget: Duration) -> u32 {
        let quiet = Duration::try_from(at.duration_since(self.until)).unwrap_or_default();
        let forgotten = quiet.as_secs().checked_div(forget.as_secs()).unwrap_or(0);
        self.bans
            .saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }
}

/// A [`Past`] as it is kept.
#[derive(Clone, Copy, Debug)]
struct Kept {
    bans: u32,
    since: Usec,
    until: Usec,
}

impl From<Past> for Kept {
    fn from(Past { bans, since, until }: Past) -> Self {
        let (since, until) = (since.into(), until.into());
        Self { bans, since, until }
    }
}

impl Kept {
    fn past(&self) -> Past {
        Past {
            bans: self.bans,
            since: self.since.time(),
            until: self.until.time(),
        }
    }
}

/// The bans that there were.
#[derive(Debug)]
pub struct History {
    by_source: BTreeMap<Source, Kept>,
    oldest: Oldest,
    /// When one last had to be forgotten whose bans still counted.
    pub overflowed: Timestamp,
}

impl Default for History {
    fn default() -> Self {
        Self {
            by_source: BTreeMap::new(),
            oldest: Oldest::default(),
            overflowed: Timestamp::MIN,
        }
    }
}

impl Extend<(Source, Past)> for History {
    /// Takes up what was remembered, in less memory than one by one.
    fn extend<T: IntoIterator<Item = (Source, Past)>>(&mut self, all: T) {
        let all = all.into_iter().map(|(source, past)| (source, past.into()));
        self.by_source.append(&mut all.collect());
        while self.forget_oldest().is_some() {}
    }
}

impl History {
    /// How long the next ban of a source lasts, where the first would last for `first`.
    #[must_use]
    pub fn ban_time(
        &self,
        source: Source,
        at: Timestamp,
        first: Duration,
        growth: Growth,
    ) -> Duration {
        // One that lasts is for the same that calls for this one, in another jail.
        let lasts = self.past(source).is_some_and(|past| past.until > at);
        let bans = self.bans(source, at, growth.forget);
        let bans = bans.saturating_sub(u32::from(lasts));
        // No more powers than can matter.
        let power = i32::try_from(bans.min(64)).unwrap_or(64);
        let grown = first.as_secs_f64() * f64::from(growth.factor).powi(power);
        let longest = growth.longest.max(first);
        Duration::try_from_secs_f64(grown).map_or(longest, |grown| grown.min(longest))
    }

    /// What is remembered of a source.
    #[must_use]
    pub fn past(&self, source: Source) -> Option<Past> {
        self.by_source.get(&source).map(Kept::past)
    }

    /// How many bans of a source are not forgotten.
    #[must_use]
    pub fn bans(&self, source: Source, at: Timestamp, forget: Duration) -> u32 {
        self.past(source).map_or(0, |past| past.left(at, forget))
    }

    /// A source is banned. Returns what is to be remembered of it.
    pub fn note(
        &mut self,
        source: Source,
        since: Timestamp,
        until: Timestamp,
        forget: Duration,
    ) -> Past {
        let lasting = self.past(source).filter(|past| past.until > since);
        let new = u32::from(lasting.is_none());
        let bans = self.bans(source, since, forget).saturating_add(new);
        let until = lasting.map_or(until, |past| past.until.max(until));
        let past = Past { bans, since, until };
        self.by_source.insert(source, past.into());
        let forgotten = self.forget_oldest();
        if forgotten.is_some_and(|past| past.left(since, forget) > 0) {
            self.overflowed = since;
        }
        past
    }

    /// Of too many, forgets the one whose last ban is oldest.
    fn forget_oldest(&mut self) -> Option<Past> {
        if self.by_source.len() <= MAX_SOURCES {
            return None;
        }
        let oldest = self.oldest.take(&mut self.by_source, |past| past.since);
        oldest.map(|(_, past)| past.past())
    }

    /// An admin lets a source off. Returns whether there was anything to forget.
    pub fn forgive(&mut self, source: Source) -> bool {
        self.by_source.remove(&source).is_some()
    }

    /// All that is to be remembered.
    pub fn iter(&self) -> impl Iterator<Item = (Source, Option<Past>)> {
        self.by_source
            .iter()
            .map(|(source, past)| (*source, Some(past.past())))
    }

    /// Who is remembered of a network, but for itself.
    #[must_use]
    pub fn inside(&self, network: Source) -> Vec<Source> {
        network
            .entries(&self.by_source)
            .map(|(source, _)| source)
            .filter(|source| *source != network)
            .collect()
    }

    /// The largest network around a source of which too many were banned, and how many, if `may` be banned.
    #[must_use]
    pub fn crowd(
        &self,
        source: Source,
        at: Timestamp,
        rule: Crowd,
        may: impl Fn(Source) -> bool,
    ) -> Option<(Source, u32)> {
        if rule.sources == 0 {
            return None;
        }
        let since = Usec::from(before(at, rule.window));
        let crowded = |network: Source, parts: u8| {
            // In order, what is in the same part stands together.
            let banned = network
                .entries(&self.by_source)
                .filter(|(source, past)| *source != network && past.since > since)
                .filter_map(|(source, _)| source.truncated(parts))
                .dedup()
                .count();
            let crowded = banned >= usize::from(rule.sources);
            crowded.then(|| u32::try_from(banned).unwrap_or(u32::MAX))
        };
        source
            .crowds()
            .filter(|(network, _)| may(*network))
            .filter_map(|(network, parts)| Some((network, crowded(network, parts)?)))
            .last()
    }
}

#[cfg(test)]
mod tests;
