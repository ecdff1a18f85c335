//! What is to be kept out: written by the agent, read by the driver, which hears of it without looking through all.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::source::Source;
use crate::usec::Usec;

/// Sources, each until when.
pub(super) type Sources = BTreeMap<Source, Usec>;

/// The sources that are to be kept out; shared by the agent and the driver.
#[derive(Clone, Debug, Default)]
pub struct Desired(Arc<(Mutex<Wanted>, Notify)>);

#[derive(Debug, Default)]
struct Wanted {
    sources: Sources,
    /// What has been written since the driver last looked.
    touched: HashSet<Source>,
    /// Those of them that were not to be kept out before.
    fresh: HashSet<Source>,
}

/// What leads from what is applied to what is desired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Each until when it was kept out.
    pub(super) removed: Sources,
    pub(super) added: Sources,
    /// Kept out already, now until another time.
    pub(super) renewed: Sources,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty() && self.renewed.is_empty()
    }

    /// Makes the changes.
    pub(super) fn apply(self, applied: &mut Sources) {
        for source in self.removed.keys() {
            applied.remove(source);
        }
        applied.extend(self.added);
        applied.extend(self.renewed);
    }
}

impl Desired {
    /// Keeps these out from the beginning.
    pub fn begin(&self, sources: impl Iterator<Item = (Source, Timestamp)>) {
        let mut wanted = self.lock();
        wanted.sources = sources
            .map(|(source, until)| (source, until.into()))
            .collect();
        let fresh: HashSet<Source> = wanted.sources.keys().copied().collect();
        wanted.touched.clone_from(&fresh);
        wanted.fresh = fresh;
        drop(wanted);
        self.0.1.notify_one();
    }

    /// Keeps a source out until a time, or no more.
    pub fn set(&self, source: Source, until: Option<Timestamp>) {
        let mut wanted = self.lock();
        wanted.touched.insert(source);
        if let Some(until) = until {
            if wanted.sources.insert(source, until.into()).is_none() {
                wanted.fresh.insert(source);
            }
        } else {
            wanted.sources.remove(&source);
            wanted.fresh.remove(&source);
        }
        drop(wanted);
        self.0.1.notify_one();
    }

    /// Waits for a change.
    pub(super) async fn changed(&self) {
        self.0.1.notified().await;
    }

    /// All that is desired, without what another prefix in it covers: firewalld refuses overlapping entries.
    pub(super) fn minimal(&self) -> Sources {
        let mut wanted = self.lock();
        wanted.touched = HashSet::new();
        let mut last: Option<Source> = None;
        // In order, a prefix comes before all that it contains.
        let uncovered = wanted.sources.iter().filter(|(source, _)| {
            let covered = last.is_some_and(|last| last.contains(**source));
            if !covered {
                last = Some(**source);
            }
            !covered
        });
        uncovered.map(|(source, until)| (*source, *until)).collect()
    }

    /// What has to be changed where `applied` was all that was desired when the driver last looked.
    pub(super) fn changes(&self, applied: &Sources) -> Changes {
        let mut wanted = self.lock();
        let touched = std::mem::take(&mut wanted.touched);
        let mut changes = Changes::default();
        for source in touched {
            // With a prefix comes or goes what it covers.
            let inside = source.entries(&wanted.sources);
            let inside = inside.chain(source.entries(applied));
            for source in inside.map(|(inside, _)| inside).chain([source]) {
                match (applied.get(&source), wanted.uncovered(source)) {
                    (None, Some(until)) => drop(changes.added.insert(source, until)),
                    (Some(until), None) => drop(changes.removed.insert(source, *until)),
                    (Some(now), Some(until)) if *now != until => {
                        changes.renewed.insert(source, until);
                    }
                    _ => {}
                }
            }
        }
        changes
    }

    /// The sources that came since this was last asked, whose connections are still open.
    pub(super) fn take_fresh(&self) -> HashSet<Source> {
        std::mem::take(&mut self.lock().fresh)
    }

    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wanted {
    /// Until when a source is to be kept out by itself, and not by a prefix around it.
    fn uncovered(&self, source: Source) -> Option<Usec> {
        let until = self.sources.get(&source)?;
        let covered = source
            .around()
            .any(|around| self.sources.contains_key(&around));
        (!covered).then_some(*until)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(text: &str) -> Source {
        text.parse().unwrap()
    }

    fn second(n: i64) -> Timestamp {
        Timestamp::from_second(n).unwrap()
    }

    fn minimal(desired: &Desired) -> Vec<String> {
        desired.minimal().keys().map(Source::to_string).collect()
    }

    #[test]
    fn a_prefix_stands_for_the_hosts_inside_it() {
        let texts = [
            "192.0.2.1",
            "192.0.2.0/24",
            "192.0.2.255",
            "192.0.3.0",
            "192.0.2.0/25",
            "2001:db8::1",
            "::/96",
        ];
        let desired = Desired::default();
        for text in texts {
            desired.set(source(text), Some(second(1)));
        }
        assert_eq!(
            minimal(&desired),
            ["192.0.2.0/24", "192.0.3.0", "::/96", "2001:db8::1"]
        );
        desired.set(source("192.0.2.0/24"), None);
        let rest = [
            "192.0.2.0/25",
            "192.0.2.255",
            "192.0.3.0",
            "::/96",
            "2001:db8::1",
        ];
        assert_eq!(minimal(&desired), rest);
    }

    #[test]
    fn who_was_kept_out_already_is_not_fresh() {
        let (old, new, gone) = (
            source("192.0.2.1"),
            source("192.0.2.2"),
            source("192.0.2.3"),
        );
        let desired = Desired::default();
        desired.set(old, Some(second(1)));
        assert_eq!(desired.take_fresh(), HashSet::from([old]));
        desired.set(old, Some(second(2)));
        desired.set(new, Some(second(2)));
        desired.set(gone, Some(second(2)));
        desired.set(gone, None);
        assert_eq!(desired.take_fresh(), HashSet::from([new]));
        assert_eq!(desired.take_fresh(), HashSet::new());
    }

    /// Few addresses and many lengths, so that they cover one another.
    fn sources() -> impl Strategy<Value = Source> {
        let v4 = (0..4_u8, 24..=32_u8).prop_map(|(host, len)| format!("192.0.2.{host}/{len}"));
        let v6 = (0..4_u8, 44..=128_u8).prop_map(|(host, len)| format!("2001:db8::{host}/{len}"));
        prop_oneof![v4, v6].prop_map(|text| source(&text))
    }

    proptest! {
        /// Step by step, the driver gets to where it would get at once.
        #[test]
        fn changes_lead_to_all_that_is_desired(
            steps in prop::collection::vec((sources(), prop::option::of(1..3_i64), any::<bool>()), 1..40)
        ) {
            let desired = Desired::default();
            let mut applied = Sources::new();
            for (source, until, look) in steps {
                desired.set(source, until.map(second));
                if look {
                    desired.changes(&applied).apply(&mut applied);
                }
            }
            desired.changes(&applied).apply(&mut applied);
            prop_assert_eq!(applied, desired.minimal());
        }
    }
}
