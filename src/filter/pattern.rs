//! One pattern of a filter: a regular expression, and what its match means.

use std::collections::BTreeMap;
use std::fmt;
use std::str;
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::{Captures, Regex, RegexBuilder};
use serde::Deserialize;

use super::{Client, Entry, Error, Evidence, Finding, Outcome, Trouble};
use crate::config::Span;
use crate::source::Source;
use crate::tally::Witness;

/// A user name in evidence is cut to this many characters: it is the attacker's own text, and kept in memory.
const MAX_USER: usize = 64;

/// A session's name is cut to this many characters; Dovecot's has 16.
const MAX_SESSION: usize = 40;

/// A SASL mechanism's name has no more characters (RFC 4422), a service's none.
const MAX_METHOD: usize = 20;

/// A hash has no more characters than SHA-1 in hexadecimal.
const MAX_HASH: usize = 40;

/// The admin is shown this much of a message that tells of the server's troubles.
const MAX_TROUBLE: usize = 200;

/// Trouble is thought to explain failures for this long: Dovecot makes a client that comes again and again wait for up to
/// 17 s, and Postfix tells of the failure then.
const EXPLAINS: Duration = Duration::from_secs(30);

/// Most attempts that a single entry may tell of. Dovecot closes a connection long before.
const MAX_ATTEMPTS: u32 = 1000;

/// A regular expression does not grow beyond this many bytes by its parts.
const MAX_REGEX: usize = 64 * 1024;

/// Compiled, a pattern is an automaton of no more than this many bytes; the largest one that is shipped takes a tenth of it.
const MAX_COMPILED: usize = 256 * 1024;

/// The captures that a pattern may have. `method` and `service` are for people who read (`banjour test`, `banjour report`).
const CAPTURES: [&str; 10] = [
    "address", "attempts", "back", "begun", "method", "password", "service", "session", "unknown",
    "user",
];

/// A pattern as it stands in a filter's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PatternFile {
    name: String,
    kind: Kind,
    #[serde(default)]
    unsure: bool,
    explains: Option<Span>,
    /// What the client wanted to use, where no capture tells: this program serves nothing else.
    service: Option<String>,
    pub(super) regex: String,
}

/// What a pattern's match means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// A program that talks to the client tells of failures.
    Front,
    /// A password database tells of a failure; the capture `back` names it.
    Back,
    /// A name was refused before any password check.
    Refused,
    /// Somebody logged in.
    Success,
    /// The server could not check a password.
    Trouble,
    /// It looks like a failure and is none; later patterns are not tried.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) name: String,
    pub(super) regex: Regex,
    pub(super) kind: Kind,
    unsure: bool,
    explains: Duration,
    service: Option<String>,
}

impl PatternFile {
    /// Puts parts in the place of their names. What no part has the name of is left as it is; `{2,3}` is no name.
    pub(super) fn expand(&mut self, parts: &BTreeMap<String, String>) -> Result<(), Error> {
        // As often as parts can stand in parts, unless one stands in itself.
        for _ in parts {
            for (name, part) in parts {
                let place = format!("{{{name}}}");
                let grows = self.regex.matches(&place).count() * part.len();
                if self.regex.len() + grows > MAX_REGEX {
                    return Err(Error::Pattern {
                        pattern: self.name.clone(),
                        problem: format!("with its parts, it is longer than {MAX_REGEX} bytes"),
                    });
                }
                self.regex = self.regex.replace(&place, part);
            }
        }
        Ok(())
    }

