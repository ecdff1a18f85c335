//! Many attackers at once, and an exact account of what they did: lines as Dovecot writes them, by a process in Dovecot's
//! unit, into the socket that Dovecot itself writes to. journald and the agent can't tell the difference.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Child, ChildStdout};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use crate::host::{Guest, Undo};

/// How many attempts bring a ban.
pub(crate) const LIMIT: u32 = 3;

/// Writes what comes on its standard input, a line each, and then stays until journald has taken all of it, since journald
/// looks at where a process is.
const PEN: &str = "
import socket, subprocess, sys
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.connect('/run/systemd/journal/dev-log')
count = 0
for line in sys.stdin.buffer:
    log.send(b'<22>dovecot: ' + line[:-1])
    count += 1
subprocess.run(['journalctl', '--sync'], check=True)
print(count)
";

/// Before Dovecot's unit has it, it must be there: a shell goes there first.
const IN_DOVECOT: &str = "echo $$ >/sys/fs/cgroup$(systemctl show -P ControlGroup dovecot)/cgroup.procs; exec python3 -c \"$1\"";

/// By itself, journald would throw away most of a long attack, or of one that it was often rotated under: of a guest's small
/// disk it takes a tenth, which is twelve files of the smallest size that there is.
pub(crate) fn room_for_all(guest: &Guest) -> Result<Undo<'_>> {
    let drop_in = "/run/systemd/journald.conf.d/load.conf";
    let undo = guest.undo(format!("rm {drop_in}; systemctl restart systemd-journald"));
    guest.write(
        drop_in,
        "[Journal]\nSystemMaxUse=700M\nSystemKeepFree=1M\nSystemMaxFileSize=100M\n",
    )?;
    guest.sh("systemctl restart systemd-journald")?;
    Ok(undo)
}

/// Numbers that look random (Knuth's MMIX).
pub(crate) struct Dice(u64);

impl Dice {
    /// The seed is told, so that a failure can be had again: `SEED=…`.
    pub(crate) fn new(what: impl Display) -> Result<Self> {
        let seed = match std::env::var("SEED") {
            Ok(seed) => seed.parse().context("SEED is no number")?,
            Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        };
        eprintln!("{what}: SEED={seed}");
        Ok(Self(seed))
    }

    pub(crate) fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % below
    }

    fn roll_u32(&mut self, below: u32) -> u32 {
        u32::try_from(self.roll(below as usize)).expect("less than a u32")
    }

    pub(crate) fn another(&mut self) -> Self {
        Self(self.roll(usize::MAX) as u64)
    }
}

/// What was written: how many attempts of each source, and in how many lines.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) attempts: BTreeMap<IpAddr, u32>,
    pub(crate) lines: usize,
}

impl Ledger {
    pub(crate) fn total(&self) -> u64 {
        self.attempts.values().map(|&count| u64::from(count)).sum()
    }
}

/// Sources that nobody else has in any test: so many addresses, and an eighth as many networks of IPv6 besides.
pub(crate) struct Crowd {
    first: u32,
    count: u32,
}

impl Crowd {
    pub(crate) fn of(count: u32) -> Self {
        static TAKEN: AtomicU32 = AtomicU32::new(0);
        let first = TAKEN.fetch_add(count, Ordering::Relaxed);
        Self { first, count }
    }

    /// Every second one is careful.
    fn member(&self, n: u32) -> (IpAddr, bool) {
        let number = self.first + n;
        if n % 9 == 8 {
            let [_, _, high, low] = number.to_be_bytes().map(u16::from);
            let [_, upper, ..] = number.to_be_bytes().map(u16::from);
            let network = Ipv6Addr::new(0x2001, 0xdb8, 0xb000 | upper, high << 8 | low, 0, 0, 0, 7);
            return (network.into(), n.is_multiple_of(2));
        }
        // 10.64.0.0/10 and on: sixteen of them.
        let address = Ipv4Addr::from(0x0a40_0000 + number);
        (address.into(), n.is_multiple_of(2))
    }

    /// One more attempt of one of those who have come and not gone yet, in a line or two. The careful ones stop in time.
    fn attempt(&self, beats: u32, dice: &mut Dice, ledger: &mut Ledger) -> String {
        let gone = (beats / BEATS_PER_SOURCE).min(self.count - AT_A_TIME);
        loop {
            let (source, is_careful) = self.member(gone + dice.roll_u32(AT_A_TIME));
            let count = ledger.attempts.get(&source).copied().unwrap_or_default();
            if !is_careful || count + 1 < LIMIT {
                return ledger.attempt(source, dice);
            }
        }
    }

