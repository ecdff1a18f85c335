//! Attempts in a window → the decision to ban. Pure: no I/O, no clock; time is the journal entries'.

use std::collections::VecDeque;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lru::LruCache;

use crate::filter::{Evidence, Outcome};
use crate::source::Source;
use crate::tally::Tally;

/// How many sources a jail remembers; above that, the one not heard of for the longest time is forgotten.
/// A botnet of more addresses than this within one window is beyond any limit of attempts per address.
const MAX_SOURCES: NonZeroUsize = NonZeroUsize::new(131_072).expect("not zero");

/// When to ban, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The attempt that brings the ban.
    pub attempts: NonZeroU32,
    /// In what time these attempts must have happened.
    pub window: Duration,
    /// How long a ban lasts.
    pub ban_time: Duration,
}

/// That a source is to be banned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How many attempts led to it.
    pub attempts: u32,
    /// The last name that was tried, as the client wrote it, cut short.
    pub user: Option<String>,
}

/// One jail's memory of sources.
#[derive(Debug)]
pub struct Jail {
    rule: Rule,
    records: LruCache<Source, Record>,
    /// The time of the latest evidence.
    heard: Timestamp,
    /// See [`Jail::read_again`].
    known_until: Timestamp,
    /// Somebody logged in under a name that a password database had called unknown: they are asked in turn, and such
    /// words say nothing of an attempt's end. The fronts tell of it.
    asked_in_turn: bool,
}

#[derive(Debug)]
struct Record {
    tally: Tally,
    /// Attempts that count towards a ban, with their times: fewer than the limit.
    recent: VecDeque<(Timestamp, u32)>,
    /// What happened up to here was dealt with by a ban, or forgiven by an admin.
    settled: Timestamp,
    heard: Timestamp,
    /// The last name that a password database did not know.
    unknown: Option<String>,
}

impl Jail {
    /// A jail that has heard of nothing yet.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        // Unbounded in itself so that memory grows with use; `observe` keeps the bound.
        Self {
            rule,
            records: LruCache::unbounded(),
            heard: Timestamp::MIN,
            known_until: Timestamp::MIN,
            asked_in_turn: false,
        }
    }

    /// The rule in force.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Another rule from now on; what is known of sources stays.
    pub fn set_rule(&mut self, rule: Rule) {
        self.rule = rule;
    }

    /// The journal is about to be read again: what this jail has heard of up to now, it knows.
    pub fn read_again(&mut self) {
        self.known_until = self.heard;
    }

    /// Whether evidence that is read again was taken in before.
    #[must_use]
    pub fn knows(&self, evidence: &Evidence) -> bool {
        evidence.at <= self.known_until
    }

    /// Takes in evidence. Returns how many attempts are new by it, and whether they call for a ban.
    pub fn observe(&mut self, evidence: &Evidence) -> (u32, Option<Decision>) {
        let at = evidence.at;
        self.heard = self.heard.max(at);
        let Outcome::Failure { witness, attempts } = &evidence.outcome else {
            self.learn(evidence);
            return (0, None);
        };
        if evidence.unknown && self.asked_in_turn {
            return (0, None);
        }
        let rule = self.rule;
        let record = self.record(evidence.source);
        // Witnesses of one attempt speak within minutes. After a window of silence, none is owed a second voice.
        if before(at, rule.window) > record.heard {
            record.tally = Tally::default();
        }
        record.heard = at;
        if evidence.unknown {
            record.unknown.clone_from(&evidence.user);
        }
        let new = record.tally.add(witness, *attempts);
        if new > 0 && at > record.settled {
            record.recent.push_back((at, new));
        }
        record.forget(before(at, rule.window));
        let count = record.count();
        if new == 0 || count < rule.attempts.get() {
            return (new, None);
        }
        record.recent.clear();
        (
            new,
            Some(Decision {
                attempts: count,
                user: evidence.user.clone(),
            }),
        )
    }

    /// A login tells whether password databases are asked in turn. The attempt that this one seemed to be is taken back.
    fn learn(&mut self, login: &Evidence) {
        let Some(record) = self.records.peek_mut(&login.source) else {
            return;
        };
        if login.user.is_some() && record.unknown == login.user {
            record.unknown = None;
            record.recent.pop_back();
            self.asked_in_turn = true;
        }
    }

    /// What `source` did up to `until` shall not count any more: a ban that lasts until then deals with it, or an admin
    /// has forgiven it.
    pub fn settle(&mut self, source: Source, until: Timestamp) {
        let record = self.record(source);
        record.settled = until;
        record.forget(until);
    }

    /// How many attempts count towards a ban of `source`.
    #[must_use]
    pub fn counting(&self, source: Source) -> u32 {
        self.records.peek(&source).map_or(0, Record::count)
    }

    /// How many sources have attempts in the window that ends `now`.
    #[must_use]
    pub fn currently_failed(&self, now: Timestamp) -> usize {
        let start = before(now, self.rule.window);
        self.records
            .iter()
            .filter(|(_, record)| record.recent.back().is_some_and(|(at, _)| *at > start))
            .count()
    }

    fn record(&mut self, source: Source) -> &mut Record {
        if self.records.len() >= MAX_SOURCES.get() && !self.records.contains(&source) {
            self.records.pop_lru();
        }
        self.records.get_or_insert_mut(source, || Record {
            tally: Tally::default(),
            recent: VecDeque::new(),
            settled: Timestamp::MIN,
            heard: Timestamp::MIN,
            unknown: None,
        })
    }
}

impl Record {
    fn forget(&mut self, until: Timestamp) {
        while self.recent.front().is_some_and(|(at, _)| *at <= until) {
            self.recent.pop_front();
        }
    }

    fn count(&self) -> u32 {
        self.recent
            .iter()
            .fold(0, |sum, (_, n)| sum.saturating_add(*n))
    }
}

/// The time that lies `span` before `at`.
#[must_use]
pub fn before(at: Timestamp, span: Duration) -> Timestamp {
    SignedDuration::try_from(span)
        .ok()
        .and_then(|span| at.checked_sub(span).ok())
        .unwrap_or(Timestamp::MIN)
}

/// The time that lies `span` after `at`.
#[must_use]
pub fn after(at: Timestamp, span: Duration) -> Timestamp {
    SignedDuration::try_from(span)
        .ok()
        .and_then(|span| at.checked_add(span).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
