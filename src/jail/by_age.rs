//! Rows by source, and which of them was used longest ago. An LRU cache that takes a million sources: the rows lie side by
//! side, so that none costs an allocation, and memory grows with their number and not by doubling. Who comes before whom
//! is kept apart from them, where it fits into a processor's cache.

use indexmap::IndexMap;

use crate::source::Source;

/// No row.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct ByAge<T> {
    rows: IndexMap<Source, T>,
    /// Of each row, its neighbours by age.
    links: Vec<Link>,
    oldest: u32,
    youngest: u32,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    older: u32,
    younger: u32,
}

impl<T> Default for ByAge<T> {
    fn default() -> Self {
        Self {
            rows: IndexMap::new(),
            links: Vec::new(),
            oldest: NONE,
            youngest: NONE,
        }
    }
}

impl<T> ByAge<T> {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn contains(&self, source: Source) -> bool {
        self.rows.contains_key(&source)
    }

    /// A row, which stays as old as it is.
    pub(super) fn peek(&self, source: Source) -> Option<&T> {
        self.rows.get(&source)
    }

    /// The same.
    pub(super) fn peek_mut(&mut self, source: Source) -> Option<&mut T> {
        self.rows.get_mut(&source)
    }

    /// A row, new if need be, which is the youngest from now on.
    pub(super) fn of(&mut self, source: Source, new: impl FnOnce() -> T) -> &mut T {
        let entry = self.rows.entry(source);
        let at = entry.index();
        let index = u32::try_from(at).unwrap_or(NONE);
        let row = entry.or_insert_with(new);
        if at == self.links.len() {
            self.links.push(Link {
                older: NONE,
                younger: NONE,
            });
        } else if self.youngest == index {
            return row;
        } else {
            unlink(&mut self.links, index, &mut self.oldest, &mut self.youngest);
        }
        self.links[at] = Link {
            older: self.youngest,
            younger: NONE,
        };
        if let Some(link) = self.links.get_mut(self.youngest as usize) {
            link.younger = index;
        } else {
            self.oldest = index;
        }
        self.youngest = index;
        row
    }

    /// The oldest row.
    pub(super) fn oldest(&self) -> Option<&T> {
        self.rows
            .get_index(self.oldest as usize)
            .map(|(_, row)| row)
    }

    /// Takes the oldest row out.
    pub(super) fn take_oldest(&mut self) -> Option<(Source, T)> {
        let index = self.oldest;
        let row = self.rows.swap_remove_index(index as usize)?;
        unlink(&mut self.links, index, &mut self.oldest, &mut self.youngest);
        self.links.swap_remove(index as usize);
        // The last row has taken its place.
        if let Some(&Link { older, younger }) = self.links.get(index as usize) {
            match self.links.get_mut(older as usize) {
                Some(older) => older.younger = index,
                None => self.oldest = index,
            }
            match self.links.get_mut(younger as usize) {
                Some(younger) => younger.older = index,
                None => self.youngest = index,
            }
        }
        Some(row)
    }

    /// All rows, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Source, &T)> {
        self.rows.iter()
    }

    /// All rows, in no order.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Source, &mut T)> {
        self.rows.iter_mut()
    }
}

/// Takes a row out of the order of ages.
fn unlink(links: &mut [Link], index: u32, oldest: &mut u32, youngest: &mut u32) {
    let Link { older, younger } = links[index as usize];
    match links.get_mut(older as usize) {
        Some(older) => older.younger = younger,
        None => *oldest = younger,
    }
    match links.get_mut(younger as usize) {
        Some(younger) => younger.older = older,
        None => *youngest = older,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    fn host(n: u8) -> Source {
        IpAddr::from(Ipv4Addr::from_bits(n.into())).into()
    }

    proptest! {
        /// `Some` uses a row, `None` takes the oldest.
        #[test]
        fn the_one_that_was_used_longest_ago_goes_first(
            steps in prop::collection::vec(prop::option::weighted(0.7, 0..12_u8), 0..200)
        ) {
            let mut table = ByAge::default();
            // The oldest first.
            let mut plain: Vec<(Source, usize)> = Vec::new();
            for (now, step) in steps.into_iter().enumerate() {
                if let Some(n) = step {
                    let source = host(n);
                    let known = plain.iter().position(|(of, _)| *of == source);
                    let first = known.map_or(now, |index| plain.remove(index).1);
                    plain.push((source, first));
                    prop_assert_eq!(*table.of(source, || now), first);
                } else {
                    prop_assert_eq!(table.oldest(), plain.first().map(|(_, first)| first));
                    let oldest = (!plain.is_empty()).then(|| plain.remove(0));
                    prop_assert_eq!(table.take_oldest(), oldest);
                }
                prop_assert_eq!(table.len(), plain.len());
            }
            let rest: Vec<_> = std::iter::from_fn(|| table.take_oldest()).collect();
            prop_assert_eq!(rest, plain);
        }
    }
}
