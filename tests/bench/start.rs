//! From `systemctl start` to READY, with a week of journal behind the agent.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::figures::{Spread, time};
use crate::host::Guest;
use crate::idle::settled;
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
    let (mut first, mut read) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        begin_anew(&guest)?;
        let begin = Instant::now();
        guest.sh("systemctl start banjour")?;
        first.push(Some(begin.elapsed()));
        let (_, done) = settled(&guest, Tool::Banjour, LIMIT)?;
        read.push(done - begin);
        let failing = failing(&guest)?;
        ensure!(failing > 0, "nothing of the last hour was read");
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
            "{}; at a first start {}, at rest after {}",
            Spread::of(again).show(LIMIT),
            Spread::of(first).show(LIMIT),
            time(crate::figures::median(read))
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

/// How many sources have failed within their jails' windows.
pub(crate) fn failing(guest: &Guest) -> Result<u64> {
    let status: Value = serde_json::from_str(&guest.sh("banjour status --json")?)?;
    let jails = status["jails"].as_array().context("no jails")?;
    let failing = jails.iter().map(|jail| jail["currently_failed"].as_u64());
    failing.sum::<Option<u64>>().context("no number")
}
