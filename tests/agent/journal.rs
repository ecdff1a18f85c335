//! A journal that the test writes, entry by entry, while the agent reads it.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::host::until;

const JOURNAL_REMOTE: &str = "/lib/systemd/systemd-journal-remote";
/// The file that is written to, in the journal's directory.
const FILE: &str = "system.journal";
pub(crate) const MACHINE: &str = "0123456789abcdef0123456789abcdef";
/// What lies before the text of a field that is in the file: how many entries have it, and which (`JOURNAL_FILE_FORMAT`).
const DATA_HEADER: usize = 64;
const BOOT: &str = "fedcba9876543210fedcba9876543210";

/// What the test says of one entry; the rest is as journald would write it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) unit: String,
    pub(crate) slice: String,
    pub(crate) uid: u32,
    pub(crate) message: Vec<u8>,
    /// What else the program itself says.
    pub(crate) fields: Vec<(&'static str, String)>,
}

/// The journal below the host's root.
pub(crate) struct Journal {
    directory: PathBuf,
    writer: RefCell<Writer>,
    last: Cell<u64>,
    /// By how much the clock has been set back.
    ahead: Cell<u64>,
    archived: Cell<u64>,
}

/// What writes the file at hand.
struct Writer {
    remote: Child,
    input: Option<ChildStdin>,
}

impl Writer {
    fn start(file: &Path) -> Self {
        let mut remote = Command::new(JOURNAL_REMOTE)
            .arg(format!("--output={}", file.display()))
            .arg("-")
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("systemd-journal-remote is installed");
        let input = remote.stdin.take();
        Self { remote, input }
    }

    /// Lets it write all that it was given.
    fn finish(&mut self) {
        drop(self.input.take());
        let _ = self.remote.wait();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.remote.kill();
        let _ = self.remote.wait();
    }
}

impl Journal {
    /// Begins a journal with one entry that says nothing.
    pub(crate) fn begin(root: &Path) -> Self {
        Self::begin_as(root, MACHINE)
    }

    /// The same, on a host that has another machine id than others in these tests (`machine-id(5)`), beside their files.
    pub(crate) fn begin_as(root: &Path, machine: &str) -> Self {
        Self::begin_at(root, machine, now() - 24 * 3_600_000_000)
    }

    /// The same, with an entry of this time.
    pub(crate) fn begin_at(root: &Path, machine: &str, long_ago: u64) -> Self {
        Self::begin_in(root.join("var/log/journal").join(machine), long_ago)
    }

    /// The same, in a directory.
    pub(crate) fn begin_in(directory: PathBuf, long_ago: u64) -> Self {
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join(FILE);
        let journal = Self {
            writer: RefCell::new(Writer::start(&file)),
            directory,
            last: Cell::default(),
            ahead: Cell::default(),
            archived: Cell::default(),
        };
        journal.write_at(long_ago, &Entry::of("init.scope", 0, "a journal begins"));
        until("the journal's file is there", || {
            file.exists().then_some(())
        });
        journal
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Waits until all that it was given is in the file.
    pub(crate) fn until_written(&self) {
        let mut writer = self.writer.borrow_mut();
        writer.finish();
        *writer = Writer::start(&self.directory.join(FILE));
    }

    /// Puts the file aside under the name of an archived one, and begins another, as journald does from time to time.
    /// Returns the archived file.
    pub(crate) fn rotate(&self) -> PathBuf {
        let mut writer = self.writer.borrow_mut();
        writer.finish();
        let number = self.archived.get() + 1;
        self.archived.set(number);
        let archived = self.directory.join(format!(
            "system@{MACHINE}-{number:016x}-{:016x}.journal",
            self.last.get()
        ));
        let file = self.directory.join(FILE);
        fs::rename(&file, &archived).unwrap();
        *writer = Writer::start(&file);
        archived
    }

    /// Throws all archived files away, as journald does.
    pub(crate) fn vacuum(&self) {
        let status = Command::new("journalctl")
            .args(["--quiet", "--vacuum-files=1", "--directory"])
            .arg(&self.directory)
            .status();
        assert!(status.unwrap().success());
        assert_eq!(fs::read_dir(&self.directory).unwrap().count(), 1);
    }

    /// Writes an entry as journald does, with time to look `meanwhile`: it has its place among all entries, and is then
    /// linked to its unit, the name of which the file knows already.
    pub(crate) fn write_slowly(&self, entry: &Entry, meanwhile: impl FnOnce()) {
        let file = self.directory.join(FILE);
        let nowhere = tempfile::tempdir().unwrap();
        let elsewhere = nowhere.path().join(FILE);
        self.writer.borrow_mut().finish();
        let before = fs::read(&file).unwrap();
        fs::copy(&file, &elsewhere).unwrap();
        self.writer.replace(Writer::start(&elsewhere));
        self.write(entry);
        self.writer.borrow_mut().finish();
        let after = fs::read(&elsewhere).unwrap();
        assert_eq!(before.len(), after.len());

        let unit = format!("_SYSTEMD_UNIT={}", entry.unit).into_bytes();
        let name = before.windows(unit.len()).position(|bytes| bytes == unit);
        let links = name.unwrap() - DATA_HEADER..name.unwrap();
        assert_ne!(before[links.clone()], after[links.clone()]);
        let mut halfway = after.clone();
        halfway[links.clone()].copy_from_slice(&before[links.clone()]);
        let written = File::options().write(true).open(&file).unwrap();
        written.write_all_at(&halfway, 0).unwrap();
        meanwhile();
        let place = links.start.try_into().unwrap();
        written.write_all_at(&after[links], place).unwrap();
        self.writer.replace(Writer::start(&file));
    }

    /// Somebody sets the host's clock back to what it is here. journald begins another file for what comes.
    pub(crate) fn set_clock_back(&self) {
        let ahead = self.last.get() - now();
        self.last.set(now());
        self.ahead.set(self.ahead.get() + ahead);
    }

    /// Writes an entry of now, and returns its time in µs since the epoch. No two have the same.
    pub(crate) fn write(&self, entry: &Entry) -> u64 {
        let time = now().max(self.last.get() + 1);
        self.write_at(time, entry);
        time
    }

    /// Writes an entry of another time, which must not lie before that of the entry before.
    pub(crate) fn write_at(&self, time: u64, entry: &Entry) {
        let last = self.last.replace(time);
        assert!(
            last <= time,
            "entries are written in the order of their times"
        );
        let mut text = Vec::new();
        for (field, value) in [
            ("__REALTIME_TIMESTAMP", time.to_string()),
            (
                "__MONOTONIC_TIMESTAMP",
                (time + self.ahead.get()).to_string(),
            ),
            ("_BOOT_ID", BOOT.to_owned()),
            ("_MACHINE_ID", MACHINE.to_owned()),
            ("_UID", entry.uid.to_string()),
            ("_SYSTEMD_UNIT", entry.unit.clone()),
            ("_SYSTEMD_SLICE", entry.slice.clone()),
        ] {
            writeln!(text, "{field}={value}").unwrap();
        }
        for (field, value) in &entry.fields {
            writeln!(text, "{field}={value}").unwrap();
        }
        // The export format's way for values of any bytes (systemd.io/JOURNAL_EXPORT_FORMATS).
        text.extend_from_slice(b"MESSAGE\n");
        text.extend_from_slice(&(entry.message.len() as u64).to_le_bytes());
        text.extend_from_slice(&entry.message);
        text.extend_from_slice(b"\n\n");
        let mut writer = self.writer.borrow_mut();
        let input = writer.input.as_mut().unwrap();
        input.write_all(&text).unwrap();
        input.flush().unwrap();
    }
}

impl Entry {
    pub(crate) fn of(unit: &str, uid: u32, message: &str) -> Self {
        Self {
            unit: unit.to_owned(),
            slice: "system.slice".to_owned(),
            uid,
            message: message.as_bytes().to_vec(),
            fields: Vec::new(),
        }
    }

