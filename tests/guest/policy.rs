//! Whom the agent bans and whom not, with real clients: customers, botnets, networks, and a jail that observes.

use std::net::IpAddr;

use anyhow::{Result, ensure};

use crate::agent::SOON;
use crate::client::Service::{Imap, Imaps, Pop3, Submission};
use crate::host::{Guest, at_once, wait_for};
use crate::session::Answer;

crate::cases![
    a_customer_with_a_stale_password_is_not_banned_and_may_guess_no_other,
    an_account_that_many_guess_at_is_under_attack,
    a_network_is_banned_for_what_is_inside,
    who_comes_back_is_banned_for_longer,
    a_jail_that_observes_tells_and_bans_nobody,
];

fn a_customer_with_a_stale_password_is_not_banned_and_may_guess_no_other(
    guest: &Guest,
) -> Result<()> {
    at_once(&[guest.source(), guest.source_v6()], |&office| {
        let log_in = |service, password| guest.attackers.log_in(office, service, "bob", password);
        ensure!(
            log_in(Imap, "right-bob")? == Answer::Accepted,
            "bob is not let in"
        );
        for service in [Imap, Submission, Pop3, Imaps] {
            for _ in 0..2 {
                ensure!(
                    log_in(service, "stale-bob")? == Answer::Refused,
                    "{service:?}"
                );
            }
        }
        guest.expect_never_banned(&[office])?;
        for _ in 0..3 {
            guest.attackers.log_in(office, Imap, "carol", "guess")?;
        }
        guest.expect_banned(office).map(drop)
    })
}

fn an_account_that_many_guess_at_is_under_attack(guest: &Guest) -> Result<()> {
    let _rule = guest.configure("90-account", "account-sources = 4\n")?;
    let customer = guest.source();
    guest
        .attackers
        .log_in(customer, Imap, "carol", "right-carol")?;
    let bots: Vec<IpAddr> = (0..4).map(|_| guest.source()).collect();
    for &bot in &bots {
        guest.attackers.log_in(bot, Imap, "carol", "guess")?;
    }
    wait_for("the entry that tells of it", SOON, || {
        let told = guest.journal("BANJOUR_ACTION=account-under-attack BANJOUR_USER=carol")?;
        Ok(!told.is_empty())
    })?;
    let late = guest.source_v6();
    guest.attackers.log_in(late, Pop3, "carol", "guess")?;
    guest.expect_banned(late)?;
    // Neither the customer nor those who guess at others.
    let other = guest.source();
    guest
        .attackers
        .log_in(customer, Imap, "carol", "mistyped")?;
    guest.attackers.log_in(other, Imap, "alice", "mistyped")?;
    guest.expect_never_banned(&[customer, other])
}

fn a_network_is_banned_for_what_is_inside(guest: &Guest) -> Result<()> {
    let _rule = guest.configure("90-network", "network-sources = 3\n")?;
    for (network, neighbour, hosts) in [
        (
            "198.18.240.0/24",
            "198.18.240.99",
            ["198.18.240.1", "198.18.240.2", "198.18.240.3"],
        ),
        (
            "2001:db8:bad:f000::/56",
            "2001:db8:bad:f099::1",
            [
                "2001:db8:bad:f001::1",
                "2001:db8:bad:f002::1",
                "2001:db8:bad:f003::1",
            ],
        ),
    ] {
        let hosts = hosts.map(str::parse);
        for host in hosts {
            guest.attackers.fail(host?, Imap, 3)?;
        }
        wait_for("the network's ban", SOON, || {
            let bans = guest.bans()?;
            Ok(bans.iter().any(|ban| ban.source == network))
        })?;
        guest.expect_closed(neighbour.parse()?)?;
        guest.unban(network)?;
        guest.expect_open(neighbour.parse()?)?;
    }
    Ok(())
}

fn who_comes_back_is_banned_for_longer(guest: &Guest) -> Result<()> {
    let settings = "[jail.dovecot]\nban-time = \"2s\"\nban-time-factor = 100\n";
    let _rule = guest.configure("90-longer", settings)?;
    let source = guest.source();
    guest.attackers.fail(source, Imap, 3)?;
    wait_for("the first ban", SOON, || guest.kernel_has(source))?;
    guest.expect_lifted(source)?;
    guest.attackers.fail(source, Imap, 3)?;
    let bans = guest.expect_banned(source)?;
    let seconds = (bans[0].until - bans[0].since) / 1_000_000;
    ensure!(seconds == 200, "the second ban lasts for {seconds} s");
    guest.unban(&source.to_string()).map(drop)
}

fn a_jail_that_observes_tells_and_bans_nobody(guest: &Guest) -> Result<()> {
    let _rule = guest.configure("90-observe", "mode = \"observe\"\n")?;
    let source = guest.source();
    guest.attackers.fail(source, Imap, 3)?;
    wait_for("the entry that tells of it", SOON, || {
        let told = guest.journal(&format!("BANJOUR_ACTION=observe BANJOUR_SOURCE={source}"))?;
        Ok(!told.is_empty())
    })?;
    guest.expect_never_banned(&[source])
}
