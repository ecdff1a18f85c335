//! Attempts in a window → the decision to ban. Pure: no I/O, no clock; time is the journal entries'.

mod by_age;
mod recent;
mod records;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use itertools::Itertools;
use jiff::{SignedDuration, Timestamp};

use crate::ban::MAX_BANS;
use crate::filter::{Evidence, Outcome, Trouble};
use crate::oldest::Oldest;
use crate::source::Source;
use crate::tally::Habits;
use crate::trust::Standing;
use crate::usec::Usec;
pub use records::Memory;
use records::{Record, Records};

/// Evidence is read again from this long before a jail's window begins: a login process tells of an attempt when the
/// connection ends, and must find the password database's word on it.
pub const WITNESS_DELAY: Duration = Duration::from_mins(5);

/// When the server can't ask a password database, it may tell so only after another one has spoken: PAM takes 2 s to
/// refuse.
const TROUBLE_IS_TOLD: Duration = Duration::from_secs(5);

/// Sources of which something does not count any more; above that, those go of whom it would count first again. As many
/// as are saved.
pub const MAX_SETTLED: usize = 2 * MAX_BANS;

/// When to ban, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The attempt that brings the ban.
    pub attempts: NonZeroU32,
    /// The same for failures of users who have logged in from there: a stale password, tried again and again.
    pub customer_attempts: NonZeroU32,
    /// In what time these attempts must have happened.
    pub window: Duration,
    /// How long a ban lasts.
    pub ban_time: Duration,
    /// How many sources are remembered; above that, the one not heard of for the longest time is forgotten.
    pub max_sources: usize,
}

/// That a source is to be banned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How many attempts led to it.
    pub attempts: u32,
    /// When the first of these happened.
    pub first: Timestamp,
    /// The last name that was tried, as the client wrote it, cut short.
    pub user: Option<String>,
}

/// One jail's memory of sources.
#[derive(Debug)]
pub struct Jail {
    rule: Rule,
    /// What strangers did, by source, and what customers did.
    records: [Records; 2],
    /// Up to when what sources did was dealt with by a ban, or forgiven by an admin.
    settled: BTreeMap<Source, Usec>,
    settled_first: Oldest,
    habits: Habits,
    /// When the server's own trouble explains what unsure witnesses say, …
    excused: RangeInclusive<Timestamp>,
    /// … and until when it explains what all say.
    deceived_until: Timestamp,
    /// The time of the latest evidence.
    heard: Timestamp,
    /// See [`Jail::read_again`].
    known_until: Timestamp,
}

