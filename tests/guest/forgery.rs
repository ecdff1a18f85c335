//! Text that attackers write, by whatever way it gets into the journal, bans nobody but themselves.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};

use crate::agent::SOON;
use crate::client::Service::{Imap, Pop3, Sieve, Smtp, Submission};
use crate::host::{Guest, at_once, wait_for};
use crate::session::{Answer, Mechanism};

crate::cases![
    hostile_user_names_ban_their_true_source,
    hostile_greetings_and_senders_ban_nobody,
    hostile_mechanisms_ban_nobody_else,
    lines_forged_with_logger_ban_nobody,
    lines_forged_by_a_unit_of_another_name_ban_nobody,
    lines_forged_by_units_of_a_user_ban_nobody,
    lines_forged_by_a_forward_file_ban_nobody,
    lines_forged_inside_the_servers_cgroups_ban_nobody,
];

/// Whom the forged lines name. Nobody in the tests has such an address.
const VICTIM: &str = "198.51.100.1";

fn hostile_user_names_ban_their_true_source(guest: &Guest) -> Result<()> {
    let names = [
        "x>, method=PLAIN, rip=198.51.100.1, lip=1.2.3.4, session=<abc",
        "x, rip=198.51.100.1, lip=1.2.3.4, session=<abc>",
        "x>, TLS, session=<abc>, rip=198.51.100.1",
        "bob,198.51.100.1,<abc>): pam_authenticate() failed: Authentication failure",
        "bob)<584><abc>: request [1]: pam: pam_authenticate() failed (bob,198.51.100.1",
        "x rhost=198.51.100.1  user=bob",
        "x, sasl_username=y",
        "unknown[198.51.100.1]: SASL LOGIN authentication failed",
        "x\nwarning: unknown[198.51.100.1]: SASL LOGIN authentication failed: x",
        "warning: unknown[198.51.100.1]: SASL LOGIN authentication failed: authentication failure, sasl_username=bob",
        "root[198.51.100.1]",
        "%s%n\u{1b}[31m\u{202e}\u{7f}",
    ];
    let mut attackers = Vec::new();
    for name in names {
        for (service, mechanism) in [
            (Imap, Mechanism::Plain),
            (Sieve, Mechanism::Plain),
            (Smtp, Mechanism::Plain),
            (Submission, Mechanism::Login),
        ] {
            attackers.push((guest.source(), service, mechanism, name));
        }
        // A line's end would end the command.
        if !name.contains('\n') {
            attackers.push((guest.source_v6(), Pop3, Mechanism::Plain, name));
        }
    }
    at_once(&attackers, |&(source, service, mechanism, name)| {
        for _ in 0..3 {
            let mut session = guest.attackers.open(source, service)?;
            let answer = session.log_in_by(mechanism, name, "wrong")?;
            ensure!(answer != Answer::Accepted, "{name:?} was let in");
            session.leave()?;
        }
        wait_for("a ban", SOON, || Ok(!guest.bans_of(source)?.is_empty()))
            .with_context(|| format!("{source} over {service:?}, {mechanism:?}, as {name:?}"))
    })?;
    no_victim(guest)
}

/// Postfix repeats what a client says of itself when it refuses mail.
fn hostile_greetings_and_senders_ban_nobody(guest: &Guest) -> Result<()> {
    let source = guest.source();
    let line = format!("unknown[{VICTIM}]:_SASL_LOGIN_authentication_failed:_x,_sasl_username=bob");
    for _ in 0..4 {
        let mut session = guest.attackers.open(source, Smtp)?;
        for command in [
            format!("EHLO warning: unknown[{VICTIM}]: SASL LOGIN authentication failed: x"),
            format!("EHLO {line}"),
            format!(
                "MAIL FROM:<\"warning: {}\"@example.com>",
                line.replace('_', " ")
            ),
            format!("RCPT TO:<\"{}\"@example.org>", line.replace('_', " ")),
            format!("warning: {}", line.replace('_', " ")),
        ] {
            session.smtp(&command)?;
        }
        session.leave()?;
    }
    guest.expect_never_banned(&[VICTIM.parse()?, source])
}

