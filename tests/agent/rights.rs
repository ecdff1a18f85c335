//! Who may do what. Root always may; for everybody else polkit decides, and is allowed to show a dialog only if the
//! caller's message says so.

use std::process::{Command, Output, Stdio};

use crate::daemon::Refusal;
use crate::host::{Host, becomes, until};
use crate::polkit::{Answer, Polkit};

const MANAGER: &str = "org.banjour.Banjour1.Manager";
const OBJECT: &str = "/org/banjour/Banjour1";
const LOG_CONTROL: &str = "/org/freedesktop/LogControl1";

/// A call by `nobody` that does not allow interaction, with its arguments as dbus-send(1) takes them.
fn call(host: &Host, path: &str, method: &str, arguments: &[&str]) -> Result<String, Refusal> {
    let output = host
        .command_of_nobody("dbus-send")
        .arg(format!("--bus={}", host.bus.address()))
        .args(["--print-reply", "--dest=org.banjour.Banjour1", path, method])
        .args(arguments)
        .output()
        .unwrap();
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).unwrap());
    }
    let text = String::from_utf8(output.stderr).unwrap();
    let (name, text) = text
        .strip_prefix("Error ")
        .and_then(|text| text.trim().split_once(": "))
        .unwrap_or_else(|| panic!("{text}"));
    Err(Refusal::new(name, text))
}

fn manager(host: &Host, method: &str, arguments: &[&str]) -> Result<String, Refusal> {
    call(host, OBJECT, &format!("{MANAGER}.{method}"), arguments)
}

/// Every method, as `nobody` calls it, with the action that polkit is asked about.
const METHODS: [(&str, &[&str], &str); 8] = [
    (
        "Ban",
        &["string:198.18.0.1", "string:", "uint64:0", "uint64:0"],
        "org.banjour.Banjour1.ban",
    ),
    (
        "Unban",
        &["string:198.18.0.1", "string:", "uint64:0"],
        "org.banjour.Banjour1.unban",
    ),
    ("ListBans", &[], "org.banjour.Banjour1.read"),
    (
        "DescribeBans",
        &["string:", "uint64:0"],
        "org.banjour.Banjour1.inspect",
    ),
    (
        "Overview",
        &["uint32:5", "uint64:0"],
        "org.banjour.Banjour1.inspect",
    ),
    (
        "Why",
        &["string:198.18.0.1", "uint64:0"],
        "org.banjour.Banjour1.inspect",
    ),
    ("Subscribe", &["uint64:0"], "org.banjour.Banjour1.inspect"),
    ("Reload", &[], "org.banjour.Banjour1.reload"),
];

#[test]
fn whom_polkit_allows_may() {
    let host = Host::new();
    let polkit = Polkit::start(&host.bus, Answer::Yes);
    let agent = host.start();
    for (method, arguments, action) in METHODS {
        manager(&host, method, arguments).unwrap();
        assert_eq!(polkit.take_questions(), [action]);
    }
    manager(&host, "Ban", METHODS[0].1).unwrap();
    assert_eq!(agent.banned(), ["198.18.0.1 manual"]);
}

#[test]
fn whom_polkit_refuses_may_not() {
    let host = Host::new();
    let polkit = Polkit::start(&host.bus, Answer::No);
    let agent = host.start();
    for (method, arguments, action) in METHODS {
        let refusal = manager(&host, method, arguments).unwrap_err();
        assert_eq!(refusal.name, "AccessDenied", "{method}");
        assert!(refusal.text.contains(action), "{}", refusal.text);
        assert_eq!(polkit.take_questions(), [action]);
    }
    let jail = "/org/banjour/Banjour1/jail/dovecot";
    let refusal = call(&host, jail, "org.banjour.Banjour1.Jail.ListBans", &[]).unwrap_err();
    assert_eq!(refusal.name, "AccessDenied");
    assert_eq!(agent.banned(), [""; 0]);
}

#[test]
fn where_a_dialog_would_help_the_error_says_so() {
    let host = Host::new();
    let polkit = Polkit::start(&host.bus, Answer::Challenge);
    let agent = host.start();
    for (method, arguments, action) in METHODS {
        let refusal = manager(&host, method, arguments).unwrap_err();
        assert_eq!(refusal.name, "InteractiveAuthorizationRequired", "{method}");
        assert_eq!(polkit.take_questions(), [action]);
    }
    assert_eq!(agent.banned(), [""; 0]);
}

