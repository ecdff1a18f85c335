//! The watchdog's pace. One timer of the runtime's takes three wake-ups for 30 s, since it comes closer by slots of 4 s,
//! 64 ms and 1 ms; one of the kernel's takes one.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd::read;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(super) struct Tick(AsyncFd<OwnedFd>);

impl Tick {
    #[expect(deprecated, reason = "what it wants of its caller, an `OwnedFd` keeps")]
    pub(super) fn every(time: Duration) -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let interval = Expiration::Interval(TimeSpec::from_duration(time));
        timer.set(interval, TimerSetTimeFlags::empty())?;
        Ok(Self(AsyncFd::with_interest(
            timer.into(),
            Interest::READABLE,
        )?))
    }

    /// Waits for the next tick. Those that were missed are one.
    pub(super) async fn next(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let taken = ready.try_io(|timer| Ok(read(timer.get_ref(), &mut [0; 8])?));
            if let Ok(taken) = taken {
                // There is no second one to read, and looking for it costs as much.
                ready.clear_ready();
                return taken.map(drop);
            }
        }
    }
}
