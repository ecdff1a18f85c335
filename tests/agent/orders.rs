//! What the bus offers: orders, answers, errors, properties and signals.

use std::collections::BTreeMap;

use banjour::bus::PATH;
use tokio::task::JoinSet;
use zbus::OwnedVariant;

use crate::daemon::{Agent, Refusal, raw_call};
use crate::host::{Host, becomes};
use crate::journal::{Entry, now};

const HOUR: u64 = 3_600_000_000;
const MANAGER: &str = "org.banjour.Banjour1.Manager";
const LOG_CONTROL: &str = "/org/freedesktop/LogControl1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

fn name<T: std::fmt::Debug>(answer: Result<T, Refusal>) -> String {
    answer.unwrap_err().name
}

#[test]
fn an_admins_ban_stands_in_jail_manual_for_the_jails_time() {
    let host = Host::new();
    host.configure("[jail.manual]\nban-time = \"2h\"\n");
    let agent = host.start();
    let before = now();
    agent.ban("198.18.0.1", "", 0).unwrap();
    agent.ban("198.18.0.1", "dovecot", 5_000_000).unwrap();
    let bans = agent.bans();
    let rows: BTreeMap<_, _> = bans
        .iter()
        .map(|(source, jail, since, until)| {
            assert!((before..=now()).contains(since));
            ((source.as_str(), jail.as_str()), until - since)
        })
        .collect();
    assert_eq!(
        rows,
        BTreeMap::from([
            (("198.18.0.1", "dovecot"), 5_000_000),
            (("198.18.0.1", "manual"), 2 * HOUR)
        ])
    );
}

#[test]
fn a_second_ban_stands_in_the_place_of_the_first() {
    let host = Host::new();
    let agent = host.start();
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    agent.ban("198.18.0.1", "", 3 * HOUR).unwrap();
    let bans = agent.bans();
    assert_eq!(bans.len(), 1);
    assert_eq!(bans[0].3 - bans[0].2, 3 * HOUR);
}

#[test]
fn sources_have_one_spelling() {
    let host = Host::new();
    let agent = host.start();
    for (spelling, shown) in [
        ("198.18.0.1/32", "198.18.0.1"),
        ("198.18.7.7/24", "198.18.7.0/24"),
        ("::ffff:198.18.0.2", "198.18.0.2"),
        ("2001:DB8:BAD:0::7", "2001:db8:bad::7"),
        ("2001:db8:bad::7/48", "2001:db8:bad::/48"),
    ] {
        agent.ban(spelling, "", HOUR).unwrap();
        assert_eq!(agent.banned(), [format!("{shown} manual")]);
        assert_eq!(agent.unban(spelling, ""), Ok(1), "{spelling}");
    }
}

#[test]
fn unban_answers_how_many_bans_it_lifted() {
    let host = Host::new();
    let agent = host.start();
    let signals = host.listen();
    assert_eq!(agent.unban("198.18.0.1", ""), Ok(0));
    assert_eq!(agent.unban("198.18.0.1", "dovecot"), Ok(0));
    for jail in ["dovecot", "manual", "postfix-sasl"] {
        agent.ban("198.18.0.1", jail, HOUR).unwrap();
    }
    agent.ban("198.18.0.2", "dovecot", HOUR).unwrap();
    assert_eq!(agent.unban("198.18.0.1", "dovecot"), Ok(1));
    assert_eq!(agent.unban("198.18.0.1", ""), Ok(2));
    assert_eq!(agent.banned(), ["198.18.0.2 dovecot"]);
    let mut heard = signals.hear("BanRemoved 198.18.0.1 postfix-sasl unbanned");
    heard.retain(|signal| signal.starts_with("Ban"));
    assert_eq!(
        heard,
        [
            "BanNew 198.18.0.1 dovecot",
            "BanNew 198.18.0.1 manual",
            "BanNew 198.18.0.1 postfix-sasl",
            "BanNew 198.18.0.2 dovecot",
            "BanRemoved 198.18.0.1 dovecot unbanned",
            "BanRemoved 198.18.0.1 manual unbanned",
            "BanRemoved 198.18.0.1 postfix-sasl unbanned"
        ]
    );
}

