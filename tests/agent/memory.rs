//! How much memory the agent takes, of that which is no file's.

use std::fs;

use rusqlite::params;

use crate::daemon::Agent;
use crate::helper::Kind;
use crate::host::{Host, until};
use crate::journal::now;

const BANS: u32 = 100_000;
/// In KiB.
const MIB: u64 = 1024;
const HOUR: u64 = 3_600_000_000;

impl Agent<'_> {
    /// `RssAnon` of `proc_pid_status(5)`, in KiB.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let mut lines = status.lines();
        let line = lines
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

/// How the service's unit has malloc(3) work.
fn environment() -> Vec<(&'static str, &'static str)> {
    let unit = include_str!("../../units/banjour.service");
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix("Environment="));
    let assignments = line.unwrap().split(' ');
    assignments
        .map(|assignment| assignment.split_once('=').unwrap())
        .collect()
}

/// Half of them IPv4 addresses, half networks of IPv6.
fn source(n: u32) -> String {
    let (high, low) = (n / 2 / 256, n / 2 % 256);
    if n.is_multiple_of(2) {
        format!("10.{}.{}.{low}", high / 256, high % 256)
    } else {
        format!("2001:db8:{high:x}:{low:x}::/64")
    }
}

/// As they are saved when sources have been banned for what they did.
fn save_bans(host: &Host) {
    assert!(host.start().stop().success());
    let mut database = rusqlite::Connection::open(host.state().join("banjour.db")).unwrap();
    let transaction = database.transaction().unwrap();
    let since = i64::try_from(now()).unwrap();
    let until = i64::try_from(now() + HOUR).unwrap();
    let cause = format!(
        r#"{{"attempts":{{"count":3,"first_usec":{since},"users":["info","admin","alice@example.org"]}}}}"#
    );
    for n in 0..BANS {
        let (source, jail) = (source(n), "dovecot");
        for (sql, parameters) in [
            (
                "INSERT INTO ban VALUES (?1, ?2, ?3, ?4, ?5)",
                params![source, jail, since, until, cause],
            ),
            (
                "INSERT INTO settled VALUES (?1, ?2, ?3)",
                params![source, jail, until],
            ),
            (
                "INSERT INTO history VALUES (?1, 1, ?2, ?3)",
                params![source, since, until],
            ),
        ] {
            let mut insert = transaction.prepare_cached(sql).unwrap();
            insert.execute(parameters).unwrap();
        }
    }
    transaction.commit().unwrap();
}

#[test]
fn an_idle_agent_is_small_and_one_with_a_hundred_thousand_bans_no_giant() {
    let host = Host::new();
    host.helper.install(Kind::Nftables, true);
    let agent = host.start_with(&environment());
    host.attempts("192.0.2.7", 3);
    agent.catches_up();
    let memory = agent.memory();
    eprintln!("idle: {memory} KiB");
    assert!(memory <= 6 * MIB);
    assert!(agent.stop().success());
    save_bans(&host);
    let agent = host.start_with(&environment());
    until("all bans are in force", || {
        let in_force = agent.run(agent.manager().in_force()).unwrap();
        (in_force >= BANS).then_some(())
    });
    let memory = agent.memory();
    eprintln!("{BANS} bans: {memory} KiB");
    assert!(memory <= 40 * MIB);
}
