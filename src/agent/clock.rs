//! What time tells by itself: that systemd wants a sign of life, and that somebody has set the clock. One timer of the
//! runtime's takes three wake-ups for 90 s, since it comes closer by slots of 4 s, 64 ms and 1 ms; one of the kernel's takes
//! one.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd::read;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What has come.
#[derive(Clone, Copy)]
pub(super) enum Told {
    /// The time for a sign of life.
    Watchdog,
    /// Another time: the clock was set.
    Set,
}

pub(super) struct Clock {
    watchdog: Timer,
    set: Timer,
}

impl Clock {
    /// systemd wants a sign of life within each `limit`, if there is one: twice as many are sent (`sd_watchdog_enabled(3)`).
    pub(super) fn new(limit: Option<Duration>) -> io::Result<Self> {
        let interval = |limit: Duration| Expiration::Interval(TimeSpec::from_duration(limit / 2));
        let flags = TimerSetTimeFlags::empty();
        let watchdog = Timer::new(ClockId::CLOCK_MONOTONIC, limit.map(interval), flags)?;
        // It never runs out, but is cancelled, which is told.
        let never = Expiration::OneShot(TimeSpec::new(i64::MAX, 0));
        let flags =
            TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        let set = Timer::new(ClockId::CLOCK_REALTIME, Some(never), flags)?;
        Ok(Self { watchdog, set })
    }

    /// Waits for what comes next.
    pub(super) async fn tells(&self) -> io::Result<Told> {
        tokio::select! {
            ran_out = self.watchdog.next() => ran_out.map(|()| Told::Watchdog),
            cancelled = self.set.next() => cancelled.map(|()| Told::Set),
        }
    }
}

/// One of the kernel's (`timerfd_create(2)`).
struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    #[expect(deprecated, reason = "what it wants of its caller, an `OwnedFd` keeps")]
    fn new(
        clock: ClockId,
        expiration: Option<Expiration>,
        flags: TimerSetTimeFlags,
    ) -> io::Result<Self> {
        let timer = TimerFd::new(clock, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        if let Some(expiration) = expiration {
            timer.set(expiration, flags)?;
        }
        let timer = AsyncFd::with_interest(timer.into(), Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Waits until it runs out, or is cancelled. Times that were missed are one.
    async fn next(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let taken = ready.try_io(|timer| match read(timer.get_ref(), &mut [0; 8]) {
                Ok(_) | Err(Errno::ECANCELED) => Ok(()),
                Err(error) => Err(error.into()),
            });
            if let Ok(taken) = taken {
                // There is no second one to read, and looking for it costs as much.
                ready.clear_ready();
                return taken;
            }
        }
    }
}
