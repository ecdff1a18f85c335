//! What a ban closes, and how it ends.

use std::net::IpAddr;

use anyhow::{Result, ensure};

use crate::agent::SOON;
use crate::client::Service::{Imap, Pop3};
use crate::host::{Guest, OTHER_PORT, at_once, wait_for};
use crate::kernel::Firewall;

crate::cases![
    a_ban_closes_all_mail_ports_and_nothing_else,
    unban_opens_the_ports_again,
    who_is_unbanned_starts_from_nothing,
    neighbours_are_banned_and_lifted_separately,
    addresses_of_one_ipv6_network_are_one_client,
    a_prefix_and_hosts_inside_it_do_not_get_in_each_others_way,
    a_ban_ends_by_itself,
    a_ban_may_last_for_years,
    bans_of_several_jails_end_one_by_one,
    many_bans_come_and_go,
    the_status_tells_whom_the_kernel_keeps_out,
];

fn a_ban_closes_all_mail_ports_and_nothing_else(guest: &Guest) -> Result<()> {
    let pairs = [
        (guest.source(), guest.source()),
        (guest.source_v6(), guest.source_v6()),
    ];
    at_once(&pairs, |&(source, other)| {
        guest.attackers.fail(source, Pop3, 3)?;
        guest.expect_banned(source)?;
        guest.expect_open(other)?;
        guest.attackers.expect_answer(source, OTHER_PORT)
    })
}

fn unban_opens_the_ports_again(guest: &Guest) -> Result<()> {
    at_once(&[guest.source(), guest.source_v6()], |&source| {
        guest.attackers.fail(source, Imap, 3)?;
        guest.expect_banned(source)?;
        guest.unban(&source.to_string())?;
        guest.expect_lifted(source)?;
        // Whoever is not banned stays that way: no error.
        guest.unban(&source.to_string()).map(drop)
    })?;
    let source = guest.source();
    guest.ban(&source.to_string())?;
    guest.expect_banned(source)?;
    let unban = ["Unban", "sst", &source.to_string(), "", "0"];
    ensure!(guest.call(&unban)?[0] == 1, "one ban is to be removed");
    guest.expect_lifted(source)?;
    ensure!(guest.call(&unban)?[0] == 0, "none is left to be removed");
    Ok(())
}

/// The attempts before an unban are forgiven: one more does not ban again, three do.
fn who_is_unbanned_starts_from_nothing(guest: &Guest) -> Result<()> {
    let source = guest.source();
    guest.attackers.fail(source, Imap, 3)?;
    guest.expect_banned(source)?;
    guest.unban(&source.to_string())?;
    guest.expect_lifted(source)?;
    guest.attackers.fail(source, Imap, 2)?;
    guest.expect_never_banned(&[source])?;
    guest.attackers.fail(source, Imap, 1)?;
    guest.expect_banned(source)?;
    Ok(())
}

fn neighbours_are_banned_and_lifted_separately(guest: &Guest) -> Result<()> {
    let families = [
        ["198.18.250.6", "198.18.250.7", "198.18.250.8"],
        [
            "2001:db8:bad:fa06::ffff",
            "2001:db8:bad:fa07::",
            "2001:db8:bad:fa08::1",
        ],
    ];
    at_once(&families, |neighbours| {
        let [low, middle, high]: [IpAddr; 3] = [
            neighbours[0].parse()?,
            neighbours[1].parse()?,
            neighbours[2].parse()?,
        ];
        at_once(&[low, high], |&source| {
            guest.attackers.fail(source, Imap, 3)
        })?;
        guest.expect_all_banned(&[low, high])?;
        guest.expect_open(middle)?;
        guest.attackers.fail(middle, Imap, 3)?;
        guest.expect_banned(middle)?;
        guest.unban(&middle.to_string())?;
        guest.expect_lifted(middle)?;
        guest.expect_all_banned(&[low, high])?;
        guest.unban(&low.to_string())?;
        guest.expect_lifted(low)?;
        guest.expect_closed(high)?;
        guest.unban(&high.to_string())?;
        guest.expect_lifted(high)
    })
}