impl Jail {
    /// A jail that has heard of nothing yet.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self {
            rule,
            records: [
                Records::new(rule.max_sources),
                Records::new(rule.max_sources),
            ],
            settled: BTreeMap::new(),
            settled_first: Oldest::default(),
            habits: Habits::default(),
            excused: Timestamp::MIN..=Timestamp::MIN,
            deceived_until: Timestamp::MIN,
            heard: Timestamp::MIN,
            known_until: Timestamp::MIN,
        }
    }

    /// A jail that never bans and never forgets: it counts.
    #[must_use]
    pub fn counter() -> Self {
        let never = Rule {
            attempts: NonZeroU32::MAX,
            customer_attempts: NonZeroU32::MAX,
            window: Duration::MAX,
            ban_time: Duration::ZERO,
            max_sources: usize::MAX,
        };
        Self::new(never)
    }

    /// The rule in force.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Another rule from now on; what is known of sources stays.
    pub fn set_rule(&mut self, rule: Rule) {
        self.rule = rule;
        for records in &mut self.records {
            records.set_most(rule.max_sources);
        }
    }

    /// The journal is about to be read again: what this jail has heard of up to now, it knows.
    pub fn read_again(&mut self) {
        self.known_until = self.heard;
    }

    /// Whether what an entry of this time said was taken in before.
    #[must_use]
    pub fn knows(&self, at: Timestamp) -> bool {
        at <= self.known_until
    }

    /// Takes in evidence. Returns how many attempts are new by it, and whether they call for a ban.
    pub fn observe(&mut self, evidence: &Evidence, standing: Standing) -> (u32, Option<Decision>) {
        let at = evidence.at;
        self.heard = self.heard.max(at);
        let Outcome::Failure { witness, attempts } = &evidence.outcome else {
            let explained = self.habits.explained_since(evidence);
            if self.habits.learn(evidence) {
                self.count_all_again();
            }
            if let (Some(since), Some(record)) = (
                explained,
                self.records[standing as usize].peek_mut(evidence.source),
            ) {
                record.recent.forget_since(since);
            }
            return (0, None);
        };
        if self.habits.is_look_up(evidence) {
            return (0, None);
        }
        let deceived = !witness.is_sure() || at <= self.deceived_until;
        if deceived && self.excused.contains(&at) {
            return (0, None);
        }
        if self.habits.hear(evidence, standing) {
            self.count_all_again();
        }
        let rule = self.rule;
        let limit = match standing {
            Standing::Stranger => rule.attempts,
            Standing::Customer => rule.customer_attempts,
        };
        let record = self.records[standing as usize].of(evidence.source, at, rule.window);
        record.hear(at, rule.window);
        record.tally.add(witness, *attempts);
        if record.has_tried(evidence) {
            record.tally.repeated(witness);
        }
        let new = record.count_new(&self.habits);
        let settled = |until: &Usec| Usec::from(at) <= *until;
        if new > 0 && !self.settled.get(&evidence.source).is_some_and(settled) {
            record.recent.add(at, new);
        }
        record.recent.forget(before(at, rule.window));
        let count = record.recent.count();
        if new == 0 || count < limit.get() {
            return (new, None);
        }
        (new, record.decide(evidence))
    }

    /// What a stranger has just been heard of is enough for a ban, whatever the limit.
    pub fn convict(&mut self, evidence: &Evidence) -> Option<Decision> {
        let record = self.records[Standing::Stranger as usize].peek_mut(evidence.source)?;
        record.decide(evidence)
    }

    /// What is known of the password databases has changed.
    fn count_all_again(&mut self) {
        for records in &mut self.records {
            records.count_again(&self.habits);
        }
    }

    /// The server could not check a password, or can check none: what that explains is no attempt.
    pub fn excuse(&mut self, trouble: &Trouble, standing: Standing) {
        self.heard = self.heard.max(trouble.at);
        if let Some(client) = &trouble.client {
            let records = &mut self.records[standing as usize];
            let record = records.of(client.source, trouble.at, self.rule.window);
            record.hear(trouble.at, self.rule.window);
            record.tally.unchecked(&client.back, client.session);
            record.count_again(&self.habits);
            return;
        }
        let since = before(trouble.at, TROUBLE_IS_TOLD);
        let from = if self.excused.contains(&since) {
            *self.excused.start()
        } else {
            since
        };
        self.excused = from..=after(trouble.at, trouble.explains);
        if trouble.deceives {
            self.deceived_until = *self.excused.end();
        }
        for word in self.habits.take_words(since) {
            let records = &mut self.records[word.standing as usize];
            if let Some(record) = records.peek_mut(word.source) {
                record.tally.take_back(&word.witness, word.attempts);
                record.count_again(&self.habits);
            }
        }
    }

    /// What `source` did up to `until` shall not count any more: a ban that lasts until then deals with it, or an admin
    /// has forgiven it.
    pub fn settle(&mut self, source: Source, until: Timestamp) {
        for records in &mut self.records {
            records.settle(source, until);
        }
        self.settled.insert(source, until.into());
        if self.settled.len() > MAX_SETTLED {
            self.settled_first.take(&mut self.settled, |until| *until);
        }
    }

    /// What is to be saved of sources of which the journal alone can't tell all again: those that have changed, or all.
    pub fn memories(&mut self, all: bool) -> impl Iterator<Item = (Source, Standing, Memory)> {
        Standing::ALL.into_iter().flat_map(move |standing| {
            let long = self.records[standing as usize].take_long(all);
            long.into_iter()
                .map(move |(source, memory)| (source, standing, memory))
        })
    }

    /// What was known of a source when the agent stood at `position`. The journal is about to be read again from `since` on;
    /// when it has been, this is what counts.
    pub fn remember(
        &mut self,
        (source, standing): (Source, Standing),
        memory: &Memory,
        (since, position): (Timestamp, Timestamp),
    ) {
        if memory.heard >= before(position, self.rule.window) {
            self.records[standing as usize].restore(source, memory, since);
        }
    }

    /// What was learned of the password databases, to be saved, if it has changed, or whenever `all` is.
    pub fn habits(&mut self, all: bool) -> Option<String> {
        self.habits.save(all)
    }

    /// Takes up what had been learned of the password databases up to a time.
    pub fn take_up_habits(&mut self, saved: &str, until: Timestamp) {
        self.habits.take_up(saved, until);
    }

    /// Whether what is read again of a source says nothing new, nor all.
    #[must_use]
    pub fn remembers(&self, source: Source) -> bool {
        self.records.iter().any(|records| records.awaits(source))
    }

    /// All that was to be read again has been.
    pub fn read_on(&mut self) {
        for records in &mut self.records {
            records.put_saved(&self.habits);
        }
    }

    /// A decision of that time is not carried out. Its attempts stay in sight, so that the next one calls for a ban again.
    pub fn spare(&mut self, source: Source, at: Timestamp) {
        let strangers = &mut self.records[Standing::Stranger as usize];
        if let Some(record) = strangers.peek_mut(source) {
            record.recent.add(at, self.rule.attempts.get() - 1);
        }
    }

    /// The sources of which something does not count any more, and up to when.
    pub fn settled(&self) -> impl Iterator<Item = (Source, Timestamp)> {
        let settled = self.settled.iter();
        settled.map(|(source, until)| (*source, until.time()))
    }

    /// How many attempts count towards a ban of `source`.
    #[must_use]
    pub fn counting(&self, source: Source) -> u32 {
        self.records_of(source)
            .map(|record| record.recent.count())
            .sum()
    }

    /// How many attempts `source` has made, as far as this jail remembers.
    #[must_use]
    pub fn attempts(&self, source: Source) -> u32 {
        self.records_of(source)
            .map(|record| record.recent.known)
            .sum()
    }

    /// The sources with most attempts, of those heard of in the window that ends `now`, with when they were.
    #[must_use]
    pub fn busiest(&self, now: Timestamp, most: usize) -> Vec<(Source, Timestamp)> {
        let start = before(now, self.rule.window);
        let records = self.records.iter().flat_map(Records::iter);
        let doings = records.map(|(source, record)| (record.recent.known, record.heard(), *source));
        let lately = doings.filter(|(attempts, last, _)| *attempts > 0 && *last > start);
        let busiest = lately.k_largest(most);
        busiest.map(|(_, last, source)| (source, last)).collect()
    }

    /// All attempts of customers or of strangers that count towards bans, with their times, by source. What is a counter's
    /// are all that there were.
    pub fn counted(
        &self,
        standing: Standing,
    ) -> impl Iterator<Item = (Source, impl Iterator<Item = (Timestamp, u32)>)> {
        self.records[standing as usize]
            .iter()
            .map(|(source, record)| (*source, record.recent.iter()))
    }

    /// How many sources have attempts in the window that ends `now`.
    #[must_use]
    pub fn currently_failed(&self, now: Timestamp) -> usize {
        let start = before(now, self.rule.window);
        let failing = |record: &Record| record.recent.last().is_some_and(|at| at > start);
        let [strangers, customers] = &self.records;
        let not_both = |source: &Source| !strangers.peek(*source).is_some_and(failing);
        let strangers_failing = strangers.iter().filter(|(_, record)| failing(record));
        let customers_failing = customers
            .iter()
            .filter(|(source, record)| failing(record) && not_both(source));
        strangers_failing.count() + customers_failing.count()
    }

    /// When it last forgot a source that it should remember: more come within the window than it can.
    #[must_use]
    pub fn overflowed(&self) -> Timestamp {
        let [strangers, customers] = &self.records;
        strangers.overflowed.max(customers.overflowed)
    }

    fn records_of(&self, source: Source) -> impl Iterator<Item = &Record> {
        self.records
            .iter()
            .filter_map(move |records| records.peek(source))
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

/// µs since the epoch, as D-Bus and the journal have times.
#[must_use]
pub fn usec(at: Timestamp) -> u64 {
    u64::try_from(at.as_microsecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
