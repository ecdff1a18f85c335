//! What outlives the agent, however it ends: bans, totals, and where it stood in the journal.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::firewalld::Firewalld;
use crate::host::{Host, becomes, file_like, until};
use crate::journal::Entry;

const HOUR: u64 = 3_600_000_000;

#[test]
fn sigterm_ends_at_once_and_saves() {
    let host = Host::new();
    let agent = host.start();
    host.attempts("198.18.0.1", 3);
    host.attempts("198.18.0.2", 2);
    becomes(&5, || agent.totals().0);
    agent.ban("198.18.0.0/24", "", 2 * HOUR).unwrap();
    let (bans, totals) = (agent.bans(), agent.totals());
    let begin = Instant::now();
    assert!(agent.stop().success());
    assert!(begin.elapsed() < Duration::from_millis(900));
    assert!(host.notified("STOPPING=1"));

    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    assert_eq!(agent.bans(), bans);
    assert_eq!(agent.totals(), totals);
    firewalld.holds(&["198.18.0.0/24"]);
}

#[test]
fn sigterm_is_heard_in_the_midst_of_an_attack() {
    let host = Host::new();
    for n in 0..5000 {
        host.journal
            .write(&Entry::imap(&format!("198.18.{}.{}", n / 250, n % 250), 1));
    }
    let agent = host.start();
    let begin = Instant::now();
    assert!(agent.stop().success());
    assert!(begin.elapsed() < Duration::from_millis(900));
    let agent = host.start();
    becomes(&5000, || agent.totals().0);
}

#[test]
fn a_killed_agent_goes_on_between_two_attempts() {
    let host = Host::new();
    let agent = host.start();
    for n in 1..=6 {
        host.attempts(&format!("198.18.0.{n}"), 2);
    }
    becomes(&12, || agent.totals().0);
    agent.kill();
    host.attempts("198.18.0.3", 1);
    let agent = host.start();
    host.attempts("198.18.0.5", 1);
    becomes(&["198.18.0.3 dovecot", "198.18.0.5 dovecot"][..], || {
        agent.banned()
    });
    agent.catches_up();
    assert_eq!(agent.totals(), (1014, 3));
    assert_eq!(agent.banned().len(), 2);
    let jail = agent.jail("dovecot");
    assert_eq!(agent.run(jail.currently_failed()), Ok(4));
}

/// The same entries, with and without `kill -9` at many moments: totals and bans are the same, to the µs.
#[test]
fn kill_9_at_any_moment_changes_neither_totals_nor_bans() {
    const SOURCES: usize = 400;
    const ROUNDS: usize = 4;
    const BEYOND: usize = 4;
    let host = Host::new();
    let source = |n| format!("198.18.{}.{}", n / 250, n % 250 + 1);
    let mut bans = Vec::new();
    for round in 0..ROUNDS {
        for n in 0..SOURCES {
            // Every fourth source stays below the limit.
            if n % BEYOND == 0 && round > 1 {
                continue;
            }
            let time = host.journal.write(&Entry::imap(&source(n), 1));
            if round == 2 {
                let row = (source(n), "dovecot".to_owned(), time, time + HOUR);
                bans.push(row);
            }
        }
        // At another moment each time, from before it has a bus to after it has taken in all that there is. Nothing is
        // waited for here: whatever the agent has done by then is right.
        for wait in [0, 5, 10, 20, 40, 80, 160] {
            let agent = host.launch(&[]);
            thread::sleep(Duration::from_millis(wait));
            agent.kill();
        }
        let agent = host.start();
        let some = u64::try_from(round * SOURCES / 2).unwrap();
        until("some of it is taken in", || {
            (agent.totals().0 >= some).then_some(())
        });
        agent.kill();
    }
    let attempts = SOURCES / BEYOND * 2 + (SOURCES - SOURCES / BEYOND) * ROUNDS;
    let agent = host.start();
    becomes(&u64::try_from(attempts).unwrap(), || agent.totals().0);
    assert_eq!(agent.totals().1, u64::try_from(bans.len()).unwrap());
    bans.sort_by_key(|(source, ..)| source.parse::<std::net::IpAddr>().unwrap());
    assert_eq!(agent.bans(), bans);
    // The window is read again after the start.
    let jail = agent.jail("dovecot");
    becomes(&u32::try_from(SOURCES / BEYOND).unwrap(), || {
        agent.run(jail.currently_failed()).unwrap()
    });
    agent.catches_up();
    assert_eq!(agent.bans(), bans);
}

