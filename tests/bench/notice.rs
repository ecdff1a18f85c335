//! The notification alone: what a program can't be faster than that sleeps until journald wakes it.

use std::time::Duration;

use anyhow::Result;

use crate::figures::Spread;
use crate::kernel::Firewall;
use crate::load;
use crate::table::Table;
use crate::tool::Tool;

const LINES: u64 = 30;

pub(crate) fn rows(table: &mut Table) -> Result<()> {
    let guest = Tool::Banjour.boot(Firewall::Nftables)?;
    guest.sh("systemctl stop banjour")?;
    let said = load::as_dovecot(&guest, "notice", &[LINES.to_string()])?;
    let mut times = Vec::new();
    for line in said.lines() {
        times.push(Some(Duration::from_micros(line.parse()?)));
    }
    table.row(
        "a line written by journald → `sd_journal_wait` returns",
        "for comparison",
    );
    table.compare(Spread::of(times).show(Duration::from_secs(5)));
    Ok(())
}
