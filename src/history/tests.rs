//! Longer bans, and networks.

use std::collections::BTreeSet;

use super::*;

const HOUR: Duration = Duration::from_hours(1);
const WEEK: Duration = Duration::from_hours(7 * 24);
const DOUBLING: Growth = Growth {
    factor: 2,
    longest: WEEK,
    forget: WEEK,
};
const CROWD: Crowd = Crowd {
    sources: 4,
    window: Duration::from_hours(24),
};

fn source(text: &str) -> Source {
    text.parse().unwrap()
}

fn hour(n: i64) -> Timestamp {
    Timestamp::from_second(3600 * n).unwrap()
}

#[test]
fn each_ban_lasts_longer_up_to_a_maximum_and_time_heals() {
    let guesser = source("192.0.2.7");
    let mut history = History::default();
    let mut at = 0;
    for lasts in [1_i64, 2, 4, 8, 16, 32, 64, 128, 168, 168] {
        let time = history.ban_time(guesser, hour(at), HOUR, DOUBLING);
        assert_eq!(time, HOUR * u32::try_from(lasts).unwrap());
        history.note(guesser, hour(at), hour(at + lasts), WEEK);
        at += lasts;
    }
    let later = |weeks: i64| history.ban_time(guesser, hour(at + weeks * 168), HOUR, DOUBLING);
    assert_eq!(later(3), HOUR * 128);
    assert_eq!(later(9), HOUR * 2);
    assert_eq!(later(10), HOUR);
    assert_eq!(later(1_000), HOUR);
}

/// Two jails ban a source for the same.
#[test]
fn a_ban_beside_one_that_lasts_is_no_second_one() {
    let guesser = source("192.0.2.7");
    let mut history = History::default();
    history.note(guesser, hour(0), hour(2), WEEK);
    assert_eq!(history.ban_time(guesser, hour(1), HOUR, DOUBLING), HOUR);
    let past = history.note(guesser, hour(1), hour(2), WEEK);
    assert_eq!((past.bans, past.until), (1, hour(2)));
    assert_eq!(history.ban_time(guesser, hour(2), HOUR, DOUBLING), HOUR * 2);
}

#[test]
fn times_that_make_no_sense_are_no_panic() {
    let guesser = source("192.0.2.7");
    let mut history = History::default();
    for n in 0..200 {
        history.note(guesser, hour(n), hour(n), Duration::ZERO);
    }
    let growth = Growth {
        factor: 100,
        longest: Duration::MAX,
        forget: Duration::ZERO,
    };
    assert_eq!(
        history.ban_time(guesser, hour(1000), HOUR, growth),
        Duration::MAX
    );
    // A first ban that is longer than the longest stays as it is.
    let year = Duration::from_hours(24 * 365);
    assert_eq!(history.ban_time(guesser, hour(0), year, DOUBLING), year);
    assert!(history.forgive(guesser) && !history.forgive(guesser));
    assert_eq!(history.ban_time(guesser, hour(0), HOUR, DOUBLING), HOUR);
}

/// Bans these in turn, and the networks that are crowded by it; what is banned in the end.
fn banned(sources: &[&str], may: impl Fn(Source) -> bool) -> Vec<String> {
    let mut history = History::default();
    let mut banned = BTreeSet::new();
    for (source, at) in sources.iter().map(|text| source(text)).zip(0..) {
        let at = Timestamp::from_second(at).unwrap();
        if banned
            .iter()
            .any(|network: &Source| network.contains(source))
        {
            continue;
        }
        history.note(source, at, at, WEEK);
        banned.insert(source);
        if let Some((network, _)) = history.crowd(source, at, CROWD, &may) {
            history.note(network, at, at, WEEK);
            banned.retain(|inside| !network.contains(*inside));
            banned.insert(network);
        }
    }
    banned.iter().map(ToString::to_string).collect()
}

