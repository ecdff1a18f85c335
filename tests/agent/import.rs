//! `banjour import-fail2ban`: fail2ban's settings become banjour's, and its bans the agent's.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::command::printed;
use crate::host::Host;
use crate::journal::now;
use crate::polkit::{Answer, Polkit};

const HOUR: i64 = 3600;
const TEN_YEARS: u64 = 3650 * 86400;

/// As an admin has it who followed a howto.
const JAILS: &str = "\
[DEFAULT]
bantime = 1h
ignoreip = 127.0.0.1/8 198.18.9.0/24
[sshd]
enabled = true
[dovecot]
enabled = true
filter = dovecot
maxretry = 5
[postfix]
enabled = true
filter = postfix[mode=aggressive]
bantime = 2h
[exim]
enabled = true
filter = exim
";

/// Tables as fail2ban has made them since 0.11.
const TABLES: &str = "
PRAGMA foreign_keys = OFF;
CREATE TABLE fail2banDb(version INTEGER);
INSERT INTO fail2banDb VALUES(4);
CREATE TABLE jails(name TEXT NOT NULL UNIQUE, enabled INTEGER NOT NULL DEFAULT 1);
CREATE TABLE bans(jail TEXT NOT NULL, ip TEXT, timeofban INTEGER NOT NULL, bantime INTEGER NOT NULL,
    bancount INTEGER NOT NULL DEFAULT 1, data JSON, FOREIGN KEY(jail) REFERENCES jails(name));
CREATE TABLE bips(ip TEXT NOT NULL, jail TEXT NOT NULL, timeofban INTEGER NOT NULL, bantime INTEGER NOT NULL,
    bancount INTEGER NOT NULL DEFAULT 1, data JSON, PRIMARY KEY(ip, jail), FOREIGN KEY(jail) REFERENCES jails(name));
";

/// And up to 0.10.
const OLD_TABLES: &str = "
PRAGMA foreign_keys = OFF;
CREATE TABLE fail2banDb(version INTEGER);
INSERT INTO fail2banDb VALUES(2);
CREATE TABLE jails(name TEXT NOT NULL UNIQUE, enabled INTEGER NOT NULL DEFAULT 1);
CREATE TABLE bans(jail TEXT NOT NULL, ip TEXT, timeofban INTEGER NOT NULL, data JSON,
    FOREIGN KEY(jail) REFERENCES jails(name));
";

fn seconds() -> i64 {
    i64::try_from(now() / 1_000_000).unwrap()
}

/// A host with fail2ban's files, and where its database is.
fn host() -> (Host, PathBuf) {
    let host = Host::new();
    host.write("etc/fail2ban/jail.local", JAILS);
    let database = host.path("fail2ban.sqlite3");
    let settings = format!("[Definition]\ndbfile = {}\n", database.display());
    host.write("etc/fail2ban/fail2ban.local", &settings);
    (host, database)
}

fn import(host: &Host, arguments: &[&str]) -> Output {
    let directory = host.path("etc/fail2ban").display().to_string();
    host.banjour(&[&["import-fail2ban", &directory], arguments].concat())
}

fn imported(host: &Host, arguments: &[&str]) -> Value {
    let text = printed(&import(host, &[&["--json"], arguments].concat()), 0);
    serde_json::from_str(&text).unwrap()
}

fn configure(host: &Host) {
    let toml = printed(&import(host, &[]), 0);
    host.write("etc/banjour/banjour.toml.d/fail2ban.toml", &toml);
}

/// A new database with the last bans of these jails and addresses, so many seconds ago.
fn database(path: &PathBuf, bans: &[(&str, &str, i64, i64)]) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(TABLES).unwrap();
    for (jail, address, ago, time) in bans {
        connection
            .execute(
                "INSERT INTO bips(ip, jail, timeofban, bantime, data) VALUES(?1, ?2, ?3, ?4, '{}')",
                (address, jail, seconds() - ago, time),
            )
            .unwrap();
    }
    connection
}

