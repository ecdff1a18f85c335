//! Who is never banned: the setting `ignore` → a list to look sources up in.
//!
//! An entry is an address, a prefix, a file with one of these or a host name on each line, or a host name. Loopback and
//! the host's own addresses are on the list always. [`List`] is what all this comes to at one moment; [`Follower`] makes
//! another when a file, the answer to a name, or an address of the host changes. What can't be read or resolved any more
//! keeps its last good content.

mod files;
mod follower;
mod list;
mod names;
mod own;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer};

use crate::source::Source;
use files::Files;
pub use follower::Follower;
pub use list::{Ignored, List, Why};

/// Webmail and monitoring on the host itself log in from there.
pub(crate) const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1"];

/// What nobody outside has: RFC 1918, RFC 4193, and link-local (RFC 3927, RFC 4291). Not 100.64.0.0/10 (RFC 6598): behind
/// it are a provider's customers, who are strangers to one another.
const PRIVATE: [&str; 6] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
    "169.254.0.0/16",
    "fe80::/10",
];

/// Names are asked for all at once, and the bus allows a client 128 calls without an answer (`max_replies_per_connection`,
/// dbus-daemon(1)).
const MAX_NAMES: usize = 64;

/// Longest host name (RFC 1035).
const MAX_NAME: usize = 253;
/// Longest part of one.
const MAX_LABEL: usize = 63;

/// As much of a text that is no entry as is worth repeating.
const MAX_QUOTED: usize = 64;

/// What the admin wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `ignore`.
    pub entries: Vec<Entry>,
    /// `ignore-private`: whether private networks are ignored.
    pub private: bool,
}

/// One entry of `ignore`, or of a file that stands there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// An address or a prefix.
    Source(Source),
    /// A file with entries, by its absolute path.
    File(PathBuf),
    /// A host name.
    Name(Name),
}

/// A host name, in lower case and without a dot at its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// The text is no entry.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not an address such as \"192.0.2.7\" or \"2001:db8::7\", nor a prefix such as \"192.0.2.0/24\", a file such \
     as \"/etc/banjour/office\", or a host name such as \"office.example\""
)]
pub struct NotAnEntry(String);

/// The addresses of names, as they were last resolved.
type Answers = BTreeMap<Name, BTreeSet<IpAddr>>;

/// All that a list is made of, as it was last seen.
#[derive(Debug)]
struct Seen {
    settings: Settings,
    files: Files,
    own: BTreeSet<IpAddr>,
    answers: Answers,
}

/// The list of this moment, for who does not follow it: files as they are, names as the agent last resolved them, and the
/// host's own addresses if asked for; with what is missing in it, and why.
#[must_use]
pub fn now(settings: Settings, root: &Path, state: &Path, own: bool) -> (List, Vec<String>) {
    let mut seen = Seen::new(settings, names::load(state));
    seen.files.read(root, seen.settings.files());
    let mut missing = seen.files.faults();
    if own {
        match own::addresses() {
            Ok(addresses) => seen.own = addresses,
            Err(fault) => missing.push(fault),
        }
    }
    let unknown = seen.names();
    let unknown = unknown
        .iter()
        .filter(|name| !seen.answers.contains_key(*name));
    missing.extend(
        unknown.map(|name| format!("{name} is left out: it is not known how it was last resolved")),
    );
    (seen.list(), missing)
}

impl Settings {
    fn files(&self) -> impl Iterator<Item = &Path> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::File(path) => Some(path.as_path()),
            Entry::Source(_) | Entry::Name(_) => None,
        })
    }
}

impl Seen {
    fn new(settings: Settings, answers: Answers) -> Self {
        Self {
            settings,
            files: Files::default(),
            own: BTreeSet::new(),
            answers,
        }
    }

    /// The entries, each with why its sources are ignored.
    fn entries(&self) -> impl Iterator<Item = (&Entry, Why)> {
        let set = self.settings.entries.iter();
        set.map(|entry| (entry, Why::Setting))
            .chain(self.files.entries())
    }

    /// The names to be resolved.
    fn names(&self) -> BTreeSet<Name> {
        let names = self.entries().filter_map(|(entry, _)| match entry {
            Entry::Name(name) => Some(name.clone()),
            Entry::Source(_) | Entry::File(_) => None,
        });
        names.collect()
    }

    fn list(&self) -> List {
        let mut all = Vec::new();
        let mut add = |source, why| all.push(Ignored { source, why });
        for source in fixed(&LOOPBACK) {
            add(source, Why::Loopback);
        }
        for address in &self.own {
            add((*address).into(), Why::Own);
        }
        for (entry, why) in self.entries() {
            match entry {
                Entry::Source(source) => add(*source, why),
                Entry::File(_) => {}
                Entry::Name(name) => {
                    for address in self.answers.get(name).into_iter().flatten() {
                        add((*address).into(), Why::Name(name.clone()));
                    }
                }
            }
        }
        if self.settings.private {
            for source in fixed(&PRIVATE) {
                add(source, Why::Private);
            }
        }
        List::new(all)
    }
}

/// Whether a source is in a private network.
#[must_use]
pub fn is_private(source: Source) -> bool {
    fixed(&PRIVATE).any(|private| private.contains(source))
}

fn fixed(texts: &[&str]) -> impl Iterator<Item = Source> {
    texts.iter().filter_map(|text| text.parse().ok())
}

impl FromStr for Entry {
    type Err = NotAnEntry;

    fn from_str(text: &str) -> Result<Self, NotAnEntry> {
        let refuse = || NotAnEntry::new(text);
        if text.starts_with('/') {
            let path = Path::new(text);
            let names_a_file = path.file_name().is_some() && !text.contains('\0');
            return names_a_file
                .then(|| Self::File(path.to_owned()))
                .ok_or_else(refuse);
        }
        if let Ok(source) = text.parse() {
            return Ok(Self::Source(source));
        }
        Name::new(text).map(Self::Name).ok_or_else(refuse)
    }
}

impl NotAnEntry {
    fn new(text: &str) -> Self {
        Self(text.chars().take(MAX_QUOTED).collect())
    }
}

impl Name {
    /// A name of one part is none here: who it means is up to the local network. Nor is one that ends in a number: that
    /// was meant to be an address.
    fn new(text: &str) -> Option<Self> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let is_label = |label: &str| {
            (1..=MAX_LABEL).contains(&label.len())
                && label.chars().all(allowed)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let (_, last) = name.rsplit_once('.')?;
        let is_name = name.len() <= MAX_NAME
            && name.split('.').all(is_label)
            && !last.chars().all(|c| c.is_ascii_digit());
        is_name.then(|| Self(name.to_ascii_lowercase().into()))
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(source) => source.fmt(f),
            Self::File(path) => path.display().fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