#[test]
fn a_real_servers_list_becomes_three_networks_and_seven_hosts() {
    let mut list: Vec<String> = Vec::new();
    for (network, hosts) in [
        ("46.38.150", &[142, 188, 190, 191, 193, 203][..]),
        ("46.38.145", &[5, 6, 248, 249, 250, 251, 252, 253, 254]),
        ("185.143.72", &[16, 23, 25, 27, 34]),
        ("185.143.75", &[81, 153]),
        ("87.246.7", &[66, 70]),
        ("212.70.149", &[2, 18]),
        ("141.98.80", &[150]),
    ] {
        list.extend(hosts.iter().map(|host| format!("{network}.{host}")));
    }
    assert_eq!(list.len(), 27);
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    assert_eq!(
        banned(&list, |_| true),
        [
            "46.38.145.0/24",
            "46.38.150.0/24",
            "87.246.7.66",
            "87.246.7.70",
            "141.98.80.150",
            "185.143.72.0/24",
            "185.143.75.81",
            "185.143.75.153",
            "212.70.149.2",
            "212.70.149.18"
        ]
    );
    // Not a network with somebody in it who must get in.
    let customer = source("46.38.150.77");
    let all = banned(&list, |network| !network.contains(customer));
    assert_eq!(all.len(), 10 - 1 + 6);
}

#[test]
fn networks_of_ipv6_grow_step_by_step() {
    let hosts: Vec<String> = (1..=4).map(|n| format!("2001:db8::{n}")).collect();
    let texts = |list: &[String]| -> Vec<String> {
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        banned(&list, |_| true)
    };
    assert_eq!(texts(&hosts[..3]).len(), 3);
    assert_eq!(texts(&hosts), ["2001:db8::/64"]);
    let homes: Vec<String> = (1..=4).map(|n| format!("2001:db8:0:{n}::/64")).collect();
    assert_eq!(texts(&homes), ["2001:db8::/56"]);
    let far: Vec<String> = (1..=4).map(|n| format!("2001:db8:0:{n}00::/64")).collect();
    assert_eq!(texts(&far), ["2001:db8::/48"]);
    let elsewhere: Vec<String> = (1..=4).map(|n| format!("2001:db8:{n}::/64")).collect();
    assert_eq!(texts(&elsewhere).len(), 4);
}

#[test]
fn who_was_banned_longest_ago_is_forgotten_first() {
    let mut history = History::default();
    let bot = |n: usize| source(&format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255));
    for n in 0..MAX_SOURCES {
        history.note(bot(n), hour(0), hour(1), WEEK);
    }
    history.note(bot(0), hour(2), hour(3), WEEK);
    assert_eq!(history.overflowed, Timestamp::MIN);
    // Nothing of before counts any more after a week.
    history.note(bot(MAX_SOURCES), hour(169), hour(170), WEEK);
    assert_eq!(history.overflowed, Timestamp::MIN);
    history.note(bot(MAX_SOURCES + 1), hour(168), hour(169), WEEK);
    assert_eq!(history.overflowed, hour(168));
    assert_eq!(history.by_source.len(), MAX_SOURCES);
    assert_eq!(history.past(bot(0)).map(|past| past.bans), Some(2));
    assert!(history.past(bot(1)).is_none());
}

#[test]
fn bans_of_long_ago_crowd_no_network() {
    let mut history = History::default();
    for host in 0..4_u8 {
        let banned = source(&format!("192.0.2.{host}"));
        let at = hour(9 * i64::from(host));
        history.note(banned, at, at, WEEK);
        assert_eq!(history.crowd(banned, at, CROWD, |_| true), None);
    }
    let fifth = source("192.0.2.4");
    history.note(fifth, hour(28), hour(29), WEEK);
    let network = history.crowd(fifth, hour(28), CROWD, |_| true);
    assert_eq!(network, Some((source("192.0.2.0/24"), 4)));
    let never = Crowd {
        sources: 0,
        ..CROWD
    };
    assert_eq!(history.crowd(fifth, hour(28), never, |_| true), None);
}
