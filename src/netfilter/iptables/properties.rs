//! What ipset(8) and iptables(8) are told, by a grammar, and what becomes of anything that they may print.

use super::super::properties::{in_order, network, number};
use super::*;

/// The scripts of a call.
pub(in super::super) fn tell(rules: Rules, removed: &[IpNet], added: &[Timed]) {
    let script = change(removed, added);
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    for line in script.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["del", set, net] => {
                assert!(come.is_empty(), "{script}");
                gone.push(member_of(set, net, |family| family.set));
            }
            ["add", set, net, "timeout", left] => {
                let left = Duration::from_secs(number(left, 7));
                come.push((member_of(set, net, |family| family.set), left));
            }
            _ => panic!("{line}"),
        }
    }
    assert_eq!(gone, removed);
    assert_eq!(come, whole(added));

    let nothing = State {
        sets: BTreeMap::new(),
        tables: Vec::new(),
    };
    swapped(&nothing.swap(added), added);
    let table = Table::default();
    for family in &FAMILIES {
        chained(&family.chain(rules, &table), &table);
    }
}

/// Anything that `iptables -v -S`, `ipset list -terse` and `ipset save` print.
pub(in super::super) fn print(rules: Rules, text: &str) {
    for line in text.lines() {
        if let Some((net, left)) = member(line) {
            assert!(left > Duration::ZERO, "{net}");
        }
        lacks(line);
    }
    let state = State {
        sets: kinds(text),
        tables: vec![(&FAMILIES[0], Table::read(text))],
    };
    state.shown();
    state.is_whole(rules);
    state.swappable();
    swapped(&state.swap(&[]), &[]);
    for (family, table) in &state.tables {
        chained(&family.chain(rules, table), table);
        for line in table.gone().lines() {
            let ours = ["-F banjour", "-X banjour"].contains(&line);
            assert!(ours || is_a_jump_of(table, line), "{line:?}");
        }
    }
}

fn whole(sources: &[Timed]) -> Vec<Timed> {
    let up = |time: Duration| Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(0));
    let up = |time| match up(time) {
        even if time > even => even + Duration::from_secs(1),
        even => even + Duration::from_millis(999),
    };
    let sources = sources.iter();
    sources
        .map(|(net, time)| (*net, Duration::from_secs(up(*time).as_secs())))
        .collect()
}

fn member_of(set: &str, net: &str, name: impl Fn(&Family) -> &'static str) -> IpNet {
    let net = network(net);
    let family = FAMILIES.iter().find(|family| name(family) == set);
    assert_eq!(family.map(|family| family.ipv6), Some(net.addr().is_ipv6()));
    net
}

/// Sets are made, filled with these sources and swapped, and nothing else.
fn swapped(script: &str, sources: &[Timed]) {
    let ours = |name: &str| {
        FAMILIES
            .iter()
            .any(|family| [family.set, family.new].contains(&name))
    };
    let mut told = Vec::new();
    for line in script.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["add", set, net, "timeout", left] => {
                let left = Duration::from_secs(number(left, 7));
                told.push((member_of(set, net, |family| family.new), left));
            }
            [
                "create",
                set,
                "hash:net",
                "family",
                family,
                "maxelem",
                "131072",
                "timeout",
                "0",
            ] => {
                assert!(ours(set) && ["inet", "inet6"].contains(&family), "{line}");
            }
            ["destroy", set] => assert!(ours(set), "{line}"),
            ["swap", one, other] => assert!(ours(one) && ours(other), "{line}"),
            _ => panic!("{line}"),
        }
    }
    assert_eq!(in_order(told), in_order(whole(sources)));
}

/// The chain is made, and jumps that were there go.
fn chained(script: &str, before: &Table) {
    for (n, line) in script.lines().enumerate() {
        let ours = match line.split_once(' ') {
            Some((":banjour", rest)) => n == 0 && rest == "- [0:0]",
            Some(("-I", rest)) => rest.starts_with("INPUT ") && rest.ends_with("-j banjour"),
            Some(("-A", rest)) => rest.starts_with("banjour "),
            _ => is_a_jump_of(before, line),
        };
        assert!(ours, "{line:?}");
    }
}

fn is_a_jump_of(table: &Table, line: &str) -> bool {
    let jump = line.strip_prefix("-D").map(|rule| format!("-A{rule}"));
    jump.is_some_and(|jump| table.jumps.contains(&jump))
}
