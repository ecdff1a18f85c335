//! What an admin works with: the command, the journal, the log level.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::{SOON, client};
use crate::client::Service::{Imap, Smtp};
use crate::host::{Guest, wait_for};

crate::cases![
    the_journal_tells_the_story_of_a_source,
    the_log_level_can_be_changed,
    the_command_shows_lists_and_json,
    asking_with_the_command_never_starts_the_agent,
];

const BAN: &str = "a1d1a07c5eb64eb4a4c9e3d5ee5b1f01";
const UNBAN: &str = "a1d1a07c5eb64eb4a4c9e3d5ee5b1f02";

fn the_journal_tells_the_story_of_a_source(guest: &Guest) -> Result<()> {
    let source = guest.source_v6();
    guest.attackers.fail(source, Smtp, 3)?;
    let ban = guest.expect_banned_in(source, "postfix-sasl")?;
    guest.unban(&source.to_string())?;
    guest.expect_lifted(source)?;
    guest.sh("journalctl --sync")?;

    let client = client(source);
    let of_jail = format!("BANJOUR_SOURCE={client} BANJOUR_JAIL=postfix-sasl");
    let entries = guest.journal(&of_jail)?;
    let (banned, unbanned) = (
        entries.first().context("no entry")?,
        entries.last().context("no entry")?,
    );
    for (entry, field, value) in [
        (banned, "MESSAGE_ID", BAN),
        (banned, "BANJOUR_ACTION", "ban"),
        (banned, "BANJOUR_USER", "bob"),
        (banned, "BANJOUR_ATTEMPTS", "3"),
        (banned, "BANJOUR_UNTIL", &ban.until.to_string()),
        (banned, "SYSLOG_IDENTIFIER", "banjourd"),
        // A ban is news, not trouble: info.
        (banned, "PRIORITY", "6"),
        (unbanned, "MESSAGE_ID", UNBAN),
        (unbanned, "BANJOUR_ACTION", "unban"),
        (unbanned, "BANJOUR_REASON", "unbanned"),
    ] {
        ensure!(entry[field] == value, "{field} is not {value} in {entry:#}");
    }
    ensure!(
        banned["MESSAGE"]
            .as_str()
            .is_some_and(|text| text.contains(&client)),
        "{banned:#}"
    );
    let explained = guest.sh(&format!(
        "journalctl -q -x -o short -u banjour {of_jail} MESSAGE_ID={BAN}"
    ))?;
    ensure!(
        explained.contains("banjour unban"),
        "the catalog does not say how to lift it: {explained}"
    );
    ensure!(
        !explained.contains('@'),
        "a field of the catalog is not filled in: {explained}"
    );
    Ok(())
}

fn the_log_level_can_be_changed(guest: &Guest) -> Result<()> {
    let level = "systemctl service-log-level banjour";
    ensure!(
        guest.sh(level)? == "info",
        "it starts at {}",
        guest.sh(level)?
    );
    let _back = guest.undo(format!("{level} info"));
    let source = guest.source();
    guest.attackers.fail(source, Imap, 1)?;
    guest.expect_never_banned(&[source])?;
    let debug = || guest.journal("PRIORITY=7").map(|entries| entries.len());
    let quiet = debug()?;
    guest.sh(&format!("{level} debug"))?;
    ensure!(
        guest.sh(level)? == "debug",
        "it reads back {}",
        guest.sh(level)?
    );
    guest.attackers.fail(source, Imap, 1)?;
    wait_for("an entry at debug", SOON, || Ok(debug()? > quiet))?;
    guest.sh(&format!("{level} info"))?;
    ensure!(
        guest.sh(level)? == "info",
        "it reads back {}",
        guest.sh(level)?
    );
    Ok(())
}

fn the_command_shows_lists_and_json(guest: &Guest) -> Result<()> {
    let source = guest.source();
    guest.ban(&format!("{source} --for 2h"))?;
    let bans = guest.expect_banned(source)?;
    ensure!(
        bans[0].until - bans[0].since == 7_200_000_000,
        "not two hours: {bans:?}"
    );
    for show in [
        "banjour status",
        "banjour status manual",
        "banjour status --json",
        "banjour status manual --json",
    ] {
        let shown = guest.sh(show)?;
        ensure!(
            shown.contains(&source.to_string()),
            "{show} does not show {source}: {shown}"
        );
        ensure!(
            !shown.contains('\u{1b}'),
            "{show} writes colours into a pipe"
        );
        if show.ends_with("--json") {
            serde_json::from_str::<Value>(&shown).with_context(|| format!("{show}: {shown}"))?;
        }
    }
    let elsewhere = guest.sh("banjour status dovecot")?;
    ensure!(
        !elsewhere.contains(&source.to_string()),
        "jail dovecot did not ban {source}: {elsewhere}"
    );
    for json in [
        format!("unban {source} --json"),
        format!("ban {source} --json"),
        format!("unban {source} --json"),
    ] {
        let said = guest.sh(&format!("banjour {json}"))?;
        serde_json::from_str::<Value>(&said).with_context(|| format!("banjour {json}: {said}"))?;
    }
    for (code, arguments) in [
        (1, "ban 198.18.254.1 --jail nowhere"),
        (1, "status nowhere"),
        (2, ""),
        (2, "ban"),
        (2, "ban nonsense"),
        (2, "unban 198.18.254.1/33"),
        (2, "frobnicate"),
        (2, "ban 198.18.254.1 --for never"),
    ] {
        let said = guest.run(&["sh", "-c", &format!("banjour {arguments}")])?;
        ensure!(
            said.code == code,
            "banjour {arguments} exited with {}, not {code}: {}",
            said.code,
            said.err
        );
        ensure!(!said.err.is_empty(), "banjour {arguments} did not say why");
    }
    Ok(())
}

/// A call over the bus does, where an admin has enabled the agent.
fn asking_with_the_command_never_starts_the_agent(guest: &Guest) -> Result<()> {
    let start = "systemctl unmask --quiet banjour; systemctl enable --quiet --now banjour";
    let _start = guest.undo(start);
    let list = "busctl --quiet call org.banjour.Banjour1 /org/banjour/Banjour1 org.banjour.Banjour1.Manager ListBans";
    for (off, starts) in [
        ("stop", true),
        ("disable --quiet --now", false),
        ("mask --quiet --now", false),
    ] {
        guest.sh(&format!("systemctl {off} banjour"))?;
        let said = guest.run(&["banjour", "status"])?;
        ensure!(
            said.code == 3,
            "after {off}, status exited with {}: {}",
            said.code,
            said.err
        );
        ensure!(
            said.err.contains("systemctl"),
            "it does not say what to do: {}",
            said.err
        );
        let called = guest.run(&["sh", "-c", list])?;
        ensure!(
            (called.code == 0) == starts,
            "after {off}, a call ended with {}: {}",
            called.code,
            called.err
        );
        guest.sh(start)?;
    }
    Ok(())
}