    /// What the agent writes when it bans, which is root here.
    pub(crate) fn ban(source: &str, jail: &str, until: u64) -> Self {
        Self::own("ban", source, jail, ("BANJOUR_UNTIL", until.to_string()))
    }

    /// What it writes when a ban has ended.
    pub(crate) fn unban(source: &str, jail: &str, reason: &str) -> Self {
        Self::own("unban", source, jail, ("BANJOUR_REASON", reason.to_owned()))
    }

    fn own(action: &str, source: &str, jail: &str, more: (&'static str, String)) -> Self {
        Self {
            fields: vec![
                ("BANJOUR_ACTION", action.to_owned()),
                ("BANJOUR_SOURCE", source.to_owned()),
                ("BANJOUR_JAIL", jail.to_owned()),
                more,
            ],
            ..Self::of("banjour.service", 0, "something about a ban")
        }
    }

    /// `imap-login`'s line for a connection with so many failed attempts.
    pub(crate) fn imap(source: &str, attempts: u32) -> Self {
        let lip = match source.parse().unwrap() {
            IpAddr::V4(_) => "192.0.2.2",
            IpAddr::V6(_) => "2001:db8:1::2",
        };
        Self::of(
            "dovecot.service",
            0,
            &format!(
                "imap-login: Disconnected: Connection closed (auth failed, {attempts} attempts in 2 secs): \
                 user=<bob>, method=PLAIN, rip={source}, lip={lip}, session=<E0Rab91gY9LGEgAE>"
            ),
        )
    }

    /// PAM's line for an attempt that Dovecot had checked.
    pub(crate) fn pam(source: &str) -> Self {
        Self::of(
            "dovecot.service",
            0,
            &format!(
                "pam_unix(dovecot:auth): authentication failure; logname= uid=0 euid=0 tty=dovecot ruser=bob \
                 rhost={source}  user=bob"
            ),
        )
    }

    /// smtpd's line. It runs as `nobody` here, since not every machine has a user `postfix`.
    pub(crate) fn smtpd(unit: &str, source: &str) -> Self {
        Self {
            slice: if unit.contains('@') {
                "system-postfix.slice".to_owned()
            } else {
                "system.slice".to_owned()
            },
            ..Self::of(
                unit,
                crate::host::NOBODY,
                &format!(
                    "warning: unknown[{source}]: SASL LOGIN authentication failed: (reason unavailable), sasl_username=bob"
                ),
            )
        }
    }
}

/// The time, in µs since the epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    usec(since)
}

/// A span in µs.
pub(crate) fn usec(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap()
}
