//! What is to outlive the process, and how it comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::Keeper;
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
    pub(in crate::agent) fn everything(&self) -> Changes {
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
        self.expire(now);
        self.lift_groundless();
    }

    /// Until when attempts of sources don't count any more in jails.
    fn settled(&self) -> impl Iterator<Item = (Key, Timestamp)> {
        self.policy.jails().iter().flat_map(|(name, jail)| {
            jail.settled()
                .map(|(source, until)| ((source, Arc::clone(name)), until))
        })
    }
}
