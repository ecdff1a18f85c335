//! The jails and the bans, and what follows from a change of them: the firewall's desired set, what is to be saved, what
//! the bus and the journal hear.

mod explain;
mod ignored;
mod lift;
mod orders;
mod saving;
mod tell;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use itertools::Itertools;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::accounts::MAX_ACCOUNTS;
use crate::ban::{Ban, Bans, JailName, MAX_BANS};
use crate::bus::{Announcement, Announcer};
use crate::config::Config;
use crate::filter::{Evidence, Finding};
use crate::firewall::{Backend, Desired, Report};
use crate::history::{Growth, MAX_SOURCES};
use crate::ignore::List;
use crate::jail::before;
use crate::journal::{Batch, Position};
use crate::log::id;
use crate::policy::{Fate, OVERFLOW_LASTS, Policy, Sentence, Table};
use crate::source::Source;
use crate::state::{Changes, Saved, Totals};
use crate::trust::MAX_PAIRS;
use ignored::Told;
use lift::Reason;
use tell::{tell_ban, tell_observed};

/// Where nobody attacks, the journal's position is saved when it has moved on by this much.
const POSITION_INTERVAL: Duration = Duration::from_mins(10);

pub(super) struct Keeper {
    config: Config,
    policy: Policy,
    /// Those of removed jails too: they may come back.
    totals: BTreeMap<JailName, Totals>,
    bans: Bans,
    ignored: Arc<List>,
    told: Told,
    position: Option<Position>,
    position_saved: Timestamp,
    /// When what is saved was last gone through for what does not matter any more.
    forgotten: Timestamp,
    /// When a ban last had to make room for another.
    displaced: Timestamp,
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
        ignored: Arc<List>,
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
            customers,
            history,
            memories,
            habits,
        } = saved;
        let mut policy = Policy::new(&config);
        policy.take_up(customers, history);
        let mut keeper = Self {
            policy,
            config,
            totals,
            bans: Bans::default(),
            ignored,
            told: Told::default(),
            position_saved: position
                .as_ref()
                .map_or(Timestamp::MIN, |position| position.at),
            position,
            forgotten: Timestamp::MIN,
            displaced: Timestamp::MIN,
            changes: Changes::default(),
            desired,
            holder: None,
            in_force: 0,
            announcer,
        };
        keeper.remember(memories, habits);
        for ((source, jail), until) in settled {
            keeper.policy.settle(source, &jail, until);
        }
        keeper.bans = bans.into_iter().collect();
        // Before the firewall hears of any, those go that ended, or lost their ground, while no agent ran.
        keeper.expire(Timestamp::now());
        keeper.lift_groundless();
        let ends = keeper.bans.iter().map(|ban| (ban.source, ban.until));
        let longest = ends.coalesce(|(one, until), (other, later)| {
            if one == other {
                Ok((one, until.max(later)))
            } else {
                Err(((one, until), (other, later)))
            }
        });
        keeper.desired.begin(longest);
        keeper
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Takes in what the journal says.
    pub(super) fn take(&mut self, mut batch: Batch) {
        if !batch.again {
            self.policy.read_on();
        }
        for finding in &mut batch.findings {
            finding.widen(|address| self.ignored.client(address, self.config.prefixes));
            match finding {
                Finding::Evidence(evidence) => self.weigh(evidence, batch.again),
                Finding::Trouble(trouble) => self.policy.excuse(trouble, batch.again),
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
        self.changes.memories.extend(self.policy.memories(false));
        self.changes.habits.extend(self.policy.habits(false));
        self.forget(at);
    }

    fn weigh(&mut self, evidence: &Evidence, again: bool) {
        let weighed = self
            .policy
            .weigh(evidence, &self.config, &self.ignored, again);
        for (name, new) in weighed.new {
            self.tell_attempt(evidence, new, &name);
            if !again {
                self.announce_attempt(evidence, new, &name);
                let totals = self.totals.entry(Arc::clone(&name)).or_default();
                totals.failed += u64::from(new);
                self.changes.totals.insert(name, *totals);
            }
        }
        if let Some(customer) = weighed.customer {
            self.changes.customers.insert(customer, evidence.at);
        }
        if let Some(sources) = weighed.siege.filter(|_| !again) {
            self.tell_siege(evidence.user.as_deref().unwrap_or_default(), sources);
        }
        for sentence in weighed.sentences {
            self.carry_out(sentence, again);
        }
    }

    fn carry_out(&mut self, sentence: Sentence, again: bool) {
        let Sentence { ban, fate } = sentence;
        if again && fate != Fate::Ignored && self.policy.remembers(ban.source, &ban.jail) {
            return;
        }
        match fate {
            Fate::Enforced if self.bans.covers(ban.source) => {
                tracing::debug!("{} is banned with its network already", ban.source);
            }
            Fate::Enforced => self.ban(&ban),
            Fate::Observed => {
                self.settle(ban.source, &ban.jail, ban.until);
                tell_observed(&ban);
            }
            Fate::Ignored => self.spare(&ban, again),
        }
    }

    fn ban(&mut self, ban: &Ban) {
        self.settle(ban.source, &ban.jail, ban.until);
        let totals = self.totals.entry(Arc::clone(&ban.jail)).or_default();
        totals.banned += 1;
        self.changes.totals.insert(Arc::clone(&ban.jail), *totals);
        let same = |known: Ban| known.jail == ban.jail && known.since == ban.since;
        if self.bans.of_source(ban.source).any(same) {
            // Decided before, when the state that knows of it could not be read.
            return;
        }
        let forget = self.growth(&ban.jail).forget;
        let past = self
            .policy
            .history
            .note(ban.source, ban.since, ban.until, forget);
        self.changes.history.insert(ban.source, Some(past));
        if ban.until <= Timestamp::now() {
            // Read in the journal after a time without an agent.
            tracing::debug!(
                "a ban of {} would have ended at {}",
                ban.source,
                local(ban.until)
            );
            return;
        }
        tell_ban(ban);
        self.announce_ban(ban);
        self.changes
            .bans
            .insert((ban.source, Arc::clone(&ban.jail)), Some(ban.clone()));
        if let Some(displaced) = self.bans.insert(ban.clone()) {
            self.displaced = Timestamp::now();
            self.ended(&[displaced], Reason::Limit);
        }
        self.enforce(ban.source);
        if let Some(whole) = self.policy.crowd(ban, &self.config, &self.ignored) {
            self.ban_network(&whole);
        }
    }

    /// Bans a network in the place of those in it who are banned.
    fn ban_network(&mut self, whole: &Ban) {
        let mut folded = self.bans.inside(whole.source);
        folded.retain(|ban| ban.source != whole.source);
        self.ban(whole);
        for ban in &folded {
            self.bans.remove(ban.source, Some(&ban.jail));
        }
        self.ended(&folded, Reason::Network);
    }

    fn settle(&mut self, source: Source, jail: &JailName, until: Timestamp) {
        self.policy.settle(source, jail, until);
        self.changes
            .settled
            .insert((source, Arc::clone(jail)), until);
    }

    /// Has a source kept out as long as the longest of its bans lasts, or no more.
    fn enforce(&self, source: Source) {
        let until = self.bans.of_source(source).map(|ban| ban.until).max();
        self.desired.set(source, until);
    }

    /// How the bans of a jail grow.
    fn growth(&self, jail: &JailName) -> Growth {
        let jail = self.config.jails.get(jail);
        jail.map(|jail| jail.growth).unwrap_or_default()
    }

    /// What is to be told of tables that are full.
    pub(super) fn overflow(&self, now: Timestamp) -> Option<String> {
        let text = |table| match table {
            Table::Jail(name) => format!(
                "more sources fail than jail {name} remembers (\"max-sources\"), and those not heard of for the longest time are forgotten"
            ),
            Table::Customers => format!(
                "more customers log in than the {MAX_PAIRS} that are remembered, and those who have not for the longest time are strangers again"
            ),
            Table::Accounts => format!(
                "more names are tried than the {MAX_ACCOUNTS} that are remembered, and attacks on some may go unnoticed"
            ),
            Table::History => format!(
                "more sources are banned than the {MAX_SOURCES} that are remembered, and those who come back are not banned for longer"
            ),
        };
        let mut texts: Vec<String> = self.policy.overflowing(now).map(text).collect();
        if self.displaced > before(now, OVERFLOW_LASTS) {
            texts.push(format!(
                "more sources are to be banned than the {MAX_BANS} that fit, and those whose bans would have ended first are let in"
            ));
        }
        (!texts.is_empty()).then(|| texts.join("; "))
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
                MESSAGE_ID = id::FIREWALL,
                BANJOUR_ACTION = "firewall",
                "{holder} keeps banned sources out"
            );
        }
    }

    /// Takes another configuration into force. Bans and counters stay, except where they lose their ground.
    pub(super) fn reconfigure(&mut self, config: Config) {
        let (new, gone) = self.policy.configure(&config);
        for name in gone {
            self.announcer.say(Announcement::JailRemoved(name));
        }
        for name in new {
            self.announcer.say(Announcement::JailNew(name));
        }
        self.config = config;
        self.lift_groundless();
    }

    /// The journal is about to be read again from before the position.
    pub(super) fn read_again(&mut self) {
        self.policy.read_again();
    }
}

pub(super) fn local(at: Timestamp) -> impl fmt::Display {
    Zoned::new(at, TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S %:z")
        .to_string()
}
