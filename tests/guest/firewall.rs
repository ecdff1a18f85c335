//! What a ban closes, how it ends, and that firewalld's own life changes nothing about it.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::agent::SOON;
use crate::client::Service::{Imap, Pop3, Smtp};
use crate::host::{Guest, OTHER_PORT, at_once, wait_for};

crate::cases![
    a_ban_closes_all_mail_ports_and_nothing_else,
    unban_opens_the_ports_again,
    who_is_unbanned_starts_from_nothing,
    neighbours_are_banned_and_lifted_separately,
    a_prefix_and_hosts_inside_it_do_not_get_in_each_others_way,
    a_ban_ends_by_itself,
    bans_of_several_jails_end_one_by_one,
    many_bans_come_and_go,
    firewalld_reload_keeps_every_ban,
    firewalld_restart_keeps_every_ban,
    firewalld_stopped_is_a_problem_until_it_is_back,
    missing_sets_are_a_problem_that_says_what_to_run,
];

/// Firewalld itself needs about two seconds for a restart here.
const RESTORED: Duration = Duration::from_secs(15);

fn a_ban_closes_all_mail_ports_and_nothing_else(guest: &Guest) -> Result<()> {
    let pairs = [
        (guest.source(), guest.source()),
        (guest.source_v6(), guest.source_v6()),
    ];
    at_once(&pairs, |&(source, other)| {
        guest.attackers.fail(source, Pop3, 3)?;
        guest.expect_banned(source)?;
        guest.expect_open(other)?;
        let still = guest.attackers.reachable(source, OTHER_PORT)?;
        ensure!(still, "port {OTHER_PORT} is closed to {source} too");
        Ok(())
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
            "2001:db8:bad:fa::6",
            "2001:db8:bad:fa::7",
            "2001:db8:bad:fa::8",
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
            "2001:db8:bad:fb::/64",
            "2001:db8:bad:fb::7",
            "2001:db8:bad:fb::8",
            "2001:db8:bad:fb:ffff::1",
            "2001:db8:bad:fc::",
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
            "for i in $(seq 1 60); do echo 198.18.200.$i 2001:db8:bad:c8::$i; done | tr ' ' '\\n' |
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
    for last in ["198.18.200.1", "198.18.200.60", "2001:db8:bad:c8::60"] {
        guest.expect_closed(last.parse()?)?;
    }
    guest.sh(&calls("Unban sst SOURCE '' 0"))?;
    ensure!(listed()? == 0, "{} are left", listed()?);
    for last in ["198.18.200.1", "198.18.200.60", "2001:db8:bad:c8::60"] {
        guest.expect_open(last.parse()?)?;
    }
    Ok(())
}

fn firewalld_reload_keeps_every_ban(guest: &Guest) -> Result<()> {
    keeps_every_ban(guest, "firewall-cmd --quiet --reload")
}

fn firewalld_restart_keeps_every_ban(guest: &Guest) -> Result<()> {
    keeps_every_ban(guest, "systemctl restart firewalld")
}

fn keeps_every_ban(guest: &Guest, event: &str) -> Result<()> {
    let (guesser, by_hand, inside) = (guest.source(), guest.source_v6(), "198.18.253.77".parse()?);
    guest.attackers.fail(guesser, Smtp, 3)?;
    guest.expect_banned(guesser)?;
    guest.ban(&by_hand.to_string())?;
    guest.ban("198.18.253.0/24")?;
    let before = guest.bans()?;
    guest.sh(event)?;
    for source in [guesser, by_hand, inside] {
        wait_for(&format!("{source} to be dropped again"), RESTORED, || {
            guest.kernel_has(source)
        })?;
        guest.expect_closed(source)?;
    }
    ensure!(
        guest.bans()? == before,
        "before: {before:?}\nafter: {:?}",
        guest.bans()?
    );
    for source in [
        "198.18.253.0/24".to_owned(),
        guesser.to_string(),
        by_hand.to_string(),
    ] {
        guest.unban(&source)?;
    }
    for source in [guesser, by_hand, inside] {
        guest.expect_open(source)?;
    }
    wait_for("the problems to be solved", SOON, || {
        Ok(guest.problems()?.is_empty())
    })
}

fn firewalld_stopped_is_a_problem_until_it_is_back(guest: &Guest) -> Result<()> {
    let (before, meanwhile) = (guest.source(), guest.source());
    guest.ban(&before.to_string())?;
    guest.expect_banned(before)?;
    let _start = guest.undo("systemctl start firewalld");
    guest.sh("systemctl stop firewalld")?;
    wait_for("the problem", SOON, || {
        Ok(guest
            .problems()?
            .iter()
            .any(|problem| problem.contains("firewalld")))
    })?;
    ensure!(
        guest.status_text()?.contains("firewalld"),
        "STATUS= is {}",
        guest.status_text()?
    );
    // Attempts go on, and are counted: what they lead to waits for firewalld.
    guest.attackers.fail(meanwhile, Imap, 3)?;
    wait_for("a ban while firewalld is away", SOON, || {
        Ok(!guest.bans_of(meanwhile)?.is_empty())
    })?;
    let active = guest.run(&["systemctl", "is-active", "firewalld"])?.out;
    ensure!(
        active.trim() == "inactive",
        "firewalld was stopped by its admin, and is {active}"
    );
    guest.sh("systemctl start firewalld")?;
    for source in [before, meanwhile] {
        wait_for(&format!("{source} to be dropped again"), RESTORED, || {
            guest.kernel_has(source)
        })?;
        guest.expect_closed(source)?;
    }
    wait_for("the problem to be solved", SOON, || {
        Ok(guest.problems()?.is_empty())
    })
}

fn missing_sets_are_a_problem_that_says_what_to_run(guest: &Guest) -> Result<()> {
    let source = guest.source();
    guest.ban(&source.to_string())?;
    guest.expect_banned(source)?;
    let back = "cp -r /var/tmp/banjour-sets/. /usr/lib/firewalld/; firewall-cmd --quiet --reload";
    let _back = guest.undo(back);
    guest.sh(
        "mkdir -p /var/tmp/banjour-sets/ipsets /var/tmp/banjour-sets/policies; cd /usr/lib/firewalld
         mv ipsets/banjour-*.xml /var/tmp/banjour-sets/ipsets; mv policies/banjour*.xml /var/tmp/banjour-sets/policies
         firewall-cmd --quiet --reload",
    )?;
    wait_for("the problem", RESTORED, || {
        Ok(guest
            .problems()?
            .iter()
            .any(|problem| problem.contains("firewall-cmd --reload")))
    })?;
    guest.sh(back)?;
    wait_for("the set to be filled again", RESTORED, || {
        guest.kernel_has(source)
    })?;
    guest.expect_closed(source)?;
    wait_for("the problem to be solved", SOON, || {
        Ok(guest.problems()?.is_empty())
    })
}
