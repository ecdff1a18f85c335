//! The journal as it is read while others write it.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::host::{Host, becomes};
use crate::journal::{Entry, Journal, MACHINE, now};

/// Long enough for the agent, which looks every 4 ms while somebody guesses, to have looked.
const A_LOOK: Duration = Duration::from_millis(300);

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
