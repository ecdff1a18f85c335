//! What is to outlive the process, and how it comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{Keeper, POSITION_INTERVAL};
use crate::agent::read_from;
use crate::ban::JailName;
use crate::jail::Memory;
use crate::policy::MemoryKey;
use crate::state::{Changes, Key, Saved};

impl Keeper {
    /// What is to be saved; to be taken away by who saves it.
    pub(in crate::agent) fn changes(&mut self) -> &mut Changes {
        &mut self.changes
    }

    /// What is to be saved at the end.
    pub(in crate::agent) fn last_changes(&mut self) -> Changes {
        self.changes.position.clone_from(&self.position);
        std::mem::take(&mut self.changes)
    }

    /// All that there is, to be saved in the place of what the disk holds.
    pub(in crate::agent) fn everything(&mut self) -> Changes {
        let ban = |ban: crate::ban::Ban| ((ban.source, Arc::clone(&ban.jail)), Some(ban));
        Changes {
            whole: true,
            position: self.position.clone(),
            bans: self.bans.iter().map(ban).collect(),
            settled: self.settled().collect(),
            totals: self.totals.clone(),
            holder: self.holder,
            customers: self.policy.trust.iter().collect(),
            history: self.policy.history.iter().collect(),
            memories: self.policy.memories(true).collect(),
            habits: self.policy.habits(true).collect(),
            forget: None,
            waiting: Vec::new(),
        }
    }

    /// Hears when all that has been changed up to now is on disk.
    pub(in crate::agent) fn when_saved(&mut self) -> oneshot::Receiver<()> {
        let (waiting, saved) = oneshot::channel();
        self.changes.waiting.push(waiting);
        saved
    }

    /// Takes up a state that could not be read before. The journal is to be read again from its position, and tells then
    /// of all attempts since, those included that have been counted meanwhile; bans and an admin's pardons stay.
    pub(in crate::agent) fn take_up(&mut self, saved: Saved) {
        let now = Timestamp::now();
        let pardoned: BTreeMap<Key, Timestamp> =
            self.settled().filter(|(_, until)| *until <= now).collect();
        self.policy.forget_attempts();
        for ((source, jail), until) in saved.settled.into_iter().chain(pardoned.clone()) {
            self.policy.settle(source, &jail, until);
        }
        self.policy.take_up(saved.customers, saved.history);
        for ban in saved.bans {
            let key = (ban.source, Arc::clone(&ban.jail));
            let mut known = self.bans.of_source(ban.source);
            if !pardoned.contains_key(&key) && !known.any(|known| known.jail == ban.jail) {
                drop(known);
                self.bans.insert(ban);
                self.enforce(key.0);
            }
        }
        self.totals = saved.totals;
        self.position = saved.position;
        self.remember(saved.memories, saved.habits);
        self.expire(now);
        self.lift_groundless();
    }

    /// Takes up what the journal can't tell when it is read again from before the position.
    pub(super) fn remember(
        &mut self,
        memories: Vec<(MemoryKey, Memory)>,
        habits: Vec<(JailName, String)>,
    ) {
        if let Some(position) = &self.position {
            self.policy.take_up_habits(habits, position.at);
            let since = read_from(Some(position), &self.config);
            self.policy.remember(memories, (since, position.at));
        }
    }

    /// Now and then, has the disk forget what no jail's window reaches back to.
    pub(super) fn forget(&mut self, at: Timestamp) {
        if at.duration_since(self.forgotten).unsigned_abs() >= POSITION_INTERVAL {
            self.forgotten = at;
            self.changes.forget = Some(read_from(self.position.as_ref(), &self.config));
        }
    }

    /// Until when attempts of sources don't count any more in jails.
    fn settled(&self) -> impl Iterator<Item = (Key, Timestamp)> {
        self.policy.jails().iter().flat_map(|(name, jail)| {
            jail.settled()
                .map(|(source, until)| ((source, Arc::clone(name)), until))
        })
    }
}
