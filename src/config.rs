//! What the admin wrote → checked settings.
//!
//! In stages: files are found in systemd's order, each is read into a fragment whose values are checked on their own,
//! fragments are laid over one another, and the whole is checked. Every error is one line: file, line, key, value, and
//! what is allowed.

mod files;
mod fragment;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod value;

pub use files::places;
pub(crate) use value::{MAX_LIMIT, Span};
pub use value::{MAX_TIME, span};

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::accounts;
use crate::ban::JailName;
use crate::filter::{self, Filter, Filters};
use crate::firewall;
use crate::history::{Crowd, Growth};
use crate::ignore;
use crate::jail::Rule;
use crate::source::Prefixes;
use files::File;
use fragment::{Fragment, Merged, Shared};
use value::{Mode, Name};

/// The settings as they are where nobody wrote any; `make install` puts them, commented out, into `/etc/banjour`.
const DEFAULTS: &str = include_str!("config/banjour.toml");

/// The jail of bans that an admin makes without naming one.
pub const MANUAL: &str = "manual";

/// Checked settings.
#[derive(Debug)]
pub struct Config {
    /// Who is never banned.
    pub ignore: ignore::Settings,
    /// How much of an address is the client.
    pub prefixes: Prefixes,
    /// Who keeps banned sources out, and how.
    pub firewall: firewall::Settings,
    /// For how long a login makes its user a customer where it came from.
    pub trust_time: Duration,
    /// When an account is under attack.
    pub accounts: accounts::Rule,
    /// When a whole network is banned.
    pub crowd: Crowd,
    /// The jails that are enabled.
    pub jails: BTreeMap<JailName, JailConfig>,
    /// The filters that these jails use.
    pub filters: Arc<Filters>,
    /// Those that no jail uses: what they know is known, though nobody counts it.
    pub others: Arc<Filters>,
    /// When the files were read.
    pub read_at: Timestamp,
}

/// One jail's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JailConfig {
    /// The filters whose evidence it counts.
    pub filters: BTreeSet<String>,
    /// When it bans, and for how long.
    pub rule: Rule,
    /// How bans of those who come back grow.
    pub growth: Growth,
    /// It tells what it would do, and bans nobody.
    pub observes: bool,
}

/// Settings that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is there but can't be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file says what is not allowed.
    #[error("{}:{line}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// Key, value and what is allowed, in one line.
        message: String,
    },
    /// A filter that a jail uses is faulty.
    #[error("{}: {error}", path.display())]
    Filter {
        /// The filter's file.
        path: PathBuf,
        /// What is wrong with it.
        error: String,
    },
    /// There is no such filter.
    #[error("there is no filter {name:?}; there are: {known}")]
    NoSuchFilterHere {
        /// The name.
        name: String,
        /// The names that are allowed.
        known: String,
    },
    /// A jail names a filter that there is not.
    #[error("{}: jail.{jail}.filters: there is no filter {name:?}; there are: {known}", path.display())]
    NoSuchFilter {
        /// The file that names it.
        path: PathBuf,
        /// The jail.
        jail: String,
        /// The name.
        name: String,
        /// The names that are allowed.
        known: String,
    },
}

impl Config {
    /// Reads the configuration below `root` (`/` but in tests).
    ///
    /// # Errors
    /// At the first file, value or filter that can't be used.
    pub fn load(root: &Path) -> Result<Self, Error> {
        let now = Timestamp::now();
        Self::checked(files::settings(root)?, &files::filters(root)?, now)
    }