    /// One attempt of each, and then of any.
    pub(crate) fn all_and_then_any(&self, dice: &mut Dice, ledger: &mut Ledger) -> String {
        let taken = u32::try_from(ledger.attempts.len()).unwrap_or(u32::MAX);
        let n = if taken < self.count {
            taken
        } else {
            dice.roll_u32(self.count)
        };
        ledger.attempt(self.member(n).0, dice)
    }
}

impl Ledger {
    /// Enters an attempt, and tells the lines for it.
    fn attempt(&mut self, source: IpAddr, dice: &mut Dice) -> String {
        *self.attempts.entry(source).or_default() += 1;
        self.lines += 1;
        let front = format!(
            "imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<bob>, method=PLAIN, \
             rip={source}, lip={}, session=<{:016x}>\n",
            if source.is_ipv4() {
                "192.0.2.2"
            } else {
                "2001:db8:1::2"
            },
            self.lines
        );
        if dice.roll(4) > 0 {
            return front;
        }
        // Now and then a back has its word before.
        self.lines += 1;
        let back = format!(
            "pam_unix(dovecot:auth): authentication failure; logname= uid=0 euid=0 tty=dovecot ruser=bob rhost={source}  user=bob\n"
        );
        back + &front
    }
}

/// A process in Dovecot's unit that writes what it is given.
pub(crate) struct Pen {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Pen {
    pub(crate) fn new(guest: &Guest) -> Result<Self> {
        let mut child = guest.start(&["sh", "-euc", IN_DOVECOT, "sh", PEN])?;
        let said = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, said })
    }

    pub(crate) fn write(&mut self, lines: &str) -> Result<()> {
        let input = self.child.stdin.as_mut().context("no standard input")?;
        input.write_all(lines.as_bytes()).context("the writer")
    }

    /// Waits until journald has all of it, and fails unless that is what was written.
    pub(crate) fn finish(mut self, ledger: &Ledger) -> Result<()> {
        drop(self.child.stdin.take());
        let mut count = String::new();
        self.said.read_line(&mut count)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the writer: {status}");
        let count: usize = count.trim().parse().context("the writer's count")?;
        ensure!(
            count == ledger.lines,
            "{count} of {} lines were written",
            ledger.lines
        );
        Ok(())
    }
}

/// How often somebody writes, and how much.
const BEAT: Duration = Duration::from_millis(10);
const ATTEMPTS_PER_BEAT: usize = 3;

/// So many attack at a time, and every so many beats another one comes in the place of one, so that at any time there are
/// some who have yet to be banned.
const AT_A_TIME: u32 = 80;
const BEATS_PER_SOURCE: u32 = 2;

/// More than come in five minutes.
const CROWD: u32 = 16_384;

/// Attacks that go on until they are told to stop.
pub(crate) struct Load<'scope> {
    over: &'scope AtomicBool,
    writing: ScopedJoinHandle<'scope, Result<Ledger>>,
}

impl<'scope> Load<'scope> {
    pub(crate) fn start<'env>(
        scope: &'scope std::thread::Scope<'scope, 'env>,
        guest: &'env Guest,
        over: &'scope AtomicBool,
        mut dice: Dice,
    ) -> Result<Self> {
        let (crowd, mut pen) = (Crowd::of(CROWD), Pen::new(guest)?);
        let writing = scope.spawn(move || {
            let mut ledger = Ledger::default();
            let (mut beats, mut beat) = (0, Instant::now());
            while !over.load(Ordering::Relaxed) {
                let mut lines = String::new();
                // As uneven as attackers are.
                for _ in 0..dice.roll(2 * ATTEMPTS_PER_BEAT + 1) {
                    lines += &crowd.attempt(beats, &mut dice, &mut ledger);
                }
                pen.write(&lines)?;
                (beats, beat) = (beats + 1, beat + BEAT);
                std::thread::sleep(beat.saturating_duration_since(Instant::now()));
            }
            pen.finish(&ledger)?;
            Ok(ledger)
        });
        Ok(Self { over, writing })
    }

    /// Stops them, and tells what they did, when journald has all of it.
    pub(crate) fn stop(self) -> Result<Ledger> {
        self.over.store(true, Ordering::Relaxed);
        self.writing.join().expect("writing does not panic")
    }
}
