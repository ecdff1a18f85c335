//! Journals of a busy mail host, made once and kept in target/bench: entries with the fields that journald writes, by
//! systemd-journal-remote.

use std::fs::{self, Permissions};
use std::io::{BufWriter, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::host::Guest;
use crate::inside::address;
use crate::load::{failure, failure_as, login, usec};
use crate::table;

const JOURNAL_REMOTE: &str = "/lib/systemd/systemd-journal-remote";
const MACHINE: &str = "0123456789abcdef0123456789abcdef";
const BOOT: &str = "fedcba9876543210fedcba9876543210";
/// Entries of kept journals must lie within the windows of jails, which the rows set to a day …
const KEPT: Duration = Duration::from_hours(12);
/// … or leave at an hour.
const KEPT_SHORTLY: Duration = Duration::from_mins(40);
/// Postfix' user in the guests.
const POSTFIX: u32 = 100;

/// What is in a journal, and since when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Journal {
    name: &'static str,
    entries: u64,
    span: Duration,
    kept: Duration,
    content: Content,
}

#[derive(Debug, Clone, Copy)]
enum Content {
    /// 35 of 100 entries are the mail units', and nine of these tell of failed logins.
    Mixed,
    /// Nothing but failed logins, of so many sources in turn …
    Failures(u64),
    /// … or the same under many names.
    Guesses(u64),
}

/// A million entries of an hour and a half, 350,000 of them of mail units.
pub(crate) const MILLION: Journal = Journal {
    name: "million",
    entries: 1_000_000,
    span: Duration::from_mins(90),
    kept: KEPT,
    content: Content::Mixed,
};
pub(crate) const OF_MAIL: u64 = 350_000;

/// Two million entries of a week.
pub(crate) const WEEK: Journal = Journal {
    name: "week",
    entries: 2_000_000,
    span: Duration::from_hours(7 * 24),
    kept: KEPT_SHORTLY,
    content: Content::Mixed,
};

/// A million failed logins within fifty minutes, of few sources …
pub(crate) const THOUSAND_SOURCES: Journal = Journal {
    name: "thousand-sources",
    entries: 1_000_000,
    span: Duration::from_mins(50),
    kept: KEPT,
    content: Content::Failures(1000),
};

/// … or of as many as there are entries.
pub(crate) const MILLION_SOURCES: Journal = Journal {
    name: "million-sources",
    content: Content::Failures(1_000_000),
    ..THOUSAND_SOURCES
};

/// A botnet's ten minutes: three failed logins, under three names, of each of a hundred thousand sources.
pub(crate) const BOTNET: Journal = Journal {
    name: "botnet",
    entries: 300_000,
    span: Duration::from_mins(10),
    kept: KEPT_SHORTLY,
    content: Content::Guesses(100_000),
};

impl Journal {
    pub(crate) const fn entries(self) -> u64 {
        self.entries
    }

    /// The directory with its files.
    pub(crate) fn directory(self) -> Result<PathBuf> {
        let kept = table::directory()?.join("journals").join(self.name);
        if let Ok(made) = fs::metadata(&kept).and_then(|data| data.modified())
            && made.elapsed().unwrap_or_default() < self.kept
        {
            return Ok(kept);
        }
        eprintln!(
            "writing a journal with {} entries: {}",
            self.entries,
            kept.display()
        );
        let new = kept.with_extension("new");
        for old in [&new, &kept] {
            if old.exists() {
                fs::remove_dir_all(old)?;
            }
        }
        fs::create_dir_all(&new)?;
        let mut remote = Command::new(JOURNAL_REMOTE)
            .arg(format!("--output={}/remote.journal", new.display()))
            .arg("-")
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context(JOURNAL_REMOTE)?;
        let input = remote.stdin.take().context("no standard input")?;
        self.write(BufWriter::with_capacity(1 << 16, input))?;
        ensure!(remote.wait()?.success(), "{JOURNAL_REMOTE} failed");
        fs::rename(&new, &kept)?;
        Ok(kept)
    }

