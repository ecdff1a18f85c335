//! What shells complete, in the shells themselves; and colours, which are for terminals.

use std::ffi::OsString;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::command::printed;
use crate::host::Host;
use crate::polkit::{Answer, Polkit};

const HOUR: u64 = 3_600_000_000;

/// Where the scripts are that shells read.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/complete");

/// What bash is about to insert, asked for as bash does: it breaks the words of a line at colons, too.
const BASH: &str = r#"
source /usr/share/bash-completion/bash_completion && source "$SCRIPTS/banjour" || exit
COMP_LINE=$1 COMP_POINT=${#1}
read -ra COMP_WORDS <<<"${1//:/ : }"
[[ $1 != *[\ ] ]] || COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_banjour
printf '%s\n' "${COMPREPLY[@]}"
"#;

/// A line is typed into a zsh on a terminal, and a tab; then what is on the line shows.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1='> '; fpath=($SCRIPTS \$fpath); autoload -Uz compinit; compinit -u -D; print rea''dy"
zpty -r shell seen '*ready*'
zpty -w -n shell "$1"$'\t'
zpty -r shell seen "*$2*"
print -r -- "$seen"
"#;

fn shell(host: &Host, program: &str, script: &str, arguments: &[&str]) -> String {
    let programs = Path::new(env!("CARGO_BIN_EXE_banjour")).parent().unwrap();
    let mut path = OsString::from(programs);
    path.push(":/usr/bin:/bin");
    let output = host
        .command("timeout")
        .args(["20", program, "-c", script])
        .args((program != "fish").then_some(program))
        .args(arguments)
        .env("PATH", path)
        .env("SCRIPTS", SCRIPTS)
        .env("HOME", SCRIPTS)
        .env("XDG_CONFIG_HOME", host.path("shell"))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The values that clap's engine offers after these words, by the protocol that all scripts use.
fn offered(command: &mut Command, words: &[&str]) -> Vec<String> {
    let output = command
        .env("COMPLETE", "fish")
        .args(["--", "banjour"])
        .args(words)
        .output()
        .unwrap();
    let text = printed(&output, 0);
    let values = text
        .lines()
        .map(|line| line.split('\t').next().unwrap_or(line));
    values
        .filter(|value| !value.starts_with('-'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn shells_complete_whom_to_unban() {
    let host = Host::new();
    let agent = host.start();
    agent.ban("2001:db8:5::7", "manual", HOUR).unwrap();
    agent.ban("198.18.0.1", "dovecot", HOUR).unwrap();
    agent.ban("198.18.1.0/24", "manual", HOUR).unwrap();

    // What stands before the last colon is on the line already.
    assert_eq!(
        shell(&host, "bash", BASH, &["banjour unban 2001:d"]),
        "db8:5::7\n"
    );
    assert_eq!(
        shell(&host, "bash", BASH, &["banjour unban 198.18.1"]),
        "198.18.1.0/24\n"
    );
    assert_eq!(shell(&host, "bash", BASH, &["banjour unb"]), "unban\n");
    let jails = "dovecot\nmanual\npostfix-sasl\n";
    assert_eq!(
        shell(
            &host,
            "bash",
            BASH,
            &["banjour unban 198.18.1.0/24 --jail "]
        ),
        jails
    );

    let fish = "source $SCRIPTS/banjour.fish; complete -C 'banjour unban 2001:d'";
    assert_eq!(
        shell(&host, "fish", fish, &[]),
        "2001:db8:5::7\tin jail manual\n"
    );

    let zsh = shell(&host, "zsh", ZSH, &["banjour unban 2001:d", "5::7"]);
    assert!(zsh.contains("2001:db8:5::7"), "{zsh}");
}

#[test]
fn only_what_fits_is_offered_and_not_too_much() {
    let host = Host::new();
    let agent = host.start();
    for last in 0..150 {
        agent
            .ban(&format!("198.18.0.{last}"), "manual", HOUR)
            .unwrap();
    }
    let offered = |words: &[&str]| offered(&mut host.command(env!("CARGO_BIN_EXE_banjour")), words);
    assert_eq!(offered(&["unban", ""]).len(), 100);
    assert_eq!(offered(&["unban", "198.18.0.14"]).len(), 11);
    assert_eq!(offered(&["status", "post"]), ["postfix-sasl"]);
    assert_eq!(
        offered(&["ban", "198.18"]),
        [""; 0],
        "who is banned already"
    );
    assert_eq!(offered(&["test", "--filter", "sasl"]), ["saslauthd"]);
}

#[test]
fn without_an_answer_nothing_is_offered_in_time() {
    let host = Host::new();
    let banjour = || host.command(env!("CARGO_BIN_EXE_banjour"));
    assert_eq!(offered(&mut banjour(), &["unban", ""]), [""; 0], "no agent");

    let agent = host.start();
    agent.ban("198.18.0.1", "manual", HOUR).unwrap();
    let _polkit = Polkit::start(&host.bus, Answer::No);
    let output = {
        let mut command = host.command_of_nobody("/proc/self/fd/0");
        command.stdin(std::fs::File::open(env!("CARGO_BIN_EXE_banjour")).unwrap());
        offered(&mut command, &["unban", ""])
    };
    assert_eq!(output, [""; 0], "not allowed");

    // Takes connections, and never says a word.
    let socket = host.path("dead-bus");
    let _listener = UnixListener::bind(&socket).unwrap();
    let mut command = banjour();
    command.env(
        "DBUS_SYSTEM_BUS_ADDRESS",
        format!("unix:path={}", socket.display()),
    );
    let begin = Instant::now();
    assert_eq!(offered(&mut command, &["unban", ""]), [""; 0], "a dead bus");
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let banjour = env!("CARGO_BIN_EXE_banjour");
    let help = Command::new(banjour).arg("--help").output().unwrap();
    assert!(!help.stdout.contains(&0x1b), "into a pipe");
    for (environment, coloured) in [
        (("TERM", "xterm"), true),
        (("NO_COLOR", "1"), false),
        (("TERM", "dumb"), false),
    ] {
        let output = Command::new("script")
            .args(["--quiet", "--return", "--command"])
            .arg(format!("{banjour} --help"))
            .arg("/dev/null")
            .env_remove("NO_COLOR")
            .env_remove("CI")
            .env("TERM", "xterm")
            .env(environment.0, environment.1)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!output.stdout.is_empty(), "script(1) is installed");
        assert_eq!(output.stdout.contains(&0x1b), coloured, "{environment:?}");
    }
}
