//! The journal's files, entry by entry: all there is of libsystemd.

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use systemd::journal::{
    Journal, JournalEntryField, JournalWaitResult, OpenDirectoryOptions, OpenFilesOptions,
    OpenOptions,
};

use super::Start;
use super::overlooked::{DROPPED, Lookout, Overlooked, is_read, parse};
use super::place::Place;
use super::position::{self, Position, time};
use super::stir::{Stir, Stirred};
use super::users::Users;
use crate::filter::{Entry, Filter, Filters, Finding, MAX_MESSAGE, Writer};
use crate::jail::usec;

/// The largest id of a system account, as Debian, Fedora and systemd have it (`SYS_UID_MAX`, login.defs(5)).
const SYSTEM_UID_MAX: u32 = 999;

/// A message, and what is known of who wrote it.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// `MESSAGE`
    pub message: Vec<u8>,
    /// `_SYSTEMD_UNIT`
    pub unit: Option<String>,
    /// `_UID`
    pub uid: Option<u32>,
    /// `SYSLOG_IDENTIFIER`
    pub identifier: Option<String>,
    /// `_PID`
    pub pid: Option<String>,
}

/// The journal can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// libsystemd's error.
    #[error("{0}")]
    Journal(#[from] systemd::Error),
    /// No permission, or no journald.
    #[error(
        "the journal's files are not readable; is user \"banjour\" in group \"systemd-journal\", and is journald running?"
    )]
    Unreadable,
}

/// What has happened to the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// Something was written, or files have come or gone.
    Files,
    /// They are elsewhere now, and have been opened there.
    Place,
}

/// The entries of the units that filters read, in the journal's order.
pub struct Entries<'a> {
    place: Place,
    /// Where there were files when they were opened.
    directories: Vec<PathBuf>,
    journal: Journal,
    filters: &'a Filters,
    /// Whether user ids are another host's.
    foreign: bool,
    users: Users,
    /// Looks at what no filter knows.
    lookout: Option<Lookout>,
    /// The message at hand, copied since libsystemd's is gone when the next field is fetched.
    message: Vec<u8>,
}

impl<'a> Entries<'a> {
    /// Opens the journal before the first entry at `from` or later.
    ///
    /// # Errors
    /// When there is nothing to read.
    pub fn open(place: &Place, filters: &'a Filters, from: Timestamp) -> Result<Self, Error> {
        Self::open_any(place, filters, from, None)
    }

    /// The same, and has a look at what no filter knows, and at what journald says that it has dropped.
    pub(super) fn open_with(
        place: &Place,
        filters: &'a Filters,
        from: Timestamp,
        lookout: Lookout,
    ) -> Result<Self, Error> {
        Self::open_any(place, filters, from, Some(lookout))
    }

    fn open_any(
        place: &Place,
        filters: &'a Filters,
        from: Timestamp,
        lookout: Option<Lookout>,
    ) -> Result<Self, Error> {
        let directories = place.directories();
        let mut journal = open_for(place, filters, lookout.is_some())?;
        journal.seek_realtime_usec(usec(from))?;
        Ok(Self {
            place: place.clone(),
            directories,
            journal,
            filters,
            foreign: !matches!(place, Place::Root(_)),
            users: Users::default(),
            lookout,
            message: Vec::new(),
        })
    }

    /// What tells that something has happened to the files.
    pub(super) fn stir(&self) -> Result<Stir, Error> {
        Ok(Stir::new(self.journal.fd()?, self.place.around())?)
    }

    /// Goes to the next entry and tells its time; `None` when there is none yet.
    ///
    /// # Errors
    /// libsystemd's.
    pub fn advance(&mut self) -> Result<Option<Timestamp>, Error> {
        if self.journal.next()? == 0 {
            return Ok(None);
        }
        Ok(Some(time(&self.journal)?))
    }

    /// Whether the entry at this position is still there. Where this leaves the journal is not said.
    pub(super) fn has(&mut self, position: &Position) -> Result<bool, Error> {
        position::has(&mut self.journal, position)
    }

    /// Goes to where the first entry at this time or later comes next.
    pub(super) fn go_before(&mut self, at: Timestamp) -> Result<(), Error> {
        self.journal.seek_realtime_usec(usec(at))?;
        Ok(())
    }

