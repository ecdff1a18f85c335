//! What holds for whatever a caller sends and whatever the programs print. For tests and fuzzing.
//!
//! What is told to the programs is read here again by a grammar of its own, which knows addresses, prefixes and times.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use ipnet::IpNet;
use zbus::wire::Endian;
use zbus::wire::serialized::{Context, Data};

use super::source::{Timed, check as untimed, timed_from};
use super::{Rules, iptables, nftables};

/// This host, as it is here.
const OWN: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2)),
];

/// The time, as it is here.
const NOW: Duration = Duration::from_hours(490_000);

/// The longest time that is told to a program.
const LONGEST: Duration = Duration::from_hours(24 * 24);

/// Nobody out there is in any of these, though some have them as neighbours.
const NEVER: [&str; 6] = [
    "127.0.0.0/8",
    "0.0.0.0/32",
    "224.0.0.0/4",
    "::/127",
    "::ffff:0:0/96",
    "ff00::/8",
];

/// Texts that stand where sources do, whole or behind one another.
const PIECES: [&str; 24] = [
    "198.51.100.1",
    "192.0.2.2",
    "192.0.2.0",
    "127.0.0.1",
    "0.0.0.0",
    "2001:db8::1",
    "2001:db8:1::2",
    "::1",
    "::",
    "::ffff:",
    "::fffe:0:0",
    "fe80::1%eth0",
    "/0",
    "/8",
    "/24",
    "/32",
    "/95",
    "/128",
    " ",
    "\n",
    ", ",
    " }\n",
    "; flush ruleset; ",
    " timeout 1s",
];

/// One call with whatever is in `data`, or something that the programs print.
///
/// # Panics
/// When something does not hold.
pub fn check(data: &[u8]) {
    let mut choices = Unstructured::new(data);
    let choice = choices.arbitrary::<u8>().unwrap_or_default();
    let rules = Rules {
        all_ports: choice & 1 > 0,
        reject: choice & 2 > 0,
    };
    match choice >> 2 {
        0..48 => {
            let removed = named(&mut choices).unwrap_or_default();
            let added = named(&mut choices).unwrap_or_default();
            called(rules, removed, added);
        }
        48..56 => sent(rules, choices.take_rest()),
        56..60 => nftables::properties::print(rules, &String::from_utf8_lossy(choices.take_rest())),
        _ => iptables::properties::print(rules, &String::from_utf8_lossy(choices.take_rest())),
    }
}

/// Bytes as they come from the bus.
fn sent(rules: Rules, bytes: &[u8]) {
    let data = Data::new(bytes, Context::new(Endian::Little, 0));
    if let Ok(((_, _, added), _)) = data.deserialize::<(bool, bool, Vec<(String, u64)>)>() {
        called(rules, Vec::new(), added);
    }
    if let Ok(((removed, added), _)) = data.deserialize::<(Vec<String>, Vec<(String, u64)>)>() {
        let removed = removed.into_iter().map(|text| (text, 0)).collect();
        called(rules, removed, added);
    }
}

fn called(rules: Rules, removed: Vec<(String, u64)>, added: Vec<(String, u64)>) {
    let most = removed.len() + added.len();
    let (removed, refused) = untimed(removed, &OWN).expect("few enough");
    let removed: Vec<IpNet> = removed.into_keys().collect();
    let (added, more) = timed_from(added, &OWN, NOW).expect("few enough");
    assert!(removed.len() + refused.len() + added.len() + more.len() <= most);
    for (text, why) in refused.iter().chain(&more) {
        assert!(text.chars().count() <= 64 && !why.is_empty());
    }
    for net in removed.iter().chain(added.iter().map(|(net, _)| net)) {
        out_there(*net);
    }
    for (_, time) in &added {
        assert!(
            (Duration::from_secs(1)..=LONGEST).contains(time),
            "{time:?}"
        );
    }
    nftables::properties::tell(rules, &removed, &added);
    iptables::properties::tell(rules, &removed, &added);
}

/// A source that may be kept out: neither large, nor this host, nor nobody.
fn out_there(net: IpNet) {
    let shortest = if net.addr().is_ipv4() { 8 } else { 16 };
    assert!(net.prefix_len() >= shortest, "{net}");
    assert_eq!(net, net.trunc());
    assert!(!OWN.iter().any(|own| net.contains(own)), "{net}");
    for never in NEVER {
        let never: IpNet = never.parse().expect("a prefix");
        assert!(!never.contains(&net) && !net.contains(&never), "{net}");
    }
}

/// Sources as a caller may name them, with times.
fn named(choices: &mut Unstructured<'_>) -> Result<Vec<(String, u64)>> {
    let mut all = Vec::new();
    for _ in 0..choices.int_in_range(0..=12)? {
        let text = text(choices)?;
        let until = match choices.int_in_range(0..=3u8)? {
            0 => choices.arbitrary()?,
            1 => u64::MAX,
            _ => {
                let now = u64::try_from(NOW.as_micros()).unwrap_or_default();
                now.wrapping_add_signed(choices.arbitrary::<i32>()?.into())
            }
        };
        all.push((text, until));
    }
    Ok(all)
}

fn text(choices: &mut Unstructured<'_>) -> Result<String> {
    let mut text = String::new();
    match choices.int_in_range(0..=7u8)? {
        0 => text = choices.arbitrary()?,
        1 => {
            for _ in 0..choices.int_in_range(1..=4)? {
                text += choices.choose(&PIECES)?;
            }
        }
        2..=4 => {
            let address = Ipv4Addr::from(choices.arbitrary::<u32>()?);
            text = address.to_string();
        }
        5 => {
            let address = Ipv6Addr::from(choices.arbitrary::<u128>()?);
            text = address.to_string();
        }
        _ => {
            let high = u128::from(choices.arbitrary::<u16>()?) << 112;
            let address = Ipv6Addr::from(high | u128::from(choices.arbitrary::<u32>()?));
            text = address.to_string();
        }
    }
    if choices.ratio(1, 2)? {
        let _ = write!(text, "/{}", choices.int_in_range(0..=129u8)?);
    }
    if choices.ratio(1, 16)? {
        text += choices.choose(&PIECES)?;
    }
    Ok(text)
}

/// A network, written as its own text and no other.
pub(super) fn network(text: &str) -> IpNet {
    let net: IpNet = text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"));
    assert_eq!(net.to_string(), text);
    net
}

/// An address, written as its own text and no other.
pub(super) fn address(text: &str) -> IpAddr {
    let address: IpAddr = text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"));
    assert_eq!(address.to_string(), text);
    address
}

/// Digits, and no more of them than this.
pub(super) fn number(text: &str, most: usize) -> u64 {
    let digits = (1..=most).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    assert!(digits, "{text:?}");
    text.parse().expect("digits")
}

/// What a program was told, in the order of what was asked of it.
pub(super) fn in_order(mut sources: Vec<Timed>) -> Vec<Timed> {
    sources.sort_unstable();
    sources
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 5000,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn programs_are_told_addresses_prefixes_and_times_whatever_is_asked(
            data in vec(any::<u8>(), 0..300)
        ) {
            check(&data);
        }
    }
}
