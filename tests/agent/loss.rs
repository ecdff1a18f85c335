//! A state that is lost, or of a newer version: what the journal and the kernel tell of bans stands in for it.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::daemon::Agent;
use crate::helper::Kind;
use crate::host::{Host, becomes, file_like, until};
use crate::journal::{Entry, now};

const MINUTE: u64 = 60_000_000;
const HOUR: u64 = 60 * MINUTE;

fn host() -> Host {
    let host = Host::new();
    host.helper.install(Kind::Nftables, true);
    host
}

/// Leaves something where the database should be that is none.
fn damage(host: &Host) {
    fs::write(host.state().join("banjour.db"), "no database").unwrap();
}

fn loss(agent: &Agent<'_>) -> String {
    until("the loss is told", || {
        let mut problems = agent.problems().into_iter();
        problems.find(|problem| problem.contains("the state could not be used"))
    })
}

/// Bans as `source jail`, with their ends.
fn ends(agent: &Agent<'_>) -> Vec<(String, u64)> {
    let end = |(source, jail, _, until)| (format!("{source} {jail}"), until);
    agent.bans().into_iter().map(end).collect()
}

#[test]
fn bans_are_found_in_the_journal_with_their_jails_and_ends() {
    let host = host();
    let (long_ago, later) = (now() - 23 * HOUR, now() + 90 * HOUR);
    let soon = now() + HOUR;
    let write = |entry: &Entry| {
        host.journal.write(entry);
    };
    host.journal
        .write_at(long_ago, &Entry::ban("198.18.0.1", "dovecot", later));
    write(&Entry::ban("198.18.0.2", "postfix-sasl", soon));
    write(&Entry::ban("198.18.0.2", "manual", soon));
    write(&Entry::unban("198.18.0.2", "manual", "unbanned"));
    write(&Entry::ban("198.18.0.3", "dovecot", soon));
    write(&Entry::unban("198.18.0.3", "dovecot", "expired"));
    write(&Entry::ban("198.18.0.4", "dovecot", now() - MINUTE));
    write(&Entry::ban("198.18.0.5", "manual", soon));
    write(&Entry::ban("198.18.0.5", "manual", later));
    write(&Entry::ban("2001:db8:bad::/64", "no-such-jail", soon));
    write(&Entry::ban("198.18.0.0/16 or more", "manual", soon));
    damage(&host);
    let agent = host.start();
    let wanted = [
        ("198.18.0.1 dovecot".to_owned(), later),
        ("198.18.0.2 postfix-sasl".to_owned(), soon),
        ("198.18.0.5 manual".to_owned(), later),
    ];
    assert_eq!(ends(&agent), wanted);
    let kept_out = ["198.18.0.1", "198.18.0.2", "198.18.0.5"];
    host.helper.holds(Kind::Nftables, &kept_out);
    let loss = loss(&agent);
    assert!(loss.contains("4 bans were found in the journal"), "{loss}");
    assert!(loss.contains("counters begin anew"), "{loss}");
    let aside = file_like(&host.state(), "banjour.db.damaged-").unwrap();
    assert_eq!(fs::read_to_string(aside).unwrap(), "no database");
    // It is all in the new state, too.
    agent.stop();
    let agent = host.start();
    assert_eq!(ends(&agent), wanted);
    assert_eq!(agent.problems(), [""; 0]);
}

#[test]
fn a_rebuild_that_is_interrupted_is_begun_again() {
    let host = host();
    let until = now() + HOUR;
    for n in 1..=200 {
        let ban = Entry::ban(&format!("198.18.0.{n}"), "manual", until);
        host.journal.write(&ban);
    }
    damage(&host);
    for wait in (0..120).step_by(3) {
        let agent = host.launch(&[]);
        thread::sleep(Duration::from_millis(wait));
        agent.kill();
    }
    let agent = host.start();
    becomes(&200, || agent.bans().len());
    let aside = file_like(&host.state(), "banjour.db.damaged-").unwrap();
    assert_eq!(fs::read_to_string(aside).unwrap(), "no database");
}

