//! The lines that are written in guests, and who writes them there: this program once more, in Dovecot's place.

use std::net::Ipv4Addr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::host::{Guest, Output};
use crate::inside;

/// What imap-login says of a failed login: Dovecot 2.3's words, since banjour's peers do not know 2.4's yet.
pub(crate) fn failure(source: Ipv4Addr, session: &str) -> String {
    failure_as("bob", source, session)
}

/// The same under another name.
pub(crate) fn failure_as(user: &str, source: Ipv4Addr, session: &str) -> String {
    format!(
        "imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<{user}>, method=PLAIN, \
         rip={source}, lip=192.0.2.2, session=<{session}>"
    )
}

/// What it says of a customer.
pub(crate) fn login(source: Ipv4Addr, session: &str) -> String {
    format!(
        "imap-login: Login: user=<customer>, method=PLAIN, rip={source}, lip=192.0.2.2, mpid=4711, TLS, session=<{session}>"
    )
}

/// Runs this program in the guest, in Dovecot's control group, so that journald takes what it writes for Dovecot's. What it
/// printed.
pub(crate) fn as_dovecot(guest: &Guest, verb: &str, arguments: &[String]) -> Result<String> {
    let script = format!(
        "echo $$ >/sys/fs/cgroup$(systemctl show -P ControlGroup dovecot)/cgroup.procs
         exec /usr/local/bin/bench {} {verb} {}",
        inside::VERB,
        arguments.join(" ")
    );
    guest.write("/run/bench-load", &script)?;
    let Output { code, out, err } = guest.run(&[
        "systemd-run",
        "--quiet",
        "--wait",
        "--collect",
        "--pipe",
        "sh",
        "-eu",
        "/run/bench-load",
    ])?;
    anyhow::ensure!(code == 0, "{verb}: {out}{err}");
    Ok(out)
}

/// µs since the epoch.
pub(crate) fn usec(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
