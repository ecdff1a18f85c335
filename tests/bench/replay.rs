//! `banjour replay` beside `journalctl` with the same matches, and `fail2ban-regex` on the lines that journalctl prints.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::figures::{median, per_second, time};
use crate::host::Guest;
use crate::journal::{MILLION, OF_MAIL};
use crate::kernel::Firewall;
use crate::table::Table;
use crate::tool::Tool;

/// Each is run so often, in turns.
const RUNS: usize = 5;
const DIRECTORY: &str = "/var/tmp/recorded";
/// What banjour's filters ask the journal for (`units =` in src/filter/*.toml).
const MATCHES: &str = "_SYSTEMD_UNIT=dovecot.service + _SYSTEMD_UNIT=postfix.service + _SYSTEMD_SLICE=system-postfix.slice";
/// fail2ban-regex reads these in some seconds.
const LINES: u64 = 50_000;

pub(crate) fn rows(table: &mut Table) -> Result<()> {
    let guest = Tool::Banjour.boot(Firewall::Nftables)?;
    guest.sh("systemctl stop banjour")?;
    MILLION.copy(&guest, DIRECTORY)?;
    let replay = format!("banjour replay --directory {DIRECTORY}");
    let journalctl = format!("journalctl --quiet --directory={DIRECTORY} {MATCHES}");
    let found: Value = serde_json::from_str(&guest.sh(&format!("{replay} --json"))?)?;
    let printed: u64 = guest
        .sh(&format!("{journalctl} --output=cat | wc -l"))?
        .parse()?;
    ensure!(
        found["entries"] == OF_MAIL && printed == OF_MAIL,
        "replay read {} entries and journalctl printed {printed}: {OF_MAIL} were expected",
        found["entries"]
    );
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        ours.push(timed(&guest, &replay)?);
        theirs.push(timed(&guest, &journalctl)?);
    }
    table.row(
        format!(
            "`replay` over {} entries, {OF_MAIL} of mail units",
            MILLION.entries()
        ),
        "0.8 of journalctl's time",
    );
    let [ours, theirs] = [ours, theirs].map(|times| {
        let (wall, cpu): (Vec<_>, Vec<_>) = times.into_iter().unzip();
        let best = cpu.iter().min().copied().unwrap_or_default();
        (median(wall), median(cpu), best)
    });
    table.put(
        Tool::Banjour,
        format!(
            "{:.2} of it: {}, CPU median {}, best {}, n {RUNS}; {}",
            ours.1.as_secs_f64() / theirs.1.as_secs_f64(),
            time(ours.0),
            time(ours.1),
            time(ours.2),
            per_second(OF_MAIL, ours.1).replace("/s", " lines/s")
        ),
    );
    table.compare(format!(
        "journalctl to /dev/null: {}, CPU median {}, best {}",
        time(theirs.0),
        time(theirs.1),
        time(theirs.2)
    ));
    drop(guest);
    table.measure(Tool::Fail2ban, fail2ban);
    Ok(())
}

/// Its tool for a filter, on lines that it need not look for: no fewer than an entry that is a line.
fn fail2ban() -> Result<String> {
    let guest = &Tool::Fail2ban.boot(Firewall::Nftables)?;
    guest.sh("systemctl stop fail2ban")?;
    MILLION.copy(guest, DIRECTORY)?;
    guest.sh(&format!(
        "journalctl --quiet --directory={DIRECTORY} {MATCHES} | head -n {LINES} >/var/tmp/lines || true"
    ))?;
    let mut shown = Vec::new();
    for filter in ["dovecot", "postfix[mode=auth]"] {
        let (_, cpu) = timed(guest, &format!("fail2ban-regex /var/tmp/lines '{filter}'"))?;
        let filter = filter.split('[').next().unwrap_or_default();
        let rate = per_second(LINES, cpu).replace("/s", " lines/s");
        shown.push(format!("{rate} ({filter})"));
    }
    Ok(format!("fail2ban-regex: {}", shown.join(", ")))
}

/// Runs a command in the guest, its output to nowhere: how long it took, and user's and system's CPU.
pub(crate) fn timed(guest: &Guest, command: &str) -> Result<(Duration, Duration)> {
    let shown = guest.run(&[
        "bash",
        "-c",
        &format!("TIMEFORMAT='%R %U %S'; time {command} >/dev/null 2>&1"),
    ])?;
    let mut seconds = Vec::new();
    for word in shown.err.split_whitespace() {
        seconds.push(Duration::from_secs_f64(
            word.parse().with_context(|| shown.err.clone())?,
        ));
    }
    ensure!(shown.code == 0, "{command} exited with {}", shown.code);
    let [wall, user, system] = seconds[..] else {
        anyhow::bail!("{command}: {}", shown.err);
    };
    Ok((wall, user + system))
}
