//! What the agent itself has told the journal of its decisions: with it, bans outlive a state that is lost, and reports
//! tell of what was.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::Arc;

use jiff::Timestamp;
use nix::unistd::Uid;
use systemd::journal::Journal;

use super::entries::{Error, open};
use super::place::Place;
use super::position::time;
use crate::ban::{Attempts, Ban, Bans, Cause, JailName, MAX_BANS};
use crate::jail::usec;
use crate::source::Source;
use crate::tried::Names;

/// journald says of whom an entry is (systemd.journal-fields(7)): of the agent's unit.
const UNIT: (&str, &str) = ("_SYSTEMD_UNIT", "banjour.service");

/// What the journal tells of bans.
#[derive(Debug, Default)]
pub struct Told {
    /// The bans in force.
    pub bans: Bans,
    /// Who was let in again by an administrator, when; the bans above were decided after that.
    pub pardoned: BTreeMap<(Source, JailName), Timestamp>,
}

/// What an entry of the agent's tells of (`BANJOUR_ACTION`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A source was banned.
    Ban,
    /// A ban has ended.
    Unban,
    /// A ban was not made, since its source is never banned.
    BanIgnored,
    /// A ban was not made, since its jail only observes.
    Observe,
    /// An account is under attack.
    AccountUnderAttack,
}

/// An entry of the agent's; what it does not tell is `None`.
#[derive(Clone, Debug)]
pub struct OwnEntry {
    /// Its time.
    pub at: Timestamp,
    /// `BANJOUR_ACTION`
    pub act: Act,
    /// `BANJOUR_SOURCE`
    pub source: Option<Source>,
    /// `BANJOUR_JAIL`
    pub jail: Option<JailName>,
    /// `BANJOUR_UNTIL`
    pub until: Option<Timestamp>,
    /// `BANJOUR_ATTEMPTS`: how many led to it.
    pub attempts: Option<u32>,
    /// `BANJOUR_REASON`: why a ban has ended.
    pub reason: Option<String>,
    /// `BANJOUR_USER`: an attacker's text, without control characters.
    pub user: Option<String>,
}

/// The agent's own entries, in the journal's order.
pub struct Own(Journal);

impl Act {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Ban,
        Self::Unban,
        Self::BanIgnored,
        Self::Observe,
        Self::AccountUnderAttack,
    ];

    /// As it stands in the journal.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ban => "ban",
            Self::Unban => "unban",
            Self::BanIgnored => "ban-ignored",
            Self::Observe => "observe",
            Self::AccountUnderAttack => "account-under-attack",
        }
    }
}

impl Own {
    /// Opens the journal before the first entry of these kinds at `from` or later; `uid`: written by this user.
    ///
    /// # Errors
    /// When there is nothing to read.
    pub fn open(
        place: &Place,
        uid: Option<Uid>,
        acts: &[Act],
        from: Timestamp,
    ) -> Result<Self, Error> {
        let mut journal = open(place)?;
        journal.match_add(UNIT.0, UNIT.1)?;
        if let Some(uid) = uid {
            journal.match_add("_UID", uid.to_string())?;
        }
        for act in acts {
            journal.match_add("BANJOUR_ACTION", act.name())?;
        }
        journal.seek_realtime_usec(usec(from))?;
        Ok(Self(journal))
    }

    /// The next entry; `None` when there is none. What is damaged is passed over.
    ///
    /// # Errors
    /// libsystemd's.
    pub fn advance(&mut self) -> Result<Option<OwnEntry>, Error> {
        while self.0.next()? > 0 {
            let at = time(&self.0)?;
            let mut text = |field: &CStr| text(&mut self.0, field);
            let action = text(c"BANJOUR_ACTION");
            let act = Act::ALL
                .into_iter()
                .find(|act| action.as_deref() == Some(act.name()));
            let Some(act) = act else { continue };
            let until = text(c"BANJOUR_UNTIL").and_then(|until| until.parse().ok());
            return Ok(Some(OwnEntry {
                at,
                act,
                source: text(c"BANJOUR_SOURCE").and_then(|source| source.parse().ok()),
                jail: text(c"BANJOUR_JAIL").map(JailName::from),
                until: until.and_then(|until| Timestamp::from_microsecond(until).ok()),
                attempts: text(c"BANJOUR_ATTEMPTS").and_then(|count| count.parse().ok()),
                reason: text(c"BANJOUR_REASON"),
                user: text(c"BANJOUR_USER"),
            }));
        }
        Ok(None)
    }
}

/// Reads all that the agent has told of bans, up to now.
///
/// # Errors
/// When there is nothing to read.
pub fn read_own(place: &Place) -> Result<Told, Error> {
    let uid = Some(Uid::effective());
    let acts = [Act::Ban, Act::Unban];
    let mut own = Own::open(place, uid, &acts, Timestamp::UNIX_EPOCH)?;
    let mut told = Told::default();
    while let Some(entry) = own.advance()? {
        told.hear(entry);
    }
    told.bans.expire(Timestamp::now());
    Ok(told)
}

impl Told {
    fn hear(&mut self, entry: OwnEntry) {
        let at = entry.at;
        let (Some(source), Some(jail)) = (entry.source, entry.jail) else {
            return;
        };
        self.bans.expire(at);
        if entry.act == Act::Ban {
            if let Some(until) = entry.until {
                self.pardoned.remove(&(source, Arc::clone(&jail)));
                let users: Names = entry.user.into_iter().collect();
                let attempts = |count| {
                    let first = at.into();
                    Cause::Attempts(Attempts {
                        count,
                        first,
                        users,
                    })
                };
                self.bans.insert(Ban {
                    source,
                    jail,
                    since: at,
                    until,
                    cause: entry.attempts.map_or(Cause::Order, attempts),
                });
            }
            return;
        }
        self.bans.remove(source, Some(&jail));
        let pardoned = entry.reason.as_deref() == Some("unbanned");
        if pardoned && self.pardoned.len() < MAX_BANS {
            self.pardoned.insert((source, jail), at);
        }
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
