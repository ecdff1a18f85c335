//! What must outlive the process: bans, counters and the journal's position, in SQLite (`banjour.db`, to be looked at
//! with `sqlite3`). What belongs together is one transaction, so that after a crash the position never lies behind or
//! before the bans and counts that it stands for. Writing has a thread of its own: a slow disk delays no ban.

mod open;
mod rows;
mod write;
mod writer;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, Row};
use tokio::sync::oneshot;

use crate::ban::{Ban, JailName};
use crate::firewall::Backend;
use crate::history::Past;
use crate::jail::Memory;
use crate::journal::Position;
use crate::policy::MemoryKey;
use crate::source::Source;
use crate::trust::{Pair, Standing};
pub use open::Aside;
pub use rows::Rows;
use write::write;
pub use writer::{Event, Writer};

/// `PRAGMA user_version`: another number is another schema.
const SCHEMA_VERSION: i32 = 4;

/// Times are microseconds since the epoch. `settled`: attempts up to then were dealt with by a ban or forgiven.
const SCHEMA: &str = "
    CREATE TABLE ban (source TEXT, jail TEXT, since INTEGER, until INTEGER, PRIMARY KEY (source, jail)) WITHOUT ROWID;
    CREATE TABLE settled (source TEXT, jail TEXT, until INTEGER, PRIMARY KEY (source, jail)) WITHOUT ROWID;
    CREATE TABLE jail (name TEXT PRIMARY KEY, failed INTEGER, banned INTEGER) WITHOUT ROWID;
    CREATE TABLE position (id INTEGER PRIMARY KEY CHECK (id = 0), cursor TEXT, at INTEGER);
";

/// From version 1 on.
const HOLDER: &str = "
    CREATE TABLE holder (id INTEGER PRIMARY KEY CHECK (id = 0), firewall TEXT);
";

/// From version 2 on. `customer`: a user's last login from a source. `history`: how many bans, and the last one.
const POLICY: &str = "
    CREATE TABLE customer (source TEXT, user TEXT, at INTEGER, PRIMARY KEY (source, user)) WITHOUT ROWID;
    CREATE TABLE history (source TEXT PRIMARY KEY, bans INTEGER, since INTEGER, until INTEGER) WITHOUT ROWID;
";

/// From version 3 on: why, as JSON.
const CAUSE: &str = "
    ALTER TABLE ban ADD COLUMN cause TEXT;
";

/// From version 3 on, too. What a jail knows of a source, as whom it failed (0: stranger, 1: customer), that the journal
/// can't tell again.
const MEMORY: &str = "
    CREATE TABLE memory (source TEXT, jail TEXT, customer INTEGER, heard INTEGER, record TEXT,
        PRIMARY KEY (source, jail, customer)) WITHOUT ROWID;
    CREATE TABLE habits (jail TEXT PRIMARY KEY, learned TEXT) WITHOUT ROWID;
";

/// Before all is written anew.
const EMPTY: &str = "
    DELETE FROM ban; DELETE FROM settled; DELETE FROM jail; DELETE FROM position; DELETE FROM holder;
    DELETE FROM customer; DELETE FROM history; DELETE FROM memory; DELETE FROM habits;
    PRAGMA application_id = 0;
";

/// A source in a jail.
pub type Key = (Source, JailName);

/// A jail's counters since it first ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Attempts.
    pub failed: u64,
    /// Bans.
    pub banned: u64,
}

/// What was saved.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// Where in the journal the agent stopped.
    pub position: Option<Position>,
    /// The bans, some of which may have ended since.
    pub bans: Vec<Ban>,
    /// Until when attempts of a source don't count any more in a jail.
    pub settled: Vec<(Key, Timestamp)>,
    /// The jails' counters.
    pub totals: BTreeMap<JailName, Totals>,
    /// Who kept banned sources out.
    pub holder: Option<Backend>,
    /// Users who have logged in, where from and when last.
    pub customers: Vec<(Pair, Timestamp)>,
    /// Who was banned before.
    pub history: Vec<(Source, Past)>,
    /// What the journal can't tell when it is read again, the longest unheard first.
    pub memories: Vec<(MemoryKey, Memory)>,
    /// What jails had learned of the password databases.
    pub habits: Vec<(JailName, String)>,
}