    /// What is missing, or too much, in a pattern that has these captures.
    fn fault(&self, has: impl Fn(&'static str) -> bool) -> Option<&'static str> {
        let (kind, trouble) = (self.kind, self.kind == Kind::Trouble);
        let faults = [
            (
                !matches!(kind, Kind::Trouble | Kind::Nothing) && !has("address"),
                "there is no capture (?<address>…)",
            ),
            (
                !trouble && (kind == Kind::Back) != has("back"),
                "a capture (?<back>…), the password database's name, belongs to kind \"back\" or \"trouble\"",
            ),
            (
                kind != Kind::Back && has("password"),
                "a capture (?<password>…), a hash, belongs to kind \"back\"",
            ),
            (
                trouble && has("address") != has("back"),
                "(?<address>…), whose password could not be checked, and (?<back>…), the password database's name, go together",
            ),
            (
                kind != Kind::Back && has("unknown"),
                "a capture (?<unknown>…) is a password database's word: kind \"back\"",
            ),
            (
                kind != Kind::Front && !trouble && self.unsure,
                "\"unsure\" is for kinds \"front\" and \"trouble\"; a password database always is",
            ),
            (
                !trouble && self.explains.is_some(),
                "\"explains\" is for kind \"trouble\"",
            ),
            (
                trouble && has("address") && (self.unsure || self.explains.is_some()),
                "\"unsure\" and \"explains\" are for trouble that is everybody's: without (?<address>…)",
            ),
        ];
        faults
            .into_iter()
            .find_map(|(is_so, fault)| is_so.then_some(fault))
    }
}

impl Pattern {
    pub(super) fn compile(file: &PatternFile) -> Result<Self, Error> {
        let refuse = |problem: String| Error::Pattern {
            pattern: file.name.clone(),
            problem,
        };
        let regex = RegexBuilder::new(&file.regex)
            .unicode(false)
            .size_limit(MAX_COMPILED)
            .build()
            .map_err(|e| Error::Regex {
                pattern: file.name.clone(),
                error: one_line(&e),
            })?;
        if !file.regex.starts_with('^') {
            return Err(refuse(
                "a pattern starts with \"^\": what stands before could be the attacker's text"
                    .to_owned(),
            ));
        }
        let captures: Vec<&str> = regex.capture_names().flatten().collect();
        if let Some(stranger) = captures.iter().find(|name| !CAPTURES.contains(name)) {
            let known = CAPTURES.join(", ");
            return Err(refuse(format!(
                "there is no capture (?<{stranger}>…); there are {known}"
            )));
        }
        if let Some(fault) = file.fault(|name| captures.contains(&name)) {
            return Err(refuse(fault.to_owned()));
        }
        Ok(Self {
            name: file.name.clone(),
            regex,
            kind: file.kind,
            unsure: file.unsure,
            explains: file.explains.map_or(EXPLAINS, |span| span.0),
            service: file.service.clone(),
        })
    }

    /// What the entry says, by this pattern.
    pub(super) fn read(&self, entry: &Entry<'_>, filter: &Arc<str>) -> Option<Finding> {
        let captures = self.regex.captures(entry.message)?;
        let (at, filter) = (entry.at, Arc::clone(filter));
        if self.kind == Kind::Trouble {
            let client = match captures.name("address") {
                Some(_) => Some(client(&captures)?),
                None => None,
            };
            return Some(Finding::Trouble(Trouble {
                at,
                filter,
                client,
                explains: self.explains,
                deceives: self.unsure,
                message: readable(entry.message, MAX_TROUBLE).unwrap_or_default(),
            }));
        }
        let outcome = self.outcome(&captures)?;
        Some(Finding::Evidence(Evidence {
            at,
            filter,
            source: address(&captures)?,
            user: readable_text(&captures, "user", MAX_USER),
            session: readable_text(&captures, "session", MAX_SESSION),
            password: readable_text(&captures, "password", MAX_HASH),
            service: readable_text(&captures, "service", MAX_METHOD)
                .or_else(|| self.service.clone()),
            method: readable_text(&captures, "method", MAX_METHOD),
            outcome,
        }))
    }

    fn outcome(&self, captures: &Captures<'_>) -> Option<Outcome> {
        let back = || Some(text(captures, "back")?.into());
        let witness = match self.kind {
            Kind::Nothing | Kind::Trouble => return None,
            Kind::Success => return Some(Outcome::Success),
            Kind::Front if self.unsure => Witness::UnsureFront,
            Kind::Front => Witness::Front,
            Kind::Refused => Witness::Refused,
            Kind::Back if captures.name("unknown").is_some() => Witness::Unknown(back()?),
            Kind::Back => Witness::Back(back()?),
        };
        // Of the attempts that were `begun`, the last one came to nothing.
        let attempts = match (text(captures, "attempts"), text(captures, "begun")) {
            (Some(digits), _) => number(digits),
            (None, Some(digits)) => number(digits).saturating_sub(1),
            (None, None) => 1,
        };
        (attempts > 0).then_some(Outcome::Failure { witness, attempts })
    }
}

impl Kind {
    /// As it stands in the file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Back => "back",
            Self::Refused => "refused",
            Self::Success => "success",
            Self::Trouble => "trouble",
            Self::Nothing => "nothing",
        }
    }
}

fn client(captures: &Captures<'_>) -> Option<Client> {
    Some(Client {
        source: address(captures)?,
        user: readable_text(captures, "user", MAX_USER),
        session: captures.name("session").is_some(),
        back: text(captures, "back")?.into(),
    })
}

fn address(captures: &Captures<'_>) -> Option<Source> {
    text(captures, "address")?.parse().ok()
}

fn text<'a>(captures: &Captures<'a>, name: &str) -> Option<&'a str> {
    str::from_utf8(captures.name(name)?.as_bytes()).ok()
}

fn readable_text(captures: &Captures<'_>, name: &str, max: usize) -> Option<String> {
    readable(captures.name(name)?.as_bytes(), max)
}

fn number(digits: &str) -> u32 {
    digits
        .parse::<u32>()
        .map_or(MAX_ATTEMPTS, |n| n.min(MAX_ATTEMPTS))
}

/// The first `max` characters, without control characters; `None` if there are none.
fn readable(bytes: &[u8], max: usize) -> Option<String> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * max)]);
    let text: String = text.chars().filter(|c| !c.is_control()).take(max).collect();
    (!text.is_empty()).then_some(text)
}

/// The regex crate draws its errors over several lines; the last one says what is wrong.
pub(super) fn one_line(error: &impl fmt::Display) -> String {
    error
        .to_string()
        .lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .to_owned()
}