/// busctl(1) says in each message whether a dialog may come up.
fn busctl(host: &Host, interactive: bool) -> Output {
    let mut command: Command = host.command_of_nobody("busctl");
    command
        .arg(format!("--address={}", host.bus.address()))
        .arg(format!(
            "--allow-interactive-authorization={}",
            if interactive { "yes" } else { "no" }
        ))
        .args(["call", "org.banjour.Banjour1", OBJECT, MANAGER])
        .args(["Ban", "sstt", "198.18.0.1", "", "0", "0"])
        .output()
        .unwrap()
}

#[test]
fn a_dialog_comes_up_only_if_the_message_allows_it() {
    let host = Host::new();
    let polkit = Polkit::start(&host.bus, Answer::Challenge);
    let agent = host.start();
    assert!(!busctl(&host, false).status.success());
    assert_eq!(polkit.take_questions(), ["org.banjour.Banjour1.ban"]);
    assert_eq!(agent.banned(), [""; 0]);
    let output = busctl(&host, true);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        polkit.take_questions(),
        ["org.banjour.Banjour1.ban, interactive"]
    );
    assert_eq!(agent.banned(), ["198.18.0.1 manual"]);
}

#[test]
fn root_is_not_asked_about() {
    let host = Host::new();
    let polkit = Polkit::start(&host.bus, Answer::No);
    let agent = host.start();
    agent.ban("198.18.0.1", "", 0).unwrap();
    assert_eq!(agent.banned(), ["198.18.0.1 manual"]);
    agent.unban("198.18.0.1", "").unwrap();
    agent.reload().unwrap();
    assert_eq!(polkit.take_questions(), [""; 0]);
}

/// A dialog may be up for minutes; meanwhile the agent works, and others are answered.
#[test]
fn a_dialog_holds_up_nobody_else() {
    let host = Host::new();
    let polkit = Polkit::start(&host.bus, Answer::Never);
    let agent = host.start();
    let mut waiting = host
        .command_of_nobody("busctl")
        .arg(format!("--address={}", host.bus.address()))
        .args(["call", "org.banjour.Banjour1", OBJECT, MANAGER, "Reload"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("polkit is asked", || polkit.take_questions().pop());
    agent.ban("198.18.0.1", "", 0).unwrap();
    host.attempts("198.18.0.2", 3);
    becomes(&["198.18.0.1 manual", "198.18.0.2 dovecot"][..], || {
        agent.banned()
    });
    agent.reload().unwrap();
    assert_eq!(waiting.try_wait().unwrap(), None);
    assert!(agent.stop().success());
    waiting.wait().unwrap();
}

#[test]
fn without_polkit_only_root_may() {
    let host = Host::new();
    let agent = host.start();
    for (method, arguments, _) in METHODS {
        let refusal = manager(&host, method, arguments).unwrap_err();
        assert_eq!(refusal.name, "AccessDenied", "{method}");
    }
    agent.ban("198.18.0.1", "", 0).unwrap();
}

#[test]
fn properties_are_for_everybody_and_the_log_level_is_roots() {
    let host = Host::new();
    let _polkit = Polkit::start(&host.bus, Answer::No);
    let _agent = host.start();
    let get = [
        "string:org.banjour.Banjour1.Manager",
        "string:CurrentlyBanned",
    ];
    call(&host, OBJECT, "org.freedesktop.DBus.Properties.Get", &get).unwrap();
    let level = [
        "string:org.freedesktop.LogControl1",
        "string:LogLevel",
        "variant:string:debug",
    ];
    let set = "org.freedesktop.DBus.Properties.Set";
    let refusal = call(&host, LOG_CONTROL, set, &level).unwrap_err();
    assert_eq!(refusal.name, "AccessDenied");
    let get = "org.freedesktop.DBus.Properties.Get";
    let shown = call(&host, LOG_CONTROL, get, &level[..2]).unwrap();
    assert!(shown.contains("\"info\""), "{shown}");
}

/// A wrong order is refused the same way, whoever gives it: polkit need not be asked.
#[test]
fn strangers_learn_nothing_by_errors() {
    let host = Host::new();
    host.configure("ignore = [\"198.18.9.0/24\"]\n");
    let _polkit = Polkit::start(&host.bus, Answer::No);
    let _agent = host.start();
    for source in ["198.18.9.1", "198.18.0.1", "nonsense"] {
        let arguments = [
            &format!("string:{source}"),
            "string:nosuch",
            "uint64:0",
            "uint64:0",
        ];
        let refusal = manager(&host, "Ban", &arguments).unwrap_err();
        assert_eq!(refusal.name, "AccessDenied", "{source}");
    }
}
