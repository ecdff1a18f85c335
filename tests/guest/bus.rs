//! What the agent shows on the bus: its interfaces, its properties, its signals, its errors.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::agent::SOON;
use crate::client::Service::Imap;
use crate::host::{Guest, Undo, wait_for};

crate::cases![
    introspection_shows_the_interfaces,
    properties_tell_the_state,
    signals_tell_of_bans_and_unbans,
    signals_tell_of_problems,
    errors_have_names,
];

fn introspection_shows_the_interfaces(guest: &Guest) -> Result<()> {
    let shown = |path: &str| {
        let lines = guest.sh(&format!("busctl introspect org.banjour.Banjour1 {path}"))?;
        // Columns are as wide as their contents.
        anyhow::Ok(
            lines
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>(),
        )
    };
    let has = |lines: &[String], starts: &[&str]| {
        for start in starts {
            ensure!(
                lines.iter().any(|line| line.starts_with(start)),
                "no {start:?} in {lines:#?}"
            );
        }
        Ok(())
    };
    has(
        &shown("/org/banjour/Banjour1")?,
        &[
            "org.banjour.Banjour1.Manager interface",
            ".Ban method sstt -",
            ".Unban method sst u",
            ".ListBans method - a(sstt)",
            ".Dropped method - btt",
            ".Reload method - -",
            ".BanNew signal sst",
            ".BanRemoved signal sss",
            ".Version property s",
            ".Firewall property s \"firewalld\"",
            ".InForce property u",
            ".Jails property as",
            ".CurrentlyBanned property u",
            ".TotalBanned property t",
            ".Problems property as",
        ],
    )?;
    // Systemd's escaping: what is neither letter nor digit is its code.
    has(
        &shown("/org/banjour/Banjour1/jail/postfix_2dsasl")?,
        &[
            "org.banjour.Banjour1.Jail interface",
            ".ListBans method - a(stt)",
            ".Name property s \"postfix-sasl\"",
            ".Filters property as 1 \"postfix-sasl\"",
            ".Attempts property u 3",
            ".WindowUSec property t 3600000000",
            ".BanTimeUSec property t 3600000000",
            ".CurrentlyFailed property u",
            ".CurrentlyBanned property u",
            ".TotalBanned property t",
        ],
    )?;
    has(
        &shown("/org/freedesktop/LogControl1")?,
        &[
            "org.freedesktop.LogControl1 interface",
            ".LogLevel property s",
        ],
    )
}

fn properties_tell_the_state(guest: &Guest) -> Result<()> {
    let mut jails: Vec<String> = serde_json::from_value(guest.property("Jails")?)?;
    jails.sort();
    ensure!(
        jails == ["dovecot", "manual", "postfix-sasl"],
        "the jails are {jails:?}"
    );
    ensure!(
        guest.problems()?.is_empty(),
        "problems: {:?}",
        guest.problems()?
    );
    let counts = || {
        let [now, ever] = ["CurrentlyBanned", "TotalBanned"].map(|name| guest.property(name));
        anyhow::Ok((
            now?.as_u64().unwrap_or_default(),
            ever?.as_u64().unwrap_or_default(),
        ))
    };
    let (now, ever) = counts()?;
    let source = guest.source();
    guest.ban(&source.to_string())?;
    guest.expect_banned(source)?;
    ensure!(
        counts()? == (now + 1, ever + 1),
        "from {:?} to {:?}",
        (now, ever),
        counts()?
    );
    guest.unban(&source.to_string())?;
    guest.expect_lifted(source)?;
    ensure!(
        counts()? == (now, ever + 1),
        "from {:?} to {:?}",
        (now, ever),
        counts()?
    );
    Ok(())
}

fn signals_tell_of_bans_and_unbans(guest: &Guest) -> Result<()> {
    let _short = guest.configure(
        "90-signals",
        "[jail.short]\nfilters = []\nban-time = \"2s\"\n",
    )?;
    let listener = Listener::start(guest)?;
    let source = guest.source();
    guest.attackers.fail(source, Imap, 3)?;
    let bans = guest.expect_banned(source)?;
    let new = listener.hear("BanNew", &source.to_string())?;
    ensure!(
        new[1] == "dovecot" && new[2] == bans[0].until,
        "BanNew says {new}, ListBans {bans:?}"
    );
    guest.unban(&source.to_string())?;
    let removed = listener.hear("BanRemoved", &source.to_string())?;
    ensure!(
        removed[1] == "dovecot" && removed[2] == "unbanned",
        "BanRemoved says {removed}"
    );

    let prefix = "198.18.248.0/24";
    guest.ban(&format!("{prefix} --jail short"))?;
    ensure!(
        listener.hear("BanNew", prefix)?[1] == "short",
        "not in jail short"
    );
    let removed = listener.hear("BanRemoved", prefix)?;
    ensure!(
        removed[1] == "short" && removed[2] == "expired",
        "BanRemoved says {removed}"
    );
    Ok(())
}

