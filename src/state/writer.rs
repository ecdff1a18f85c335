//! The thread that writes: it may wait for the disk, the agent never does.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::{Changes, State};

/// Batches of changes on their way to the disk. Beyond that they are merged into one.
const QUEUE: usize = 8;

/// How long to wait after the disk refused.
const RETRY: Duration = Duration::from_secs(2);

/// The thread that writes.
#[derive(Debug)]
pub struct Writer {
    queue: SyncSender<Changes>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Starts the thread. `problems` hears of every failure (`Some`), and of success after one (`None`).
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn spawn(state: State, problems: UnboundedSender<Option<String>>) -> io::Result<Self> {
        let (queue, changes) = sync_channel(QUEUE);
        let thread = thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || write_all(state, &changes, &problems))?;
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

    /// Saves the last changes and waits until all is on disk.
    pub fn finish(self, changes: Changes) {
        let Self { queue, thread } = self;
        // An error means that the thread is gone; there is nobody left to write.
        let _ = queue.send(changes);
        drop(queue);
        let _ = thread.join();
    }
}

fn write_all(
    mut state: State,
    queue: &Receiver<Changes>,
    problems: &UnboundedSender<Option<String>>,
) {
    for changes in queue {
        let mut failed = false;
        while let Err(error) = state.save(&changes) {
            failed = true;
            // The agent is gone when nobody listens: it was told to stop, and what can't be written is read again.
            if problems.send(Some(error.to_string())).is_err() {
                return;
            }
            thread::sleep(RETRY);
        }
        if failed {
            let _ = problems.send(None);
        }
    }
}
