//! What a jail knows of each source.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::by_age::ByAge;
use super::recent::Recent;
use super::{Decision, WITNESS_DELAY, before};
use crate::filter::{Evidence, Outcome};
use crate::source::Source;
use crate::tally::{Habits, Tally};
use crate::usec::Usec;

/// Passwords that are remembered of a source, by their hash: those of a few phones.
const MAX_TRIED: usize = 8;

/// What a jail knows of a source, as it is saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// When it was last heard of.
    pub heard: Timestamp,
    /// All that is known.
    pub text: String,
}

/// Records by source. Of too many, the one not heard of for the longest time is forgotten.
#[derive(Debug)]
pub(super) struct Records {
    by_source: ByAge<Record>,
    most: usize,
    /// When one was last forgotten that was heard of within the window.
    pub(super) overflowed: Timestamp,
    /// Those that the journal alone can't tell again, since they are older than what of it is read again: which of them have
    /// changed, …
    changed: BTreeSet<Source>,
    /// … and how they were when the agent ended. They take their places when what is read again has been.
    saved: BTreeMap<Source, Record>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) tally: Tally,
    /// Attempts that count towards a ban, with their times: fewer than the limit.
    pub(super) recent: Recent,
    /// The first and the last word of the tally.
    begun: Usec,
    heard: Usec,
    /// What was tried last, where the server tells: user, password and who refused them, hashed.
    tried: Option<Box<[u64; MAX_TRIED]>>,
}

/// There may be a million of them.
const _: () = assert!(size_of::<Record>() <= 112);

impl Records {
    pub(super) fn new(most: usize) -> Self {
        Self {
            // Unbounded in itself; `of` keeps the bound.
            by_source: ByAge::default(),
            most,
            overflowed: Timestamp::MIN,
            changed: BTreeSet::new(),
            saved: BTreeMap::new(),
        }
    }

    /// Another bound from now on.
    pub(super) fn set_most(&mut self, most: usize) {
        self.most = most;
        while self.by_source.len() > most {
            self.by_source.take_oldest();
        }
    }

    /// The record of a source that is heard of at `at`, and whose attempts matter for a window.
    pub(super) fn of(&mut self, source: Source, at: Timestamp, window: Duration) -> &mut Record {
        self.forget_silent(before(at, window).into());
        if self.by_source.len() >= self.most
            && !self.by_source.contains(source)
            && let Some((_, forgotten)) = self.by_source.take_oldest()
            && forgotten.heard > before(at, window).into()
        {
            self.overflowed = at;
        }
        let record = self.by_source.of(source, Record::default);
        if record.is_long(at) {
            self.changed.insert(source);
        }
        record
    }

    /// Forgets who was last heard of before `since`: what is known of them would not count (see [`Record::hear`]). Two at a
    /// time, so that they go quicker than others come, and an entry of a time to come costs no more than that.
    fn forget_silent(&mut self, since: Usec) {
        for _ in 0..2 {
            if self
                .by_source
                .oldest()
                .is_none_or(|record| record.heard >= since)
            {
                return;
            }
            self.by_source.take_oldest();
        }
    }

    pub(super) fn peek(&self, source: Source) -> Option<&Record> {
        self.by_source.peek(source)
    }

    pub(super) fn peek_mut(&mut self, source: Source) -> Option<&mut Record> {
        let record = self.by_source.peek_mut(source)?;
        if record.is_long(record.heard()) {
            self.changed.insert(source);
        }
        Some(record)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Source, &Record)> {
        self.by_source.iter()
    }

    pub(super) fn count_again(&mut self, habits: &Habits) {
        for (source, record) in self.by_source.iter_mut() {
            let known = record.recent.known;
            record.count_again(habits);
            if record.recent.known != known && record.is_long(record.heard()) {
                self.changed.insert(*source);
            }
        }
    }

    /// Those that the journal can't tell again: which have changed since this was last asked, or all.
    pub(super) fn take_long(&mut self, all: bool) -> Vec<(Source, Memory)> {
        let mut sources = std::mem::take(&mut self.changed);
        if all {
            let known = self.by_source.iter();
            let long = known.filter(|(_, record)| record.is_long(record.heard()));
            sources.extend(long.map(|(source, _)| *source));
            sources.extend(self.saved.keys());
        }
        let memory = |source: Source| {
            let record = self.saved.get(&source).or_else(|| self.peek(source))?;
            let text = record.is_long(record.heard()).then_some(record);
            let text = serde_json::to_string(text?).ok()?;
            let heard = record.heard();
            Some((source, Memory { heard, text }))
        };
        sources.into_iter().filter_map(memory).collect()
    }

    /// Keeps a record for when what is read again, from `since` on, has been; unless that tells all of it.
    pub(super) fn restore(&mut self, source: Source, memory: &Memory, since: Timestamp) {
        // What is no record is one of a version to come: the journal tells most of it.
        if let Ok(record) = serde_json::from_str::<Record>(&memory.text)
            && record.begun < since.into()
        {
            self.saved.insert(source, record);
        }
    }

    pub(super) fn awaits(&self, source: Source) -> bool {
        self.saved.contains_key(&source)
    }

    /// What happened up to `until` does not count any more.
    pub(super) fn settle(&mut self, source: Source, until: Timestamp) {
        if let Some(record) = self.peek_mut(source) {
            record.recent.forget(until);
        }
        if let Some(saved) = self.saved.get_mut(&source) {
            saved.recent.forget(until);
        }
    }

    /// What was read again has been.
    pub(super) fn put_saved(&mut self, habits: &Habits) {
        for (source, mut record) in std::mem::take(&mut self.saved) {
            // What is known of the password databases may differ from what was; that is no attempt.
            let known = record.tally.attempts(habits);
            if record.recent.known != known {
                record.recent.known = known;
                self.changed.insert(source);
            }
            *self.by_source.of(source, Record::default) = record;
        }
        self.set_most(self.most);
    }
}

impl Default for Record {
    fn default() -> Self {
        Self {
            tally: Tally::default(),
            recent: Recent::default(),
            begun: Usec::MIN,
            heard: Usec::MIN,
            tried: None,
        }
    }
}

impl Record {
    /// Witnesses of one attempt speak within minutes. After a window of silence, none is owed a second voice.
    pub(super) fn hear(&mut self, at: Timestamp, window: Duration) {
        if Usec::from(before(at, window)) > self.heard {
            self.tally = Tally::default();
            self.recent.known = 0;
            self.tried = None;
            self.begun = at.into();
        }
        self.heard = at.into();
    }

    /// When it was last heard of.
    pub(super) fn heard(&self) -> Timestamp {
        self.heard.time()
    }

    /// Whether its tally, if it is heard of at this time, is older than what of the journal is read again before it is silent
    /// for a window.
    fn is_long(&self, at: Timestamp) -> bool {
        self.begun > Usec::MIN && self.begun < before(at, WITNESS_DELAY).into()
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

    /// Counts. Returns how many attempts are new.
    pub(super) fn count_new(&mut self, habits: &Habits) -> u32 {
        let known = self.recent.known;
        self.count_again(habits);
        self.recent.known.saturating_sub(known)
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

    /// Counts, and takes back what turns out to be no attempt.
    pub(super) fn count_again(&mut self, habits: &Habits) {
        let attempts = self.tally.attempts(habits);
        let fewer = self.recent.known.saturating_sub(attempts);
        self.recent.known = attempts;
        self.recent.take_back(fewer);
    }
}
