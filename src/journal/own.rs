//! What the agent itself has told the journal of bans: with it, bans outlive a state that is lost.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::Arc;

use jiff::Timestamp;
use nix::unistd::Uid;
use systemd::journal::Journal;

use super::entries::{Error, Place, open, time};
use crate::ban::{Attempts, Ban, Bans, Cause, JailName, MAX_BANS};
use crate::source::Source;

/// journald says of whom an entry is (systemd.journal-fields(7)): of the agent's unit, and its user.
const UNIT: (&str, &str) = ("_SYSTEMD_UNIT", "banjour.service");

/// What the journal tells of bans.
#[derive(Debug, Default)]
pub struct Told {
    /// The bans in force.
    pub bans: Bans,
    /// Who was let in again by an administrator, when; the bans above were decided after that.
    pub pardoned: BTreeMap<(Source, JailName), Timestamp>,
}

/// Reads all that the agent has told of bans, up to now.
///
/// # Errors
/// When there is nothing to read.
pub fn read_own(place: &Place) -> Result<Told, Error> {
    let mut journal = open(place)?;
    journal.match_add(UNIT.0, UNIT.1)?;
    journal.match_add("_UID", Uid::effective().to_string())?;
    journal.match_add("BANJOUR_ACTION", "ban")?;
    journal.match_add("BANJOUR_ACTION", "unban")?;
    journal.seek_head()?;
    let mut told = Told::default();
    while journal.next()? > 0 {
        told.hear(&mut journal)?;
    }
    told.bans.expire(Timestamp::now());
    Ok(told)
}

impl Told {
    /// Takes in an entry; one that is damaged tells nothing.
    fn hear(&mut self, journal: &mut Journal) -> Result<(), Error> {
        let at = time(journal)?;
        let mut text = |field: &CStr| text(journal, field);
        let source = text(c"BANJOUR_SOURCE").and_then(|source| source.parse().ok());
        let jail = text(c"BANJOUR_JAIL").map(JailName::from);
        let (Some(source), Some(jail)) = (source, jail) else {
            return Ok(());
        };
        self.bans.expire(at);
        if text(c"BANJOUR_ACTION").as_deref() == Some("ban") {
            let until = text(c"BANJOUR_UNTIL").and_then(|until| until.parse().ok());
            let until = until.and_then(|until| Timestamp::from_microsecond(until).ok());
            if let Some(until) = until {
                self.pardoned.remove(&(source, Arc::clone(&jail)));
                let count = text(c"BANJOUR_ATTEMPTS").and_then(|count| count.parse().ok());
                let users: Vec<Arc<str>> =
                    text(c"BANJOUR_USER").map(Arc::from).into_iter().collect();
                let attempts = |count| {
                    let (first, users) = (at, users);
                    Cause::Attempts(Arc::new(Attempts {
                        count,
                        first,
                        users,
                    }))
                };
                self.bans.insert(Ban {
                    source,
                    jail,
                    since: at,
                    until,
                    cause: count.map_or(Cause::Order, attempts),
                });
            }
            return Ok(());
        }
        self.bans.remove(source, Some(&jail));
        let pardoned = text(c"BANJOUR_REASON").as_deref() == Some("unbanned");
        if pardoned && self.pardoned.len() < MAX_BANS {
            self.pardoned.insert((source, jail), at);
        }
        Ok(())
    }
}

fn text(journal: &mut Journal, field: &CStr) -> Option<String> {
    let field = journal.get_data(field).ok().flatten()?;
    let value = field.value().map(<[u8]>::to_vec)?;
    String::from_utf8(value).ok()
}

/// What the agent has last told of a source, the oldest first: bans, and how they ended.
///
/// # Errors
/// When there is nothing to read.
pub fn read_story(
    place: &Place,
    source: Source,
    most: usize,
) -> Result<Vec<(Timestamp, String)>, Error> {
    let mut journal = open(place)?;
    journal.match_add(UNIT.0, UNIT.1)?;
    journal.match_add("BANJOUR_SOURCE", source.to_string())?;
    for action in ["ban", "unban", "ban-ignored", "observe"] {
        journal.match_add("BANJOUR_ACTION", action)?;
    }
    journal.seek_tail()?;
    let mut story = Vec::new();
    while story.len() < most && journal.previous()? > 0 {
        let at = time(&journal)?;
        story.extend(text(&mut journal, c"MESSAGE").map(|message| (at, message)));
    }
    story.reverse();
    Ok(story)
}
