//! `kill -9`, again and again, in the midst of attempts and orders: nothing is lost by it, and nothing counted twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use banjour::bus::{BanRow, ManagerProxy};
use serde_json::Value;
use tokio::time::sleep;
use zbus::proxy::CacheProperties;

use crate::daemon::Agent;
use crate::helper::Kind;
use crate::host::{Host, until};
use crate::journal::{Entry, now};

const HOUR: u64 = 3_600_000_000;

/// The longest that an agent lives, from its start on: long enough to get ready and read for a while.
const LIFE: u64 = 500;
/// Sources that attempts come from, and those that orders are about.
const GUESSERS: u64 = 2000;
const ORDERED: u64 = 10_000;

/// Numbers that look random (Knuth's MMIX).
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = now();
        println!("seed: {seed}");
        Self(seed)
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// What is known of ordered sources: whether they are banned, unless the last order about one was not answered.
#[derive(Debug, Default)]
struct Orders {
    sources: BTreeMap<String, Option<bool>>,
    answered: usize,
}

type Ledger = Arc<Mutex<Orders>>;

/// Orders bans and unbans, one after the other, until it is told to stop, and writes down what was answered.
fn order(host: &Host, ledger: &Ledger, stop: &Arc<AtomicBool>, mut dice: Dice) {
    let (ledger, stop) = (Arc::clone(ledger), Arc::clone(stop));
    let connection = host.bus.connection().clone();
    host.bus.spawn(async move {
        let manager = ManagerProxy::builder(&connection)
            .cache_properties(CacheProperties::No)
            .build();
        let manager = manager.await.unwrap();
        while !stop.load(Ordering::Relaxed) {
            let n = dice.roll(ORDERED);
            let source = format!("198.19.{}.{}", n / 250, n % 250 + 1);
            let ban = dice.roll(4) > 0;
            let before = ledger.lock().unwrap().sources.insert(source.clone(), None);
            let answer = if ban {
                manager.ban(&source, "", 2 * HOUR, 0).await
            } else {
                manager.unban(&source, "", 0).await.map(drop)
            };
            let after = match answer {
                Ok(()) => {
                    ledger.lock().unwrap().answered += 1;
                    Some(ban)
                }
                // Nobody has heard of it.
                Err(zbus::Error::MethodError(name, ..)) if name.ends_with("ServiceUnknown") => {
                    before.flatten()
                }
                Err(_) => None,
            };
            ledger.lock().unwrap().sources.insert(source, after);
            sleep(Duration::from_millis(dice.roll(4))).await;
        }
        stop.store(false, Ordering::Relaxed);
    });
}

/// A few lines of somebody's attempts: of one witness, or of two that tell of the same.
fn attempt(host: &Host, dice: &mut Dice) {
    let n = dice.roll(GUESSERS);
    let source = format!("198.18.{}.{}", n / 250, n % 250 + 1);
    match dice.roll(4) {
        0 => {
            host.journal.write(&Entry::pam(&source));
            host.journal.write(&Entry::pam(&source));
        }
        1 => drop(host.journal.write(&Entry::imap(&source, 2))),
        _ => drop(host.journal.write(&Entry::imap(&source, 1))),
    }
}

/// Totals, the number of sources with attempts in the window, and bans of jail `dovecot`.
type Numbers = ((u64, u64), u32, Vec<BanRow>);

fn numbers(agent: &Agent<'_>) -> Numbers {
    let jail = agent.jail("dovecot");
    let failed = agent.run(jail.total_failed()).unwrap();
    let banned = agent.run(jail.total_banned()).unwrap();
    let failing = agent.run(jail.currently_failed()).unwrap();
    let mut bans = agent.bans();
    bans.retain(|(_, jail, ..)| jail == "dovecot");
    ((failed, banned), failing, bans)
}

/// Waits for all that was written, which ends with so many attempts of nobody else.
fn all_read(host: &Host, agent: &Agent<'_>, last: &str) -> Numbers {
    until("all is read", || {
        let banned = agent.banned();
        banned.contains(&format!("{last} dovecot")).then_some(())
    });
    let numbers = numbers(agent);
    let helper = |source: &str| host.helper.until(Kind::Nftables, source);
    for (source, _, _, end) in &numbers.2 {
        until("bans are in force", || {
            (helper(source) == Some(*end)).then_some(())
        });
    }
    numbers
}

fn replay(host: &Host) -> (u64, Vec<(String, u64, u64)>) {
    let directory = host.journal.directory().display().to_string();
    let config = host.path("etc/banjour/banjour.toml.d/00-test.toml");
    let config = config.to_string_lossy();
    let out = host.banjour(&[
        "replay",
        "--json",
        "--config",
        &config,
        "--directory",
        &directory,
    ]);
    let findings: Value = serde_json::from_slice(&out.stdout).unwrap();
    let row = |ban: &Value| {
        let usec = |key: &str| ban[key].as_u64().unwrap();
        let source = ban["source"].as_str().unwrap().to_owned();
        (source, usec("at_usec"), usec("until_usec"))
    };
    let mut bans: Vec<_> = findings["bans"]
        .as_array()
        .unwrap()
        .iter()
        .map(row)
        .collect();
    bans.sort();
    (findings["failures"].as_u64().unwrap(), bans)
}

