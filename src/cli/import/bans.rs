//! The bans in fail2ban's database → the agent's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::Failure;
use super::database::{self, LastBan};
use super::filter::Choice;
use super::read::Import;
use super::{quoted, shown};
use crate::bus::ManagerProxy;
use crate::config::{MANUAL, MAX_TIME};
use crate::source::Source;

/// The part of the time left by which the agent's ban may end earlier, and still be the same: "for ever" is counted from
/// now, each time.
const SAME: u64 = 1000;

/// Most jails that the report names as not for mail.
const MAX_NAMED: usize = 100;

/// What is banned by fail2ban's mail jails.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In force: the source, banjour's jail, and the end.
    bans: BTreeMap<(Source, String), Timestamp>,
    report: Report,
}

/// What became of the bans.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// How many were taken over, by jail.
    taken: BTreeMap<String, usize>,
    /// Those that the agent had, at least as long.
    known: usize,
    over: usize,
    /// Each with its reason.
    refused: Vec<(String, String)>,
    unreadable: usize,
    /// Those of jails that are not for mail.
    left: usize,
    left_jails: BTreeSet<String>,
}

impl Found {
    /// Reads the database.
    pub(super) fn read(database: &Path, import: &Import, now: Timestamp) -> Result<Self, Failure> {
        let (bans, unreadable) = database::read(database)?;
        let mut found = Self::default();
        found.report.unreadable = unreadable;
        for ban in &bans {
            found.add(ban, import, now);
        }
        Ok(found)
    }

    fn add(&mut self, ban: &LastBan, import: &Import, now: Timestamp) {
        let report = &mut self.report;
        let Some(jail) = jail(&ban.jail, import) else {
            report.left += 1;
            if report.left_jails.len() < MAX_NAMED {
                report.left_jails.insert(shown(&ban.jail));
            }
            return;
        };
        let Some(until) = end(ban, import, now) else {
            report.over += 1;
            return;
        };
        match ban.address.parse::<Source>() {
            Ok(source) => {
                let known = self.bans.entry((source, jail)).or_insert(until);
                *known = until.max(*known);
            }
            Err(error) => report
                .refused
                .push((quoted(&ban.address), error.to_string())),
        }
    }

    /// Has the agent ban them all.
    pub(super) async fn hand_over(self, manager: &ManagerProxy<'_>) -> Result<Report, Failure> {
        let Self { bans, mut report } = self;
        let jails = manager.jails().await?;
        let rows = manager.list_bans().await?;
        let known: BTreeMap<_, _> = rows
            .iter()
            .map(|(source, jail, _, until)| ((&**source, &**jail), *until))
            .collect();
        for ((source, jail), until) in bans {
            let jail = if jails.contains(&jail) {
                &*jail
            } else {
                MANUAL
            };
            let text = source.to_string();
            let usec = u64::try_from(until.as_microsecond()).unwrap_or(u64::MAX);
            let left = until.duration_since(Timestamp::now());
            let left = Duration::try_from(left).unwrap_or_default().min(MAX_TIME);
            let left = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
            if left == 0 {
                report.over += 1;
                continue;
            }
            let known = known.get(&(&*text, jail));
            if known.is_some_and(|known| known + left / SAME >= usec) {
                report.known += 1;
                continue;
            }
            match manager
                .ban(&text, jail, left, 0)
                .await
                .map_err(Failure::from)
            {
                Ok(()) => *report.taken.entry(jail.to_owned()).or_default() += 1,
                Err(Failure::Refused(why)) => report.refused.push((text, why)),
                Err(failure) => return Err(failure),
            }
        }
        Ok(report)
    }
}

/// banjour's jail for one of fail2ban's mail jails.
fn jail(name: &str, import: &Import) -> Option<String> {
    if let Some(jail) = import.names.get(name) {
        return Some(jail.clone().unwrap_or_else(|| MANUAL.to_owned()));
    }
    // A jail that was taken out of the configuration.
    let choice = Choice::read(name);
    choice.watched(name, "").map(|_| name.to_owned())
}

/// When a ban that is in force ends.
fn end(ban: &LastBan, import: &Import, now: Timestamp) -> Option<Timestamp> {
    let longest = now
        .checked_add(SignedDuration::try_from(MAX_TIME).ok()?)
        .ok()?;
    #[allow(clippy::cast_possible_truncation, reason = "a fraction of a second")]
    let configured = || {
        import
            .ban_times
            .get(&ban.jail)
            .map_or(600, |time| *time as i64)
    };
    let time = ban.time.unwrap_or_else(configured);
    if time < 0 {
        return Some(longest);
    }
    let until = ban.since.saturating_add(time);
    let until = Timestamp::from_second(until.min(longest.as_second())).ok()?;
    (until > now).then_some(until)
}

impl Report {
    pub(super) fn as_text(&self) -> String {
        let all: usize = self.taken.values().sum();
        let by_jail = self
            .taken
            .iter()
            .map(|(jail, count)| format!("{count} in jail {jail}"));
        let mut lines = match all {
            0 => vec!["took over no ban".to_owned()],
            _ => vec![format!("took over {}: {}", bans(all), listed(by_jail))],
        };
        let left_jails = listed(self.left_jails.iter().cloned());
        for (count, what) in [
            (self.known, "banned already, at least as long"),
            (self.over, "over"),
            (self.unreadable, "not to be understood"),
            (
                self.left,
                &format!("not of mail jails, stays with fail2ban ({left_jails})"),
            ),
        ] {
            if count > 0 {
                lines.push(format!("{}: {what}", bans(count)));
            }
        }
        let refused = self.refused.iter();
        lines.extend(refused.map(|(source, why)| format!("refused {source}: {why}")));
        lines.join("\n") + "\n"
    }

    pub(super) fn as_json(&self) -> Value {
        let refused = self
            .refused
            .iter()
            .map(|(source, why)| json!({ "source": source, "why": why }));
        json!({
            "taken_over": self.taken,
            "known": self.known,
            "over": self.over,
            "unreadable": self.unreadable,
            "left": self.left,
            "refused": refused.collect::<Vec<_>>(),
        })
    }
}

fn bans(count: usize) -> String {
    if count == 1 {
        "1 ban".to_owned()
    } else {
        format!("{count} bans")
    }
}

fn listed(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}
