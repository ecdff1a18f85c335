//! Configuration: what is wrong is said in one line, and what runs goes on running.

use anyhow::{Result, ensure};

use crate::agent::SOON;
use crate::client::Service::Imap;
use crate::host::{Guest, wait_for};

crate::cases![
    a_bad_file_keeps_the_agent_from_starting,
    a_bad_reload_keeps_what_runs_and_says_so,
    a_jail_that_a_reload_removes_takes_its_bans_along,
    a_drop_in_changes_what_it_names_and_nothing_else,
    ignored_sources_are_never_banned,
];

const DROP_IN: &str = "/etc/banjour/banjour.toml.d/90-case.toml";
const JAILS: &str = "/org/banjour/Banjour1/jail";
const JAIL: &str = "org.banjour.Banjour1.Jail";

fn a_bad_file_keeps_the_agent_from_starting(guest: &Guest) -> Result<()> {
    let _good = guest.undo(format!(
        "rm -f {DROP_IN}; systemctl reset-failed banjour; systemctl start banjour"
    ));
    for (toml, words) in [
        ("[jail.dovecot]\natempts = 4\n", vec!["atempts", "attempts"]),
        ("[jail.dovecot]\nattempts = 0\n", vec!["attempts", "0"]),
        (
            "[jail.dovecot]\nattempts = \"many\"\n",
            vec!["attempts", "many"],
        ),
        (
            "[jail.dovecot]\nban-time = \"sometimes\"\n",
            vec!["ban-time", "sometimes"],
        ),
        (
            "ignore = [\"192.0.2.300\"]\n",
            vec!["ignore", "192.0.2.300"],
        ),
        (
            "[jail.dovecot]\nfilters = [\"dovecto\"]\n",
            vec!["filters", "dovecto"],
        ),
        ("[jial.dovecot]\nattempts = 3\n", vec!["jial"]),
        ("[jail.dovecot\n", vec![]),
    ] {
        guest.sh("systemctl stop banjour; systemctl reset-failed banjour || true")?;
        guest.write(DROP_IN, toml)?;
        let since = guest.now()?;
        let started = guest.run(&["systemctl", "start", "banjour"])?;
        ensure!(started.code != 0, "it started with {toml:?}");
        guest.sh("systemctl stop banjour; journalctl --sync")?;
        let said = guest.journal(&format!("--since='{since}' SYSLOG_IDENTIFIER=banjourd"))?;
        ensure!(!said.is_empty(), "it said nothing about {toml:?}");
        for entry in said {
            let line = entry["MESSAGE"].as_str().unwrap_or_default();
            ensure!(line.lines().count() == 1, "not one line: {line}");
            for word in words.iter().chain(&[DROP_IN]) {
                ensure!(line.contains(word), "{toml:?}: no {word:?} in: {line}");
            }
            ensure!(entry["PRIORITY"] == "3", "not an error: {entry:#}");
        }
    }
    Ok(())
}

fn a_bad_reload_keeps_what_runs_and_says_so(guest: &Guest) -> Result<()> {
    let source = guest.source();
    guest.ban(&source.to_string())?;
    guest.expect_banned(source)?;
    let _good = guest.undo(format!("rm -f {DROP_IN}; systemctl reload banjour"));
    let (since, pid) = (guest.now()?, guest.main_pid()?);
    guest.write(DROP_IN, "[jail.dovecot]\nattempts = 0\n")?;
    // systemctl may be told that the reload failed, or not.
    guest.run(&["systemctl", "reload", "banjour"])?;
    wait_for("the problem", SOON, || {
        Ok(guest
            .problems()?
            .iter()
            .any(|problem| problem.contains(DROP_IN)))
    })?;
    ensure!(
        guest.status_text()?.contains(DROP_IN),
        "STATUS= is {}",
        guest.status_text()?
    );
    let called = guest.dbus_send("Reload")?;
    ensure!(
        called
            .err
            .starts_with("Error org.banjour.Banjour1.Error.ReloadFailed:"),
        "Reload: {called:?}"
    );
    ensure!(
        guest.problems()?.len() == 1,
        "once is enough: {:?}",
        guest.problems()?
    );
    wait_for("an entry about it", SOON, || {
        Ok(!guest
            .journal(&format!("--since='{since}' BANJOUR_ACTION=problem"))?
            .is_empty())
    })?;

    ensure!(guest.main_pid()? == pid, "it was restarted");
    guest.expect_closed(source)?;
    let guesser = guest.source();
    guest.attackers.fail(guesser, Imap, 2)?;
    guest.expect_never_banned(&[guesser])?;
    guest.attackers.fail(guesser, Imap, 1)?;
    guest.expect_banned(guesser)?;

    guest.sh(&format!("rm {DROP_IN}; systemctl reload banjour"))?;
    wait_for("the problem to be solved", SOON, || {
        Ok(guest.problems()?.is_empty())
    })?;
    ensure!(
        !guest.status_text()?.contains(DROP_IN),
        "STATUS= is still {}",
        guest.status_text()?
    );
    let solved = guest.journal(&format!("--since='{since}' BANJOUR_ACTION=solved"))?;
    ensure!(!solved.is_empty(), "no entry says that it is solved");
    Ok(())
}

