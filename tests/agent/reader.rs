//! The journal as it is read while others write it.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use banjour::config::Config;
use banjour::filter::Finding;
use banjour::journal::{Entries, Event, Place, Start, spawn};
use jiff::Timestamp;

use crate::host::{Host, becomes, until};
use crate::journal::{Entry, Journal, MACHINE, now};

/// Long enough for the agent, which looks every 4 ms while somebody guesses, to have looked.
const A_LOOK: Duration = Duration::from_millis(300);
/// Attempts that a reader has not read to the end when nobody takes what it has read.
const MORE_THAN_WAITS: usize = 8000;
/// Long enough to read a thousand of them, however busy the machine is.
const A_BATCH: Duration = Duration::from_secs(3);

/// libsystemd counts an entry as soon as it has its place, and does not look for it again before another comes.
#[test]
fn an_entry_that_was_looked_for_while_it_was_written_is_read_when_it_is() {
    let host = Host::new();
    let agent = host.start();
    host.attempts("198.18.0.1", 2);
    becomes(&2, || agent.totals().0);
    for n in 1..=3 {
        let entry = Entry::imap(&format!("198.18.1.{n}"), 1);
        host.journal.write_slowly(&entry, || {
            thread::sleep(A_LOOK);
            assert_eq!(agent.totals().0, 1 + n);
        });
        becomes(&(2 + n), || agent.totals().0);
    }
}

/// A host that was cloned, or restored under another machine id, begins its journal anew, and has the state of the other.
#[test]
fn under_another_machine_id_reading_goes_on_and_nothing_counts_twice() {
    const OTHER: &str = "00112233445566778899aabbccddeeff";
    for is_left in [true, false] {
        let mut host = Host::new();
        let agent = host.start();
        host.attempts("198.18.0.1", 2);
        host.attempts("198.18.0.2", 3);
        becomes(&5, || agent.totals().0);
        assert!(agent.stop().success());
        let before = host.journal.directory().to_owned();
        host.write("etc/machine-id", &format!("{OTHER}\n"));
        host.journal = Journal::begin_as(&host.path(""), OTHER);
        if !is_left {
            fs::remove_dir_all(before).unwrap();
        }
        host.attempts("198.18.0.1", 1);
        let agent = host.start();
        becomes(&6, || agent.totals().0);
        host.attempts("198.18.0.3", 3);
        agent.catches_up();
        let mut banned = vec!["198.18.0.1 dovecot"; usize::from(is_left)];
        banned.extend(["198.18.0.2 dovecot", "198.18.0.3 dovecot"]);
        // What it did before is not to be read any more.
        assert_eq!(agent.banned(), banned);
        assert_eq!(
            agent.totals(),
            (6 + 3 + 1000, u64::try_from(banned.len()).unwrap() + 1)
        );
    }
}

/// An admin has journald keep its files: `mkdir /var/log/journal; journalctl --flush`. libsystemd does not look where there
/// was nothing when it began, and what journald copies has other numbers there.
#[test]
fn a_journal_that_moves_to_disk_is_read_there_and_nothing_counts_twice() {
    for while_it_runs in [true, false] {
        let mut host = Host::new();
        fs::remove_dir_all(host.path("var/log/journal")).unwrap();
        let [volatile, persistent] =
            ["run", "var"].map(|place| host.path(place).join("log/journal").join(MACHINE));
        let begin = now() - 3_600_000_000;
        host.journal = Journal::begin_in(volatile.clone(), begin);
        let mut agent = Some(host.start());
        let attempt = Entry::imap("198.18.0.1", 1);
        let times = [(); 2].map(|()| host.journal.write(&attempt));
        becomes(&2, || agent.as_ref().unwrap().totals().0);
        if !while_it_runs {
            assert!(agent.take().unwrap().stop().success());
        }
        let kept = Journal::begin_in(persistent, begin);
        for time in times {
            kept.write_at(time, &attempt);
        }
        kept.until_written();
        fs::remove_dir_all(volatile).unwrap();
        let agent = agent.unwrap_or_else(|| host.start());
        kept.write(&Entry::imap("198.18.0.2", 1));
        becomes(&3, || agent.totals().0);
        assert_eq!(agent.banned(), [""; 0]);
        kept.write(&attempt);
        becomes(&4, || agent.totals().0);
        assert_eq!(agent.banned(), ["198.18.0.1 dovecot"]);
        // Nothing is lost.
        agent.one_problem("there is no firewall");
    }
}

