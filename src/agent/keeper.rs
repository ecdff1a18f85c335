//! The jails and the bans, and what follows from a change of them: the firewall's desired set, what is to be saved, what
//! the bus and the journal hear.

mod lift;
mod orders;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::ban::{Ban, Bans, JailName};
use crate::bus::{Announcement, Announcer};
use crate::config::Config;
use crate::filter::{Evidence, Finding, Trouble};
use crate::firewall::{Backend, Desired, Report};
use crate::jail::{Decision, Jail};
use crate::journal::{Batch, Position};
use crate::log::id;
use crate::source::Source;
use crate::state::{Changes, Saved, Totals};
use lift::Reason;

/// Where nobody attacks, the journal's position is saved when it has moved on by this much.
const POSITION_INTERVAL: Duration = Duration::from_mins(10);

pub(super) struct Keeper {
    config: Config,
    jails: BTreeMap<JailName, Jail>,
    /// Those of removed jails too: they may come back.
    totals: BTreeMap<JailName, Totals>,
    bans: Bans,
    position: Option<Position>,
    position_saved: Timestamp,
    changes: Changes,
    desired: Desired,
    /// Who keeps banned sources out, and how many.
    holder: Option<Backend>,
    in_force: usize,
    announcer: Announcer,
}

impl Keeper {
    /// Takes up what was saved.
    pub(super) fn new(
        config: Config,
        saved: Saved,
        desired: Desired,
        announcer: Announcer,
    ) -> Self {
        let Saved {
            position,
            bans,
            settled,
            totals,
            holder: _,
        } = saved;
        let mut keeper = Self {
            jails: config
                .jails
                .iter()
                .map(|(name, jail)| (Arc::clone(name), Jail::new(jail.rule)))
                .collect(),
            config,
            totals,
            bans: Bans::default(),
            position_saved: position
                .as_ref()
                .map_or(Timestamp::MIN, |position| position.at),
            position,
            changes: Changes::default(),
            desired,
            holder: None,
            in_force: 0,
            announcer,
        };
        for ((source, jail), until) in settled {
            if let Some(jail) = keeper.jails.get_mut(&jail) {
                jail.settle(source, until);
            }
        }
        for ban in bans {
            keeper.bans.insert(ban);
        }
        // Before the firewall hears of any, those go that ended, or lost their ground, while no agent ran.
        keeper.expire(Timestamp::now());
        keeper.lift_groundless();
        for ban in keeper.bans.iter() {
            keeper.enforce(ban.source);
        }
        keeper
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// What is to be saved; to be taken away by who saves it.
    pub(super) fn changes(&mut self) -> &mut Changes {
        &mut self.changes
    }

    /// What is to be saved at the end.
    pub(super) fn last_changes(&mut self) -> Changes {
        self.changes.position.clone_from(&self.position);
        std::mem::take(&mut self.changes)
    }

    /// Takes in what the journal says.
    pub(super) fn take(&mut self, mut batch: Batch) {
        for finding in &mut batch.findings {
            finding.widen(self.config.prefixes);
            match finding {
                Finding::Evidence(evidence) => self.weigh(evidence, batch.again),
                Finding::Trouble(trouble) => self.excuse(trouble, batch.again),
            }
        }
        if batch.again {
            return;
        }
        let at = batch.position.at;
        let idle = at.duration_since(self.position_saved).unsigned_abs() < POSITION_INTERVAL;
        if !batch.findings.is_empty() || !idle {
            self.changes.position = Some(batch.position.clone());
            self.position_saved = at;
        }
        self.position = Some(batch.position);
    }

    fn weigh(&mut self, evidence: &Evidence, again: bool) {
        let mut decisions = Vec::new();
        for (name, jail) in &mut self.jails {
            let counts = self
                .config
                .jails
                .get(name)
                .is_some_and(|jail| jail.filters.contains(&*evidence.filter));
            if !counts || (again && jail.knows(evidence.at)) {
                continue;
            }
            let (new, decision) = jail.observe(evidence);
            if new > 0 {
                let counting = decision.as_ref().map(|decision| decision.attempts);
                tell_attempt(
                    evidence,
                    new,
                    name,
                    counting.unwrap_or_else(|| jail.counting(evidence.source)),
                    jail,
                );
            }
            if !again && new > 0 {
                let totals = self.totals.entry(Arc::clone(name)).or_default();
                totals.failed += u64::from(new);
                self.changes.totals.insert(Arc::clone(name), *totals);
            }
            if let Some(decision) = decision {
                let time = jail.rule().ban_time;
                decisions.push((Ban::new(evidence.source, name, evidence.at, time), decision));
            }
        }
        for (ban, decision) in decisions {
            if self.config.ignores(ban.source) {
                tracing::debug!(
                    "{} failed logins from {}, which is never banned",
                    decision.attempts,
                    ban.source
                );
            } else {
                self.ban(ban, &decision);
            }
        }
    }

    /// Whatever filter tells of it, all jails hear of it: it is Dovecot's database that can't check what Postfix is given.
    fn excuse(&mut self, trouble: &Trouble, again: bool) {
        for jail in self.jails.values_mut() {
            if !again || !jail.knows(trouble.at) {
                jail.excuse(trouble);
            }
        }
    }

    fn ban(&mut self, ban: Ban, decision: &Decision) {
        self.settle(ban.source, &ban.jail, ban.until);
        let totals = self.totals.entry(Arc::clone(&ban.jail)).or_default();
        totals.banned += 1;
        self.changes.totals.insert(Arc::clone(&ban.jail), *totals);
        if ban.until <= Timestamp::now() {
            // Read in the journal after a time without an agent.
            tracing::debug!(
                "a ban of {} would have ended at {}",
                ban.source,
                local(ban.until)
            );
            return;
        }
        let Decision { attempts, user } = decision;
        let cause = match (attempts, user) {
            (0, _) => "by an administrator".to_owned(),
            (_, Some(user)) => format!("{attempts} failed logins, the last as {user:?}"),
            (_, None) => format!("{attempts} failed logins"),
        };
        tracing::info!(
            MESSAGE_ID = id::BAN,
            BANJOUR_ACTION = "ban",
            BANJOUR_SOURCE = %ban.source,
            BANJOUR_JAIL = %ban.jail,
            BANJOUR_USER = user.as_deref(),
            BANJOUR_ATTEMPTS = (*attempts > 0).then_some(*attempts),
            BANJOUR_UNTIL = usec(ban.until),
            "banned {} until {} in jail {}: {cause}",
            ban.source,
            local(ban.until),
            ban.jail
        );
        self.announcer.say(Announcement::BanNew(
            ban.source.to_string(),
            Arc::clone(&ban.jail),
            usec(ban.until),
        ));
        self.changes
            .bans
            .insert((ban.source, Arc::clone(&ban.jail)), Some(ban.clone()));
        let source = ban.source;
        if let Some(displaced) = self.bans.insert(ban) {
            self.ended(&[displaced], Reason::Limit);
        }
        self.enforce(source);
    }

    fn settle(&mut self, source: Source, jail: &JailName, until: Timestamp) {
        if let Some(jail) = self.jails.get_mut(jail) {
            jail.settle(source, until);
        }
        self.changes
            .settled
            .insert((source, Arc::clone(jail)), until);
    }

    /// Has a source kept out as long as the longest of its bans lasts, or no more.
    fn enforce(&self, source: Source) {
        let until = self.bans.of_source(source).map(|ban| ban.until).max();
        self.desired.set(source, until);
    }

    /// Takes in what the firewall holds.
    pub(super) fn enforced(&mut self, report: &Report) {
        self.in_force = report.in_force;
        if report.backend == self.holder || report.result.is_err() {
            return;
        }
        self.holder = report.backend;
        self.changes.holder = report.backend;
        self.announcer.say(Announcement::Firewall);
        if let Some(holder) = self.holder {
            tracing::info!(
                BANJOUR_ACTION = "firewall",
                "{holder} keeps banned sources out"
            );
        }
    }

    /// Takes another configuration into force. Bans and counters stay, except where they lose their ground.
    pub(super) fn reconfigure(&mut self, config: Config) {
        let gone: Vec<JailName> = self
            .jails
            .keys()
            .filter(|name| !config.jails.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            self.jails.remove(&name);
            self.announcer.say(Announcement::JailRemoved(name));
        }
        for (name, jail) in &config.jails {
            if let Some(known) = self.jails.get_mut(name) {
                known.set_rule(jail.rule);
            } else {
                self.jails.insert(Arc::clone(name), Jail::new(jail.rule));
                self.announcer.say(Announcement::JailNew(Arc::clone(name)));
            }
        }
        self.config = config;
        self.lift_groundless();
        self.read_again();
    }

    /// The journal is about to be read again from before the position.
    pub(super) fn read_again(&mut self) {
        self.jails.values_mut().for_each(Jail::read_again);
    }
}

fn tell_attempt(evidence: &Evidence, new: u32, name: &JailName, counting: u32, jail: &Jail) {
    let (source, user) = (evidence.source, evidence.user.as_deref());
    tracing::debug!(
        BANJOUR_ACTION = "attempt",
        BANJOUR_SOURCE = %source,
        BANJOUR_JAIL = %name,
        BANJOUR_USER = user,
        BANJOUR_ATTEMPTS = new,
        "{new} failed from {source} as {:?}: {counting} of {} count in jail {name}",
        user.unwrap_or_default(),
        jail.rule().attempts
    );
}

fn local(at: Timestamp) -> impl fmt::Display {
    Zoned::new(at, TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S %:z")
        .to_string()
}

fn usec(at: Timestamp) -> u64 {
    u64::try_from(at.as_microsecond()).unwrap_or(0)
}
