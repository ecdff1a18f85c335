//! `banjour watch` in a pipe: lines and objects, as things happen.

use std::io::{BufRead, BufReader};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::bus::Bus;
use crate::command::printed;
use crate::host::{Host, until};
use crate::journal::Entry;
use crate::polkit::{Answer, Polkit};

const HOUR: u64 = 3_600_000_000;

/// The running command, and what it has printed.
struct Watch {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Watch {
    /// Starts it, and waits until it hears the agent: there is no firewall here, which is a problem to tell.
    fn start(host: &Host, arguments: &[&str]) -> Self {
        Self::start_on(host.bus.address(), host, arguments)
    }

    fn start_on(bus: &str, host: &Host, arguments: &[&str]) -> Self {
        let mut child = host
            .command(env!("CARGO_BIN_EXE_banjour"))
            .env("DBUS_SYSTEM_BUS_ADDRESS", bus)
            .arg("watch")
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let printed = Arc::clone(&lines);
        thread::spawn(move || {
            for line in out.lines() {
                printed.lock().unwrap().push(line.unwrap());
            }
        });
        let watch = Self { child, lines };
        watch.hear(&["problem", "there is no firewall"]);
        watch
    }

    /// Waits for a line with all these parts, and takes it and all before it.
    #[track_caller]
    fn hear(&self, parts: &[&str]) -> String {
        until(&format!("{parts:?}"), || {
            let mut lines = self.lines.lock().unwrap();
            let has_all = |line: &String| parts.iter().all(|part| line.contains(part));
            let index = lines.iter().position(has_all)?;
            lines.drain(..=index).next_back()
        })
    }

    /// Lines that nobody has waited for, with this part.
    fn others(&self, part: &str) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines
            .iter()
            .filter(|line| line.contains(part))
            .cloned()
            .collect()
    }

    fn end(mut self, signal: Signal) -> ExitStatus {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, signal).unwrap();
        until("the command's end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn lines_come_as_things_happen() {
    let host = Host::new();
    host.configure("ignore = [\"198.18.9.0/24\"]\n[jail.dovecot]\nattempts = 2\n");
    let agent = host.start();
    agent.ban("198.18.7.7", "", HOUR).unwrap();
    let watch = Watch::start(&host, &[]);
    host.attempts("198.18.0.1", 1);
    let line = watch.hear(&["attempt", "198.18.0.1"]);
    let fields: Vec<_> = line.split('\t').collect();
    assert_eq!(
        fields[1..],
        ["attempt", "198.18.0.1", "dovecot", "bob", "1 attempt"]
    );
    assert!(fields[0].ends_with(" +00:00"), "{line}");
    host.attempts("198.18.0.1", 1);
    let line = watch.hear(&["\tban\t", "198.18.0.1\tdovecot\tbob\tuntil "]);
    assert!(line.ends_with(": 2 attempts"), "{line}");
    host.attempts("198.18.9.1", 2);
    watch.hear(&["\tban-ignored\t198.18.9.1\tdovecot\tbob\t2 attempts"]);
    agent.unban("198.18.0.1", "").unwrap();
    watch.hear(&["\tunban\t198.18.0.1\tdovecot\t\tunbanned"]);
    agent.ban("198.18.0.0/24", "", HOUR).unwrap();
    watch.hear(&["\tban\t198.18.0.0/24\tmanual\t\tuntil ", ": by hand"]);
    assert_eq!(
        watch.others("198.18.7.7"),
        [""; 0],
        "what was before is not told"
    );
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        assert!(Watch::start(&host, &[]).end(signal).success());
    }
}