fn a_jail_that_a_reload_removes_takes_its_bans_along(guest: &Guest) -> Result<()> {
    let [caught, also_elsewhere] = [guest.source(), guest.source_v6()];
    {
        let _extra = guest.configure(
            "90-extra",
            "[jail.extra]\nfilters = [\"dovecot\"]\nattempts = 50\n",
        )?;
        wait_for("jail extra", SOON, || {
            Ok(guest
                .property_of(&format!("{JAILS}/extra"), JAIL, "Attempts")
                .is_ok_and(|limit| limit == 50))
        })?;
        guest.ban(&format!("{caught} --jail extra"))?;
        guest.ban(&format!("{also_elsewhere} --jail extra"))?;
        guest.ban(&also_elsewhere.to_string())?;
        guest.expect_banned(caught)?;
        guest.expect_banned(also_elsewhere)?;
    }
    guest.expect_lifted(caught)?;
    wait_for("the other jail alone", SOON, || {
        Ok(guest.bans_of(also_elsewhere)?.len() == 1)
    })?;
    guest.expect_closed(also_elsewhere)?;
    let entries = guest.journal(&format!("BANJOUR_ACTION=unban BANJOUR_SOURCE={caught}"))?;
    ensure!(
        entries
            .iter()
            .any(|entry| entry["BANJOUR_REASON"] == "jail-removed"),
        "entries: {entries:#?}"
    );
    ensure!(
        guest
            .property_of(&format!("{JAILS}/extra"), JAIL, "Attempts")
            .is_err(),
        "its object is still there"
    );
    Ok(())
}

fn a_drop_in_changes_what_it_names_and_nothing_else(guest: &Guest) -> Result<()> {
    let _five = guest.configure("90-five", "[jail.dovecot]\nattempts = 5\n")?;
    let jail = |name: &str| guest.property_of(&format!("{JAILS}/dovecot"), JAIL, name);
    wait_for("the new limit", SOON, || Ok(jail("Attempts")? == 5))?;
    ensure!(
        jail("BanTimeUSec")? == 3_600_000_000_u64,
        "the ban time is {}",
        jail("BanTimeUSec")?
    );
    let source = guest.source();
    guest.attackers.fail(source, Imap, 4)?;
    guest.expect_never_banned(&[source])?;
    guest.attackers.fail(source, Imap, 1)?;
    guest.expect_banned(source)?;
    Ok(())
}

fn ignored_sources_are_never_banned(guest: &Guest) -> Result<()> {
    let [friend, stranger] = [guest.source(), guest.source()];
    let ignore =
        format!("ignore = [\"127.0.0.0/8\", \"::1\", \"{friend}\", \"198.18.249.0/24\"]\n");
    let _friends = guest.configure("90-friends", &ignore)?;
    wait_for("the new list", SOON, || {
        Ok(guest.run(&["banjour", "ban", &friend.to_string()])?.code == 1)
    })?;
    let inside = "198.18.249.3".parse()?;
    for source in [friend, inside] {
        guest.attackers.fail(source, Imap, 4)?;
    }
    guest.attackers.fail(stranger, Imap, 3)?;
    guest.expect_banned(stranger)?;
    guest.expect_never_banned(&[friend, inside])
}
