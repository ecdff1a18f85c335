//! Waits until something happens to the journal's files, without taking it in. `sd_journal_wait` does both at once, and who
//! has not read a file to its end by then does so never more, if the file was thrown away in that moment
//! (`journalctl --rotate --vacuum-time=1s`): so there has to be a moment between them.
//!
//! Where there was no directory when the journal was opened, libsystemd does not look: that one comes is told by the
//! directories around it.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

use inotify::{Inotify, WatchMask};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use systemd::Error;

const FILES: Token = Token(0);
const DIRECTORIES: Token = Token(1);

/// Room for the names of some directories.
const BUFFER: usize = 4096;

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stirred {
    Nothing,
    /// Something was written, or files have come or gone.
    Files,
    /// There may be files elsewhere, too.
    Directories,
}

pub(super) struct Stir {
    poll: Poll,
    events: Events,
    inotify: Inotify,
    /// Where directories may come, the outer ones first.
    around: Vec<PathBuf>,
}

impl Stir {
    /// Of libsystemd's descriptor (`sd_journal_get_fd(3)`), and of the directories in which others may come.
    pub(super) fn new(files: RawFd, around: Vec<PathBuf>) -> Result<Self, Error> {
        let stir = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(2),
            inotify: Inotify::init()?,
            around,
        };
        let registry = stir.poll.registry();
        registry.register(&mut SourceFd(&files), FILES, Interest::READABLE)?;
        let directories = stir.inotify.as_raw_fd();
        registry.register(&mut SourceFd(&directories), DIRECTORIES, Interest::READABLE)?;
        stir.watch()?;
        Ok(stir)
    }

    /// Watches the directories that there are; those that are missing are told by the ones around them.
    fn watch(&self) -> io::Result<()> {
        use io::ErrorKind::{NotFound, PermissionDenied};
        let mask = WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::ONLYDIR;
        for directory in &self.around {
            match self.inotify.watches().add(directory, mask) {
                Err(error) if !matches!(error.kind(), NotFound | PermissionDenied) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits for a time, or for ever. Each thing is told once.
    pub(super) fn wait(&mut self, time: Option<Duration>) -> Result<Stirred, Error> {
        match self.poll.poll(&mut self.events, time) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                return Ok(Stirred::Nothing);
            }
            waited => waited?,
        }
        if self.events.iter().any(|event| event.token() == DIRECTORIES) {
            while self.has_read()? {}
            self.watch()?;
            return Ok(Stirred::Directories);
        }
        Ok(if self.events.is_empty() {
            Stirred::Nothing
        } else {
            Stirred::Files
        })
    }

    /// Takes some of what was told of directories; `false` when that is all.
    fn has_read(&mut self) -> io::Result<bool> {
        match self.inotify.read_events(&mut [0; BUFFER]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            read => read.map(|_| true),
        }
    }
}
