//! `banjour test`

use std::io::{self, BufRead, IsTerminal, Read};
use std::path::Path;

use jiff::Timestamp;
use nix::unistd::{Uid, User};
use regex::bytes::Regex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Failure, text, when};
use crate::config::Config;
use crate::filter::{Entry, Explanation, Filter, MAX_MESSAGE, Writer};
use crate::journal::{Entries, Line, Place};

/// What a syslog file or journalctl puts before a message: a time, the host, the program.
const PREFIX: &str = r"^(?-u)(?:[A-Z][a-z]{2} {1,2}[0-9]{1,2} [0-9:]{8}(?:\.[0-9]+)?|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][^ ]+) (?:[^ ]+ )?[^ :\[\]]+(?:\[[0-9]+\])?: ";

const EXAMPLES: &str = r#"Examples:
  banjour test --since -1h                      # what the mail units wrote
  journalctl -u dovecot -o json | banjour test  # what a pipe brings
  banjour test --filter dovecot "imap-login: Login: user=<bob>""#;

/// Arguments of `banjour test`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Messages, with or without the time and host that a log file puts before them [default: standard input, plain or
    /// as "journalctl -o json" writes them]
    #[arg(value_name = "MESSAGE", conflicts_with = "since")]
    messages: Vec<String>,
    /// Try this filter only; may be given several times [default: all that there are]
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Test the entries of this host's journal from here on: "yesterday", "-2h"
    #[arg(long, value_name = "TIME", value_parser = when::parse, allow_hyphen_values = true)]
    since: Option<Timestamp>,
    /// Answer with a JSON object for each message
    #[arg(long)]
    json: bool,
}

/// What `journalctl -o json` writes of an entry.
#[derive(Deserialize)]
struct JsonEntry {
    #[serde(rename = "MESSAGE")]
    message: Option<JsonMessage>,
    #[serde(rename = "_SYSTEMD_UNIT")]
    unit: Option<String>,
    #[serde(rename = "_UID")]
    uid: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum JsonMessage {
    Text(String),
    Bytes(Vec<u8>),
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let refused = |error: &dyn std::fmt::Display| Failure::Refused(error.to_string());
    let filters = Config::filters(Path::new("/"), &arguments.filter).map_err(|e| refused(&e))?;
    let prefix = Regex::new(PREFIX).map_err(|e| refused(&e))?;
    let mut understood = false;
    let mut show = |line: Line| {
        let verdicts: Vec<_> = filters
            .values()
            .map(|filter| verdict(filter, &line))
            .collect();
        understood |= verdicts.iter().any(Verdict::is_match);
        text::print(&if arguments.json {
            as_json(&line, &verdicts)
        } else {
            as_text(&line, &verdicts)
        })
    };
    if let Some(since) = arguments.since {
        let mut entries =
            Entries::open(&Place::Root("/".into()), &filters, since).map_err(|e| refused(&e))?;
        while entries.advance().map_err(|e| refused(&e))?.is_some() {
            show(entries.line().map_err(|e| refused(&e))?)?;
        }
    } else if !arguments.messages.is_empty() {
        for message in &arguments.messages {
            show(from_text(message.as_bytes(), &prefix))?;
        }
    } else if io::stdin().is_terminal() {
        return Err(Failure::Refused(
            "no message; name some, or pipe a log in".to_owned(),
        ));
    } else {
        let mut input = io::stdin().lock();
        while let Some(bytes) = next_line(&mut input)? {
            show(from_json(&bytes).unwrap_or_else(|| from_text(&bytes, &prefix)))?;
        }
    }
    if understood {
        Ok(())
    } else {
        Err(Failure::Refused("no pattern matches".to_owned()))
    }
}

/// What a filter makes of a line.
struct Verdict<'a> {
    filter: &'a str,
    explanation: Explanation,
    /// Whether the filter would believe who wrote it; unknown for a bare message.
    believed: Option<bool>,
}

impl Verdict<'_> {
    fn is_match(&self) -> bool {
        matches!(self.explanation, Explanation::Match { .. })
    }

    fn reach(&self) -> usize {
        match self.explanation {
            Explanation::Match { .. } => usize::MAX,
            Explanation::Nearest { stopped, .. } => stopped,
        }
    }
}

fn verdict<'a>(filter: &'a Filter, line: &Line) -> Verdict<'a> {
    let believed = line.unit.as_deref().map(|unit| {
        let user = line
            .uid
            .and_then(|uid| User::from_uid(Uid::from_raw(uid)).ok().flatten());
        let Some(user) = user else { return false };
        let entry = Entry {
            unit,
            writer: Writer::User(&user.name),
            message: &line.message,
            at: Timestamp::UNIX_EPOCH,
        };
        filter.admits(&entry)
    });
    Verdict {
        filter: filter.name(),
        explanation: filter.explain(&line.message),
        believed,
    }
}

