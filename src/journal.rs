//! journald → evidence: the reader. The only module that knows libsystemd.
//!
//! A thread of its own owns the journal, since libsystemd's handle can't leave its thread, and so that a burst of entries
//! holds up nobody's bus call. Only the mail units' entries are asked of journald's index; filters run here, and what
//! leaves this thread are batches of evidence, each with the cursor behind which it ends.

mod damage;
mod entries;
mod overlooked;
mod own;
mod place;
mod position;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod stir;
mod users;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::filter::{Filters, Finding};
pub use damage::Missed;
use entries::Change;
pub use entries::{Entries, Error, Line};
use overlooked::Lookout;
pub use overlooked::{Overlooked, Suppressed, extent, is_read, last_written, suppressed};
pub use own::{Act, Own, OwnEntry, Told, read_own, read_story};
pub use place::Place;
pub use position::Position;
use stir::Stirred;

/// After evidence, more is likely: an attacker is at work. For this long (Dovecot lets a guesser wait for up to 17 s) …
const ALERT: Duration = Duration::from_secs(20);
/// … the reader looks this often by itself. journald holds its notifications back by some 300 ms; an entry can be read
/// after 3 ms.
const ALERT_INTERVAL: Duration = Duration::from_millis(4);

/// A batch ends after so many findings, …
const MAX_FINDINGS: usize = 1024;
/// … or after so many entries, so that the saved cursor moves on where nobody attacks.
const MAX_ENTRIES: u32 = 20_000;

/// Batches that wait for the agent. Beyond that the reader waits, and journald's files keep the rest.
const QUEUE: usize = 4;

/// How long to wait after libsystemd failed …
const RETRY: Duration = Duration::from_secs(1);
/// … so often in a row. Before that the journal is opened again at once: what journald throws away it empties as well, and who
/// is about to read that finds nonsense, in files that are gone for who comes now.
const TRIES: u32 = 3;

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
    /// The last entry that was dealt with when this batch is.
    pub position: Position,
    /// Whether all of it is read again: it was dealt with before.
    pub again: bool,
    /// What filters could not see.
    pub overlooked: Overlooked,
}

/// What the reader tells.
#[derive(Debug)]
pub enum Event {
    /// The journal is open, and is read from the start.
    Opened,
    /// Entries were read.
    Batch(Batch),
    /// The journal can't be read; the reader goes on trying.
    Failed(String),
    /// Entries are lost.
    Missed(Missed),
}

/// Starts a reader of the journal of the system below `root`. It ends when the receiver is dropped, at the next entry.
/// What only `others` know is no evidence, but known.
///
/// # Errors
/// When the thread can't be started.
pub fn spawn(
    root: PathBuf,
    filters: Arc<Filters>,
    others: Arc<Filters>,
    start: Start,
) -> io::Result<mpsc::Receiver<Event>> {
    let (events, receiver) = mpsc::channel(QUEUE);
    thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || {
            read_whatever_happens(&Place::Root(root), &filters, &others, start, &events);
        })?;
    Ok(receiver)
}

/// Reads until the receiver is gone.
fn read_whatever_happens(
    place: &Place,
    filters: &Arc<Filters>,
    others: &Arc<Filters>,
    mut start: Start,
    events: &mpsc::Sender<Event>,
) {
    let mut failures = 0;
    loop {
        // Whatever failed once may have lost something.
        if failures <= 1
            && let Some(position) = &start.position
        {
            look_for_damage(place, filters, position, events);
        }
        let begun = Instant::now();
        let Err(error) = read(place, filters, others, &mut start, events) else {
            return;
        };
        failures = if begun.elapsed() < RETRY {
            failures + 1
        } else {
            1
        };
        if failures >= TRIES {
            if events
                .blocking_send(Event::Failed(error.to_string()))
                .is_err()
            {
                return;
            }
            thread::sleep(RETRY);
        }
    }
}

/// Looks for what was lost since this position, however long that takes, beside the reader.
fn look_for_damage(
    place: &Place,
    filters: &Arc<Filters>,
    position: &Position,
    events: &mpsc::Sender<Event>,
) {
    let (place, filters) = (place.clone(), Arc::clone(filters));
    let (position, events) = (position.clone(), events.clone());
    let look = move || {
        if let Some(missed) = damage::missed(&place, &filters, &position) {
            let _ = events.blocking_send(Event::Missed(missed));
        }
    };
    // Without it, entries are read all the same.
    let _ = thread::Builder::new()
        .name("journal-check".to_owned())
        .spawn(look);
}

