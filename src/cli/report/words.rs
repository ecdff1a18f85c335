//! What a report says in words, on a terminal and on a page alike.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::text;
use crate::jail::usec;
use crate::report::{Report, local};

/// The journal is said to begin late if there is nothing of so much of the time.
const LATE: f64 = 0.1;

/// A number as people read it: `12,345`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// So many things: `1 ban`, `2 bans`.
pub(super) fn some(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// How many of a list.
pub(super) fn len<T>(list: &[T]) -> u64 {
    list.len() as u64
}

/// A part of a whole: `17 %`.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    match (part * 200 + whole) / (2 * whole) {
        0 if part > 0 => "< 1 %".to_owned(),
        percent => format!("{percent} %"),
    }
}

/// A span of time, in the two largest units that it has.
pub(super) fn span(from: Timestamp, until: Timestamp) -> String {
    let usec = until.duration_since(from).as_micros().max(0).unsigned_abs();
    // Entries are written a moment after what they tell of.
    let seconds = u64::try_from(usec.saturating_add(500_000) / 1_000_000).unwrap_or(u64::MAX);
    text::span(seconds.saturating_mul(1_000_000))
}

/// A span of time, in words: `7 days`, `36 hours`.
fn long_span(from: Timestamp, until: Timestamp) -> String {
    let minutes = until.duration_since(from).as_secs().max(0).unsigned_abs() / 60;
    match minutes {
        0..=119 if minutes != 60 => some(minutes, "minute", "minutes"),
        0..=2879 => some(minutes / 60, "hour", "hours"),
        // A week in which the clock was changed is one all the same.
        _ => some((minutes + 720) / 1440, "day", "days"),
    }
}

/// A time without its date's year and its seconds, for tables.
pub(super) fn minute(at: Timestamp, zone: &TimeZone) -> String {
    local(at, zone).strftime("%b %-d, %H:%M").to_string()
}

/// What the report is about: `2026-11-15 10:00 to 2026-11-22 10:00 (+01:00)`.
pub(super) fn period(report: &Report, zone: &TimeZone) -> String {
    let [since, until] = [report.since, report.until].map(|at| local(at, zone));
    format!(
        "{} to {}",
        since.strftime("%Y-%m-%d %H:%M"),
        until.strftime("%Y-%m-%d %H:%M (%:z)")
    )
}

/// The report in a sentence.
pub(super) fn headline(report: &Report) -> String {
    let time = long_span(report.since, report.until);
    if report.entries == 0 {
        return format!(
            "No entry of the mail units in these {time}: is this the right journal, and the right time (--since)?"
        );
    }
    let at = report
        .host
        .as_ref()
        .map_or_else(String::new, |host| format!(" at {}", shown(host)));
    if report.attempts == 0 {
        return format!("Nobody guessed a password{at} in {time}.");
    }
    let who = some(len(&report.guessers), "source", "sources");
    let attempts = some(report.attempts, "attempt", "attempts");
    let accounts = some(report.account_count as u64, "account", "accounts");
    let least = if report.forgotten { "at least " } else { "" };
    let bans = match report.bans.made {
        0 => "nobody was banned".to_owned(),
        1 => "1 ban was made".to_owned(),
        made => format!("{} bans were made", number(made)),
    };
    format!(
        "In {time}, {who} made {attempts} to guess a password of {least}{accounts}{at}; {bans}."
    )
}

/// What must be known to read the numbers.
pub(super) fn remarks(report: &Report, zone: &TimeZone) -> Vec<String> {
    let mut remarks = Vec::new();
    let all = report.until.duration_since(report.since).as_secs_f64();
    if let Some(first) = report.first
        && first.duration_since(report.since).as_secs_f64() > LATE * all
    {
        let first = text::time(usec(first));
        remarks.push(format!("The journal has nothing before {first}."));
    }
    if report.attempts > 0 && report.bans.made == 0 {
        let bans = &report.bans;
        remarks.push(if bans.observed > 0 {
            format!(
                "Jails that only observe would have made {}.",
                some(bans.observed, "ban", "bans")
            )
        } else {
            "The agent has told of no ban in this time: it did not run, or there was no reason for one."
                .to_owned()
        });
    }
    if report.bans.ignored > 0 {
        let ignored = some(report.bans.ignored, "ban was", "bans were");
        remarks.push(format!(
            "{ignored} not made, since the source is never banned (\"ignore\")."
        ));
    }
    if report.bans.lifted > 0 {
        let lifted = some(report.bans.lifted, "ban was", "bans were");
        remarks.push(format!("{lifted} lifted by an administrator."));
    }
    if let Some(peak) = report.axis.bars.iter().max_by_key(|bar| bar.attempts)
        && peak.attempts > 0
    {
        remarks.push(format!(
            "The busiest {}: {}, from {}.",
            report.axis.step_name(),
            some(peak.attempts, "attempt", "attempts"),
            minute(peak.from, zone),
        ));
    }
    if report.customers > 0 {
        remarks.push(format!(
            "{} of customers under their own names, such as a phone with an old password, are not among them.",
            some(report.customers, "failure", "failures")
        ));
    }
    if report.forgotten {
        remarks.push(
            "More names or sources were tried than can be told apart: small numbers may be too low."
                .to_owned(),
        );
    }
    remarks
}

/// An attacker's text as it may be shown: what would turn the line around, or is no text, is written as an escape.
pub(super) fn shown(text: &str) -> String {
    text.escape_debug()
        .to_string()
        .replace("\\'", "'")
        .replace("\\\"", "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(number(n), text);
        }
        assert_eq!(
            [
                percent(1, 3),
                percent(1, 1000),
                percent(0, 5),
                percent(1, 0)
            ],
            ["33 %", "< 1 %", "0 %", "–"]
        );
        assert_eq!(some(1, "ban", "bans"), "1 ban");
    }

    #[test]
    fn what_attackers_write_turns_no_line_around() {
        assert_eq!(shown("it's \"bob\" é 漢"), "it's \"bob\" é 漢");
        assert_eq!(shown("a\u{202e}b\u{200f}\n"), "a\\u{202e}b\\u{200f}\\n");
    }
}
