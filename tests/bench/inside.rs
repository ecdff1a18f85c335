//! What runs in the guests: writers of log lines, and a reader that does nothing but wait for them.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use jiff::Zoned;
use systemd::journal::OpenOptions;

use crate::load::{failure, login, usec};

/// The argument that says that this is a guest.
pub(crate) const VERB: &str = "inside";

/// journald has to look up who a writer is while it is still there.
const LINGER: Duration = Duration::from_millis(300);

/// One of so many lines of a flood tells of a failed login.
pub(crate) const FAILING: u64 = 10;

/// The failing line that a source is to be banned for.
pub(crate) const LAST: &str = "last";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (verb, numbers) = arguments.split_first().context("what to do?")?;
    let numbers: Vec<u64> = numbers
        .iter()
        .map(|number| number.parse().with_context(|| number.clone()))
        .collect::<Result<_>>()?;
    match (verb.as_str(), &numbers[..]) {
        ("attack", &[begin, first, count, gap, background]) => {
            attack(begin, first..first + count, gap, background)
        }
        ("flood", &[count, first]) => flood(count, first),
        ("notice", &[count]) => notice(count),
        _ => bail!("{arguments:?}: no such thing"),
    }
}

/// The log, spoken to as syslog(3) does.
struct Log(UnixDatagram);

impl Log {
    fn open() -> Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect("/dev/log").context("/dev/log")?;
        Ok(Self(socket))
    }

    /// mail.info (syslog(3): 2 << 3 | 6).
    fn write(&self, line: &str) -> Result<()> {
        let time = Zoned::now().strftime("%b %e %H:%M:%S");
        self.0
            .send(format!("<22>{time} dovecot: {line}").as_bytes())?;
        Ok(())
    }
}

/// The sources whose bans are measured …
pub(crate) fn target(number: u64) -> Ipv4Addr {
    address([198, 18, 20, 0], number)
}

/// … and those that keep everybody busy meanwhile.
fn other(number: u64) -> Ipv4Addr {
    address([10, 0, 0, 0], number)
}

/// The address that is so many behind this one.
pub(crate) fn address(first: [u8; 4], number: u64) -> Ipv4Addr {
    let first = u32::from(Ipv4Addr::from(first));
    Ipv4Addr::from(first.wrapping_add(u32::try_from(number).unwrap_or(u32::MAX)))
}

/// Each target has failed twice before `begin`, and fails once more, one after the other, `gap` µs apart. From two seconds
/// before to a second after that, others are at it, too: so many lines a second, three of each source.
fn attack(begin: u64, targets: Range<u64>, gap: u64, background: u64) -> Result<()> {
    let log = Log::open()?;
    let count = targets.end - targets.start;
    let early = begin - 1_000_000;
    let mut lines: Vec<(u64, String)> = Vec::new();
    for (number, source) in targets.map(target).enumerate() {
        let number = u64::try_from(number)?;
        let second = early + number * 1_000_000 / 2 / count;
        lines.push((second - 500_000, failure(source, "first")));
        lines.push((second, failure(source, "second")));
        lines.push((begin + number * gap, failure(source, LAST)));
    }
    let lasts = 3_000_000 + count * gap;
    for number in 0..background * lasts / 1_000_000 {
        let at = begin - 2_000_000 + number * 1_000_000 / background;
        lines.push((at, failure(other(number / 3), "other")));
    }
    lines.sort_by_key(|(at, _)| *at);
    for (at, line) in lines {
        let now = usec(SystemTime::now());
        if let Some(early) = at.checked_sub(now) {
            thread::sleep(Duration::from_micros(early));
        }
        log.write(&line)?;
    }
    thread::sleep(LINGER);
    Ok(())
}

/// So many lines as fast as journald takes them: some failures, three of each source, the others customers'. The sources
/// begin at the `first`. Prints how long that took, and when it was done, in µs.
fn flood(count: u64, first: u64) -> Result<()> {
    let log = Log::open()?;
    let begin = SystemTime::now();
    for number in 0..count {
        if number % FAILING == 0 {
            log.write(&failure(other(first + number / FAILING / 3), "flood"))?;
        } else {
            log.write(&login(address([203, 0, 113, 0], number % 200), "flood"))?;
        }
    }
    let end = SystemTime::now();
    println!("{} {}", usec(end) - usec(begin), usec(end));
    thread::sleep(LINGER);
    Ok(())
}

/// How long after journald has written a line a program knows of it that waits as libsystemd has it: µs, a line each.
fn notice(count: u64) -> Result<()> {
    let log = Log::open()?;
    let mut journal = OpenOptions::default()
        .system(true)
        .local_only(true)
        .open()?;
    journal.fd()?;
    journal.seek_tail()?;
    journal.previous()?;
    journal.wait(Some(Duration::ZERO))?;
    while journal.next()? > 0 {}
    for number in 0..count {
        // Not in step with anybody's timer.
        thread::sleep(Duration::from_millis(700 + number * 137 % 500));
        log.write(&login(
            Ipv4Addr::new(203, 0, 113, 7),
            &format!("notice{number}"),
        ))?;
        let wanted = format!("notice{number}");
        let delay = loop {
            journal.wait(Some(Duration::from_secs(5)))?;
            let now = SystemTime::now();
            if let Some(written) = seen(&mut journal, &wanted)? {
                break now.duration_since(written).unwrap_or_default();
            }
        };
        println!("{}", delay.as_micros());
    }
    Ok(())
}

/// Reads on; when the entry that is waited for was written, if it was among them.
fn seen(journal: &mut systemd::Journal, wanted: &str) -> Result<Option<SystemTime>> {
    let mut found = None;
    while journal.next()? > 0 {
        let message = journal.get_data(c"MESSAGE")?;
        let value = message.and_then(|field| field.value().map(<[u8]>::to_vec));
        if value.is_some_and(|value| String::from_utf8_lossy(&value).contains(wanted)) {
            found = Some(UNIX_EPOCH + Duration::from_micros(journal.timestamp_usec()?));
        }
    }
    Ok(found)
}