/// Providers give each customer that much, who may use every address of it. An admin may mean one of them alone.
fn addresses_of_one_ipv6_network_are_one_client(guest: &Guest) -> Result<()> {
    let addresses = [
        "2001:db8:bad:fd00::1",
        "2001:db8:bad:fd00:ffff::2",
        "2001:db8:bad:fd00::3",
    ];
    let [first, second, third]: [IpAddr; 3] = [
        addresses[0].parse()?,
        addresses[1].parse()?,
        addresses[2].parse()?,
    ];
    guest.attackers.fail(first, Imap, 2)?;
    guest.attackers.fail(second, Imap, 1)?;
    let bans = guest.expect_banned(third)?;
    ensure!(bans[0].source == "2001:db8:bad:fd00::/64", "{bans:?}");
    for source in [first, second] {
        guest.expect_closed(source)?;
    }
    guest.expect_open("2001:db8:bad:fd01::1".parse()?)?;
    guest.unban(&second.to_string())?;
    guest.expect_lifted(first)?;

    guest.ban(&first.to_string())?;
    let bans = guest.expect_banned(first)?;
    ensure!(bans[0].source == first.to_string(), "{bans:?}");
    guest.expect_open(second)?;
    guest.unban(&first.to_string())?;
    guest.expect_lifted(first)
}

/// Sets of networks refuse overlaps; that is the agent's worry, and nobody else's.
fn a_prefix_and_hosts_inside_it_do_not_get_in_each_others_way(guest: &Guest) -> Result<()> {
    for [prefix, guesser, banned, bystander, outside] in [
        [
            "198.18.251.0/24",
            "198.18.251.7",
            "198.18.251.8",
            "198.18.251.255",
            "198.18.252.0",
        ],
        [
            "2001:db8:bad:fb00::/56",
            "2001:db8:bad:fb07::7",
            "2001:db8:bad:fb07::8",
            "2001:db8:bad:fbff:ffff::1",
            "2001:db8:bad:fc00::",
        ],
    ] {
        let [guesser, banned, bystander, outside]: [IpAddr; 4] = [
            guesser.parse()?,
            banned.parse()?,
            bystander.parse()?,
            outside.parse()?,
        ];
        guest.attackers.fail(guesser, Imap, 3)?;
        guest.expect_banned(guesser)?;
        guest.ban(prefix)?;
        for source in [guesser, banned, bystander] {
            guest.expect_closed(source)?;
        }
        guest.expect_open(outside)?;
        // Inside a prefix that is banned already.
        guest.ban(&banned.to_string())?;
        wait_for("a ban within the prefix", SOON, || {
            Ok(!guest.bans_of(banned)?.is_empty())
        })?;
        guest.expect_closed(banned)?;
        // One host lifted: its prefix is still banned, and so is the host.
        guest.unban(&guesser.to_string())?;
        wait_for("the host's unban", SOON, || {
            Ok(guest.bans_of(guesser)?.is_empty())
        })?;
        guest.expect_closed(guesser)?;
        guest.unban(prefix)?;
        guest.expect_open(bystander)?;
        guest.expect_open(guesser)?;
        guest.expect_closed(banned)?;
        guest.unban(&banned.to_string())?;
        guest.expect_lifted(banned)?;
    }
    Ok(())
}

fn a_ban_ends_by_itself(guest: &Guest) -> Result<()> {
    let _short = guest.configure("90-short", "[jail.dovecot]\nban-time = \"3s\"\n")?;
    wait_for("the new ban time", SOON, || {
        let path = "/org/banjour/Banjour1/jail/dovecot";
        Ok(guest.property_of(path, "org.banjour.Banjour1.Jail", "BanTimeUSec")? == 3_000_000)
    })?;
    let (guesser, by_hand) = (guest.source(), guest.source_v6());
    guest.attackers.fail(guesser, Imap, 3)?;
    let bans = guest.expect_banned(guesser)?;
    ensure!(
        bans[0].until - bans[0].since == 3_000_000,
        "not three seconds: {bans:?}"
    );
    guest.ban(&format!("{by_hand} --for 2s"))?;
    guest.expect_closed(by_hand)?;
    guest.expect_lifted(by_hand)?;
    guest.expect_lifted(guesser)?;
    let ended = guest.journal(&format!("BANJOUR_ACTION=unban BANJOUR_SOURCE={guesser}"))?;
    ensure!(
        ended
            .iter()
            .any(|entry| entry["BANJOUR_REASON"] == "expired"),
        "no such entry: {ended:?}"
    );
    Ok(())
}

