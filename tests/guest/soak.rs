//! `make soak`: all faults, in any order and two at a time, again and again, for as long as one likes. A line tells of each
//! round; the first one that does not end as it should ends the soak.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::SignedDuration;

use crate::before::{KIB_PER_SOURCE, KIB_SLACK};
use crate::faults::{mess, protects, ready_for_all};
use crate::host::Guest;
use crate::load::Dice;

crate::cases![soak];

/// So long, unless `SOAK` says otherwise.
const LENGTH: &str = "30m";

/// Attempts and bans are over so soon that there are as many in the last round as there were when the first were over.
const JAIL: &str = "[jail.dovecot]\nwindow = \"5min\"\nban-time = \"5min\"\nban-time-factor = 1\n";
const WINDOW: Duration = Duration::from_mins(5);
/// What is remembered of a source that was banned once, for weeks.
const BYTES_PER_BANNED: u64 = 128;

/// Whether somebody wants it.
pub(crate) fn is_wanted() -> bool {
    std::env::var_os("SOAK").is_some()
}

fn soak(guest: &Guest) -> Result<()> {
    let length = std::env::var("SOAK").unwrap_or_else(|_| LENGTH.to_owned());
    let length: SignedDuration = length.parse().context("SOAK is no time such as 30m")?;
    let length: Duration = length.try_into().context("SOAK is no time such as 30m")?;
    let _jail = guest.configure("90-soak", JAIL)?;
    let _ready = ready_for_all(guest)?;
    let mut dice = Dice::new(guest)?;
    let (start, mut settled) = (Instant::now(), None);
    for round in 1.. {
        let after = mess(guest, &mut dice)
            .with_context(|| format!("round {round}"))
            // Now, and not when other guests are done, too.
            .inspect_err(|error| eprintln!("{guest}: {error:#}"))?;
        let elapsed = start.elapsed();
        eprintln!("{guest}: round {round}, {}s: {after}", elapsed.as_secs());
        // Twice as long: attempts, and then bans.
        if elapsed > 2 * WINDOW {
            let settled = settled.get_or_insert(after.memory + KIB_SLACK);
            // A round that took long has brought many.
            let allowed = *settled + after.banned * KIB_PER_SOURCE;
            ensure!(
                after.memory <= allowed,
                "{} KiB of memory, and {allowed} is what it may take since the first attempts were over",
                after.memory
            );
            *settled += after.banned * BYTES_PER_BANNED / 1024;
        }
        if elapsed >= length {
            break;
        }
    }
    protects(guest)
}