/// What is to be saved; the newest word on each thing.
#[derive(Debug, Default)]
pub struct Changes {
    /// This is all there is: what the disk has besides is not so.
    pub whole: bool,
    /// A new position.
    pub position: Option<Position>,
    /// Bans that are new, or gone (`None`).
    pub bans: Rows<Key, Option<Ban>>,
    /// See [`Saved::settled`].
    pub settled: Rows<Key, Timestamp>,
    /// See [`Saved::totals`].
    pub totals: BTreeMap<JailName, Totals>,
    /// Somebody else keeps banned sources out.
    pub holder: Option<Backend>,
    /// See [`Saved::customers`].
    pub customers: Rows<Pair, Timestamp>,
    /// Bans to be remembered, or forgotten (`None`).
    pub history: Rows<Source, Option<Past>>,
    /// See [`Saved::memories`].
    pub memories: Rows<MemoryKey, Memory>,
    /// See [`Saved::habits`].
    pub habits: BTreeMap<JailName, String>,
    /// What was settled, or heard of last, before then matters no more: no jail's window reaches back to it.
    pub forget: Option<Timestamp>,
    /// Who waits for this to be on disk; they also hear, by being dropped, that it won't be.
    pub waiting: Vec<oneshot::Sender<()>>,
}

/// The state can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite refused.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The directory or file can't be used.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A row that this version does not understand.
    #[error("a row of table {0:?} makes no sense")]
    Row(&'static str),
    /// Written by a newer version.
    #[error("a newer version of banjour wrote it, schema {0}, and this one knows {SCHEMA_VERSION}")]
    Newer(i32),
    /// It was begun in the place of another, whose bans were not all in it yet.
    #[error("the agent was ended before it had rebuilt it")]
    Unfilled,
    /// Nothing is in it.
    #[error("it is empty")]
    Empty,
}

/// The open database.
#[derive(Debug)]
pub struct State {
    db: Connection,
}