#[test]
fn settings_are_printed_without_an_agent_and_an_agent_takes_them() {
    let (host, _) = host();
    configure(&host);
    let agent = host.start();
    let jails = agent.run(agent.manager().jails()).unwrap();
    assert_eq!(jails, ["dovecot", "manual", "postfix", "postfix-sasl"]);
    let [dovecot, postfix] = ["dovecot", "postfix"].map(|name| agent.jail(name));
    assert_eq!(agent.run(dovecot.attempts()), Ok(5));
    assert_eq!(agent.run(postfix.ban_time_usec()), Ok(7_200_000_000));
    let refusal = agent.ban("198.18.9.7", "", 0).unwrap_err();
    assert_eq!(refusal.name, "SourceIgnored");
    let settings = imported(&host, &[]);
    assert_eq!(settings["jails"][0]["filters"], json!(["dovecot"]));
    assert_eq!(
        (&settings["others"], &settings["without_filter"]),
        (&json!(["sshd"]), &json!(["exim"]))
    );
}

#[test]
fn bans_in_force_are_taken_over_with_the_time_that_is_left() {
    let (host, path) = host();
    configure(&host);
    let _writer = database(
        &path,
        &[
            ("dovecot", "198.18.0.1", 600, HOUR),
            ("dovecot", "198.18.0.2", HOUR + 5, HOUR),
            ("dovecot", "2001:db8:bad::1", 5, 86400),
            ("dovecot", "198.18.0.3", 86400, -1),
            ("postfix", "198.18.0.1", 0, HOUR),
            ("dovecot", "198.18.9.1", 0, HOUR),
            ("dovecot", "mail.example\n", 0, HOUR),
            ("exim", "198.18.0.4", 0, HOUR),
            ("postfix-sasl", "198.18.0.5", 0, HOUR),
            ("cyrus-imap", "198.18.0.6", 0, HOUR),
            ("sshd", "198.18.0.7", 0, HOUR),
        ],
    );
    let agent = host.start();
    let text = printed(&import(&host, &["--bans"]), 0);
    for line in [
        "took over 7 bans: 3 in jail dovecot, 2 in jail manual, 1 in jail postfix, 1 in jail postfix-sasl",
        "1 ban: over",
        "1 ban: not of mail jails, stays with fail2ban (sshd)",
        "refused 198.18.9.1: 198.18.9.1 is never banned: 198.18.9.0/24 stands in \"ignore\"",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}: {text}");
    }
    assert!(text.contains("refused \"mail.example\\n\": "), "{text}");
    assert_eq!(text.lines().count(), 5, "{text}");
    let left = |source: &str, jail: &str| {
        let bans = agent.bans();
        let ban = bans
            .iter()
            .find(|(banned, of, ..)| banned == source && of == jail);
        (ban.unwrap_or_else(|| panic!("{source} {jail}")).3 - now()) / 1_000_000
    };
    for (source, jail, expected) in [
        ("198.18.0.1", "dovecot", 3000),
        ("198.18.0.1", "postfix", 3600),
        ("2001:db8:bad::1", "dovecot", 86395),
        ("198.18.0.3", "dovecot", TEN_YEARS),
        ("198.18.0.4", "manual", 3600),
        ("198.18.0.5", "postfix-sasl", 3600),
        ("198.18.0.6", "manual", 3600),
    ] {
        let left = left(source, jail);
        assert!(
            (expected - 60..=expected).contains(&left),
            "{source} {jail}: {left}"
        );
    }

    // The second time there is nothing to do, and a longer ban of the agent's stays.
    agent
        .ban("198.18.0.1", "dovecot", 3 * 3_600_000_000)
        .unwrap();
    let report = imported(&host, &["--bans"]);
    assert_eq!(
        (&report["taken_over"], &report["known"]),
        (&json!({}), &json!(7))
    );
    assert!(left("198.18.0.1", "dovecot") > 10_000);
}

#[test]
fn without_its_jail_a_ban_goes_to_manual() {
    let (host, path) = host();
    database(
        &path,
        &[
            ("postfix", "198.18.0.1", 0, HOUR),
            ("dovecot", "198.18.0.2", 0, HOUR),
        ],
    );
    let agent = host.start();
    printed(&import(&host, &["--bans"]), 0);
    assert_eq!(agent.banned(), ["198.18.0.1 manual", "198.18.0.2 dovecot"]);
}

