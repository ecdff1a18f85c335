//! How things were before something happened, and whether they are so again: bans in the kernel are the bans decided,
//! nothing was lost and nothing counted twice, and the agent has not grown by it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::client;
use crate::host::{Guest, wait_for};
use crate::load::{LIMIT, Ledger};

/// How long the agent may need to be done with all that was written: it may have to be started, and firewalld, too.
const DONE: Duration = Duration::from_secs(90);
/// An answer over the bus takes milliseconds; a loaded test machine may need longer.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);
/// What counts twice does so by then.
const MORE: Duration = Duration::from_secs(1);

/// A source in the window, and its ban, may have so much of the agent's memory: what the issue of README's table of
/// memory allows both is half of it.
pub(crate) const KIB_PER_SOURCE: u64 = 1;
/// What the allocator keeps for itself after a burst, and one start differs from another.
pub(crate) const KIB_SLACK: u64 = 6 * 1024;

/// What the journal can tell afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Journal {
    /// All that was written.
    Whole,
    /// journald was killed so many times at the most, and each time may have held a line that it had not stored.
    Killed(u64),
    /// No more what was thrown away, and was read before.
    Vacuumed,
}

/// Of one moment.
#[derive(Debug)]
pub(crate) struct Before {
    since: String,
    failed: u64,
    banned: u64,
    memory: u64,
    descriptors: usize,
}

/// What came of it, and what the agent has become by it.
#[derive(Debug)]
pub(crate) struct After {
    written: u64,
    counted: u64,
    pub(crate) banned: u64,
    pub(crate) memory: u64,
    descriptors: usize,
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            written,
            counted,
            banned,
            memory,
            descriptors,
        } = self;
        write!(
            f,
            "{written} attempts, {counted} counted, {banned} bans; {memory} KiB of memory, {descriptors} descriptors"
        )
    }
}

impl Before {
    pub(crate) fn of(guest: &Guest) -> Result<Self> {
        Ok(Self {
            since: guest.now()?,
            failed: guest.counter("TotalFailed")?,
            banned: guest.counter("TotalBanned")?,
            memory: guest.memory()?,
            descriptors: guest.descriptors()?,
        })
    }

    /// Waits until so many attempts are counted, and tells how long the longest answer took.
    pub(crate) fn wait_until_counted(&self, guest: &Guest, attempts: u64) -> Result<Duration> {
        let (mut counted, mut longest) = (0, Duration::ZERO);
        wait_for("all to be counted", DONE, || {
            let asked = Instant::now();
            counted = guest.counter("TotalFailed")? - self.failed;
            longest = longest.max(asked.elapsed());
            Ok(counted >= attempts)
        })
        .with_context(|| format!("{counted} of {attempts} attempts"))?;
        ensure!(longest < ANSWER, "an answer took {longest:?}");
        Ok(longest)
    }

    /// Fails unless what is in the ledger is all that has come of it.
    pub(crate) fn expect_after(
        &self,
        guest: &Guest,
        ledger: &Ledger,
        journal: Journal,
    ) -> Result<After> {
        guest.wait_until_up(0)?;
        let told = match journal {
            Journal::Vacuumed => None,
            _ => Some(self.told_by_replay(guest, ledger, journal)?),
        };
        let attempts = told.as_ref().unwrap_or(&ledger.attempts);
        let written: u64 = attempts.values().map(|&count| u64::from(count)).sum();
        let guilty = guilty(attempts);
        let bans = guilty.len() as u64;
        self.wait_until_counted(guest, written)?;
        std::thread::sleep(MORE);
        let counted = guest.counter("TotalFailed")? - self.failed;
        let banned = guest.counter("TotalBanned")? - self.banned;
        ensure!(
            (counted, banned) == (written, bans),
            "of {written} attempts and {bans} bans, the agent counts {counted} and {banned}"
        );
        expect_banned(guest, &guilty, attempts)?;
        guest.expect_exactly_the_bans(DONE)?;
        // Whose disk is back, opens its files again within seconds.
        wait_for("the state to be saved", DONE, || {
            let problems = guest.problems()?;
            Ok(!problems
                .iter()
                .any(|problem| problem.contains("cannot save state")))
        })?;
        let (memory, descriptors) = self.expect_no_growth(guest, attempts.len() as u64)?;
        Ok(After {
            written,
            counted,
            banned,
            memory,
            descriptors,
        })
    }

