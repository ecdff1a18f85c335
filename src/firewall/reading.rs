//! When to read back what is applied.

use std::time::Duration;

use tokio::time::Instant;

use super::Backend;

/// What is applied is read back at this pace where somebody tells of changes, in case a word is lost.
/// Each time starts the helper and nft.
const SELDOM: Duration = Duration::from_hours(1);
/// The same where nobody does, …
const SLOW: Duration = Duration::from_mins(10);
/// … this long after a difference was found …
pub(super) const AGAIN: Duration = Duration::from_secs(10);
/// … and never sooner than this after the last time.
const QUICK: Duration = Duration::from_secs(1);

/// Nobody tells of changes to iptables, so that it is read back quickly, for this long after the last ban …
const WATCHFUL: Duration = SLOW;
/// … as far as this part of the time suffices.
const SHARE: u32 = 20;

/// When to read back.
pub(super) struct Reading {
    pub(super) next: Instant,
    last: Instant,
    pub(super) due: bool,
    /// How long it may be left alone where nobody tells of changes …
    pace: Duration,
    /// … until then.
    watchful: Instant,
}

impl Default for Reading {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            next: now + SELDOM,
            last: now,
            due: false,
            pace: QUICK,
            watchful: now,
        }
    }
}

impl Reading {
    /// There is reason to look.
    pub(super) fn hurry(&mut self) {
        self.no_later_than(QUICK);
    }

    /// Something was changed, by ourselves.
    pub(super) fn changed(&mut self, holder: Option<Backend>) {
        if holder == Some(Backend::Iptables) {
            self.watchful = Instant::now() + WATCHFUL;
            self.no_later_than(self.pace);
        }
    }

    /// It has been done.
    pub(super) fn read(&mut self, began: Instant, disturbed: bool, holder: Option<Backend>) {
        let is_told = holder != Some(Backend::Iptables);
        self.last = Instant::now();
        self.next = self.last + if is_told { SELDOM } else { SLOW };
        self.pace = (SHARE * (self.last - began)).clamp(QUICK, SLOW);
        if disturbed {
            // Whoever did it may go on.
            self.pace = QUICK;
            self.no_later_than(AGAIN);
        }
        if self.last < self.watchful {
            self.no_later_than(self.pace);
        }
    }

    fn no_later_than(&mut self, after: Duration) {
        self.next = self.next.min(self.last + after).max(Instant::now());
    }
}
