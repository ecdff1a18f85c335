//! What the agent shows on the bus: its interfaces, its properties, its signals, its errors.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::agent::SOON;
use crate::client::Service::Imap;
use crate::host::{Guest, wait_for};

crate::cases![
    introspection_shows_the_interfaces,
    properties_tell_the_state,
    signals_tell_of_bans_and_unbans,
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
            ".Reload method - -",
            ".BanNew signal sst",
            ".BanRemoved signal sss",
            ".Version property s",
            ".Firewall property s \"firewalld\"",
            ".Jails property as",
            ".CurrentlyBanned property u",
            ".TotalBanned property t",
            ".TotalFailed property t",
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
            ".TotalFailed property t",
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
        let [now, banned, failed] = ["CurrentlyBanned", "TotalBanned", "TotalFailed"]
            .map(|name| guest.property(name).map(|value| value.as_u64()));
        anyhow::Ok((
            now?.unwrap_or_default(),
            banned?.unwrap_or_default(),
            failed?.unwrap_or_default(),
        ))
    };
    let before = counts()?;
    let source = guest.source();
    guest.ban(&source.to_string())?;
    guest.expect_banned(source)?;
    ensure!(
        counts()? == (before.0 + 1, before.1 + 1, before.2),
        "from {before:?} to {:?}",
        counts()?
    );
    guest.unban(&source.to_string())?;
    guest.expect_lifted(source)?;
    ensure!(
        counts()? == (before.0, before.1 + 1, before.2),
        "from {before:?} to {:?}",
        counts()?
    );
    // One attempt is one failure, however many lines and jails it touches.
    guest.attackers.fail(source, Imap, 1)?;
    wait_for("the failure to be counted", SOON, || {
        Ok(counts()?.2 > before.2)
    })?;
    guest.expect_never_banned(&[source])?;
    ensure!(
        counts()?.2 == before.2 + 1,
        "one attempt, counted from {} to {}",
        before.2,
        counts()?.2
    );
    Ok(())
}

fn signals_tell_of_bans_and_unbans(guest: &Guest) -> Result<()> {
    let source = guest.source();
    let heard = "/run/signals";
    let _forget = guest.undo(format!("systemctl stop listener || true; rm -f {heard}"));
    guest.sh(&format!(
        "systemd-run --quiet --collect --unit=listener -p StandardOutput=truncate:{heard} \
         busctl --json=short monitor --match=\"type='signal',sender='org.banjour.Banjour1'\""
    ))?;
    let signals = || {
        let lines = guest.sh(&format!("cat {heard}"))?;
        let parsed = lines
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        anyhow::Ok(
            parsed
                .filter(|signal| signal["type"] == "signal")
                .collect::<Vec<_>>(),
        )
    };
    let arguments = |member: &str| {
        let of_source = |signal: &Value| {
            signal["member"] == member && signal["payload"]["data"][0] == source.to_string()
        };
        anyhow::Ok(
            signals()?
                .into_iter()
                .find(of_source)
                .map(|signal| signal["payload"]["data"].clone()),
        )
    };
    // Whether it listens yet can only be heard.
    wait_for("the listener to hear something", SOON, || {
        guest.ban("198.18.254.254")?;
        guest.unban("198.18.254.254")?;
        Ok(!signals()?.is_empty())
    })?;

    guest.attackers.fail(source, Imap, 3)?;
    let bans = guest.expect_banned(source)?;
    wait_for("BanNew", SOON, || Ok(arguments("BanNew")?.is_some()))?;
    let new = arguments("BanNew")?.unwrap_or_default();
    ensure!(
        new[1] == "dovecot" && new[2] == bans[0].until,
        "BanNew says {new}, ListBans {bans:?}"
    );
    guest.unban(&source.to_string())?;
    wait_for(
        "BanRemoved",
        SOON,
        || Ok(arguments("BanRemoved")?.is_some()),
    )?;
    let removed = arguments("BanRemoved")?.unwrap_or_default();
    ensure!(
        removed[1] == "dovecot" && removed[2] == "unbanned",
        "BanRemoved says {removed}"
    );
    let properties = signals()?
        .iter()
        .any(|signal| signal["member"] == "PropertiesChanged");
    let problems_only = signals()?.iter().all(|signal| {
        signal["member"] != "PropertiesChanged" || signal["payload"]["data"][0].is_string()
    });
    ensure!(
        !properties || problems_only,
        "PropertiesChanged without an interface"
    );
    Ok(())
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