    /// Goes to where the first entry behind this position comes next. Its own entry is there, or nothing behind it has been
    /// read: however far the search for it goes, it passes over little.
    pub(super) fn go_behind(&mut self, position: &Position) -> Result<(), Error> {
        if !position::find(&mut self.journal, position, usize::MAX)? {
            self.go_past(position)?;
        }
        Ok(())
    }

    /// The same, where its own entry is gone.
    pub(super) fn go_past(&mut self, position: &Position) -> Result<(), Error> {
        position::seek(&mut self.journal, position)
    }

    /// Goes to where it is, as one who has just come. libsystemd looks for an entry as soon as that has its place in a file,
    /// in vain until it is linked to its unit, and does not look again before another comes.
    pub(super) fn look_anew(&mut self, start: &Start) -> Result<(), Error> {
        match &start.position {
            Some(position) => self.go_behind(position),
            None => self.go_before(start.from),
        }
    }

    /// Takes in what has happened. Where files are elsewhere now, they are opened there: journald keeps its files from now on
    /// (`mkdir /var/log/journal; journalctl --flush`), or does so no more (`Storage=volatile`, journald.conf(5)).
    pub(super) fn take_changes(&mut self, stirred: Stirred) -> Result<Change, Error> {
        let what = self.journal.process()?;
        let files_came_or_went = matches!(what, JournalWaitResult::Invalidate);
        if files_came_or_went || stirred == Stirred::Directories {
            let directories = self.place.directories();
            if directories != self.directories {
                self.journal = open_for(&self.place, self.filters, self.lookout.is_some())?;
                self.directories = directories;
                return Ok(Change::Place);
            }
        }
        if files_came_or_went && self.place.is_closed() {
            return Err(Error::Unreadable);
        }
        Ok(match what {
            JournalWaitResult::Nop => Change::Nothing,
            _ => Change::Files,
        })
    }

    pub(super) fn is_at(&self, position: &Position) -> bool {
        position::is_at(&self.journal, position)
    }

    /// This entry's cursor, for `journalctl --cursor`.
    ///
    /// # Errors
    /// libsystemd's.
    pub fn cursor(&self) -> Result<String, Error> {
        Ok(self.journal.cursor()?)
    }

    /// What this entry, of time `at`, says. Most say nothing: their other fields are not fetched, since each costs as much
    /// as going to the next entry does.
    ///
    /// # Errors
    /// libsystemd's.
    pub fn read(&mut self, at: Timestamp, findings: &mut Vec<Finding>) -> Result<(), Error> {
        self.message.clear();
        let field = self.journal.get_data(c"MESSAGE")?;
        let Some(message) = field.as_ref().and_then(JournalEntryField::value) else {
            return Ok(());
        };
        self.message.extend_from_slice(message);
        let filters = self.filters.values();
        let understood: Vec<_> = filters
            .filter_map(|filter| filter.understand(&self.message))
            .collect();
        if understood.is_empty() {
            let lookout = self.lookout.as_mut();
            if lookout.is_some_and(|lookout| lookout.look(&self.message)) {
                self.hear_of_dropped(at)?;
            }
            return Ok(());
        }
        let Some(uid) = look(&mut self.journal, c"_UID", |uid| uid.parse().ok())?.flatten() else {
            return Ok(());
        };
        let writer = if !self.foreign {
            self.users.name(uid).map(Writer::User)
        } else if uid == 0 {
            Some(Writer::User("root"))
        } else {
            (uid <= SYSTEM_UID_MAX).then_some(Writer::SomeDaemon)
        };
        let Some(writer) = writer else { return Ok(()) };
        look(&mut self.journal, c"_SYSTEMD_UNIT", |unit| {
            let entry = Entry {
                unit,
                writer,
                message: &self.message,
                at,
            };
            findings.extend(understood.iter().filter_map(|known| known.read(&entry)));
        })?;
        Ok(())
    }

