//! `banjour watch` on a terminal: tmux is the terminal, and what it shows is what a person sees.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::firewalld::Firewalld;
use crate::host::{Host, becomes, until};

/// tmux is a program to start for each look.
const LOOK: Duration = Duration::from_millis(50);

/// A terminal with the command in it, between a line before and a line after.
struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// At 80×24, with these variables.
    fn start(host: &Host, environment: &[(&str, &str)]) -> Self {
        // A server that ends, and one that begins, must not meet.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("tmux-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let terminal = Self {
            socket: host.state().parent().unwrap().join(name),
        };
        let mut variables = format!("DBUS_SYSTEM_BUS_ADDRESS='{}' TZ=UTC", host.bus.address());
        for (name, value) in environment {
            write!(variables, " {name}='{value}'").unwrap();
        }
        let command = env!("CARGO_BIN_EXE_banjour");
        let script = format!(
            "echo before; env -u NO_COLOR {variables} {command} watch; echo ended $?; stty -a; exec cat"
        );
        terminal.tmux(&[
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            "sh",
            "-c",
            &script,
        ]);
        terminal
    }

    #[track_caller]
    fn tmux(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new("tmux")
            .arg("-S")
            .arg(&self.socket)
            .args(["-f", "/dev/null"])
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .env_remove("TMUX")
            .output()
            .expect("tmux is installed")
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The screen with its colours.
    fn coloured(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// Waits until the screen has all these parts.
    #[track_caller]
    fn shows(&self, parts: &[&str]) -> String {
        let mut seen = String::new();
        for _ in 0..600 {
            seen = self.screen();
            if parts.iter().all(|part| seen.contains(part)) {
                return seen;
            }
            thread::sleep(LOOK);
        }
        panic!("not in time: {parts:?} in\n{seen}");
    }

    /// Types keys, by tmux' names.
    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"][..], keys].concat());
    }

    fn write(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// The command's process, which the shell in the terminal has started.
    fn pid(&self) -> Pid {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let shell = shell.trim();
        until("the command", || {
            let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
            Some(Pid::from_raw(children.ok()?.trim().parse().ok()?))
        })
    }

    /// Waits for the command's end; the terminal is as it was before, and takes lines again.
    #[track_caller]
    fn is_given_back(&self) {
        let seen = self.shows(&["before", "ended 0", " icanon", " echo "]);
        assert!(!seen.contains("Top sources"), "{seen}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}

const XTERM: &[(&str, &str)] = &[("TERM", "xterm-256color"), ("LC_ALL", "C.UTF-8")];

#[test]
fn one_sees_an_attack_and_has_a_word_in_it() {
    let host = Host::new();
    let _firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    let terminal = Terminal::start(&host, XTERM);
    terminal.shows(&[
        "banjour · firewalld",
        "no problems",
        "Nothing has happened yet",
        "q quit",
    ]);
    host.attempts("198.18.0.1", 2);
    terminal.shows(&["attempt 198.18.0.1      dovecot", "2 failed/min"]);
    host.attempts("198.18.0.1", 1);
    terminal.shows(&[
        "BAN     198.18.0.1      dovecot 1h, 3 attempts, bob",
        "1 kept out",
        "banned│",
    ]);

    terminal.press(&["Up", "Enter"]);
    terminal.shows(&[
        "Why 198.18.0.1?",
        "is banned in jail dovecot.",
        "It tried: bob",
        "Esc back",
    ]);
    terminal.press(&["l"]);
    terminal.shows(&["Lift the bans of: 198.18.0.1", "Enter: lift"]);
    terminal.press(&["Enter"]);
    terminal.shows(&["lifted the ban of 198.18.0.1", "STOPPED"]);
    becomes(&[""; 0][..], || agent.banned());
    terminal.press(&["End"]);
    terminal.shows(&["unban   198.18.0.1      dovecot by hand", "0 kept out"]);

    terminal.press(&["b"]);
    terminal.write("198.18.0.9 dovecot 2h");
    terminal.press(&["Enter"]);
    terminal.shows(&[
        "banned 198.18.0.9 in jail dovecot",
        "BAN     198.18.0.9      dovecot 2h, by hand",
    ]);
    assert_eq!(agent.banned(), ["198.18.0.9 dovecot"]);
    terminal.press(&["b"]);
    terminal.write("127.0.0.1");
    terminal.press(&["Enter"]);
    terminal.shows(&["127.0.0.1 is never banned"]);

    terminal.press(&["/"]);
    terminal.write("unban");
    terminal.press(&["Enter"]);
    let seen = terminal.shows(&["Events with \"unban\""]);
    assert!(
        !seen.contains(" attempt ") && !seen.contains(" BAN "),
        "{seen}"
    );
    // A terminal sends Alt and a key as Escape and the key.
    terminal.press(&["Escape"]);
    terminal.shows(&["┌ Events ─", " attempt "]);
    terminal.press(&["Tab", "e"]);
    terminal.shows(&["Why 198.18.0.1", "Esc back"]);
    terminal.press(&["Escape"]);
    terminal.shows(&["q quit"]);
    terminal.press(&["?"]);
    terminal.shows(&["Up Down PgUp", "Ctrl-L"]);
    terminal.press(&["q", "q"]);
    terminal.is_given_back();
}

#[test]
fn it_shows_that_the_agent_is_gone_and_goes_on() {
    let host = Host::new();
    let agent = host.start();
    let terminal = Terminal::start(&host, XTERM);
    terminal.shows(&["PROBLEM (p: all of it): there is no firewall"]);
    host.attempts("198.18.0.1", 3);
    terminal.shows(&["BAN     198.18.0.1"]);
    agent.kill();
    terminal.shows(&["AGENT GONE since ", "waiting for it"]);
    terminal.press(&["b"]);
    terminal.write("198.18.0.9");
    terminal.press(&["Enter"]);
    terminal.shows(&["the agent is not there"]);
    let _agent = host.start();
    host.attempts("198.18.0.2", 3);
    let seen = terminal.shows(&["the agent is back", "BAN     198.18.0.2", "PROBLEM (p"]);
    assert_eq!(seen.matches("BAN     198.18.0.1").count(), 1, "{seen}");
    assert!(!seen.contains("AGENT GONE"), "{seen}");
    terminal.press(&["C-c"]);
    terminal.is_given_back();
}

#[test]
fn it_has_the_size_that_the_terminal_has() {
    let host = Host::new();
    let _agent = host.start();
    let terminal = Terminal::start(&host, XTERM);
    terminal.shows(&["q quit"]);
    for (width, height) in [(120, 40), (80, 24), (200, 60), (60, 12)] {
        let [x, y] = [width, height].map(|n: usize| n.to_string());
        terminal.tmux(&["resize-window", "-x", &x, "-y", &y]);
        until("the new size", || {
            thread::sleep(LOOK);
            let seen = terminal.screen();
            let rows: Vec<_> = seen.lines().collect();
            let whole = rows.len() == height && rows[height - 1].starts_with(" q quit");
            let corner = rows
                .get(2)
                .is_some_and(|row| row.chars().count() == width && row.ends_with('┐'));
            (whole && corner).then_some(())
        });
    }
    terminal.tmux(&["resize-window", "-x", "50", "-y", "8"]);
    terminal.shows(&["50x8 is too small"]);
    terminal.tmux(&["resize-window", "-x", "80", "-y", "24"]);
    terminal.shows(&["Top sources", "q quit"]);
    terminal.press(&["q"]);
    terminal.is_given_back();
}

#[test]
fn colours_are_for_those_who_want_them() {
    let host = Host::new();
    let _agent = host.start();
    // 39 and 49 are the terminal's own.
    let has_colour = |text: &str| {
        let orders = text
            .split("\x1b[")
            .skip(1)
            .filter_map(|rest| rest.split_once('m'));
        let mut numbers = orders.flat_map(|(order, _)| order.split(';'));
        numbers.any(|n| {
            n.parse::<u32>()
                .is_ok_and(|n| (30..=38).contains(&n) || (40..=48).contains(&n))
        })
    };
    for (environment, colour, corner) in [
        (
            &[("TERM", "xterm-256color"), ("LC_ALL", "C.UTF-8")][..],
            true,
            "┌ Events",
        ),
        (
            &[
                ("TERM", "xterm-256color"),
                ("LC_ALL", "C.UTF-8"),
                ("NO_COLOR", "1"),
            ],
            false,
            "┌ Events",
        ),
        (
            &[("TERM", "vt100"), ("LC_ALL", "C.UTF-8")],
            false,
            "+ Events",
        ),
        (
            &[("TERM", "linux"), ("LC_ALL", "C.UTF-8")],
            true,
            "┌ Events",
        ),
        (&[("TERM", "xterm"), ("LC_ALL", "C")], true, "+ Events"),
    ] {
        let terminal = Terminal::start(&host, environment);
        terminal.shows(&["there is no firewall", corner]);
        assert_eq!(has_colour(&terminal.coloured()), colour, "{environment:?}");
        terminal.press(&["q"]);
        terminal.is_given_back();
    }
    let terminal = Terminal::start(&host, &[("TERM", "dumb")]);
    terminal.shows(&["no cursor to place", "\u{20}problem "]);
    host.attempts("198.18.0.1", 1);
    terminal.shows(&["attempt", "198.18.0.1"]);
    kill(terminal.pid(), Signal::SIGTERM).unwrap();
    terminal.shows(&["ended 0"]);
}

#[test]
fn signals_end_it_in_good_order() {
    let host = Host::new();
    let _agent = host.start();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let terminal = Terminal::start(&host, XTERM);
        terminal.shows(&["q quit"]);
        kill(terminal.pid(), signal).unwrap();
        terminal.is_given_back();
    }
}