impl State {
    fn load(&self) -> Result<Saved, Error> {
        let jails = Jails::default();
        let key = |row: &Row<'_>| jails.key(row);
        let ban = |row: &Row<'_>| -> rusqlite::Result<Option<Ban>> {
            let Some((source, jail)) = key(row)? else {
                return Ok(None);
            };
            // Bans of a version that did not tell are kept without it.
            let cause: Option<String> = row.get(4)?;
            let cause = cause.and_then(|cause| serde_json::from_str(&cause).ok());
            Ok(time(row.get(2)?)
                .zip(time(row.get(3)?))
                .map(|(since, until)| Ban {
                    source,
                    jail,
                    since,
                    until,
                    cause: cause.unwrap_or_default(),
                }))
        };
        let settled =
            |row: &Row<'_>| -> rusqlite::Result<_> { Ok(key(row)?.zip(time(row.get(2)?))) };
        let totals = |row: &Row<'_>| -> rusqlite::Result<_> {
            let [failed, banned] =
                [row.get(1)?, row.get(2)?].map(|n: i64| u64::try_from(n).unwrap_or(0));
            Ok(Some((
                JailName::from(row.get::<_, String>(0)?),
                Totals { failed, banned },
            )))
        };
        let position = |row: &Row<'_>| -> rusqlite::Result<_> {
            let cursor = row.get(0)?;
            Ok(time(row.get(1)?).map(|at| Position { cursor, at }))
        };
        let holder = |row: &Row<'_>| -> rusqlite::Result<_> {
            let name: String = row.get(0)?;
            Ok(Backend::ALL
                .into_iter()
                .find(|backend| backend.as_str() == name))
        };
        let customer = |row: &Row<'_>| -> rusqlite::Result<_> {
            let pair = source(row)?.zip(Some(row.get::<_, String>(1)?.into()));
            Ok(pair.zip(time(row.get(2)?)))
        };
        let past = |row: &Row<'_>| -> rusqlite::Result<_> {
            let bans = u32::try_from(row.get::<_, i64>(1)?).ok();
            let times = time(row.get(2)?).zip(time(row.get(3)?));
            let past = bans.zip(times);
            let past = past.map(|(bans, (since, until))| Past { bans, since, until });
            Ok(source(row)?.zip(past))
        };
        let memory = |row: &Row<'_>| -> rusqlite::Result<_> {
            let standing = Standing::ALL
                .get(usize::from(row.get::<_, u8>(2)?))
                .copied();
            let key = key(row)?.zip(standing);
            let (heard, text) = (time(row.get(3)?), row.get(4)?);
            let memory = heard.map(|heard| Memory { heard, text });
            Ok(key
                .map(|((source, jail), standing)| (source, jail, standing))
                .zip(memory))
        };
        Ok(Saved {
            position: self
                .rows("SELECT cursor, at FROM position", "position", position)?
                .pop(),
            bans: self.rows(
                "SELECT source, jail, since, until, cause FROM ban",
                "ban",
                ban,
            )?,
            settled: self.rows(
                "SELECT source, jail, until FROM settled",
                "settled",
                settled,
            )?,
            totals: self
                .rows("SELECT name, failed, banned FROM jail", "jail", totals)?
                .into_iter()
                .collect(),
            holder: self
                .rows("SELECT firewall FROM holder", "holder", holder)?
                .pop(),
            customers: self.rows(
                "SELECT source, user, at FROM customer ORDER BY at",
                "customer",
                customer,
            )?,
            history: self.rows(
                "SELECT source, bans, since, until FROM history",
                "history",
                past,
            )?,
            memories: self.rows(
                "SELECT source, jail, customer, heard, record FROM memory ORDER BY heard",
                "memory",
                memory,
            )?,
            habits: self.rows("SELECT jail, learned FROM habits", "habits", |row| {
                Ok(Some((row.get::<_, String>(0)?.into(), row.get(1)?)))
            })?,
        })
    }

    fn rows<T>(
        &self,
        sql: &str,
        table: &'static str,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<Option<T>>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.db.prepare(sql)?;
        let rows = statement
            .query_map([], |row| read(row))?
            .collect::<Result<Option<Vec<T>>, _>>()?;
        rows.ok_or(Error::Row(table))
    }

    /// Saves changes, all or none. Where somebody waits for it, not even a power cut takes them back.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&mut self, changes: &Changes) -> Result<(), Error> {
        let synchronous = if changes.waiting.is_empty() {
            "NORMAL"
        } else {
            "FULL"
        };
        self.db.pragma_update(None, "synchronous", synchronous)?;
        let transaction = self.db.transaction()?;
        write(&transaction, changes)?;
        transaction.commit()?;
        Ok(())
    }
}

fn upgrade(db: &Connection, schema: &str) -> rusqlite::Result<()> {
    db.execute_batch(&format!(
        "BEGIN; {schema} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT"
    ))
}

impl Changes {
    /// Whether there is nothing to save.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.whole
            && self.waiting.is_empty()
            && self.position.is_none()
            && self.holder.is_none()
            && self.customers.is_empty()
            && self.history.is_empty()
            && self.memories.is_empty()
            && self.habits.is_empty()
            && self.forget.is_none()
            && self.bans.is_empty()
            && self.settled.is_empty()
            && self.totals.is_empty()
    }
}

/// Names of jails: each once, however many rows have it.
#[derive(Default)]
struct Jails(RefCell<BTreeSet<JailName>>);

impl Jails {
    fn key(&self, row: &Row<'_>) -> rusqlite::Result<Option<Key>> {
        let jail = row.get_ref(1)?.as_str()?;
        let mut jails = self.0.borrow_mut();
        let known = jails.get(jail).cloned();
        let jail = known.unwrap_or_else(|| {
            let new = JailName::from(jail);
            jails.insert(Arc::clone(&new));
            new
        });
        Ok(source(row)?.map(|source| (source, jail)))
    }
}

fn source(row: &Row<'_>) -> rusqlite::Result<Option<Source>> {
    Ok(row.get_ref(0)?.as_str()?.parse().ok())
}

fn time(usec: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(usec).ok()
}

#[cfg(test)]
mod tests;
