//! How bans end, and what follows from it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Keeper;
use crate::ban::Ban;
use crate::bus::Announcement;
use crate::log::id;

/// Why a ban ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its time was over.
    Expired,
    /// An admin lifted it.
    Unbanned,
    /// Its jail is not in the configuration any more.
    JailRemoved,
    /// It is never banned any more.
    Ignored,
    /// The network around it is banned.
    Network,
    /// There were too many bans, and this one would have ended first.
    Limit,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Unbanned => "unbanned",
            Self::JailRemoved => "jail-removed",
            Self::Ignored => "ignored",
            Self::Network => "network",
            Self::Limit => "limit",
        }
    }
}

impl Keeper {
    /// What follows when bans are out of force.
    pub(super) fn ended(&mut self, bans: &[Ban], reason: Reason) {
        for ban in bans {
            tracing::info!(
                MESSAGE_ID = id::UNBAN,
                BANJOUR_ACTION = "unban",
                BANJOUR_SOURCE = %ban.source,
                BANJOUR_JAIL = %ban.jail,
                BANJOUR_REASON = reason.as_str(),
                "lifted the ban of {} in jail {}: {}",
                ban.source,
                ban.jail,
                reason.as_str()
            );
            let removed = Announcement::BanRemoved(
                ban.source.to_string(),
                Arc::clone(&ban.jail),
                reason.as_str(),
            );
            self.announcer.say(removed);
            self.changes
                .bans
                .insert((ban.source, Arc::clone(&ban.jail)), None);
        }
        for ban in bans {
            self.enforce(ban.source);
        }
    }

    /// Lifts the bans whose time is over.
    pub(in crate::agent) fn expire(&mut self, now: Timestamp) {
        let ended = self.bans.expire(now);
        self.ended(&ended, Reason::Expired);
    }

    /// How long until the next ban ends.
    pub(in crate::agent) fn until_next_end(&self, now: Timestamp) -> Duration {
        self.bans.next_end().map_or(Duration::MAX, |end| {
            end.duration_since(now).try_into().unwrap_or_default()
        })
    }

    /// Lifts the bans whose jail is gone, and those of who is ignored.
    pub(super) fn lift_groundless(&mut self) {
        let mut lost = BTreeMap::<&'static str, (Reason, Vec<Ban>)>::new();
        for ban in self.bans.iter() {
            let reason = if !self.policy.jails().contains_key(&ban.jail) {
                Reason::JailRemoved
            } else if self.ignored.overlap(ban.source).is_some() {
                Reason::Ignored
            } else {
                continue;
            };
            lost.entry(reason.as_str())
                .or_insert((reason, Vec::new()))
                .1
                .push(ban);
        }
        for (reason, bans) in lost.into_values() {
            for ban in &bans {
                self.bans.remove(ban.source, Some(&ban.jail));
            }
            self.ended(&bans, reason);
        }
    }
}
