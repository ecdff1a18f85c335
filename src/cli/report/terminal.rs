//! A report for a terminal of 80 columns, or for a pipe.

use std::io::{self, IsTerminal};

use jiff::tz::TimeZone;

use super::words::{headline, minute, number, percent, period, remarks, shown, span};
use crate::cli::text;
use crate::report::{Bar, LENGTHS, Report};

/// Rows of a table.
const ROWS: usize = 10;

/// An attacker's name is cut to this width on a terminal; a table has other columns too.
const NAME: usize = 32;

/// How wide the longest bar of a table is.
const BAR: usize = 20;

const EIGHTHS_UP: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const EIGHTHS_ACROSS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

pub(super) fn show(report: &Report, zone: &TimeZone) -> String {
    let terminal = io::stdout().is_terminal();
    let mut out = format!("banjour report, {}\n\n", period(report, zone));
    out += &wrapped(&headline(report));
    for remark in remarks(report, zone) {
        out += &wrapped(&remark);
    }
    if report.entries == 0 {
        return out;
    }
    out += &if terminal {
        pictures(report, zone)
    } else {
        columns(report)
    };
    out += &shares("SERVICE", &report.services);
    out += &shares("MECHANISM", &report.mechanisms);
    out += &accounts(report, terminal);
    out += &networks(report, terminal);
    out += &sources(report, zone, terminal);
    out += &bans(report, terminal);
    out += &returners(report, zone);
    out + &logins(report, zone)
}

fn wrapped(text: &str) -> String {
    const WIDTH: usize = 80;
    if !io::stdout().is_terminal() {
        return format!("{text}\n");
    }
    let (mut out, mut column) = (String::new(), 0);
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out += word;
        column += width;
    }
    out + "\n"
}

/// Attempts and bans over time and by the hour, as bars of characters.
fn pictures(report: &Report, zone: &TimeZone) -> String {
    let columns = &report.axis.bars;
    let over_time = [
        columns.iter().map(|bar| bar.attempts).collect::<Vec<_>>(),
        columns.iter().map(|bar| bar.bans).collect(),
    ];
    let by_hour = [
        report.hours.iter().map(|hour| hour.0).collect(),
        report.hours.iter().map(|hour| hour.1).collect(),
    ];
    let end = |bar: Option<&Bar>| bar.map_or_else(String::new, |bar| minute(bar.from, zone));
    let (from, to) = (end(columns.first()), end(columns.last()));
    let gap = columns.len().saturating_sub(from.len() + to.len()).max(1);
    let scale = format!("{from}{}{to}", " ".repeat(gap));
    let per = format!("PER {}", report.axis.step_name().to_uppercase());
    let hours = "0           6           12          18        23";
    picture(&per, &over_time, 1, &scale) + &picture("PER HOUR OF THE DAY", &by_hour, 2, hours)
}

/// Attempts and bans, each in a line, above their scale.
fn picture(title: &str, numbers: &[Vec<u64>; 2], width: usize, scale: &str) -> String {
    let line = |(name, numbers): (&str, &Vec<u64>)| {
        let most = numbers.iter().copied().max().unwrap_or(0);
        let sparks = sparks(numbers, width);
        format!("  {name:<9}{sparks}  up to {}\n", number(most))
    };
    let lines: String = ["attempts", "bans"]
        .into_iter()
        .zip(numbers)
        .map(line)
        .collect();
    format!("\n{title}\n{lines}  {:<9}{scale}\n", "")
}

/// A character, or two, for each number: its height in eighths of the highest. What is not nothing is seen.
fn sparks(numbers: &[u64], width: usize) -> String {
    let most = numbers.iter().copied().max().unwrap_or(0).max(1);
    let spark = |number: &u64| {
        let eighths = (number * 8).div_ceil(most);
        let spark = EIGHTHS_UP[usize::try_from(eighths).unwrap_or(8).min(8)];
        spark.to_string().repeat(width)
    };
    numbers.iter().map(spark).collect()
}

/// The same numbers, for programs.
fn columns(report: &Report) -> String {
    let time = |at| text::time(crate::jail::usec(at));
    let bars = report.axis.bars.iter();
    let bars: Vec<_> = bars
        .map(|bar| {
            [
                time(bar.from),
                bar.attempts.to_string(),
                bar.bans.to_string(),
            ]
        })
        .collect();
    let hours = report.hours.iter().enumerate();
    let hours: Vec<_> = hours
        .map(|(hour, (attempts, bans))| [hour.to_string(), attempts.to_string(), bans.to_string()])
        .collect();
    let bars = text::table(["FROM", "ATTEMPTS", "BANS"], &bars);
    let hours = text::table(["HOUR", "ATTEMPTS", "BANS"], &hours);
    format!("\n{bars}\n{hours}")
}

/// A bar for a number, beside the number itself.
fn bar(number: u64, most: u64, terminal: bool) -> String {
    if !terminal {
        return String::new();
    }
    let eighths = usize::try_from(number.saturating_mul(8 * BAR as u64) / most.max(1));
    let eighths = eighths.unwrap_or(0).clamp(1, 8 * BAR);
    let part = EIGHTHS_ACROSS[eighths % 8].to_string();
    "█".repeat(eighths / 8) + part.trim()
}

