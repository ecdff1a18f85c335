//! journald → evidence: the reader. The only module that knows libsystemd.
//!
//! A thread of its own owns the journal, since libsystemd's handle can't leave its thread, and so that a burst of entries
//! holds up nobody's bus call. Only the mail units' entries are asked of journald's index; filters run here, and what
//! leaves this thread are batches of evidence, each with the cursor behind which it ends.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::unistd::{Uid, User};
use systemd::journal::{Journal, JournalEntryField, OpenDirectoryOptions, OpenOptions};
use tokio::sync::mpsc;

use crate::filter::{Entry, Evidence, Filter, Filters, MAX_MESSAGE};

/// After evidence, more is likely: an attacker is at work. For this long (Dovecot lets a guesser wait for up to 17 s) …
const ALERT: Duration = Duration::from_secs(20);
/// … the reader looks this often by itself. journald holds its notifications back by some 300 ms; an entry can be read
/// after 3 ms.
const ALERT_INTERVAL: Duration = Duration::from_millis(2);

/// A batch ends after so many pieces of evidence, …
const MAX_EVIDENCE: usize = 1024;
/// … or after so many entries, so that the saved cursor moves on where nobody attacks.
const MAX_ENTRIES: u32 = 20_000;

/// Batches that wait for the agent. Beyond that the reader waits, and journald's files keep the rest.
const QUEUE: usize = 4;

/// User names remembered by id; only mail programs' ids occur, so this is never reached in earnest.
const MAX_USERS: usize = 1024;

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
    pub evidence: Vec<Evidence>,
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

/// Starts a reader of the system's journal, or of that of another system below `root`. It ends when the receiver is dropped, at the next entry.
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
            while let Err(error) = read(&root, &filters, &mut start, &events) {
                let Ok(()) = events.blocking_send(Event::Failed(error.to_string())) else {
                    return;
                };
                thread::sleep(RETRY);
            }
        })?;
    Ok(receiver)
}

/// What can go wrong while reading.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Journal(#[from] systemd::Error),
    #[error(
        "no journal file is readable; is user \"banjour\" in group \"systemd-journal\", and is journald running?"
    )]
    Unreadable,
}

/// Reads until the receiver is gone; after an error, `start` is where to go on.
fn read(
    root: &Path,
    filters: &Filters,
    start: &mut Start,
    events: &mpsc::Sender<Event>,
) -> Result<(), Error> {
    let mut reader = Reader::open(root, filters, start)?;
    if events.blocking_send(Event::Opened).is_err() {
        return Ok(());
    }
    let mut alert_until = Instant::now();
    while !events.is_closed() {
        let Some(batch) = reader.next_batch()? else {
            let alert = Instant::now() < alert_until;
            reader.journal.wait(alert.then_some(ALERT_INTERVAL))?;
            continue;
        };
        if !batch.evidence.is_empty() {
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
    journal: Journal,
    filters: &'a Filters,
    /// Up to here, all was dealt with before.
    again_until: Option<Position>,
    users: HashMap<u32, Option<String>>,
    /// The message at hand, copied since libsystemd's is gone when the next field is fetched.
    message: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn open(root: &Path, filters: &'a Filters, start: &Start) -> Result<Self, Error> {
        let mut journal = if root == Path::new("/") {
            let journal = OpenOptions::default()
                .system(true)
                .local_only(true)
                .open()?;
            // Opening succeeds without permission too, and finds nothing.
            if !journal.has_persistent_files()? && !journal.has_runtime_files()? {
                return Err(Error::Unreadable);
            }
            journal
        } else {
            let root = root.as_os_str().as_bytes();
            OpenDirectoryOptions::default()
                .os_root(true)
                .open_directory(root)?
        };
        // Watch before the first look, so that nothing written meanwhile goes without a notification.
        journal.fd()?;
        journal.set_data_threshold("MESSAGE=".len() + MAX_MESSAGE + 1)?;
        for unit in filters.values().flat_map(Filter::units) {
            let (field, value) = unit.journal_match();
            journal.match_add(field, value)?;
            journal.match_or()?;
        }
        journal.seek_realtime_usec(u64::try_from(start.from.as_microsecond()).unwrap_or(0))?;
        let again_until = start.position.clone();
        Ok(Self {
            journal,
            filters,
            again_until,
            users: HashMap::new(),
            message: Vec::new(),
        })
    }

    /// Reads on; `None` when there is nothing new. A batch lies before the saved position or behind it, as a whole.
    fn next_batch(&mut self) -> Result<Option<Batch>, Error> {
        let mut again = self.again_until.is_some();
        let mut evidence = Vec::new();
        let mut entries = 0;
        let mut last = None;
        while evidence.len() < MAX_EVIDENCE && entries < MAX_ENTRIES {
            if self.journal.next()? == 0 {
                self.again_until = None;
                break;
            }
            let at = self.entry_time()?;
            if self
                .again_until
                .as_ref()
                .is_some_and(|position| position.at < at)
            {
                // The entry at the saved position is gone (rotated, vacuumed): this one is the first new one.
                self.again_until = None;
                if last.is_some() {
                    self.journal.previous()?;
                    break;
                }
                again = false;
            }
            self.read_entry(at, &mut evidence)?;
            last = Some(at);
            entries += 1;
            if let Some(position) = &self.again_until
                && self.journal.test_cursor(&position.cursor)?
            {
                self.again_until = None;
                break;
            }
        }
        let Some(at) = last else { return Ok(None) };
        let position = Position {
            cursor: self.journal.cursor()?,
            at,
        };
        Ok(Some(Batch {
            evidence,
            position,
            again,
        }))
    }

    /// Most messages are no evidence: their other fields are not fetched.
    fn read_entry(&mut self, at: Timestamp, evidence: &mut Vec<Evidence>) -> Result<(), Error> {
        let field = self.journal.get_data(c"MESSAGE")?;
        let Some(message) = field.as_ref().and_then(JournalEntryField::value) else {
            return Ok(());
        };
        if !self
            .filters
            .values()
            .any(|filter| filter.may_match(message))
        {
            return Ok(());
        }
        self.message.clear();
        self.message.extend_from_slice(message);
        let (Some(unit), Some(uid)) = (self.text(c"_SYSTEMD_UNIT")?, self.text(c"_UID")?) else {
            return Ok(());
        };
        let Some(user) = self.user_name(&uid) else {
            return Ok(());
        };
        let entry = Entry {
            unit: &unit,
            user: &user,
            message: &self.message,
            at,
        };
        evidence.extend(
            self.filters
                .values()
                .filter_map(|filter| filter.read(&entry)),
        );
        Ok(())
    }

    fn entry_time(&self) -> Result<Timestamp, Error> {
        let usec = i64::try_from(self.journal.timestamp_usec()?).unwrap_or(i64::MAX);
        Ok(Timestamp::from_microsecond(usec).unwrap_or(Timestamp::MAX))
    }

    fn text(&mut self, field: &CStr) -> Result<Option<String>, Error> {
        let field = self.journal.get_data(field)?;
        let value = field.as_ref().and_then(JournalEntryField::value);
        Ok(value
            .and_then(|value| str::from_utf8(value).ok())
            .map(str::to_owned))
    }

    fn user_name(&mut self, uid: &str) -> Option<String> {
        let uid = uid.parse().ok()?;
        if self.users.len() >= MAX_USERS {
            self.users.clear();
        }
        let look_up = || {
            User::from_uid(Uid::from_raw(uid))
                .ok()
                .flatten()
                .map(|user| user.name)
        };
        self.users.entry(uid).or_insert_with(look_up).clone()
    }
}
