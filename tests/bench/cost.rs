//! What an entry costs, with few sources and with as many as there are entries.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::figures::{median, time};
use crate::journal::{Journal, MILLION_SOURCES, THOUSAND_SOURCES};
use crate::kernel::Firewall;
use crate::replay::timed;
use crate::table::Table;
use crate::tool::Tool;

const RUNS: usize = 3;
/// Nobody is banned before the last entry, and nobody forgotten: each entry is one of a source that is counted.
const SETTINGS: &str = "account-sources = 0\nnetwork-sources = 0\n[jail.dovecot]\nattempts = 1000\nmax-sources = 2000000\n";

pub(crate) fn rows(table: &mut Table) -> Result<()> {
    let guest = Tool::Banjour.boot(Firewall::Nftables)?;
    guest.sh("systemctl stop banjour")?;
    guest.write("/etc/banjour-cost.toml", SETTINGS)?;
    let journals = [THOUSAND_SOURCES, MILLION_SOURCES];
    let commands = ["few", "many"].map(|name| {
        format!("banjour replay --config /etc/banjour-cost.toml --directory /var/tmp/{name}")
    });
    for (journal, name) in journals.iter().zip(["few", "many"]) {
        journal.copy(&guest, &format!("/var/tmp/{name}"))?;
    }
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..RUNS {
        for (times, command) in times.iter_mut().zip(&commands) {
            times.push(timed(&guest, command)?.1);
        }
    }
    let [few, many] = times.map(median);
    let each = |cpu: Duration, journal: Journal| -> Result<String> {
        Ok(time(cpu / u32::try_from(journal.entries())?))
    };
    ensure!(!few.is_zero(), "no time at all");
    table.row(
        "cost of a failed login in `replay`, 1,000 → 1,000,000 sources",
        "flat within 1.5×",
    );
    table.put(
        Tool::Banjour,
        format!(
            "{} → {}: {:.2}×, n {RUNS}",
            each(few, THOUSAND_SOURCES)?,
            each(many, MILLION_SOURCES)?,
            many.as_secs_f64() / few.as_secs_f64()
        ),
    );
    Ok(())
}
