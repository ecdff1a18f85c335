//! Rows on their way to the disk.

/// So many more than there were when they were last gone through are let in before they are gone through again.
const SURPLUS: usize = 4096;

/// Keys with a word on each, where the last one counts. In one piece of memory: while the disk is behind an attack these are
/// many, and when they are written, all that they took is free again. The nodes of a tree would leave holes between what stays.
#[derive(Debug)]
pub struct Rows<K, V> {
    all: Vec<(K, V)>,
    /// How many were left when they were last gone through.
    distinct: usize,
}

impl<K, V> Default for Rows<K, V> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            distinct: 0,
        }
    }
}

impl<K: Ord, V> Rows<K, V> {
    /// The newest word on a key.
    pub fn insert(&mut self, key: K, value: V) {
        self.all.push((key, value));
        if self.all.len() > 2 * self.distinct + SURPLUS {
            self.leave_the_last_words();
        }
    }

    /// However long the disk refuses, there are not more rows than about twice the keys.
    fn leave_the_last_words(&mut self) {
        self.all.reverse();
        self.all.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.all.dedup_by(|(key, _), (before, _)| key == before);
        self.distinct = self.all.len();
    }
}

impl<K, V> Rows<K, V> {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// In an order in which the last one on a key counts.
    pub fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.all.iter()
    }
}

impl<K: Ord, V> Extend<(K, V)> for Rows<K, V> {
    fn extend<T: IntoIterator<Item = (K, V)>>(&mut self, rows: T) {
        for (key, value) in rows {
            self.insert(key, value);
        }
    }
}

impl<K, V> FromIterator<(K, V)> for Rows<K, V> {
    /// Each key once.
    fn from_iter<T: IntoIterator<Item = (K, V)>>(rows: T) -> Self {
        let all: Vec<_> = rows.into_iter().collect();
        Self {
            distinct: all.len(),
            all,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_last_word_on_each_key_counts_and_there_are_few_more(
            words in prop::collection::vec((0..300_u32, any::<u32>()), 0..3 * SURPLUS),
        ) {
            let mut rows = Rows::default();
            rows.extend(words.iter().copied());
            let last: BTreeMap<u32, u32> = words.into_iter().collect();
            prop_assert!(rows.iter().count() <= 2 * last.len() + SURPLUS);
            prop_assert_eq!(rows.is_empty(), last.is_empty());
            prop_assert_eq!(rows.iter().copied().collect::<BTreeMap<_, _>>(), last);
        }
    }
}