/// The other way round: `Storage=volatile`, and what is on disk stays there.
#[test]
fn a_journal_that_is_kept_no_more_is_read_where_it_goes_on() {
    let host = Host::new();
    fs::create_dir_all(host.path("run/log")).unwrap();
    let agent = host.start();
    host.attempts("198.18.0.1", 2);
    becomes(&2, || agent.totals().0);
    let volatile = Journal::begin_in(host.path("run/log/journal").join(MACHINE), now());
    volatile.write(&Entry::imap("198.18.0.1", 1));
    becomes(&3, || agent.totals().0);
    assert_eq!(agent.banned(), ["198.18.0.1 dovecot"]);
    agent.one_problem("there is no firewall");
}

/// journald gives its file another name and begins the next one, while somebody goes through the directory and is past that
/// name already.
#[test]
fn a_file_that_gets_another_name_while_the_journal_is_opened_is_read() {
    let host = Host::new();
    let from = Timestamp::now();
    let elsewhere = Journal::begin_in(host.path("elsewhere"), now());
    let source = |n: usize| format!("198.18.0.{n}");
    let files: Vec<PathBuf> = (0..100)
        .map(|n| {
            elsewhere.write(&Entry::imap(&source(n), 1));
            elsewhere.rotate()
        })
        .collect();
    let directory = host.journal.directory();
    let current = last_of_many(directory);
    let place = Place::Root(host.path(""));
    let filters = Config::load(&host.path("")).unwrap().filters;
    let read = || {
        let mut entries = Entries::open(&place, &filters, from).unwrap();
        let mut findings = Vec::new();
        while let Some(at) = entries.advance().unwrap() {
            entries.read(at, &mut findings).unwrap();
        }
        let sources = findings.iter().map(|finding| match finding {
            Finding::Evidence(evidence) => evidence.source.to_string(),
            Finding::Trouble(trouble) => panic!("{trouble:?}"),
        });
        sources.collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for file in &files {
                fs::rename(file, &current).unwrap();
                thread::sleep(Duration::from_millis(5));
                fs::rename(&current, directory.join(file.file_name().unwrap())).unwrap();
            }
        });
        while !writing.is_finished() {
            let read = read();
            assert_eq!(read, (0..read.len()).map(source).collect::<Vec<_>>());
        }
    });
    assert_eq!(read().len(), files.len());
}

/// Fills a directory, so that it takes a while to go through, and tells the path of a journal file that comes late then.
fn last_of_many(directory: &Path) -> PathBuf {
    for n in 0..20_000 {
        fs::write(directory.join(format!("{n:064}")), "").unwrap();
    }
    for n in 0..64 {
        fs::write(directory.join(format!("user-{n}.journal")), "").unwrap();
    }
    let all = fs::read_dir(directory).unwrap();
    let mut all: Vec<PathBuf> = all.map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.file_name().unwrap().as_bytes().starts_with(b"user-"));
    let last = all.pop().unwrap();
    for other in all {
        fs::remove_file(other).unwrap();
    }
    last
}

/// journald empties what it throws away, whoever reads it.
#[test]
fn files_that_are_thrown_away_while_they_are_read_stop_nobody_and_are_told() {
    const LAST: &str = "198.18.0.4";
    let host = Host::new();
    let start = Start {
        from: Timestamp::now(),
        position: None,
    };
    for (source, attempts) in [
        ("198.18.0.1", MORE_THAN_WAITS),
        ("198.18.0.2", 1),
        ("198.18.0.3", 1),
    ] {
        for _ in 0..attempts {
            host.journal.write(&Entry::imap(source, 1));
        }
        host.journal.rotate();
    }
    host.journal.write(&Entry::imap(LAST, 1));
    host.journal.until_written();
    let Config {
        filters, others, ..
    } = Config::load(&host.path("")).unwrap();
    let mut events = spawn(host.path(""), filters, others, start).unwrap();
    until("the reader waits", || {
        (events.capacity() == 0).then_some(())
    });
    // It is still reading what nobody has room for.
    thread::sleep(A_BATCH);
    host.journal.vacuum();
    let is_last = |finding: &Finding| matches!(finding, Finding::Evidence(evidence) if evidence.source.to_string() == LAST);
    let (mut is_read, mut is_told) = (false, false);
    until("the last one is read, and the loss told", || {
        match events.try_recv() {
            Ok(Event::Batch(batch)) => is_read |= batch.findings.iter().any(is_last),
            Ok(Event::Missed(missed)) => is_told |= missed.why == "journal files are gone",
            Ok(Event::Failed(error)) => panic!("{error}"),
            Ok(Event::Opened) | Err(_) => {}
        }
        (is_read && is_told).then_some(())
    });
}
