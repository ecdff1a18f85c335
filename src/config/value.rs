//! Values with a meaning of their own, checked where they are read.

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::SpanRelativeTo;
use serde::Deserialize;
use serde::de::{self, Deserializer};

use crate::firewall::Backend;

/// Shortest span of time.
const MIN_TIME: Duration = Duration::from_secs(1);

/// Longest span of time, ten years: longer than any log is kept, and no sum with a date can overflow.
pub const MAX_TIME: Duration = Duration::from_hours(24 * 3650);

/// Most attempts that a limit may allow. Dovecot and Postfix end a connection long before.
pub(crate) const MAX_LIMIT: u32 = 1000;

/// How many attempts bring a ban.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(pub NonZeroU32);

/// A span of time, as people write it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span(pub Duration);

/// Which firewall.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Firewall {
    Auto,
    Firewalld,
    Nftables,
    Iptables,
}

/// What a ban closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Ports {
    Mail,
    All,
}

/// Lengths for which the firewall has quick sets; more than a /24 or /48 is no client any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ipv4Prefix(pub u8);

/// The same for IPv6.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ipv6Prefix(pub u8);

/// A whole number that may be 0, which turns something off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sources(pub u16);

/// How many sources a jail remembers. Each takes some 200 bytes, while it has attempts.
#[derive(Clone, Copy, Debug)]
pub(super) struct MaxSources(pub usize);

/// How many times as long each ban is as the one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor(pub u16);

/// Whether bans are made, or only told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mode {
    Enforce,
    Observe,
}

/// A jail's name. It is shown in many places, and is part of a D-Bus path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(pub String);

impl Default for MaxSources {
    fn default() -> Self {
        Self(131_072)
    }
}

impl<'de> Deserialize<'de> for MaxSources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        let allowed = usize::try_from(number).ok();
        let allowed = allowed.filter(|n| (1000..=2_000_000).contains(n)).map(Self);
        allowed.ok_or_else(|| {
            de::Error::custom(format!(
                "{number} is not a whole number from 1000 to 2000000"
            ))
        })
    }
}

impl Default for Limit {
    fn default() -> Self {
        const { Self(NonZeroU32::new(3).expect("not zero")) }
    }
}

impl Default for Span {
    fn default() -> Self {
        Self(Duration::from_hours(1))
    }
}

impl From<Firewall> for Option<Backend> {
    fn from(firewall: Firewall) -> Self {
        match firewall {
            Firewall::Auto => None,
            Firewall::Firewalld => Some(Backend::Firewalld),
            Firewall::Nftables => Some(Backend::Nftables),
            Firewall::Iptables => Some(Backend::Iptables),
        }
    }
}

impl<'de> Deserialize<'de> for Sources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        within(deserializer, 0, 1000).map(Self)
    }
}

impl<'de> Deserialize<'de> for Factor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        within(deserializer, 1, 100).map(Self)
    }
}

fn within<'de, D: Deserializer<'de>>(
    deserializer: D,
    least: u16,
    most: u16,
) -> Result<u16, D::Error> {
    let number = i64::deserialize(deserializer)?;
    let number_within = u16::try_from(number)
        .ok()
        .filter(|n| (least..=most).contains(n));
    number_within.ok_or_else(|| {
        let allowed = format!("{number} is not a whole number from {least} to {most}");
        de::Error::custom(allowed)
    })
}

impl<'de> Deserialize<'de> for Ipv4Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_of(deserializer, &[32, 24]).map(Self)
    }
}

impl<'de> Deserialize<'de> for Ipv6Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_of(deserializer, &[128, 64, 56, 48]).map(Self)
    }
}

fn one_of<'de, D: Deserializer<'de>>(deserializer: D, allowed: &[u8]) -> Result<u8, D::Error> {
    let number = i64::deserialize(deserializer)?;
    let known = allowed
        .iter()
        .find(|allowed| i64::from(**allowed) == number);
    known.copied().ok_or_else(|| {
        let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
        de::Error::custom(format!("{number} is not one of {}", allowed.join(", ")))
    })
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        u32::try_from(number)
            .ok()
            .filter(|n| *n <= MAX_LIMIT)
            .and_then(NonZeroU32::new)
            .map(Self)
            .ok_or_else(|| {
                de::Error::custom(format!(
                    "{number} is not a whole number from 1 to {MAX_LIMIT}"
                ))
            })
    }
}

/// Reads a span of time such as `90s`, `60min`, `2h` or `1d`.
///
/// # Errors
/// One line that quotes the text and says what is allowed.
pub fn span(text: &str) -> Result<Duration, String> {
    text.parse::<jiff::Span>()
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .ok()
        .and_then(|span| Duration::try_from(span).ok())
        .filter(|span| (MIN_TIME..=MAX_TIME).contains(span))
        .ok_or_else(|| {
            format!("{text:?} is not a time from one second to ten years, such as \"90s\", \"60min\", \"2h\" or \"1d\"")
        })
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        span(&String::deserialize(deserializer)?)
            .map(Self)
            .map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if (1..=64).contains(&name.len()) && name.chars().all(allowed) {
            return Ok(Self(name));
        }
        Err(de::Error::custom(format!(
            "{name:?} is not a jail's name: up to 64 letters, digits, \"-\", \"_\" and \".\""
        )))
    }
}
