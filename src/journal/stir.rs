//! Waits until something happens to the journal's files, without taking it in. `sd_journal_wait` does both at once, and who
//! has not read a file to its end by then does so never more, if the file was thrown away in that moment
//! (`journalctl --rotate --vacuum-time=1s`): so there has to be a moment between them.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use systemd::Error;

/// There is one thing to wait for.
const JOURNAL: Token = Token(0);

pub(super) struct Stir {
    poll: Poll,
    events: Events,
}

impl Stir {
    /// Of libsystemd's descriptor (`sd_journal_get_fd(3)`).
    pub(super) fn new(fd: RawFd) -> Result<Self, Error> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        registry.register(&mut SourceFd(&fd), JOURNAL, Interest::READABLE)?;
        let events = Events::with_capacity(1);
        Ok(Self { poll, events })
    }

    /// Waits for a time, or for ever. Returns whether something has happened; each is told once.
    pub(super) fn wait(&mut self, time: Option<Duration>) -> Result<bool, Error> {
        match self.poll.poll(&mut self.events, time) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            waited => Ok(waited.map(|()| !self.events.is_empty())?),
        }
    }
}
