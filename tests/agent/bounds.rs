//! More of everything than the agent remembers.

use crate::host::{Host, becomes, until};
use crate::journal::{Entry, now};

const MINUTE: u64 = 60_000_000;

/// `imap-login` tells whatever name a client makes up.
fn failure(source: &str, user: &str) -> Entry {
    let message = format!(
        "imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<{user}>, method=PLAIN, \
         rip={source}, lip=192.0.2.2, session=<E0Rab91gY9LGEgAE>"
    );
    Entry::of("dovecot.service", 0, &message)
}

#[test]
fn a_flood_of_sources_and_names_is_a_problem_and_the_rest_goes_on() {
    let host = Host::new();
    host.write("etc/banjour/banjour.toml.d/00-test.toml", "");
    host.configure("network-sources = 0\n[jail.dovecot]\nmax-sources = 1000\n");
    let agent = host.start();
    for n in 0..=16_384 {
        let source = format!("198.18.{}.{}", n / 250 % 250, n % 250);
        host.journal.write(&failure(&source, &format!("name{n}")));
    }
    becomes(&16_385, || agent.totals().0);
    let said = until("both are told", || {
        let problems = agent.problems().join("\n");
        let parts = ["jail dovecot remembers", "more names are tried"];
        parts
            .iter()
            .all(|part| problems.contains(part))
            .then_some(problems)
    });
    assert_eq!(said.matches("more sources fail than").count(), 1, "{said}");
    host.attempts("203.0.113.1", 3);
    becomes(&["203.0.113.1 dovecot"][..], || agent.banned());
}

/// What no restart needs any more is not kept for it.
#[test]
fn what_was_settled_long_ago_leaves_the_state_while_the_agent_runs() {
    let host = Host::new();
    assert!(host.start().stop().success());
    let path = host.state().join("banjour.db");
    let database = rusqlite::Connection::open(path).unwrap();
    for (source, minutes) in [("198.18.0.1", 70), ("198.18.0.2", 60)] {
        let then = i64::try_from(now() - minutes * MINUTE).unwrap();
        let insert = "INSERT INTO settled VALUES (?, 'dovecot', ?)";
        database
            .execute(insert, rusqlite::params![source, then])
            .unwrap();
    }
    let _agent = host.start();
    host.attempts("198.18.0.3", 3);
    becomes(&["198.18.0.2", "198.18.0.3"].map(str::to_owned)[..], || {
        let mut rows = database.prepare("SELECT source FROM settled").unwrap();
        let rows = rows.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<Vec<String>, _>>().unwrap()
    });
}
