//! What filters can't see: lines that journald has dropped, and lines that look like failed logins and that no filter
//! knows.

use std::sync::Arc;

use jiff::Timestamp;

use super::Error;
use super::entries::open;
use super::place::Place;
use super::position::time;
use crate::filter::{Filter, Filters, Looks, shown, understood};
use crate::jail::usec;

/// journald's own entry for what its rate limit has dropped (`SD_MESSAGE_JOURNAL_DROPPED`, sd-messages.h). Nobody else can
/// write with this transport (systemd.journal-fields(7)).
pub(super) const DROPPED: [(&str, &str); 2] = [
    ("MESSAGE_ID", "a596d6fe7bfa4994828e72309e95d61e"),
    ("_TRANSPORT", "driver"),
];

/// How its message begins: "Suppressed 488 messages from dovecot.service" (`server_dispatch_message` in
/// journald-server.c).
const SUPPRESSED: &str = "Suppressed ";

/// Between two batches, so many entries of journald's are remembered; it writes one per unit and interval.
const MAX_SUPPRESSED: usize = 64;

/// Longest name of a unit (systemd.unit(5)).
const MAX_UNIT: usize = 255;

/// That journald has dropped lines of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppressed {
    /// When it told so: at the first line of the unit that it took again.
    pub at: Timestamp,
    /// The unit.
    pub unit: String,
    /// How many lines.
    pub lines: u64,
}

/// What was overlooked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlooked {
    /// Lines that journald dropped.
    pub suppressed: Vec<Suppressed>,
    /// How many lines look like failures and are known to no filter, …
    pub lines: u32,
    /// … and one of them, as it may be shown.
    pub example: Option<String>,
}

/// Looks at the lines that no filter in use knows.
pub(super) struct Lookout {
    looks: Option<Looks>,
    /// What these know is known, though nobody counts it.
    others: Arc<Filters>,
    seen: Overlooked,
}

impl Lookout {
    pub(super) fn new(others: Arc<Filters>) -> Self {
        Self {
            looks: Looks::new().ok(),
            others,
            seen: Overlooked::default(),
        }
    }

    /// Looks at a line. Returns whether it may be journald's own.
    pub(super) fn look(&mut self, message: &[u8]) -> bool {
        if message.starts_with(SUPPRESSED.as_bytes()) {
            return true;
        }
        let Some(looks) = &self.looks else {
            return false;
        };
        if looks.like_a_failure(message) && !understood(&self.others, message) {
            self.seen.lines += 1;
            self.seen.example.get_or_insert_with(|| shown(message));
        }
        false
    }

    /// Takes in what journald told.
    pub(super) fn note(&mut self, suppressed: Option<Suppressed>) {
        if self.seen.suppressed.len() < MAX_SUPPRESSED {
            self.seen.suppressed.extend(suppressed);
        }
    }

    /// All since the last time.
    pub(super) fn take(&mut self) -> Overlooked {
        std::mem::take(&mut self.seen)
    }
}

/// Reads journald's message.
pub(super) fn parse(at: Timestamp, message: &[u8]) -> Option<Suppressed> {
    let text = str::from_utf8(message).ok()?;
    let (lines, unit) = text
        .strip_prefix(SUPPRESSED)?
        .split_once(" messages from ")?;
    Some(Suppressed {
        at,
        unit: unit.chars().take(MAX_UNIT).collect(),
        lines: lines.parse().ok()?,
    })
}

/// What journald has dropped of units that filters read, since a time.
///
/// # Errors
/// When the journal can't be read.
pub fn suppressed(
    place: &Place,
    filters: &Filters,
    since: Timestamp,
) -> Result<Vec<Suppressed>, Error> {
    let mut journal = open(place)?;
    for (field, value) in DROPPED {
        journal.match_add(field, value)?;
    }
    journal.seek_realtime_usec(usec(since))?;
    let mut found = Vec::new();
    while journal.next()? > 0 {
        let at = time(&journal)?;
        let message = journal.get_data(c"MESSAGE")?;
        let told = message.as_ref().and_then(|field| field.value());
        let told = told.and_then(|message| parse(at, message));
        found.extend(told.filter(|told| is_read(filters, &told.unit)));
    }
    Ok(found)
}

/// When a unit last wrote something, if it did.
///
/// # Errors
/// When the journal can't be read.
pub fn last_written(place: &Place, unit: &str) -> Result<Option<Timestamp>, Error> {
    let mut journal = open(place)?;
    journal.match_add("_SYSTEMD_UNIT", unit)?;
    journal.seek_tail()?;
    if journal.previous()? == 0 {
        return Ok(None);
    }
    Ok(Some(time(&journal)?))
}

/// When the journal's first and last entries were written.
///
/// # Errors
/// When the journal can't be read.
pub fn extent(place: &Place) -> Result<Option<(Timestamp, Timestamp)>, Error> {
    let mut journal = open(place)?;
    journal.seek_head()?;
    if journal.next()? == 0 {
        return Ok(None);
    }
    let first = time(&journal)?;
    journal.seek_tail()?;
    journal.previous()?;
    Ok(Some((first, time(&journal)?)))
}

/// Whether any of these filters reads a unit.
#[must_use]
pub fn is_read(filters: &Filters, unit: &str) -> bool {
    let mut units = filters.values().flat_map(Filter::units);
    units.any(|read| read.matches(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journalds_message_is_read() {
        let at = Timestamp::UNIX_EPOCH;
        let told = parse(at, b"Suppressed 488 messages from dovecot.service").unwrap();
        assert_eq!((&*told.unit, told.lines), ("dovecot.service", 488));
        for other in [
            "Suppressed",
            "Suppressed x messages from y",
            "Suppressed 1 y",
        ] {
            assert_eq!(parse(at, other.as_bytes()), None, "{other}");
        }
    }
}
