//! The agent dies, stops, comes back: nothing is forgotten, nothing counts twice.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::agent::SOON;
use crate::client::Service::{Imap, Pop3, Smtp};
use crate::host::{Guest, at_once, wait_for};
use crate::kernel::Firewall;

crate::cases![EVERYWHERE:
    bans_outlive_a_restart,
    a_ban_that_ended_while_it_was_stopped_is_lifted_on_return,
];

crate::cases![
    killed_between_attempts_it_loses_nothing_and_counts_nothing_twice,
    attempts_made_while_it_was_stopped_are_read_on_return,
    an_unban_is_not_undone_by_a_restart,
    a_restarted_journal_and_a_rotated_one_lose_nothing,
    a_journal_that_may_not_be_read_is_told_and_read_when_it_may,
];

fn killed_between_attempts_it_loses_nothing_and_counts_nothing_twice(guest: &Guest) -> Result<()> {
    let [two, one, smtp] = [guest.source(), guest.source_v6(), guest.source()];
    at_once(
        &[(two, Imap, 2), (one, Imap, 1), (smtp, Smtp, 2)],
        |&(source, service, times)| guest.attackers.fail(source, service, times),
    )?;
    guest.expect_never_banned(&[two, one, smtp])?;
    kill(guest)?;
    guest.expect_never_banned(&[two, one, smtp])?;
    guest.attackers.fail(two, Imap, 1)?;
    guest.attackers.fail(smtp, Smtp, 1)?;
    guest.expect_all_banned(&[two, smtp])?;

    guest.attackers.fail(one, Pop3, 1)?;
    guest.expect_never_banned(&[one])?;
    kill(guest)?;
    guest.expect_never_banned(&[one])?;
    // While it is away, and at once: nobody waits for it.
    guest.sh("systemctl kill --signal=KILL banjour")?;
    guest.attackers.fail(one, Imap, 1)?;
    guest.wait_until_up(0)?;
    guest.expect_banned(one)?;
    for source in [two, smtp] {
        guest.expect_closed(source)?;
    }
    Ok(())
}

fn kill(guest: &Guest) -> Result<()> {
    let pid = guest.main_pid()?;
    guest.sh("systemctl kill --signal=KILL banjour")?;
    guest.wait_until_up(pid)
}

fn bans_outlive_a_restart(guest: &Guest) -> Result<()> {
    let [guesser, by_hand] = [guest.source(), guest.source_v6()];
    guest.attackers.fail(guesser, Imap, 3)?;
    guest.expect_banned(guesser)?;
    guest.ban(&format!("{by_hand} --for 2h"))?;
    guest.ban("198.18.255.0/25 --for 2h")?;
    let before = guest.bans()?;
    let inside = "198.18.255.100".parse()?;
    guest.expect_closed(inside)?;
    let dropped = guest.dropped()?;
    let sources = [guesser, by_hand, inside];
    guest.expect_shut_out_while(&sources, || {
        let pid = guest.main_pid()?;
        guest.sh("systemctl restart banjour")?;
        guest.wait_until_up(pid)?;
        guest.sh("systemctl stop banjour")?;
        for source in sources {
            guest.expect_closed(source)?;
        }
        guest.sh("systemctl start banjour")?;
        guest.expect_exactly_the_bans(SOON)
    })?;
    guest.expect_firewall(guest.firewall.name())?;
    let bans = guest.bans()?;
    ensure!(bans == before, "before: {before:?}\nafter: {bans:?}");
    ensure!(
        guest.dropped()? >= dropped,
        "{dropped:?} was dropped before, {:?} after",
        guest.dropped()?
    );
    guest.unban("198.18.255.0/25")?;
    guest.expect_open(inside)
}

fn attempts_made_while_it_was_stopped_are_read_on_return(guest: &Guest) -> Result<()> {
    let [three, two] = [guest.source(), guest.source()];
    guest.attackers.fail(three, Imap, 1)?;
    let _start = guest.undo("systemctl start banjour");
    guest.sh("systemctl stop banjour")?;
    guest.attackers.fail(three, Imap, 2)?;
    guest.attackers.fail(two, Smtp, 2)?;
    guest.sh("systemctl start banjour")?;
    let bans = guest.expect_banned(three)?;
    // The clock is that of the entries: the ban counts from the attempt, not from when it was read.
    ensure!(
        bans[0].until - bans[0].since == 3_600_000_000,
        "not an hour: {bans:?}"
    );
    guest.expect_never_banned(&[two])?;
    guest.attackers.fail(two, Smtp, 1)?;
    guest.expect_banned(two)?;
    Ok(())
}

