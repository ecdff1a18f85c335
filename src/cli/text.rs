//! How things are shown: tables on a terminal, tabs in a pipe; times as people read them.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::Value;

use super::Failure;

/// Characters of one line of somebody else's that are shown.
const MAX_PRINTED: usize = 1000;

/// Headings, and what answers the question.
pub(super) const STRONG: Style = Style::new().bold();
/// What needs the reader.
pub(super) const ALARM: Style = AnsiColor::Red.on_default().bold();
/// What is well.
pub(super) const CALM: Style = AnsiColor::Green.on_default();

/// What could be better, or is not known.
pub(super) const HINT: Style = AnsiColor::Yellow.on_default();

/// A text in a style. [`print`] takes styles away where nobody sees them, or wants to (`NO_COLOR`).
pub(super) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Writes to standard output.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    Ok(anstream::stdout().write_all(text.as_bytes())?)
}

/// Whether a person reads.
pub(super) fn on_terminal() -> bool {
    io::stdout().is_terminal()
}

/// One object on one line, for programs; indented for people.
pub(super) fn print_json(value: &Value) -> Result<(), Failure> {
    let text = if on_terminal() {
        format!("{value:#}\n")
    } else {
        format!("{value}\n")
    };
    Ok(io::stdout().write_all(text.as_bytes())?)
}

/// Rows with a heading: aligned on a terminal, with tabs between the cells in a pipe.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    if !on_terminal() {
        let lines =
            std::iter::once(heading.join("\t")).chain(rows.iter().map(|row| row.join("\t")));
        return lines.map(|line| line + "\n").collect();
    }
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(heading);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut lines = table.lines().map(|line| line.trim_end().to_owned());
    let heading = lines.next().map(|line| styled(STRONG, &line));
    heading
        .into_iter()
        .chain(lines)
        .map(|line| line + "\n")
        .collect()
}

/// A time in µs since the epoch, local, with its offset.
pub(super) fn time(usec: u64) -> String {
    local(timestamp(usec))
}

/// A time, local, with its offset.
pub(super) fn local(at: Timestamp) -> String {
    Zoned::new(at, TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S %:z")
        .to_string()
}

/// How long a time is past: `5min ago`.
pub(super) fn since(usec: u64, now: Timestamp) -> String {
    let past = now.duration_since(timestamp(usec)).as_secs().max(0);
    format!("{} ago", span(past.unsigned_abs() * 1_000_000))
}

/// What somebody else wrote, without what a terminal would obey, and not endless.
pub(super) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    for c in text.chars().take(MAX_PRINTED) {
        if is_printable(c) {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
    }
    out
}

/// Whether Rust prints it as it is: no control, format, private, surrogate or unassigned character, no odd space.
pub(super) fn is_printable(c: char) -> bool {
    matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1
}

/// How far a time lies ahead: `in 59min`.
pub(super) fn ahead(usec: u64, now: Timestamp) -> String {
    let seconds = timestamp(usec)
        .duration_since(now)
        .as_secs()
        .max(0)
        .unsigned_abs();
    format!("in {}", span(seconds * 1_000_000))
}

/// A span in µs in the two largest units that it has.
pub(super) fn span(usec: u64) -> String {
    let seconds = usec / 1_000_000;
    let parts = [
        (seconds / 86400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let shown: Vec<String> = parts
        .iter()
        .skip_while(|(n, _)| *n == 0)
        .take(2)
        .filter(|(n, _)| *n > 0)
        .map(|(n, unit)| format!("{n}{unit}"))
        .collect();
    if shown.is_empty() {
        "0s".to_owned()
    } else {
        shown.join(" ")
    }
}

/// A time that was sent in µs since the epoch.
pub(super) fn timestamp(usec: u64) -> Timestamp {
    i64::try_from(usec)
        .ok()
        .and_then(|usec| Timestamp::from_microsecond(usec).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_spelled_out() {
        let shown = printable(b"a\x1b[31mb\xe2\x80\xae\"c\" \xff\xc3\xbc");
        assert_eq!(shown, "a\\u{1b}[31mb\\u{202e}\"c\" \u{fffd}\u{fc}");
        assert_eq!(printable(&[b'x'; 9000]).len(), MAX_PRINTED);
    }

    #[test]
    fn spans_are_short() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1min"),
            (3600, "1h"),
            (3661, "1h 1min"),
            (90061, "1d 1h"),
            (86460, "1d"),
        ] {
            assert_eq!(span(seconds * 1_000_000), text);
        }
    }
}
