//! What the agent's own journal tells of decisions.

use std::fmt;

use jiff::Timestamp;

use super::{Keeper, local};
use crate::ban::{Ban, JailName};
use crate::bus::Announcement;
use crate::filter::Evidence;
use crate::ignore::Ignored;
use crate::jail::usec;
use crate::log::id;

/// Why somebody is banned.
#[derive(Debug)]
pub(super) enum Cause {
    /// An admin's order.
    Order,
    /// So many attempts, the last one under a name.
    Attempts(u32, Option<String>),
    /// So many bans in a network.
    Crowd(usize),
}

impl Cause {
    pub(super) fn attempts(&self) -> Option<u32> {
        match self {
            Self::Attempts(attempts, _) => Some(*attempts),
            Self::Order | Self::Crowd(_) => None,
        }
    }

    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Self::Attempts(_, user) => user.as_deref(),
            Self::Order | Self::Crowd(_) => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order => write!(f, "by an administrator"),
            Self::Attempts(attempts, Some(user)) => {
                write!(f, "{attempts} failed logins, the last as {user:?}")
            }
            Self::Attempts(attempts, None) => write!(f, "{attempts} failed logins"),
            Self::Crowd(bans) => write!(f, "{bans} bans in this network"),
        }
    }
}

/// Tells of a decision, of its kind's `MESSAGE_ID` and action. `until`: where the ban's end matters.
fn tell(id: &str, action: &str, ban: &Ban, cause: &Cause, until: Option<Timestamp>, text: &str) {
    tracing::info!(
        MESSAGE_ID = id,
        BANJOUR_ACTION = action,
        BANJOUR_SOURCE = %ban.source,
        BANJOUR_JAIL = %ban.jail,
        BANJOUR_USER = cause.user(),
        BANJOUR_ATTEMPTS = cause.attempts(),
        BANJOUR_UNTIL = until.map(usec),
        "{text}: {cause}"
    );
}

pub(super) fn tell_ban(ban: &Ban, cause: &Cause) {
    let (Ban { source, jail, .. }, until) = (ban, local(ban.until));
    let text = format!("banned {source} until {until} in jail {jail}");
    tell(id::BAN, "ban", ban, cause, Some(ban.until), &text);
}

/// What would have happened.
pub(super) fn tell_observed(ban: &Ban, cause: &Cause) {
    let (Ban { source, jail, .. }, until) = (ban, local(ban.until));
    let text = format!("would ban {source} until {until} in jail {jail}, which only observes");
    tell(id::OBSERVED, "observe", ban, cause, Some(ban.until), &text);
}

/// What must not happen.
pub(super) fn tell_ignored(ban: &Ban, cause: &Cause, ignored: &Ignored) {
    let Ban { source, jail, .. } = ban;
    let text = format!("did not ban {source} in jail {jail}, {ignored}");
    tell(id::BAN_IGNORED, "ban-ignored", ban, cause, None, &text);
}

impl Keeper {
    pub(super) fn tell_attempt(&self, evidence: &Evidence, new: u32, name: &JailName) {
        let (source, user) = (evidence.source, evidence.user.as_deref());
        let counting = self
            .policy
            .jails()
            .get(name)
            .map(|jail| jail.counting(source));
        tracing::debug!(
            BANJOUR_ACTION = "attempt",
            BANJOUR_SOURCE = %source,
            BANJOUR_JAIL = %name,
            BANJOUR_USER = user,
            BANJOUR_ATTEMPTS = new,
            "{new} failed from {source} as {:?}: {} count in jail {name}",
            user.unwrap_or_default(),
            counting.unwrap_or_default()
        );
    }

    pub(super) fn tell_siege(&self, user: &str, sources: u16) {
        tracing::info!(
            MESSAGE_ID = id::SIEGE,
            BANJOUR_ACTION = "account-under-attack",
            BANJOUR_USER = user,
            "{sources} sources have failed to log in as {user:?}: whoever fails as that name is banned at once"
        );
        let siege = Announcement::AccountUnderAttack(user.to_owned(), sources.into());
        self.announcer.say(siege);
    }
}
