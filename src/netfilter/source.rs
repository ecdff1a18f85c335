//! What callers name: addresses and prefixes, and times. Each is checked; those that must not be touched are left out, and
//! named in the answer.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::{IpNet, Ipv6Net};
use nix::ifaddrs::getifaddrs;

use super::{Error, MAX_SOURCES};

/// A source, and how long it is kept out.
pub(super) type Timed = (IpNet, Duration);

/// A source as it was named, and why it is not touched.
pub(super) type Refused = (String, String);

/// The shortest prefixes that are taken: no provider's network is larger, and a slip of the pen is.
const MIN_PREFIX_IPV4: u8 = 8;
const MIN_PREFIX_IPV6: u8 = 16;

/// IPv4, written as IPv6.
const MAPPED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);

/// Backends count in seconds, and 0 is for ever to them.
const SHORTEST: Duration = Duration::from_secs(1);
/// No source is kept out for longer without being named again: ipset(8) has no longer time than 2,147,483 s.
const LONGEST: Duration = Duration::from_hours(24 * 24);

/// The sources that may be touched, and those that may not.
pub(super) fn untimed(named: Vec<String>) -> Result<(Vec<IpNet>, Vec<Refused>), Error> {
    let named = named.into_iter().map(|text| (text, ())).collect();
    let (sources, refused) = check(named, &own_addresses()?)?;
    Ok((sources.into_iter().map(|(net, ())| net).collect(), refused))
}

/// The same, with times (µs since the epoch) made into how long that is from now. A source whose time is over is in
/// neither.
pub(super) fn timed(named: Vec<(String, u64)>) -> Result<(Vec<Timed>, Vec<Refused>), Error> {
    timed_from(named, &own_addresses()?, now())
}

/// The same on a host with these addresses, at a time since the epoch.
pub(super) fn timed_from(
    named: Vec<(String, u64)>,
    own: &[IpAddr],
    now: Duration,
) -> Result<(Vec<Timed>, Vec<Refused>), Error> {
    let (sources, refused) = check(named, own)?;
    let left = |until: u64| Duration::from_micros(until).checked_sub(now);
    let timed = sources
        .into_iter()
        .filter_map(|(net, until)| Some((net, left(until)?.clamp(SHORTEST, LONGEST))))
        .collect();
    Ok((timed, refused))
}

/// Sources with the time that is left made into until when (µs since the epoch).
pub(super) fn until(sources: BTreeMap<IpNet, Duration>) -> Vec<(String, u64)> {
    let now = now();
    let usec = |left: Duration| u64::try_from(now.saturating_add(left).as_micros());
    sources
        .into_iter()
        .map(|(net, left)| (net.to_string(), usec(left).unwrap_or(u64::MAX)))
        .collect()
}

/// Each source once; of several times for one, the last.
pub(super) fn check<T>(
    named: Vec<(String, T)>,
    own: &[IpAddr],
) -> Result<(BTreeMap<IpNet, T>, Vec<Refused>), Error> {
    if named.len() > MAX_SOURCES {
        return Err(Error::TooMany(format!(
            "{} sources are more than the {MAX_SOURCES} that one call may name",
            named.len()
        )));
    }
    let mut sources = BTreeMap::new();
    let mut refused = Vec::new();
    for (text, with) in named {
        match source(&text, own) {
            Ok(net) => drop(sources.insert(net, with)),
            Err(why) => refused.push((cut(&text), why.to_owned())),
        }
    }
    Ok((sources, refused))
}

fn source(text: &str, own: &[IpAddr]) -> Result<IpNet, &'static str> {
    let net: IpNet = text
        .parse()
        .or_else(|_| text.parse().map(|ip: IpAddr| ip.to_canonical().into()))
        .map_err(|_| "is neither an address nor a prefix")?;
    let shortest = match net {
        IpNet::V4(_) => MIN_PREFIX_IPV4,
        IpNet::V6(_) => MIN_PREFIX_IPV6,
    };
    let net = net.trunc();
    if net.prefix_len() < shortest {
        Err("is too large a network")
    } else if matches!(net, IpNet::V6(v6) if MAPPED.contains(&v6) || v6.contains(&MAPPED)) {
        Err("is a network of IPv4, to be written as one")
    } else if net.addr().is_loopback() || net.addr().is_unspecified() || net.addr().is_multicast() {
        Err("is nobody out there")
    } else if own.iter().any(|address| net.contains(address)) {
        Err("is, or contains, an address of this host")
    } else {
        Ok(net)
    }
}

