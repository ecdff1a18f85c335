//! The lines of the last day: whether the filters know all that look like failed logins, and who logs in from where.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Host;
use super::journal::LOOKS_BACK;
use super::report::{Group::Journal, Group::Mail, Report};
use crate::cli::text;
use crate::config::Config;
use crate::filter::{Evidence, Filters, Finding, Looks, Outcome, Shapes, shown, understood};
use crate::ignore;
use crate::journal::{Entries, Error, Place};
use crate::source::Source;

/// A busy host's day may have more than anybody waits for.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often the time is looked at, in entries.
const EVERY: u64 = 4096;

/// Sources that are remembered; attackers make up as many as they like.
const MAX_SOURCES: usize = 100_000;

/// As many unknown lines as the agent, too, calls a problem.
const MANY: u64 = 20;

/// So many logins, all from one address, are everybody's.
const EVERYBODY: u64 = 20;
/// A source that has logged in and failed so often is worth a look.
const OFTEN: u64 = 10;
/// So many sources are named.
const MAX_NAMED: usize = 3;

#[derive(Default)]
struct Day {
    entries: u64,
    failures: u64,
    logins: u64,
    unknown: Shapes,
    sources: HashMap<Source, Doings>,
    /// How far it was read, if not to the end.
    stopped: Option<Timestamp>,
}

#[derive(Clone, Copy, Default)]
struct Doings {
    logins: u64,
    failures: u64,
}

pub(super) fn look(report: &mut Report, host: &Host) {
    // Those that no jail uses, too: what they know is known.
    let all = Config::filters(Path::new("/"), &[]);
    let filters = all.as_ref().unwrap_or(&host.filters);
    let Ok(day) = Day::read(filters, &host.filters) else {
        return;
    };
    let so_far = match day.stopped {
        Some(at) => format!(
            " (up to {}; more would take too long)",
            text::time(u64::try_from(at.as_microsecond()).unwrap_or(0))
        ),
        None => String::new(),
    };
    let seen = format!(
        "{} lines of the mail units in the last day{so_far}: {} tell of failed logins, {} of logins",
        day.entries, day.failures, day.logins
    );
    report.fine(Journal, seen);
    unknown(report, &day);
    sources(report, host, &day);
}

impl Day {
    fn read(filters: &Filters, used: &Filters) -> Result<Self, Error> {
        let now = Timestamp::now();
        let looks = Looks::new().ok();
        let place = Place::Root("/".into());
        let mut entries = Entries::open(&place, filters, now - LOOKS_BACK)?;
        let mut day = Self::default();
        let mut found = Vec::new();
        let begun = Instant::now();
        while let Some(at) = entries.advance()? {
            day.entries += 1;
            if day.entries % EVERY == 0 && begun.elapsed() > PATIENCE {
                day.stopped = Some(at);
                break;
            }
            entries.read(at, &mut found)?;
            for finding in found.drain(..) {
                match finding {
                    Finding::Evidence(evidence) if used.contains_key(&evidence.filter) => {
                        day.note(&evidence);
                    }
                    Finding::Evidence(_) | Finding::Trouble(_) => {}
                }
            }
            let message = entries.message();
            let is_suspect = looks
                .as_ref()
                .is_some_and(|looks| looks.like_a_failure(message));
            if is_suspect && !understood(filters, message) {
                day.unknown.add(shown(message));
            }
        }
        Ok(day)
    }

    fn note(&mut self, evidence: &Evidence) {
        let is_login = matches!(evidence.outcome, Outcome::Success);
        self.logins += u64::from(is_login);
        self.failures += u64::from(!is_login);
        if self.sources.len() < MAX_SOURCES || self.sources.contains_key(&evidence.source) {
            let doings = self.sources.entry(evidence.source).or_default();
            doings.logins += u64::from(is_login);
            doings.failures += u64::from(!is_login);
        }
    }
}

fn unknown(report: &mut Report, day: &Day) {
    let count: u64 = day.unknown.lines().map(|(_, count)| count).sum();
    let Some((example, most)) = day.unknown.lines().max_by_key(|(_, count)| count) else {
        report.fine(
            Journal,
            "every line that looks like a failed login is known to a filter",
        );
        return;
    };
    let what = format!(
        "{count} lines look like failed logins and are known to no filter, {most} of them like this: \"{example}\""
    );
    let action = "banjour replay --since=-1d shows all kinds; if they are failed logins, tell banjour's makers, or write a filter (README, \"Filters\")";
    if count >= MANY && count > day.failures {
        report.do_this(Journal, what, action);
    } else {
        report.advise(Journal, what, action);
    }
}

fn sources(report: &mut Report, host: &Host, day: &Day) {
    let Ok(config) = &host.config else { return };
    let state = crate::agent::Options::state_directory();
    let (ignored, _) = ignore::now(config.ignore.clone(), Path::new("/"), &state, true);
    let spared = |source: &Source| ignored.overlap(*source).is_some();
    let mut logged_in = day.sources.iter().filter(|(_, doings)| doings.logins > 0);
    if let (Some((source, doings)), None) = (logged_in.next(), logged_in.next())
        && doings.logins >= EVERYBODY
        && ignore::is_private(*source)
    {
        report.advise(
            Mail,
            format!("all {} logins of the last day come from {source}: a proxy or webmail, behind which guessers can't be told apart", doings.logins),
            "have it hand on the clients' addresses: haproxy_trusted_networks or login_trusted_networks in Dovecot, smtpd_upstream_proxy_protocol in Postfix; else put it on \"ignore\"",
        );
        return;
    }
    let mut both: Vec<_> = day
        .sources
        .iter()
        .filter(|(source, doings)| doings.logins > 0 && doings.failures >= OFTEN && !spared(source))
        .collect();
    both.sort_by_key(|(_, doings)| std::cmp::Reverse(doings.failures));
    for (source, doings) in both.iter().take(MAX_NAMED) {
        report.advise(
            Mail,
            format!(
                "{source} logged in {} times in the last day, and failed {} times: somebody's old password, monitoring, or a webmail program",
                doings.logins, doings.failures
            ),
            "if it must never be banned, add it to \"ignore\" in /etc/banjour/banjour.toml, then: systemctl reload banjour",
        );
    }
}
