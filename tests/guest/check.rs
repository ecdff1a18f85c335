//! `banjour check`: fine on a host in order; and whatever is broken, it finds, and tells what mends it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::SOON;
use crate::client::Service::Imap;
use crate::host::{Guest, wait_for};

crate::cases![
    a_host_in_order_is_fine_for_check,
    check_finds_daemons_that_do_not_log_to_the_journal,
    check_finds_a_journal_that_keeps_too_little,
    check_finds_a_renamed_unit_and_tells_how_to_read_it,
    check_finds_lines_that_journald_drops_and_tells_how_to_have_them,
    check_finds_failures_that_no_filter_knows,
    check_finds_a_firewall_that_was_flushed,
    check_finds_ports_that_a_ban_leaves_open,
    check_finds_an_agent_that_does_not_run,
    check_finds_a_faulty_and_an_unread_configuration,
    check_says_what_it_could_not_ask,
    people_get_colours_unless_they_want_none,
];

crate::cases![HELPER: check_compares_the_kernel_with_the_bans];

/// An agent waits for so long before it tells of units.
const UNITS_SETTLE: Duration = Duration::from_mins(1);

/// A report, and the exit code that came with it.
struct Checked {
    code: i32,
    report: Value,
}

impl Checked {
    fn of(guest: &Guest) -> Result<Self> {
        let said = guest.run(&["banjour", "check", "--json"])?;
        let report = serde_json::from_str(&said.out);
        let report = report.with_context(|| format!("{}{}", said.out, said.err))?;
        ensure!(said.err.is_empty(), "{}", said.err);
        Ok(Self {
            code: said.code,
            report,
        })
    }

    /// What is to be done about the thing to do whose line has `part` in it.
    fn to_do(&self, part: &str) -> Option<String> {
        let finding = self.find("to-do", part)?;
        Some(finding["action"].as_str().unwrap_or_default().to_owned())
    }

    fn says(&self, level: &str, part: &str) -> bool {
        self.find(level, part).is_some()
    }

    fn find(&self, level: &str, part: &str) -> Option<&Value> {
        let has_part = |what: &Value| what.as_str().is_some_and(|what| what.contains(part));
        let mut findings = self.report["findings"].as_array()?.iter();
        findings.find(|finding| finding["level"] == level && has_part(&finding["what"]))
    }
}

impl Guest {
    /// Fails unless check soon finds this to be done; returns what it says to do.
    fn check_finds(&self, part: &str) -> Result<String> {
        let mut checked = Checked::of(self)?;
        wait_for(part, SOON, || {
            checked = Checked::of(self)?;
            Ok(checked.to_do(part).is_some())
        })
        .with_context(|| format!("{:#}", checked.report))?;
        ensure!(checked.code != 0, "it found something, and exited with 0");
        checked.to_do(part).context("it was there")
    }

    /// Fails unless this is soon not to be done any more.
    fn check_is_over(&self, part: &str) -> Result<()> {
        let mut checked = Checked::of(self)?;
        wait_for("it to be mended", SOON, || {
            checked = Checked::of(self)?;
            Ok(checked.to_do(part).is_none())
        })
        .with_context(|| format!("{:#}", checked.report))
    }

    /// Fails unless the agent has this problem in time.
    fn agent_tells(&self, part: &str, limit: Duration) -> Result<()> {
        let told = |problem: &String| problem.contains(part);
        wait_for(part, limit, || Ok(self.problems()?.iter().any(told)))
    }

    /// A journal, and an agent, that know of nothing before.
    fn forget(&self) -> Result<()> {
        self.sh(FORGET)?;
        self.wait_until_up(0)
    }

