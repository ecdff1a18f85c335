//! "Why is this address blocked?": the answers of `banjour why` and `banjour list`.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::SOON;
use crate::client::Service::{Imap, Pop3, Submission};
use crate::host::{Guest, wait_for};

crate::cases![EVERYWHERE: the_answer_has_the_very_lines_and_the_kernels_word];
crate::cases![
    every_line_is_found_again_by_its_cursor,
    who_may_read_the_journal_may_ask,
];

fn the_answer_has_the_very_lines_and_the_kernels_word(guest: &Guest) -> Result<()> {
    let source = guest.source();
    let why = || guest.sh(&format!("banjour why {source}"));
    let before = why()?;
    ensure!(
        before.starts_with(&format!("{source} may log in: it is not banned")),
        "{before}"
    );
    guest.attackers.log_in(source, Imap, "bob", "guess")?;
    guest.attackers.log_in(source, Pop3, "alice", "guess")?;
    guest.attackers.log_in(source, Imap, "bob", "guess")?;
    guest.expect_banned(source)?;
    let answer = why()?;
    let firewall = guest.property("Firewall")?;
    let firewall = firewall.as_str().unwrap_or_default();
    for part in [
        &format!("{source} may not log in: it is banned, and {firewall} drops what it sends\n"),
        "3 failed logins since ",
        "tried   \"bob\", \"alice\"\n",
        "\nThe lines that led to it:\n",
        &format!("rhost={source}"),
        &format!("banjour unban {source}"),
    ] {
        ensure!(answer.contains(part), "no {part:?} in {answer}");
    }
    let list = guest.sh("banjour list --jail dovecot")?;
    let row = list
        .lines()
        .find(|line| line.starts_with(&format!("{source}\t")));
    let row = row.with_context(|| list.clone())?;
    ensure!(
        row.ends_with("\t3 attempts\t-\t\"bob\", \"alice\""),
        "{row}"
    );
    guest.unban(&source.to_string())?;
    guest.expect_lifted(source)?;
    let after = why()?;
    ensure!(
        after.starts_with(&format!("{source} may log in")),
        "{after}"
    );
    ensure!(
        after.contains("unbanned"),
        "what was done is not told: {after}"
    );
    Ok(())
}

fn every_line_is_found_again_by_its_cursor(guest: &Guest) -> Result<()> {
    let source = guest.source_v6();
    guest.attackers.fail(source, Submission, 3)?;
    guest.expect_banned(source)?;
    let answer = guest.sh(&format!("banjour why {source} --json"))?;
    let answer: Value = serde_json::from_str(&answer).with_context(|| answer.clone())?;
    let mut count = 0;
    for lines in answer["journal"].as_array().context("no journal")? {
        for line in lines["lines"].as_array().context("no lines")? {
            let cursor = line["cursor"].as_str().context("no cursor")?;
            let entry = guest.sh(&format!("journalctl -q -o cat -n 1 --cursor '{cursor}'"))?;
            ensure!(
                Some(&*entry) == line["message"].as_str(),
                "{entry} is not {line}"
            );
            ensure!(
                entry.contains(&source.to_string()),
                "not about {source}: {entry}"
            );
            count += 1;
        }
    }
    ensure!(count >= 3, "{answer}");
    guest.unban(&source.to_string()).map(drop)
}

fn who_may_read_the_journal_may_ask(guest: &Guest) -> Result<()> {
    let source = guest.source();
    let ask = format!("banjour why {source}");
    for command in [&*ask, "banjour list"] {
        let refused = guest.as_dave(command)?;
        ensure!(refused.code == 4, "{command}: {refused:?}");
    }
    let _undo = guest.undo("gpasswd --delete dave systemd-journal");
    guest.sh("usermod --append --groups systemd-journal dave")?;
    wait_for("dave to be told", SOON, || {
        Ok(guest.as_dave(&ask)?.code == 0)
    })?;
    ensure!(guest.as_dave("banjour list")?.code == 0, "no list");
    ensure!(
        guest.as_dave(&format!("banjour ban {source}"))?.code == 4,
        "dave banned"
    );
    Ok(())
}
