//! Which names each source has tried of late, for the admin who asks. Nothing is decided by it. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use lru::LruCache;

use crate::source::Source;

/// Sources whose names are remembered; above that, those not heard of for the longest time go.
const MAX_SOURCES: usize = 16_384;

/// Names of one source; the last ones.
const MAX_NAMES: usize = 8;

/// So many characters of a name are enough to know it by.
const MAX_NAME: usize = 64;

/// The names that sources have tried.
#[derive(Debug)]
pub struct Tried(LruCache<Source, VecDeque<Arc<str>>>);

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
        let names = self.0.get_or_insert_mut(source, VecDeque::new);
        let user: String = user.chars().take(MAX_NAME).collect();
        let known = names.iter().position(|name| **name == *user);
        let name = known.and_then(|index| names.remove(index));
        if names.len() == MAX_NAMES {
            names.pop_front();
        }
        names.push_back(name.unwrap_or_else(|| user.into()));
    }

    /// The names, last the one tried last.
    #[must_use]
    pub fn names(&self, source: Source) -> Vec<Arc<str>> {
        let names = self.0.peek(&source);
        names.map_or_else(Vec::new, |names| names.iter().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tried: &Tried, source: Source) -> Vec<String> {
        let names = tried.names(source);
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_last_names_are_known_each_once_and_cut_short() {
        let source = "192.0.2.7".parse().unwrap();
        let mut tried = Tried::default();
        assert!(tried.names(source).is_empty());
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
        assert!(tried.names(host(9)).is_empty());
        assert_eq!(names(&tried, host(10)), ["bob"]);
    }
}
