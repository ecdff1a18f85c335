//! A place in the journal, to go on from.

use jiff::Timestamp;
use systemd::journal::Journal;

use super::entries::Error;
use crate::jail::usec;

/// How far behind its place an entry is looked for. Where the clock was set back, libsystemd may put entries before it that
/// were written earlier, at a later time.
const STRAY: usize = 10_000;

/// A place in the journal: behind the last entry that was dealt with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The entry's cursor, libsystemd's text.
    pub cursor: String,
    /// The entry's time.
    pub at: Timestamp,
}

/// Goes to a position; the next entry is the one there, or else the first behind it.
pub(super) fn seek(journal: &mut Journal, position: &Position) -> Result<(), Error> {
    // Only what was never a cursor is refused.
    if journal.seek_cursor(&*position.cursor).is_err() {
        journal.seek_realtime_usec(usec(position.at) + 1)?;
    }
    Ok(())
}

/// Goes to the entry at a position, and tells whether it is still there.
pub(super) fn has(journal: &mut Journal, position: &Position) -> Result<bool, Error> {
    find(journal, position, STRAY)
}

/// The same, but for how far it is looked for.
pub(super) fn find(
    journal: &mut Journal,
    position: &Position,
    within: usize,
) -> Result<bool, Error> {
    seek(journal, position)?;
    for _ in 0..within {
        if journal.next()? == 0 {
            break;
        }
        if is_at(journal, position) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the entry at hand is the one at a position. What was never a cursor is no entry's.
pub(super) fn is_at(journal: &Journal, position: &Position) -> bool {
    let same = journal.test_cursor(&*position.cursor);
    same.unwrap_or(false) || is_copy(journal, position)
}

/// Whether it is a copy of that. What journald has in /run it copies to /var, where entries are numbered anew (`s=` names the
/// numbering, `i=` is the number); the rest of their cursors stays: boot, times, and a hash of all fields.
fn is_copy(journal: &Journal, position: &Position) -> bool {
    time(journal).is_ok_and(|at| at == position.at)
        && journal
            .cursor()
            .is_ok_and(|cursor| differ_in_number_alone(&cursor, &position.cursor))
}

fn differ_in_number_alone(one: &str, other: &str) -> bool {
    let parts = |cursor| -> Option<(&str, &str)> {
        let (numbering, rest) = str::split_once(cursor, ";i=")?;
        Some((numbering, rest.split_once(";b=")?.1))
    };
    let both = parts(one).zip(parts(other));
    both.is_some_and(|(one, other)| one.0 != other.0 && one.1 == other.1)
}

/// The time of the entry at hand.
pub(super) fn time(journal: &Journal) -> Result<Timestamp, Error> {
    let usec = i64::try_from(journal.timestamp_usec()?).unwrap_or(i64::MAX);
    Ok(Timestamp::from_microsecond(usec).unwrap_or(Timestamp::MAX))
}