fn survives(kills: u64) {
    let host = Host::new();
    host.helper.install(Kind::Nftables, true);
    let mut dice = Dice::new();
    let (ledger, stop) = (Ledger::default(), Arc::new(AtomicBool::new(false)));
    order(&host, &ledger, &stop, Dice(dice.roll(u64::MAX)));
    for kill in 0..kills {
        let agent = host.launch(&[]);
        let end = Instant::now() + Duration::from_millis(dice.roll(LIFE));
        while Instant::now() < end {
            attempt(&host, &mut dice);
            thread::sleep(Duration::from_micros(dice.roll(10_000)));
        }
        // Half of them die in the moment after an answer, if there is one.
        let answered = || ledger.lock().unwrap().answered;
        let (before, end) = (answered(), end + Duration::from_millis(10));
        while kill % 2 == 0 && answered() == before && Instant::now() < end {
            thread::yield_now();
        }
        agent.kill();
        if kill % 50 == 49 {
            host.journal.rotate();
        }
    }
    stop.store(true, Ordering::Relaxed);
    until("no more orders", || {
        (!stop.load(Ordering::Relaxed)).then_some(())
    });

    // Who has attempts in the window shows how many when he makes one more.
    for n in 0..GUESSERS / 2 {
        let source = format!("198.18.{}.{}", n / 250, n % 250 + 1);
        host.journal.write(&Entry::imap(&source, 1));
    }
    let last = "203.0.113.1";
    host.attempts(last, 3);
    let agent = host.start();
    let killed = all_read(&host, &agent, last);
    let banned: BTreeSet<String> = agent.banned().into_iter().collect();
    let ledger = ledger.lock().unwrap();
    for (source, is_banned) in &ledger.sources {
        let there = banned.contains(&format!("{source} manual"));
        assert!(is_banned.is_none_or(|is| is == there), "{source}");
        let kept_out = host.helper.until(Kind::Nftables, source).is_some();
        assert_eq!(kept_out, there, "{source}");
    }
    let (answered, numbers) = (ledger.answered, killed.0);
    println!("{kills} kills, {answered} answered orders, totals {numbers:?}");
    assert!(agent.stop().success());

    let fresh = host.path("state-of-another");
    fs::create_dir(&fresh).unwrap();
    let agent = host.start_with(&[("STATE_DIRECTORY", fresh.to_str().unwrap())]);
    let unkilled = all_read(&host, &agent, last);
    assert_eq!(killed.0, unkilled.0);
    assert_eq!(killed, unkilled);
    let (failures, bans) = replay(&host);
    assert_eq!(failures, killed.0.0);
    let row = |(source, _, since, until): BanRow| (source, since, until);
    let mut told: Vec<_> = killed.2.into_iter().map(row).collect();
    told.sort();
    assert_eq!(told, bans);
}

#[test]
fn nothing_is_lost_or_counted_twice_however_often_it_is_killed() {
    survives(150);
}

#[test]
#[ignore = "takes some minutes"]
fn a_thousand_kills_change_no_number() {
    survives(1000);
}

/// An agent that was away for many windows has them all to read; that it is killed while it does is no excuse. Each of so
/// many sources fails so many times, and as `line` tells it. Returns how many failed in the end.
fn reads_a_long_absence(
    sources: u64,
    attempts: u64,
    line: impl Fn(&mut Dice, &str) -> Entry,
) -> u64 {
    let entries = sources * attempts;
    let host = Host::new();
    host.helper.install(Kind::Nftables, true);
    let mut dice = Dice::new();
    let begin = now() - 20 * HOUR;
    assert!(host.start().stop().success());
    let database = rusqlite::Connection::open(host.state().join("banjour.db")).unwrap();
    let at = i64::try_from(begin).unwrap();
    let position = "INSERT INTO position VALUES (0, 'gone', ?)";
    database.execute(position, [at]).unwrap();
    drop(database);
    let fresh = host.path("state-of-another");
    fs::create_dir(&fresh).unwrap();
    fs::copy(host.state().join("banjour.db"), fresh.join("banjour.db")).unwrap();
    for n in 1..entries {
        let source = dice.roll(sources);
        let source = format!("198.18.{}.{}", source / 250, source % 250 + 1);
        let at = begin + n * (20 * HOUR / entries);
        let entry = line(&mut dice, &source);
        host.journal.write_at(at, &entry);
    }
    for _ in 0..25 {
        let agent = host.launch(&[]);
        thread::sleep(Duration::from_millis(dice.roll(LIFE)));
        agent.kill();
    }
    let last = "203.0.113.1";
    host.attempts(last, 3);
    let agent = host.start();
    let killed = all_read(&host, &agent, last);
    assert!(agent.stop().success());
    let agent = host.start_with(&[("STATE_DIRECTORY", fresh.to_str().unwrap())]);
    let unkilled = all_read(&host, &agent, last);
    assert_eq!(killed.0, unkilled.0);
    // Some of the bans end while this test runs.
    let soon = now() + HOUR / 60;
    let lasting = |bans: Vec<BanRow>| bans.into_iter().filter(move |(.., until)| *until > soon);
    assert!(lasting(killed.2).eq(lasting(unkilled.2)));
    killed.0.0
}

#[test]
fn a_long_absence_is_read_once_however_often_that_is_interrupted() {
    let failed = reads_a_long_absence(1000, 30, |_, source| Entry::imap(source, 1));
    assert_eq!(failed, 1000 * 30 - 1 + 3);
}

/// Each of these sources has attempts in every hour, so that what the witnesses owe one another began before any window.
#[test]
fn sources_that_are_never_silent_are_counted_once_too() {
    reads_a_long_absence(100, 300, |dice, source| match dice.roll(3) {
        0 => Entry::pam(source),
        n => Entry::imap(source, u32::try_from(n).unwrap()),
    });
}
