//! Anonymous memory of the agent: with many sources in the jail's window, and with many of them banned for what they did.
//! (Idle, and with bans alone: `idle` and `bulk`.)

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::figures::megabytes;
use crate::host::Guest;
use crate::idle::{Usage, settled};
use crate::journal::{BOTNET, Journal, MILLION_SOURCES};
use crate::kernel::Firewall;
use crate::start::{begin_anew, total};
use crate::table::Table;
use crate::tool::Tool;

const LIMIT: Duration = Duration::from_mins(5);
const SOURCES: u64 = 1_000_000;
const GUESSERS: u64 = 100_000;

pub(crate) fn rows(table: &mut Table) -> Result<()> {
    let guest = Tool::Banjour.boot(Firewall::Nftables)?;
    let used = after_reading(&guest, BOTNET)?;
    let banned = total(&guest, "currently_banned")?;
    ensure!(banned >= GUESSERS, "only {banned} sources are banned");
    // What tables leave between them while they grow, a start does without.
    guest.sh("systemctl restart banjour")?;
    settled(&guest, Tool::Banjour, LIMIT)?;
    let again = Usage::of(&guest, Tool::Banjour)?.anonymous;
    drop(guest);
    table.row(
        format!("anonymous memory, {GUESSERS} sources in the window and banned, with what each has tried"),
        "65 MB: 40 for the bans, 25 for the window",
    );
    table.put(
        Tool::Banjour,
        format!(
            "{} when they have just been banned, {} after a restart",
            megabytes(used),
            megabytes(again)
        ),
    );

    let guest = Tool::Banjour.boot(Firewall::Nftables)?;
    guest.write(
        "/etc/banjour/banjour.toml.d/90-million.toml",
        "[jail.dovecot]\nwindow = \"24h\"\nmax-sources = 2000000\n",
    )?;
    let used = after_reading(&guest, MILLION_SOURCES)?;
    let failing = total(&guest, "currently_failed")?;
    ensure!(
        failing >= SOURCES,
        "only {failing} sources are in the window"
    );
    table.row(
        "anonymous memory, 1,000,000 sources in the window",
        "250 MB",
    );
    table.put(Tool::Banjour, megabytes(used));
    Ok(())
}

/// What an agent without a state takes when it has read this and has nothing more to do.
fn after_reading(guest: &Guest, journal: Journal) -> Result<u64> {
    guest.sh("systemctl stop banjour")?;
    journal.put_into(guest)?;
    begin_anew(guest)?;
    guest.sh("systemctl start banjour")?;
    settled(guest, Tool::Banjour, LIMIT)?;
    let restarts = guest.sh("systemctl show -P NRestarts banjour")?;
    ensure!(restarts == "0", "the agent was restarted {restarts} times");
    Ok(Usage::of(guest, Tool::Banjour)?.anonymous)
}
