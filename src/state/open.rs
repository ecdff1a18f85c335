//! Opening the database: of this version or an older one, damaged or a newer one's, on a disk that refuses or not.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{CAUSE, Error, HOLDER, MEMORY, POLICY, SCHEMA, SCHEMA_VERSION, Saved, State, upgrade};

/// The database's name in the state directory.
pub(super) const FILE: &str = "banjour.db";

/// How long to wait for somebody who looks into the database with `sqlite3` and holds it.
const PATIENCE: Duration = Duration::from_secs(1);

/// SQLite's own cache, in KiB if negative. The kernel has one as well.
const CACHE: i32 = -256;

/// What a damaged database is kept as begins so.
const DAMAGED: &str = "banjour.db.damaged-";

/// Damaged databases that are kept. A disk that damages one after the other is not to be filled with them.
const MAX_DAMAGED: usize = 3;

/// `PRAGMA application_id` of a database in the place of one that was lost, until all that is known without that is in it.
const UNFILLED: i32 = 1;

/// A database that could not be used.
#[derive(Debug)]
pub struct Aside {
    /// What it is kept as, if it is.
    pub path: Option<PathBuf>,
    /// Why it could not be used.
    pub why: Error,
}

impl State {
    /// Opens the database in `directory`, or makes it, and reads all of it. One that is damaged, or of a newer version, is
    /// kept aside for the admin, and a new one is begun.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(directory: &Path) -> Result<(Self, Saved, Option<Aside>), Error> {
        let path = directory.join(FILE);
        let aside = match Self::open_file(&path) {
            Ok((state, saved)) => return Ok((state, saved, None)),
            Err(error) if is_of_the_disk(&error) && path.exists() => return Err(error),
            Err(why @ Error::Unfilled) => Some(Aside { path: None, why }),
            Err(why) => set_aside(directory, why)?,
        };
        begin(&path, aside.is_some())?;
        let db = connect(&path)?;
        Ok((Self { db }, Saved::default(), aside))
    }

    /// Reads all of the database in `directory`, on a disk that is full, or can't be written.
    ///
    /// # Errors
    /// When it can't be read either.
    pub fn read(directory: &Path) -> Result<Saved, Error> {
        let path = directory.join(FILE);
        let wal = path.with_extension("db-wal");
        let clean = fs::metadata(wal).map_or(true, |wal| wal.len() == 0);
        // Who is alone with it needs no file for what others must know. Where nothing at all can be written that is no
        // help, but there a write-ahead log is readable as it was left, and without one, the database alone is all.
        Self::read_by(&path, "EXCLUSIVE", "")
            .or_else(|_| Self::read_by(&path, "NORMAL", ""))
            .or_else(|error| {
                let mode = if clean {
                    "?immutable=1"
                } else {
                    return Err(error);
                };
                Self::read_by(&path, "NORMAL", mode)
            })
    }

    fn read_by(path: &Path, locking: &str, parameters: &str) -> Result<Saved, Error> {
        let flags = if parameters.is_empty() {
            OpenFlags::SQLITE_OPEN_READ_WRITE
        } else {
            OpenFlags::SQLITE_OPEN_READ_ONLY
        };
        let uri = format!("file:{}{parameters}", path.display());
        let db = Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?;
        db.busy_timeout(PATIENCE)?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        db.pragma_update(None, "locking_mode", locking)?;
        check_filled(&db)?;
        Self { db }.load()
    }

    fn open_file(path: &Path) -> Result<(Self, Saved), Error> {
        let db = connect(path)?;
        match db.pragma_query_value(None, "user_version", |row| row.get(0))? {
            SCHEMA_VERSION => {}
            3 => upgrade(&db, &[CAUSE, MEMORY].concat())?,
            2 => upgrade(&db, &[POLICY, CAUSE, MEMORY].concat())?,
            1 => upgrade(&db, &[HOLDER, POLICY, CAUSE, MEMORY].concat())?,
            newer if newer > SCHEMA_VERSION => return Err(Error::Newer(newer)),
            _ => return Err(Error::Empty),
        }
        check_filled(&db)?;
        let state = Self { db };
        let saved = state.load()?;
        Ok((state, saved))
    }
}

fn connect(path: &Path) -> Result<Connection, Error> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.busy_timeout(PATIENCE)?;
    // Of another's database this changes nothing: whoever has written one has done so in this mode.
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "cache_size", CACHE)?;
    Ok(db)
}

fn check_filled(db: &Connection) -> Result<(), Error> {
    match db.pragma_query_value(None, "application_id", |row| row.get(0))? {
        UNFILLED => Err(Error::Unfilled),
        _ => Ok(()),
    }
}

/// Makes a new database, which has its name only when it is whole: an empty one is then none of ours.
fn begin(path: &Path, unfilled: bool) -> Result<(), Error> {
    let new = path.with_extension("db.new");
    remove(&new)?;
    let db = Connection::open(&new)?;
    db.pragma_update(None, "journal_mode", "MEMORY")?;
    upgrade(&db, &[SCHEMA, HOLDER, POLICY, CAUSE, MEMORY].concat())?;
    if unfilled {
        db.pragma_update(None, "application_id", UNFILLED)?;
    }
    db.close().map_err(|(_, error)| error)?;
    // Left by one that is gone, these would be taken for a part of this one.
    remove(&path.with_extension("db-wal"))?;
    remove(&path.with_extension("db-shm"))?;
    rename(&new, path)
}

/// Keeps a database, if there is one, under another name too. It goes when a new one takes its place, not before: whenever
/// the agent is killed, there is one that says that something was lost.
fn set_aside(directory: &Path, why: Error) -> Result<Option<Aside>, Error> {
    let path = directory.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let now = Timestamp::now().as_second();
    let name = match why {
        Error::Newer(version) => format!("{FILE}.version-{version}-{now}"),
        _ => format!("{DAMAGED}{now}"),
    };
    let aside = directory.join(&name);
    let wal = path.with_extension("db-wal");
    if wal.exists() {
        rename(&wal, &directory.join(format!("{name}-wal")))?;
    }
    remove(&aside)?;
    fs::hard_link(&path, &aside).map_err(|error| io_error(&aside, error))?;
    forget_damaged(directory)?;
    let path = Some(aside);
    Ok(Some(Aside { path, why }))
}

/// Removes the oldest of too many damaged databases.
fn forget_damaged(directory: &Path) -> Result<(), Error> {
    let failed = |error| io_error(directory, error);
    let mut damaged = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy().into_owned();
        if name.starts_with(DAMAGED) && !name.ends_with("-wal") {
            damaged.push(name);
        }
    }
    damaged.sort();
    for name in damaged.iter().rev().skip(MAX_DAMAGED) {
        remove(&directory.join(name))?;
        remove(&directory.join(format!("{name}-wal")))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path, error)),
        _ => Ok(()),
    }
}

fn rename(path: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(path, to).map_err(|error| io_error(path, error))
}

fn io_error(path: &Path, error: io::Error) -> Error {
    let path = path.to_owned();
    Error::Io { path, error }
}

/// Whether the disk refuses, rather than that the file is damaged.
fn is_of_the_disk(error: &Error) -> bool {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DiskFull, FileLockingProtocolFailed, OutOfMemory,
        PermissionDenied, ReadOnly, SystemIoFailure,
    };
    matches!(error, Error::Sqlite(error) if error.sqlite_error_code().is_some_and(|code| {
        matches!(code, CannotOpen | DatabaseBusy | DiskFull | FileLockingProtocolFailed | OutOfMemory
            | PermissionDenied | ReadOnly | SystemIoFailure)
    }))
}
