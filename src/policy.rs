//! Evidence → sentences: what the jails make of it, with what is known of customers, of accounts under attack and of
//! earlier bans. The agent carries sentences out, a replay lists them. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use smallvec::SmallVec;

use crate::accounts::{Accounts, Siege};
use crate::ban::{Attempts, Ban, Cause, JailName};
use crate::config::{Config, JailConfig};
use crate::filter::{Evidence, Outcome, Trouble};
use crate::history::{History, Past};
use crate::ignore::List;
use crate::jail::{Decision, Jail, Memory, before};
use crate::source::Source;
use crate::tried::Tried;
use crate::trust::{Pair, Standing, Trust};

/// What has forgotten something that mattered is thought to be too small for so long.
pub const OVERFLOW_LASTS: Duration = Duration::from_mins(10);

/// A source in a jail, and as whom it failed.
pub type MemoryKey = (Source, JailName, Standing);

/// All that decides.
#[derive(Debug)]
pub struct Policy {
    jails: BTreeMap<JailName, Jail>,
    /// Who has logged in from where.
    pub trust: Trust,
    /// Accounts that strangers fail for.
    pub accounts: Accounts,
    /// Who was banned before.
    pub history: History,
    /// Who tried which names.
    pub tried: Tried,
}

/// What follows from one piece of evidence.
#[derive(Debug, Default)]
pub struct Weighed {
    /// The jails that count new attempts by it, with how many.
    pub new: SmallVec<[(JailName, u32); 2]>,
    /// What they decide.
    pub sentences: Vec<Sentence>,
    /// An account has come under attack from so many sources.
    pub siege: Option<u16>,
    /// A customer whose login is to be remembered.
    pub customer: Option<Pair>,
}

/// That a source is to be banned.
#[derive(Clone, Debug)]
pub struct Sentence {
    /// The ban.
    pub ban: Ban,
    /// What becomes of it.
    pub fate: Fate,
}

/// What remembers something, and no more than so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table<'a> {
    /// A jail, sources that fail.
    Jail(&'a JailName),
    /// [`Trust`], who has logged in.
    Customers,
    /// [`Accounts`], names that are tried.
    Accounts,
    /// [`History`], who was banned.
    History,
}

/// What becomes of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is carried out.
    Enforced,
    /// It is told, and no more: the jail observes.
    Observed,
    /// The source is never banned.
    Ignored,
}