/// Longer than any backend's own time can be.
fn a_ban_may_last_for_years(guest: &Guest) -> Result<()> {
    for source in [guest.source(), guest.source_v6()] {
        guest.ban(&format!("{source} --for 3650d"))?;
        guest.expect_banned(source)?;
        guest.unban(&source.to_string())?;
        guest.expect_lifted(source)?;
    }
    Ok(())
}

fn bans_of_several_jails_end_one_by_one(guest: &Guest) -> Result<()> {
    let source = guest.source();
    guest.ban(&source.to_string())?;
    guest.ban(&format!("{source} --jail dovecot"))?;
    ensure!(
        guest.expect_banned(source)?.len() == 2,
        "bans: {:?}",
        guest.bans_of(source)?
    );
    guest.unban(&format!("{source} --jail dovecot"))?;
    wait_for("the unban", SOON, || Ok(guest.bans_of(source)?.len() == 1))?;
    guest.expect_closed(source)?;
    guest.ban(&format!("{source} --jail postfix-sasl"))?;
    let removed = guest.call(&["Unban", "sst", &source.to_string(), "", "0"])?;
    ensure!(removed[0] == 2, "two bans are to be removed, not {removed}");
    guest.expect_lifted(source)
}

fn many_bans_come_and_go(guest: &Guest) -> Result<()> {
    let calls = |method: &str| {
        format!(
            "for i in $(seq 1 60); do echo 198.18.200.$i 2001:db8:bad:c800::$i; done | tr ' ' '\\n' |
                 xargs -P 4 -I SOURCE busctl -q call org.banjour.Banjour1 /org/banjour/Banjour1 \
                 org.banjour.Banjour1.Manager {method}"
        )
    };
    let listed = || {
        anyhow::Ok(
            guest
                .bans()?
                .iter()
                .filter(|ban| ban.source.contains("18.200."))
                .count(),
        )
    };
    guest.sh(&calls("Ban sstt SOURCE '' 0 0"))?;
    ensure!(listed()? == 60, "{} are banned", listed()?);
    for last in ["198.18.200.1", "198.18.200.60", "2001:db8:bad:c800::60"] {
        guest.expect_closed(last.parse()?)?;
    }
    guest.sh(&calls("Unban sst SOURCE '' 0"))?;
    ensure!(listed()? == 0, "{} are left", listed()?);
    for last in ["198.18.200.1", "198.18.200.60", "2001:db8:bad:c800::60"] {
        guest.expect_open(last.parse()?)?;
    }
    Ok(())
}

fn the_status_tells_whom_the_kernel_keeps_out(guest: &Guest) -> Result<()> {
    let name = guest.firewall.name();
    ensure!(guest.property("Firewall")? == name, "not {name}");
    let before = guest.dropped()?;
    let sources = [guest.source(), guest.source_v6()];
    for source in sources {
        guest.ban(&source.to_string())?;
        guest.expect_banned(source)?;
    }
    let (packets, bytes) = guest.dropped()?;
    let dropped = if guest.firewall == Firewall::Firewalld {
        "not counted".to_owned()
    } else {
        // A SYN at least at each port, of each family.
        ensure!(packets >= before.0 + 16, "{before:?} became {packets}");
        ensure!(bytes >= before.1 + 16 * 40, "{before:?} became {bytes}");
        format!("{packets} ({bytes} bytes)")
    };
    let in_force = guest.property("InForce")?;
    let status = guest.sh("banjour status")?;
    for line in [
        &format!("firewall: {name}\n"),
        &format!("\nsources kept out: {in_force}; packets dropped: {dropped}\n"),
    ] {
        ensure!(status.contains(line), "no {line:?} in {status}");
    }
    for source in sources {
        guest.unban(&source.to_string())?;
        guest.expect_lifted(source)?;
    }
    let left = guest.property("InForce")?;
    ensure!(
        left.as_u64() == in_force.as_u64().map(|all| all - 2),
        "{in_force} became {left}"
    );
    Ok(())
}