#[test]
fn objects_tell_all_that_is_known() {
    let host = Host::new();
    let agent = host.start();
    let watch = Watch::start(&host, &["--json"]);
    let hear = |parts: &[&str]| serde_json::from_str::<Value>(&watch.hear(parts)).unwrap();
    let line = String::from_utf8(Entry::imap("198.18.0.1", 3).message).unwrap();
    let message = line.replace("bob", "bo\u{202e}b").into_bytes();
    let at = host.journal.write(&Entry {
        message,
        ..Entry::imap("198.18.0.1", 3)
    });
    let attempt = hear(&["\"attempt\""]);
    assert_eq!(
        attempt,
        json!({
            "event": "attempt", "at_usec": at, "source": "198.18.0.1", "jail": "dovecot",
            "user": "bo\u{202e}b", "attempts": 3,
        })
    );
    let ban = hear(&["\"ban\""]);
    assert_eq!(
        ban,
        json!({
            "event": "ban", "at_usec": at, "source": "198.18.0.1", "jail": "dovecot", "since_usec": at,
            "until_usec": at + HOUR, "cause": "attempts", "count": 3, "first_usec": at,
            "users": ["bo\u{202e}b"], "previous_bans": 0,
        })
    );
    agent.unban("198.18.0.1", "").unwrap();
    let unban = watch.hear(&["\"unban\"", "\"unbanned\"", "198.18.0.1"]);
    assert!(unban.is_ascii(), "{unban}");
}

/// It goes on by itself, with what was missed, and tells nothing twice.
#[test]
fn it_outlives_the_agent() {
    let host = Host::new();
    let agent = host.start();
    let watch = Watch::start(&host, &[]);
    host.attempts("198.18.0.1", 3);
    watch.hear(&["\tban\t", "198.18.0.1"]);
    agent.kill();
    watch.hear(&["agent-gone", "has stopped"]);
    host.attempts("198.18.0.2", 3);
    let agent = host.start();
    watch.hear(&["agent-back"]);
    // Banned before anybody could listen, or after.
    watch.hear(&["\tban\t", "198.18.0.2"]);
    host.attempts("198.18.0.3", 3);
    watch.hear(&["attempt", "198.18.0.3"]);
    watch.hear(&["\tban\t", "198.18.0.3"]);
    assert_eq!(watch.others("\tban\t"), [""; 0]);
    assert_eq!(agent.stop().code(), Some(0));
    watch.hear(&["agent-gone"]);
}

#[test]
fn it_outlives_the_bus() {
    let host = Host::new();
    let agent = host.start();
    // The system's bus is known by its path alone, not by an identity that the next one has not.
    let address = host.bus.address().split(',').next().unwrap();
    let watch = Watch::start_on(address, &host, &[]);
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    watch.hear(&["\tban\t", "198.18.0.1"]);
    host.bus.kill();
    watch.hear(&["agent-gone", "bus"]);
    drop(agent);
    let directory = host.state().parent().unwrap().to_owned();
    let _ = std::fs::remove_file(directory.join("bus"));
    let _bus = Bus::start(&directory);
    let _agent = host.start_with(&[("DBUS_SYSTEM_BUS_ADDRESS", address)]);
    watch.hear(&["agent-back"]);
    host.attempts("198.18.0.2", 3);
    watch.hear(&["\tban\t", "198.18.0.2"]);
    assert_eq!(watch.others("198.18.0.1"), [""; 0]);
}

#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let host = Host::new();
    let agent = host.start();
    let mut watch = host
        .command("sh")
        .args(["-c", "\"$0\" watch | head -n 1; echo done"])
        .arg(env!("CARGO_BIN_EXE_banjour"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut n = 0;
    until("the pipe's end", || {
        // tail -f and its like notice when they write.
        n += 1;
        agent
            .ban(&format!("198.18.0.{}", n % 250 + 1), "", HOUR)
            .unwrap();
        watch.try_wait().unwrap()
    });
    let text = printed(&watch.wait_with_output().unwrap(), 0);
    assert!(text.ends_with("done\n"), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn who_may_not_or_finds_no_agent_is_told() {
    let host = Host::new();
    printed(&host.banjour(&["watch"]), 3);
    let _polkit = Polkit::start(&host.bus, Answer::No);
    let _agent = host.start();
    let text = printed(&host.banjour_of_nobody(&["watch"]), 4);
    assert!(text.contains("org.banjour.Banjour1.inspect"), "{text}");
}
