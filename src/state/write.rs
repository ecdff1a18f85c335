//! Changes on their way into the database.

use jiff::Timestamp;
use rusqlite::{Transaction, params};

use super::{Changes, EMPTY};
use crate::history::{MAX_SOURCES, Past};
use crate::jail::MAX_SETTLED;
use crate::trust::MAX_PAIRS;

/// So many rows are kept of what may grow without end, the youngest: as much as the agent itself remembers.
const MOST: [(&str, &str, usize); 4] = [
    ("customer", "at", MAX_PAIRS),
    ("history", "since", MAX_SOURCES),
    ("settled", "until", MAX_SETTLED),
    ("memory", "heard", MAX_MEMORIES),
];

/// As many as one jail remembers at the most (`max-sources`).
const MAX_MEMORIES: usize = 2_000_000;

/// Writes all of them.
pub(super) fn write(to: &Transaction<'_>, changes: &Changes) -> rusqlite::Result<()> {
    if changes.whole {
        to.execute_batch(EMPTY)?;
    }
    for ((source, jail), ban) in changes.bans.iter() {
        let (source, jail) = (source.to_string(), &**jail);
        match ban {
            Some(ban) => to
                .prepare_cached("INSERT OR REPLACE INTO ban VALUES (?, ?, ?, ?, ?)")?
                .execute(params![
                    source,
                    jail,
                    ban.since.as_microsecond(),
                    ban.until.as_microsecond(),
                    serde_json::to_string(&ban.cause).ok()
                ])?,
            None => to
                .prepare_cached("DELETE FROM ban WHERE source = ? AND jail = ?")?
                .execute(params![source, jail])?,
        };
    }
    for ((source, jail), until) in changes.settled.iter() {
        to.prepare_cached("INSERT OR REPLACE INTO settled VALUES (?, ?, ?)")?
            .execute(params![source.to_string(), &**jail, until.as_microsecond()])?;
    }
    for (jail, totals) in &changes.totals {
        let [failed, banned] =
            [totals.failed, totals.banned].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        to.prepare_cached("INSERT OR REPLACE INTO jail VALUES (?, ?, ?)")?
            .execute(params![&**jail, failed, banned])?;
    }
    if let Some(position) = &changes.position {
        to.prepare_cached("INSERT OR REPLACE INTO position VALUES (0, ?, ?)")?
            .execute(params![position.cursor, position.at.as_microsecond()])?;
    }
    if let Some(holder) = changes.holder {
        to.prepare_cached("INSERT OR REPLACE INTO holder VALUES (0, ?)")?
            .execute([holder.as_str()])?;
    }
    for ((source, user), at) in changes.customers.iter() {
        to.prepare_cached("INSERT OR REPLACE INTO customer VALUES (?, ?, ?)")?
            .execute(params![source.to_string(), &**user, at.as_microsecond()])?;
    }
    for (source, past) in changes.history.iter() {
        let source = source.to_string();
        match past {
            Some(Past { bans, since, until }) => to
                .prepare_cached("INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?)")?
                .execute(params![
                    source,
                    bans,
                    since.as_microsecond(),
                    until.as_microsecond()
                ])?,
            None => to
                .prepare_cached("DELETE FROM history WHERE source = ?")?
                .execute([source])?,
        };
    }
    for ((source, jail, standing), memory) in changes.memories.iter() {
        let (customer, heard) = (*standing as u8, memory.heard.as_microsecond());
        to.prepare_cached("INSERT OR REPLACE INTO memory VALUES (?, ?, ?, ?, ?)")?
            .execute(params![
                source.to_string(),
                &**jail,
                customer,
                heard,
                memory.text
            ])?;
    }
    for (jail, learned) in &changes.habits {
        to.prepare_cached("INSERT OR REPLACE INTO habits VALUES (?, ?)")?
            .execute(params![&**jail, learned])?;
    }
    if let Some(until) = changes.forget {
        forget(to, until)?;
    }
    Ok(())
}

/// Forgets what was settled, or heard of last, before then, and what is too much.
fn forget(to: &Transaction<'_>, until: Timestamp) -> rusqlite::Result<()> {
    let until = until.as_microsecond();
    to.execute("DELETE FROM settled WHERE until < ?", [until])?;
    to.execute("DELETE FROM memory WHERE heard < ?", [until])?;
    for (table, age, most) in MOST {
        let least = format!("SELECT {age} FROM {table} ORDER BY {age} DESC LIMIT 1 OFFSET ?");
        to.execute(
            &format!("DELETE FROM {table} WHERE {age} < ({least})"),
            [i64::try_from(most).unwrap_or(i64::MAX) - 1],
        )?;
    }
    Ok(())
}
