//! What a journal tells of attempts and bans in a time, summed up: the mail units' entries go through filters and
//! counting as in a replay, and what the agent did about them is read from its own entries. Pure, but for the journals
//! that it is given.

mod axis;
mod bans;
mod most;

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::config::Config;
use crate::filter::{Evidence, Finding, Outcome};
use crate::ignore::List;
use crate::jail::{Jail, Rule};
use crate::journal::{Entries, Error, Own};
use crate::source::Source;
use crate::tally::Witness;
use crate::trust::{Standing, Trust};
pub use axis::{Axis, Bar};
pub use bans::{Banned, Bans, LENGTHS};
use most::Most;

/// Sources that are counted: some 300 MB at the worst. Beyond that, those go that were not heard of for the longest time.
const MAX_SOURCES: usize = 1_000_000;

/// Who tried which name, and who logged in as whom: that many pairs are told apart.
const MAX_PAIRS: usize = 1_000_000;

/// How often the caller hears of the progress, in entries.
const PROGRESS_INTERVAL: u64 = 10_000;

/// What happened in a time.
#[derive(Debug)]
pub struct Report {
    /// Where, if the journal knows.
    pub host: Option<String>,
    /// What was asked for.
    pub since: Timestamp,
    /// The end of it.
    pub until: Timestamp,
    /// The mail units' first entry in this time.
    pub first: Option<Timestamp>,
    /// How many they wrote.
    pub entries: u64,
    /// Failed attempts of strangers; all that is told of attempts is of these.
    pub attempts: u64,
    /// Failed attempts of those who had logged in from there under that name: stale passwords.
    pub customers: u64,
    /// Attempts and bans, over time.
    pub axis: Axis,
    /// The same by the hour of the day, in local time: attempts, bans.
    pub hours: [(u64, u64); 24],
    /// What the programs that talk to clients tell: attempts by service, …
    pub services: Vec<(String, u64)>,
    /// … and by SASL mechanism.
    pub mechanisms: Vec<(String, u64)>,
    /// Accounts that were tried, the most attacked first.
    pub accounts: Vec<(String, Account)>,
    /// How many these are.
    pub account_count: usize,
    /// Who tried, the busiest first.
    pub guessers: Vec<Guesser>,
    /// Their networks, the busiest first.
    pub networks: Vec<(Source, Network)>,
    /// What the agent did.
    pub bans: Bans,
    /// Logins from sources that were banned.
    pub logins: Vec<Login>,
    /// More was going on than is counted here: numbers of rare things may be too low.
    pub forgotten: bool,
}

/// An account that somebody failed to log in to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    /// How often.
    pub attempts: u64,
    /// How many sources tried.
    pub sources: u64,
    /// The agent found it under attack by many.
    pub besieged: bool,
}

/// A source that failed.
#[derive(Clone, Copy, Debug)]
pub struct Guesser {
    /// Who.
    pub source: Source,
    /// How often.
    pub attempts: u64,
    /// Under how many names.
    pub names: u64,
    /// When first, …
    pub first: Timestamp,
    /// … and last.
    pub last: Timestamp,
}

/// A network that guessers come from: a /24 of IPv4, a /48 of IPv6.
#[derive(Clone, Copy, Debug, Default)]
pub struct Network {
    /// How often they failed.
    pub attempts: u64,
    /// How many there are.
    pub sources: u64,
    /// How often they were banned.
    pub bans: u64,
}

/// Somebody logged in from a source that was banned: a customer after too many mistakes, or a guess that was right.
#[derive(Clone, Debug)]
pub struct Login {
    /// Where from.
    pub source: Source,
    /// As whom.
    pub user: String,
    /// How often.
    pub logins: u64,
    /// The last time.
    pub last: Timestamp,
}

