//! Entry → evidence: what one journal entry says of somebody's login.
//!
//! A filter is data: a TOML file with the units and users whose entries it may believe, and named patterns. The client
//! writes much of a message (names, above all), so patterns are anchored at both ends and take the address from a place
//! that the client can't reach; each shipped file says how. See `filter/dovecot.toml`.

mod explain;
mod unit;

use std::collections::BTreeMap;
use std::fmt;
use std::str;
use std::sync::Arc;

use jiff::Timestamp;
use regex::bytes::{Captures, Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::Deserialize;

use crate::source::Source;
use crate::tally::Witness;
pub use explain::Explanation;
pub use unit::{NotAUnit, Unit};

/// The filters that come with banjour, by name. `make install` copies them to `/usr/lib/banjour/filters`.
/// Jails use `dovecot` and `postfix-sasl` by default, the others only where an admin says so.
pub const SHIPPED: [(&str, &str); 6] = [
    ("dovecot", include_str!("filter/dovecot.toml")),
    ("dovecot-probe", include_str!("filter/dovecot-probe.toml")),
    ("postfix-probe", include_str!("filter/postfix-probe.toml")),
    ("postfix-reject", include_str!("filter/postfix-reject.toml")),
    ("postfix-sasl", include_str!("filter/postfix-sasl.toml")),
    ("saslauthd", include_str!("filter/saslauthd.toml")),
];

/// Longest message that is read, in bytes: a syslog datagram can't be longer. What is longer is no daemon's line.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// A user name in evidence is cut to this many characters: it is the attacker's own text, and kept in memory.
const MAX_USER: usize = 64;

/// Most attempts that a single entry may tell of. Dovecot closes a connection long before.
const MAX_ATTEMPTS: u32 = 1000;

/// One journal entry, as far as filters look at it. All fields but the message are set by journald itself.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// `_SYSTEMD_UNIT`
    pub unit: &'a str,
    /// Who wrote it, by `_UID`.
    pub writer: Writer<'a>,
    /// `MESSAGE`
    pub message: &'a [u8],
    /// The time at which journald received it.
    pub at: Timestamp,
}

/// Who wrote an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer<'a> {
    /// A user of this host, by name.
    User(&'a str),
    /// Some system account of another host, whose names are not known here.
    SomeDaemon,
}

/// What one entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// When journald received it.
    pub at: Timestamp,
    /// The filter that understood it.
    pub filter: Arc<str>,
    /// The client's address.
    pub source: Source,
    /// The name that the client gave, as it wrote it (without control characters), cut short.
    pub user: Option<String>,
    /// What became of the login.
    pub outcome: Outcome,
    /// The password database that refused does not know the name. Another one may be asked next, and know it.
    pub unknown: bool,
}

/// What became of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A witness says that `attempts` failed.
    Failure {
        /// Who says it.
        witness: Witness,
        /// How many failed, by this entry.
        attempts: u32,
    },
    /// Somebody logged in.
    Success,
}

/// A filter file that can't be used. The message says where and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not TOML, or not the keys and values of a filter.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A regular expression that does not compile.
    #[error("pattern {pattern:?}: {error}")]
    Regex {
        /// The pattern's name.
        pattern: String,
        /// What the compiler says, in one line.
        error: String,
    },
    /// A pattern that can't yield evidence.
    #[error("pattern {pattern:?}: {problem}")]
    Pattern {
        /// The pattern's name.
        pattern: String,
        /// What is missing, or too much.
        problem: &'static str,
    },
}

/// A compiled filter.
#[derive(Debug)]
pub struct Filter {
    name: Arc<str>,
    units: Vec<Unit>,
    users: Vec<String>,
    set: RegexSet,
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    name: String,
    regex: Regex,
    kind: Kind,
    unknown: bool,
}

