//! How many things happened in each of the last minutes.

use std::collections::VecDeque;

const MINUTE: u64 = 60_000_000;

/// Minutes that are kept: a sparkline over a wide screen.
const MINUTES: usize = 120;

/// Counts of the last minutes; the newest one last.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    counts: VecDeque<u64>,
    /// Minutes since the epoch, of the newest.
    minute: u64,
}

impl Counts {
    pub(super) fn new(now: u64) -> Self {
        Self {
            counts: VecDeque::from(vec![0; MINUTES]),
            minute: now / MINUTE,
        }
    }

    /// Goes on to this time, in µs since the epoch.
    pub(super) fn advance(&mut self, now: u64) {
        let minute = now / MINUTE;
        let passed = minute.saturating_sub(self.minute);
        for _ in 0..passed.min(MINUTES as u64) {
            self.counts.pop_front();
            self.counts.push_back(0);
        }
        self.minute = self.minute.max(minute);
    }

    /// So many more at this time; what lies too far back is nobody's.
    pub(super) fn add(&mut self, at: u64, count: u64) {
        if let Some(counted) = self.of(at) {
            *counted = counted.saturating_add(count);
        }
    }

    /// Takes in what somebody else has counted who may know of more: the larger number of each minute is true.
    pub(super) fn raise(&mut self, times: &[u64]) {
        let mut told = Self {
            counts: VecDeque::from(vec![0; MINUTES]),
            minute: self.minute,
        };
        for &at in times {
            told.add(at, 1);
        }
        for (known, told) in self.counts.iter_mut().zip(told.counts) {
            *known = told.max(*known);
        }
    }

    /// The last so many minutes, the newest last.
    pub(super) fn last(&self, minutes: usize) -> Vec<u64> {
        let skip = MINUTES.saturating_sub(minutes);
        self.counts.iter().skip(skip).copied().collect()
    }

    /// A minute that has not ended tells little: what happened in the last full one, or already more in this one.
    pub(super) fn rate(&self) -> u64 {
        self.last(2).into_iter().max().unwrap_or_default()
    }

    fn of(&mut self, at: u64) -> Option<&mut u64> {
        let ago = usize::try_from(self.minute.saturating_sub(at / MINUTE)).ok()?;
        let index = (MINUTES - 1).checked_sub(ago)?;
        self.counts.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_pass() {
        let mut counts = Counts::new(1000 * MINUTE);
        counts.add(1000 * MINUTE, 2);
        counts.add(999 * MINUTE, 1);
        counts.add(100 * MINUTE, 9);
        assert_eq!(counts.last(3), [0, 1, 2]);
        counts.advance(1002 * MINUTE + 1);
        counts.add(1002 * MINUTE, 5);
        assert_eq!(
            counts.last(5),
            [1, 2, 0, 5].iter().fold(vec![0], |mut all, n| {
                all.push(*n);
                all
            })
        );
        assert_eq!(counts.rate(), 5);
        counts.advance(9000 * MINUTE);
        assert_eq!(counts.last(MINUTES), vec![0; MINUTES]);
        // A clock that was set back stands still until it is caught up with.
        counts.advance(8000 * MINUTE);
        counts.add(9001 * MINUTE, 1);
        assert_eq!(counts.last(1), [1]);
    }

    #[test]
    fn what_is_told_twice_counts_once() {
        let mut counts = Counts::new(1000 * MINUTE);
        counts.add(1000 * MINUTE, 2);
        counts.raise(&[1000 * MINUTE, 1000 * MINUTE, 998 * MINUTE]);
        counts.raise(&[1000 * MINUTE, 998 * MINUTE]);
        assert_eq!(counts.last(3), [1, 0, 2]);
    }
}
