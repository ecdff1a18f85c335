//! `make bench`: what the README's table says of speed, measured: banjour and its peers at the same work, each in a guest of
//! its own, one after the other. `ROWS=replay,start` measures these alone. Needs root.

#[path = "../guest/agent.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod agent;
mod bulk;
#[path = "../guest/client.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod client;
mod cost;
mod figures;
#[path = "../guest/host.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod host;
mod idle;
mod inside;
mod journal;
#[path = "../guest/kernel.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod kernel;
mod knock;
mod latency;
mod live;
mod load;
mod memory;
mod notice;
mod replay;
#[path = "../guest/session.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod session;
mod start;
mod table;
mod tool;
#[path = "../guest/wire.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod wire;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use nix::unistd::Uid;

use table::Table;

/// What guests run: Debian's newest stable release.
const RELEASE: &str = "trixie";

/// A group of rows, by the name that `ROWS=` has for it.
type Rows = (&'static str, fn(&mut Table) -> Result<()>);

const ROWS: [Rows; 9] = [
    ("latency", latency::rows),
    ("notice", notice::rows),
    ("idle", idle::rows),
    ("replay", replay::rows),
    ("live", live::rows),
    ("bulk", bulk::rows),
    ("memory", memory::rows),
    ("cost", cost::rows),
    ("start", start::rows),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((first, rest)) if first == inside::VERB => inside::run(rest),
        _ => measure(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    anyhow::ensure!(
        Uid::effective().is_root(),
        "measuring needs root, to start guests: run `make bench` as root"
    );
    let wanted = std::env::var("ROWS").unwrap_or_default();
    let wanted: Vec<&str> = wanted
        .split([',', ' '])
        .filter(|name| !name.is_empty())
        .collect();
    for name in &wanted {
        ROWS.iter()
            .find(|(known, _)| known == name)
            .with_context(|| {
                let known: Vec<_> = ROWS.iter().map(|(name, _)| *name).collect();
                format!("ROWS={name}: there are {}", known.join(", "))
            })?;
    }
    let mut table = Table::new()?;
    for (name, rows) in ROWS {
        if !wanted.is_empty() && !wanted.contains(&name) {
            continue;
        }
        let begin = Instant::now();
        if let Err(error) = rows(&mut table) {
            table.failures += 1;
            table.note(format!("`{name}` could not be measured to the end"));
            eprintln!("{name}: {error:#}");
        }
        eprintln!("{name}: took {:.0?}", begin.elapsed());
        table.save()?;
    }
    print!("{}", table.markdown());
    anyhow::ensure!(
        table.failures == 0,
        "{} measurements failed, see above",
        table.failures
    );
    Ok(())
}