/// Reads both journals from `since` up to `until`, and tells of the progress now and then: how many entries, and the time
/// of the last.
///
/// # Errors
/// When the journal can't be read.
#[allow(
    clippy::too_many_arguments,
    reason = "two journals, and how to read them"
)]
pub fn run(
    entries: &mut Entries<'_>,
    own: &mut Own,
    config: &Config,
    ignored: &List,
    (since, until): (Timestamp, Timestamp),
    zone: &TimeZone,
    mut progress: impl FnMut(u64, Timestamp),
) -> Result<Report, Error> {
    let mut axis = Axis::new(since, until, zone);
    let mut hours = [(0, 0); 24];
    let hour = |at: Timestamp| usize::from(zone.to_datetime(at).hour().unsigned_abs()) % 24;
    let bans = Bans::read(own, since..=until, |at| {
        axis.bar_at(at).bans += 1;
        hours[hour(at)].1 += 1;
    })?;
    let mut counts = Counts::new(config);
    let (mut host, mut first, mut read) = (None, None, 0);
    let mut found = Vec::new();
    while let Some(at) = entries.advance()? {
        // A clock that was wrong for a while may have put one among the others.
        if !(since..=until).contains(&at) {
            continue;
        }
        if first.is_none() {
            first = Some(at);
            host = entries.hostname()?;
        }
        read += 1;
        if read % PROGRESS_INTERVAL == 0 {
            progress(read, at);
        }
        entries.read(at, &mut found)?;
        for mut finding in found.drain(..) {
            finding.widen(|address| ignored.client(address, config.prefixes));
            counts.take(&finding);
        }
    }
    let mut report = Report {
        host,
        since,
        until,
        first,
        entries: read,
        attempts: 0,
        customers: sum(&counts.jail, Standing::Customer),
        axis,
        hours,
        services: counts.services.into_sorted(|attempts| *attempts),
        mechanisms: counts.mechanisms.into_sorted(|attempts| *attempts),
        account_count: 0,
        accounts: Vec::new(),
        guessers: Vec::new(),
        networks: Vec::new(),
        logins: Vec::new(),
        forgotten: counts.accounts.forgotten
            || counts.pairs.len() >= MAX_PAIRS
            || counts.jail.overflowed() > Timestamp::MIN
            || bans.forgotten,
        bans,
    };
    for user in &report.bans.besieged {
        counts.accounts.of(&folded(user)).besieged = true;
    }
    let mut accounts = counts.accounts.into_sorted(|account| account.attempts);
    accounts.retain(|(_, account)| account.attempts > 0);
    report.account_count = accounts.len();
    report.accounts = accounts;
    report.take_sources(&counts.jail, &counts.names, hour);
    report.take_logins(counts.logins);
    Ok(report)
}

fn sum(jail: &Jail, standing: Standing) -> u64 {
    let all = jail.counted(standing).flat_map(|(_, attempts)| attempts);
    all.map(|(_, count)| u64::from(count)).sum()
}

/// Servers make capitals small.
fn folded(user: &str) -> String {
    user.to_lowercase()
}

fn hash(pair: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    pair.hash(&mut hasher);
    hasher.finish()
}

impl Report {
    fn take_sources(
        &mut self,
        jail: &Jail,
        names: &HashMap<Source, u64>,
        hour: impl Fn(Timestamp) -> usize,
    ) {
        let mut networks: BTreeMap<Source, Network> = BTreeMap::new();
        for (source, attempts) in jail.counted(Standing::Stranger) {
            let mut guesser: Option<Guesser> = None;
            for (at, count) in attempts {
                let count = u64::from(count);
                self.attempts += count;
                self.axis.bar_at(at).attempts += count;
                self.hours[hour(at)].0 += count;
                let guesser = guesser.get_or_insert(Guesser {
                    source,
                    attempts: 0,
                    names: names.get(&source).copied().unwrap_or(0),
                    first: at,
                    last: at,
                });
                guesser.attempts += count;
                (guesser.first, guesser.last) = (guesser.first.min(at), guesser.last.max(at));
            }
            let Some(guesser) = guesser else { continue };
            let network = networks.entry(network_of(source)).or_default();
            network.attempts += guesser.attempts;
            network.sources += 1;
            self.guessers.push(guesser);
        }
        for (source, banned) in &self.bans.by_source {
            if let Some(network) = networks.get_mut(&network_of(*source)) {
                network.bans += banned.bans;
            }
        }
        self.guessers
            .sort_by_key(|guesser| (std::cmp::Reverse(guesser.attempts), guesser.source));
        self.networks = networks.into_iter().collect();
        self.networks
            .sort_by_key(|(network, sum)| (std::cmp::Reverse(sum.attempts), *network));
    }

