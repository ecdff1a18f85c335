//! A journal that has lost entries while no agent read it: the agent goes on, counts nothing twice, and says what it
//! missed.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::daemon::Agent;
use crate::helper::Kind;
use crate::host::{Host, becomes, until};
use crate::journal::{Entry, now};

const HOUR: u64 = 3_600_000_000;
const SOURCES: usize = 1500;

fn host() -> Host {
    let host = Host::new();
    host.helper.install(Kind::Nftables, true);
    host
}

/// An agent that has read two attempts, and saved that.
fn begin(host: &Host) -> u64 {
    let agent = host.start();
    let time = host.journal.write(&Entry::imap("198.18.0.1", 2));
    becomes(&2, || agent.totals().0);
    agent.stop();
    time
}

fn missed(agent: &Agent<'_>) -> String {
    until("the loss is told", || {
        let mut problems = agent.problems().into_iter();
        problems.find(|problem| problem.contains("the journal has lost entries"))
    })
}

/// As times are told, without the time zone.
fn local(usec: u64) -> String {
    let at = jiff::Timestamp::from_microsecond(usec.try_into().unwrap()).unwrap();
    let at = jiff::Zoned::new(at, jiff::tz::TimeZone::system());
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// What comes now is read, and counted once.
fn goes_on(agent: &Agent<'_>) {
    agent.catches_up();
    let before = agent.totals().0;
    agent.host.attempts("198.18.0.9", 3);
    agent.catches_up();
    assert!(agent.banned().contains(&"198.18.0.9 dovecot".to_owned()));
    assert_eq!(agent.totals().0, before + 1003);
}

fn quiet(host: &Host) {
    let calm = |agent: &Agent<'_>| assert_eq!(agent.problems(), [""; 0]);
    let agent = host.start();
    agent.catches_up();
    calm(&agent);
}

#[test]
fn a_vacuumed_journal_is_told_with_its_gap() {
    let host = host();
    host.configure("[jail.dovecot]\nwindow = \"3s\"\n[jail.postfix-sasl]\nwindow = \"1s\"\n[jail.manual]\nwindow = \"1s\"\n");
    let last = begin(&host);
    let archived = host.journal.rotate();
    host.attempts("198.18.0.2", 2);
    let unread = host.journal.rotate();
    let next = host.journal.write(&Entry::imap("198.18.0.3", 2));
    for file in [archived, unread] {
        fs::remove_file(file).unwrap();
    }
    let agent = host.start();
    let text = missed(&agent);
    assert!(text.contains("journal files are gone"), "{text}");
    assert!(
        text.contains(&local(last)) && text.contains(&local(next)),
        "{text}"
    );
    becomes(&4, || agent.totals().0);
    becomes(&[""; 0][..], || agent.problems());
    goes_on(&agent);
    agent.stop();
    quiet(&host);
}

#[test]
fn a_journal_that_is_gone_as_a_whole_is_begun_anew() {
    let host = host();
    begin(&host);
    let archived = host.journal.rotate();
    fs::remove_file(archived).unwrap();
    let agent = host.start();
    missed(&agent);
    goes_on(&agent);
}

#[test]
fn a_rotation_alone_loses_nothing() {
    let host = host();
    begin(&host);
    host.journal.rotate();
    host.attempts("198.18.0.2", 2);
    host.journal.rotate();
    let agent = host.start();
    becomes(&4, || agent.totals().0);
    goes_on(&agent);
    assert_eq!(agent.problems(), [""; 0]);
}

/// An archived file with attempts of many sources, and an agent that has read none of them.
fn with_archive(damage: impl FnOnce(&Path)) -> (Host, u64) {
    let host = host();
    let begun = begin(&host);
    host.journal.rotate();
    for n in 0..SOURCES {
        host.attempts(&format!("198.19.{}.{}", n / 250, n % 250 + 1), 1);
    }
    damage(&host.journal.rotate());
    (host, begun)
}

fn write_garbage(path: &Path, from: u64, length: usize) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&vec![0xa5; length], from).unwrap();
}

#[test]
fn a_truncated_file_is_told() {
    let (host, begun) = with_archive(|path| {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    });
    let agent = host.start();
    let text = missed(&agent);
    assert!(
        text.contains("system@") && text.contains(&local(begun)[..10]),
        "{text}"
    );
    goes_on(&agent);
}

/// Most of a journal file is entries and what they share; none of it is beyond damage.
#[test]
fn garbage_in_a_file_stops_nothing_and_is_told_where_it_hides_attempts() {
    let mut lost = 0;
    for permille in (0..1000).step_by(200).chain((442..520).step_by(6)) {
        let (host, _) = with_archive(|path| {
            let length = fs::metadata(path).unwrap().len();
            write_garbage(path, length * permille / 1000, 4096);
        });
        let agent = host.start();
        goes_on(&agent);
        let read = usize::try_from(agent.totals().0 - 2 - 2003).unwrap();
        assert!(read <= SOURCES, "{permille}: {read}");
        if read < SOURCES {
            lost += 1;
            let text = missed(&agent);
            assert!(
                text.contains("is damaged") || text.contains("cannot be read"),
                "{text}"
            );
        }
    }
    assert!(lost > 0, "no damage has hit anything");
}

/// Entries of now have times that lie before those that were read.
#[test]
fn a_clock_that_was_set_back_hides_nothing_and_repeats_nothing() {
    let host = host();
    let ahead = now() + 10 * HOUR;
    let agent = host.start();
    for n in 0..2 {
        host.journal
            .write_at(ahead + n, &Entry::imap("198.18.0.1", 1));
    }
    becomes(&2, || agent.totals().0);
    agent.kill();
    host.journal.rotate();
    host.journal.set_clock_back();
    host.attempts("198.18.0.2", 3);
    let agent = host.start();
    becomes(&5, || agent.totals().0);
    goes_on(&agent);
    assert!(agent.banned().contains(&"198.18.0.2 dovecot".to_owned()));
    agent.kill();
    let agent = host.start();
    let before = agent.totals().0;
    goes_on(&agent);
    assert_eq!(agent.totals().0, before + 2003);
    assert_eq!(agent.problems(), [""; 0]);
}

/// The same while the agent runs, and forward before that.
#[test]
fn a_clock_that_jumps_while_the_agent_runs_hides_nothing_and_repeats_nothing() {
    let host = host();
    let agent = host.start();
    host.attempts("198.18.0.1", 2);
    becomes(&2, || agent.totals().0);
    let ahead = now() + 10 * HOUR;
    // What the first one did is over by then.
    for (n, source) in (0..).zip([1, 2, 2, 2]) {
        let attempt = Entry::imap(&format!("198.18.0.{source}"), 1);
        host.journal.write_at(ahead + n, &attempt);
    }
    becomes(&6, || agent.totals().0);
    assert_eq!(agent.banned(), ["198.18.0.2 dovecot"]);
    host.journal.rotate();
    host.journal.set_clock_back();
    host.attempts("198.18.0.3", 3);
    becomes(&9, || agent.totals().0);
    assert_eq!(agent.banned(), ["198.18.0.2 dovecot", "198.18.0.3 dovecot"]);
    goes_on(&agent);
    assert_eq!(agent.totals().0, 9 + 2003);
    agent.kill();
    let agent = host.start();
    goes_on(&agent);
    assert_eq!(agent.totals().0, 9 + 2 * 2003);
    assert_eq!(agent.problems(), [""; 0]);
}
