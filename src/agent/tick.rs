//! The watchdog's pace. Where nobody attacks, there is nothing else to do, so that what a sign of life costs is what the
//! agent costs. One timer of the runtime's takes three wake-ups for 30 s, since it comes closer by slots of 4 s, 64 ms and
//! 1 ms; one of the kernel's takes one. And a socket that is kept open saves half of the system calls.

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd::read;
use sd_notify::NotifyState;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::notify;

pub(super) struct Tick {
    timer: AsyncFd<OwnedFd>,
    systemd: Option<UnixDatagram>,
}

impl Tick {
    #[expect(deprecated, reason = "what it wants of its caller, an `OwnedFd` keeps")]
    pub(super) fn every(time: Duration) -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let interval = Expiration::Interval(TimeSpec::from_duration(time));
        timer.set(interval, TimerSetTimeFlags::empty())?;
        Ok(Self {
            timer: AsyncFd::with_interest(timer.into(), Interest::READABLE)?,
            systemd: systemd().ok(),
        })
    }

    /// Waits for the next tick. Those that were missed are one.
    pub(super) async fn next(&self) -> io::Result<()> {
        loop {
            let mut ready = self.timer.readable().await?;
            let taken = ready.try_io(|timer| Ok(read(timer.get_ref(), &mut [0; 8])?));
            if let Ok(taken) = taken {
                // There is no second one to read, and looking for it costs as much.
                ready.clear_ready();
                return taken.map(drop);
            }
        }
    }

    /// Gives systemd a sign of life.
    pub(super) fn live(&self) {
        let sent = self
            .systemd
            .as_ref()
            .map(|socket| socket.send(b"WATCHDOG=1"));
        // systemd may have opened another since.
        if !matches!(sent, Some(Ok(_))) {
            notify(&[NotifyState::Watchdog]);
        }
    }
}

/// systemd's socket (`sd_notify(3)`).
fn systemd() -> io::Result<UnixDatagram> {
    let name = env::var_os("NOTIFY_SOCKET").ok_or(io::ErrorKind::NotFound)?;
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}
