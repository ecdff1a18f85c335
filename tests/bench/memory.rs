//! Anonymous memory of the agent: with many sources in the jail's window. (Idle and with many bans: `idle` and `bulk`.)

use std::time::Duration;

use anyhow::Result;

use crate::figures::megabytes;
use crate::idle::{Usage, settled};
use crate::journal::MILLION_SOURCES;
use crate::kernel::Firewall;
use crate::start::{begin_anew, total};
use crate::table::Table;
use crate::tool::Tool;

const LIMIT: Duration = Duration::from_mins(5);
const SOURCES: u64 = 1_000_000;

pub(crate) fn rows(table: &mut Table) -> Result<()> {
    let guest = Tool::Banjour.boot(Firewall::Nftables)?;
    guest.sh("systemctl stop banjour")?;
    guest.write(
        "/etc/banjour/banjour.toml.d/90-million.toml",
        "[jail.dovecot]\nwindow = \"24h\"\nmax-sources = 2000000\n",
    )?;
    MILLION_SOURCES.put_into(&guest)?;
    begin_anew(&guest)?;
    guest.sh("systemctl start banjour")?;
    settled(&guest, Tool::Banjour, LIMIT)?;
    let used = Usage::of(&guest, Tool::Banjour)?.anonymous;
    let failing = total(&guest, "currently_failed")?;
    anyhow::ensure!(
        failing >= SOURCES,
        "only {failing} sources are in the window"
    );
    let restarts = guest.sh("systemctl show -P NRestarts banjour")?;
    anyhow::ensure!(restarts == "0", "the agent was restarted {restarts} times");
    table.row(
        "anonymous memory, 1,000,000 sources in the window",
        "250 MB",
    );
    table.put(Tool::Banjour, megabytes(used));
    Ok(())
}
