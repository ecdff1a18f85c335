//! What a firewall is found to hold, against what it should.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::Error;
use super::desired::Sources;
use crate::jail::after;
use crate::source::Source;

/// Until when a source is kept out may differ so much, from rounding.
const ROUNDING: Duration = Duration::from_secs(3);
/// The helper keeps nobody out for longer than 24 days; before half of it is over, it is asked again.
const RENEW: Duration = Duration::from_hours(12 * 24);

/// What a firewall is found to hold.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Rules that somebody else could change.
    pub(super) rules: Option<String>,
    /// The sources, with until when, if it knows that.
    pub(super) sources: BTreeMap<Source, Option<Timestamp>>,
}

/// How what is found differs from what was applied.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Difference {
    None,
    /// Sources are kept out until another time: the clock was set, or they are to be kept out for very long.
    Times,
    /// Somebody has changed something.
    Disturbed(String),
}

impl Found {
    /// What differs from what was applied. Whose time is almost over may be there, or not.
    pub(super) fn difference(
        &self,
        rules: Option<&str>,
        applied: &Sources,
        refused: &BTreeMap<Source, Error>,
        now: Timestamp,
    ) -> Difference {
        let soon = after(now, ROUNDING);
        let wanted = applied
            .iter()
            .filter(|(source, until)| **until > soon && !refused.contains_key(source));
        let (mut missing, mut other_time) = (0, false);
        for (source, &until) in wanted {
            match self.sources.get(source) {
                None => missing += 1,
                Some(Some(found)) => {
                    let early = after(*found, ROUNDING) < until.min(after(now, RENEW));
                    other_time |= early || *found > after(until, ROUNDING);
                }
                Some(None) => {}
            }
        }
        let lasts = |until: &Option<Timestamp>| until.is_none_or(|until| until > soon);
        let foreign = self
            .sources
            .iter()
            .filter(|(source, until)| lasts(until) && !applied.contains_key(source))
            .count();
        let mut how = Vec::new();
        if self.rules.as_deref() != rules {
            how.push("its rules were changed".to_owned());
        }
        if missing > 0 {
            how.push(format!(
                "{missing} of {} sources were not kept out",
                applied.len()
            ));
        }
        if foreign > 0 {
            how.push(format!("{foreign} were kept out that are not banned"));
        }
        match (how.is_empty(), other_time) {
            (false, _) => Difference::Disturbed(how.join(", ")),
            (true, true) => Difference::Times,
            (true, false) => Difference::None,
        }
    }
}