    /// The message of the entry that was read last.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Takes in this entry, if it is journald's own of lines that it has dropped.
    fn hear_of_dropped(&mut self, at: Timestamp) -> Result<(), Error> {
        let [_, (_, transport)] = DROPPED;
        if self.text(c"_TRANSPORT")?.as_deref() != Some(transport) {
            return Ok(());
        }
        let dropped = parse(at, &self.message);
        let filters = self.filters;
        if let Some(lookout) = &mut self.lookout {
            lookout.note(dropped.filter(|dropped| is_read(filters, &dropped.unit)));
        }
        Ok(())
    }

    /// What was overlooked since the last time that this was asked.
    pub(super) fn overlooked(&mut self) -> Overlooked {
        let lookout = self.lookout.as_mut();
        lookout.map(Lookout::take).unwrap_or_default()
    }

    /// Shows this entry's message to `look`, if it has one.
    ///
    /// # Errors
    /// libsystemd's.
    pub fn look_at_message<T>(
        &mut self,
        look: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, Error> {
        let field = self.journal.get_data(c"MESSAGE")?;
        Ok(field.as_ref().and_then(JournalEntryField::value).map(look))
    }

    /// This entry, as far as filters look at it.
    ///
    /// # Errors
    /// libsystemd's.
    pub fn line(&mut self) -> Result<Line, Error> {
        Ok(Line {
            message: self.look_at_message(<[u8]>::to_vec)?.unwrap_or_default(),
            unit: self.text(c"_SYSTEMD_UNIT")?,
            uid: self.text(c"_UID")?.and_then(|uid| uid.parse().ok()),
            identifier: self.text(c"SYSLOG_IDENTIFIER")?,
            pid: self.text(c"_PID")?,
        })
    }

    /// The host that this entry comes from (`_HOSTNAME`).
    ///
    /// # Errors
    /// libsystemd's.
    pub fn hostname(&mut self) -> Result<Option<String>, Error> {
        self.text(c"_HOSTNAME")
    }

    fn text(&mut self, field: &CStr) -> Result<Option<String>, Error> {
        look(&mut self.journal, field, str::to_owned)
    }
}

/// Shows a field of the entry at hand to `look`, if it has that.
fn look<T>(
    journal: &mut Journal,
    field: &CStr,
    look: impl FnOnce(&str) -> T,
) -> Result<Option<T>, Error> {
    let field = journal.get_data(field)?;
    let value = field.as_ref().and_then(JournalEntryField::value);
    Ok(value.and_then(|value| str::from_utf8(value).ok()).map(look))
}

/// The journal, open for the entries of the units that filters read, and, if asked for, for what journald tells of entries that
/// it has dropped.
fn open_for(place: &Place, filters: &Filters, dropped: bool) -> Result<Journal, Error> {
    let mut journal = open(place)?;
    journal.set_data_threshold("MESSAGE=".len() + MAX_MESSAGE + 1)?;
    for unit in filters.values().flat_map(Filter::units) {
        let (field, value) = unit.journal_match();
        journal.match_add(field, value)?;
        journal.match_or()?;
    }
    // Without any match, all that there is would be read.
    if dropped && filters.values().any(|filter| !filter.units().is_empty()) {
        for (field, value) in DROPPED {
            journal.match_add(field, value)?;
        }
    }
    Ok(journal)
}

pub(super) fn open(place: &Place) -> Result<Journal, Error> {
    if place.is_closed() {
        return Err(Error::Unreadable);
    }
    let bytes = |path: &'_ Path| path.as_os_str().as_bytes().to_owned();
    let mut journal = match place {
        Place::Root(root) if root == Path::new("/") => {
            let journal = OpenOptions::default()
                .system(true)
                .local_only(true)
                .open()?;
            // Opening succeeds without permission too, and finds nothing.
            if !journal.has_persistent_files()? && !journal.has_runtime_files()? {
                return Err(Error::Unreadable);
            }
            journal
        }
        Place::Root(root) => OpenDirectoryOptions::default()
            .os_root(true)
            .open_directory(bytes(root))?,
        Place::Directory(directory) => {
            OpenDirectoryOptions::default().open_directory(bytes(directory))?
        }
        Place::File(file) => OpenFilesOptions::default().open_files([bytes(file)])?,
    };
    // Watch before the first look, so that nothing written meanwhile goes without a notification, …
    journal.fd()?;
    // … and a file that got another name while the directories were gone through is found before what follows it is read.
    journal.process()?;
    Ok(journal)
}