#[test]
fn after_a_ban_and_an_unban_nothing_of_before_counts() {
    let host = Host::new();
    let agent = host.start();
    host.attempts("198.18.0.1", 3);
    becomes(&["198.18.0.1 dovecot"][..], || agent.banned());
    agent.unban("198.18.0.1", "").unwrap();
    host.attempts("198.18.0.2", 2);
    becomes(&5, || agent.totals().0);
    agent.unban("198.18.0.2", "").unwrap();
    agent.stop();

    let agent = host.start();
    host.attempts("198.18.0.1", 2);
    host.attempts("198.18.0.2", 2);
    agent.catches_up();
    assert_eq!(agent.banned(), [""; 0]);
    host.attempts("198.18.0.1", 1);
    host.attempts("198.18.0.2", 1);
    becomes(&["198.18.0.1 dovecot", "198.18.0.2 dovecot"][..], || {
        agent.banned()
    });
}

/// What PAM said before the restart and `imap-login` after it is one and the same.
#[test]
fn witnesses_of_one_attempt_find_one_another_across_a_restart() {
    let host = Host::new();
    let agent = host.start();
    for _ in 0..2 {
        host.journal.write(&Entry::pam("198.18.0.1"));
    }
    becomes(&2, || agent.totals().0);
    agent.kill();
    let agent = host.start();
    host.journal.write(&Entry::imap("198.18.0.1", 2));
    agent.catches_up();
    assert_eq!(agent.banned(), [""; 0]);
    assert_eq!(agent.totals().0, 1002);
}

/// journald gives each entry the time at which it looked at its clock; two may have the same.
#[test]
fn attempts_of_one_moment_are_all_remembered() {
    let host = Host::new();
    let agent = host.start();
    let time = host.journal.write(&Entry::imap("198.18.0.1", 1));
    host.journal.write_at(time, &Entry::imap("198.18.0.1", 1));
    becomes(&2, || agent.totals().0);
    agent.stop();
    let agent = host.start();
    host.attempts("198.18.0.1", 1);
    becomes(&["198.18.0.1 dovecot"][..], || agent.banned());
    assert_eq!(agent.totals(), (3, 1));
}

#[test]
fn a_rotation_of_the_journal_is_no_gap() {
    let host = Host::new();
    let agent = host.start();
    host.attempts("198.18.0.1", 2);
    becomes(&2, || agent.totals().0);
    host.journal.rotate();
    host.attempts("198.18.0.1", 1);
    becomes(&["198.18.0.1 dovecot"][..], || agent.banned());
    host.attempts("198.18.0.2", 1);
    host.journal.rotate();
    host.attempts("198.18.0.2", 1);
    becomes(&5, || agent.totals().0);
    agent.kill();
    host.journal.rotate();
    host.attempts("198.18.0.2", 1);
    let agent = host.start();
    becomes(&["198.18.0.1 dovecot", "198.18.0.2 dovecot"][..], || {
        agent.banned()
    });
    assert_eq!(agent.totals(), (6, 2));
}

/// The entry at which the agent stopped is gone: what came after it is new all the same, and counted once.
#[test]
fn a_journal_that_has_lost_the_saved_position_is_read_on() {
    let host = Host::new();
    let agent = host.start();
    host.attempts("198.18.0.1", 3);
    host.attempts("198.18.0.2", 2);
    becomes(&5, || agent.totals().0);
    // What is not saved yet would be gone with the file.
    agent.stop();
    let archived = host.journal.rotate();
    host.attempts("198.18.0.2", 2);
    host.attempts("198.18.0.3", 3);
    host.journal.rotate();
    fs::remove_file(archived).unwrap();
    let agent = host.start();
    becomes(&10, || agent.totals().0);
    agent.catches_up();
    assert_eq!(agent.banned(), ["198.18.0.1 dovecot", "198.18.0.3 dovecot"]);
}

/// Somebody else holds the database; orders and evidence go on, and all is saved when it is free.
#[test]
fn a_state_that_cannot_be_written_is_told_and_written_later() {
    let host = Host::new();
    let _firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    becomes(&[""; 0][..], || agent.problems());
    let database = rusqlite::Connection::open(host.state().join("banjour.db")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    for n in 1..=50 {
        agent.ban(&format!("198.18.0.{n}"), "", HOUR).unwrap();
    }
    host.attempts("198.18.1.1", 3);
    becomes(&51, || agent.banned().len());
    until("the problem is told", || {
        let problems = agent.problems();
        problems
            .iter()
            .any(|problem| problem.contains("cannot save state"))
            .then_some(())
    });
    database.execute_batch("ROLLBACK").unwrap();
    becomes(&[""; 0][..], || agent.problems());
    let bans = agent.bans();
    agent.stop();
    let agent = host.start();
    assert_eq!(agent.bans(), bans);
}

#[test]
fn a_ban_that_ended_while_no_agent_ran_is_over() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    agent.ban("198.18.0.1", "", 300_000).unwrap();
    agent.ban("198.18.0.2", "", HOUR).unwrap();
    firewalld.holds(&["198.18.0.1", "198.18.0.2"]);
    let (.., end) = agent.bans().remove(0);
    agent.kill();
    until("the first ban's end", || {
        (crate::journal::now() > end).then_some(())
    });
    let agent = host.start();
    assert_eq!(agent.banned(), ["198.18.0.2 manual"]);
    firewalld.holds(&["198.18.0.2"]);
}

