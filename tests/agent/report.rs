//! `banjour report`, on a week that the test makes up: guessers who come by day more than by night, and come back.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::browser::{Browser, Scheme};
use crate::command::printed;
use crate::host::Host;
use crate::journal::{Entry, Journal, MACHINE, now};

const MINUTE: u64 = 60_000_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const GUESSERS: u64 = 120;
/// A system account of the host that the journal comes from.
const POSTFIX: u32 = 110;

/// Names that would do something in a page, or to a line, if they could.
const HOSTILE: [&str; 4] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "eve\u{202e}nimda",
    "</svg></style><h1>owned",
];

fn imap(service: &str, method: &str, source: &str, user: &str) -> Entry {
    let message = format!(
        "{service}-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<{user}>, \
         method={method}, rip={source}, lip=192.0.2.2, session=<E0Rab91gY9LGEgAE>"
    );
    Entry::of("dovecot.service", 0, &message)
}

fn login(source: &str, user: &str) -> Entry {
    let message = format!(
        "imap-login: Login: user=<{user}>, method=PLAIN, rip={source}, lip=192.0.2.2, mpid=7, session=<x>"
    );
    Entry::of("dovecot.service", 0, &message)
}

fn smtp(source: &str, user: &str) -> Entry {
    let message = format!(
        "warning: unknown[{source}]: SASL LOGIN authentication failed: (reason unavailable), sasl_username={user}"
    );
    Entry::of("postfix.service", POSTFIX, &message)
}

/// Numbers that look like chance, and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// A time up to so many minutes, to the µs.
    fn minutes(&mut self, limit: u64) -> u64 {
        self.below(limit) * MINUTE + self.below(MINUTE)
    }
}

/// What the test knows of the week that it made up.
struct Week {
    since: u64,
    attempts: u64,
    bans: u64,
    /// Who was banned, and logged in later.
    suspect: String,
}

/// Writes a week of attacks, and what the agent did about them, into a journal below `root`.
fn write_week(root: &Path) -> Week {
    let names = [
        "info",
        "admin",
        "test",
        "bob",
        "sales",
        "contact",
        "office",
        "postmaster",
        "alice",
        "support",
    ];
    // Behind the entry with which the journal begins.
    let since = now() - 8 * DAY;
    let mut chance = Chance(42);
    let mut entries: Vec<(u64, Entry)> = Vec::new();
    let mut week = Week {
        since,
        attempts: 0,
        bans: 0,
        suspect: String::new(),
    };
    for guesser in 0..GUESSERS {
        // Few networks have most of them, and some never stop.
        let network = chance.below(6) * chance.below(6);
        let source = format!("198.18.{network}.{}", guesser + 1);
        if week.suspect.is_empty() {
            week.suspect.clone_from(&source);
        }
        let (mut at, mut bans) = (since + chance.minutes(5 * 24 * 60), 0);
        for _ in 0..=chance.below(4) * chance.below(4) {
            // By night, most wait.
            let hour = at / HOUR % 24;
            if !(7..20).contains(&hour) && chance.below(4) > 0 {
                at += (31 - hour) % 24 * HOUR + chance.minutes(9 * 60);
            }
            for _ in 0..3 {
                at += MINUTE + chance.minutes(15);
                let user = match chance.below(40) {
                    0 => HOSTILE[usize::try_from(chance.below(4)).unwrap()],
                    n => names[usize::try_from(n % 10 * (n / 10) % 10).unwrap()],
                };
                let entry = match chance.below(10) {
                    0..5 => smtp(&source, user),
                    5..9 => imap("imap", "PLAIN", &source, user),
                    _ => imap("pop3", "LOGIN", &source, user),
                };
                entries.push((at, entry));
                week.attempts += 1;
            }
            let until = at + (HOUR << bans);
            entries.push((at + 1000, Entry::ban(&source, "dovecot", until)));
            entries.push((until, Entry::unban(&source, "dovecot", "expired")));
            week.bans += 1;
            bans = (bans + 1).min(7);
            at = until + chance.minutes(8 * 60);
            if at > since + 7 * DAY - 12 * HOUR {
                break;
            }
        }
    }
    // A customer with a new phone, and one who is let in again after too many mistakes.
    entries.push((since + DAY, login("203.0.113.7", "alice")));
    for n in 1..=20 {
        let at = since + DAY + n * 10 * MINUTE;
        entries.push((at, imap("imap", "PLAIN", "203.0.113.7", "alice")));
    }
    entries.push((since + 3 * DAY, login(&week.suspect, "carol")));
    entries.retain(|(at, _)| *at < now() - HOUR);
    entries.sort_by_key(|(at, _)| *at);
    let journal = Journal::begin_at(root, MACHINE, since - HOUR);
    for (at, entry) in &entries {
        journal.write_at(*at, entry);
    }
    journal.rotate();
    week
}