    /// Makes it part of the guest's journal.
    pub(crate) fn put_into(self, guest: &Guest) -> Result<()> {
        let machine = guest.sh("cat /etc/machine-id")?;
        self.copy(guest, &format!("/var/log/journal/{machine}"))
    }

    /// Puts its files into a directory of the guest.
    pub(crate) fn copy(self, guest: &Guest, directory: &str) -> Result<()> {
        guest.sh(&format!("mkdir -p {directory}"))?;
        let inside = guest.root()?.join(directory.trim_start_matches('/'));
        for file in fs::read_dir(self.directory()?)? {
            let file = file?;
            // A system's journal is read, not what other hosts have sent.
            let name = file
                .file_name()
                .to_string_lossy()
                .replace("remote", "system@");
            let to = inside.join(name.replace("@@", "@"));
            fs::copy(file.path(), &to)?;
            // The agent is not root.
            fs::set_permissions(&to, Permissions::from_mode(0o644))?;
        }
        Ok(())
    }

    fn write(self, mut input: BufWriter<ChildStdin>) -> Result<()> {
        let end = usec(SystemTime::now());
        let span = u64::try_from(self.span.as_micros())?;
        for number in 0..self.entries {
            let at = end - span + span / self.entries * number;
            let writer = match self.content {
                Content::Mixed if number % 20 < 7 => mail(number / 20 * 7 + number % 20),
                Content::Mixed => other(number),
                // No two are alike, or the file would have their text once.
                Content::Failures(sources) => {
                    Writer::dovecot(failure(nth(sources, number), &session(number)))
                }
                Content::Guesses(sources) => {
                    let user = format!("user{}@example.org", number % 977);
                    Writer::dovecot(failure_as(&user, nth(sources, number), &session(number)))
                }
            };
            writer.write(at, number, &mut input)?;
        }
        input.flush()?;
        Ok(())
    }
}

/// One of so many sources, in turn: neighbours in time are none in address.
fn nth(sources: u64, number: u64) -> Ipv4Addr {
    address([11, 0, 0, 0], number % sources * 7919 % sources)
}

/// A program, and what it says.
struct Writer {
    unit: &'static str,
    program: &'static str,
    uid: u32,
    facility: u32,
    message: String,
}

impl Writer {
    const fn dovecot(message: String) -> Self {
        Self {
            unit: "dovecot.service",
            program: "dovecot",
            uid: 0,
            facility: 2,
            message,
        }
    }

    const fn postfix(program: &'static str, message: String) -> Self {
        Self {
            unit: "postfix.service",
            program,
            uid: POSTFIX,
            facility: 2,
            message,
        }
    }

    /// In the export format (`systemd.io/JOURNAL_EXPORT_FORMATS`), with journald's fields.
    fn write(&self, at: u64, number: u64, out: &mut impl Write) -> Result<()> {
        let Self {
            unit,
            program,
            uid,
            facility,
            message,
        } = self;
        let command = program.rsplit('/').next().unwrap_or(program);
        let pid = 500 + number % 97;
        let arrived = at - 120;
        Ok(write!(
            out,
            "__REALTIME_TIMESTAMP={at}\n__MONOTONIC_TIMESTAMP={at}\n_BOOT_ID={BOOT}\n_MACHINE_ID={MACHINE}\n\
             _HOSTNAME=mail\n_RUNTIME_SCOPE=system\n_TRANSPORT=syslog\nPRIORITY=6\nSYSLOG_FACILITY={facility}\n\
             SYSLOG_IDENTIFIER={program}\n_PID={pid}\n_UID={uid}\n_GID={uid}\n_COMM={command}\n\
             _EXE=/usr/lib/{command}\n_CMDLINE={command} -t unix -u\n_CAP_EFFECTIVE=0\n_SELINUX_CONTEXT=unconfined\n\
             _SYSTEMD_CGROUP=/system.slice/{unit}\n_SYSTEMD_UNIT={unit}\n_SYSTEMD_SLICE=system.slice\n\
             _SYSTEMD_INVOCATION_ID=0123456789abcdef0123456789abcdef\n_SOURCE_REALTIME_TIMESTAMP={arrived}\n\
             MESSAGE={message}\n\n"
        )?)
    }
}