fn as_text(line: &Line, verdicts: &[Verdict<'_>]) -> String {
    let mut lines = vec![printable(&line.message)];
    for verdict in verdicts {
        lines.extend(matched(verdict));
    }
    if lines.len() == 1 {
        lines.extend(
            verdicts
                .iter()
                .max_by_key(|verdict| verdict.reach())
                .map(|verdict| nearest(line, verdict)),
        );
    }
    lines.join("\n") + "\n"
}

fn matched(verdict: &Verdict<'_>) -> Vec<String> {
    let Explanation::Match {
        pattern,
        kind,
        captures,
    } = &verdict.explanation
    else {
        return Vec::new();
    };
    let mut lines = vec![format!("  {}: {pattern:?}, {kind}", verdict.filter)];
    lines.extend(
        captures
            .iter()
            .map(|(name, value)| format!("      {name} = {value:?}")),
    );
    if verdict.believed == Some(false) {
        lines.push("      not believed: the filter does not name this unit and user".to_owned());
    }
    lines
}

fn nearest(line: &Line, verdict: &Verdict<'_>) -> String {
    let Explanation::Nearest { pattern, stopped } = &verdict.explanation else {
        return String::new();
    };
    let (followed, rest) = line.message.split_at((*stopped).min(line.message.len()));
    let stop = if rest.is_empty() {
        "the end: it wants more".to_owned()
    } else {
        format!("\"{}\"", printable(rest))
    };
    format!(
        "  no match; nearest is {}: {pattern:?}\n      it follows   \"{}\"\n      and stops at {stop}",
        verdict.filter,
        printable(followed),
    )
}

fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}

fn as_json(line: &Line, verdicts: &[Verdict<'_>]) -> String {
    let verdicts: Vec<Value> = verdicts
        .iter()
        .map(|Verdict { filter, explanation, believed }| match explanation {
            Explanation::Match { pattern, kind, captures } => {
                let captures: serde_json::Map<_, _> =
                    captures.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
                json!({ "filter": filter, "pattern": pattern, "kind": kind, "captures": captures, "believed": believed })
            }
            Explanation::Nearest { pattern, stopped } => {
                json!({ "filter": filter, "nearest": pattern, "stopped": stopped })
            }
        })
        .collect();
    let message = String::from_utf8_lossy(&line.message);
    format!("{}\n", json!({ "message": message, "filters": verdicts }))
}

fn from_text(bytes: &[u8], prefix: &Regex) -> Line {
    let start = prefix.find(bytes).map_or(0, |prefix| prefix.end());
    Line {
        message: bytes[start..].to_owned(),
        ..Line::default()
    }
}

fn from_json(bytes: &[u8]) -> Option<Line> {
    let entry: JsonEntry = serde_json::from_slice(bytes).ok()?;
    let message = match entry.message? {
        JsonMessage::Text(text) => text.into_bytes(),
        JsonMessage::Bytes(bytes) => bytes,
    };
    Some(Line {
        message,
        unit: entry.unit,
        uid: entry.uid.and_then(|uid| uid.parse().ok()),
        ..Line::default()
    })
}

/// The next line without its end; what is longer than any message is cut off.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    // JSON may write a byte as four characters.
    let limit = u64::try_from(8 * MAX_MESSAGE).unwrap_or(u64::MAX);
    if input.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else {
        input.skip_until(b'\n')?;
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_log_file_puts_before_a_message_is_taken_off() {
        let prefix = Regex::new(PREFIX).unwrap();
        for before in [
            "",
            "Nov 22 14:53:37 mail postfix/smtpd[123]: ",
            "Nov  2 14:53:37.771179 mail dovecot: ",
            "Nov 2 14:53:37 mail dovecot[7]: ",
            "2026-11-22T14:53:37.771179+01:00 mail postfix/submission/smtpd[7]: ",
        ] {
            let line = from_text(
                format!("{before}warning: x[192.0.2.7]: SASL").as_bytes(),
                &prefix,
            );
            assert_eq!(line.message, b"warning: x[192.0.2.7]: SASL", "{before}");
        }
    }

    #[test]
    fn entries_come_as_journalctl_writes_them() {
        let line =
            from_json(br#"{"MESSAGE":[120,255],"_UID":"0","_SYSTEMD_UNIT":"dovecot.service"}"#)
                .unwrap();
        assert_eq!((line.message, line.uid), (vec![120, 255], Some(0)));
        assert!(from_json(b"imap-login: x").is_none());
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let text = format!("{}\nnext\n", "x".repeat(9 * MAX_MESSAGE));
        let mut input = text.as_bytes();
        assert_eq!(
            next_line(&mut input).unwrap().unwrap().len(),
            8 * MAX_MESSAGE
        );
        assert_eq!(next_line(&mut input).unwrap().unwrap(), b"next");
        assert!(next_line(&mut input).unwrap().is_none());
    }
}