#[test]
fn nobody_but_the_agent_tells_of_bans() {
    let host = host();
    let ban = Entry::ban("198.18.0.1", "manual", now() + HOUR);
    let unban = Entry::unban("198.18.0.2", "manual", "unbanned");
    host.journal
        .write(&Entry::ban("198.18.0.2", "manual", now() + HOUR));
    for (unit, uid) in [
        ("banjour.service", 1000),
        ("session-1.scope", 0),
        ("dovecot.service", 0),
    ] {
        for entry in [&ban, &unban] {
            let unit = unit.to_owned();
            host.journal.write(&Entry {
                unit,
                uid,
                ..entry.clone()
            });
        }
    }
    damage(&host);
    assert_eq!(host.start().banned(), ["198.18.0.2 manual"]);
}

#[test]
fn what_the_kernel_keeps_out_besides_is_taken_over() {
    let host = host();
    let (soon, later) = (now() + HOUR, now() + 2 * HOUR);
    for (source, until) in [
        ("198.18.0.1", later),
        ("198.18.0.2", later),
        ("198.18.0.3", soon),
        ("2001:db8:bad::/64", later),
        ("127.0.0.9", later),
    ] {
        host.helper.put(Kind::Nftables, source, until);
    }
    host.journal
        .write(&Entry::ban("198.18.0.1", "dovecot", soon));
    host.journal
        .write(&Entry::ban("198.18.0.2", "dovecot", later));
    host.journal
        .write(&Entry::unban("198.18.0.2", "dovecot", "unbanned"));
    damage(&host);
    let agent = host.start();
    let wanted = [
        ("198.18.0.1 dovecot".to_owned(), soon),
        ("198.18.0.3 manual".to_owned(), soon),
        ("2001:db8:bad::/64 manual".to_owned(), later),
    ];
    assert_eq!(ends(&agent), wanted);
    host.helper.holds(
        Kind::Nftables,
        &["198.18.0.1", "198.18.0.3", "2001:db8:bad::/64"],
    );
    let loss = loss(&agent);
    assert!(
        loss.contains("1 bans were found in the journal, 3 more in the firewall"),
        "{loss}"
    );
}

/// What the journal has of attempts counts again, but for what an administrator has pardoned, or a ban deals with.
#[test]
fn attempts_in_the_window_are_counted_again() {
    let host = host();
    host.attempts("198.18.0.1", 2);
    host.attempts("198.18.0.2", 3);
    host.attempts("198.18.0.3", 3);
    let later = now() + 90 * HOUR;
    host.journal
        .write(&Entry::ban("198.18.0.2", "dovecot", now() + HOUR));
    host.journal
        .write(&Entry::unban("198.18.0.2", "dovecot", "unbanned"));
    host.journal
        .write(&Entry::ban("198.18.0.3", "dovecot", later));
    damage(&host);
    let agent = host.start();
    becomes(&8, || agent.totals().0);
    assert_eq!(ends(&agent), [("198.18.0.3 dovecot".to_owned(), later)]);
    assert_eq!(agent.totals(), (8, 1));
    host.attempts("198.18.0.1", 1);
    agent.catches_up();
    assert_eq!(agent.banned(), ["198.18.0.1 dovecot", "198.18.0.3 dovecot"]);
}

#[test]
fn a_loss_is_over_when_all_that_counts_was_written_since() {
    let host = host();
    host.configure("[jail.dovecot]\nwindow = \"2s\"\n[jail.postfix-sasl]\nwindow = \"1s\"\n[jail.manual]\nwindow = \"1s\"\n");
    damage(&host);
    let agent = host.start();
    loss(&agent);
    becomes(&[""; 0][..], || agent.problems());
    until("it is told", || {
        host.stderr()
            .contains("over, since all that counts")
            .then_some(())
    });
}

