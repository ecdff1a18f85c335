//! What the programs are told, and what they print: iptables 1.8.9 and 1.8.11, nft and legacy, ipset 7.17 and 7.22.

use super::*;

/// `iptables -v -S`, the same from both variants, with rules of somebody else's that look like ours.
const RULES: &str = r#"-P INPUT ACCEPT -c 21 1260
-P FORWARD ACCEPT -c 0 0
-P OUTPUT ACCEPT -c 0 0
-N banjour
-A INPUT -p tcp -m multiport --dports 25,465,587,110,995,143,993,4190,2000 -c 12 800 -j banjour
-A INPUT -m comment --comment "a -c 1 2 -j banjour \"x\"" -c 3 180 -j ACCEPT
-A INPUT -m comment --comment "a -c 1 2 -j banjour" -c 3 180
-A INPUT -m comment --comment "b -c 1 2" -c 0 0 -g banjour
-A FORWARD -c 0 0 -j banjour
-A banjour -p tcp -m set --match-set banjour4 src -c 7 700 -j REJECT --reject-with tcp-reset
-A banjour -m set --match-set banjour4 src -c 2 56 -j REJECT --reject-with icmp-admin-prohibited
"#;

/// `ipset list -terse`
const SETS: &str = "Name: banjour4
Type: hash:net
Revision: 7
Header: family inet hashsize 1024 maxelem 131072 timeout 0 bucketsize 12 initval 0x66fc13e4
Size in memory: 1240
References: 2
Number of entries: 4

Name: f2b-sshd
Type: hash:ip
Revision: 6
Header: family inet hashsize 1024 maxelem 65536 timeout 600 bucketsize 12 initval 0xba7ecfc6
Size in memory: 200
References: 1
Number of entries: 0

Name: banjour6-new
Type: bitmap:port
Revision: 3
Header: range 0-10
Size in memory: 528
References: 0
Number of entries: 0
";

const DROP: Rules = Rules {
    all_ports: false,
    reject: false,
};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn state(rules: &str, sets: &str) -> State {
    State {
        sets: kinds(sets),
        tables: vec![(&FAMILIES[0], Table::read(rules))],
    }
}

#[test]
fn rules_are_read_without_what_is_somebody_elses() {
    let table = Table::read(RULES);
    assert_eq!(
        table.chain,
        [
            "-N banjour",
            "-A banjour -p tcp -m set --match-set banjour4 src -j REJECT --reject-with tcp-reset",
            "-A banjour -m set --match-set banjour4 src -j REJECT --reject-with icmp-admin-prohibited",
        ]
    );
    assert_eq!(
        table.jumps,
        [
            "-A INPUT -p tcp -m multiport --dports 25,465,587,110,995,143,993,4190,2000 -j banjour",
            "-A INPUT -m comment --comment \"b -c 1 2\" -g banjour",
            "-A FORWARD -j banjour",
        ]
    );
    assert_eq!(table.dropped, (9, 756));
    let empty = "-P INPUT ACCEPT -c 0 0\n-P FORWARD ACCEPT -c 0 0\n-P OUTPUT ACCEPT -c 0 0\n";
    assert_eq!(Table::read(empty), Table::default());
    // What is no rule is not told to iptables-restore as one.
    assert_eq!(Table::read("-P x -c 1 2 -j banjour"), Table::default());
}

#[test]
fn what_is_shown_is_what_matters() {
    assert_eq!(
        state(RULES, SETS).shown(),
        "/usr/sbin/ipset create banjour4 hash:net family inet maxelem 131072 timeout 0 bucketsize 12
/usr/sbin/ipset create banjour6-new bitmap:port range 0-10
/usr/sbin/iptables -N banjour
/usr/sbin/iptables -A banjour -p tcp -m set --match-set banjour4 src -j REJECT --reject-with tcp-reset
/usr/sbin/iptables -A banjour -m set --match-set banjour4 src -j REJECT --reject-with icmp-admin-prohibited
/usr/sbin/iptables -A INPUT -p tcp -m multiport --dports 25,465,587,110,995,143,993,4190,2000 -j banjour
/usr/sbin/iptables -A INPUT -m comment --comment \"b -c 1 2\" -g banjour
"
    );
    assert_eq!(state("", "").shown(), "");
}

#[test]
fn sets_are_swapped_whatever_was_there() {
    let sources = [
        (net("198.51.100.1/32"), Duration::from_millis(1001)),
        (net("2001:db8:7::/64"), Duration::from_hours(1)),
    ];
    assert_eq!(
        state("", SETS).swap(&sources),
        "create banjour4-new hash:net family inet maxelem 131072 timeout 0
destroy banjour6-new
create banjour6 hash:net family inet6 maxelem 131072 timeout 0
create banjour6-new hash:net family inet6 maxelem 131072 timeout 0
add banjour4-new 198.51.100.1/32 timeout 2
add banjour6-new 2001:db8:7::/64 timeout 3600
swap banjour4-new banjour4
destroy banjour4-new
swap banjour6-new banjour6
destroy banjour6-new
"
    );
}

