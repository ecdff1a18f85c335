//! Lines, as `tail -f` gives them: for `grep`, for `jq`, and for terminals that can do no better.

use std::time::Duration;

use jiff::Timestamp;
use zbus::Connection;

use super::Ending;
use super::feed::{self, Event};
use super::happening::Happening;
use super::line::clean;
use super::output::Output;
use super::state::{Known, problems_changed};
use crate::bus::BanDetails;
use crate::cli::list::cause;
use crate::cli::text::is_printable;
use crate::cli::{Failure, text};
use crate::jail::usec;

/// Any field of a line; names and texts are far shorter.
const MAX_FIELD: usize = 500;

/// How long lines that are not written yet hold up the end.
const LAST_LINES: Duration = Duration::from_secs(1);

pub(super) async fn run(connection: Connection, json: bool) -> Result<(), Failure> {
    let mut ending = Ending::begin()?;
    let (mut events, _requests) = feed::begin(connection);
    let mut lines = Lines {
        json,
        output: Output::begin()?,
        lost: 0,
        known: Known::default(),
        problems: Vec::new(),
        begun: false,
        gone: false,
    };
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => lines.take(event),
                None => return Err(feed::ended()),
            },
            error = lines.output.failed() => return Err(error.into()),
            () = ending.wait() => {
                lines.output.drain(LAST_LINES);
                return Ok(());
            }
        }
    }
}

struct Lines {
    json: bool,
    output: Output,
    /// Lines that nobody took.
    lost: u64,
    known: Known,
    problems: Vec<String>,
    begun: bool,
    gone: bool,
}

impl Lines {
    fn take(&mut self, event: Event) {
        let at = usec(Timestamp::now());
        match event {
            Event::Here(snapshot) => {
                if self.gone {
                    self.tell(&Happening::Back { at });
                }
                self.gone = false;
                self.problems(snapshot.problems, at);
                for ban in snapshot.overview.bans.into_iter().rev() {
                    self.ban(ban);
                }
                self.begun = true;
            }
            Event::Refreshed(snapshot) => self.problems(snapshot.problems, at),
            Event::Happened(Happening::Ban(ban)) => {
                // What is told before the first answer is new.
                if self.known.is_new(&ban) {
                    self.tell(&Happening::Ban(ban));
                }
            }
            Event::Happened(happening) => self.tell(&happening),
            Event::Gone(text) => {
                if !self.gone {
                    self.tell(&Happening::Gone { at, text });
                }
                self.gone = true;
            }
            Event::Answered(_) => {}
        }
    }

    /// A ban of an overview: news if it was made while we could not hear of it, and not if we had not begun.
    fn ban(&mut self, ban: BanDetails) {
        if self.known.is_new(&ban) && self.begun {
            self.tell(&Happening::Ban(ban));
        }
    }

    fn problems(&mut self, problems: Vec<String>, at: u64) {
        for happening in problems_changed(&self.problems, &problems, at) {
            self.tell(&happening);
        }
        self.problems = problems;
    }

    fn tell(&mut self, happening: &Happening) {
        let line = if self.json {
            json_line(happening)
        } else {
            plain_line(happening)
        };
        if !self.output.write(line.into_bytes()) {
            self.lost += 1;
        } else if self.lost > 0 {
            eprintln!(
                "banjour: {} lines are lost, since nobody read them",
                self.lost
            );
            self.lost = 0;
        }
    }
}

/// Time, kind, source, jail, user, and what else there is to say, with tabs between.
fn plain_line(happening: &Happening) -> String {
    let detail = match happening {
        Happening::Attempt { attempts, .. } | Happening::BanIgnored { attempts, .. } => {
            count(*attempts, "attempt")
        }
        Happening::Ban(ban) => {
            format!("until {}: {}", text::time(ban.until_usec), cause(ban))
        }
        Happening::Unban { reason, .. } => reason.clone(),
        Happening::AccountUnderAttack { sources, .. } => count(*sources, "source"),
        Happening::Problem { text, .. }
        | Happening::Solved { text, .. }
        | Happening::Gone { text, .. } => text.clone(),
        Happening::Back { .. } => String::new(),
    };
    let user = match happening {
        Happening::Ban(ban) => ban.users.join(" "),
        Happening::Attempt { user, .. }
        | Happening::BanIgnored { user, .. }
        | Happening::AccountUnderAttack { user, .. } => user.clone(),
        _ => String::new(),
    };
    let fields = [
        text::time(happening.at()),
        happening.kind().to_owned(),
        happening.source().to_owned(),
        happening.jail().to_owned(),
        user,
        detail,
    ];
    fields.map(|field| clean(&field, MAX_FIELD)).join("\t") + "\n"
}

fn count(count: u32, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

/// One object. What a terminal would take for an order is escaped, as JSON may be.
fn json_line(happening: &Happening) -> String {
    let mut line = String::new();
    for c in happening.json().to_string().chars() {
        if is_printable(c) {
            line.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let escaped = format!("\\u{unit:04x}");
                line.push_str(&escaped);
            }
        }
    }
    line + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn hostile() -> Happening {
        Happening::Attempt {
            at: 1_795_350_000_000_000,
            source: "198.18.0.1".to_owned(),
            jail: "dovecot".to_owned(),
            user: "a\tb\u{202e}\u{9b}c\u{e0001}".to_owned(),
            attempts: 2,
        }
    }

    #[test]
    fn a_line_has_six_fields_whatever_the_name() {
        let line = plain_line(&hostile());
        let fields: Vec<_> = line.trim_end().split('\t').collect();
        assert_eq!(fields.len(), 6, "{line}");
        assert_eq!(
            fields[1..],
            [
                "attempt",
                "198.18.0.1",
                "dovecot",
                "a\\u{9}b\\u{202e}\\u{9b}c\\u{e0001}",
                "2 attempts"
            ]
        );
    }

    #[test]
    fn json_keeps_every_character_and_gives_terminals_none() {
        let line = json_line(&hostile());
        assert!(line.trim_end().chars().all(is_printable), "{line}");
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["user"], "a\tb\u{202e}\u{9b}c\u{e0001}");
        assert_eq!(value["event"], "attempt");
        assert_eq!(value["at_usec"], 1_795_350_000_000_000_u64);
    }
}
