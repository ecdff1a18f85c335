//! The kernel's timers: the watchdog's pace, and one that never runs out, but tells of a clock that is set. One timer of the
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

pub(super) struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    /// Runs out each time that so much time has passed; without one, never.
    pub(super) fn every(time: Option<Duration>) -> io::Result<Self> {
        let timer = time.map(|time| Expiration::Interval(TimeSpec::from_duration(time)));
        Self::new(ClockId::CLOCK_MONOTONIC, timer, TimerSetTimeFlags::empty())
    }

    /// Runs out whenever somebody sets the clock, and never else.
    pub(super) fn clock_is_set() -> io::Result<Self> {
        let never = Expiration::OneShot(TimeSpec::new(i64::MAX, 0));
        let flags =
            TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        Self::new(ClockId::CLOCK_REALTIME, Some(never), flags)
    }

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

    /// Waits until it runs out. Times that were missed are one.
    pub(super) async fn next(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let taken = ready.try_io(|timer| match read(timer.get_ref(), &mut [0; 8]) {
                // So timerfd_create(2) tells of a clock that was set.
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
