//! Whom the agent bans, and whom not: customers with stale passwords, those who come back, networks, botnets.

use std::fs;

use crate::daemon::Agent;
use crate::firewalld::Firewalld;
use crate::host::{Host, becomes};
use crate::journal::{Entry, now};

const HOUR: u64 = 3_600_000_000;
const MINUTE: u64 = 60_000_000;

/// `imap-login`'s line for one failed attempt under a name.
pub(crate) fn failure(source: &str, user: &str) -> Entry {
    let message = format!(
        "imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<{user}>, method=PLAIN, \
         rip={source}, lip=192.0.2.2, session=<E0Rab91gY9LGEgAE>"
    );
    Entry::of("dovecot.service", 0, &message)
}

/// The same for a login.
pub(crate) fn login(source: &str, user: &str) -> Entry {
    let message = format!(
        "imap-login: Login: user=<{user}>, method=PLAIN, rip={source}, lip=192.0.2.2, mpid=1, session=<E0Rab91gY9LGEgAF>"
    );
    Entry::of("dovecot.service", 0, &message)
}

/// A host with the defaults, but for these settings.
pub(crate) fn host(settings: &str) -> Host {
    let host = Host::new();
    host.write("etc/banjour/banjour.toml.d/00-test.toml", "");
    host.configure(settings);
    host
}

fn banned(agent: &Agent<'_>, source: &str) -> bool {
    agent.bans().iter().any(|(banned, ..)| banned == source)
}

/// How long the ban of a source lasts, in hours.
#[track_caller]
fn hours(agent: &Agent<'_>, source: &str) -> u64 {
    let bans = agent.bans();
    let ban = bans.iter().find(|(banned, ..)| banned == source);
    let (.., since, until) = ban.unwrap_or_else(|| panic!("{source} is not among {bans:?}"));
    (until - since) / HOUR
}

/// Thirty good accounts behind one address, and one phone with a stale password, for a day.
#[test]
fn an_office_with_a_stale_phone_is_not_banned() {
    let host = host("");
    let office = "198.51.100.7";
    let start = now() - 24 * HOUR;
    let mut at = start;
    for n in 0..30 {
        at += 1;
        host.journal
            .write_at(at, &login(office, &format!("user{n}")));
    }
    while at < now() - MINUTE {
        at += MINUTE;
        host.journal.write_at(at, &failure(office, "user7"));
    }
    let agent = host.start();
    agent.catches_up();
    assert!(!banned(&agent, office), "{:?}", agent.bans());
    // Which is no licence to guess others.
    for _ in 0..3 {
        host.journal.write(&failure(office, "boss"));
    }
    becomes(&true, || banned(&agent, office));
}

#[test]
fn a_customer_is_remembered_over_a_restart_and_has_a_limit_of_his_own() {
    let host = host("[jail.dovecot]\ncustomer-attempts = 50\n");
    let home = "198.51.100.7";
    let agent = host.start();
    host.journal.write(&login(home, "Bob@example.org"));
    agent.catches_up();
    drop(agent);
    let agent = host.start();
    for _ in 0..49 {
        host.journal.write(&failure(home, "bob@example.org"));
    }
    agent.catches_up();
    assert!(!banned(&agent, home));
    host.journal.write(&failure(home, "bob"));
    becomes(&true, || banned(&agent, home));
}

#[test]
fn a_login_long_ago_makes_no_customer() {
    let host = host("trust-time = \"30min\"\n");
    let home = "198.51.100.7";
    host.journal
        .write_at(now() - 31 * MINUTE, &login(home, "bob"));
    let agent = host.start();
    for _ in 0..3 {
        host.journal.write(&failure(home, "bob"));
    }
    becomes(&true, || banned(&agent, home));
}

#[test]
fn who_comes_back_is_banned_for_longer_also_after_a_restart() {
    let host = host("[jail.dovecot]\nban-time-factor = 3\nban-time-max = \"8h\"\n");
    let mut agent = host.start();
    for lasts in [1, 3, 8, 8] {
        host.attempts("198.51.100.7", 3);
        becomes(&true, || banned(&agent, "198.51.100.7"));
        assert_eq!(hours(&agent, "198.51.100.7"), lasts);
        // By hand, as if it had ended, without forgiving what was before: an unban forgives.
        host.configure("[jail.dovecot]\nenabled = false\n");
        agent.reload().unwrap();
        becomes(&false, || banned(&agent, "198.51.100.7"));
        host.configure("[jail.dovecot]\nban-time-factor = 3\nban-time-max = \"8h\"\n");
        agent.stop();
        end_bans(&host);
        agent = host.start();
    }
    host.attempts("198.51.100.7", 3);
    becomes(&true, || banned(&agent, "198.51.100.7"));
    agent.unban("198.51.100.7", "").unwrap();
    host.attempts("198.51.100.7", 3);
    becomes(&true, || banned(&agent, "198.51.100.7"));
    assert_eq!(hours(&agent, "198.51.100.7"), 1);
}

/// A ban deals with what a source does until it ends: now.
fn end_bans(host: &Host) {
    let db = rusqlite::Connection::open(host.state().join("banjour.db")).unwrap();
    let now = i64::try_from(now()).unwrap();
    db.execute("UPDATE settled SET until = ?", [now]).unwrap();
    db.execute("UPDATE history SET until = ?", [now]).unwrap();
}