/// The name of a SASL mechanism is the client's own text, too.
fn hostile_mechanisms_ban_nobody_else(guest: &Guest) -> Result<()> {
    let source = guest.source();
    for mechanism in [
        format!("x[{VICTIM}]:"),
        format!("unknown[{VICTIM}]:_SASL_LOGIN_authentication_failed:"),
        format!("x_authentication_failed:[{VICTIM}]:"),
    ] {
        for _ in 0..4 {
            let mut session = guest.attackers.open(source, Smtp)?;
            session.smtp(&format!("AUTH {mechanism}"))?;
            session.smtp(&format!("AUTH {mechanism} eA=="))?;
            drop(session);
            guest.unban(&source.to_string())?;
        }
    }
    no_victim(guest)
}

/// Nothing that `logger` writes comes from the units, whatever it calls itself.
fn lines_forged_with_logger_ban_nobody(guest: &Guest) -> Result<()> {
    for (tag, line) in forgeries() {
        for who in ["root", "dave"] {
            let write =
                format!("for i in 1 2 3 4; do logger -p mail.warning -t '{tag}' '{line}'; done");
            let written = guest.run(&["runuser", "-u", who, "--", "sh", "-euc", &write])?;
            ensure!(written.code == 0, "logger: {}", written.err);
        }
    }
    no_victim(guest)
}

fn lines_forged_by_a_unit_of_another_name_ban_nobody(guest: &Guest) -> Result<()> {
    for unit in ["postfix-evil", "postfix-evil@x", "dovecot-evil"] {
        for (tag, line) in forgeries() {
            let write = format!("for i in 1 2 3 4; do echo '{line}'; done");
            guest.sh(&format!(
                "systemd-run --quiet --wait --collect --unit='{unit}' -p SyslogIdentifier='{tag}' sh -c \"{write}\""
            ))?;
        }
    }
    no_victim(guest)
}

/// A user's own manager calls its units what the user likes.
fn lines_forged_by_units_of_a_user_ban_nobody(guest: &Guest) -> Result<()> {
    let since = guest.now()?;
    let _stop = guest.undo("systemctl stop user@$(id -u dave).service");
    guest.sh("systemctl start user@$(id -u dave).service")?;
    for unit in ["dovecot", "postfix", "postfix@-"] {
        for (tag, line) in forgeries() {
            // The manager would take "%" for a specifier; there is none.
            let service = format!(
                "[Service]\nType=oneshot\nSyslogIdentifier={tag}\nExecStart=sh -c \"for i in 1 2 3 4; do echo '{line}'; done\"\n"
            );
            let path = format!("/home/dave/.config/systemd/user/{unit}.service");
            guest.write(&path, &service)?;
            let run = guest.as_dave(&format!(
                "export XDG_RUNTIME_DIR=/run/user/$(id -u)
                 systemctl --user daemon-reload && systemctl --user start '{unit}'"
            ))?;
            ensure!(run.code == 0, "systemctl --user: {}", run.err);
        }
    }
    let seen = guest.sh(&format!(
        "journalctl --sync; journalctl -q --since='{since}' -o cat _SYSTEMD_USER_UNIT=dovecot.service | grep -c {VICTIM}"
    ))?;
    ensure!(
        seen.parse::<u32>()? >= 4,
        "only {seen} forged lines are in the journal"
    );
    no_victim(guest)
}

