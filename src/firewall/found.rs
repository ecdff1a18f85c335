//! What a firewall is found to hold, against what it should.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::Error;
use super::desired::Sources;
use crate::jail::after;
use crate::source::Source;
use crate::usec::Usec;

/// Until when a source is kept out may differ so much, from rounding.
const ROUNDING: Duration = Duration::from_secs(3);
/// The helper keeps nobody out for longer than 24 days; before half of it is over, it is asked again.
const RENEW: Duration = Duration::from_hours(12 * 24);

/// What a firewall is found to hold.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Rules that somebody else could change.
    pub(super) rules: Option<String>,
    /// The sources in order, with until when, if it knows that. There may be many, and they don't stay for long: in one
    /// piece, the memory goes back to the system.
    pub(super) sources: Vec<(Source, Option<Usec>)>,
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
    pub(super) fn new(rules: Option<String>, mut sources: Vec<(Source, Option<Usec>)>) -> Self {
        sources.sort_unstable();
        sources.dedup_by_key(|(source, _)| *source);
        Self { rules, sources }
    }

    fn get(&self, source: Source) -> Option<&(Source, Option<Usec>)> {
        let index = self.sources.binary_search_by_key(&source, |(of, _)| *of);
        index.ok().and_then(|index| self.sources.get(index))
    }

    /// What differs from what was applied. Whose time is almost over may be there, or not.
    pub(super) fn difference(
        &self,
        rules: Option<&str>,
        applied: &Sources,
        refused: &BTreeMap<Source, Error>,
        now: Timestamp,
    ) -> Difference {
        let later = |at: Usec, span| Usec::from(after(at.time(), span));
        let soon = Usec::from(after(now, ROUNDING));
        let renewed = Usec::from(after(now, RENEW));
        let wanted = applied
            .iter()
            .filter(|(source, until)| **until > soon && !refused.contains_key(source));
        let (mut missing, mut other_time) = (0, false);
        for (source, &until) in wanted {
            match self.get(*source) {
                None => missing += 1,
                Some(&(_, Some(found))) => {
                    let early = later(found, ROUNDING) < until.min(renewed);
                    other_time |= early || found > later(until, ROUNDING);
                }
                Some((_, None)) => {}
            }
        }
        let lasts = |until: &Option<Usec>| until.is_none_or(|until| until > soon);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::Backend;

    fn source(text: &str) -> Source {
        text.parse().unwrap()
    }

    fn second(n: i64) -> Timestamp {
        Timestamp::from_second(n).unwrap()
    }

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    /// What differs at second 0, where these are found of those that were applied, each until a second.
    fn difference(applied: &[(&str, i64)], found: &[(&str, i64)]) -> Difference {
        let at = |&(text, until): &(&str, i64)| (source(text), Usec::from(second(until)));
        let applied = applied.iter().map(at).collect();
        let found = found.iter().map(at).map(|(s, at)| (s, Some(at)));
        let found = Found::new(Some("rules".to_owned()), found.collect());
        found.difference(Some("rules"), &applied, &BTreeMap::new(), second(0))
    }

    fn disturbed(how: &str) -> Difference {
        Difference::Disturbed(how.to_owned())
    }

    #[test]
    fn what_is_there_does_not_differ() {
        let all = [("192.0.2.1", HOUR), ("2001:db8::/64", DAY)];
        assert_eq!(difference(&all, &all), Difference::None);
        assert_eq!(difference(&[], &[]), Difference::None);
    }

    #[test]
    fn what_is_missing_or_too_much_was_changed_by_somebody() {
        let [one, two] = [("192.0.2.1", HOUR), ("192.0.2.2", HOUR)];
        assert_eq!(
            difference(&[one, two], &[one]),
            disturbed("1 of 2 sources were not kept out")
        );
        assert_eq!(
            difference(&[one], &[one, two]),
            disturbed("1 were kept out that are not banned")
        );
        assert_eq!(
            difference(&[one], &[two]),
            disturbed("1 of 1 sources were not kept out, 1 were kept out that are not banned")
        );
    }

    #[test]
    fn rules_that_were_changed_are_a_difference_where_there_are_any() {
        let found = |rules: Option<&str>| Found::new(rules.map(str::to_owned), Vec::new());
        let differ = |found: Found, rules| {
            found.difference(rules, &Sources::new(), &BTreeMap::new(), second(0))
        };
        assert_eq!(differ(found(None), None), Difference::None);
        assert_eq!(differ(found(Some("a")), Some("a")), Difference::None);
        assert_eq!(
            differ(found(Some("")), Some("a")),
            disturbed("its rules were changed")
        );
    }

    /// The kernel and the agent need not agree in the last seconds.
    #[test]
    fn who_is_about_to_be_let_in_may_be_there_or_not() {
        let over = ("192.0.2.1", 2);
        assert_eq!(difference(&[over], &[]), Difference::None);
        assert_eq!(difference(&[], &[over]), Difference::None);
    }

    #[test]
    fn another_time_is_put_right_without_a_word() {
        let until = |seconds| [("192.0.2.1", seconds)];
        let wanted = until(HOUR);
        assert_eq!(difference(&wanted, &until(HOUR + 2)), Difference::None);
        assert_eq!(difference(&wanted, &until(HOUR - 2)), Difference::None);
        assert_eq!(difference(&wanted, &until(HOUR + 60)), Difference::Times);
        assert_eq!(difference(&wanted, &until(HOUR - 60)), Difference::Times);
        // The helper keeps nobody out for longer than 24 days.
        assert_eq!(
            difference(&until(90 * DAY), &until(24 * DAY)),
            Difference::None
        );
        assert_eq!(
            difference(&until(90 * DAY), &until(11 * DAY)),
            Difference::Times
        );
    }

    #[test]
    fn who_is_refused_is_not_missed() {
        let refused = source("192.0.2.1");
        let error = Error::RefusedSource(Backend::Nftables, String::new(), String::new());
        let applied = [(refused, second(HOUR).into())].into();
        let difference =
            Found::default().difference(None, &applied, &[(refused, error)].into(), second(0));
        assert_eq!(difference, Difference::None);
    }
}