/// As much of a text as is worth repeating.
fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn own_addresses() -> Result<Vec<IpAddr>, Error> {
    let interfaces = getifaddrs()
        .map_err(|e| Error::Failed(format!("cannot tell this host's addresses: {e}")))?;
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    Ok(interfaces.filter_map(address).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_addresses_and_prefixes_out_there() {
        let own = ["192.0.2.2", "2001:db8:1::2"].map(|address| address.parse().unwrap());
        let check = |text: &str| check(vec![(text.to_owned(), ())], &own).unwrap();
        for (text, net) in [
            ("198.51.100.1", "198.51.100.1/32"),
            ("198.51.100.0/24", "198.51.100.0/24"),
            ("198.51.100.7/24", "198.51.100.0/24"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("2001:db8:2::/48", "2001:db8:2::/48"),
            ("::ffff:198.51.100.1", "198.51.100.1/32"),
        ] {
            let (sources, refused) = check(text);
            assert_eq!(
                sources.into_keys().collect::<Vec<_>>(),
                [net.parse::<IpNet>().unwrap()]
            );
            assert_eq!(refused, []);
        }
        for (text, why) in [
            ("", "neither"),
            ("0", "neither"),
            ("all", "neither"),
            ("198.51.100.1 ", "neither"),
            ("198.51.100.1/33", "neither"),
            ("-198.51.100.1", "neither"),
            ("0.0.0.0/0", "too large"),
            ("::/0", "too large"),
            ("198.0.0.0/7", "too large"),
            ("::ffff:0:0/96", "of IPv4"),
            ("::ffff:198.51.100.1/128", "of IPv4"),
            ("::fffe:0:0/95", "of IPv4"),
            ("127.0.0.1", "nobody"),
            ("127.1.2.0/24", "nobody"),
            ("::1", "nobody"),
            ("0.0.0.0", "nobody"),
            ("::", "nobody"),
            ("224.0.0.1", "nobody"),
            ("ff02::1", "nobody"),
            ("192.0.2.2", "this host"),
            ("192.0.2.0/24", "this host"),
            ("192.0.2.7/24", "this host"),
            ("2001:db8:1::/64", "this host"),
        ] {
            let (sources, refused) = check(text);
            assert!(sources.is_empty());
            assert_eq!(refused.len(), 1);
            let (named, because) = &refused[0];
            assert!(named == text && because.contains(why), "{refused:?}");
        }
    }

    #[test]
    fn a_refused_source_keeps_no_other_out_of_the_call() {
        let named = ["::/0", "198.51.100.1", "127.0.0.1"].map(|text| (text.to_owned(), ()));
        let (sources, refused) = check(named.to_vec(), &[]).unwrap();
        assert_eq!((sources.len(), refused.len()), (1, 2));
    }

    #[test]
    fn a_call_names_no_more_than_its_bound() {
        let sources = |n: usize| vec![("198.51.100.1".to_owned(), ()); n];
        assert!(check(sources(MAX_SOURCES), &[]).is_ok());
        let error = check(sources(MAX_SOURCES + 1), &[]).unwrap_err();
        assert!(matches!(error, Error::TooMany(_)), "{error}");
    }

    #[test]
    fn times_end_when_they_should_and_none_is_longer_than_the_kernels() {
        let at = |left: Duration| u64::try_from((now() + left).as_micros()).unwrap();
        let named = |until| vec![("198.51.100.1".to_owned(), until)];
        let (hour, day) = (Duration::from_hours(1), Duration::from_hours(24));
        let left = |until| {
            timed(named(until))
                .unwrap()
                .0
                .first()
                .map(|(_, left)| *left)
        };
        let near = left(at(hour)).unwrap();
        assert!(near <= hour && near > hour.saturating_sub(Duration::from_mins(1)));
        assert_eq!(left(at(100 * day)), Some(LONGEST));
        assert_eq!(left(u64::MAX), Some(LONGEST));
        assert_eq!(left(0), None);
        assert_eq!(left(1), None);
    }
}
