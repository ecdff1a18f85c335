//! The thread that writes: it may wait for the disk, the agent never does.
//!
//! While the disk refuses, nothing is kept for it. What it holds is unknown from then on, and when it is back, the agent
//! hands over all that there is, to be written in the place of whatever is there.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::{Aside, Changes, Saved, State};

/// Batches of changes on their way to the disk. Beyond that they are merged into one.
const QUEUE: usize = 8;

/// How long to wait after the disk refused.
const RETRY: Duration = Duration::from_secs(2);

/// What the thread tells.
#[derive(Debug)]
pub enum Event {
    /// The disk refuses: what it was given, and what it is given from now on, is not saved.
    Failed(String),
    /// It is there again, and this is on it. It waits for all that there is.
    Back(Box<Saved>, Option<Aside>),
    /// It has taken that.
    Saved,
}

/// The thread that writes.
#[derive(Debug)]
pub struct Writer {
    queue: SyncSender<Changes>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Starts the thread, with the database in `directory` if it is open.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn spawn(
        directory: PathBuf,
        state: Option<State>,
        events: UnboundedSender<Event>,
    ) -> io::Result<Self> {
        let (queue, changes) = sync_channel(QUEUE);
        let disk = Disk {
            directory,
            whole: state.is_some(),
            state,
            events,
        };
        let thread = thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || disk.write_all(&changes))?;
        Ok(Self { queue, thread })
    }

    /// Hands changes over, and leaves them where they are when the disk is behind: more may join them.
    pub fn save(&self, changes: &mut Changes) {
        if changes.is_empty() {
            return;
        }
        match self.queue.try_send(std::mem::take(changes)) {
            Ok(()) => {}
            Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) => *changes = back,
        }
    }

    /// Saves the last changes and waits until all is on disk, or the disk refuses.
    pub fn finish(self, changes: Changes) {
        let Self { queue, thread } = self;
        // An error means that the thread is gone; there is nobody left to write.
        let _ = queue.send(changes);
        drop(queue);
        let _ = thread.join();
    }
}

struct Disk {
    directory: PathBuf,
    /// The database, unless the disk refuses.
    state: Option<State>,
    /// Whether it holds all up to the last changes.
    whole: bool,
    events: UnboundedSender<Event>,
}

impl Disk {
    fn write_all(mut self, queue: &Receiver<Changes>) {
        let mut retry = Instant::now() + RETRY;
        loop {
            let changes = if self.state.is_some() {
                queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                queue.recv_timeout(retry.saturating_duration_since(Instant::now()))
            };
            match changes {
                Ok(changes) if self.whole || changes.whole => self.write(changes),
                Ok(_) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => self.open(),
            }
            if self.state.is_none() {
                retry = Instant::now() + RETRY;
            }
        }
    }

    fn open(&mut self) {
        match State::open(&self.directory) {
            Ok((state, saved, aside)) => {
                self.state = Some(state);
                let _ = self.events.send(Event::Back(Box::new(saved), aside));
            }
            Err(error) => drop(self.events.send(Event::Failed(error.to_string()))),
        }
    }

    fn write(&mut self, changes: Changes) {
        // Without a database these are the last ones, of an agent that ends.
        if self.state.is_none() {
            self.state = State::open(&self.directory).ok().map(|(state, ..)| state);
        }
        let Some(state) = &mut self.state else { return };
        if let Err(error) = state.save(&changes) {
            // It may be damaged, or open for reading alone: it has to be opened again in any case.
            self.state = None;
            self.whole = false;
            let _ = self.events.send(Event::Failed(error.to_string()));
            return;
        }
        if !self.whole {
            self.whole = true;
            let _ = self.events.send(Event::Saved);
        }
        for waiting in changes.waiting {
            let _ = waiting.send(());
        }
    }
}