impl Policy {
    /// Knows nobody yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            jails: config.jails.iter().map(new_jail).collect(),
            trust: Trust::new(config.trust_time),
            accounts: Accounts::new(config.accounts),
            history: History::default(),
            tried: Tried::default(),
        }
    }

    /// Other settings from now on; what is known stays. Returns the jails that are new, and those that are gone.
    pub fn configure(&mut self, config: &Config) -> (Vec<JailName>, Vec<JailName>) {
        self.trust.set_time(config.trust_time);
        self.accounts.set_rule(config.accounts);
        let is_gone = |name: &&JailName| !config.jails.contains_key(*name);
        let gone: Vec<JailName> = self.jails.keys().filter(is_gone).cloned().collect();
        self.jails.retain(|name, _| config.jails.contains_key(name));
        let mut new = Vec::new();
        for (name, settings) in &config.jails {
            if let Some(known) = self.jails.get_mut(name) {
                known.set_rule(settings.rule);
            } else {
                self.jails.extend([new_jail((name, settings))]);
                new.push(Arc::clone(name));
            }
        }
        (new, gone)
    }

    /// Takes up what was remembered of customers and of earlier bans, beside what is known.
    pub fn take_up(
        &mut self,
        customers: impl IntoIterator<Item = (Pair, Timestamp)>,
        history: impl IntoIterator<Item = (Source, Past)>,
    ) {
        for (pair, at) in customers {
            self.trust.restore(pair, at);
        }
        self.history.extend(history);
    }

    /// The sources with most attempts lately, with when they were last heard of.
    #[must_use]
    pub fn busiest(&self, now: Timestamp, most: usize) -> Vec<(Source, u32, Timestamp)> {
        let busy: BTreeMap<Source, Timestamp> = self
            .jails
            .values()
            .flat_map(|jail| jail.busiest(now, most))
            .collect();
        // What Postfix asks Dovecot, jails of both may see.
        let attempts = |source| {
            let jails = self.jails.values();
            jails.map(|jail| jail.attempts(source)).max().unwrap_or(0)
        };
        let mut busy: Vec<_> = busy
            .into_iter()
            .map(|(source, last)| (source, attempts(source), last))
            .collect();
        busy.sort_by_key(|(_, attempts, last)| Reverse((*attempts, *last)));
        busy.truncate(most);
        busy
    }

    /// Forgets all attempts.
    pub fn forget_attempts(&mut self) {
        for jail in self.jails.values_mut() {
            *jail = Jail::new(jail.rule());
        }
    }

    /// The jails.
    #[must_use]
    pub fn jails(&self) -> &BTreeMap<JailName, Jail> {
        &self.jails
    }

    /// Takes up what was known of sources when the agent stood at a position, with the journal about to be read again from
    /// `since` on.
    pub fn remember(
        &mut self,
        memories: impl IntoIterator<Item = (MemoryKey, Memory)>,
        times: (Timestamp, Timestamp),
    ) {
        for ((source, jail, standing), memory) in memories {
            if let Some(jail) = self.jails.get_mut(&jail) {
                jail.remember((source, standing), &memory, times);
            }
        }
    }

    /// What the jails have learned of the password databases, if it has changed, or whenever `all` is.
    pub fn habits(&mut self, all: bool) -> impl Iterator<Item = (JailName, String)> {
        let jails = self.jails.iter_mut();
        jails.filter_map(move |(name, jail)| Some((Arc::clone(name), jail.habits(all)?)))
    }

    /// Takes up what the jails had learned up to a time.
    pub fn take_up_habits(
        &mut self,
        habits: impl IntoIterator<Item = (JailName, String)>,
        until: Timestamp,
    ) {
        for (name, saved) in habits {
            if let Some(jail) = self.jails.get_mut(&name) {
                jail.take_up_habits(&saved, until);
            }
        }
    }

    /// See [`Jail::memories`].
    pub fn memories(&mut self, all: bool) -> impl Iterator<Item = (MemoryKey, Memory)> {
        self.jails.iter_mut().flat_map(move |(name, jail)| {
            jail.memories(all)
                .map(|(source, standing, memory)| ((source, Arc::clone(name), standing), memory))
        })
    }

    /// See [`Jail::remembers`].
    #[must_use]
    pub fn remembers(&self, source: Source, jail: &JailName) -> bool {
        self.jails
            .get(jail)
            .is_some_and(|jail| jail.remembers(source))
    }

    /// All that was to be read again has been.
    pub fn read_on(&mut self) {
        self.jails.values_mut().for_each(Jail::read_on);
    }

    /// The journal is about to be read again.
    pub fn read_again(&mut self) {
        self.jails.values_mut().for_each(Jail::read_again);
    }

    /// Takes in evidence; `again`, if it may have been taken in before.
    pub fn weigh(
        &mut self,
        evidence: &Evidence,
        config: &Config,
        ignored: &List,
        again: bool,
    ) -> Weighed {
        let Evidence { source, at, .. } = *evidence;
        let user = evidence.user.as_deref();
        let standing = self.trust.standing(source, user, at);
        let mut weighed = Weighed::default();
        let mut decisions = Vec::new();
        for (name, jail) in &mut self.jails {
            let counts = config
                .jails
                .get(name)
                .is_some_and(|jail| jail.filters.contains(&*evidence.filter));
            if !counts || (again && jail.knows(at)) {
                continue;
            }
            let (new, decision) = jail.observe(evidence, standing);
            if new > 0 {
                weighed.new.push((Arc::clone(name), new));
            }
            if let Some(decision) = decision {
                decisions.push((Arc::clone(name), decision));
            }
        }
        if let Some(user) = user.filter(|_| !weighed.new.is_empty()) {
            self.tried.note(source, user);
        }
        if evidence.outcome == Outcome::Success {
            if let Some(user) = user {
                weighed.customer = self.trust.learn(source, user, at);
                self.accounts.forgive(user, source);
            }
        } else if standing == Standing::Stranger && !weighed.new.is_empty() {
            let user = user.unwrap_or_default();
            let siege = self.accounts.fail(user, source, at, &weighed.new);
            if let Siege::Begins(sources) = siege {
                weighed.siege = Some(sources);
            }
            if siege == Siege::Lasts {
                for (name, _) in &weighed.new {
                    let jail = self.jails.get_mut(name);
                    let decision = jail.and_then(|jail| jail.convict(evidence));
                    decisions.extend(decision.map(|decision| (Arc::clone(name), decision)));
                }
            }
        }
        for (name, decision) in decisions {
            let Some(jail) = config.jails.get(&name) else {
                continue;
            };
            let first = jail.rule.ban_time;
            let time = self.history.ban_time(source, at, first, jail.growth);
            let fate = if ignored.overlap(source).is_some() {
                Fate::Ignored
            } else if jail.observes {
                Fate::Observed
            } else {
                Fate::Enforced
            };
            let cause = self.cause(source, &decision);
            let ban = Ban::new(source, &name, at, time, cause);
            weighed.sentences.push(Sentence { ban, fate });
        }
        weighed
    }

    /// What is told of a decision.
    fn cause(&self, source: Source, decision: &Decision) -> Cause {
        let mut users = self.tried.names(source);
        // A word on somebody else's attempt may have brought it.
        if let Some(last) = &decision.user {
            users.note(last);
        }
        Cause::Attempts(Attempts {
            count: decision.attempts,
            first: decision.first.into(),
            users,
        })
    }

    /// What has lately had to forget something that mattered.
    pub fn overflowing(&self, now: Timestamp) -> impl Iterator<Item = Table<'_>> {
        let since = before(now, OVERFLOW_LASTS);
        let jails = self.jails.iter();
        let jails = jails.map(|(name, jail)| (Table::Jail(name), jail.overflowed()));
        let others = [
            (Table::Customers, self.trust.overflowed),
            (Table::Accounts, self.accounts.overflowed),
            (Table::History, self.history.overflowed),
        ];
        jails
            .chain(others)
            .filter(move |(_, overflowed)| *overflowed > since)
            .map(|(table, _)| table)
    }

    /// Whatever filter tells of it, all jails hear of it: it is Dovecot's database that can't check what Postfix is given.
    pub fn excuse(&mut self, trouble: &Trouble, again: bool) {
        let standing = trouble
            .client
            .as_ref()
            .map_or(Standing::Stranger, |client| {
                let user = client.user.as_deref();
                self.trust.standing(client.source, user, trouble.at)
            });
        for jail in self.jails.values_mut() {
            if !again || !jail.knows(trouble.at) {
                jail.excuse(trouble, standing);
            }
        }
    }

    /// A decision is not carried out. Its attempts stay in sight, so that the next one calls for a ban again.
    pub fn spare(&mut self, ban: &Ban) {
        if let Some(jail) = self.jails.get_mut(&ban.jail) {
            jail.spare(ban.source, ban.since);
        }
    }

    /// What a source did up to `until` is dealt with, or forgiven, in a jail.
    pub fn settle(&mut self, source: Source, jail: &JailName, until: Timestamp) {
        if let Some(jail) = self.jails.get_mut(jail) {
            jail.settle(source, until);
        }
    }

    /// The network around a source that has just been banned, if it is to be banned as a whole: never one with somebody
    /// in it who must get in.
    #[must_use]
    pub fn crowd(&self, ban: &Ban, config: &Config, ignored: &List) -> Option<Ban> {
        let (at, jail) = (ban.since, config.jails.get(&ban.jail)?);
        let may = |network| ignored.overlap(network).is_none() && !self.trust.within(network, at);
        let (network, hosts) = self.history.crowd(ban.source, at, config.crowd, may)?;
        let time = self
            .history
            .ban_time(network, at, jail.rule.ban_time, jail.growth);
        let cause = Cause::Network(hosts);
        let mut whole = Ban::new(network, &ban.jail, at, time, cause);
        whole.until = whole.until.max(ban.until);
        Some(whole)
    }
}

fn new_jail((name, settings): (&JailName, &JailConfig)) -> (JailName, Jail) {
    (Arc::clone(name), Jail::new(settings.rule))
}