#[test]
fn bans_of_a_jail_that_is_gone_after_a_restart_are_lifted() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    agent.ban("198.18.0.1", "dovecot", HOUR).unwrap();
    agent.ban("198.18.0.2", "manual", HOUR).unwrap();
    agent.ban("198.18.0.3", "manual", HOUR).unwrap();
    agent.stop();
    host.configure("ignore = [\"198.18.0.3\"]\n[jail.dovecot]\nenabled = false\n");
    let agent = host.start();
    assert_eq!(agent.banned(), ["198.18.0.2 manual"]);
    firewalld.holds(&["198.18.0.2"]);
    agent.stop();
    host.configure("");
    let agent = host.start();
    assert_eq!(agent.banned(), ["198.18.0.2 manual"]);
}

#[test]
fn a_damaged_state_is_kept_aside_and_told() {
    let host = Host::new();
    let _firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    host.attempts("198.18.0.1", 3);
    becomes(&["198.18.0.1 dovecot"][..], || agent.banned());
    agent.stop();
    let garbage = "this was a database".repeat(1000);
    fs::write(host.state().join("banjour.db"), &garbage).unwrap();

    let agent = host.start();
    until("the loss is told", || {
        agent
            .problems()
            .iter()
            .any(|problem| problem.contains("banjour.db.damaged-"))
            .then_some(())
    });
    let aside = file_like(&host.state(), "banjour.db.damaged-").unwrap();
    assert_eq!(fs::read_to_string(aside).unwrap(), garbage);
    // The journal has it all still.
    becomes(&["198.18.0.1 dovecot"][..], || agent.banned());
    agent.ban("198.18.0.2", "", HOUR).unwrap();
    let bans = agent.bans();
    agent.stop();
    let agent = host.start();
    assert_eq!(agent.bans(), bans);
    becomes(&[""; 0][..], || agent.problems());
}

#[test]
fn any_damage_of_the_state_ends_in_a_running_agent() {
    let host = Host::new();
    let agent = host.start();
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    agent.stop();
    let database = host.state().join("banjour.db");
    let whole = fs::read(&database).unwrap();
    for (what, content) in [
        ("empty", Vec::new()),
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("a page of zeros", {
            let mut bytes = whole.clone();
            bytes[4096..8192].fill(0);
            bytes
        }),
        ("a header alone", whole[..100].to_vec()),
        (
            "noise",
            (0..9000_u32).flat_map(|n| (n * n).to_be_bytes()).collect(),
        ),
    ] {
        fs::write(&database, content).unwrap();
        let agent = host.start();
        agent
            .ban("198.18.0.2", "", HOUR)
            .unwrap_or_else(|_| panic!("{what}"));
        assert!(agent.stop().success(), "{what}");
        let agent = host.start();
        assert!(
            agent.banned().contains(&"198.18.0.2 manual".to_owned()),
            "{what}"
        );
        agent.kill();
    }
}

#[test]
fn a_second_agent_does_not_start_beside_the_first() {
    let host = Host::new();
    let first = host.start();
    let mut second = host.launch(&[]);
    assert!(!second.wait().success());
    let stderr = host.stderr();
    assert!(stderr.contains("system bus"), "{stderr}");
    first.ban("198.18.0.1", "", HOUR).unwrap();
}

#[test]
fn the_watchdog_hears_of_the_agent() {
    let host = Host::new();
    let _agent = host.start_with(&[("WATCHDOG_USEC", "200000")]);
    until("WATCHDOG=1", || host.notified("WATCHDOG=1").then_some(()));
}

/// systemd starts it again, and nothing is lost by it.
#[test]
fn an_agent_whose_bus_is_gone_ends() {
    let host = Host::new();
    let mut agent = host.start();
    host.bus.kill();
    assert!(!agent.wait().success());
    let stderr = host.stderr();
    assert!(stderr.contains("the bus is gone"), "{stderr}");
}
