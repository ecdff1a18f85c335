//! The half of a replay that reads: entries → findings, in a thread of its own, so that judging them costs no time where
//! there is a second core.

use std::sync::mpsc::SyncSender;

use jiff::Timestamp;

use super::Error;
use crate::config::Config;
use crate::filter::{Finding, Looks, Shapes, understood};
use crate::journal::Entries;

/// How often the caller hears of the progress, in entries.
const PROGRESS_INTERVAL: u64 = 10_000;

/// So many findings are handed over together.
const BATCH: usize = 1024;

/// What is known of entries without a look at what happened before.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) entries: u64,
    pub(super) matched: u64,
    /// Lines that look like failures and matched nothing.
    pub(super) unmatched: Shapes,
}

impl Reading {
    /// Reads all entries up to `until`, and hands over what they say, in the journal's order.
    pub(super) fn read(
        mut entries: Entries<'_>,
        config: &Config,
        until: Option<Timestamp>,
        batches: &SyncSender<Vec<Finding>>,
        mut progress: impl FnMut(u64, Timestamp),
    ) -> Result<Self, Error> {
        let looks = Looks::new()?;
        let mut reading = Self::default();
        let mut found = Vec::with_capacity(BATCH);
        while let Some(at) = entries.advance()? {
            if until.is_some_and(|until| at > until) {
                break;
            }
            reading.entries += 1;
            if reading.entries % PROGRESS_INTERVAL == 0 {
                progress(reading.entries, at);
            }
            let before = found.len();
            entries.read(at, &mut found)?;
            let new = &found[before..];
            if new.is_empty() {
                reading.look_closer(entries.message(), config, &looks);
            }
            let is_evidence = |finding: &Finding| matches!(finding, Finding::Evidence(_));
            reading.matched += u64::from(new.iter().any(is_evidence));
            if found.len() >= BATCH {
                // Only a panic ends the other half before this one.
                let _ = batches.send(std::mem::replace(&mut found, Vec::with_capacity(BATCH)));
            }
        }
        let _ = batches.send(found);
        Ok(reading)
    }

    /// Keeps an entry that says nothing but looks as if it should.
    fn look_closer(&mut self, message: &[u8], config: &Config, looks: &Looks) {
        if looks.like_a_failure(message) && !understood(&config.filters, message) {
            let line = String::from_utf8_lossy(message);
            self.unmatched.add(line.into_owned());
        }
    }
}
