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

// What stands here of each key is its description in banjour.toml(5).

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Fragment {
    /// Who is never banned: addresses, prefixes, host names such as `"office.example"`, and files with one of these per line.
    /// Loopback and the host's own addresses never are, listed or not.
    pub(super) ignore: Option<Vec<Entry>>,
    /// `true`: nor are private networks, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, `fc00::/7` and link-local.
    pub(super) ignore_private: Option<bool>,
    /// How much of an IPv4 address is one client, and is banned as one: 32 or 24.
    pub(super) ipv4_prefix: Option<Ipv4Prefix>,
    /// The same for IPv6: 128, 64, 56 or 48. A customer has at least a /64.
    pub(super) ipv6_prefix: Option<Ipv6Prefix>,
    /// Who keeps banned clients out: `"firewalld"`, `"nftables"` or `"iptables"` (with ipset); `"auto"`: firewalld while it
    /// runs, else nftables, else iptables.
    pub(super) firewall: Option<Firewall>,
    /// What a ban closes: the `"mail"` ports (25, 465, 587, 110, 995, 143, 993, 4190), or `"all"`. With firewalld, its policy
    /// says it.
    pub(super) ports: Option<Ports>,
    /// `true` tells banned clients that they are not let in, instead of nothing. With firewalld, its policy says it.
    pub(super) reject: Option<bool>,
    /// `"enforce"`, or `"observe"`: every decision is told in the journal, and nobody is banned.
    pub(super) mode: Option<Mode>,
    /// So long after a login, its user is a customer where it came from: failures under that name from there are a stale
    /// password, up to `customer-attempts`.
    pub(super) trust_time: Option<Span>,
    /// So many sources that fail for one account within `account-window`: it is under attack, and whoever fails for it, and is
    /// no customer, is banned at once. 0: never.
    pub(super) account_sources: Option<Sources>,
    /// The time for `account-sources`.
    pub(super) account_window: Option<Span>,
    /// So many bans in one network (a /24; of IPv6 a /64, a /56, a /48) within `network-window`: all of it is banned. Never one
    /// with somebody in it who is ignored or a customer. 0: never.
    pub(super) network_sources: Option<Sources>,
    /// The time for `network-sources`.
    pub(super) network_window: Option<Span>,
    /// The jails, each a table `[jail.NAME]`.
    #[serde(default)]
    pub(super) jail: BTreeMap<Name, JailFragment>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct JailFragment {
    /// `false` takes the jail out, and lifts its bans.
    pub(super) enabled: Option<bool>,
    /// Whose evidence it counts: names of filters. A jail without any bans nobody by itself.
    pub(super) filters: Option<Vec<String>>,
    /// As `mode` for all jails, which it stands above.
    pub(super) mode: Option<Mode>,
    /// The failed login that brings the ban: 1 to 1000.
    pub(super) attempts: Option<Limit>,
    /// The attempt of a customer under his own name that brings a ban after all: 1 to 1000.
    pub(super) customer_attempts: Option<Limit>,
    /// In what time they must happen.
    pub(super) window: Option<Span>,
    /// How long a first ban lasts.
    pub(super) ban_time: Option<Span>,
    /// Each ban of a source lasts so many times as long as the one before: 1 to 100.
    pub(super) ban_time_factor: Option<Factor>,
    /// None lasts longer than this.
    pub(super) ban_time_max: Option<Span>,
    /// For each such time without a ban, one of those before is forgotten.
    pub(super) ban_time_decay: Option<Span>,
    /// So many sources' attempts are remembered, in some 200 bytes each: 1000 to 2000000. More is a problem that you are told of.
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
