//! Where attempts come from: an address or a prefix, read from text in one place.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

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
    fn prefixes_contain_and_overlap() {
        let [net, host, other] =
            ["192.0.2.0/24", "192.0.2.9", "2001:db8::/32"].map(|s| s.parse::<Source>().unwrap());
        assert!(
            net.contains(host) && !host.contains(net) && host.overlaps(net) && net.contains(net)
        );
        assert!(!net.overlaps(other));
    }
}
