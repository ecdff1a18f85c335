//! What the agent's own journal tells of decisions.

use jiff::Timestamp;

use super::{Keeper, local};
use crate::ban::{Ban, JailName};
use crate::bus::Announcement;
use crate::filter::Evidence;
use crate::ignore::Ignored;
use crate::jail::usec;
use crate::log::id;

/// Tells of a decision, of its kind's `MESSAGE_ID` and action. `until`: where the ban's end matters.
fn tell(id: &str, action: &str, ban: &Ban, until: Option<Timestamp>, text: &str) {
    let cause = &ban.cause;
    tracing::info!(
        MESSAGE_ID = id,
        BANJOUR_ACTION = action,
        BANJOUR_SOURCE = %ban.source,
        BANJOUR_JAIL = %ban.jail,
        BANJOUR_USER = cause.user(),
        BANJOUR_ATTEMPTS = cause.attempts().map(|attempts| attempts.count),
        BANJOUR_UNTIL = until.map(usec),
        "{text}: {cause}"
    );
}

pub(super) fn tell_ban(ban: &Ban) {
    let (Ban { source, jail, .. }, until) = (ban, local(ban.until));
    let text = format!("banned {source} until {until} in jail {jail}");
    tell(id::BAN, "ban", ban, Some(ban.until), &text);
}

/// What would have happened.
pub(super) fn tell_observed(ban: &Ban) {
    let (Ban { source, jail, .. }, until) = (ban, local(ban.until));
    let text = format!("would ban {source} until {until} in jail {jail}, which only observes");
    tell(id::OBSERVED, "observe", ban, Some(ban.until), &text);
}

/// What must not happen.
pub(super) fn tell_ignored(ban: &Ban, ignored: &Ignored) {
    let Ban { source, jail, .. } = ban;
    let text = format!("did not ban {source} in jail {jail}, {ignored}");
    tell(id::BAN_IGNORED, "ban-ignored", ban, None, &text);
}

impl Keeper {
    pub(super) fn tell_attempt(&self, evidence: &Evidence, new: u32, name: &JailName) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let (source, user) = (evidence.source, evidence.user.as_deref());
        let counting = self
            .policy
            .jails()
            .get(name)
            .map(|jail| jail.counting(source));
        tracing::debug!(
            MESSAGE_ID = id::ATTEMPT,
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

    pub(super) fn announce_ban(&self, ban: &Ban) {
        let (source, jail) = (ban.source.to_string(), JailName::clone(&ban.jail));
        let new = Announcement::BanNew(source, jail, usec(ban.until));
        self.announcer.say(new);
        if self.announcer.has_subscribers() {
            let described = Announcement::BanDescribed(self.details(ban));
            self.announcer.say(described);
        }
    }

    pub(super) fn announce_attempt(&self, evidence: &Evidence, new: u32, name: &JailName) {
        if !self.announcer.has_subscribers() {
            return;
        }
        let user = evidence.user.clone().unwrap_or_default();
        let (source, name) = (evidence.source.to_string(), JailName::clone(name));
        let attempt = Announcement::Attempt(source, name, user, new, usec(evidence.at));
        self.announcer.say(attempt);
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
