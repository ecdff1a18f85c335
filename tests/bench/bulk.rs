//! 100,000 bans at the start: as many as were saved are in force again, and what that takes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::figures::{megabytes, per_second, time};
use crate::host::{Guest, wait_for};
use crate::idle::{Usage, settled};
use crate::kernel::Firewall;
use crate::table::Table;
use crate::tool::Tool;

const BANS: u64 = 100_000;
const RUNS: usize = 3;
/// So long is looked at those that take longer.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn rows(table: &mut Table) -> Result<()> {
    let guest = Tool::Banjour.boot(Firewall::Nftables)?;
    guest.save_bans(BANS)?;
    let mut times = Vec::new();
    let mut memory = 0;
    for _ in 0..RUNS {
        guest.sh("systemctl stop banjour; /usr/libexec/banjour/banjour-netfilter clear")?;
        let begin = Instant::now();
        guest.sh("systemctl start banjour")?;
        wait_for("all bans to be in force", PATIENCE, || {
            Ok(guest.property("InForce").unwrap_or_default().as_u64() >= Some(BANS))
        })?;
        times.push(begin.elapsed());
        // Not only the agent says so.
        let kept_out = guest.kept_out()?.len() as u64;
        ensure!(kept_out >= BANS, "the kernel has {kept_out}");
        settled(&guest, Tool::Banjour, PATIENCE)?;
        memory = memory.max(Usage::of(&guest, Tool::Banjour)?.anonymous);
    }
    times.sort();
    drop(guest);
    table.row(
        format!("{BANS} bans in force after a start, nftables"),
        "2 s",
    );
    let shown: Vec<_> = times.iter().map(|&one| time(one)).collect();
    table.put(
        Tool::Banjour,
        format!("median {} ({})", time(times[RUNS / 2]), shown.join(", ")),
    );
    let mut theirs = Vec::new();
    for (tool, save) in [
        (Tool::Fail2ban, FAIL2BAN),
        (Tool::Sshguard, SSHGUARD),
        (Tool::Crowdsec, CROWDSEC),
    ] {
        table.measure(tool, || {
            let guest = tool.boot(Firewall::Nftables)?;
            let (shown, whole) = restored(&guest, tool, save)?;
            if whole {
                theirs.push((tool, Usage::of(&guest, tool)?.anonymous));
            }
            Ok(shown)
        });
    }
    table.row(format!("anonymous memory with {BANS} bans"), "40 MB");
    table.put(Tool::Banjour, megabytes(memory));
    for (tool, memory) in theirs {
        table.put(tool, megabytes(memory));
    }
    Ok(())
}

/// Starts another one that has as many saved: how many are in force in the end, or when its time is up, and whether all are.
fn restored(guest: &Guest, tool: Tool, save: &str) -> Result<(String, bool)> {
    let stopping = format!("systemctl stop {}", tool.units().join(" "));
    let starting = format!("systemctl start {}", tool.units().join(" "));
    guest.sh(&format!("{stopping}\n{save}\n{stopping}"))?;
    let begin = Instant::now();
    // Some have all bans in force before they say that they are there.
    guest.sh(&format!("systemd-run --quiet --collect sh -c '{starting}'"))?;
    let count = format!(
        "{} 2>/dev/null | grep -oE '10\\.[01]\\.[0-9]+\\.[0-9]+' | wc -l",
        tool.banned()
    );
    let mut there = 0;
    while begin.elapsed() < PATIENCE && there < BANS {
        std::thread::sleep(Duration::from_millis(500));
        let shown = guest.run(&["sh", "-c", &count])?;
        there = shown.out.trim().parse().context("a number of bans")?;
    }
    let lasted = begin.elapsed();
    if there >= BANS {
        return Ok((time(lasted), true));
    }
    let shown = format!("{there} in {}: {}", time(lasted), per_second(there, lasted));
    Ok((shown, false))
}

/// fail2ban puts in force what its database has of the last day.
const FAIL2BAN: &str = "
    systemctl start fail2ban
    until fail2ban-client ping >/dev/null 2>&1; do sleep 0.1; done
    systemctl stop fail2ban
    python3 - <<'END'
import sqlite3, time
database = sqlite3.connect('/var/lib/fail2ban/fail2ban.sqlite3')
now = int(time.time())
bans = [(f'10.{i >> 16}.{i >> 8 & 255}.{i & 255}', now) for i in range(100000)]
for table in ('bans', 'bips'):
    database.executemany(
        f\"INSERT OR REPLACE INTO {table} (ip, jail, timeofban, bantime, bancount, data) VALUES (?, 'dovecot', ?, 7200, 1, '{{}}')\", bans)
database.commit()
END";

/// sshguard blocks all of its blacklist at the start (sshguard(8)).
const SSHGUARD: &str = "
    awk -v now=$(date +%s) 'BEGIN { for (i = 0; i < 100000; i++)
        printf \"%d|260|4|10.%d.%d.%d\\n\", now, i / 65536, i / 256 % 256, i % 256 }' >/var/lib/sshguard/blacklist.db";

/// `CrowdSec`'s bouncer gets all decisions of its local API at the start.
const CROWDSEC: &str = "
    systemctl start crowdsec
    awk 'BEGIN { print \"duration,scope,value\"; for (i = 0; i < 100000; i++)
        printf \"4h,ip,10.%d.%d.%d\\n\", i / 65536, i / 256 % 256, i % 256 }' >/var/tmp/decisions.csv
    cscli decisions import --input /var/tmp/decisions.csv >/dev/null 2>&1";
