//! Which row of a full table is the oldest. A table that is seldom full need not keep its rows in the order of their ages
//! all the time, which would cost as much memory again.

use std::collections::BTreeMap;

use crate::source::Source;
use crate::usec::Usec;

/// So many of the oldest are found at once: finding them takes a look at all rows.
const FOUND: usize = 1024;

/// The oldest rows of a table, the oldest last. Rows that have changed since they were found are not among the oldest any
/// more.
#[derive(Debug, Default)]
pub struct Oldest(Vec<(Usec, Source)>);

impl Oldest {
    /// Takes the oldest row out of a table.
    pub fn take<T>(
        &mut self,
        table: &mut BTreeMap<Source, T>,
        age: impl Fn(&T) -> Usec,
    ) -> Option<(Source, T)> {
        loop {
            while let Some((found, source)) = self.0.pop() {
                if table.get(&source).is_some_and(|row| age(row) == found) {
                    return table.remove_entry(&source);
                }
            }
            if table.is_empty() {
                return None;
            }
            self.find(table, &age);
        }
    }

    fn find<T>(&mut self, table: &BTreeMap<Source, T>, age: impl Fn(&T) -> Usec) {
        let mut rows: Vec<_> = table.iter().map(|(of, row)| (age(row), *of)).collect();
        let found = FOUND.min(rows.len());
        rows.select_nth_unstable(found - 1);
        rows.truncate(found);
        rows.sort_unstable_by(|a, b| b.cmp(a));
        rows.shrink_to_fit();
        self.0 = rows;
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use jiff::Timestamp;

    use super::*;

    #[test]
    fn rows_go_by_their_age_and_renewed_ones_later() {
        let at = |n: u32| Usec::from(Timestamp::from_second(n.into()).unwrap());
        let host = |n: u32| Source::from(IpAddr::from(Ipv4Addr::from_bits(n)));
        // Ages that are not in the order of addresses.
        let count = 4999;
        let age = |n: u32| at(n * 7 % count);
        let mut table: BTreeMap<_, _> = (0..count).map(|n| (host(n), age(n))).collect();
        let mut oldest = Oldest::default();
        let mut take = |table: &mut _| oldest.take(table, |row| *row).map(|(_, age)| age);
        assert_eq!(take(&mut table), Some(at(0)));
        // 714 is 7 × 102 …
        table.insert(host(102), at(count));
        let taken: Vec<Usec> = std::iter::from_fn(|| take(&mut table)).collect();
        let wanted: Vec<Usec> = (1..=count).filter(|n| *n != 714).map(at).collect();
        assert_eq!(taken, wanted);
    }
}