/// Who lifts a ban forgives what led to it.
#[test]
fn after_an_unban_the_count_begins_anew() {
    let host = Host::new();
    let agent = host.start();
    host.attempts("198.18.0.1", 3);
    becomes(&["198.18.0.1 dovecot"][..], || agent.banned());
    agent.unban("198.18.0.1", "").unwrap();
    host.attempts("198.18.0.1", 2);
    agent.catches_up();
    assert_eq!(agent.banned(), [""; 0]);
    host.attempts("198.18.0.1", 1);
    becomes(&["198.18.0.1 dovecot"][..], || agent.banned());
}

#[test]
fn errors_have_names() {
    let host = Host::new();
    host.configure("ignore = [\"198.18.9.0/24\"]\n");
    let agent = host.start();
    let manager = agent.manager();

    for source in [
        "",
        "mail.example",
        "198.18.0",
        "198.18.0.1/33",
        "198.18.0.1 ",
        "fe80::1%eth0",
    ] {
        assert_eq!(name(agent.ban(source, "", 0)), "InvalidSource", "{source}");
        assert_eq!(name(agent.unban(source, "")), "InvalidSource", "{source}");
    }
    assert_eq!(
        name(agent.run(manager.ban("198.18.0.1", "", 0, 1))),
        "InvalidFlags"
    );
    assert_eq!(
        name(agent.run(manager.unban("198.18.0.1", "", 1 << 63))),
        "InvalidFlags"
    );
    assert_eq!(
        name(agent.ban("198.18.0.1", "", u64::MAX)),
        "InvalidDuration"
    );
    assert_eq!(name(agent.ban("198.18.0.1", "nosuch", 0)), "NoSuchJail");
    assert_eq!(name(agent.unban("198.18.0.1", "nosuch")), "NoSuchJail");
    for source in [
        "198.18.9.1",
        "198.18.0.0/16",
        "127.0.0.1",
        "::1",
        "0.0.0.0/0",
    ] {
        assert_eq!(name(agent.ban(source, "", 0)), "SourceIgnored", "{source}");
    }
    host.configure("nonsense\n");
    assert_eq!(name(agent.reload()), "ReloadFailed");
    assert_eq!(agent.banned(), [""; 0]);

    // Each says what was wrong and what is allowed, in one line.
    let text = agent.ban("198.18.0.1", "nosuch\n", 0).unwrap_err().text;
    assert!(
        text.contains("\"nosuch\\n\"") && text.contains("dovecot, manual, postfix-sasl"),
        "{text}"
    );
}

