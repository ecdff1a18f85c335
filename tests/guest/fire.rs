//! Somebody breaks what keeps banned sources out, while attackers go on: soon after it stops, all of it is as it should be.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::agent::{SOON, client};
use crate::client::Service::Imap;
use crate::host::{Guest, at_once, wait_for};
use crate::kernel::Firewall;

crate::cases![
    whatever_somebody_breaks_is_mended,
    a_helper_that_is_killed_again_and_again_loses_no_ban,
    a_bus_that_is_restarted_loses_no_ban,
];

/// Two seconds, and as many again for a machine that has other things to do.
const MENDED: Duration = Duration::from_secs(4);

/// What there is to break. SOURCE is banned, 203.0.113.9 is not.
const fn deeds(firewall: Firewall) -> &'static [&'static str] {
    match firewall {
        Firewall::Firewalld => &[
            "firewall-cmd --ipset=banjour-ipv4 --remove-entry=SOURCE",
            "firewall-cmd --ipset=banjour-ipv4 --add-entry=203.0.113.9",
            "firewall-cmd --reload",
        ],
        Firewall::Nftables => &[
            "nft delete element inet banjour ipv4-32 '{ SOURCE }'",
            "nft add element inet banjour ipv4-32 '{ 203.0.113.9 }'",
            "nft add element inet banjour ipv6-other '{ 2001:db8:9::/60 timeout 1h }'",
            "nft flush set inet banjour ipv6-64",
            "nft flush chain inet banjour banned",
            "nft insert rule inet banjour prerouting accept",
            "nft flush table inet banjour",
            "nft delete table inet banjour",
            "systemctl restart nftables",
        ],
        Firewall::IptablesNft | Firewall::IptablesLegacy => &[
            "ipset del banjour4 SOURCE",
            "ipset add banjour4 203.0.113.9",
            "ipset flush banjour6",
            "iptables -F banjour",
            "ip6tables -I banjour -j ACCEPT",
            "iptables -S INPUT | sed -n 's/^-A \\(.* -j banjour\\)$/-D \\1/p' | xargs iptables",
            "ip6tables-restore </etc/iptables/rules",
            "iptables -F; iptables -X banjour; ip6tables -F; ip6tables -X banjour; ipset destroy",
        ],
    }
}

fn whatever_somebody_breaks_is_mended(guest: &Guest) -> Result<()> {
    let banned = [guest.source(), guest.source_v6()];
    at_once(&banned, |&source| {
        guest.attackers.fail(source, Imap, 3)?;
        guest.expect_banned(source).map(drop)
    })?;
    let since = guest.now()?;
    for deed in deeds(guest.firewall) {
        let deed = deed.replace("SOURCE", &banned[0].to_string());
        broken_and_mended(guest, &deed, &banned).context(deed)?;
    }
    wait_for("the problem to be solved", SOON, || {
        Ok(guest.problems()?.is_empty())
    })?;
    for action in ["problem", "solved"] {
        let entries = guest.journal(&format!("--since='{since}' BANJOUR_ACTION={action}"))?;
        let told = |entry: &serde_json::Value| {
            let text = entry["MESSAGE"].as_str().unwrap_or_default();
            text.contains("somebody has changed")
        };
        ensure!(entries.iter().any(told), "no {action}: {entries:#?}");
    }
    Ok(())
}

fn broken_and_mended(guest: &Guest, deed: &str, banned: &[IpAddr]) -> Result<()> {
    let done = || Ok(guest.run(&["sh", "-ec", deed])?.code == 0);
    ensure!(done()?, "it does nothing");
    let attackers = [guest.source(), guest.source_v6()];
    std::thread::scope(|scope| {
        let attack = scope.spawn(|| {
            at_once(&attackers, |&source| {
                wait_for("a ban", SOON, || {
                    // While firewalld reloads, nobody gets in.
                    let _ = guest.attackers.fail(source, Imap, 1);
                    Ok(!guest.bans_of(source)?.is_empty())
                })
            })
        });
        while !attack.is_finished() {
            done()?;
        }
        attack.join().expect("an attack does not panic")
    })?;
    // What is not mended yet can't be broken.
    wait_for("it to be broken once more", SOON, done)?;
    let stopped = Instant::now();
    let shut_out = [banned, &attackers].concat();
    wait_for("the ports to be closed", MENDED, || {
        let mut open = false;
        for &source in &shut_out {
            open |= guest.attackers.knock(source, Imap.port())?;
        }
        Ok(!open)
    })?;
    guest.expect_exactly_the_bans(MENDED.saturating_sub(stopped.elapsed()))?;
    at_once(&shut_out, |&source| guest.expect_closed(source))
}

/// In the middle of what it does.
fn a_helper_that_is_killed_again_and_again_loses_no_ban(guest: &Guest) -> Result<()> {
    let each = |method: &str| {
        format!(
            "(while :; do systemctl kill --signal=KILL {}; sleep 0.05; done) 2>/dev/null &
             trap \"kill $!\" EXIT
             for i in $(seq 1 60); do echo 198.18.246.$i 2001:db8:bad:fe$(printf %02x $i)::/64; done | tr ' ' '\\n' |
                 xargs -P 4 -I SOURCE busctl -q call org.banjour.Banjour1 /org/banjour/Banjour1 \
                 org.banjour.Banjour1.Manager {method}",
            guest.firewall.unit()
        )
    };
    let ends: [IpAddr; 2] = ["198.18.246.60".parse()?, "2001:db8:bad:fe3c::1".parse()?];
    guest.sh(&each("Ban sstt SOURCE '' 0 0"))?;
    guest.expect_exactly_the_bans(MENDED)?;
    for source in ends {
        guest.expect_banned(source)?;
    }
    guest.sh(&each("Unban sst SOURCE '' 0"))?;
    guest.expect_exactly_the_bans(MENDED)?;
    for source in ends {
        guest.expect_lifted(source)?;
    }
    Ok(())
}

fn a_bus_that_is_restarted_loses_no_ban(guest: &Guest) -> Result<()> {
    let [banned, lifted, guesser] = [guest.source_v6(), guest.source(), guest.source_v6()];
    for source in [banned, lifted] {
        guest.attackers.fail(source, Imap, 3)?;
        guest.expect_banned(source)?;
    }
    guest.attackers.fail(guesser, Imap, 2)?;
    guest.unban(&client(lifted))?;
    guest.expect_lifted(lifted)?;
    let pid = guest.main_pid()?;
    // It goes on, and is not heard any more.
    let _logind = guest.undo("systemctl restart systemd-logind");
    // What firewalld does to its rules when it loses the bus is its own affair.
    let shut_out: &[IpAddr] = match guest.firewall {
        Firewall::Firewalld => &[],
        _ => &[banned],
    };
    guest.expect_shut_out_while(shut_out, || {
        guest.sh("systemctl restart dbus")?;
        guest.attackers.fail(guesser, Imap, 1)?;
        guest.wait_until_up(pid)?;
        if guest.firewall == Firewall::Firewalld {
            // It ends without the bus. Nobody starts it but the admin.
            guest.expect_firewall("nftables")?;
            guest.sh("systemctl start firewalld")?;
        }
        guest.expect_firewall(guest.firewall.name())?;
        guest.expect_banned(guesser)?;
        guest.expect_exactly_the_bans(SOON)
    })?;
    guest.expect_closed(banned)?;
    guest.expect_open(lifted)
}