fn signals_tell_of_problems(guest: &Guest) -> Result<()> {
    let _firewalld = guest.configure("90-firewalld", "firewall = \"firewalld\"\n")?;
    let listener = Listener::start(guest)?;
    {
        let _back = guest.undo("systemctl start firewalld");
        guest.sh("systemctl stop firewalld")?;
        let changed = listener.hear("PropertiesChanged", "org.banjour.Banjour1.Manager")?;
        ensure!(
            changed[1]["Problems"]["data"][0].is_string(),
            "PropertiesChanged says {changed}"
        );
    }
    wait_for("the news that it is solved", SOON, || {
        let news = listener.heard("PropertiesChanged", "org.banjour.Banjour1.Manager")?;
        Ok(news
            .last()
            .is_some_and(|last| last[1]["Problems"]["data"] == serde_json::json!([])))
    })
}

/// Writes the agent's signals to a file, for as long as it lives.
struct Listener<'a> {
    guest: &'a Guest,
    _stop: Undo<'a>,
}

impl<'a> Listener<'a> {
    const HEARD: &'static str = "/run/signals";

    fn start(guest: &'a Guest) -> Result<Self> {
        let stop = guest.undo(format!(
            "systemctl stop listener || true; rm -f {}",
            Self::HEARD
        ));
        guest.sh(&format!(
            "systemd-run --quiet --collect --unit=listener -p StandardOutput=truncate:{} \
             busctl --json=short monitor --match=\"type='signal',sender='org.banjour.Banjour1'\"",
            Self::HEARD
        ))?;
        let listener = Self { guest, _stop: stop };
        // Whether it listens yet can only be heard.
        wait_for("the listener to hear something", SOON, || {
            guest.ban("198.18.254.254")?;
            guest.unban("198.18.254.254")?;
            Ok(!listener.heard("BanRemoved", "198.18.254.254")?.is_empty())
        })?;
        Ok(listener)
    }

    /// The arguments of the signals of this name, and with this first argument, so far.
    fn heard(&self, member: &str, first: &str) -> Result<Vec<Value>> {
        let lines = self.guest.sh(&format!("cat {}", Self::HEARD))?;
        let signals = lines
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(signals
            .filter(|signal| signal["type"] == "signal" && signal["member"] == member)
            .map(|signal| signal["payload"]["data"].clone())
            .filter(|arguments| arguments[0] == first)
            .collect())
    }

    /// Waits for the first of them.
    fn hear(&self, member: &str, first: &str) -> Result<Value> {
        let mut arguments = Value::Null;
        wait_for(&format!("{member} of {first}"), SOON, || {
            arguments = self
                .heard(member, first)?
                .into_iter()
                .next()
                .unwrap_or_default();
            Ok(!arguments.is_null())
        })?;
        Ok(arguments)
    }
}

fn errors_have_names(guest: &Guest) -> Result<()> {
    for (method, error) in [
        (
            "Ban string:nonsense string: uint64:0 uint64:0",
            "InvalidSource",
        ),
        (
            "Ban string:198.18.300.1 string: uint64:0 uint64:0",
            "InvalidSource",
        ),
        (
            "Ban string:198.18.254.1/33 string: uint64:0 uint64:0",
            "InvalidSource",
        ),
        ("Ban string: string: uint64:0 uint64:0", "InvalidSource"),
        (
            "Ban string:198.18.254.1 string: uint64:0 uint64:1",
            "InvalidFlags",
        ),
        (
            "Ban string:198.18.254.1 string:nowhere uint64:0 uint64:0",
            "NoSuchJail",
        ),
        (
            "Ban string:198.18.254.1 string: uint64:18446744073709551615 uint64:0",
            "InvalidDuration",
        ),
        (
            "Ban string:127.0.0.1 string: uint64:0 uint64:0",
            "SourceIgnored",
        ),
        ("Ban string:::1 string: uint64:0 uint64:0", "SourceIgnored"),
        (
            "Ban string:::ffff:127.0.0.1 string: uint64:0 uint64:0",
            "SourceIgnored",
        ),
        ("Unban string:nonsense string: uint64:0", "InvalidSource"),
        ("Unban string:198.18.254.1 string: uint64:1", "InvalidFlags"),
        (
            "Unban string:198.18.254.1 string:nowhere uint64:0",
            "NoSuchJail",
        ),
    ] {
        let answer = guest.dbus_send(method)?;
        let name = format!("Error org.banjour.Banjour1.Error.{error}:");
        ensure!(
            answer.err.starts_with(&name),
            "{method}: not {error}, but {}{}",
            answer.out,
            answer.err
        );
    }
    ensure!(
        guest.bans_of("198.18.254.1".parse()?)?.is_empty(),
        "a refused ban is in force"
    );
    Ok(())
}
