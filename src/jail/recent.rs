//! The attempts of one source that count towards a ban.

use std::collections::VecDeque;

use jiff::Timestamp;

/// Attempts with their times, in order, and how many there are. A jail keeps fewer than its limit, a replay all of them.
#[derive(Debug, Default)]
pub(super) struct Recent {
    attempts: VecDeque<(Timestamp, u32)>,
    count: u32,
}

impl Recent {
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn last(&self) -> Option<Timestamp> {
        self.attempts.back().map(|(at, _)| *at)
    }

    pub(super) fn add(&mut self, at: Timestamp, count: u32) {
        // Most sources have one or two, and there may be a million of them.
        self.attempts.reserve_exact(1);
        self.attempts.push_back((at, count));
        self.count = self.count.saturating_add(count);
    }

    /// Takes back the latest.
    pub(super) fn take_back(&mut self, mut count: u32) {
        while let Some((_, last)) = self.attempts.back_mut()
            && count > 0
        {
            let taken = count.min(*last);
            count -= taken;
            *last -= taken;
            self.count = self.count.saturating_sub(taken);
            if *last == 0 {
                self.attempts.pop_back();
            }
        }
    }

    /// Forgets what happened up to then.
    pub(super) fn forget(&mut self, until: Timestamp) {
        while let Some(&(at, count)) = self.attempts.front()
            && at <= until
        {
            self.attempts.pop_front();
            self.count = self.count.saturating_sub(count);
        }
    }

    /// Forgets what happened then and later.
    pub(super) fn forget_since(&mut self, since: Timestamp) {
        while let Some(&(at, count)) = self.attempts.back()
            && at >= since
        {
            self.attempts.pop_back();
            self.count = self.count.saturating_sub(count);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