fn a_ban_that_ended_while_it_was_stopped_is_lifted_on_return(guest: &Guest) -> Result<()> {
    let source = guest.source();
    guest.ban(&format!("{source} --for 3s"))?;
    guest.expect_banned(source)?;
    let _start = guest.undo("systemctl start banjour");
    guest.sh("systemctl stop banjour")?;
    if guest.firewall == Firewall::Firewalld {
        std::thread::sleep(Duration::from_secs(3));
        ensure!(guest.kernel_has(source)?, "nobody was there to lift it");
    } else {
        // These sets have times of their own.
        guest.expect_open(source)?;
    }
    guest.sh("systemctl start banjour")?;
    guest.expect_lifted(source)?;
    wait_for("an entry about it", SOON, || {
        let entries = guest.journal(&format!("BANJOUR_ACTION=unban BANJOUR_SOURCE={source}"))?;
        Ok(entries
            .iter()
            .any(|entry| entry["BANJOUR_REASON"] == "expired"))
    })
}

/// The attempts are still in the journal, and were forgiven.
fn an_unban_is_not_undone_by_a_restart(guest: &Guest) -> Result<()> {
    let [guesser, smtp] = [guest.source(), guest.source_v6()];
    guest.attackers.fail(guesser, Imap, 3)?;
    guest.attackers.fail(smtp, Smtp, 3)?;
    for source in [guesser, smtp] {
        guest.expect_banned(source)?;
        guest.unban(&source.to_string())?;
        guest.expect_lifted(source)?;
    }
    kill(guest)?;
    guest.expect_never_banned(&[guesser, smtp])?;
    let services = [(guesser, Imap), (smtp, Smtp)];
    at_once(&services, |&(source, service)| {
        guest.attackers.fail(source, service, 2)
    })?;
    guest.expect_never_banned(&[guesser, smtp])?;
    at_once(&services, |&(source, service)| {
        guest.attackers.fail(source, service, 1)
    })?;
    guest.expect_all_banned(&[guesser, smtp])
}

fn a_restarted_journal_and_a_rotated_one_lose_nothing(guest: &Guest) -> Result<()> {
    let [rotated, restarted] = [guest.source(), guest.source()];
    guest.attackers.fail(rotated, Imap, 2)?;
    guest.attackers.fail(restarted, Imap, 1)?;
    guest.sh("journalctl --rotate")?;
    guest.attackers.fail(rotated, Imap, 1)?;
    guest.expect_banned(rotated)?;
    guest.attackers.fail(restarted, Imap, 1)?;
    guest.sh("systemctl restart systemd-journald")?;
    guest.expect_never_banned(&[restarted])?;
    guest.attackers.fail(restarted, Imap, 1)?;
    guest.expect_banned(restarted)?;
    Ok(())
}

fn a_journal_that_may_not_be_read_is_told_and_read_when_it_may(guest: &Guest) -> Result<()> {
    let guesser = guest.source();
    guest.attackers.fail(guesser, Imap, 1)?;
    let directory = "/*/log/journal/$(cat /etc/machine-id)";
    let is_told = || {
        let problems = guest.problems()?;
        Ok(problems
            .iter()
            .any(|problem| problem.contains("cannot read the journal")))
    };
    for (how, begins) in [
        ("running", "journalctl --rotate"),
        ("at its start", "systemctl restart banjour"),
    ] {
        let undo = guest.undo(format!("chmod 2755 {directory}"));
        guest.sh(&format!("chmod 0700 {directory} && {begins}"))?;
        wait_for(&format!("the problem, {how}"), SOON, is_told)?;
        guest.attackers.fail(guesser, Imap, 1)?;
        drop(undo);
        wait_for("its end", SOON, || Ok(!is_told()?))?;
    }
    guest.expect_banned(guesser)?;
    Ok(())
}