#[test]
fn properties_tell_how_things_are() {
    let host = Host::new();
    host.configure(
        "[jail.dovecot]\nattempts = 5\nwindow = \"10min\"\nban-time = \"1d\"\n[jail.postfix-sasl]\nenabled = false\n",
    );
    let agent = host.start();
    let manager = agent.manager();
    assert_eq!(
        agent.run(manager.version()).unwrap(),
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(agent.run(manager.firewall()).unwrap(), "");
    assert_eq!(agent.run(manager.in_force()), Ok(0));
    assert_eq!(agent.run(manager.jails()).unwrap(), ["dovecot", "manual"]);
    assert_eq!(agent.run(manager.currently_banned()), Ok(0));

    let jail = agent.jail("dovecot");
    assert_eq!(agent.run(jail.name()).unwrap(), "dovecot");
    assert_eq!(agent.run(jail.filters()).unwrap(), ["dovecot"]);
    assert_eq!(agent.run(jail.attempts()), Ok(5));
    assert_eq!(agent.run(jail.window_usec()), Ok(HOUR / 6));
    assert_eq!(agent.run(jail.ban_time_usec()), Ok(24 * HOUR));

    host.journal.write(&Entry::imap("198.18.0.1", 4));
    host.journal.write(&Entry::imap("198.18.0.2", 7));
    becomes(&["198.18.0.2 dovecot"][..], || agent.banned());
    agent.ban("198.18.0.3", "", HOUR).unwrap();
    assert_eq!(agent.totals(), (11, 2));
    assert_eq!(agent.run(manager.currently_banned()), Ok(2));
    assert_eq!(agent.run(jail.currently_failed()), Ok(1));
    assert_eq!(agent.run(jail.total_failed()), Ok(11));
    assert_eq!(agent.run(jail.currently_banned()), Ok(1));
    assert_eq!(agent.run(jail.total_banned()), Ok(1));
    agent.unban("198.18.0.2", "").unwrap();
    assert_eq!(agent.totals(), (11, 2));
    assert_eq!(agent.run(manager.currently_banned()), Ok(1));

    // An ordinary client asks for all at once.
    for (path, interface, count) in [
        (PATH, MANAGER, 8),
        (
            "/org/banjour/Banjour1/jail/dovecot",
            "org.banjour.Banjour1.Jail",
            9,
        ),
    ] {
        let answer = raw_call(&host, path, PROPERTIES, "GetAll", &interface).unwrap();
        let all: BTreeMap<String, OwnedVariant> = answer.body().deserialize().unwrap();
        assert_eq!(all.len(), count, "{all:?}");
    }
}

#[test]
fn what_is_not_there_is_answered_with_the_bus_own_errors() {
    let host = Host::new();
    let agent = host.start();
    assert_eq!(
        name(raw_call(&host, PATH, MANAGER, "Nonsense", &())),
        "UnknownMethod"
    );
    assert_eq!(
        name(raw_call(&host, PATH, MANAGER, "Ban", &"198.18.0.1")),
        "InvalidArgs"
    );
    assert_eq!(
        name(agent.run(agent.jail("nosuch").list_bans())),
        "UnknownObject"
    );
    assert_eq!(agent.banned(), [""; 0]);
}

#[test]
fn the_log_level_is_shown_and_set() {
    let host = Host::new();
    let _agent = host.start();
    let get = |property: &str| {
        let body = ("org.freedesktop.LogControl1", property);
        let answer = raw_call(&host, LOG_CONTROL, PROPERTIES, "Get", &body).unwrap();
        let value: OwnedVariant = answer.body().deserialize().unwrap();
        String::try_from(value).unwrap()
    };
    let set = |level: &str| {
        let body = (
            "org.freedesktop.LogControl1",
            "LogLevel",
            zbus::Variant::from(level),
        );
        raw_call(&host, LOG_CONTROL, PROPERTIES, "Set", &body)
    };
    assert_eq!(get("LogLevel"), "info");
    assert_eq!(get("SyslogIdentifier"), "banjourd");
    for level in ["debug", "warning", "err", "info"] {
        set(level).unwrap();
        assert_eq!(get("LogLevel"), level);
    }
    let refusal = set("loud").unwrap_err();
    assert_eq!(refusal.name, "InvalidArgs");
    assert!(refusal.text.contains("warning"), "{}", refusal.text);
    assert_eq!(get("LogLevel"), "info");
}

/// Many callers at once, while the journal brings evidence: nothing is lost and nobody waits for long.
#[test]
fn orders_and_evidence_do_not_get_in_one_anothers_way() {
    let host = Host::new();
    let agent = host.start();
    let manager = agent.manager();
    for n in 0..200 {
        host.attempts(&format!("198.18.1.{}", n % 100 + 1), 3);
    }
    host.bus.run(async {
        let mut orders = JoinSet::new();
        for n in 1..=100 {
            let manager = manager.clone();
            orders.spawn(async move { manager.ban(&format!("198.18.2.{n}"), "", HOUR, 0).await });
        }
        while let Some(answer) = orders.join_next().await {
            answer.unwrap().unwrap();
        }
    });
    becomes(&200, || agent.banned().len());
    assert!(is_sorted(&agent));
}

fn is_sorted(agent: &Agent<'_>) -> bool {
    agent
        .bans()
        .is_sorted_by_key(|(source, ..)| source.parse::<std::net::IpAddr>().unwrap())
}