/// The week's journal and the arguments with which to report on it.
struct Reported {
    host: Host,
    week: Week,
    directory: String,
    since: String,
}

impl Reported {
    fn new() -> Self {
        let host = Host::new();
        let root = host.path("another-host");
        let week = write_week(&root);
        let directory = root.join("var/log/journal").display().to_string();
        let since = format!("@{}", week.since / 1_000_000);
        Self {
            host,
            week,
            directory,
            since,
        }
    }

    fn run(&self, more: &[&str]) -> String {
        let place = ["--directory", &self.directory, "--since", &self.since];
        let out = self.host.banjour(&[&["report"], &place[..], more].concat());
        printed(&out, 0)
    }

    fn json(&self, more: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[&["--json"], more].concat())).unwrap()
    }
}

#[test]
fn a_week_is_summed_up_and_each_attempt_counts_once() {
    let reported = Reported::new();
    let report = reported.json(&[]);
    let week = &reported.week;
    assert_eq!(report["attempts"], week.attempts);
    assert_eq!(report["source_count"], GUESSERS);
    assert_eq!(report["attempts_of_customers"], 20);
    assert_eq!(report["bans"]["made"], week.bans);
    assert_eq!(report["bans"]["sources"], GUESSERS);
    assert_eq!(report["incomplete"], false);
    // However they are cut, all are there.
    let sum = |list: &Value, key: &str| -> u64 {
        let list = list.as_array().unwrap().iter();
        list.map(|one| one[key].as_u64().unwrap()).sum()
    };
    for list in [
        "over_time",
        "hours",
        "services",
        "mechanisms",
        "accounts",
        "networks",
        "sources",
    ] {
        assert_eq!(sum(&report[list], "attempts"), week.attempts, "{list}");
    }
    for list in ["over_time", "hours", "networks"] {
        assert_eq!(sum(&report[list], "bans"), week.bans, "{list}");
    }
    assert_eq!(sum(&report["bans"]["lengths"], "bans"), week.bans);
    let services: Vec<_> = report["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(services, ["SMTP", "IMAP", "POP3"]);
    let logins = &report["logins_from_banned_sources"];
    assert_eq!(logins[0]["source"], *week.suspect);
    assert_eq!(
        (&logins[0]["user"], &logins[1]),
        (&json!("carol"), &json!(null))
    );
    let returning = report["bans"]["returning_sources"].as_u64().unwrap();
    assert!((1..GUESSERS).contains(&returning), "{returning}");

    // A part of it.
    let until = format!("@{}", (week.since + 2 * DAY) / 1_000_000);
    let part = reported.json(&["--until", &until]);
    assert!(
        part["attempts"].as_u64().unwrap() < week.attempts / 2,
        "{part}"
    );
}

/// Only journald says of whom an entry is: who calls himself banjour has made no ban.
#[test]
fn what_others_say_of_bans_is_not_believed() {
    let host = Host::new();
    let ban = Entry::ban("198.18.0.1", "dovecot", now() + HOUR);
    let forged = Entry {
        unit: "user@1000.service".to_owned(),
        ..ban.clone()
    };
    host.journal.write(&Entry::imap("198.18.0.1", 1));
    host.journal.write(&forged);
    host.journal.write(&ban);
    let directory = host.journal.directory().display().to_string();
    let report = crate::host::until("all entries are in the journal", || {
        let out = host.banjour(&["report", "--json", "--directory", &directory]);
        let report: Value = serde_json::from_slice(&out.stdout).unwrap();
        (report["attempts"] == 1 && report["bans"]["made"] != 0).then_some(report)
    });
    assert_eq!(report["bans"]["made"], 1);
}

#[test]
fn a_pipe_gets_tabs_and_no_pictures() {
    let reported = Reported::new();
    let text = reported.run(&[]);
    assert!(!text.contains(['█', '▁', '\u{1b}', '\u{202e}']), "{text}");
    for heading in [
        "FROM\tATTEMPTS\tBANS",
        "HOUR\tATTEMPTS\tBANS",
        "SERVICE\tATTEMPTS\tSHARE",
        "ACCOUNT\tATTEMPTS\tSOURCES\t",
    ] {
        assert!(text.contains(heading), "{heading}: {text}");
    }
}

#[test]
fn a_report_that_cannot_be_says_why() {
    let host = Host::new();
    for (arguments, code, expected) in [
        (["--since", "soon"], 2, "is not a time"),
        (["--until", "2001-01-01"], 1, "end before it begins"),
        (["--directory", "/nonexistent"], 1, "No such file"),
        (
            ["--html", "/nonexistent/report.html"],
            1,
            "cannot write /nonexistent/report.html",
        ),
    ] {
        let directory = host.journal.directory().display().to_string();
        let mut all = vec!["report"];
        all.extend(arguments);
        if arguments[0] != "--directory" {
            all.extend(["--directory", &directory]);
        }
        let error = printed(&host.banjour(&all), code);
        assert!(error.contains(expected), "{error}");
    }
}

/// The pictures stay in cargo's directory for tests' files, to be looked at.
#[test]
fn a_browser_shows_the_page_by_day_by_night_and_on_paper() {
    let reported = Reported::new();
    let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let page = kept.join("report.html");
    let said = reported.run(&["--html", page.to_str().unwrap()]);
    assert!(
        said.contains("attempts to guess a password") && said.contains("wrote "),
        "{said}"
    );
    let html = fs::read_to_string(&page).unwrap();
    for part in [
        "<script",
        "<img",
        "http://",
        "https://",
        "url(",
        "<h1>owned",
        "\u{202e}",
    ] {
        assert!(!html.contains(part), "{part} in the page");
    }
    assert!(
        html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "a name is missing"
    );

    let browser = Browser::new();
    let size = (1120, 2900);
    let light = browser.look(&page, Scheme::Light, size, &kept.join("report-light.png"));
    let dark = browser.look(&page, Scheme::Dark, size, &kept.join("report-dark.png"));
    assert!(light.brightness() > 200, "by day: {}", light.brightness());
    assert!(dark.brightness() < 70, "by night: {}", dark.brightness());
    for (picture, attempts, bans) in [
        (&light, [0x53, 0x88, 0xc0], [0x8c, 0x34, 0x10]),
        (&dark, [0x6c, 0xa0, 0xd8], [0xf2, 0xa8, 0x78]),
    ] {
        let (attempts, bans) = (picture.count(attempts), picture.count(bans));
        assert!(
            attempts > 20_000 && bans > 8_000,
            "bars of {attempts} and {bans} pixels"
        );
        assert!(
            (1500..2900).contains(&picture.bottom()),
            "the page ends at {}",
            picture.bottom()
        );
    }
    let narrow = browser.look(
        &page,
        Scheme::Light,
        (500, 3000),
        &kept.join("report-narrow.png"),
    );
    assert!(narrow.brightness() > 180);
    let sheets = browser.print(&page, &kept.join("report.pdf"));
    assert!((2..=4).contains(&sheets), "{sheets} sheets");
}