    /// Reads one file, to try it, in the place of the host's settings.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn try_file(root: &Path, path: &Path) -> Result<Self, Error> {
        let now = Timestamp::now();
        let text = std::fs::read_to_string(path).map_err(|error| Error::Read {
            path: path.to_owned(),
            error,
        })?;
        let settings = vec![(path.to_owned(), text)];
        Self::checked(settings, &files::filters(root)?, now)
    }

    /// Compiles the filters of these names, or all that there are.
    ///
    /// # Errors
    /// When there is none of that name, or it is faulty.
    pub fn filters(root: &Path, names: &[String]) -> Result<Filters, Error> {
        let available = files::filters(root)?;
        if let Some(name) = names.iter().find(|name| !available.contains_key(*name)) {
            return Err(Error::NoSuchFilterHere {
                name: name.clone(),
                known: listed(available.keys()),
            });
        }
        let wanted = available
            .iter()
            .filter(|(name, _)| names.is_empty() || names.contains(*name));
        wanted
            .map(|(name, (path, text))| Ok((name.as_str().into(), compile(name, path, text)?)))
            .collect()
    }

    /// Settings of these files, with these filters by name.
    fn checked(
        files: Vec<File>,
        available: &BTreeMap<String, File>,
        read_at: Timestamp,
    ) -> Result<Self, Error> {
        let mut shared = Shared::default();
        let mut merged: BTreeMap<Name, Merged> = BTreeMap::new();
        let defaults = (PathBuf::from("(defaults)"), DEFAULTS.to_owned());
        for (path, text) in std::iter::once(defaults).chain(files) {
            let fragment = parse(&path, &text)?;
            shared.lay_over(&fragment);
            for (name, over) in fragment.jail {
                merged.entry(name).or_default().lay_over(over, &path);
            }
        }

        let mut jails = BTreeMap::new();
        let mut filters = Filters::new();
        for (Name(name), Merged { jail, filters_from }) in merged {
            if jail.enabled == Some(false) {
                continue;
            }
            let used: BTreeSet<String> = jail.filters.iter().flatten().cloned().collect();
            for filter in &used {
                let Some((path, text)) = available.get(filter) else {
                    return Err(Error::NoSuchFilter {
                        path: filters_from,
                        jail: name,
                        name: filter.clone(),
                        known: listed(available.keys()),
                    });
                };
                if !filters.contains_key(filter.as_str()) {
                    filters.insert(filter.as_str().into(), compile(filter, path, text)?);
                }
            }
            jails.insert(
                name.into(),
                JailConfig {
                    filters: used,
                    rule: jail.rule(),
                    growth: jail.growth(),
                    observes: jail.mode.unwrap_or(shared.mode) == Mode::Observe,
                },
            );
        }
        // A faulty one that nobody uses is nobody's concern.
        let unused = available
            .iter()
            .filter(|(name, _)| !filters.contains_key(name.as_str()));
        let others = unused
            .filter_map(|(name, (path, text))| {
                Some((name.as_str().into(), compile(name, path, text).ok()?))
            })
            .collect();
        Ok(Self {
            ignore: shared.ignore,
            prefixes: shared.prefixes,
            firewall: shared.firewall,
            trust_time: shared.trust_time,
            accounts: shared.accounts,
            crowd: shared.crowd,
            jails,
            filters: Arc::new(filters),
            others: Arc::new(others),
            read_at,
        })
    }
}

fn parse(path: &Path, text: &str) -> Result<Fragment, Error> {
    let at = |span: Option<std::ops::Range<usize>>, message: &str| Error::Content {
        path: path.to_owned(),
        line: span.map_or(1, |span| line_of(text, span.start)),
        message: in_one_line(message),
    };
    let document = toml::Deserializer::parse(text).map_err(|e| at(e.span(), e.message()))?;
    serde_path_to_error::deserialize(document).map_err(|e| {
        let key = e.path().to_string();
        let e = e.into_inner();
        at(e.span(), &format!("{key}: {}", e.message()))
    })
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn compile(name: &str, path: &Path, text: &str) -> Result<Filter, Error> {
    Filter::compile(name, text).map_err(|error| match error {
        filter::Error::Toml(error) => Error::Content {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| line_of(text, span.start)),
            message: in_one_line(error.message()),
        },
        error => Error::Filter {
            path: path.to_owned(),
            error: in_one_line(&error.to_string()),
        },
    })
}

/// A key in quotation marks may have any character in it, and is repeated.
fn in_one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for c in message.chars() {
        if c.is_control() {
            line.extend(c.escape_debug());
        } else {
            line.push(c);
        }
    }
    line
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text
        .bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
}

#[cfg(test)]
mod tests;
