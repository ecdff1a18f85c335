//! Connections that a banned source has open already, and the helper that ends them.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::agent::SOON;
use crate::client::Service::{Imap, Imaps, Pop3, Sieve, Submission};
use crate::host::{Guest, Output, at_once, wait_for};
use crate::session::Answer;

crate::cases![
    an_open_connection_ends_with_the_ban,
    connections_of_others_go_on,
    a_ban_by_prefix_ends_connections_too,
    the_helper_obeys_the_agent_and_root_alone,
    the_helper_takes_sources_and_nothing_else,
    the_helper_has_one_right_and_few_ways_to_use_it,
    the_helper_goes_when_it_is_idle,
];

const DISCONNECT: &str = "busctl call org.banjour.Netfilter1 /org/banjour/Netfilter1 org.banjour.Netfilter1 Disconnect as";

/// Whoever guesses in a connection that was open before the ban gets no more answers.
fn an_open_connection_ends_with_the_ban(guest: &Guest) -> Result<()> {
    let attackers: Vec<(IpAddr, _)> = [Imap, Imaps, Pop3, Sieve, Submission]
        .into_iter()
        .flat_map(|service| [(guest.source(), service), (guest.source_v6(), service)])
        .collect();
    at_once(&attackers, |&(source, service)| {
        let mut open = guest.attackers.open(source, service)?;
        guest.attackers.fail(source, service, 3)?;
        guest.expect_banned(source)?;
        let end = wait_for("the end of the connection", SOON, || {
            Ok(guest.connections_of(source)? == 0)
        });
        end.with_context(|| format!("{source} at {service:?}"))?;
        let answer = open.log_in("bob", "right-bob")?;
        ensure!(answer == Answer::Cut, "{source} at {service:?}: {answer:?}");
        Ok(())
    })
}

fn connections_of_others_go_on(guest: &Guest) -> Result<()> {
    let (mallory, alice) = (guest.source(), guest.source());
    let mut open = guest.attackers.open(alice, Imap)?;
    guest.attackers.fail(mallory, Imap, 3)?;
    guest.expect_banned(mallory)?;
    let answer = open.log_in("alice", "right-alice")?;
    ensure!(answer == Answer::Accepted, "a neighbour: {answer:?}");
    open.leave()
}

fn a_ban_by_prefix_ends_connections_too(guest: &Guest) -> Result<()> {
    let source: IpAddr = "198.18.200.7".parse()?;
    let mut open = guest.attackers.open(source, Imap)?;
    let _undo = guest.undo("banjour unban 198.18.200.0/24");
    guest.ban("198.18.200.0/24")?;
    wait_for("the end of the connection", SOON, || {
        Ok(guest.connections_of(source)? == 0)
    })?;
    let answer = open.log_in("bob", "right-bob")?;
    ensure!(answer == Answer::Cut, "a banned network: {answer:?}");
    Ok(())
}

fn the_helper_obeys_the_agent_and_root_alone(guest: &Guest) -> Result<()> {
    let call = |user: &str| -> Result<Output> {
        guest.run(&[
            "runuser",
            "-u",
            user,
            "--",
            "sh",
            "-c",
            &format!("{DISCONNECT} 1 198.51.100.1"),
        ])
    };
    for user in ["root", "banjour"] {
        let called = call(user)?;
        ensure!(called.code == 0, "{user} is refused: {}", called.err);
    }
    for user in ["dave", "postfix", "dovecot", "nobody"] {
        let called = call(user)?;
        ensure!(
            called.code != 0 && called.err.contains("denied"),
            "{user} may call the helper: {}{}",
            called.out,
            called.err
        );
    }
    Ok(())
}

fn the_helper_takes_sources_and_nothing_else(guest: &Guest) -> Result<()> {
    let disconnect = |sources: &str| guest.run(&["sh", "-c", &format!("{DISCONNECT} {sources}")]);
    for source in [
        "0.0.0.0/0",
        "::/0",
        "127.0.0.1",
        "::1",
        "192.0.2.2",
        "192.0.2.0/24",
        "2001:db8:1::2",
        "all",
        "''",
        "'198.51.100.1; reboot'",
    ] {
        let called = disconnect(&format!("1 {source}"))?;
        ensure!(called.code != 0, "{source} was taken");
    }
    let many = format!("4097 {}", "198.51.100.1 ".repeat(4097));
    let called = disconnect(&many)?;
    ensure!(
        called.code != 0 && called.err.contains("4096"),
        "{}",
        called.err
    );
    let called = disconnect("2 198.51.100.1 2001:db8:bad::/48")?;
    ensure!(called.code == 0, "{}", called.err);
    Ok(())
}

fn the_helper_has_one_right_and_few_ways_to_use_it(guest: &Guest) -> Result<()> {
    guest.sh(&format!("{DISCONNECT} 1 198.51.100.1"))?;
    let field = |name: &str| guest.process_field("banjour-netfilter.service", name);
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        ensure!(field(set)? == "0000000000001000", "{set} {}", field(set)?);
    }
    let user = guest.sh("id -u banjour-netfilter")?;
    let users = field("Uid")?;
    ensure!(users.starts_with(&user), "it runs as {users}");
    guest.expect_sandbox("banjour-netfilter.service", 1.5)?;
    let libraries = guest.sh("ldd /usr/libexec/banjour/banjour-netfilter")?;
    ensure!(!libraries.contains("systemd"), "it links {libraries}");
    Ok(())
}

fn the_helper_goes_when_it_is_idle(guest: &Guest) -> Result<()> {
    guest.sh(&format!("{DISCONNECT} 1 198.51.100.1"))?;
    wait_for("the helper to go", Duration::from_secs(45), || {
        let state = guest.sh("systemctl show -P ActiveState banjour-netfilter")?;
        ensure!(state != "failed", "the helper failed");
        Ok(state == "inactive")
    })?;
    guest.sh(&format!("{DISCONNECT} 1 198.51.100.1")).map(drop)
}
