//! `banjour replay`

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Failure, text, when};
use crate::agent::Options;
use crate::config::Config;
use crate::ignore;
use crate::journal::{Entries, Place};
use crate::replay::{self, Findings};

/// Lines that nothing matched are shown up to this many, the most frequent first.
const MAX_UNMATCHED: usize = 20;

const EXAMPLES: &str = "\
Examples:
  banjour replay --since -30d  # the last month, with the settings in force
  banjour replay --since yesterday --config /etc/banjour/banjour.toml
  banjour replay --directory /var/log/journal --json";

/// Arguments of `banjour replay`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Read the journal files in this directory [default: this host's journal]
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "file")]
    directory: Option<PathBuf>,
    /// Read this journal file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Begin here: "2026-11-01", "2026-11-01 12:00", "yesterday", "-2h"
    #[arg(long, value_name = "TIME", value_parser = when::parse, allow_hyphen_values = true)]
    since: Option<Timestamp>,
    /// End here
    #[arg(long, value_name = "TIME", value_parser = when::parse, allow_hyphen_values = true)]
    until: Option<Timestamp>,
    /// Try this file in the place of the host's settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer with a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let refused = |error: &dyn std::fmt::Display| Failure::Refused(error.to_string());
    let root = Path::new("/");
    let config = match &arguments.config {
        Some(file) => Config::try_file(root, file),
        None => Config::load(root),
    }
    .map_err(|e| refused(&e))?;
    let place = match (&arguments.directory, &arguments.file) {
        (Some(directory), _) => Place::Directory(directory.clone()),
        (None, Some(file)) => Place::File(file.clone()),
        (None, None) => Place::Root(root.to_owned()),
    };
    // The addresses of another host are not ours.
    let this_host = matches!(place, Place::Root(_));
    let (ignored, missing) = ignore::now(
        config.ignore.clone(),
        root,
        &Options::state_directory(),
        this_host,
    );
    for missing in missing {
        eprintln!("banjour: ignore: {missing}");
    }
    let from = arguments.since.unwrap_or(Timestamp::UNIX_EPOCH);
    let mut entries = Entries::open(&place, &config.filters, from).map_err(|e| refused(&e))?;
    let bar = progress_bar();
    let findings = replay::run(
        &mut entries,
        &config,
        &ignored,
        arguments.until,
        |count, at| {
            bar.set_position(count);
            bar.set_message(at.strftime("%Y-%m-%d %H:%M").to_string());
        },
    )
    .map_err(|e| refused(&e))?;
    bar.finish_and_clear();
    if arguments.json {
        return text::print_json(&as_json(&findings));
    }
    text::print(&as_text(&findings))
}

fn progress_bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {human_pos} entries, at {msg} ({elapsed})")
    {
        bar.set_style(style);
    }
    bar
}

fn usec(at: Timestamp) -> i64 {
    at.as_microsecond()
}

fn as_json(findings: &Findings) -> Value {
    let sources = findings.sources.iter().map(|(source, seen)| {
        json!({
            "source": source,
            "failures": seen.failures,
            "successes": seen.successes,
            "users": seen.users,
        })
    });
    let bans = findings.bans.iter().map(|would| {
        json!({
            "source": would.ban.source,
            "jail": &*would.ban.jail,
            "at_usec": usec(would.ban.since),
            "until_usec": usec(would.ban.until),
            "failures": would.ban.cause.attempts().map_or(0, |attempts| attempts.count),
        })
    });
    let unmatched = findings
        .unmatched
        .values()
        .map(|(message, count)| json!({ "message": message, "count": count }));
    json!({
        "entries": findings.entries,
        "matched": findings.matched,
        "failures": findings.failures(),
        "sources": sources.collect::<Vec<_>>(),
        "bans": bans.collect::<Vec<_>>(),
        "unmatched": unmatched.collect::<Vec<_>>(),
    })
}

fn as_text(findings: &Findings) -> String {
    let mut out = format!(
        "{} entries of the mail units, {} tell of logins: {} failed attempts from {} sources\n",
        findings.entries,
        findings.matched,
        findings.failures(),
        findings
            .sources
            .values()
            .filter(|seen| seen.failures > 0)
            .count(),
    );
    let bans: Vec<_> = findings
        .bans
        .iter()
        .map(|would| {
            let ban = &would.ban;
            let user = ban.cause.user().map(|user| format!("{user:?}"));
            let attempts = ban.cause.attempts().map_or(0, |attempts| attempts.count);
            let time = |at: Timestamp| text::time(usec(at).unsigned_abs());
            [
                time(ban.since),
                ban.source.to_string(),
                ban.jail.to_string(),
                attempts.to_string(),
                user.unwrap_or_default(),
                time(ban.until),
            ]
        })
        .collect();
    if bans.is_empty() {
        out += "\nnobody would have been banned\n";
    } else {
        out += "\n";
        out += &text::table(
            [
                "WOULD BAN AT",
                "SOURCE",
                "JAIL",
                "ATTEMPTS",
                "LAST AS",
                "UNTIL",
            ],
            &bans,
        );
    }
    let jails: Vec<_> = findings
        .jails
        .iter()
        .map(|(name, (attempts, bans))| [name.to_string(), attempts.to_string(), bans.to_string()])
        .collect();
    out += "\n";
    out += &text::table(["JAIL", "ATTEMPTS", "BANS"], &jails);
    let filters: Vec<_> = findings
        .filters
        .iter()
        .map(|(name, matched)| {
            [
                name.to_string(),
                matched.failures.to_string(),
                matched.successes.to_string(),
            ]
        })
        .collect();
    if !filters.is_empty() {
        out += "\n";
        out += &text::table(["FILTER", "LINES OF FAILURES", "LINES OF LOGINS"], &filters);
    }
    out + &unmatched(findings)
}

fn unmatched(findings: &Findings) -> String {
    if findings.unmatched.is_empty() {
        return String::new();
    }
    let mut lines: Vec<_> = findings.unmatched.values().collect();
    lines.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown = lines.iter().take(MAX_UNMATCHED);
    let rows: Vec<_> = shown
        .map(|(message, count)| [count.to_string(), message.escape_debug().to_string()])
        .collect();
    format!(
        "\nThese look like failures, and no filter knows them (kinds: {}):\n",
        lines.len()
    ) + &text::table(["LINES", "FOR EXAMPLE"], &rows)
}
