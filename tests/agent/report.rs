//! `banjour report`, on a week that is made up.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::browser::{Scheme, look, print};
use crate::command::printed;
use crate::host::{Host, own_network, until};
use crate::journal::{Entry, now};
use crate::week::{DAY, GUESSERS, HOUR, Week, write_week};

/// The week's journal and the arguments with which to report on it.
struct Reported {
    host: Host,
    week: Week,
    directory: String,
    since: String,
    until: String,
}

impl Reported {
    fn new() -> Self {
        let host = Host::new();
        let root = host.path("another-host");
        let week = write_week(&root);
        let directory = root.join("var/log/journal").display().to_string();
        let [since, until] =
            [week.since, week.since + 7 * DAY].map(|at| format!("@{}", at / 1_000_000));
        Self {
            host,
            week,
            directory,
            since,
            until,
        }
    }

    fn run(&self, more: &[&str]) -> String {
        let place = ["--directory", &self.directory, "--since", &self.since];
        let until = ["--until", &self.until];
        let until = if more.contains(&"--until") {
            &[]
        } else {
            &until[..]
        };
        let out = self
            .host
            .banjour(&[&["report"], &place[..], until, more].concat());
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
    let report = until("all entries are in the journal", || {
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
fn a_terminal_gets_pictures_that_fit_into_80_columns() {
    let reported = Reported::new();
    let (place, since, until) = (&reported.directory, &reported.since, &reported.until);
    let shown = format!(
        "stty cols 80; {} report --directory {place} --since {since} --until {until}",
        env!("CARGO_BIN_EXE_banjour")
    );
    let mut terminal = reported.host.command("script");
    terminal.args(["-qec", &shown, "/dev/null"]);
    let out = terminal.output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap().replace('\r', "");
    fs::write(
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("report.txt"),
        &text,
    )
    .unwrap();
    assert!(
        out.status.success() && text.contains('█') && text.contains('▂'),
        "{text}"
    );
    for line in text.lines() {
        let width = line.chars().count();
        assert!(width <= 80, "{width} columns: {line}");
    }
}

#[test]
fn a_report_that_cannot_be_says_why() {
    let host = Host::new();
    for (arguments, code, expected) in [
        (["--since", "soon"], 2, "is not a time"),
        (["--until", "2001-01-01"], 1, "end before it begins"),
        (["--directory", "/proc/self/nowhere"], 1, "No such file"),
        (
            ["--html", "/proc/self/nowhere/report.html"],
            1,
            "cannot write /proc/self/nowhere/report.html",
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

    own_network();
    let size = (1120, 2900);
    let light = look(&page, Scheme::Light, size, &kept.join("report-light.png"));
    let dark = look(&page, Scheme::Dark, size, &kept.join("report-dark.png"));
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
    let narrow = look(
        &page,
        Scheme::Light,
        (500, 3000),
        &kept.join("report-narrow.png"),
    );
    assert!(narrow.brightness() > 180);
    let sheets = print(&page, &kept.join("report.pdf"));
    assert!((1..=2).contains(&sheets), "{sheets} sheets");
}
