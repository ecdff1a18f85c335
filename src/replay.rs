//! What a configuration would have done with a journal: entries through filters, counting and jails as the agent does
//! it, but nothing is changed. Pure, but for the journal that it is given.

mod reading;

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::thread;

use indexmap::IndexMap;
use jiff::Timestamp;

use crate::ban::JailName;
use crate::config::Config;
use crate::filter::{Evidence, Finding, Outcome, Shapes};
use crate::ignore::List;
use crate::jail::Jail;
use crate::journal::{self, Entries};
use crate::policy::{Fate, Policy, Sentence};
use crate::source::Source;
use crate::trust::Standing;
use reading::Reading;

/// Names that are kept of one source. There are no more than these in the answer; attackers make up as many as they like.
const MAX_USERS: usize = 1000;

/// Batches that wait to be judged. Beyond that, the reading half waits.
const QUEUE: usize = 4;

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Entries of the units that filters read.
    pub entries: u64,
    /// Those that say something of a login.
    pub matched: u64,
    /// By source, in order, in all the time that the journal covers.
    pub sources: IndexMap<Source, Seen>,
    /// Bans that would have been, by time.
    pub bans: Vec<Sentence>,
    /// By filter.
    pub filters: BTreeMap<Arc<str>, Matched>,
    /// By jail: attempts, bans.
    pub jails: BTreeMap<JailName, (u64, u64)>,
    /// Lines that look like failures and matched nothing.
    pub unmatched: Shapes,
}

/// One source's doings.
#[derive(Debug, Default)]
pub struct Seen {
    /// Real attempts, each counted once, over all filters.
    pub failures: u32,
    /// Logins.
    pub successes: u64,
    /// The names that it gave, in order. There may be millions of sources, most of which give one.
    pub users: Vec<String>,
}

/// Entries that a filter understood.
#[derive(Clone, Copy, Debug, Default)]
pub struct Matched {
    /// Entries that tell of failures.
    pub failures: u64,
    /// Entries that tell of logins.
    pub successes: u64,
}

/// The replay can't go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal can't be read.
    #[error("{0}")]
    Journal(#[from] journal::Error),
    /// Our own patterns don't compile.
    #[error("{0}")]
    Regex(#[from] regex::Error),
}

/// Reads all entries that `open` brings, up to `until`, and tells of the progress now and then: how many, and the time of
/// the last.
///
/// # Errors
/// When the journal can't be read.
pub fn run<'a>(
    open: impl FnOnce() -> Result<Entries<'a>, journal::Error> + Send,
    config: &Config,
    ignored: &List,
    until: Option<Timestamp>,
    progress: impl FnMut(u64, Timestamp) + Send,
) -> Result<Findings, Error> {
    thread::scope(|scope| {
        let (batches, found) = mpsc::sync_channel(QUEUE);
        // libsystemd's handle stays in the thread that opened it.
        let reading =
            scope.spawn(move || Reading::read(open()?, config, until, &batches, progress));
        let findings = judge(found.into_iter().flatten(), config, ignored);
        let Reading {
            entries,
            matched,
            unmatched,
        } = reading
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(Findings {
            entries,
            matched,
            unmatched,
            ..findings
        })
    })
}

fn judge(found: impl Iterator<Item = Finding>, config: &Config, ignored: &List) -> Findings {
    let mut findings = Findings::default();
    let mut all = Jail::counter();
    let mut court = Court {
        config,
        ignored,
        policy: Policy::new(config),
        networks: BTreeMap::new(),
    };
    findings.jails = config
        .jails
        .keys()
        .map(|name| (Arc::clone(name), (0, 0)))
        .collect();
    for mut finding in found {
        finding.widen(|address| ignored.client(address, config.prefixes));
        match finding {
            Finding::Evidence(evidence) => {
                all.observe(&evidence, Standing::Stranger);
                findings.note(&evidence);
                findings.judge(&mut court, &evidence);
            }
            Finding::Trouble(trouble) => {
                all.excuse(&trouble, Standing::Stranger);
                court.policy.excuse(&trouble, false);
            }
        }
    }
    for (source, seen) in &mut findings.sources {
        seen.failures = all.attempts(*source);
    }
    findings.sources.sort_unstable_keys();
    findings
}

/// Who decides, and what was decided of networks.
struct Court<'a> {
    config: &'a Config,
    ignored: &'a List,
    policy: Policy,
    /// Until when they are kept out.
    networks: BTreeMap<Source, Timestamp>,
}

impl Findings {
    /// Attempts of all sources.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.sources
            .values()
            .map(|seen| u64::from(seen.failures))
            .sum()
    }

    fn note(&mut self, evidence: &Evidence) {
        let seen = self.sources.entry(evidence.source).or_default();
        let matched = self
            .filters
            .entry(Arc::clone(&evidence.filter))
            .or_default();
        match &evidence.outcome {
            Outcome::Success => {
                seen.successes += 1;
                matched.successes += 1;
            }
            Outcome::Failure { .. } => matched.failures += 1,
        }
        if let Some(user) = &evidence.user
            && seen.users.len() < MAX_USERS
            && let Err(place) = seen.users.binary_search(user)
        {
            seen.users.insert(place, user.clone());
        }
    }

    fn judge(&mut self, court: &mut Court<'_>, evidence: &Evidence) {
        let weighed = court
            .policy
            .weigh(evidence, court.config, court.ignored, false);
        for (name, new) in weighed.new {
            self.jails.entry(name).or_default().0 += u64::from(new);
        }
        for sentence in weighed.sentences {
            let out = |network| {
                let until = court.networks.get(&network);
                until.is_some_and(|until| *until > evidence.at)
            };
            if sentence.fate == Fate::Ignored || sentence.ban.source.around().any(out) {
                continue;
            }
            if let Some(whole) = self.ban(court, sentence) {
                court.networks.insert(whole.ban.source, whole.ban.until);
                self.ban(court, whole);
            }
        }
    }

    /// Makes a ban, and says which network is to be banned for it.
    fn ban(&mut self, court: &mut Court<'_>, sentence: Sentence) -> Option<Sentence> {
        let Court { policy, config, .. } = court;
        let ban = sentence.ban.clone();
        policy.settle(ban.source, &ban.jail, ban.until);
        let forget = config.jails.get(&ban.jail)?.growth.forget;
        policy
            .history
            .note(ban.source, ban.since, ban.until, forget);
        self.jails.entry(Arc::clone(&ban.jail)).or_default().1 += 1;
        self.bans.push(sentence);
        let whole = policy.crowd(&ban, config, court.ignored)?;
        let fate = Fate::Enforced;
        Some(Sentence { ban: whole, fate })
    }
}
