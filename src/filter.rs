//! Entry → evidence: what one journal entry says of somebody's login.
//!
//! A filter is data: a TOML file with the units and users whose entries it may believe, and named patterns. The client
//! writes much of a message (names, above all), so patterns are anchored at both ends and take the address from a place
//! that the client can't reach; each shipped file says how. See `filter/dovecot.toml`.

mod evidence;
mod explain;
mod looks;
mod pattern;
mod unit;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, meta};
use serde::Deserialize;

pub use evidence::{Client, Evidence, Finding, Outcome, Trouble};
pub use explain::Explanation;
pub use looks::{Looks, Shapes, shape, shown};
use pattern::{Pattern, PatternFile, one_line};
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

/// Longest message that is read, in bytes. Postfix cuts its lines at 2,000 (`msg_syslog(3)`), Dovecot parts them at 4,096
/// (`PIPE_BUF`, in `internal_send_split` of src/lib/failures.c). PAM's modules can write more, of attempts that these two
/// tell of as well. A pattern's captures can cost 70 ns a byte, so that nothing longer is worth a look.
pub const MAX_MESSAGE: usize = 8 * 1024;

/// All patterns of a filter together are an automaton of no more than this many bytes; the largest one that is shipped takes a
/// fifth of it. Where no quicker way is left, each byte of a message costs a look at all of it.
const MAX_AUTOMATON: usize = 1024 * 1024;

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
        problem: String,
    },
}

/// A compiled filter.
#[derive(Debug)]
pub struct Filter {
    name: Arc<str>,
    units: Vec<Unit>,
    users: Vec<String>,
    /// All patterns in one automaton. Of those that match it finds the first.
    all: meta::Regex,
    patterns: Vec<Pattern>,
}

/// A message that a filter understands, whoever wrote it.
#[derive(Clone, Copy, Debug)]
pub struct Understood<'a> {
    filter: &'a Filter,
    pattern: &'a Pattern,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilterFile {
    #[serde(rename = "description")]
    _description: String,
    units: Vec<Unit>,
    users: Vec<String>,
    /// Pieces of regular expressions: `{name}` in a pattern, or in another piece, stands for one.
    #[serde(default)]
    parts: BTreeMap<String, String>,
    pattern: Vec<PatternFile>,
}

impl Filter {
    /// Compiles the text of a filter file.
    ///
    /// # Errors
    /// When the text is not TOML, has unknown keys, a pattern does not compile or lacks a capture that its kind needs.
    pub fn compile(name: &str, text: &str) -> Result<Self, Error> {
        let mut file: FilterFile = toml::from_str(text)?;
        for pattern in &mut file.pattern {
            pattern.expand(&file.parts)?;
        }
        let sources: Vec<_> = file.pattern.iter().map(|pattern| &pattern.regex).collect();
        let patterns = file
            .pattern
            .iter()
            .map(Pattern::compile)
            .collect::<Result<_, _>>()?;
        let all = meta::Builder::new()
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .configure(
                meta::Config::new()
                    .utf8_empty(false)
                    .which_captures(WhichCaptures::Implicit)
                    .nfa_size_limit(Some(MAX_AUTOMATON)),
            )
            .build_many(&sources)
            .map_err(|e| Error::Regex {
                pattern: "all together".to_owned(),
                error: one_line(&e),
            })?;
        Ok(Self {
            name: name.into(),
            units: file.units,
            users: file.users,
            all,
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

    /// The pattern that a message matches, to be looked for before the entry's other fields are fetched: most messages
    /// match none, and say so by their first bytes.
    #[must_use]
    pub fn understand(&self, message: &[u8]) -> Option<Understood<'_>> {
        if message.len() > MAX_MESSAGE {
            return None;
        }
        let whole = Input::new(message).anchored(Anchored::Yes);
        let found = self.all.search_half(&whole)?;
        Some(Understood {
            filter: self,
            pattern: &self.patterns[found.pattern()],
        })
    }

    /// What the entry says, if this filter may believe it and understands it.
    #[must_use]
    pub fn read(&self, entry: &Entry<'_>) -> Option<Finding> {
        self.understand(entry.message)?.read(entry)
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

impl Understood<'_> {
    /// What the entry with this message says, if the filter may believe who wrote it.
    #[must_use]
    pub fn read(&self, entry: &Entry<'_>) -> Option<Finding> {
        let admitted = self.filter.admits(entry).then_some(self.pattern)?;
        admitted.read(entry, &self.filter.name)
    }
}

/// The filters in use, by name.
pub type Filters = BTreeMap<Arc<str>, Filter>;

/// Whether any of these filters understands a message, whoever wrote it.
#[must_use]
pub fn understood(filters: &Filters, message: &[u8]) -> bool {
    filters
        .values()
        .any(|filter| filter.understand(message).is_some())
}

#[cfg(test)]
mod tests;