/// What the jail says then decides how long they last; a later ban is the one that counts.
#[test]
fn bans_of_old_databases_have_no_length() {
    let (host, path) = host();
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(OLD_TABLES).unwrap();
    for (jail, address, ago) in [
        ("dovecot", "198.18.0.1", 5 * HOUR),
        ("dovecot", "198.18.0.1", HOUR / 2),
        ("dovecot", "198.18.0.2", HOUR + 5),
        ("postfix", "198.18.0.3", HOUR + 5),
    ] {
        let row = (jail, address, seconds() - ago);
        connection
            .execute(
                "INSERT INTO bans(jail, ip, timeofban, data) VALUES(?1, ?2, ?3, '{}')",
                row,
            )
            .unwrap();
    }
    configure(&host);
    let agent = host.start();
    let report = imported(&host, &["--bans"]);
    assert_eq!(report["over"], 1);
    assert_eq!(agent.banned(), ["198.18.0.1 dovecot", "198.18.0.3 postfix"]);
}

#[test]
fn the_database_may_be_in_use_and_elsewhere() {
    let (host, path) = host();
    let other = host.path("copy.sqlite3");
    let writer = database(&other, &[]);
    writer.pragma_update(None, "journal_mode", "WAL").unwrap();
    let now = seconds();
    writer
        .execute(
            "INSERT INTO bips VALUES('198.18.0.1', 'dovecot', ?1, 3600, 1, '{}')",
            [now],
        )
        .unwrap();
    writer
        .execute_batch("BEGIN IMMEDIATE; DELETE FROM bips")
        .unwrap();
    let agent = host.start();
    let other = other.display().to_string();
    printed(&import(&host, &["--bans", "--database", &other]), 0);
    assert_eq!(agent.banned(), ["198.18.0.1 dovecot"]);

    let writer = database(&path, &[]);
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let text = printed(&import(&host, &["--bans"]), 1);
    assert!(
        text.ends_with("database is locked\n") && text.lines().count() == 1,
        "{text}"
    );
}

#[test]
fn a_database_that_is_none_is_told_in_one_line() {
    let (host, path) = host();
    let _agent = host.start();
    let refused = |part: &str| {
        let text = printed(&import(&host, &["--bans"]), 1);
        let path = path.display().to_string();
        assert!(
            text.contains(&path) && text.contains(part) && text.lines().count() == 1,
            "{text}"
        );
    };
    refused("No such file");
    fs::write(&path, "").unwrap();
    refused("no database of fail2ban's");
    fs::write(&path, "hello\n".repeat(1000)).unwrap();
    refused("not a database");
    fs::remove_file(&path).unwrap();
    drop(database(&path, &[]));
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0xff);
    fs::write(&path, bytes).unwrap();
    refused("malformed");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused("is no file");
}

#[test]
fn rows_of_any_kind_are_no_end() {
    let (host, path) = host();
    let connection = database(&path, &[("dovecot", "198.18.0.1", 0, i64::MAX)]);
    connection
        .execute_batch(
            "INSERT INTO bips VALUES(x'ff00', 'dovecot', 1, 1, 1, ''), ('198.18.0.2', 'dovecot', 'x', 1, 1, ''),
             ('198.18.0.3', 'dovecot', 9e300, -1, 1, ''), (printf('%.9000c', '1'), 'dovecot', 1, -1, 1, ''),
             ('198.18.0.4', char(10) || 'sshd', 1, -1, 1, '')",
        )
        .unwrap();
    let agent = host.start();
    let text = printed(&import(&host, &["--bans"]), 0);
    assert!(
        text.contains("2 bans: not to be understood") && text.contains("(\\nsshd)"),
        "{text}"
    );
    assert!(text.len() < 1000, "{text}");
    assert_eq!(agent.banned(), ["198.18.0.1 dovecot", "198.18.0.3 dovecot"]);
}

#[test]
fn exit_codes_are_those_of_every_command() {
    let (host, path) = host();
    database(&path, &[("dovecot", "198.18.0.1", 0, HOUR)]);
    printed(&import(&host, &["--bans"]), 3);
    printed(&host.banjour(&["import-fail2ban", "/nonexistent"]), 1);
    printed(&import(&host, &["--database", "x"]), 2);
    let _polkit = Polkit::start(&host.bus, Answer::No);
    let agent = host.start();
    let directory = host.path("etc/fail2ban").display().to_string();
    let text = printed(
        &host.banjour_of_nobody(&["import-fail2ban", &directory, "--bans"]),
        4,
    );
    assert!(text.contains("not allowed"), "{text}");
    assert_eq!(agent.banned(), [""; 0]);
}
