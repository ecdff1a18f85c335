//! A time, cut into parts that people have names for: hours, days, weeks of the host's own time zone.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// More bars than this are no picture, on paper nor on a terminal of 80 columns.
const MAX_BARS: u64 = 60;

const DAY: u64 = 24 * 60;
/// How long a bar may be, in minutes.
const STEPS: [u64; 11] = [
    5,
    15,
    60,
    3 * 60,
    6 * 60,
    12 * 60,
    DAY,
    7 * DAY,
    28 * DAY,
    91 * DAY,
    364 * DAY,
];

/// The bars of a chart over time.
#[derive(Debug)]
pub struct Axis {
    /// How long a bar is, in minutes; one over a change of the clock is longer or shorter.
    pub step: u64,
    /// In order, without gaps. There is at least one.
    pub bars: Vec<Bar>,
}

/// What happened from here to the next bar.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// When it begins.
    pub from: Timestamp,
    /// Failed attempts.
    pub attempts: u64,
    /// Bans.
    pub bans: u64,
}

impl Axis {
    pub(super) fn new(since: Timestamp, until: Timestamp, zone: &TimeZone) -> Self {
        let minutes = until.duration_since(since).as_mins().max(0).unsigned_abs();
        let fits = |step: &&u64| minutes / **step < MAX_BARS;
        let step = STEPS.iter().find(fits).copied().unwrap_or(364 * DAY);
        let mut bars = Vec::new();
        let mut date = Some(zone.to_datetime(since).date());
        while let Some(day) = date {
            let begins = beginnings(day, step, zone);
            if begins.first().is_none_or(|begin| *begin >= until) {
                break;
            }
            bars.extend(begins.into_iter().filter(|begin| *begin < until));
            let days = i64::try_from(step.div_ceil(DAY)).unwrap_or(1);
            date = day.checked_add(Span::new().days(days)).ok();
        }
        // The one that `since` lies in is the first.
        let before = bars.iter().filter(|begin| **begin <= since).count();
        let bars = bars.split_off(before.saturating_sub(1));
        let bar = |from: Timestamp| Bar {
            from,
            attempts: 0,
            bans: 0,
        };
        let mut bars: Vec<Bar> = bars.into_iter().map(bar).collect();
        if bars.is_empty() {
            bars.push(bar(since));
        }
        Self { step, bars }
    }

    pub(super) fn bar_at(&mut self, at: Timestamp) -> &mut Bar {
        let behind = self.bars.partition_point(|bar| bar.from <= at);
        &mut self.bars[behind.saturating_sub(1)]
    }

    /// How long a bar is, in words.
    #[must_use]
    pub fn step_name(&self) -> String {
        match self.step {
            minutes if minutes < 60 => format!("{minutes} minutes"),
            60 => "hour".to_owned(),
            minutes if minutes < DAY => format!("{} hours", minutes / 60),
            DAY => "day".to_owned(),
            minutes => format!("{} days", minutes / DAY),
        }
    }
}

/// When the bars of a day begin.
fn beginnings(day: Date, step: u64, zone: &TimeZone) -> Vec<Timestamp> {
    let per_day = DAY / step.min(DAY);
    let begin = |number: u64| {
        let minutes = number * step.min(DAY);
        let hour = i8::try_from(minutes / 60).ok()?;
        let minute = i8::try_from(minutes % 60).ok()?;
        let time = day.to_datetime(Time::new(hour, minute, 0, 0).ok()?);
        Some(time.to_zoned(zone.clone()).ok()?.timestamp())
    };
    let mut begins: Vec<_> = (0..per_day).filter_map(begin).collect();
    // Where the clock is put forward, an hour is missing.
    begins.dedup();
    begins
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(since: &str, until: &str, zone: &str) -> Axis {
        let zone = TimeZone::get(zone).unwrap();
        Axis::new(since.parse().unwrap(), until.parse().unwrap(), &zone)
    }

    #[test]
    fn bars_begin_where_people_expect_it() {
        for (since, until, count, step, first) in [
            (
                "2026-11-15T10:20:00Z",
                "2026-11-22T10:20:00Z",
                57,
                "3 hours",
                "2026-11-15T09:00:00Z",
            ),
            (
                "2026-11-22T10:20:00Z",
                "2026-11-22T12:20:00Z",
                24,
                "5 minutes",
                "2026-11-22T10:20:00Z",
            ),
            (
                "2026-10-01T00:00:00Z",
                "2026-11-01T00:00:00Z",
                31,
                "day",
                "2026-10-01T00:00:00Z",
            ),
            (
                "2025-11-01T07:00:00Z",
                "2026-11-01T07:00:00Z",
                53,
                "7 days",
                "2025-11-01T00:00:00Z",
            ),
            (
                "2026-11-22T10:00:00Z",
                "2026-11-22T10:00:01Z",
                1,
                "5 minutes",
                "2026-11-22T10:00:00Z",
            ),
        ] {
            let axis = axis(since, until, "UTC");
            assert_eq!(
                (axis.bars.len(), axis.step_name().as_str()),
                (count, step),
                "{since}"
            );
            assert_eq!(axis.bars[0].from, first.parse().unwrap());
        }
        let ages = axis("1970-01-01T00:00:00Z", "2026-11-01T00:00:00Z", "UTC");
        assert!(ages.bars.len() < 100, "{}", ages.bars.len());
    }

    #[test]
    fn every_day_begins_at_midnight_when_the_clock_is_changed_too() {
        let axis = axis(
            "2026-10-23T22:00:00Z",
            "2026-10-30T23:00:00Z",
            "Europe/Berlin",
        );
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let midnights = axis.bars.iter().map(|bar| zone.to_datetime(bar.from));
        let midnights = midnights.filter(|at| at.hour() == 0);
        assert_eq!(midnights.count(), 7);
    }

    #[test]
    fn everything_has_its_bar() {
        let mut axis = axis("2026-11-22T10:00:00Z", "2026-11-22T12:00:00Z", "UTC");
        let second = axis.bars[1].from;
        axis.bar_at(second).bans += 1;
        axis.bar_at(Timestamp::MIN).attempts += 1;
        axis.bar_at(Timestamp::MAX).attempts += 2;
        assert_eq!((axis.bars[0].attempts, axis.bars[1].bans), (1, 1));
        assert_eq!(axis.bars.last().unwrap().attempts, 2);
    }
}
