//! What the journal has lost since the agent last read it. libsystemd passes over files that it can't read, and over the
//! rest of a file that is damaged, without a word: so the files are gone through once, one by one, when the agent starts.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use jiff::Timestamp;

use super::entries::{Entries, Error, open};
use super::place::Place;
use super::position::{Position, has, seek, time};
use crate::filter::{Filter, Filters, Unit};

/// Entries that are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// They may have been written from then …
    pub from: Timestamp,
    /// … to then.
    pub until: Timestamp,
    /// How they got lost.
    pub why: String,
}

/// What has been lost since this position.
pub(super) fn missed(place: &Place, filters: &Filters, position: &Position) -> Option<Missed> {
    let gone = gap(place, position).ok().flatten();
    let damaged = place
        .files()
        .into_iter()
        .filter_map(|file| damage(&file, filters, position.at));
    gone.into_iter().chain(damaged).reduce(|one, other| Missed {
        from: one.from.min(other.from),
        until: one.until.max(other.until),
        // The first stands for all.
        why: one.why,
    })
}

/// What lies between a position whose entry is gone, and the first entry behind it that is not.
fn gap(place: &Place, position: &Position) -> Result<Option<Missed>, Error> {
    let mut journal = open(place)?;
    if has(&mut journal, position)? {
        return Ok(None);
    }
    seek(&mut journal, position)?;
    let next = if journal.next()? > 0 {
        time(&journal)?
    } else {
        Timestamp::now()
    };
    Ok(Some(Missed {
        from: position.at.min(next),
        until: position.at.max(next),
        why: "journal files are gone".to_owned(),
    }))
}

/// What can't be read of a file's entries behind `since`.
fn damage(path: &Path, filters: &Filters, since: Timestamp) -> Option<Missed> {
    let header = Header::read(path);
    if header.last <= since {
        return None;
    }
    let missed = |from: Timestamp, how: &str| Missed {
        from: from.max(since),
        until: header.last,
        why: format!(
            "{} {how}",
            path.file_name().unwrap_or_default().to_string_lossy()
        ),
    };
    let place = Place::File(path.to_owned());
    let Ok(all) = Walk::through_all(&place, filters, since) else {
        return Some(missed(header.first, "cannot be read"));
    };
    let read = Walk::as_the_reader(&place, filters, since).unwrap_or_default();
    let complete = all.entries >= header.entries && all.last >= header.last;
    if complete && read.ours >= all.ours {
        return None;
    }
    let from = if complete {
        read.last
    } else {
        all.last.min(read.last)
    };
    Some(missed(from, "is damaged"))
}

/// What comes to light from one end of a file to the other.
#[derive(Default)]
struct Walk {
    entries: u64,
    /// Those among them that filters read, and that are new.
    ours: u64,
    /// The time of the last.
    last: Timestamp,
}

impl Walk {
    /// By the list of all entries.
    fn through_all(place: &Place, filters: &Filters, since: Timestamp) -> Result<Self, Error> {
        let mut journal = open(place)?;
        journal.seek_head()?;
        let matches: Vec<(CString, String)> = filters
            .values()
            .flat_map(Filter::units)
            .map(Unit::journal_match)
            .filter_map(|(field, value)| Some((CString::new(field).ok()?, value)))
            .collect();
        let mut walk = Self::default();
        while journal.next().is_ok_and(|count| count > 0) {
            walk.entries += 1;
            walk.last = time(&journal)?;
            let is_ours = |(field, value): &(CString, String)| {
                let Ok(data) = journal.get_data(&**field) else {
                    // Nobody knows whose it was.
                    return true;
                };
                data.is_some_and(|data| data.value() == Some(value.as_bytes()))
            };
            if walk.last > since && matches.iter().any(is_ours) {
                walk.ours += 1;
            }
        }
        Ok(walk)
    }

    /// By the index, which leads to the entries of a unit.
    fn as_the_reader(place: &Place, filters: &Filters, since: Timestamp) -> Result<Self, Error> {
        let mut entries = Entries::open(place, filters, since)?;
        let mut walk = Self {
            last: since,
            ..Self::default()
        };
        while let Ok(Some(at)) = entries.advance() {
            if at > since {
                walk.ours += 1;
                walk.last = at;
            }
        }
        Ok(walk)
    }
}

/// What a file says of itself (`JOURNAL_FILE_FORMAT` at systemd.io).
struct Header {
    entries: u64,
    /// When the first and the last were written.
    first: Timestamp,
    last: Timestamp,
}

impl Header {
    const SIGNATURE: &[u8] = b"LPKSHHRH";
    const SIZE: usize = 200;
    const ENTRIES: usize = 152;
    const FIRST: usize = 184;
    const LAST: usize = 192;

    /// A file without one can have entries of any time before it was last written to.
    fn read(path: &Path) -> Self {
        let mut bytes = [0; Self::SIZE];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
        let number = |offset: usize| {
            bytes[offset..]
                .first_chunk()
                .map_or(0, |number| u64::from_le_bytes(*number))
        };
        let at = |offset: usize| {
            let usec = i64::try_from(number(offset)).ok()?;
            Timestamp::from_microsecond(usec).ok()
        };
        if read.is_ok()
            && bytes.starts_with(Self::SIGNATURE)
            && let Some((first, last)) = at(Self::FIRST).zip(at(Self::LAST))
        {
            let entries = number(Self::ENTRIES);
            return Self {
                entries,
                first,
                last,
            };
        }
        let written = fs::metadata(path).and_then(|file| file.modified());
        Self {
            entries: 0,
            first: Timestamp::MIN,
            last: written
                .ok()
                .and_then(|at| Timestamp::try_from(at).ok())
                .unwrap_or(Timestamp::MIN),
        }
    }
}