/// What a pattern's match means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// A program that talks to the client tells of failures.
    Front,
    /// A password database tells of a failure; the capture `back` names it.
    Back,
    /// A name was refused before any password check.
    Refused,
    /// Somebody logged in.
    Success,
    /// It looks like a failure and is none; later patterns are not tried.
    Nothing,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilterFile {
    #[serde(rename = "description")]
    _description: String,
    units: Vec<Unit>,
    users: Vec<String>,
    pattern: Vec<PatternFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatternFile {
    name: String,
    kind: Kind,
    #[serde(default)]
    unknown: bool,
    regex: String,
}

impl Filter {
    /// Compiles the text of a filter file.
    ///
    /// # Errors
    /// When the text is not TOML, has unknown keys, a pattern does not compile or lacks a capture that its kind needs.
    pub fn compile(name: &str, text: &str) -> Result<Self, Error> {
        let file: FilterFile = toml::from_str(text)?;
        let sources = file.pattern.iter().map(|pattern| &pattern.regex);
        let patterns = file
            .pattern
            .iter()
            .map(Pattern::compile)
            .collect::<Result<_, _>>()?;
        let set = RegexSetBuilder::new(sources)
            .unicode(false)
            .build()
            .map_err(|e| Error::Regex {
                pattern: "all together".to_owned(),
                error: one_line(&e),
            })?;
        Ok(Self {
            name: name.into(),
            units: file.units,
            users: file.users,
            set,
            patterns,
        })
    }

    /// The file's name without `.toml`.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The units whose entries this filter reads.
    #[must_use]
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// Whether a message may be evidence, to be asked before the entry's other fields are fetched.
    #[must_use]
    pub fn may_match(&self, message: &[u8]) -> bool {
        message.len() <= MAX_MESSAGE && self.set.is_match(message)
    }

    /// What the entry says, if this filter may believe it and understands it.
    #[must_use]
    pub fn read(&self, entry: &Entry<'_>) -> Option<Evidence> {
        if entry.message.len() > MAX_MESSAGE || !self.admits(entry) {
            return None;
        }
        let first = self.set.matches(entry.message).iter().next()?;
        let pattern = &self.patterns[first];
        let captures = pattern.regex.captures(entry.message)?;
        Some(Evidence {
            unknown: pattern.unknown,
            at: entry.at,
            filter: Arc::clone(&self.name),
            outcome: pattern.outcome(&captures)?,
            source: text(&captures, "address")?.parse().ok()?,
            user: captures
                .name("user")
                .and_then(|user| user_name(user.as_bytes())),
        })
    }

    /// Who runs inside a mail unit is not always the mail server: a `.forward` file and a Sieve script start programs
    /// there, which can log what they like, but not as the daemon's user.
    #[must_use]
    pub fn admits(&self, entry: &Entry<'_>) -> bool {
        let may_write = match entry.writer {
            Writer::User(name) => self.users.iter().any(|user| user == name),
            Writer::SomeDaemon => self.users.iter().any(|user| user != "root"),
        };
        may_write && self.units.iter().any(|unit| unit.matches(entry.unit))
    }
}

impl Pattern {
    fn compile(file: &PatternFile) -> Result<Self, Error> {
        let refuse = |problem| Error::Pattern {
            pattern: file.name.clone(),
            problem,
        };
        let regex = RegexBuilder::new(&file.regex)
            .unicode(false)
            .build()
            .map_err(|e| Error::Regex {
                pattern: file.name.clone(),
                error: one_line(&e),
            })?;
        let has = |capture| regex.capture_names().any(|name| name == Some(capture));
        if !file.regex.starts_with('^') {
            return Err(refuse(
                "a pattern starts with \"^\": what stands before could be the attacker's text",
            ));
        }
        if file.kind != Kind::Nothing && !has("address") {
            return Err(refuse("there is no capture (?<address>…)"));
        }
        if file.unknown && file.kind != Kind::Back {
            return Err(refuse(
                "\"unknown\" is a password database's word: kind \"back\"",
            ));
        }
        if (file.kind == Kind::Back) != has("back") {
            return Err(refuse(
                "a capture (?<back>…), the password database's name, belongs to kind \"back\" and only there",
            ));
        }
        Ok(Self {
            name: file.name.clone(),
            regex,
            kind: file.kind,
            unknown: file.unknown,
        })
    }

    fn outcome(&self, captures: &Captures<'_>) -> Option<Outcome> {
        let witness = match self.kind {
            Kind::Nothing => return None,
            Kind::Success => return Some(Outcome::Success),
            Kind::Front => Witness::Front,
            Kind::Refused => Witness::Refused,
            Kind::Back => Witness::Back(text(captures, "back")?.into()),
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

/// The filters in use, by name.
pub type Filters = BTreeMap<Arc<str>, Filter>;

fn text<'a>(captures: &Captures<'a>, name: &str) -> Option<&'a str> {
    str::from_utf8(captures.name(name)?.as_bytes()).ok()
}

fn number(digits: &str) -> u32 {
    digits
        .parse::<u32>()
        .map_or(MAX_ATTEMPTS, |n| n.min(MAX_ATTEMPTS))
}

fn user_name(bytes: &[u8]) -> Option<String> {
    let name: String = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * MAX_USER)])
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_USER)
        .collect();
    (!name.is_empty()).then_some(name)
}

/// The regex crate draws its errors over several lines; the last one says what is wrong.
fn one_line(error: &impl fmt::Display) -> String {
    error
        .to_string()
        .lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .to_owned()
}

#[cfg(test)]
mod tests;
