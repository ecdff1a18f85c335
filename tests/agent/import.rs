//! `banjour import-fail2ban`: fail2ban's settings become banjour's, and its bans the agent's.

use std::process::Output;

use serde_json::{Value, json};

use crate::command::printed;
use crate::host::Host;

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

/// A host with fail2ban's files.
fn host() -> Host {
    let host = Host::new();
    host.write("etc/fail2ban/jail.local", JAILS);
    host
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

#[test]
fn settings_are_printed_without_an_agent_and_an_agent_takes_them() {
    let host = host();
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
fn what_cannot_be_read_is_1() {
    let host = Host::new();
    let text = printed(&host.banjour(&["import-fail2ban", "/nonexistent"]), 1);
    assert!(
        text.contains("/nonexistent: ") && text.lines().count() == 1,
        "{text}"
    );
}