    fn take_logins(&mut self, logins: HashMap<(Source, String), (u64, Timestamp)>) {
        let banned = &self.bans.by_source;
        let logins = logins
            .into_iter()
            .filter(|((source, _), _)| banned.contains_key(source))
            .map(|((source, user), (logins, last))| Login {
                source,
                user,
                logins,
                last,
            });
        self.logins = logins.collect();
        self.logins
            .sort_by_key(|login| (std::cmp::Reverse(login.last), login.source));
    }
}

fn network_of(source: Source) -> Source {
    let length = if source.is_ipv4() { 24 } else { 48 };
    source.truncated(length).unwrap_or(source)
}

/// What is counted while the journal is read.
struct Counts {
    jail: Jail,
    trust: Trust,
    accounts: Most<Account>,
    services: Most<u64>,
    mechanisms: Most<u64>,
    /// Who has tried which name.
    pairs: HashSet<u64>,
    /// How many names each source has tried.
    names: HashMap<Source, u64>,
    logins: HashMap<(Source, String), (u64, Timestamp)>,
}

impl Counts {
    fn new(config: &Config) -> Self {
        let mut jail = Jail::counter();
        jail.set_rule(Rule {
            max_sources: MAX_SOURCES,
            ..jail.rule()
        });
        Self {
            jail,
            trust: Trust::new(config.trust_time),
            accounts: Most::default(),
            services: Most::default(),
            mechanisms: Most::default(),
            pairs: HashSet::new(),
            names: HashMap::new(),
            logins: HashMap::new(),
        }
    }

    fn take(&mut self, finding: &Finding) {
        match finding {
            Finding::Evidence(evidence) => self.weigh(evidence),
            Finding::Trouble(trouble) => {
                let client = trouble.client.as_ref();
                let standing = client.map_or(Standing::Stranger, |client| {
                    let user = client.user.as_deref();
                    self.trust.standing(client.source, user, trouble.at)
                });
                self.jail.excuse(trouble, standing);
            }
        }
    }

    fn weigh(&mut self, evidence: &Evidence) {
        let (source, user, at) = (evidence.source, evidence.user.as_deref(), evidence.at);
        let standing = self.trust.standing(source, user, at);
        let (new, _) = self.jail.observe(evidence, standing);
        let Outcome::Failure { witness, attempts } = &evidence.outcome else {
            self.log_in(source, user.unwrap_or_default(), at);
            return;
        };
        if standing == Standing::Customer {
            return;
        }
        if matches!(witness, Witness::Front | Witness::UnsureFront) {
            let services = (&evidence.service, &mut self.services);
            let mechanisms = (&evidence.method, &mut self.mechanisms);
            for (name, most) in [services, mechanisms] {
                if let Some(name) = name {
                    *most.of(&name.to_uppercase()) += u64::from(*attempts);
                }
            }
        }
        let Some(user) = user.map(folded) else { return };
        let is_new = self.pairs.len() < MAX_PAIRS && self.pairs.insert(hash((source, &user)));
        if is_new {
            *self.names.entry(source).or_default() += 1;
        }
        let account = self.accounts.of(&user);
        account.attempts += u64::from(new);
        account.sources += u64::from(is_new);
    }

    fn log_in(&mut self, source: Source, user: &str, at: Timestamp) {
        self.trust.learn(source, user, at);
        let pair = (source, user.to_owned());
        if self.logins.len() < MAX_PAIRS || self.logins.contains_key(&pair) {
            let (logins, last) = self.logins.entry(pair).or_insert((0, at));
            *logins += 1;
            *last = at.max(*last);
        }
    }
}

/// A time as people see it on the host.
#[must_use]
pub fn local(at: Timestamp, zone: &TimeZone) -> Zoned {
    Zoned::new(at, zone.clone())
}
