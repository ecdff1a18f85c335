//! From `systemctl start` to READY, with a week of journal behind the agent.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::figures::Spread;
use crate::host::Guest;
use crate::idle::Usage;
use crate::journal::WEEK;
use crate::kernel::Firewall;
use crate::table::Table;
use crate::tool::Tool;

const RUNS: usize = 15;
const LIMIT: Duration = Duration::from_mins(3);

pub(crate) fn rows(table: &mut Table) -> Result<()> {
    let guest = Tool::Banjour.boot(Firewall::Nftables)?;
    guest.sh("systemctl stop banjour")?;
    WEEK.put_into(&guest)?;
    let mut first = Vec::new();
    for _ in 0..3 {
        begin_anew(&guest)?;
        let begin = Instant::now();
        guest.sh("systemctl start banjour")?;
        first.push(Some(begin.elapsed()));
        // Where there is nothing to read, this says nothing.
        caught_up(&guest)?;
        guest.sh("systemctl stop banjour")?;
    }
    let mut again = Vec::new();
    for _ in 0..RUNS {
        let begin = Instant::now();
        guest.sh("systemctl start banjour")?;
        again.push(Some(begin.elapsed()));
        guest.sh("systemctl stop banjour")?;
    }
    table.row(
        format!(
            "start to READY with a week of journal behind it ({} entries)",
            WEEK.entries()
        ),
        "1 s",
    );
    table.put(
        Tool::Banjour,
        format!(
            "{}; at a first start {}",
            Spread::of(again).show(LIMIT),
            Spread::of(first).show(LIMIT)
        ),
    );
    // What a start costs without any journal: the same command, a service that is ready at once.
    let mut nothing = Vec::new();
    for _ in 0..RUNS {
        let begin = Instant::now();
        guest.sh("systemd-run --quiet --wait --collect true")?;
        nothing.push(Some(begin.elapsed()));
    }
    table.compare(format!(
        "a service that does nothing: {}",
        Spread::of(nothing).show(LIMIT)
    ));
    Ok(())
}

/// The agent has never run here: no state, nobody banned.
pub(crate) fn begin_anew(guest: &Guest) -> Result<()> {
    guest
        .sh("systemctl stop banjour
             rm -f /var/lib/banjour/banjour.db*
             /usr/libexec/banjour/banjour-netfilter clear
             systemctl reset-failed banjour 2>/dev/null || true")
        .map(drop)
}

/// Waits until the agent has counted what it found in the journal; the CPU that it had used when nothing more came. (It goes
/// on looking often for some seconds.)
pub(crate) fn caught_up(guest: &Guest) -> Result<Duration> {
    const STEP: Duration = Duration::from_millis(100);
    const STEPS: u32 = 10;
    let end = Instant::now() + LIMIT;
    let (mut last, mut cpu, mut same) = (0, Duration::ZERO, 0);
    while same < STEPS {
        ensure!(Instant::now() < end, "nothing was read, or too much");
        let now = total(guest, "total_failed")?;
        if now > last {
            (last, cpu, same) = (now, Usage::of(guest, Tool::Banjour)?.cpu, 0);
        } else if now > 0 {
            same += 1;
        }
        thread::sleep(STEP);
    }
    Ok(cpu)
}

/// A number of the jails (`banjour status --json`), of all together.
pub(crate) fn total(guest: &Guest, name: &str) -> Result<u64> {
    let status: Value = serde_json::from_str(&guest.sh("banjour status --json")?)?;
    let jails = status["jails"].as_array().context("no jails")?;
    let numbers = jails.iter().map(|jail| jail[name].as_u64());
    numbers.sum::<Option<u64>>().context("no number")
}
