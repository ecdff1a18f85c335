//! What one file says, and files laid over one another.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::value::{
    Factor, Firewall, Ipv4Prefix, Ipv6Prefix, Limit, MaxSources, Mode, Name, Ports, Sources, Span,
};
use crate::accounts;
use crate::firewall;
use crate::history::{Crowd, Growth};
use crate::ignore::{self, Entry};
use crate::jail::Rule;
use crate::source::Prefixes;

/// A phone with a stale password tries it every minute or two, over several protocols.
const CUSTOMER_ATTEMPTS: NonZeroU32 = NonZeroU32::new(600).expect("not zero");

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Fragment {
    pub(super) ignore: Option<Vec<Entry>>,
    pub(super) ignore_private: Option<bool>,
    pub(super) ipv4_prefix: Option<Ipv4Prefix>,
    pub(super) ipv6_prefix: Option<Ipv6Prefix>,
    pub(super) firewall: Option<Firewall>,
    pub(super) ports: Option<Ports>,
    pub(super) reject: Option<bool>,
    pub(super) mode: Option<Mode>,
    pub(super) trust_time: Option<Span>,
    pub(super) account_sources: Option<Sources>,
    pub(super) account_window: Option<Span>,
    pub(super) network_sources: Option<Sources>,
    pub(super) network_window: Option<Span>,
    #[serde(default)]
    pub(super) jail: BTreeMap<Name, JailFragment>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct JailFragment {
    pub(super) enabled: Option<bool>,
    pub(super) filters: Option<Vec<String>>,
    pub(super) mode: Option<Mode>,
    pub(super) attempts: Option<Limit>,
    pub(super) customer_attempts: Option<Limit>,
    pub(super) window: Option<Span>,
    pub(super) ban_time: Option<Span>,
    pub(super) ban_time_factor: Option<Factor>,
    pub(super) ban_time_max: Option<Span>,
    pub(super) ban_time_decay: Option<Span>,
    pub(super) max_sources: Option<MaxSources>,
}

/// What is the same for all jails, or stands for those that don't say otherwise.
pub(super) struct Shared {
    pub(super) ignore: ignore::Settings,
    pub(super) prefixes: Prefixes,
    pub(super) firewall: firewall::Settings,
    pub(super) mode: Mode,
    pub(super) trust_time: Duration,
    pub(super) accounts: accounts::Rule,
    pub(super) crowd: Crowd,
}

/// A jail while fragments are laid over one another; it remembers who chose its filters.
#[derive(Default)]
pub(super) struct Merged {
    pub(super) jail: JailFragment,
    pub(super) filters_from: PathBuf,
}

impl Merged {
    pub(super) fn lay_over(&mut self, over: JailFragment, path: &Path) {
        if over.filters.is_some() {
            path.clone_into(&mut self.filters_from);
        }
        let jail = &mut self.jail;
        jail.enabled = over.enabled.or(jail.enabled);
        jail.filters = over.filters.or(jail.filters.take());
        jail.mode = over.mode.or(jail.mode);
        jail.attempts = over.attempts.or(jail.attempts);
        jail.customer_attempts = over.customer_attempts.or(jail.customer_attempts);
        jail.window = over.window.or(jail.window);
        jail.ban_time = over.ban_time.or(jail.ban_time);
        jail.ban_time_factor = over.ban_time_factor.or(jail.ban_time_factor);
        jail.ban_time_max = over.ban_time_max.or(jail.ban_time_max);
        jail.max_sources = over.max_sources.or(jail.max_sources);
        jail.ban_time_decay = over.ban_time_decay.or(jail.ban_time_decay);
    }
}

impl Default for Shared {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_hours(1);
        Self {
            ignore: ignore::Settings::default(),
            prefixes: Prefixes::default(),
            firewall: firewall::Settings::default(),
            mode: Mode::Enforce,
            trust_time: 7 * 24 * HOUR,
            accounts: accounts::Rule {
                sources: 10,
                window: HOUR,
            },
            crowd: Crowd {
                sources: 4,
                window: 24 * HOUR,
            },
        }
    }
}

impl Shared {
    pub(super) fn lay_over(&mut self, over: &Fragment) {
        let span = |span: Option<Span>, or: Duration| span.map_or(or, |span| span.0);
        let sources = |sources: Option<Sources>, or: u16| sources.map_or(or, |sources| sources.0);
        if let Some(entries) = &over.ignore {
            self.ignore.entries.clone_from(entries);
        }
        self.ignore.private = over.ignore_private.unwrap_or(self.ignore.private);
        if let Some(prefix) = over.ipv4_prefix {
            self.prefixes.ipv4 = prefix.0;
        }
        if let Some(prefix) = over.ipv6_prefix {
            self.prefixes.ipv6 = prefix.0;
        }
        if let Some(backend) = over.firewall {
            self.firewall.backend = backend.into();
        }
        if let Some(ports) = over.ports {
            self.firewall.all_ports = ports == Ports::All;
        }
        self.firewall.reject = over.reject.unwrap_or(self.firewall.reject);
        self.mode = over.mode.unwrap_or(self.mode);
        self.trust_time = span(over.trust_time, self.trust_time);
        self.accounts.sources = sources(over.account_sources, self.accounts.sources);
        self.accounts.window = span(over.account_window, self.accounts.window);
        self.crowd.sources = sources(over.network_sources, self.crowd.sources);
        self.crowd.window = span(over.network_window, self.crowd.window);
    }
}

impl JailFragment {
    pub(super) fn growth(&self) -> Growth {
        let Growth {
            factor,
            longest,
            forget,
        } = Growth::default();
        Growth {
            factor: self.ban_time_factor.map_or(factor, |factor| factor.0),
            longest: self.ban_time_max.map_or(longest, |span| span.0),
            forget: self.ban_time_decay.map_or(forget, |span| span.0),
        }
    }

    pub(super) fn rule(&self) -> Rule {
        Rule {
            max_sources: self.max_sources.unwrap_or_default().0,
            attempts: self.attempts.unwrap_or_default().0,
            customer_attempts: self
                .customer_attempts
                .map_or(CUSTOMER_ATTEMPTS, |limit| limit.0),
            window: self.window.unwrap_or_default().0,
            ban_time: self.ban_time.unwrap_or_default().0,
        }
    }
}