/// What a mail host's log is made of, number by number: a hundred lines, of which nine tell of guessers.
fn mail(number: u64) -> Writer {
    let customer = address([203, 0, 113, 0], number * 31 % 250);
    let peer = address([192, 0, 2, 0], number * 17 % 250);
    // Some come again and again, most once in a while.
    let guesser: Ipv4Addr = address([198, 18, 0, 0], number * number % 4001);
    let session = session(number);
    let queue = format!("{:010X}", number * 4096);
    match number % 100 {
        0..6 => Writer::dovecot(failure(guesser, &session)),
        6..9 => Writer::postfix(
            "postfix/smtpd",
            format!(
                "warning: unknown[{guesser}]: SASL LOGIN authentication failed: (reason unavailable), sasl_username=info"
            ),
        ),
        9..12 => Writer::dovecot(format!(
            "auth: passwd-file(info,{guesser},<{session}>): unknown user"
        )),
        12..30 => Writer::postfix("postfix/smtpd", format!("connect from unknown[{peer}]")),
        30..45 => Writer::postfix(
            "postfix/smtpd",
            format!(
                "disconnect from unknown[{peer}] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5"
            ),
        ),
        45..48 => Writer::postfix(
            "postfix/smtpd",
            format!("lost connection after AUTH from unknown[{guesser}]"),
        ),
        48..54 => Writer::postfix(
            "postfix/qmgr",
            format!("{queue}: from=<sender@example.org>, size=4711, nrcpt=1 (queue active)"),
        ),
        54..58 => Writer::postfix("postfix/qmgr", format!("{queue}: removed")),
        58..62 => Writer::postfix(
            "postfix/cleanup",
            format!("{queue}: message-id=<{session}@example.org>"),
        ),
        62..66 => Writer::postfix(
            "postfix/smtpd",
            format!("{queue}: client=mx.example.org[{peer}]"),
        ),
        66..83 => Writer::dovecot(login(customer, &session)),
        _ => Writer::dovecot(format!(
            "imap(customer{})<4711><{session}>: Disconnected: Logged out in=402 out=3114 deleted=0 expunged=0 \
             trashed=0 hdr_count=2 hdr_bytes=410 body_count=1 body_bytes=1180",
            number % 250
        )),
    }
}

/// Dovecot's name for a connection.
fn session(number: u64) -> String {
    format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// What else a host's journal has.
fn other(number: u64) -> Writer {
    let client = address([203, 0, 113, 0], number * 13 % 250);
    let (unit, program, message) = match number % 5 {
        0 => (
            "nginx.service",
            "nginx",
            format!(
                "{client} - - \"GET /webmail/?_task=mail&_mbox=INBOX&_uid={number} HTTP/2.0\" 200 5120 \"Mozilla/5.0\""
            ),
        ),
        1 => (
            "ssh.service",
            "sshd",
            format!("Failed password for invalid user admin from {client} port 40022 ssh2"),
        ),
        2 => (
            "cron.service",
            "CRON",
            format!(
                "(root) CMD (command -v debian-sa1 >/dev/null && debian-sa1 {})",
                number % 60
            ),
        ),
        3 => (
            "rspamd.service",
            "rspamd",
            format!(
                "<{number:06x}>; task; rspamd_task_write_log: id: <{number}@example.org>, ip: {client}, (default: F (no action): [1.20/15.00])"
            ),
        ),
        _ => (
            "php-fpm.service",
            "roundcube",
            format!(
                "<{number:08x}> Successful login for customer{} from {client}",
                number % 250
            ),
        ),
    };
    Writer {
        unit,
        program,
        uid: 0,
        facility: 3,
        message,
    }
}
