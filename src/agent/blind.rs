//! Whether the filters still know what the daemons write: an upgrade can change their wording, and nothing would be seen.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use crate::filter::{Finding, Outcome};
use crate::jail::before;
use crate::journal::Batch;

/// What was written before does not count.
const WINDOW: Duration = Duration::from_hours(1);

/// A single strange line is no upgrade.
const MANY: u32 = 20;

/// Lines that look like failed logins, by the minute, for [`WINDOW`].
#[derive(Debug, Default)]
pub(super) struct Blind {
    minutes: VecDeque<Minute>,
    /// One of those that no filter knows; the same as long as the problem lasts.
    example: Option<String>,
}

#[derive(Debug)]
struct Minute {
    begins: Timestamp,
    known: u32,
    unknown: u32,
}

impl Blind {
    /// Takes in what was read.
    pub(super) fn note(&mut self, batch: &Batch) {
        let is_failure = |finding: &&Finding| match finding {
            Finding::Evidence(evidence) => !matches!(evidence.outcome, Outcome::Success),
            Finding::Trouble(_) => true,
        };
        let known = batch.findings.iter().filter(is_failure).count();
        let known = u32::try_from(known).unwrap_or(u32::MAX);
        self.add(batch.position.at, known, batch.overlooked.lines);
        if let Some(example) = &batch.overlooked.example {
            self.example.get_or_insert_with(|| example.clone());
        }
    }

    fn add(&mut self, at: Timestamp, known: u32, unknown: u32) {
        if known == 0 && unknown == 0 {
            return;
        }
        match self.minutes.back_mut() {
            Some(minute) if at < minute.begins + Duration::from_mins(1) => {
                minute.known = minute.known.saturating_add(known);
                minute.unknown = minute.unknown.saturating_add(unknown);
            }
            _ => self.minutes.push_back(Minute {
                begins: at,
                known,
                unknown,
            }),
        }
    }

    /// What is to be told: many such lines, and more than half of all, are known to no filter.
    pub(super) fn problem(&mut self, now: Timestamp) -> Option<String> {
        let since = before(now, WINDOW);
        while self
            .minutes
            .front()
            .is_some_and(|minute| minute.begins < since)
        {
            self.minutes.pop_front();
        }
        let sum =
            |of: fn(&Minute) -> u32| self.minutes.iter().map(|m| u64::from(of(m))).sum::<u64>();
        let (known, unknown) = (sum(|m| m.known), sum(|m| m.unknown));
        if unknown == 0 {
            self.example = None;
        }
        if unknown < u64::from(MANY) || unknown <= known {
            return None;
        }
        let example = self.example.as_deref().unwrap_or_default();
        Some(format!(
            "most lines of the last hour that look like failed logins are known to no filter, and are not counted; has Postfix or Dovecot been upgraded? \"banjour replay --since=-1h\" shows them; for example: \"{example}\""
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
    }

    #[test]
    fn many_unknown_lines_are_told_for_an_hour_unless_more_are_known() {
        let mut blind = Blind::default();
        blind.add(at(0), 0, 19);
        assert_eq!(blind.problem(at(1)), None);
        blind.add(at(1), 0, 1);
        assert!(blind.problem(at(1)).is_some());
        blind.add(at(2), 20, 0);
        assert_eq!(blind.problem(at(2)), None, "half of them are known");
        blind.add(at(30), 0, 25);
        assert!(blind.problem(at(30)).is_some());
        assert!(blind.problem(at(90)).is_some());
        assert_eq!(blind.problem(at(91)), None);
        assert!(blind.minutes.is_empty());
    }

    #[test]
    fn minutes_are_few_however_many_lines_there_are() {
        let mut blind = Blind::default();
        for second in 0..36_000 {
            blind.add(at(0) + Duration::from_secs(second), 1, 1);
            blind.problem(at(0) + Duration::from_secs(second));
        }
        assert!(blind.minutes.len() <= 61, "{}", blind.minutes.len());
    }
}
