//! What a configuration would have done with a journal: entries through filters, counting and jails as the agent does
//! it, but nothing is changed. Pure, but for the journal that it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use regex::bytes::Regex;

use crate::ban::{Ban, JailName};
use crate::config::Config;
use crate::filter::{Evidence, Finding, Outcome};
use crate::jail::Jail;
use crate::journal::{self, Entries};
use crate::source::Source;

/// Names that are kept of one source, and shapes of lines that nothing matched. There are no more than these in the
/// answer; attackers make up as many as they like.
const MAX_USERS: usize = 1000;
const MAX_SHAPES: usize = 1000;

/// How often the caller hears of the progress, in entries.
const PROGRESS_INTERVAL: u64 = 10_000;

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Entries of the units that filters read.
    pub entries: u64,
    /// Those that say something of a login.
    pub matched: u64,
    /// By source, in all the time that the journal covers.
    pub sources: BTreeMap<Source, Seen>,
    /// Bans that would have been, by time.
    pub bans: Vec<WouldBan>,
    /// By filter.
    pub filters: BTreeMap<Arc<str>, Matched>,
    /// By jail: attempts, bans.
    pub jails: BTreeMap<JailName, (u64, u64)>,
    /// Lines that look like failures and matched nothing: one of each shape, and how many there were.
    pub unmatched: BTreeMap<String, (String, u64)>,
}

/// One source's doings.
#[derive(Debug, Default)]
pub struct Seen {
    /// Real attempts, each counted once, over all filters.
    pub failures: u32,
    /// Logins.
    pub successes: u64,
    /// The names that it gave.
    pub users: BTreeSet<String>,
}

/// Entries that a filter understood.
#[derive(Clone, Copy, Debug, Default)]
pub struct Matched {
    /// Entries that tell of failures.
    pub failures: u64,
    /// Entries that tell of logins.
    pub successes: u64,
}

/// A ban that would have been.
#[derive(Debug)]
pub struct WouldBan {
    /// The ban.
    pub ban: Ban,
    /// The attempts that led to it.
    pub attempts: u32,
    /// The last name that was tried.
    pub user: Option<String>,
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

/// Reads all entries up to `until`, and tells of the progress now and then: how many, and the time of the last.
///
/// # Errors
/// When the journal can't be read.
pub fn run(
    entries: &mut Entries<'_>,
    config: &Config,
    until: Option<Timestamp>,
    mut progress: impl FnMut(u64, Timestamp),
) -> Result<Findings, Error> {
    let mut findings = Findings::default();
    let mut all = Jail::counter();
    let mut jails: Vec<(&JailName, &BTreeSet<String>, Jail)> = config
        .jails
        .iter()
        .map(|(name, jail)| (name, &jail.filters, Jail::new(jail.rule)))
        .collect();
    findings.jails = config
        .jails
        .keys()
        .map(|name| (Arc::clone(name), (0, 0)))
        .collect();
    let looks = Looks::new()?;
    let mut found = Vec::new();
    while let Some(at) = entries.advance()? {
        if until.is_some_and(|until| at > until) {
            break;
        }
        findings.entries += 1;
        if findings.entries % PROGRESS_INTERVAL == 0 {
            progress(findings.entries, at);
        }
        entries.read(at, &mut found)?;
        if found.is_empty() {
            findings.look_closer(entries, config, &looks)?;
            continue;
        }
        let evidence = |finding: &Finding| matches!(finding, Finding::Evidence(_));
        findings.matched += u64::from(found.iter().any(evidence));
        for mut finding in found.drain(..) {
            finding.widen(config.prefixes);
            match finding {
                Finding::Evidence(evidence) => {
                    all.observe(&evidence);
                    findings.note(&evidence);
                    for (name, filters, jail) in &mut jails {
                        if filters.contains(&*evidence.filter) {
                            findings.judge(config, name, jail, &evidence);
                        }
                    }
                }
                Finding::Trouble(trouble) => {
                    all.excuse(&trouble);
                    for (_, _, jail) in &mut jails {
                        jail.excuse(&trouble);
                    }
                }
            }
        }
    }
    for (source, seen) in &mut findings.sources {
        seen.failures = all.attempts(*source);
    }
    Ok(findings)
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
        {
            seen.users.insert(user.clone());
        }
    }

    fn judge(&mut self, config: &Config, name: &JailName, jail: &mut Jail, evidence: &Evidence) {
        let (new, decision) = jail.observe(evidence);
        let (attempts, bans) = self.jails.entry(Arc::clone(name)).or_default();
        *attempts += u64::from(new);
        let Some(decision) = decision.filter(|_| !config.ignores(evidence.source)) else {
            return;
        };
        *bans += 1;
        let ban = Ban::new(evidence.source, name, evidence.at, jail.rule().ban_time);
        jail.settle(ban.source, ban.until);
        self.bans.push(WouldBan {
            ban,
            attempts: decision.attempts,
            user: decision.user,
        });
    }

    /// Keeps an entry that says nothing but looks as if it should.
    fn look_closer(
        &mut self,
        entries: &mut Entries<'_>,
        config: &Config,
        looks: &Looks,
    ) -> Result<(), Error> {
        let known = |message: &[u8]| {
            config
                .filters
                .values()
                .any(|filter| filter.may_match(message))
        };
        let suspect = entries.look_at_message(|message| {
            (looks.like_a_failure(message) && !known(message))
                .then(|| String::from_utf8_lossy(message).into_owned())
        })?;
        if let Some(message) = suspect.flatten() {
            let shape = shape(&message);
            if self.unmatched.len() < MAX_SHAPES || self.unmatched.contains_key(&shape) {
                self.unmatched.entry(shape).or_insert((message, 0)).1 += 1;
            }
        }
        Ok(())
    }
}

/// What a failure looks like to somebody who knows no daemon: a word for it, and an address.
struct Looks {
    word: Regex,
    address: Regex,
}

impl Looks {
    fn new() -> Result<Self, regex::Error> {
        Ok(Self {
            word: Regex::new("(?i-u)fail|denied|invalid")?,
            address: Regex::new(
                r"(?-u)[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]*:[0-9A-Fa-f]",
            )?,
        })
    }

    fn like_a_failure(&self, message: &[u8]) -> bool {
        self.word.is_match(message) && self.address.is_match(message)
    }
}

/// A message without what differs from one to the next: numbers, and all with digits in it.
fn shape(message: &str) -> String {
    let words = message.split(' ').map(|word| {
        if word.contains(|c: char| c.is_ascii_digit()) {
            "…"
        } else {
            word
        }
    });
    words.take(20).collect::<Vec<_>>().join(" ")
}
