//! journald → evidence: the reader. The only module that knows libsystemd.
//!
//! A thread of its own owns the journal, since libsystemd's handle can't leave its thread, and so that a burst of entries
//! holds up nobody's bus call. Only the mail units' entries are asked of journald's index; filters run here, and what
//! leaves this thread are batches of evidence, each with the cursor behind which it ends.

mod entries;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::filter::{Filters, Finding};
pub use entries::{Entries, Error, Line, Place};

/// After evidence, more is likely: an attacker is at work. For this long (Dovecot lets a guesser wait for up to 17 s) …
const ALERT: Duration = Duration::from_secs(20);
/// … the reader looks this often by itself. journald holds its notifications back by some 300 ms; an entry can be read
/// after 3 ms.
const ALERT_INTERVAL: Duration = Duration::from_millis(2);

/// A batch ends after so many findings, …
const MAX_FINDINGS: usize = 1024;
/// … or after so many entries, so that the saved cursor moves on where nobody attacks.
const MAX_ENTRIES: u32 = 20_000;

/// Batches that wait for the agent. Beyond that the reader waits, and journald's files keep the rest.
const QUEUE: usize = 4;

/// How long to wait after libsystemd failed.
const RETRY: Duration = Duration::from_secs(1);

/// A place in the journal: behind the last entry that was dealt with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The entry's cursor, libsystemd's text.
    pub cursor: String,
    /// The entry's time.
    pub at: Timestamp,
}

/// Where to begin.
#[derive(Clone, Debug)]
pub struct Start {
    /// The time of the first entry to read.
    pub from: Timestamp,
    /// Where an earlier reader stopped. What lies between `from` and here is read again.
    pub position: Option<Position>,
}

/// What was read, in the journal's order.
#[derive(Debug)]
pub struct Batch {
    /// What the entries said.
    pub findings: Vec<Finding>,
    /// The last entry that this batch covers.
    pub position: Position,
    /// Whether all of it is read again: it was dealt with before.
    pub again: bool,
}

/// What the reader tells.
#[derive(Debug)]
pub enum Event {
    /// The journal is open.
    Opened,
    /// Entries were read.
    Batch(Batch),
    /// The journal can't be read; the reader goes on trying.
    Failed(String),
}

/// Starts a reader of the journal of the system below `root`. It ends when the receiver is dropped, at the next entry.
///
/// # Errors
/// When the thread can't be started.
pub fn spawn(
    root: PathBuf,
    filters: Arc<Filters>,
    mut start: Start,
) -> io::Result<mpsc::Receiver<Event>> {
    let (events, receiver) = mpsc::channel(QUEUE);
    thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || {
            let place = Place::Root(root);
            while let Err(error) = read(&place, &filters, &mut start, &events) {
                let Ok(()) = events.blocking_send(Event::Failed(error.to_string())) else {
                    return;
                };
                thread::sleep(RETRY);
            }
        })?;
    Ok(receiver)
}

/// Reads until the receiver is gone; after an error, `start` is where to go on.
fn read(
    place: &Place,
    filters: &Filters,
    start: &mut Start,
    events: &mpsc::Sender<Event>,
) -> Result<(), Error> {
    let mut reader = Reader::open(place, filters, start)?;
    if events.blocking_send(Event::Opened).is_err() {
        return Ok(());
    }
    let mut alert_until = Instant::now();
    while !events.is_closed() {
        let Some(batch) = reader.next_batch()? else {
            let alert = Instant::now() < alert_until;
            reader.entries.wait(alert.then_some(ALERT_INTERVAL))?;
            continue;
        };
        if !batch.findings.is_empty() {
            alert_until = Instant::now() + ALERT;
        }
        *start = Start {
            from: batch.position.at,
            position: Some(batch.position.clone()),
        };
        if events.blocking_send(Event::Batch(batch)).is_err() {
            break;
        }
    }
    Ok(())
}

struct Reader<'a> {
    entries: Entries<'a>,
    /// Up to here, all was dealt with before.
    again_until: Option<Position>,
}

impl<'a> Reader<'a> {
    fn open(place: &Place, filters: &'a Filters, start: &Start) -> Result<Self, Error> {
        Ok(Self {
            entries: Entries::open(place, filters, start.from)?,
            again_until: start.position.clone(),
        })
    }

    /// Reads on; `None` when there is nothing new. A batch lies before the saved position or behind it, as a whole.
    fn next_batch(&mut self) -> Result<Option<Batch>, Error> {
        let mut again = self.again_until.is_some();
        let mut findings = Vec::new();
        let mut count = 0;
        let mut last = None;
        while findings.len() < MAX_FINDINGS && count < MAX_ENTRIES {
            let Some(at) = self.entries.advance()? else {
                self.again_until = None;
                break;
            };
            if self
                .again_until
                .as_ref()
                .is_some_and(|position| position.at < at)
            {
                // The entry at the saved position is gone (rotated, vacuumed): this one is the first new one.
                self.again_until = None;
                if last.is_some() {
                    self.entries.retreat()?;
                    break;
                }
                again = false;
            }
            self.entries.read(at, &mut findings)?;
            last = Some(at);
            count += 1;
            if let Some(position) = &self.again_until
                && self.entries.is_at(position)?
            {
                self.again_until = None;
                break;
            }
        }
        let Some(at) = last else { return Ok(None) };
        let cursor = self.entries.cursor()?;
        Ok(Some(Batch {
            findings,
            position: Position { cursor, at },
            again,
        }))
    }
}