    /// Lines that somebody in Dovecot's unit writes as root, as Dovecot does; the last one after a while.
    fn dovecot_says(&self, line: &str, count: u32, then: u32) -> Result<()> {
        self.sh(&format!(
            "sh -c 'echo $$ >/sys/fs/cgroup/system.slice/dovecot.service/cgroup.procs
             (for n in $(seq {count}); do echo \"{line}$n\"; done; sleep {then}; echo that was all; sleep 1) |
             exec logger -t dovecot'"
        ))?;
        Ok(())
    }
}

const FORGET: &str = "systemctl stop banjour
    journalctl --quiet --rotate
    journalctl --quiet --vacuum-time=1s
    rm -f /var/lib/banjour/banjour.db*
    systemctl start banjour";

fn a_host_in_order_is_fine_for_check(guest: &Guest) -> Result<()> {
    guest.forget()?;
    guest.dovecot("")?;
    guest.attackers.fail(guest.source(), Imap, 1)?;
    let source = guest.source();
    guest.ban(&source.to_string())?;
    guest.expect_closed(source)?;
    let checked = Checked::of(guest)?;
    ensure!(
        checked.code == 0,
        "exit code {}: {:#}",
        checked.code,
        checked.report
    );
    for part in [
        "it starts at boot",
        "it has no problems",
        "the configuration on disk is the one in force",
        "dovecot.service runs, and wrote",
        "journald has dropped nothing",
        "2 tell of failed logins",
        "every line that looks like a failed login is known",
        "Dovecot logs to the journal",
        "Postfix logs to the journal",
        "Postfix has passwords checked by Dovecot",
        "firewalld keeps banned sources out",
        "the kernel keeps out who is banned (1), and nobody else",
        "a ban closes all ports that the mail servers listen on: 25, 110, 143, 465, 587, 993, 995",
    ] {
        ensure!(checked.says("fine", part), "{part}: {:#}", checked.report);
    }
    ensure!(
        checked.report["unknown"] == 0,
        "root may ask all: {:#}",
        checked.report
    );
    guest.unban(&source.to_string())?;
    Ok(())
}

fn check_finds_daemons_that_do_not_log_to_the_journal(guest: &Guest) -> Result<()> {
    guest.dovecot("log_path = /var/log/dovecot.log\n")?;
    guest.check_finds(
        "Dovecot does not log to the journal, but to \"/var/log/dovecot.log\" (log_path)",
    )?;
    guest.dovecot("info_log_path = /var/log/dovecot-info.log\n")?;
    guest.check_finds("to \"/var/log/dovecot-info.log\" (info_log_path)")?;
    guest.dovecot("")?;
    guest.check_is_over("Dovecot does not log")?;

    let _undo = guest.undo("postconf -X maillog_file; systemctl restart postfix");
    guest.sh("postconf maillog_file=/var/log/mail.log; systemctl restart postfix")?;
    let action =
        guest.check_finds("Postfix does not log to the journal, but to \"/var/log/mail.log\"")?;
    guest.sh(&action)?;
    guest.check_is_over("Postfix does not log")
}

fn check_finds_a_journal_that_keeps_too_little(guest: &Guest) -> Result<()> {
    let file = "/etc/systemd/journald.conf.d/zz-case.conf";
    let _undo = guest.undo(format!("rm -f {file}; systemctl restart systemd-journald"));
    guest.write(file, "[Journal]\nMaxLevelStore=notice\n")?;
    guest.check_finds("MaxLevelStore=notice in /etc/systemd/journald.conf.d/zz-case.conf")?;
    guest.write(file, "[Journal]\nStorage=none\n")?;
    guest.check_finds("journald keeps nothing: Storage=none")?;
    guest.sh(&format!("rm {file}"))?;
    guest.check_is_over("journald keeps nothing")?;

    let unit = "/etc/systemd/system/dovecot.service.d/zz-case.conf";
    let _undo = guest.undo(format!(
        "rm -f {unit}; systemctl daemon-reload; systemctl restart dovecot"
    ));
    guest.write(unit, "[Service]\nLogLevelMax=warning\n")?;
    guest.sh("systemctl daemon-reload")?;
    guest.check_finds("its LogLevelMax= is below info")?;
    Ok(())
}

/// As an upgrade may do, or an admin with units of his own.
fn check_finds_a_renamed_unit_and_tells_how_to_read_it(guest: &Guest) -> Result<()> {
    let unit = "/etc/systemd/system/mail-access.service";
    let undo = guest.undo(format!(
        "systemctl stop mail-access; rm -f {unit} /etc/banjour/filters/dovecot.toml; systemctl daemon-reload
         systemctl start dovecot; systemctl reload-or-restart banjour"
    ));
    guest.sh(&format!(
        "sed '/^Alias=/d' /usr/lib/systemd/system/dovecot.service >{unit}
         systemctl daemon-reload; systemctl stop dovecot; systemctl start mail-access"
    ))?;
    let action = guest.check_finds("Dovecot runs in mail-access.service, which no filter reads")?;
    guest.agent_tells("\"mail-access.service\"", UNITS_SETTLE)?;
    guest.sh(&action)?;
    // The agent itself says so half a minute later.
    guest.check_is_over("which no filter reads: nobody")?;
    wait_for("no problem of the agent's", UNITS_SETTLE, || {
        Ok(guest.problems()?.is_empty())
    })?;
    let source = guest.source();
    guest.attackers.fail(source, Imap, 3)?;
    guest.expect_banned(source)?;
    drop(undo);
    guest.restart_dovecot()
}

fn check_finds_lines_that_journald_drops_and_tells_how_to_have_them(guest: &Guest) -> Result<()> {
    let file = "/etc/systemd/journald.conf.d/zz-case.conf";
    let drop_in = "/etc/systemd/system/dovecot.service.d";
    let _undo = guest.undo(format!(
        "rm -rf {file} {drop_in}; systemctl daemon-reload; systemctl restart systemd-journald dovecot\n{FORGET}"
    ));
    guest.write(
        file,
        "[Journal]\nRateLimitIntervalSec=2s\nRateLimitBurst=5\n",
    )?;
    guest.sh("systemctl restart systemd-journald")?;
    guest.dovecot_says("imap-login: nothing in particular ", 500, 3)?;
    guest.agent_tells("journald has dropped lines of \"dovecot.service\"", SOON)?;
    let action = guest.check_finds("lines of dovecot.service in the last day")?;
    guest.sh(&action)?;
    guest.check_is_over("lines of dovecot.service in the last day")?;
    guest.dovecot_says("imap-login: nothing in particular ", 500, 3)?;
    ensure!(
        Checked::of(guest)?
            .to_do("lines of dovecot.service in the last day")
            .is_none(),
        "what it says to do does not help"
    );
    Ok(())
}

fn check_finds_failures_that_no_filter_knows(guest: &Guest) -> Result<()> {
    guest.forget()?;
    let _undo = guest.undo(FORGET);
    guest.dovecot_says("imap-login: Refused: login denied: rip=198.18.0.", 30, 0)?;
    guest.check_finds("30 lines look like failed logins and are known to no filter")?;
    guest.agent_tells("known to no filter", SOON)
}

/// firewalld does not notice. That of Debian 13 owns its table: nobody else can take it out.
fn check_finds_a_firewall_that_was_flushed(guest: &Guest) -> Result<()> {
    let source = guest.source();
    let _undo = guest.undo(format!(
        "systemctl restart firewalld; banjour unban {source}"
    ));
    guest.ban(&source.to_string())?;
    guest.expect_closed(source)?;
    guest.sh("nft flush ruleset || true")?;
    if guest
        .run(&["nft", "list", "table", "inet", "firewalld"])?
        .code
        == 0
    {
        ensure!(guest.release != "bookworm", "the table is still there");
        let checked = Checked::of(guest)?;
        ensure!(
            checked.says("fine", "the kernel keeps out who is banned"),
            "{:#}",
            checked.report
        );
    } else {
        let action = guest.check_finds("the kernel has none of firewalld's rules")?;
        let why = guest.sh(&format!("banjour why {source}"))?;
        ensure!(why.contains("BUT firewalld DOES NOT KEEP IT OUT"), "{why}");
        let command = action.split(" (").next().unwrap_or_default();
        guest.sh(command)?;
        guest.check_is_over("the kernel has none of firewalld's rules")?;
        guest.expect_closed(source)?;
        guest.sh(&format!(
            "nft delete element inet firewalld banjour-ipv4 '{{ {source} }}'"
        ))?;
        guest.check_finds(&format!(
            "1 banned sources are let in by the kernel, such as {source}"
        ))?;
        guest.sh(command)?;
        guest.check_is_over("banned sources are let in")?;
    }
    Ok(())
}

fn check_finds_ports_that_a_ban_leaves_open(guest: &Guest) -> Result<()> {
    let setting = "service imap-login {\n inet_listener webmail {\n port = 1430\n }\n}\n";
    guest.dovecot(setting)?;
    guest.check_finds(
        "a ban does not close all ports that the mail servers listen on: 1430 (Dovecot)",
    )?;
    guest.dovecot("")?;
    guest.check_is_over("a ban does not close")
}

fn check_finds_an_agent_that_does_not_run(guest: &Guest) -> Result<()> {
    let _start = guest.undo("systemctl enable --quiet --now banjour");
    guest.sh("systemctl disable --quiet --now banjour")?;
    let checked = Checked::of(guest)?;
    ensure!(checked.code == 3, "exit code {}", checked.code);
    ensure!(
        checked.to_do("it does not start at boot").is_some(),
        "{:#}",
        checked.report
    );
    let action = checked.to_do("banjour does not run").context("it runs")?;
    let command = action.split(';').next().unwrap_or_default();
    guest.sh(command)?;
    guest.wait_until_up(0)?;
    guest.check_is_over("does not run")?;
    guest.check_is_over("does not start at boot")
}

fn check_finds_a_faulty_and_an_unread_configuration(guest: &Guest) -> Result<()> {
    let path = "/etc/banjour/banjour.toml.d/zz-case.toml";
    let _undo = guest.undo(format!("rm -f {path}; systemctl reload banjour"));
    guest.write(path, "trust-time = \"6d\"\n")?;
    let action = guest.check_finds("changed after the agent read it")?;
    guest.sh(&action)?;
    guest.check_is_over("changed after the agent read it")?;
    guest.write(path, "trust-time = \"never\"\n")?;
    guest.check_finds(
        "the configuration is faulty: /etc/banjour/banjour.toml.d/zz-case.toml:1: trust-time",
    )?;
    guest.sh(&format!("rm {path}"))?;
    let action = guest.check_finds("changed after the agent read it")?;
    guest.sh(&action)?;
    guest.check_is_over("changed after the agent read it")
}

fn check_says_what_it_could_not_ask(guest: &Guest) -> Result<()> {
    guest.forget()?;
    let said = guest.as_dave("banjour check")?;
    ensure!(said.code == 0, "{}: {}{}", said.code, said.out, said.err);
    for part in [
        "unknown\tjournal\tcannot read the system's journal\trun it as root",
        "unknown\tfirewall\twhether the kernel really drops them\trun it as root",
    ] {
        ensure!(said.out.contains(part), "{part}: {}", said.out);
    }
    Ok(())
}

fn people_get_colours_unless_they_want_none(guest: &Guest) -> Result<()> {
    let shown = |environment: &str| {
        guest.sh(&format!(
            "env {environment} script -qec 'banjour check' /dev/null"
        ))
    };
    let coloured = shown("TERM=xterm")?;
    ensure!(
        coloured.contains("\u{1b}[32m✓\u{1b}[0m banjour "),
        "{coloured}"
    );
    for environment in ["TERM=dumb", "TERM=xterm NO_COLOR=1"] {
        let plain = shown(environment)?;
        ensure!(
            plain.contains("✓ banjour ") && !plain.contains('\u{1b}'),
            "{plain}"
        );
    }
    ensure!(
        shown("TERM=xterm NO_COLOR=")?.contains('\u{1b}'),
        "an empty NO_COLOR means nothing"
    );
    Ok(())
}

fn check_compares_the_kernel_with_the_bans(guest: &Guest) -> Result<()> {
    let sources = [guest.source(), guest.source_v6()];
    for source in sources {
        guest.ban(&source.to_string())?;
        guest.expect_closed(source)?;
    }
    let checked = Checked::of(guest)?;
    for part in [
        &format!("{} keeps banned sources out", guest.firewall.name()),
        "the kernel keeps out who is banned (",
        "a ban closes all ports that the mail servers listen on",
    ] {
        ensure!(checked.says("fine", part), "{part}: {:#}", checked.report);
    }
    for source in sources {
        guest.unban(&source.to_string())?;
    }
    Ok(())
}
