//! Where attempts come from: an address or a prefix, read from text in one place.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zbus::Signature;
use zbus::zvariant::Type;

/// An address, or a prefix of addresses. IPv4 that is written as IPv6 (`::ffff:192.0.2.7`) is IPv4 here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(IpNet);

/// The text names neither an address nor a prefix.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not an address such as \"192.0.2.7\" or \"2001:db8::7\", nor a prefix such as \"192.0.2.0/24\""
)]
pub struct NotASource(String);

/// Longest text that can be a prefix: an IPv6 address in full with an IPv4 tail, and `/128`.
const MAX_TEXT: usize = 50;

/// The shortest prefixes that are banned: no provider's network is larger, and a slip of the pen is.
const MIN_PREFIX_IPV4: u8 = 8;
const MIN_PREFIX_IPV6: u8 = 16;

/// Addresses with this much in common are one client. Providers give each customer a /64 of IPv6 or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefixes {
    /// The prefix length for IPv4.
    pub ipv4: u8,
    /// The prefix length for IPv6.
    pub ipv6: u8,
}

impl Default for Prefixes {
    fn default() -> Self {
        Self { ipv4: 32, ipv6: 64 }
    }
}

impl Source {
    /// Whether every address of `other` is one of this source's.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0.contains(&other.0)
    }

    /// Whether the two have an address in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other) || other.contains(self)
    }

    /// Its lowest address.
    #[must_use]
    pub fn first(self) -> IpAddr {
        self.0.network()
    }

    /// Its highest address.
    #[must_use]
    pub fn last(self) -> IpAddr {
        self.0.broadcast()
    }

    /// What a map has of this network, itself included. In order, a prefix comes before all that it contains.
    pub fn entries<T>(self, map: &BTreeMap<Self, T>) -> impl Iterator<Item = (Self, &T)> {
        map.range(self..)
            .map(|(source, entry)| (*source, entry))
            .take_while(move |(source, _)| self.contains(*source))
    }

    /// The prefixes around this source, the nearest first.
    pub fn around(self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.0.supernet(), IpNet::supernet).map(Self)
    }

    /// The network that an address stands for, at these prefix lengths. A prefix stands for itself.
    #[must_use]
    pub fn network(self, prefixes: Prefixes) -> Self {
        let length = if self.is_ipv4() {
            prefixes.ipv4
        } else {
            prefixes.ipv6
        };
        if self.0.prefix_len() < self.0.max_prefix_len() {
            return self;
        }
        IpNet::new(self.0.addr(), length).map_or(self, Self::from)
    }

    /// The network of this length around this source, or the source itself where it is longer.
    #[must_use]
    pub fn truncated(self, length: u8) -> Option<Self> {
        let length = length.min(self.0.prefix_len());
        IpNet::new(self.0.addr(), length).ok().map(Self::from)
    }

    /// The networks that may be banned for what is inside, the smallest first, and by which of its parts each is judged: a
    /// /24 by its hosts; a /64 by its hosts, a /56 by its /64s, a /48 by its /56s.
    pub fn crowds(self) -> impl Iterator<Item = (Self, u8)> {
        let levels: &[(u8, u8)] = if self.is_ipv4() {
            &[(24, 32)]
        } else {
            &[(64, 128), (56, 64), (48, 56)]
        };
        levels
            .iter()
            .filter(move |(length, _)| *length < self.0.prefix_len())
            .filter_map(move |(length, parts)| Some((self.truncated(*length)?, *parts)))
    }

    /// Whether this is more than anybody could mean to ban.
    #[must_use]
    pub fn is_too_large(self) -> bool {
        let shortest = if self.is_ipv4() {
            MIN_PREFIX_IPV4
        } else {
            MIN_PREFIX_IPV6
        };
        self.0.prefix_len() < shortest
    }

    /// Whether this is IPv4.
    #[must_use]
    pub fn is_ipv4(self) -> bool {
        matches!(self.0, IpNet::V4(_))
    }
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical().into())
    }
}

impl From<IpNet> for Source {
    /// Bits beyond the prefix are cleared: `192.0.2.7/24` is `192.0.2.0/24`.
    fn from(net: IpNet) -> Self {
        const MAPPED_LEN: u8 = 96;
        if let IpNet::V6(v6) = net
            && v6.prefix_len() >= MAPPED_LEN
            && let Some(v4) = v6.addr().to_ipv4_mapped()
            && let Ok(v4) = Ipv4Net::new(v4, v6.prefix_len() - MAPPED_LEN)
        {
            return Self(IpNet::V4(v4.trunc()));
        }
        Self(net.trunc())
    }
}

impl FromStr for Source {
    type Err = NotASource;

    fn from_str(text: &str) -> Result<Self, NotASource> {
        let refuse = || NotASource(text.chars().take(MAX_TEXT).collect());
        if text.len() > MAX_TEXT {
            return Err(refuse());
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(address.into());
        }
        text.parse::<IpNet>().map(Self::from).map_err(|_| refuse())
    }
}

impl fmt::Display for Source {
    /// A single address is written without its prefix length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            f.pad(&self.0.addr().to_string())
        } else {
            f.pad(&self.0.to_string())
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl Type for Source {
    /// On the bus it is the text.
    const SIGNATURE: &'static Signature = &Signature::Str;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_has_one_text() {
        for (text, canonical) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("2001:DB8:0:0::7", "2001:db8::7"),
            ("2001:db8::7/64", "2001:db8::/64"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7/120", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(
                text.parse::<Source>().unwrap().to_string(),
                canonical,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_source_is_refused_and_quoted() {
        for text in [
            "",
            "mail.example",
            "192.0.2",
            "192.0.2.7/33",
            "fe80::1%eth0",
            "1.2.3.4\n",
            &"9".repeat(9000),
        ] {
            let error = text.parse::<Source>().unwrap_err().to_string();
            assert!(error.len() < 200 && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn an_address_stands_for_its_network() {
        let prefixes = Prefixes { ipv4: 24, ipv6: 64 };
        for (text, network) in [
            ("192.0.2.7", "192.0.2.0/24"),
            ("192.0.2.0/30", "192.0.2.0/30"),
            ("2001:db8::7", "2001:db8::/64"),
            ("2001:db8::/120", "2001:db8::/120"),
        ] {
            let source: Source = text.parse().unwrap();
            assert_eq!(source.network(prefixes).to_string(), network);
        }
        let around: Vec<_> = "192.0.2.7".parse::<Source>().unwrap().around().collect();
        assert_eq!(around.len(), 32);
        assert_eq!(around[7].to_string(), "192.0.2.0/24");
    }

    #[test]
    fn prefixes_contain_and_overlap() {
        let [net, host, other] =
            ["192.0.2.0/24", "192.0.2.9", "2001:db8::/32"].map(|s| s.parse::<Source>().unwrap());
        assert!(
            net.contains(host) && !host.contains(net) && host.overlaps(net) && net.contains(net)
        );
        assert!(!net.overlaps(other));
    }
}
