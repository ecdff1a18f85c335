//! Lines as fast as journald takes them, while the agent counts and bans; and the agent without journald in its way, with a
//! journal that it has not read yet.

use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::figures::{per_second, time};
use crate::host::{Guest, wait_for};
use crate::idle::settled;
use crate::inside::FAILING;
use crate::journal::{MILLION, OF_MAIL};
use crate::kernel::Firewall;
use crate::load;
use crate::start::{begin_anew, caught_up, total};
use crate::table::Table;
use crate::tool::Tool;

/// So many lines, for some seconds of journald's work.
const LINES: u64 = 300_000;
/// Each run has sources of its own.
const SOURCES: u64 = LINES / FAILING / 3;
/// Far more than an agent needs that keeps up.
const LIMIT: Duration = Duration::from_mins(3);

/// Whoever reads takes journald's time away, where there are two cores for it, the writer and the reader.
const FOLLOW: &str = "systemd-run --quiet --unit=follow --property=StandardOutput=null \
    journalctl --follow --lines=0 --output=cat --unit=dovecot";

pub(crate) fn rows(table: &mut Table) -> Result<()> {
    let guest = Tool::Banjour.boot(Firewall::Nftables)?;
    guest.sh("systemctl stop banjour")?;
    let (alone, _) = flood(&guest, 0)?;
    guest.sh(FOLLOW)?;
    let (followed, _) = flood(&guest, 2 * SOURCES)?;
    guest.sh("systemctl stop follow; systemctl start banjour")?;
    guest.wait_until_up(0)?;
    settled(&guest, Tool::Banjour, LIMIT)?;
    let before = counted(&guest)?;
    let in_force = guest.property("InForce")?.as_u64().context("no number")?;
    let (taken, end) = flood(&guest, SOURCES)?;
    let wanted = before + LINES / FAILING;
    wait_for("all failures to be counted", LIMIT, || {
        Ok(counted(&guest)? >= wanted)
    })?;
    let behind = SystemTime::now().duration_since(end).unwrap_or_default();
    wait_for("all bans to be in force", LIMIT, || {
        Ok(guest.property("InForce")?.as_u64() >= Some(in_force + SOURCES))
    })?;
    let banned = SystemTime::now().duration_since(end).unwrap_or_default();
    // Nothing is counted twice, nor later.
    thread::sleep(Duration::from_secs(1));
    let counted = counted(&guest)? - before;
    ensure!(
        counted == LINES / FAILING,
        "{counted} failures were counted, there were {}",
        LINES / FAILING
    );
    table.row(
        format!(
            "live: lines of mail units while counting and banning ({LINES} lines, {} failures, {SOURCES} bans)",
            LINES / FAILING
        ),
        "100,000/s or journald's own limit, none lost",
    );
    table.put(
        Tool::Banjour,
        format!(
            "{}, none lost; all counted {} behind the last line, all bans in force {} behind it",
            per_second(LINES, taken),
            time(behind),
            time(banned)
        ),
    );
    table.compare(format!(
        "journald without a reader takes {}, with `journalctl --follow` instead of the agent {}",
        per_second(LINES, alone),
        per_second(LINES, followed)
    ));
    catch_up(table, &guest)
}

/// Writes all lines; how long that took, and when it was done.
fn flood(guest: &Guest, first: u64) -> Result<(Duration, SystemTime)> {
    let said = load::as_dovecot(guest, "flood", &[LINES.to_string(), first.to_string()])?;
    let mut words = said.split_whitespace();
    let mut next = || -> Result<Duration> {
        let word = words.next().context("no figure")?;
        Ok(Duration::from_micros(word.parse()?))
    };
    let (taken, end) = (next()?, next()?);
    Ok((taken, SystemTime::UNIX_EPOCH + end))
}

/// How many failures the agent has counted in all.
fn counted(guest: &Guest) -> Result<u64> {
    total(guest, "total_failed")
}

/// An agent without a state finds a million entries of the last hours.
fn catch_up(table: &mut Table, guest: &Guest) -> Result<()> {
    guest.sh(
        "systemctl stop banjour; journalctl --rotate; rm -f /var/log/journal/*/system@*.journal",
    )?;
    guest.write(
        "/etc/banjour/banjour.toml.d/90-day.toml",
        "[jail.dovecot]\nwindow = \"24h\"\nban-time = \"24h\"\n\
         [jail.postfix-sasl]\nwindow = \"24h\"\nban-time = \"24h\"\n",
    )?;
    MILLION.put_into(guest)?;
    begin_anew(guest)?;
    guest.sh("systemctl start banjour")?;
    let cpu = caught_up(guest)?;
    let bans = guest.property("InForce")?;
    ensure!(bans.as_u64() > Some(0), "nothing was read");
    table.row(
        format!(
            "the agent reads a journal of {} entries, {OF_MAIL} of mail units, that it finds at the start",
            MILLION.entries()
        ),
        "",
    );
    table.put(
        Tool::Banjour,
        format!(
            "{} of CPU, its start and {} bans included: {} of mail units",
            time(cpu),
            bans,
            per_second(OF_MAIL, cpu)
        ),
    );
    Ok(())
}