#[test]
fn a_real_servers_list_becomes_three_networks_and_seven_hosts() {
    let host = host("");
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    let signals = host.listen();
    for (network, hosts) in [
        ("46.38.150", &[142, 188, 190, 191, 193, 203][..]),
        ("46.38.145", &[5, 6, 248, 249, 250, 251, 252, 253, 254]),
        ("185.143.72", &[16, 23, 25, 27, 34]),
        ("185.143.75", &[81, 153]),
        ("87.246.7", &[66, 70]),
        ("212.70.149", &[2, 18]),
        ("141.98.80", &[150]),
    ] {
        for host_number in hosts {
            let source = format!("{network}.{host_number}");
            // By name, so that no account is under attack.
            for _ in 0..3 {
                host.journal.write(&failure(&source, &source));
            }
        }
    }
    let all = [
        "141.98.80.150",
        "185.143.72.0/24",
        "185.143.75.153",
        "185.143.75.81",
        "212.70.149.18",
        "212.70.149.2",
        "46.38.145.0/24",
        "46.38.150.0/24",
        "87.246.7.66",
        "87.246.7.70",
    ];
    firewalld.holds(&all);
    assert_eq!(agent.banned().len(), 10, "{:?}", agent.banned());
    signals.hear("BanNew 46.38.150.0/24 dovecot");
    signals.hear("BanRemoved 46.38.150.142 dovecot network");
    assert_eq!(agent.problems(), [""; 0]);
    // An admin's unban of the network forgives all that is in it.
    assert_eq!(agent.unban("46.38.150.0/24", ""), Ok(1));
    host.journal.write(&failure("46.38.150.142", "x"));
    agent.catches_up();
    assert!(!banned(&agent, "46.38.150.142"));
    for _ in 0..2 {
        host.journal.write(&failure("46.38.150.142", "x"));
    }
    becomes(&true, || banned(&agent, "46.38.150.142"));
}

#[test]
fn a_network_with_a_customer_or_an_ignored_source_in_it_is_not_banned() {
    let host = host("ignore = [\"198.51.100.200\"]\n");
    let agent = host.start();
    host.journal.write(&login("203.0.113.77", "alice"));
    for network in ["198.51.100", "203.0.113", "45.66.7"] {
        for n in 1..=5 {
            let source = format!("{network}.{n}");
            for _ in 0..3 {
                host.journal.write(&failure(&source, &source));
            }
        }
    }
    agent.catches_up();
    assert!(banned(&agent, "45.66.7.0/24"), "{:?}", agent.banned());
    assert!(banned(&agent, "198.51.100.5") && banned(&agent, "203.0.113.5"));
    assert_eq!(agent.banned().len(), 11);
}

/// 500 addresses, two attempts each, on one account.
#[test]
fn a_botnet_is_banned_at_its_first_failures_after_the_tenth_address() {
    let host = host("");
    let agent = host.start();
    let signals = host.listen();
    host.journal.write(&login("203.0.113.7", "alice"));
    let bot = |n: usize| format!("198.{}.{}.7", 18 + n / 250, n % 250);
    for n in 0..500 {
        host.journal.write(&failure(&bot(n), "Alice"));
    }
    signals.hear("AccountUnderAttack Alice 10");
    becomes(&490, || agent.banned().len());
    // The customer mistypes at home, in the middle of it.
    for _ in 0..9 {
        host.journal.write(&failure("203.0.113.7", "alice"));
    }
    // Somebody else does, elsewhere.
    host.journal.write(&failure("203.0.113.8", "bob"));
    for n in 0..500 {
        host.journal.write(&failure(&bot(n), "alice"));
    }
    becomes(&500, || agent.banned().len());
    agent.catches_up();
    assert_eq!(agent.banned().len(), 500);
    assert!(!banned(&agent, "203.0.113.7") && !banned(&agent, "203.0.113.8"));
}

#[test]
fn who_observes_tells_and_bans_nobody() {
    let host = host("mode = \"observe\"\n[jail.postfix-sasl]\nmode = \"enforce\"\n");
    let agent = host.start();
    host.attempts("198.51.100.7", 3);
    becomes(&3, || agent.totals().0);
    for _ in 0..3 {
        host.journal
            .write(&Entry::smtpd("postfix.service", "198.51.100.8"));
    }
    becomes(&["198.51.100.8 postfix-sasl"][..], || agent.banned());
    host.configure("");
    agent.reload().unwrap();
    host.attempts("198.51.100.9", 3);
    becomes(&true, || banned(&agent, "198.51.100.9"));
    assert!(!banned(&agent, "198.51.100.7"));
}

/// PAM does not know the customers, whom a password file knows. What two logins have shown is not forgotten with the
/// agent, nor with the journal that told of them.
#[test]
fn which_database_is_asked_next_is_known_after_a_restart() {
    let host = host("");
    let unknown = |source: &str, user: &str| {
        let message = format!(
            "pam_unix(dovecot:auth): authentication failure; logname= uid=0 euid=0 tty=dovecot ruser={user} rhost={source} "
        );
        host.journal
            .write(&Entry::of("dovecot.service", 0, &message));
    };
    let counted = |agent: &Agent<'_>, source: &str| {
        agent.catches_up();
        let known = agent.run(agent.manager().why(source, 0)).unwrap();
        known.jails.iter().map(|jail| jail.attempts).sum::<u32>()
    };
    let agent = host.start();
    unknown("198.51.100.1", "eve");
    assert_eq!(counted(&agent, "198.51.100.1"), 1);
    for (source, user) in [("198.51.100.2", "carol"), ("198.51.100.3", "dan")] {
        unknown(source, user);
        host.journal.write(&login(source, user));
    }
    unknown("198.51.100.4", "eve");
    assert_eq!(counted(&agent, "198.51.100.4"), 0);
    agent.stop();
    let archived = host.journal.rotate();
    fs::remove_file(archived).unwrap();
    let agent = host.start();
    unknown("198.51.100.5", "eve");
    assert_eq!(counted(&agent, "198.51.100.5"), 0);
}