fn titled<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    format!("\n{}", text::table(heading, rows))
}

fn more(shown: usize, all: usize, what: &str) -> String {
    if all > shown && io::stdout().is_terminal() {
        format!("… and {} more {what}\n", number((all - shown) as u64))
    } else {
        String::new()
    }
}

/// An attacker's name: all of it in a pipe.
fn name(name: &str, terminal: bool) -> String {
    let name = shown(name);
    if !terminal || name.chars().count() <= NAME {
        return name;
    }
    name.chars().take(NAME - 1).chain(['…']).collect()
}

fn shares(what: &str, shares: &[(String, u64)]) -> String {
    let all = shares.iter().map(|(_, attempts)| attempts).sum();
    let rows: Vec<_> = shares
        .iter()
        .take(ROWS)
        .map(|(name, attempts)| [shown(name), number_of(*attempts), percent(*attempts, all)])
        .collect();
    titled([what, "ATTEMPTS", "SHARE"], &rows) + &more(rows.len(), shares.len(), "")
}

/// With separators for people, without for programs.
fn number_of(count: u64) -> String {
    if io::stdout().is_terminal() {
        number(count)
    } else {
        count.to_string()
    }
}

fn accounts(report: &Report, terminal: bool) -> String {
    let most = report
        .accounts
        .first()
        .map_or(0, |(_, account)| account.attempts);
    let rows: Vec<_> = report
        .accounts
        .iter()
        .take(ROWS)
        .map(|(user, account)| {
            [
                name(user, terminal),
                number_of(account.attempts),
                number_of(account.sources),
                bar(account.attempts, most, terminal),
            ]
        })
        .collect();
    titled(["ACCOUNT", "ATTEMPTS", "SOURCES", ""], &rows)
        + &more(rows.len(), report.accounts.len(), "accounts")
}

fn networks(report: &Report, terminal: bool) -> String {
    let most = report
        .networks
        .first()
        .map_or(0, |(_, network)| network.attempts);
    let rows: Vec<_> = report
        .networks
        .iter()
        .take(ROWS)
        .map(|(source, network)| {
            [
                source.to_string(),
                number_of(network.attempts),
                number_of(network.sources),
                number_of(network.bans),
                bar(network.attempts, most, terminal),
            ]
        })
        .collect();
    titled(["NETWORK", "ATTEMPTS", "SOURCES", "BANS", ""], &rows)
        + &more(rows.len(), report.networks.len(), "networks")
}

fn sources(report: &Report, zone: &TimeZone, terminal: bool) -> String {
    let rows: Vec<_> = report
        .guessers
        .iter()
        .take(ROWS)
        .map(|guesser| {
            let time = |at| {
                if terminal {
                    minute(at, zone)
                } else {
                    text::time(crate::jail::usec(at))
                }
            };
            [
                guesser.source.to_string(),
                number_of(guesser.attempts),
                number_of(guesser.names),
                time(guesser.first),
                time(guesser.last),
            ]
        })
        .collect();
    titled(["SOURCE", "ATTEMPTS", "NAMES", "FIRST", "LAST"], &rows)
        + &more(rows.len(), report.guessers.len(), "sources")
}

fn bans(report: &Report, terminal: bool) -> String {
    let lengths = report.bans.lengths;
    let most = lengths.iter().copied().max().unwrap_or(0);
    let rows: Vec<_> = LENGTHS
        .iter()
        .zip(lengths)
        .filter(|(_, bans)| *bans > 0)
        .map(|((_, name), bans)| {
            [
                (*name).to_owned(),
                number_of(bans),
                bar(bans, most, terminal),
            ]
        })
        .collect();
    titled(["BANS LAST", "BANS", ""], &rows)
}

fn returners(report: &Report, zone: &TimeZone) -> String {
    let returners = report.bans.returners();
    let rows: Vec<_> = returners
        .iter()
        .take(ROWS)
        .map(|(source, banned)| {
            [
                source.to_string(),
                number_of(banned.bans),
                minute(banned.first, zone),
                minute(banned.last, zone),
                span(banned.last, banned.until),
            ]
        })
        .collect();
    titled(["CAME BACK", "BANS", "FIRST", "LAST", "LAST FOR"], &rows)
        + &more(rows.len(), returners.len(), "sources")
}

fn logins(report: &Report, zone: &TimeZone) -> String {
    let rows: Vec<_> = report
        .logins
        .iter()
        .take(ROWS)
        .map(|login| {
            [
                login.source.to_string(),
                name(&login.user, io::stdout().is_terminal()),
                number_of(login.logins),
                minute(login.last, zone),
            ]
        })
        .collect();
    let table = titled(
        ["LOGGED IN THOUGH BANNED ONCE", "AS", "LOGINS", "LAST"],
        &rows,
    );
    table + &more(rows.len(), report.logins.len(), "logins")
}
