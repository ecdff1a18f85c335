//! The attempts of one source that count towards a ban.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Attempts with their times in µs, in order, and how many there are. A jail keeps fewer than its limit, a replay all of
/// them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Recent {
    attempts: Vec<(i64, u32)>,
    count: u32,
    /// All that a tally told of, of which these are the last; here, since there may be a million sources.
    pub(super) known: u32,
}

impl Recent {
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn first(&self) -> Option<Timestamp> {
        self.iter().next().map(|(at, _)| at)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Timestamp, u32)> {
        let time = |(at, count): &(i64, u32)| {
            let at = Timestamp::from_microsecond(*at).ok()?;
            Some((at, *count))
        };
        self.attempts.iter().filter_map(time)
    }

    pub(super) fn last(&self) -> Option<Timestamp> {
        let (last, _) = self.attempts.last()?;
        Timestamp::from_microsecond(*last).ok()
    }

    pub(super) fn add(&mut self, at: Timestamp, count: u32) {
        // Most sources have one or two, and there may be a million of them.
        if self.attempts.len() < 2 {
            self.attempts.reserve_exact(1);
        }
        self.attempts.push((at.as_microsecond(), count));
        self.count = self.count.saturating_add(count);
    }

    /// Takes back the latest.
    pub(super) fn take_back(&mut self, mut count: u32) {
        while let Some((_, last)) = self.attempts.last_mut()
            && count > 0
        {
            let taken = count.min(*last);
            count -= taken;
            *last -= taken;
            self.count = self.count.saturating_sub(taken);
            if *last == 0 {
                self.attempts.pop();
            }
        }
    }

    /// Forgets what happened up to then.
    pub(super) fn forget(&mut self, until: Timestamp) {
        let until = until.as_microsecond();
        let over = self.attempts.iter().take_while(|(at, _)| *at <= until);
        let over = over.count();
        for (_, count) in self.attempts.drain(..over) {
            self.count = self.count.saturating_sub(count);
        }
    }

    /// Forgets what happened then and later.
    pub(super) fn forget_since(&mut self, since: Timestamp) {
        while let Some(&(at, count)) = self.attempts.last()
            && at >= since.as_microsecond()
        {
            self.attempts.pop();
            self.count = self.count.saturating_sub(count);
        }
    }

    pub(super) fn clear(&mut self) {
        self.attempts.clear();
        self.count = 0;
    }
}
