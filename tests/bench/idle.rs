//! What it costs to wait for guessers who do not come: all guests at the same time, since they do nothing.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::figures::megabytes;
use crate::host::Guest;
use crate::kernel::Firewall;
use crate::table::Table;
use crate::tool::Tool;

/// What was looked up at the start is done by then, and nobody expects a guesser any more.
const SETTLES: Duration = Duration::from_secs(40);
/// Four signs of life.
const MEASURED: Duration = Duration::from_mins(6);

pub(crate) fn rows(table: &mut Table) -> Result<()> {
    let mut guests = BTreeMap::new();
    for tool in Tool::ALL {
        guests.insert(tool, tool.boot(Firewall::Nftables)?);
    }
    thread::sleep(SETTLES);
    let mut before = BTreeMap::new();
    for (tool, guest) in &guests {
        before.insert(*tool, (Usage::of(guest, *tool)?, Instant::now()));
    }
    thread::sleep(MEASURED);
    let mut found = BTreeMap::new();
    for (tool, guest) in &guests {
        let (before, since) = before.get(tool).context("measured before")?;
        let now = Usage::of(guest, *tool)?;
        found.insert(*tool, (now.since(before), since.elapsed(), now.anonymous));
    }
    table.row("idle: CPU of a day", "under 1 s");
    for (tool, (used, time, _)) in &found {
        let day = used.cpu.as_secs_f64() / time.as_secs_f64() * 86_400.0;
        table.put(*tool, format!("{day:.1} s"));
    }
    table.compare(format!("from {} s, all processes", MEASURED.as_secs()));
    table.row("idle: wake-ups a minute", "the watchdog's");
    for (tool, (used, time, _)) in &found {
        let minutes = time.as_secs_f64() / 60.0;
        #[allow(clippy::cast_precision_loss, reason = "shown with one digit")]
        let rate = used.wakeups as f64 / minutes;
        table.put(*tool, format!("{rate:.1}"));
    }
    table.compare("the watchdog of banjour: a sign of life each 90 s");
    table.row("idle: anonymous memory", "6 MB");
    for (tool, (_, _, anonymous)) in &found {
        table.put(*tool, megabytes(*anonymous));
    }
    Ok(())
}

/// What all processes of a program's services have used.
pub(crate) struct Usage {
    /// What the scheduler has given them, to the nanosecond.
    pub(crate) cpu: Duration,
    /// How long they have waited for it.
    waited: Duration,
    wakeups: u64,
    /// kB
    pub(crate) anonymous: u64,
}

impl Usage {
    pub(crate) fn of(guest: &Guest, tool: Tool) -> Result<Self> {
        let mut usage = Self {
            cpu: Duration::ZERO,
            waited: Duration::ZERO,
            wakeups: 0,
            anonymous: 0,
        };
        for unit in tool.units() {
            let shown = guest.sh(&format!(
                "for pid in $(cat /sys/fs/cgroup/system.slice/{unit}/cgroup.procs); do
                     cat /proc/$pid/task/*/schedstat | awk '{{ print \"cpu\", $1; print \"waited\", $2 }}'
                     cat /proc/$pid/task/*/status | grep '^voluntary'
                     grep '^RssAnon' /proc/$pid/status
                 done"
            ))?;
            for line in shown.lines() {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [name, value, ..] = words[..] else {
                    continue;
                };
                let value: u64 = value.parse().with_context(|| line.to_owned())?;
                match name {
                    "cpu" => usage.cpu += Duration::from_nanos(value),
                    "waited" => usage.waited += Duration::from_nanos(value),
                    "RssAnon:" => usage.anonymous += value,
                    _ => usage.wakeups += value,
                }
            }
        }
        Ok(usage)
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            waited: self.waited.saturating_sub(before.waited),
            wakeups: self.wakeups.saturating_sub(before.wakeups),
            anonymous: self.anonymous,
        }
    }
}

/// Waits until it has nothing to do any more: no CPU for so long, and none that it waits for. How much it had used by then,
/// and when that was.
pub(crate) fn settled(guest: &Guest, tool: Tool, limit: Duration) -> Result<(Duration, Instant)> {
    /// Less than this in a step is waiting.
    const NOTHING: Duration = Duration::from_millis(3);
    const STEP: Duration = Duration::from_millis(100);
    const STEPS: u32 = 10;
    let end = Instant::now() + limit;
    let mut last = Usage::of(guest, tool)?;
    let (mut quiet, mut since) = (0, Instant::now());
    while quiet < STEPS {
        anyhow::ensure!(Instant::now() < end, "still at work after {limit:?}");
        thread::sleep(STEP);
        let now = Usage::of(guest, tool)?;
        let busy = now.since(&last);
        if busy.cpu + busy.waited > NOTHING {
            (quiet, since) = (0, Instant::now());
        } else {
            quiet += 1;
        }
        last = now;
    }
    Ok((last.cpu, since))
}
