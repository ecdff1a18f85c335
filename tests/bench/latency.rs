//! From the last log line of a guesser, as written by journald, to the first packet of its that is dropped, while others are
//! at it too.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::figures::Spread;
use crate::host::Guest;
use crate::inside::{LAST, target};
use crate::kernel::Firewall;
use crate::knock::{Knocker, dropped};
use crate::load;
use crate::table::Table;
use crate::tool::Tool;

/// So many sources are measured …
const SOURCES: u32 = 200;
/// … one after the other, this far apart …
const GAP: Duration = Duration::from_millis(30);
/// … while others write so many lines a second, and are banned at every third.
const BACKGROUND: u32 = 300;
/// After this, a source is thought not to be banned any more.
const LIMIT: Duration = Duration::from_secs(40);
/// What the writer needs to start, and to write what comes before.
const AHEAD: Duration = Duration::from_secs(5);

#[allow(clippy::unnecessary_wraps, reason = "as all rows are")]
pub(crate) fn rows(table: &mut Table) -> Result<()> {
    let mut under_attack = Vec::new();
    table.row(
        "last line written by journald → first packet dropped, nftables",
        "",
    );
    for tool in Tool::ALL {
        table.measure(tool, || {
            let guest = tool.boot(Firewall::Nftables)?;
            let quiet = measure(&guest, 0, 0)?;
            under_attack.push((tool, measure(&guest, SOURCES, BACKGROUND)));
            Ok(quiet)
        });
    }
    table.row(
        format!("the same under attack: {BACKGROUND} lines/s of others, who are banned"),
        "median 15 ms, p99 50 ms",
    );
    for (tool, result) in under_attack {
        table.measure(tool, || result);
    }
    table.row("the same under attack, with firewalld", "median 60 ms");
    table.measure(Tool::Banjour, || {
        measure(&Tool::Banjour.boot(Firewall::Firewalld)?, 0, BACKGROUND)
    });
    Ok(())
}

/// The sources are those behind the `first`.
fn measure(guest: &Guest, first: u32, background: u32) -> Result<String> {
    // What has just been started has settled.
    thread::sleep(Duration::from_secs(2));
    let begin = SystemTime::now() + AHEAD;
    let knockers: Vec<Knocker> = (0..SOURCES)
        .map(|number| Knocker {
            source: target((first + number).into()),
            from: begin + GAP * number - Duration::from_millis(3),
        })
        .collect();
    let arguments = [
        load::usec(begin),
        first.into(),
        SOURCES.into(),
        GAP.as_micros().try_into()?,
        background.into(),
    ];
    let arguments = arguments.map(|number| number.to_string());
    let closed = thread::scope(|scope| {
        let attack = scope.spawn(|| load::as_dovecot(guest, "attack", &arguments));
        let closed = dropped(guest, &knockers, LIMIT);
        attack.join().expect("the attack does not panic")?;
        closed
    })?;
    let written = written(guest)?;
    let mut times = Vec::new();
    for (knocker, closed) in knockers.iter().zip(closed) {
        let written = written
            .get(&knocker.source)
            .with_context(|| format!("no line of {}", knocker.source))?;
        // Less than nothing would be: a packet that was lost on the way.
        let time = closed.map(|closed| closed.duration_since(*written));
        times.push(time.transpose().context("dropped before its time")?);
    }
    Ok(Spread::of(times).show(LIMIT))
}

/// When journald wrote each target's last line.
fn written(guest: &Guest) -> Result<HashMap<Ipv4Addr, SystemTime>> {
    let lines = guest.sh(&format!(
        "journalctl --quiet --output=json --output-fields=MESSAGE --unit=dovecot --grep='session=<{LAST}>'"
    ))?;
    let mut written = HashMap::new();
    for line in lines.lines() {
        let entry: Value = serde_json::from_str(line)?;
        let message = entry["MESSAGE"].as_str().context("no message")?;
        let source = message
            .split_once("rip=")
            .and_then(|(_, rest)| rest.split_once(','))
            .context("no source")?
            .0;
        let time: u64 = entry["__REALTIME_TIMESTAMP"]
            .as_str()
            .context("no time")?
            .parse()?;
        written.insert(source.parse()?, UNIX_EPOCH + Duration::from_micros(time));
    }
    Ok(written)
}