    /// What `banjour replay` counts in the journal; it has to be what was written.
    fn told_by_replay(
        &self,
        guest: &Guest,
        ledger: &Ledger,
        journal: Journal,
    ) -> Result<BTreeMap<IpAddr, u32>> {
        let found = guest.sh(&format!("banjour replay --json --since '{}'", self.since))?;
        let found: Value = serde_json::from_str(&found)?;
        let mut told = BTreeMap::new();
        let names: BTreeMap<_, _> = ledger.attempts.keys().map(|&ip| (client(ip), ip)).collect();
        for seen in found["sources"].as_array().context("no sources")? {
            let source = names.get(seen["source"].as_str().unwrap_or_default());
            let count = seen["failures"]
                .as_u64()
                .and_then(|n| u32::try_from(n).ok());
            if let Some((source, count)) = source.zip(count) {
                told.insert(*source, count);
            }
        }
        let count = |all: &BTreeMap<IpAddr, u32>| all.values().map(|&n| u64::from(n)).sum::<u64>();
        let lost = count(&ledger.attempts) - count(&told).min(count(&ledger.attempts));
        let allowed = match journal {
            Journal::Killed(times) => times,
            _ => 0,
        };
        let more = told
            .iter()
            .find(|(source, n)| ledger.attempts[source] < **n);
        ensure!(
            more.is_none(),
            "replay counts more than there was: {more:?}"
        );
        ensure!(
            lost <= allowed,
            "of {} attempts, replay does not find {lost}",
            ledger.total()
        );
        Ok(told)
    }

    fn expect_no_growth(&self, guest: &Guest, sources: u64) -> Result<(u64, usize)> {
        let allowed = self.memory + KIB_SLACK + KIB_PER_SOURCE * sources;
        let memory = guest.memory()?;
        ensure!(
            memory <= allowed,
            "{memory} KiB of memory, {} before, {sources} sources more",
            self.memory
        );
        let mut descriptors = 0;
        wait_for("no more descriptors than before", DONE, || {
            descriptors = guest.descriptors()?;
            Ok(descriptors <= self.descriptors)
        })
        .with_context(|| {
            let open = guest.sh("ls -l /proc/$(systemctl show -P MainPID banjour)/fd");
            format!(
                "{descriptors}, before: {}: {}",
                self.descriptors,
                open.unwrap_or_default()
            )
        })?;
        Ok((memory, descriptors))
    }
}

/// Who has to be banned.
fn guilty(attempts: &BTreeMap<IpAddr, u32>) -> BTreeSet<IpAddr> {
    let guilty = attempts.iter().filter(|(_, count)| **count >= LIMIT);
    guilty.map(|(source, _)| *source).collect()
}

/// Those of the ledger that are banned are the guilty.
fn expect_banned(
    guest: &Guest,
    guilty: &BTreeSet<IpAddr>,
    attempts: &BTreeMap<IpAddr, u32>,
) -> Result<()> {
    let listed: BTreeSet<String> = guest.bans()?.into_iter().map(|ban| ban.source).collect();
    for source in attempts.keys() {
        let (is, should) = (listed.contains(&client(*source)), guilty.contains(source));
        ensure!(
            is == should,
            "{source} with {} attempts: banned {is}",
            attempts[source]
        );
    }
    Ok(())
}

impl Guest {
    /// A counter of jail `dovecot`.
    pub(crate) fn counter(&self, name: &str) -> Result<u64> {
        let jail = "/org/banjour/Banjour1/jail/dovecot";
        let count = self.property_of(jail, "org.banjour.Banjour1.Jail", name)?;
        count.as_u64().context("no number")
    }

    /// The agent's anonymous memory, in KiB.
    fn memory(&self) -> Result<u64> {
        let memory = self.process_field("banjour.service", "RssAnon")?;
        let memory = memory.split(' ').next().unwrap_or_default();
        memory.parse().with_context(|| memory.to_owned())
    }

    /// How many files the agent has open, but for the journal's, of which there are now more, now less; those that are gone
    /// count.
    fn descriptors(&self) -> Result<usize> {
        let open = self.sh("cd /proc/$(systemctl show -P MainPID banjour)/fd
             for fd in *; do readlink $fd || true; done | grep -cv '/log/journal/.*[~l]$'")?;
        open.parse().with_context(|| open.clone())
    }
}
