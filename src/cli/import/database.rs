//! fail2ban's database: SQLite, which fail2ban may be writing at this moment. Since 0.11, table `bips` holds the last ban
//! of each address in each jail; before, `bans` holds every ban, without its length. See fail2ban/server/database.py.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};

use super::super::Failure;

/// How long to wait for fail2ban to finish what it writes.
const PATIENCE: Duration = Duration::from_secs(2);

/// Most bans that are looked at, the latest first: eight times what the agent holds.
const MAX_ROWS: usize = 8 * crate::ban::MAX_BANS;

/// The last ban of an address in a jail.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LastBan {
    pub(super) jail: String,
    pub(super) address: String,
    /// Seconds since the epoch.
    pub(super) since: i64,
    /// In seconds, -1 for ever; unknown in old databases.
    pub(super) time: Option<i64>,
}

/// Reads all bans, and counts rows that make no sense.
pub(super) fn read(path: &Path) -> Result<(Vec<LastBan>, usize), Failure> {
    let name = super::one_line(path);
    let refuse = |error: &dyn std::fmt::Display| Failure::Refused(format!("{name}: {error}"));
    let metadata = fs::File::open(path).and_then(|file| file.metadata());
    if !metadata.map_err(|e| refuse(&e))?.is_file() {
        return Err(refuse(&"is no file"));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| refuse(&e))?;
    query(&connection).map_err(|e| refuse(&e))?.ok_or_else(|| {
        refuse(&"holds no table \"bips\" or \"bans\": it is no database of fail2ban's")
    })
}

fn query(connection: &Connection) -> rusqlite::Result<Option<(Vec<LastBan>, usize)>> {
    connection.busy_timeout(PATIENCE)?;
    let has = |query: &str, name: &str| connection.prepare(query)?.exists([name]);
    let table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1";
    let table = match (has(table, "bips")?, has(table, "bans")?) {
        (true, _) => "bips",
        (false, true) => "bans",
        (false, false) => return Ok(None),
    };
    let columns = format!("SELECT 1 FROM pragma_table_info('{table}') WHERE name = ?1");
    let time = if has(&columns, "bantime")? {
        "bantime"
    } else {
        "NULL"
    };
    // Names and addresses are cut where no real one is as long.
    let mut rows = connection.prepare(&format!(
        "SELECT substr(jail, 1, 200), substr(ip, 1, 200), max(timeofban), {time} FROM {table} \
         GROUP BY jail, ip ORDER BY timeofban DESC LIMIT {MAX_ROWS}"
    ))?;
    let mut rows = rows.query([])?;
    let (mut bans, mut unreadable) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        match last_ban(row)? {
            Some(ban) => bans.push(ban),
            None => unreadable += 1,
        }
    }
    Ok(Some((bans, unreadable)))
}

fn last_ban(row: &Row<'_>) -> rusqlite::Result<Option<LastBan>> {
    let text = |index| -> rusqlite::Result<_> {
        Ok(match row.get_ref(index)? {
            ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        })
    };
    let number = |index| -> rusqlite::Result<_> {
        Ok(match row.get_ref(index)? {
            ValueRef::Integer(number) => Some(number),
            #[allow(clippy::cast_possible_truncation, reason = "a fraction of a second")]
            ValueRef::Real(number) => Some(number as i64),
            _ => None,
        })
    };
    let (Some(jail), Some(address), Some(since)) = (text(0)?, text(1)?, number(2)?) else {
        return Ok(None);
    };
    // An upgrade of an old database writes -2 for unknown.
    let time = number(3)?.filter(|time| *time != -2);
    Ok(Some(LastBan {
        jail,
        address,
        since,
        time,
    }))
}
