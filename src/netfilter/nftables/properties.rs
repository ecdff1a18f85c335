//! What nft(8) is told, by a grammar, and what becomes of anything that it may print.

use super::super::properties::{address, in_order, network, number};
use super::*;

/// The scripts of a call.
pub(in super::super) fn tell(rules: Rules, removed: &[IpNet], added: &[Timed]) {
    let script = change(removed, added);
    let told: Vec<_> = script.lines().flat_map(elements_in).collect();
    let of = |verb: &str, timed: bool| {
        let lines = told.iter().filter(|(told, ..)| *told == verb);
        let lines = lines.filter(|(.., time)| time.is_some() == timed);
        in_order(
            lines
                .map(|(_, net, time)| (*net, time.unwrap_or_default()))
                .collect(),
        )
    };
    let removed: Vec<Timed> = removed.iter().map(|net| (*net, Duration::ZERO)).collect();
    let removed = in_order(removed);
    assert!(
        of("add", false) == removed && of("delete", false) == removed,
        "{script}"
    );
    assert!(
        of("add", true) == whole(added) && of("delete", true).is_empty(),
        "{script}"
    );

    let script = anew(rules, &BTreeMap::new(), added);
    let fixed = NO_TABLE.to_owned() + &table(rules, &BTreeMap::new());
    let lines = script.strip_prefix(&fixed).expect("the table is first");
    let told = lines.lines().flat_map(elements_in);
    let told = told.map(|(verb, net, time)| {
        assert_eq!(verb, "add");
        (net, time.expect("a source's time"))
    });
    assert_eq!(in_order(told.collect()), whole(added));
}

/// Anything that `nft --json list` prints, or `nft list`.
pub(in super::super) fn print(rules: Rules, text: &str) {
    rules_in(text);
    if let Ok(listing) = listing(text) {
        for (net, left) in held(String::new(), listing).sources {
            let sets: Vec<_> = SETS.iter().filter(|set| set.has(net)).collect();
            assert_eq!(sets.len(), 1, "{net} {left:?}");
        }
    }
    let Ok(listing) = listing(text) else { return };
    let counters = counted(listing);
    super::super::sum(counters.values().copied());
    // Of what somebody else has put there, only numbers are said again.
    let said = table(rules, &counters);
    let none = table(rules, &BTreeMap::new());
    let words = |text: &str| -> Vec<String> {
        let words = text.split_whitespace();
        words
            .filter(|word| !word.bytes().all(|c| c.is_ascii_digit()))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(words(&said), words(&none));
}

/// Times as they are told, in milliseconds.
fn whole(sources: &[Timed]) -> Vec<Timed> {
    let whole = |time: Duration| Duration::new(time.as_secs(), time.subsec_millis() * 1_000_000);
    let sources = sources.iter();
    in_order(sources.map(|(net, time)| (*net, whole(*time))).collect())
}

/// `VERB element inet banjour SET { ADDRESS timeout 1s2ms, …, }`
fn elements_in(line: &str) -> Vec<(&str, IpNet, Option<Duration>)> {
    let (verb, rest) = line.split_once(" element inet banjour ").expect("a verb");
    assert!(["add", "delete"].contains(&verb), "{line}");
    let (name, rest) = rest.split_once(" { ").expect("a set");
    let set = SETS.iter().find(|set| set.name == name).expect("our set");
    let members = rest.strip_suffix(", }").expect("members");
    let member = |member: &str| {
        let (source, time) = match member.split_once(" timeout ") {
            Some((source, time)) => (source, Some(time)),
            None => (member, None),
        };
        let net = match set.prefix {
            Some(prefix) => IpNet::new(address(source), prefix).expect("a prefix"),
            None => network(source),
        };
        assert_eq!(
            (net, net.addr().is_ipv6()),
            (net.trunc(), set.ipv6),
            "{line}"
        );
        let time = time.map(|time| {
            let (seconds, millis) = time.split_once('s').expect("seconds");
            let millis = millis.strip_suffix("ms").expect("milliseconds");
            Duration::from_secs(number(seconds, 7)) + Duration::from_millis(number(millis, 3))
        });
        (verb, net, time)
    };
    members.split(", ").map(member).collect()
}
