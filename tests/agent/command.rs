//! The command `banjour`: what it prints, and its exit codes.

use std::io::Read;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::firewalld::Firewalld;
use crate::host::{Host, becomes};
use crate::polkit::{Answer, Polkit};

const HOUR: u64 = 3_600_000_000;

/// What a command printed, after it ended with `code`.
#[track_caller]
pub(crate) fn printed(output: &Output, code: i32) -> String {
    let [out, err] =
        [&output.stdout, &output.stderr].map(|s| String::from_utf8_lossy(s).into_owned());
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    if code == 0 {
        assert_eq!(err, "", "errors only where there is one");
        out
    } else {
        assert_eq!(out, "", "an error is no output");
        err
    }
}

#[track_caller]
pub(crate) fn parsed(output: &Output) -> Value {
    let text = printed(output, 0);
    assert_eq!(text.lines().count(), 1, "one object on one line: {text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn bans_and_unbans() {
    let host = Host::new();
    let agent = host.start();
    let text = printed(&host.banjour(&["ban", "198.18.0.1"]), 0);
    assert_eq!(text, "banned 198.18.0.1 in jail manual\n");
    let arguments = ["ban", "198.18.7.7/24", "--jail", "dovecot", "--for", "2h"];
    let text = printed(&host.banjour(&arguments), 0);
    assert_eq!(text, "banned 198.18.7.0/24 in jail dovecot\n");
    let bans = agent.bans();
    assert_eq!(
        agent.banned(),
        ["198.18.0.1 manual", "198.18.7.0/24 dovecot"]
    );
    assert_eq!(bans[1].3 - bans[1].2, 2 * HOUR);

    let text = printed(&host.banjour(&["unban", "198.18.0.1"]), 0);
    assert_eq!(text, "lifted the ban of 198.18.0.1\n");
    let text = printed(&host.banjour(&["unban", "198.18.0.1"]), 0);
    assert_eq!(text, "198.18.0.1 was not banned\n");
    let text = printed(&host.banjour(&["unban", "198.18.7.7"]), 0);
    assert_eq!(
        text,
        "198.18.7.7 was not banned\n198.18.7.7 is still kept out by the ban of 198.18.7.0/24 in jail dovecot\n"
    );
    agent.ban("198.18.0.2", "dovecot", HOUR).unwrap();
    agent.ban("198.18.0.2", "manual", HOUR).unwrap();
    printed(
        &host.banjour(&["unban", "198.18.0.2", "--jail", "dovecot"]),
        0,
    );
    assert_eq!(
        agent.banned(),
        ["198.18.0.2 manual", "198.18.7.0/24 dovecot"]
    );
}

#[test]
fn answers_in_json() {
    let host = Host::new();
    let _firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    becomes(&[""; 0][..], || agent.problems());
    assert_eq!(
        parsed(&host.banjour(&["ban", "198.18.0.1", "--json"])),
        json!({ "source": "198.18.0.1", "jail": "manual" })
    );
    host.attempts("198.18.0.2", 4);
    becomes(&2, || agent.banned().len());
    let bans: Vec<Value> = agent
        .bans()
        .iter()
        .map(|(source, jail, since, until)| {
            json!({ "source": source, "jail": jail, "since_usec": since, "until_usec": until })
        })
        .collect();

    let status = parsed(&host.banjour(&["status", "--json"]));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["firewall"], "firewalld");
    assert_eq!(status["dropped"], json!(null));
    assert_eq!(status["problems"], json!([]));
    assert_eq!(status["currently_banned"], 2);
    assert_eq!(status["top"]["bans"][0]["source"], "198.18.0.2");
    let names: Vec<_> = status["jails"]
        .as_array()
        .unwrap()
        .iter()
        .map(|jail| &jail["name"])
        .collect();
    assert_eq!(names, ["dovecot", "manual", "postfix-sasl"]);

    assert_eq!(
        parsed(&host.banjour(&["status", "dovecot", "--json"])),
        json!({
            "name": "dovecot",
            "filters": ["dovecot"],
            "attempts": 3,
            "window_usec": HOUR,
            "ban_time_usec": HOUR,
            "currently_failed": 0,
            "total_failed": 4,
            "currently_banned": 1,
            "total_banned": 1,
            "bans": bans[1..],
        })
    );
    agent.ban("198.18.0.0/24", "", HOUR).unwrap();
    assert_eq!(
        parsed(&host.banjour(&["unban", "198.18.0.2", "--json"])),
        json!({ "source": "198.18.0.2", "removed": 1, "still_banned": ["198.18.0.0/24 in jail manual"] })
    );
}

