//! Which names each source has tried of late, for the admin who asks. Nothing is decided by it. Pure.

use std::sync::Arc;

use lru::LruCache;
use serde::{Deserialize, Serialize};

use crate::source::Source;

/// Sources whose names are remembered; above that, those not heard of for the longest time go.
const MAX_SOURCES: usize = 16_384;

/// Names of one source; the last ones.
const MAX_NAMES: usize = 8;

/// So many characters of a name are enough to know it by.
const MAX_NAME: usize = 64;

/// Ends a name. No client can write it: filters take control characters out of names.
const END: char = '\0';

/// The last names that somebody has tried, each once, last the one tried last. In one piece, and cheap to copy, since a
/// hundred thousand bans may have some each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Names(Arc<str>);

/// The names that sources have tried.
#[derive(Debug)]
pub struct Tried(LruCache<Source, Names>);

impl Names {
    /// A name has been tried. It is cut short.
    pub fn note(&mut self, name: &str) {
        let name = beginning(name, MAX_NAME).trim_end_matches(END);
        if self.last() == Some(name) {
            return;
        }
        let others = self.iter().filter(|other| *other != name);
        let surplus = (others.clone().count() + 1).saturating_sub(MAX_NAMES);
        let mut names = String::with_capacity(self.0.len() + name.len() + 1);
        for name in others.skip(surplus).chain([name]) {
            names.push_str(name);
            names.push(END);
        }
        self.0 = names.into();
    }

    /// The names, last the one tried last.
    pub fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.split_terminator(END)
    }

    /// The one tried last.
    #[must_use]
    pub fn last(&self) -> Option<&str> {
        self.0.split_terminator(END).next_back()
    }
}

impl<T: AsRef<str>> FromIterator<T> for Names {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let mut names = Self::default();
        for name in all {
            names.note(name.as_ref());
        }
        names
    }
}

impl From<Vec<String>> for Names {
    fn from(names: Vec<String>) -> Self {
        names.into_iter().collect()
    }
}

impl From<Names> for Vec<String> {
    fn from(names: Names) -> Self {
        names.iter().map(str::to_owned).collect()
    }
}

impl Default for Tried {
    fn default() -> Self {
        // Unbounded in itself so that memory grows with use; `note` keeps the bound.
        Self(LruCache::unbounded())
    }
}

impl Tried {
    /// A source has tried a name.
    pub fn note(&mut self, source: Source, user: &str) {
        if self.0.len() >= MAX_SOURCES && !self.0.contains(&source) {
            self.0.pop_lru();
        }
        self.0.get_or_insert_mut(source, Names::default).note(user);
    }

    /// What it has tried.
    #[must_use]
    pub fn names(&self, source: Source) -> Names {
        self.0.peek(&source).cloned().unwrap_or_default()
    }
}

/// So many characters of a text, or all of it.
pub(crate) fn beginning(text: &str, characters: usize) -> &str {
    let end = text.char_indices().nth(characters);
    end.map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tried: &Tried, source: Source) -> Vec<String> {
        let names = tried.names(source);
        names.into()
    }

    #[test]
    fn the_last_names_are_known_each_once_and_cut_short() {
        let source = "192.0.2.7".parse().unwrap();
        let mut tried = Tried::default();
        assert_eq!(tried.names(source), Names::default());
        for user in ["bob", "alice", "bob"] {
            tried.note(source, user);
        }
        assert_eq!(names(&tried, source), ["alice", "bob"]);
        for n in 0..100 {
            tried.note(source, &format!("{n}{}", "ü".repeat(9000)));
        }
        let names = names(&tried, source);
        assert_eq!(names.len(), MAX_NAMES);
        assert!(names.iter().all(|name| name.chars().count() == MAX_NAME));
        assert!(names[0].starts_with("92") && names[7].starts_with("99"));
    }

    #[test]
    fn names_are_told_apart_whatever_they_are() {
        let all: Names = ["", "a", "a\0", "", "b"].into_iter().collect();
        assert_eq!(Vec::from(all.clone()), ["a", "", "b"]);
        assert_eq!(all.last(), Some("b"));
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(text, r#"["a","","b"]"#);
        assert_eq!(serde_json::from_str::<Names>(&text).unwrap(), all);
        assert_eq!(Names::default().last(), None);
    }

    #[test]
    fn sources_that_come_in_masses_are_bounded() {
        let mut tried = Tried::default();
        let host = |n: usize| {
            let n = u32::try_from(n).unwrap();
            Source::from(std::net::IpAddr::from(std::net::Ipv4Addr::from_bits(n)))
        };
        for n in 0..MAX_SOURCES + 10 {
            tried.note(host(n), "bob");
        }
        assert_eq!(tried.0.len(), MAX_SOURCES);
        assert_eq!(tried.names(host(9)), Names::default());
        assert_eq!(names(&tried, host(10)), ["bob"]);
    }
}
