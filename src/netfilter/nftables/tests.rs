//! What nft(8) is told, and what it prints.

use super::*;

#[test]
fn times_are_written_in_numbers_of_seven_digits() {
    let net = "2001:db8::/64".parse().unwrap();
    let mut script = String::new();
    elements(
        &mut script,
        "add",
        &[(net, Duration::from_millis(2_073_600_250))],
    );
    let line = "add element inet banjour ipv6-64 { 2001:db8:: timeout 2073600s250ms, }\n";
    assert_eq!(script, line);
}

#[test]
fn rules_are_counted_in_all_chains_and_nowhere_else() {
    let shown = "table inet banjour {
\tset ipv4-32 {
\t\ttype ipv4_addr
\t\tflags timeout
\t}

\tchain refuse {
\t\tmeta l4proto tcp reject with tcp reset
\t\treject with icmpx admin-prohibited
\t}

\tchain banned {
\t}

\tchain prerouting {
\t\ttype filter hook prerouting priority raw - 10; policy accept;
\t\tfib daddr type local jump banned
\t}
}
";
    assert_eq!(rules_in(shown), 3);
}