#[test]
fn only_sets_of_one_type_and_family_are_swapped() {
    let swappable = |from, to| state("", &SETS.replacen(from, to, 1)).swappable();
    assert!(swappable("", "") && swappable("maxelem 131072", "maxelem 5"));
    assert!(!swappable("hash:net", "hash:ip"));
    assert!(!swappable("family inet ", "family inet6 "));
    assert!(state("", "").swappable());
}

#[test]
fn the_chain_is_refilled_and_has_one_jump() {
    let [ipv4, ipv6] = &FAMILIES;
    assert_eq!(
        ipv4.chain(DROP, &Table::read(RULES)),
        ":banjour - [0:0]
-D INPUT -p tcp -m multiport --dports 25,465,587,110,995,143,993,4190,2000 -j banjour
-D INPUT -m comment --comment \"b -c 1 2\" -g banjour
-I INPUT -p tcp -m multiport --dports 25,465,587,110,995,143,993,4190,2000 -j banjour
-A banjour -m set --match-set banjour4 src -c 9 756 -j DROP
"
    );
    let all = Rules {
        all_ports: true,
        reject: true,
    };
    assert_eq!(
        ipv6.chain(all, &Table::default()),
        ":banjour - [0:0]
-I INPUT -j banjour
-A banjour -p tcp -m set --match-set banjour6 src -c 0 0 -j REJECT --reject-with tcp-reset
-A banjour -m set --match-set banjour6 src -j REJECT --reject-with icmp6-adm-prohibited
"
    );
}

#[test]
fn all_that_is_ours_is_taken_out_and_nothing_else() {
    assert_eq!(
        Table::read(RULES).gone(),
        "-D INPUT -p tcp -m multiport --dports 25,465,587,110,995,143,993,4190,2000 -j banjour
-D INPUT -m comment --comment \"b -c 1 2\" -g banjour
-D FORWARD -j banjour
-F banjour
-X banjour
"
    );
    assert_eq!(Table::default().gone(), "");
}

#[test]
fn members_that_end_are_sources() {
    let second = Duration::from_secs;
    assert_eq!(
        member("add banjour4 198.18.0.1 timeout 99"),
        Some((net("198.18.0.1/32"), second(99)))
    );
    assert_eq!(
        member("add banjour6 2001:db8:bad::/64 timeout 1"),
        Some((net("2001:db8:bad::/64"), second(1)))
    );
    for line in [
        "add banjour4 198.18.4.0/24 timeout 0",
        "add banjour4 198.18.3.0/24 timeout 9 nomatch",
        "add banjour4 198.18.3.0/24",
        "add banjour4 198.18.0.1,tcp:25 timeout 9",
    ] {
        assert_eq!(member(line), None, "{line}");
    }
}

#[test]
fn times_are_whole_seconds_and_none_is_for_ever() {
    for (time, whole) in [
        (0, 1),
        (1, 1),
        (1000, 1),
        (1001, 2),
        (2_073_600_000, 2_073_600),
    ] {
        assert_eq!(seconds(Duration::from_millis(time)), whole);
    }
}

#[test]
fn what_the_kernel_lacks_is_told_from_what_fails() {
    for why in [
        "iptables v1.8.11 (legacy): can't initialize iptables table `filter': Table does not exist (do you need to insmod?)",
        "iptables: Failed to initialize nft: Address family not supported by protocol",
        "iptables v1.8.9 (nf_tables): Could not fetch rule set generation id: Invalid argument",
        "ipset v7.22: Cannot open session to kernel.",
        "ipset v7.17: Kernel error received: set type not supported",
    ] {
        assert!(lacks(why), "{why}");
    }
    for why in [
        "iptables v1.8.11 (legacy): can't initialize iptables table `filter': Permission denied (you must be root)",
        "iptables v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)",
        "Fatal: can't open lock file /run/xtables.lock: Permission denied",
        "ipset v7.22: Error in line 1: The set with the given name does not exist",
        "ipset v7.17: Kernel error received: Operation not permitted",
    ] {
        assert!(!lacks(why), "{why}");
    }
}

#[test]
fn rules_that_were_changed_as_they_were_made_are_not_whole() {
    let reject = Rules {
        reject: true,
        ..DROP
    };
    let sets = SETS.replace("banjour6-new", "banjour6");
    // With one jump alone.
    let rules = RULES.replace("-c 0 0 -g banjour", "-c 0 0 -g other");
    assert!(state(&rules, &sets).is_whole(reject));
    assert!(!state(&rules, &sets).is_whole(DROP));
    assert!(!state(&rules, "").is_whole(reject));
    assert!(!state(RULES, &sets).is_whole(reject));
    for (line, other) in [
        ("-A INPUT -p tcp", "-A OUTPUT -p tcp"),
        ("-A banjour -m set", "-A other -m set"),
    ] {
        let rules = rules.replacen(line, other, 1);
        assert!(!state(&rules, &sets).is_whole(reject), "{rules}");
    }
}
