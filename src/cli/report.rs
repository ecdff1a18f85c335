//! `banjour report`

mod chart;
mod page;
mod terminal;
mod words;

use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::file::{Readers, replace};
use super::{Failure, recorded, text, when};
use crate::jail::usec;
use crate::journal::{Act, Entries, Own};
use crate::report::{self, LENGTHS, Report};

/// Of accounts, networks and sources, so many are in a JSON object.
const MAX_ROWS: usize = 1000;

const EXAMPLES: &str = "\
Examples:
  banjour report                                      # the last week
  banjour report --since 30d --html /tmp/report.html  # a page to look at, to print, to send
  banjour report --since yesterday --until today      # one day";

/// Arguments of `banjour report`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Begin here: "7d", "2026-11-01", "2026-11-01 12:00", "yesterday"
    #[arg(long, value_name = "TIME", value_parser = ago, default_value = "7d", allow_hyphen_values = true)]
    since: Timestamp,
    /// End here [default: now]
    #[arg(long, value_name = "TIME", value_parser = ago, allow_hyphen_values = true)]
    until: Option<Timestamp>,
    /// Write a page for a browser or a printer into this file; nothing else is needed to show it
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Answer with a JSON object
    #[arg(long, conflicts_with = "html")]
    json: bool,
    #[command(flatten)]
    recorded: recorded::Which,
}

/// A time; a span alone is one that ends now.
fn ago(text: &str) -> Result<Timestamp, String> {
    when::parse(text).or_else(|error| when::parse(&format!("-{text}")).map_err(|_| error))
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let until = arguments.until.unwrap_or_else(Timestamp::now);
    if until <= arguments.since {
        return Err(Failure::Refused(
            "the report would end before it begins; see --since and --until".to_owned(),
        ));
    }
    let zone = TimeZone::system();
    let report = read(&arguments.recorded, (arguments.since, until), &zone)?;
    if arguments.json {
        return text::print_json(&as_json(&report));
    }
    let Some(file) = &arguments.html else {
        return text::print(&terminal::show(&report, &zone));
    };
    let page = page::show(&report, &zone);
    replace(file, &page, Readers::Usual)
        .map_err(|e| Failure::Refused(format!("cannot write {}: {e}", file.display())))?;
    text::print(&format!(
        "{}\nwrote {}\n",
        words::headline(&report),
        file.display()
    ))
}

fn read(
    arguments: &recorded::Which,
    (since, until): (Timestamp, Timestamp),
    zone: &TimeZone,
) -> Result<Report, Failure> {
    let refused = |error: crate::journal::Error| Failure::Refused(error.to_string());
    let recorded::Recorded {
        place,
        config,
        ignored,
    } = arguments.prepare()?;
    let mut entries = Entries::open(&place, &config.filters, since).map_err(refused)?;
    let mut own = Own::open(&place, None, &Act::ALL, since).map_err(refused)?;
    let progress = recorded::Progress::begin();
    let report = report::run(
        &mut entries,
        &mut own,
        &config,
        &ignored,
        (since, until),
        zone,
        |count, at| progress.show(count, at),
    );
    progress.end();
    report.map_err(refused)
}

fn as_json(report: &Report) -> Value {
    let bans = &report.bans;
    let shares = |shares: &[(String, u64)]| -> Vec<Value> {
        let share = |(name, attempts): &(String, u64)| json!({"name": name, "attempts": attempts});
        shares.iter().take(MAX_ROWS).map(share).collect()
    };
    let over_time = report.axis.bars.iter().map(
        |bar| json!({"from_usec": usec(bar.from), "attempts": bar.attempts, "bans": bar.bans}),
    );
    let hours = report
        .hours
        .iter()
        .map(|(attempts, bans)| json!({"attempts": attempts, "bans": bans}));
    let accounts = report.accounts.iter().take(MAX_ROWS).map(|(user, account)| {
        json!({"user": user, "attempts": account.attempts, "sources": account.sources, "under_attack": account.besieged})
    });
    let networks = report.networks.iter().take(MAX_ROWS).map(|(source, network)| {
        json!({"network": source, "attempts": network.attempts, "sources": network.sources, "bans": network.bans})
    });
    let sources = report.guessers.iter().take(MAX_ROWS).map(|guesser| {
        json!({
            "source": guesser.source,
            "attempts": guesser.attempts,
            "users": guesser.names,
            "first_usec": usec(guesser.first),
            "last_usec": usec(guesser.last),
        })
    });
    let lengths = LENGTHS.iter().zip(bans.lengths);
    let lengths = lengths.map(|((_, name), bans)| json!({"length": name, "bans": bans}));
    let returners = bans.returners();
    let returning = returners.iter().take(MAX_ROWS).map(|(source, banned)| {
        json!({
            "source": source,
            "bans": banned.bans,
            "first_usec": usec(banned.first),
            "last_usec": usec(banned.last),
            "until_usec": usec(banned.until),
        })
    });
    let logins = report.logins.iter().take(MAX_ROWS).map(|login| {
        json!({"source": login.source, "user": login.user, "logins": login.logins, "last_usec": usec(login.last)})
    });
    json!({
        "host": report.host,
        "since_usec": usec(report.since),
        "until_usec": usec(report.until),
        "first_entry_usec": report.first.map(usec),
        "entries": report.entries,
        "attempts": report.attempts,
        "attempts_of_customers": report.customers,
        "source_count": report.guessers.len(),
        "account_count": report.account_count,
        "over_time": over_time.collect::<Vec<_>>(),
        "hours": hours.collect::<Vec<_>>(),
        "services": shares(&report.services),
        "mechanisms": shares(&report.mechanisms),
        "accounts": accounts.collect::<Vec<_>>(),
        "networks": networks.collect::<Vec<_>>(),
        "sources": sources.collect::<Vec<_>>(),
        "bans": {
            "made": bans.made,
            "sources": bans.by_source.len(),
            "by_jail": bans.by_jail.iter().map(|(jail, bans)| json!({"jail": &**jail, "bans": bans})).collect::<Vec<_>>(),
            "lifted": bans.lifted,
            "observed": bans.observed,
            "ignored": bans.ignored,
            "lengths": lengths.collect::<Vec<_>>(),
            "returning_sources": returners.len(),
            "returning": returning.collect::<Vec<_>>(),
        },
        "logins_from_banned_sources": logins.collect::<Vec<_>>(),
        "incomplete": report.forgotten,
    })
}
