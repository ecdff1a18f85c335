//! What callers on the bus ask of the keeper: to ban, to lift, to show.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Keeper;
use super::lift::Reason;
use crate::ban::{Ban, Cause, JailName};
use crate::bus::{BanRow, Error, JailStatus, Status};
use crate::config::{MANUAL, MAX_TIME};
use crate::jail::usec;
use crate::source::Source;

impl Keeper {
    /// An admin's ban. An empty jail is [`MANUAL`], 0 µs the jail's own time.
    pub(in crate::agent) fn order_ban(
        &mut self,
        source: Source,
        jail: &str,
        duration_usec: u64,
    ) -> Result<(), Error> {
        let jail = self.jail_name(if jail.is_empty() { MANUAL } else { jail })?;
        if let Some(ignored) = self.ignored.overlap(source) {
            let text = format!("{source} is never banned: {ignored}");
            return Err(Error::SourceIgnored(text));
        }
        if source.is_too_large() {
            let text =
                format!("{source} is too large a network: no more than a /8, or /16 of IPv6");
            return Err(Error::InvalidSource(text));
        }
        let duration = match Duration::from_micros(duration_usec) {
            Duration::ZERO => self
                .config
                .jails
                .get(&jail)
                .map_or(MAX_TIME, |jail| jail.rule.ban_time),
            duration if duration <= MAX_TIME => duration,
            _ => {
                return Err(Error::InvalidDuration(format!(
                    "{duration_usec} µs is longer than ten years"
                )));
            }
        };
        let ban = Ban::new(source, &jail, Timestamp::now(), duration, Cause::Order);
        self.ban(&ban);
        Ok(())
    }

    /// An admin's word that a source may come again, in one jail or in all. What it did before is forgiven. An address
    /// speaks for the network that it was banned with, too.
    pub(in crate::agent) fn order_unban(
        &mut self,
        source: Source,
        jail: &str,
    ) -> Result<u32, Error> {
        let jails: Vec<JailName> = if jail.is_empty() {
            self.policy.jails().keys().cloned().collect()
        } else {
            vec![self.jail_name(jail)?]
        };
        let now = Timestamp::now();
        let mut lifted = Vec::new();
        let prefixes = self.config.prefixes;
        let client = self.ignored.client(source, prefixes);
        for source in BTreeSet::from([source, source.network(prefixes), client]) {
            // A network was banned for what is inside.
            for inside in self.policy.history.inside(source) {
                self.forgive(inside, &jails, now);
            }
            self.forgive(source, &jails, now);
            lifted.extend(self.bans.remove(source, (!jail.is_empty()).then_some(jail)));
        }
        self.ended(&lifted, Reason::Unbanned);
        Ok(u32::try_from(lifted.len()).unwrap_or(u32::MAX))
    }

    fn forgive(&mut self, source: Source, jails: &[JailName], now: Timestamp) {
        for jail in jails {
            self.settle(source, jail, now);
        }
        if self.policy.history.forgive(source) {
            self.changes.history.insert(source, None);
        }
    }

    fn jail_name(&self, name: &str) -> Result<JailName, Error> {
        self.policy
            .jails()
            .get_key_value(name)
            .map(|(name, _)| Arc::clone(name))
            .ok_or_else(|| {
                let known = self
                    .policy
                    .jails()
                    .keys()
                    .map(|name| &**name)
                    .collect::<Vec<_>>()
                    .join(", ");
                Error::NoSuchJail(format!("there is no jail {name:?}; there are: {known}"))
            })
    }

    pub(in crate::agent) fn list(&self, jail: Option<&str>) -> Vec<BanRow> {
        let wanted = |ban: &Ban| jail.is_none_or(|jail| *ban.jail == *jail);
        let row = |ban: Ban| {
            (
                ban.source.to_string(),
                ban.jail.to_string(),
                usec(ban.since),
                usec(ban.until),
            )
        };
        self.bans.iter().filter(wanted).map(row).collect()
    }

    pub(in crate::agent) fn status(&self, problems: Vec<String>) -> Status {
        Status {
            jails: self
                .policy
                .jails()
                .keys()
                .map(ToString::to_string)
                .collect(),
            problems,
            firewall: self.holder,
            in_force: count(self.in_force),
            loaded_usec: usec(self.config.read_at),
            currently_banned: count(self.bans.len()),
            total_banned: self.totals.values().map(|totals| totals.banned).sum(),
        }
    }

    pub(in crate::agent) fn jail_status(&self, name: &str, now: Timestamp) -> Option<JailStatus> {
        let jail = self.policy.jails().get(name)?;
        let totals = self.totals.get(name).copied().unwrap_or_default();
        let rule = jail.rule();
        Some(JailStatus {
            filters: self
                .config
                .jails
                .get(name)?
                .filters
                .iter()
                .cloned()
                .collect(),
            attempts: rule.attempts.get(),
            window_usec: micros(rule.window),
            ban_time_usec: micros(rule.ban_time),
            currently_failed: count(jail.currently_failed(now)),
            total_failed: totals.failed,
            currently_banned: count(self.bans.iter().filter(|ban| *ban.jail == *name).count()),
            total_banned: totals.banned,
        })
    }

    /// One line for `systemctl status`.
    pub(in crate::agent) fn summary(&self) -> String {
        let (bans, jails) = (
            self.bans.len(),
            self.policy
                .jails()
                .keys()
                .map(|name| &**name)
                .collect::<Vec<_>>()
                .join(", "),
        );
        format!(
            "{bans} {} in force; jails: {jails}",
            if bans == 1 { "ban" } else { "bans" }
        )
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
