//! What a jail knows of each source.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use lru::LruCache;

use super::recent::Recent;
use super::{Decision, before};
use crate::filter::{Evidence, Outcome};
use crate::source::Source;
use crate::tally::{Habits, Tally};

/// Passwords that are remembered of a source, by their hash: those of a few phones.
const MAX_TRIED: usize = 8;

/// Records by source. Of too many, the one not heard of for the longest time is forgotten.
#[derive(Debug)]
pub(super) struct Records {
    by_source: LruCache<Source, Record>,
    most: usize,
    /// When one was last forgotten that was heard of within the window.
    pub(super) overflowed: Timestamp,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) tally: Tally,
    /// Attempts that count towards a ban, with their times: fewer than the limit.
    pub(super) recent: Recent,
    /// What happened up to here was dealt with by a ban, or forgiven by an admin. In µs, since there may be a million.
    settled: i64,
    heard: i64,
    /// What was tried last, where the server tells: user, password and who refused them, hashed.
    tried: Option<Box<[u64; MAX_TRIED]>>,
}

impl Records {
    pub(super) fn new(most: usize) -> Self {
        Self {
            // Unbounded in itself so that memory grows with use; `of` keeps the bound.
            by_source: LruCache::unbounded(),
            most,
            overflowed: Timestamp::MIN,
        }
    }

    /// Another bound from now on.
    pub(super) fn set_most(&mut self, most: usize) {
        self.most = most;
        while self.by_source.len() > most {
            self.by_source.pop_lru();
        }
    }

    /// The record of a source that is heard of at `at`, and whose attempts matter for a window.
    pub(super) fn of(&mut self, source: Source, at: Timestamp, window: Duration) -> &mut Record {
        if self.by_source.len() >= self.most
            && !self.by_source.contains(&source)
            && let Some((_, forgotten)) = self.by_source.pop_lru()
            && forgotten.heard > before(at, window).as_microsecond()
        {
            self.overflowed = at;
        }
        self.by_source.get_or_insert_mut(source, Record::default)
    }

    pub(super) fn peek(&self, source: Source) -> Option<&Record> {
        self.by_source.peek(&source)
    }

    pub(super) fn peek_mut(&mut self, source: Source) -> Option<&mut Record> {
        self.by_source.peek_mut(&source)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Source, &Record)> {
        self.by_source.iter()
    }

    pub(super) fn count_again(&mut self, habits: &Habits) {
        for (_, record) in &mut self.by_source {
            record.count_again(habits);
        }
    }
}

impl Default for Record {
    fn default() -> Self {
        Self {
            tally: Tally::default(),
            recent: Recent::default(),
            settled: i64::MIN,
            heard: i64::MIN,
            tried: None,
        }
    }
}

impl Record {
    /// Witnesses of one attempt speak within minutes. After a window of silence, none is owed a second voice.
    pub(super) fn hear(&mut self, at: Timestamp, window: Duration) {
        if before(at, window).as_microsecond() > self.heard {
            self.tally = Tally::default();
            self.recent.known = 0;
            self.tried = None;
        }
        self.heard = at.as_microsecond();
    }

    /// Whether this password database has refused the same password for the same user of late.
    pub(super) fn has_tried(&mut self, evidence: &Evidence) -> bool {
        let (Some(password), Outcome::Failure { witness, .. }) =
            (&evidence.password, &evidence.outcome)
        else {
            return false;
        };
        let mut hasher = DefaultHasher::new();
        (password, &evidence.user, witness.back()).hash(&mut hasher);
        let hash = hasher.finish();
        let tried = self.tried.get_or_insert_default();
        if tried.contains(&hash) {
            return true;
        }
        tried.rotate_left(1);
        tried[MAX_TRIED - 1] = hash;
        false
    }

    /// Counts, and notes the attempts that are new.
    pub(super) fn count_new(&mut self, at: Timestamp, habits: &Habits) -> u32 {
        let known = self.recent.known;
        self.count_again(habits);
        let new = self.recent.known.saturating_sub(known);
        if new > 0 && at.as_microsecond() > self.settled {
            self.recent.add(at, new);
        }
        new
    }

    /// What counts is enough for a ban.
    pub(super) fn decide(&mut self, evidence: &Evidence) -> Option<Decision> {
        let first = self.recent.first()?;
        let attempts = self.recent.count();
        self.recent.clear();
        let user = evidence.user.clone();
        Some(Decision {
            attempts,
            first,
            user,
        })
    }

    /// When it was last heard of.
    pub(super) fn heard(&self) -> Timestamp {
        Timestamp::from_microsecond(self.heard).unwrap_or(Timestamp::MIN)
    }

    /// Up to when nothing counts any more.
    pub(super) fn settled(&self) -> Option<Timestamp> {
        let settled = (self.settled > i64::MIN).then_some(self.settled)?;
        Timestamp::from_microsecond(settled).ok()
    }

    /// What happened up to `until` does not count any more.
    pub(super) fn settle(&mut self, until: Timestamp) {
        self.settled = until.as_microsecond();
        self.recent.forget(until);
    }

    /// Counts, and takes back what turns out to be no attempt.
    pub(super) fn count_again(&mut self, habits: &Habits) {
        let attempts = self.tally.attempts(habits);
        let fewer = self.recent.known.saturating_sub(attempts);
        self.recent.known = attempts;
        self.recent.take_back(fewer);
    }
}
