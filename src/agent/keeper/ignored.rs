//! What follows when somebody is to be banned who is never banned.

use std::num::NonZeroUsize;
use std::sync::Arc;

use jiff::Timestamp;
use lru::LruCache;

use super::Keeper;
use super::tell::tell_ignored;
use crate::ban::{Ban, JailName};
use crate::bus::Announcement;
use crate::ignore::List;
use crate::jail::after;
use crate::source::Source;

/// So many sources and jails are remembered to have been told of; the journal is flooded by no more than what an attack
/// from so many ignored addresses writes.
const MAX_TOLD: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// Until when nothing more is told of an ignored source in a jail: a phone with an old password tries all day.
pub(super) struct Told(LruCache<(Source, JailName), Timestamp>);

impl Default for Told {
    fn default() -> Self {
        Self(LruCache::new(MAX_TOLD))
    }
}

impl Keeper {
    /// From now on, these are never banned.
    pub(in crate::agent) fn ignore(&mut self, list: Arc<List>) {
        self.ignored = list;
        self.lift_groundless();
    }

    /// A ban that must not be. Its jail goes on counting, and it is told once in the jail's window; what is read `again` was
    /// told when it was read first.
    pub(super) fn spare(&mut self, ban: &Ban, again: bool) {
        let (Some(ignored), Some(jail)) = (
            self.ignored.overlap(ban.source),
            self.policy.jails().get(&ban.jail),
        ) else {
            return;
        };
        let window = jail.rule().window;
        self.policy.spare(ban);
        let key = (ban.source, Arc::clone(&ban.jail));
        let told = self.told.0.get(&key);
        if told.is_some_and(|until| ban.since < *until) {
            return;
        }
        self.told.0.put(key, after(ban.since, window));
        if again {
            return;
        }
        tell_ignored(ban, ignored);
        self.announcer.say(Announcement::BanIgnored(
            ban.source.to_string(),
            Arc::clone(&ban.jail),
            ban.cause.attempts().map_or(0, |attempts| attempts.count),
            ban.cause.user().unwrap_or_default().to_owned(),
        ));
    }
}
