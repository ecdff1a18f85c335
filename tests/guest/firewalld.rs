//! firewalld's own life changes nothing about a ban.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::agent::SOON;
use crate::client::Service::{Imap, Smtp};
use crate::host::{Guest, wait_for};
use crate::kernel::Firewall;

crate::cases![
    firewalld_reload_keeps_every_ban,
    firewalld_restart_keeps_every_ban,
    twenty_reloads_keep_every_ban,
    nftables_stands_in_for_firewalld,
    firewalld_stopped_is_a_problem_until_it_is_back,
    missing_sets_are_a_problem_that_says_what_to_run,
    firewalld_with_iptables_keeps_out_too,
];

/// Firewalld itself needs about two seconds for a restart here.
const RESTORED: Duration = Duration::from_secs(15);

fn firewalld_reload_keeps_every_ban(guest: &Guest) -> Result<()> {
    keeps_every_ban(guest, "firewall-cmd --quiet --reload")
}

fn firewalld_restart_keeps_every_ban(guest: &Guest) -> Result<()> {
    keeps_every_ban(guest, "systemctl restart firewalld")
}

fn twenty_reloads_keep_every_ban(guest: &Guest) -> Result<()> {
    keeps_every_ban(
        guest,
        "for i in $(seq 20); do firewall-cmd --quiet --reload; done",
    )
}

/// When it stops, firewalld takes its rules away before it tells of it. From then on, nobody who is banned gets in.
fn nftables_stands_in_for_firewalld(guest: &Guest) -> Result<()> {
    let [before, meanwhile, after] = [guest.source(), guest.source_v6(), guest.source()];
    let inside: IpAddr = "198.18.252.77".parse()?;
    guest.ban("198.18.252.0/24")?;
    guest.attackers.fail(before, Imap, 3)?;
    guest.expect_banned(before)?;
    guest.expect_closed(inside)?;
    let _start = guest.undo("systemctl start firewalld");
    guest.sh("systemctl stop firewalld")?;
    guest.expect_firewall("nftables")?;
    let stands_in = |source: IpAddr| {
        let kept_out = guest.kept_out_by(Firewall::Nftables)?;
        anyhow::Ok(kept_out.iter().any(|net| net.contains(&source)))
    };
    guest.expect_shut_out_while(&[before, inside], || {
        for source in [before, inside] {
            ensure!(stands_in(source)?, "nftables lets {source} in");
        }
        guest.attackers.fail(meanwhile, Smtp, 3)?;
        wait_for("a ban without firewalld", SOON, || stands_in(meanwhile))?;
        guest.sh("systemctl start firewalld")?;
        guest.expect_firewall("firewalld")?;
        for source in [before, meanwhile, inside] {
            guest.expect_closed(source)?;
        }
        let tables = guest.sh("nft list tables")?;
        ensure!(!tables.contains("banjour"), "{tables}");
        guest.attackers.fail(after, Imap, 3)?;
        guest.expect_banned(after).map(drop)
    })?;
    guest.unban("198.18.252.0/24")?;
    guest.expect_open(inside)
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

/// Where the admin wants firewalld, and nobody else.
fn firewalld_stopped_is_a_problem_until_it_is_back(guest: &Guest) -> Result<()> {
    let _firewalld = guest.configure("90-firewalld", "firewall = \"firewalld\"\n")?;
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

/// Its older backend (`FirewallBackend`, firewalld.conf(5)); what that has in the kernel, `banjour check` does not read.
fn firewalld_with_iptables_keeps_out_too(guest: &Guest) -> Result<()> {
    let take = |backend: &str| {
        format!(
            "sed -i 's/^FirewallBackend=.*/FirewallBackend={backend}/' /etc/firewalld/firewalld.conf
             systemctl restart firewalld"
        )
    };
    let source = guest.source();
    guest.attackers.fail(source, Imap, 3)?;
    guest.expect_banned(source)?;
    let _undo = guest.undo(take("nftables"));
    guest.sh(&take("iptables"))?;
    wait_for("a ban by iptables", RESTORED, || {
        let listed = guest.sh("ipset list banjour-ipv4 || true")?;
        Ok(listed.contains(&source.to_string()) && !guest.attackers.knock(source, Imap.port())?)
    })?;
    let checked = guest.sh("banjour check || true")?;
    ensure!(
        checked.contains("unknown\tfirewall\twhether the kernel really drops them"),
        "{checked}"
    );
    guest.unban(&source.to_string())?;
    guest.expect_lifted(source)
}
