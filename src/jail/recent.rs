//! The attempts of one source that count towards a ban.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::usec::Usec;

/// Attempts with their times, in order, and how many there are. A jail keeps fewer than its limit, a replay all of them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Recent {
    /// Most sources have one, and there may be a million of them.
    attempts: SmallVec<[(Usec, u32); 1]>,
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
        self.attempts.iter().map(|(at, count)| (at.time(), *count))
    }

    pub(super) fn last(&self) -> Option<Timestamp> {
        self.attempts.last().map(|(at, _)| at.time())
    }

    pub(super) fn add(&mut self, at: Timestamp, count: u32) {
        self.attempts.push((at.into(), count));
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
        let until = Usec::from(until);
        let over = self.attempts.iter().take_while(|(at, _)| *at <= until);
        let over = over.count();
        for (_, count) in self.attempts.drain(..over) {
            self.count = self.count.saturating_sub(count);
        }
    }

    /// Forgets what happened then and later.
    pub(super) fn forget_since(&mut self, since: Timestamp) {
        let since = Usec::from(since);
        while let Some(&(at, count)) = self.attempts.last()
            && at >= since
        {
            self.attempts.pop();
            self.count = self.count.saturating_sub(count);
        }
    }

    pub(super) fn clear(&mut self) {
        self.attempts = SmallVec::new();
        self.count = 0;
    }
}