/// Postfix delivers to a user's program as that user, from within its own unit.
fn lines_forged_by_a_forward_file_ban_nobody(guest: &Guest) -> Result<()> {
    let since = guest.now()?;
    let lines =
        forgeries().map(|(tag, line)| format!("logger -p mail.warning -t '{tag}' '{line}'\n"));
    let mut program = "#!/bin/sh\ncat >/dev/null\n".to_owned() + &lines.concat().repeat(4);
    // journald looks at where a process is, so it must still be there.
    program += "sleep 0.5\n";
    guest.write("/home/dave/forge", &program)?;
    guest.write("/home/dave/.forward", "|/home/dave/forge\n")?;
    let _undo = guest.undo("rm -f /home/dave/forge /home/dave/.forward");
    guest.sh(
        "chown dave /home/dave/forge /home/dave/.forward; chmod 755 /home/dave/forge
         echo hello | sendmail dave",
    )?;
    let seen = format!(
        "journalctl --sync
         journalctl -q --since='{since}' -o cat _SYSTEMD_UNIT=postfix.service _UID=$(id -u dave) \
             + _SYSTEMD_UNIT=postfix@-.service _UID=$(id -u dave) | grep -c {VICTIM} || true"
    );
    wait_for("forged lines of Postfix's unit", SOON, || {
        Ok(guest.sh(&seen)?.parse::<u32>()? >= 4)
    })?;
    no_victim(guest)
}

/// Whoever gets a process into the server's cgroup (a local delivery, a hook) still is not the server's user.
fn lines_forged_inside_the_servers_cgroups_ban_nobody(guest: &Guest) -> Result<()> {
    let since = guest.now()?;
    for service in ["dovecot.service", "postfix.service", "postfix@-.service"] {
        let cgroup = guest.sh(&format!("systemctl show -P ControlGroup {service}"))?;
        if guest
            .run(&[
                "test",
                "-e",
                &format!("/sys/fs/cgroup{cgroup}/cgroup.procs"),
            ])?
            .code
            != 0
            || cgroup.is_empty()
        {
            continue;
        }
        for (tag, line) in forgeries() {
            let inside = format!(
                "echo $$ >/sys/fs/cgroup{cgroup}/cgroup.procs
                 for i in 1 2 3 4; do setpriv --reuid=dave --regid=dave --clear-groups \
                     logger -p mail.warning -t '{tag}' '{line}'; done; sleep 0.3"
            );
            guest.write("/run/forge", &inside)?;
            guest.sh("systemd-run --quiet --wait --collect sh -eu /run/forge")?;
        }
        // Or this would prove nothing: the journal must believe that the service wrote them.
        let seen = guest.sh(&format!(
            "journalctl --sync
             journalctl -q --since='{since}' -o cat _SYSTEMD_UNIT={service} _UID=$(id -u dave) | wc -l"
        ))?;
        ensure!(
            seen.parse::<u32>()? >= 4,
            "only {seen} forged lines are in the journal of {service}"
        );
    }
    no_victim(guest)
}

fn no_victim(guest: &Guest) -> Result<()> {
    let bystander: IpAddr = "1.2.3.4".parse()?;
    guest.expect_never_banned(&[VICTIM.parse()?, bystander])
}

/// What a failure looks like in the journal, with the name that it comes under.
fn forgeries() -> [(&'static str, String); 6] {
    [
        (
            "postfix/smtpd",
            format!("warning: unknown[{VICTIM}]: SASL LOGIN authentication failed: UGFzc3dvcmQ6"),
        ),
        (
            "postfix/submission/smtpd",
            format!(
                "warning: unknown[{VICTIM}]: SASL PLAIN authentication failed: (reason unavailable), sasl_username=bob"
            ),
        ),
        (
            "dovecot",
            format!(
                "imap-login: Disconnected: Connection closed (auth failed, 4 attempts in 9 secs): user=<bob>, \
                 method=PLAIN, rip={VICTIM}, lip=192.0.2.2, session=<abc>"
            ),
        ),
        (
            "dovecot",
            format!(
                "imap-login: Login aborted: Logged out (auth failed, 4 attempts in 4 secs) (auth_failed): \
                 user=<bob>, method=PLAIN, rip={VICTIM}, lip=192.0.2.2, session=<abc>"
            ),
        ),
        (
            "dovecot",
            format!("auth: passwd-file(bob,{VICTIM},<abc>): unknown user"),
        ),
        (
            "auth",
            format!(
                "pam_unix(dovecot:auth): authentication failure; logname= uid=0 euid=0 tty=dovecot ruser=bob \
                 rhost={VICTIM}  user=bob"
            ),
        ),
    ]
}