/// A pipe gets plain lines with tabs, for `cut` and `awk`.
#[test]
fn status_shows_jails_bans_and_problems() {
    let host = Host::new();
    let agent = host.start();
    host.attempts("198.18.0.1", 3);
    host.attempts("198.18.0.2", 1);
    becomes(&4, || agent.totals().0);
    let text = printed(&host.banjour(&["status"]), 0);
    assert!(text.contains("PROBLEM: there is no firewall"), "{text}");
    let row = |start: &str| {
        let line = text.lines().find(|line| line.starts_with(start));
        let line = line.unwrap_or_else(|| panic!("{start}: {text}"));
        line.split('\t').map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("dovecot")[1..5], ["1", "4", "1", "1"]);
    assert_eq!(row("manual")[1..5], ["0", "0", "0", "0"]);
    assert_eq!(row("198.18.0.1")[1], "3");
    assert!(text.contains("\n198.18.0.1\tdovecot\t"), "{text}");

    let text = printed(&host.banjour(&["status", "dovecot"]), 0);
    assert!(
        text.contains("3 attempts in 1h") && text.contains("198.18.0.1\tdovecot\t"),
        "{text}"
    );
    let text = printed(&host.banjour(&["status", "postfix-sasl"]), 0);
    assert!(text.contains("nobody is banned"), "{text}");
}

#[test]
fn what_the_agent_refuses_is_1() {
    let host = Host::new();
    let _agent = host.start();
    for (arguments, part) in [
        (&["ban", "127.0.0.1"][..], "never banned"),
        (&["ban", "198.18.0.1", "--jail", "nosuch"], "\"nosuch\""),
        (&["unban", "198.18.0.1", "--jail", "nosuch"], "\"nosuch\""),
        (&["status", "nosuch"], "dovecot, manual, postfix-sasl"),
    ] {
        let text = printed(&host.banjour(arguments), 1);
        assert!(
            text.starts_with("banjour: ") && text.contains(part) && text.lines().count() == 1,
            "{text}"
        );
    }
}

#[test]
fn wrong_arguments_are_2() {
    let host = Host::new();
    for arguments in [
        &[][..],
        &["nonsense"],
        &["ban"],
        &["ban", "mail.example"],
        &["ban", "198.18.0.1/33"],
        &["ban", "198.18.0.1", "--for", "soon"],
        &["ban", "198.18.0.1", "--for", "0s"],
        &["unban"],
        &["status", "--nonsense"],
    ] {
        let text = printed(&host.banjour(arguments), 2);
        assert!(!text.is_empty());
    }
}

#[test]
fn no_agent_is_3() {
    let host = Host::new();
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["status", "dovecot"],
        &["ban", "198.18.0.1"],
        &["unban", "198.18.0.1"],
    ] {
        let text = printed(&host.banjour(arguments), 3);
        assert!(text.contains("systemctl"), "{text}");
    }
}

#[test]
fn no_bus_is_1() {
    let host = Host::new();
    host.bus.kill();
    let text = printed(&host.banjour(&["status"]), 1);
    assert!(text.contains("system bus"), "{text}");
}

#[test]
fn who_may_not_gets_4() {
    let host = Host::new();
    let polkit = Polkit::start(&host.bus, Answer::No);
    let agent = host.start();
    for arguments in [
        &["ban", "198.18.0.1"][..],
        &["unban", "198.18.0.1"],
        &["status"],
    ] {
        let text = printed(&host.banjour_of_nobody(arguments), 4);
        assert!(text.contains("not allowed"), "{text}");
    }
    assert_eq!(agent.banned(), [""; 0]);
    // A person who types a command can answer a dialog.
    let questions = polkit.take_questions();
    assert_eq!(questions[0], "org.banjour.Banjour1.ban, interactive");
}

#[test]
fn whom_polkit_asks_for_a_password_may() {
    let host = Host::new();
    let _polkit = Polkit::start(&host.bus, Answer::Challenge);
    let agent = host.start();
    printed(&host.banjour_of_nobody(&["ban", "198.18.0.1"]), 0);
    assert_eq!(agent.banned(), ["198.18.0.1 manual"]);
}

/// `banjour status | head -1` is no error.
#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let host = Host::new();
    let agent = host.start();
    for n in 0..600 {
        let source = format!("198.18.{}.{}", n / 250, n % 250 + 1);
        agent.ban(&source, "", HOUR).unwrap();
    }
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["status", "manual"],
    ] {
        let mut child = host
            .command(env!("CARGO_BIN_EXE_banjour"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut some = [0; 10];
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut some).unwrap();
        drop(out);
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert!(output.status.success(), "{arguments:?}");
    }
}

#[test]
fn help_and_version_need_no_agent() {
    let host = Host::new();
    let text = printed(&host.banjour(&["--help"]), 0);
    for part in ["status", "ban", "unban", "Exit codes"] {
        assert!(text.contains(part), "{text}");
    }
    let text = printed(&host.banjour(&["--version"]), 0);
    assert_eq!(text, format!("banjour {}\n", env!("CARGO_PKG_VERSION")));
}
