//! `banjour replay`

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Failure, recorded, text, when};
use crate::journal::Entries;
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
    #[command(flatten)]
    recorded: recorded::Which,
    /// Begin here: "2026-11-01", "2026-11-01 12:00", "yesterday", "-2h"
    #[arg(long, value_name = "TIME", value_parser = when::parse, allow_hyphen_values = true)]
    since: Option<Timestamp>,
    /// End here
    #[arg(long, value_name = "TIME", value_parser = when::parse, allow_hyphen_values = true)]
    until: Option<Timestamp>,
    /// Answer with a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let refused = |error: &dyn std::fmt::Display| Failure::Refused(error.to_string());
    let recorded::Recorded {
        place,
        config,
        ignored,
    } = arguments.recorded.prepare()?;
    let from = arguments.since.unwrap_or(Timestamp::UNIX_EPOCH);
    let progress = recorded::Progress::begin();
    let findings = replay::run(
        || Entries::open(&place, &config.filters, from),
        &config,
        &ignored,
        arguments.until,
        |count, at| progress.show(count, at),
    )
    .map_err(|e| refused(&e))?;
    progress.end();
    if arguments.json {
        return text::print_json(&as_json(&findings));
    }
    text::print(&as_text(&findings))
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
        .lines()
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
    let mut lines: Vec<_> = findings.unmatched.lines().collect();
    if lines.is_empty() {
        return String::new();
    }
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
