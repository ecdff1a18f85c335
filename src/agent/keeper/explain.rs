//! What is told to who looks closer: why somebody is banned, or not, and who is at work.

use std::sync::Arc;
use std::time::Duration;

use itertools::Itertools;
use jiff::Timestamp;

use super::Keeper;
use crate::ban::{Ban, Cause};
use crate::bus::{BanDetails, BusyAccount, BusySource, Doings, Explanation, Overview};
use crate::jail::{Jail, usec};
use crate::source::Source;

/// So much of an overview is enough for any screen.
const MAX_OVERVIEW: usize = 100;

impl Keeper {
    /// The bans of one jail, or of all.
    pub(in crate::agent) fn describe(&self, jail: Option<&str>) -> Vec<BanDetails> {
        let wanted = |ban: &Ban| jail.is_none_or(|jail| *ban.jail == *jail);
        let bans = self.bans.iter().filter(wanted);
        bans.map(|ban| self.details(&ban)).collect()
    }

    /// Who and what is in sight, of each kind so many at the most.
    pub(in crate::agent) fn overview(&self, most: u32, now: Timestamp) -> Overview {
        let most = usize::try_from(most).unwrap_or(MAX_OVERVIEW);
        let most = most.min(MAX_OVERVIEW);
        let source = |(source, attempts, last)| BusySource {
            source: Source::to_string(&source),
            attempts,
            last_usec: usec(last),
            banned: self.is_banned(source),
        };
        let account = |(user, attempts, sources, under_attack): (&str, _, _, _)| BusyAccount {
            user: user.to_owned(),
            attempts,
            sources,
            under_attack,
        };
        let newest = self.bans.iter().k_largest_by_key(most, |ban| ban.since);
        let (sources, accounts) = (
            self.policy.busiest(now, most),
            self.policy.accounts.busiest(now, most),
        );
        Overview {
            sources: sources.into_iter().map(source).collect(),
            accounts: accounts.into_iter().map(account).collect(),
            bans: newest.map(|ban| self.details(&ban)).collect(),
        }
    }

    /// What is known of a source. Whether the firewall keeps it out is not known here.
    pub(in crate::agent) fn explain(&self, source: Source, now: Timestamp) -> Explanation {
        let client = self.ignored.client(source, self.config.prefixes);
        let mut bans = self.bans.inside(source);
        for wider in source.around() {
            bans.extend(self.bans.of_source(wider));
        }
        let networks = bans
            .iter()
            .filter(|ban| matches!(ban.cause, Cause::Network(_)));
        let inside = networks.flat_map(|ban| self.policy.history.inside(ban.source));
        let member = |source: Source| {
            let past = self.policy.history.past(source)?;
            Some((source.to_string(), usec(past.since)))
        };
        let members = inside.filter_map(member).take(MAX_OVERVIEW).collect();
        let doings = |(name, jail): (&Arc<str>, &Jail)| Doings {
            jail: name.to_string(),
            attempts: jail.attempts(client),
            counting: jail.counting(client),
            limit: jail.rule().attempts.get(),
        };
        let jails = self.policy.jails().iter().map(doings);
        let past = self.policy.history.past(client);
        let customers = self.policy.trust.of_source(source, now).into_iter();
        Explanation {
            client: client.to_string(),
            in_force: String::new(),
            bans: bans.iter().map(|ban| self.details(ban)).collect(),
            members,
            jails: jails.filter(|doings| doings.attempts > 0).collect(),
            users: self.policy.tried.names(client).into(),
            ignored: self
                .ignored
                .overlap(source)
                .map(ToString::to_string)
                .unwrap_or_default(),
            customers: customers.map(|(user, last)| (user, usec(last))).collect(),
            remembered_bans: self.policy.history.bans(client, now, self.remembers_for()),
            last_ban_usec: past.map_or(0, |past| usec(past.since)),
            last_ban_until_usec: past.map_or(0, |past| usec(past.until)),
        }
    }

    pub(super) fn details(&self, ban: &Ban) -> BanDetails {
        let (cause, count) = match &ban.cause {
            Cause::Order => ("order", 0),
            Cause::Attempts(attempts) => ("attempts", attempts.count),
            Cause::Network(bans) => ("network", *bans),
        };
        let attempts = ban.cause.attempts();
        let forget = self.growth(&ban.jail).forget;
        let bans = self.policy.history.bans(ban.source, ban.since, forget);
        BanDetails {
            source: ban.source.to_string(),
            jail: ban.jail.to_string(),
            since_usec: usec(ban.since),
            until_usec: usec(ban.until),
            cause: cause.to_owned(),
            count,
            first_usec: attempts.map_or(0, |attempts| usec(attempts.first.time())),
            users: attempts.map_or_else(Vec::new, |attempts| attempts.users.clone().into()),
            previous_bans: bans.saturating_sub(1),
        }
    }

    fn is_banned(&self, source: Source) -> bool {
        self.bans.contains(source) || self.bans.covers(source)
    }

    /// The longest time after which a ban is forgotten.
    fn remembers_for(&self) -> Duration {
        let times = self.config.jails.values().map(|jail| jail.growth.forget);
        times.max().unwrap_or_default()
    }
}
