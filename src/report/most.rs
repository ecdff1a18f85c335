//! What there is most of, among names that attackers make up.

use std::collections::HashMap;

/// Names that are counted. Beyond that, the rarer half is forgotten: who is heard of often stays.
const MAX_NAMES: usize = 65_536;

/// Something for each name.
#[derive(Debug)]
pub(super) struct Most<T> {
    by_name: HashMap<String, (u64, T)>,
    /// Whether rare ones were forgotten.
    pub(super) forgotten: bool,
}

impl<T> Default for Most<T> {
    fn default() -> Self {
        Self {
            by_name: HashMap::new(),
            forgotten: false,
        }
    }
}

impl<T: Default> Most<T> {
    /// What there is for a name, which is heard of once more.
    pub(super) fn of(&mut self, name: &str) -> &mut T {
        if self.by_name.len() >= MAX_NAMES && !self.by_name.contains_key(name) {
            self.forget();
        }
        let (heard, value) = self.by_name.entry(name.to_owned()).or_default();
        *heard += 1;
        value
    }

    fn forget(&mut self) {
        let mut heard: Vec<u64> = self.by_name.values().map(|(heard, _)| *heard).collect();
        let (_, median, _) = heard.select_nth_unstable(MAX_NAMES / 2);
        let median = *median;
        let mut left = MAX_NAMES / 2;
        // Where most were heard of once, not all of these can stay.
        self.by_name.retain(|_, (heard, _)| {
            let stays = *heard > median || (*heard == median && left > 0 && median > 1);
            left = left.saturating_sub(usize::from(stays));
            stays
        });
        self.forgotten = true;
    }

    /// All of them, the most first.
    pub(super) fn into_sorted(self, number: impl Fn(&T) -> u64) -> Vec<(String, T)> {
        let mut sorted: Vec<(String, T)> = self
            .by_name
            .into_iter()
            .map(|(name, (_, value))| (name, value))
            .collect();
        sorted.sort_by(|(a, x), (b, y)| number(y).cmp(&number(x)).then_with(|| a.cmp(b)));
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_most_of_stays_whatever_is_made_up() {
        let mut most: Most<u64> = Most::default();
        for n in 0..5 * MAX_NAMES {
            *most.of(&n.to_string()) += 1;
            if n % 10 == 0 {
                *most.of("bob") += 1;
            }
            assert!(most.by_name.len() <= MAX_NAMES);
        }
        assert!(most.forgotten);
        let sorted = most.into_sorted(|count| *count);
        assert_eq!(sorted[0].0, "bob");
        assert_eq!(sorted[0].1, MAX_NAMES as u64 / 2);
    }

    #[test]
    fn few_names_are_all_there_and_in_order() {
        let mut most: Most<u64> = Most::default();
        for (name, count) in [("carol", 1), ("alice", 1), ("bob", 3)] {
            *most.of(name) += count;
        }
        let names: Vec<_> = most.into_sorted(|count| *count);
        let names: Vec<_> = names.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["bob", "alice", "carol"]);
    }
}