/// Reads until the receiver is gone; after an error, `start` is where to go on.
fn read(
    place: &Place,
    filters: &Filters,
    others: &Arc<Filters>,
    start: &mut Start,
    events: &mpsc::Sender<Event>,
) -> Result<(), Error> {
    let mut reader = Reader::open(place, filters, others, start)?;
    if events.blocking_send(Event::Opened).is_err() {
        return Ok(());
    }
    let mut alert_until = Instant::now();
    // libsystemd has seen nothing of the files yet, whatever happens to them.
    let (mut stir, mut stirred) = (reader.entries.stir()?, Stirred::Directories);
    while !events.is_closed() {
        let Some(batch) = reader.next_batch()? else {
            if stirred == Stirred::Nothing {
                let alert = Instant::now() < alert_until;
                stirred = stir.wait(alert.then_some(ALERT_INTERVAL))?;
                if stirred != Stirred::Nothing {
                    // What goes with these changes is read to its end before, and by one who has just come.
                    reader.entries.look_anew(start)?;
                }
                continue;
            }
            let change = reader.entries.take_changes(stirred)?;
            stirred = Stirred::Nothing;
            if change == Change::Place {
                (stir, stirred) = (reader.entries.stir()?, Stirred::Directories);
            }
            if change != Change::Nothing {
                reader.entries.look_anew(start)?;
            }
            continue;
        };
        if !batch.findings.is_empty() {
            alert_until = Instant::now() + ALERT;
        }
        if !batch.again {
            *start = Start {
                from: batch.position.at,
                position: Some(batch.position.clone()),
            };
        }
        let damaged = reader.damaged.take().map(Event::Missed);
        for event in [Some(Event::Batch(batch)), damaged].into_iter().flatten() {
            if events.blocking_send(event).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

struct Reader<'a> {
    entries: Entries<'a>,
    /// Up to here, all was dealt with before; and whether the entry there is still there.
    again_until: Option<(Position, bool)>,
    /// Entries that could not be read.
    damaged: Option<Missed>,
}

impl<'a> Reader<'a> {
    fn open(
        place: &Place,
        filters: &'a Filters,
        others: &Arc<Filters>,
        start: &Start,
    ) -> Result<Self, Error> {
        let lookout = Lookout::new(Arc::clone(others));
        let mut entries = Entries::open_with(place, filters, start.from, lookout)?;
        let mut again_until = None;
        if let Some(position) = &start.position {
            let is_there = entries.has(position)?;
            entries.go_before(start.from)?;
            again_until = Some((position.clone(), is_there));
        }
        Ok(Self {
            entries,
            again_until,
            damaged: None,
        })
    }

    /// Reads on; `None` when there is nothing new. A batch lies before the saved position or behind it, as a whole.
    fn next_batch(&mut self) -> Result<Option<Batch>, Error> {
        let again = self.again_until.clone();
        let mut findings = Vec::new();
        let mut count = 0;
        let mut last = None;
        while findings.len() < MAX_FINDINGS && count < MAX_ENTRIES {
            let at = self.entries.advance()?;
            if let Some((position, is_there)) = &again
                && at.is_none_or(|at| !is_there && position.at < at)
            {
                self.end_again(position, *is_there)?;
                break;
            }
            let Some(at) = at else { break };
            if let Err(error) = self.entries.read(at, &mut findings)
                && again.is_none()
            {
                self.skip(at, &error);
            }
            last = Some(at);
            count += 1;
            if let Some((position, _)) = &again
                && self.entries.is_at(position)
            {
                self.end_again(position, true)?;
                break;
            }
        }
        let position = match (again, last) {
            (Some((position, _)), _) => {
                return Ok(Some(Batch {
                    findings,
                    position,
                    again: true,
                    overlooked: self.entries.overlooked(),
                }));
            }
            (None, Some(at)) => Position {
                cursor: self.entries.cursor()?,
                at,
            },
            (None, None) => return Ok(None),
        };
        Ok(Some(Batch {
            findings,
            position,
            again: false,
            overlooked: self.entries.overlooked(),
        }))
    }

    /// What comes now is new. Its times need not lie behind the position's: the clock may have been set back.
    fn end_again(&mut self, position: &Position, is_there: bool) -> Result<(), Error> {
        self.again_until = None;
        if is_there {
            self.entries.go_behind(position)
        } else {
            self.entries.go_past(position)
        }
    }

    /// A new entry that can't be read is lost, and those behind it are not.
    fn skip(&mut self, at: Timestamp, error: &Error) {
        let missed = self.damaged.get_or_insert_with(|| Missed {
            from: at,
            until: at,
            why: format!("entries cannot be read ({error})"),
        });
        missed.until = missed.until.max(at);
    }
}
