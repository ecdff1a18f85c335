//! Connections that a banned source has open already, and the helper that ends them.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};

use crate::agent::SOON;
use crate::client::Service::{Imap, Imaps, Pop3, Sieve, Submission};
use crate::host::{Guest, at_once, wait_for};
use crate::session::Answer;

crate::cases![
    an_open_connection_ends_with_the_ban,
    connections_of_others_go_on,
    a_ban_by_prefix_ends_connections_too,
];

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