#[test]
fn rows_without_sense_are_damage_and_a_place_without_sense_is_none() {
    let host = host();
    let agent = host.start();
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    host.attempts("198.18.0.2", 2);
    agent.catches_up();
    agent.stop();
    for (sql, is_damage) in [
        ("UPDATE position SET cursor = 'nowhere'", false),
        ("UPDATE position SET at = 253402207200000000", false),
        ("UPDATE ban SET source = 'somebody'", true),
        ("UPDATE jail SET failed = 'many'", true),
        ("UPDATE ban SET until = 'soon'", true),
        ("UPDATE position SET at = -1000000000000000000", true),
        ("DROP TABLE settled", true),
    ] {
        let database = rusqlite::Connection::open(host.state().join("banjour.db")).unwrap();
        database.execute_batch(sql).unwrap();
        drop(database);
        let agent = host.start();
        agent.catches_up();
        let told = agent
            .problems()
            .iter()
            .any(|problem| problem.contains("is kept as"));
        assert_eq!(told, is_damage, "{sql}: {:?}", agent.problems());
        agent.ban("198.18.0.1", "", HOUR).unwrap();
        assert!(agent.stop().success());
    }
    let kept = fs::read_dir(host.state())
        .unwrap()
        .map(|file| file.unwrap().file_name());
    let kept = kept.filter(|name| name.to_string_lossy().contains("damaged"));
    assert!(kept.count() <= 3, "no disk is filled with damage");
}

/// An agent of an older version protects, and leaves the state to the newer one.
#[test]
fn a_state_of_a_newer_version_is_kept_for_it() {
    let host = host();
    let agent = host.start();
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    host.helper.holds(Kind::Nftables, &["198.18.0.1"]);
    agent.kill();
    let path = host.state().join("banjour.db");
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer
        .execute_batch("CREATE TABLE of_the_future (n INTEGER); PRAGMA user_version = 1000")
        .unwrap();
    std::mem::forget(newer);
    let agent = host.start();
    host.helper.holds(Kind::Nftables, &["198.18.0.1"]);
    let loss = loss(&agent);
    assert!(loss.contains("a newer version of banjour"), "{loss}");
    agent.stop();
    let aside = file_like(&host.state(), "banjour.db.version-1000-").unwrap();
    // With what the killed agent had not yet put into it, beside it.
    let aside = aside.to_str().unwrap().trim_end_matches("-wal").to_owned();
    let kept = rusqlite::Connection::open(aside).unwrap();
    let bans = kept.query_row("SELECT count(*) FROM ban", [], |row| row.get(0));
    assert_eq!(bans, Ok(1));
}

/// An upgrade happens as a whole or not at all, whenever the agent is killed in it.
#[test]
fn an_older_state_is_upgraded_by_whichever_agent_lives_long_enough() {
    let host = host();
    let path = host.state().join("banjour.db");
    let agent = host.start();
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    agent.stop();
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(
        "DROP TABLE holder; DROP TABLE customer; DROP TABLE history; DROP TABLE memory; DROP TABLE habits;
        ALTER TABLE ban DROP COLUMN cause; PRAGMA user_version = 1",
    )
    .unwrap();
    for n in 0..20_000 {
        let ban = "INSERT INTO ban VALUES (?, 'manual', 1, ?)";
        let until = i64::try_from(now() + HOUR).unwrap();
        let source = format!("198.19.{}.{}", n / 250, n % 250 + 1);
        if n == 0 {
            old.execute_batch("BEGIN").unwrap();
        }
        old.execute(ban, rusqlite::params![source, until]).unwrap();
    }
    old.execute_batch("COMMIT").unwrap();
    drop(old);
    for wait in (0..100).step_by(2) {
        let agent = host.launch(&[]);
        thread::sleep(Duration::from_millis(wait));
        agent.kill();
    }
    let agent = host.start();
    assert_eq!(agent.bans().len(), 20_001);
    assert!(file_like(&host.state(), "banjour.db.").is_none());
}
