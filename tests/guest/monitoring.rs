//! What monitoring sees of a host, and what a report tells of it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::{SOON, client};
use crate::client::Service::{Imap, Pop3, Smtp};
use crate::host::{Guest, wait_for};
use crate::kernel::Firewall;

crate::cases![
    a_timer_writes_the_numbers_for_monitoring,
    a_report_tells_of_attempts_and_bans_as_they_were,
];

const FILE: &str = "/var/lib/prometheus/node-exporter/banjour.prom";
const TIMER: &str = "banjour-metrics.timer";
const SERVICE: &str = "banjour-metrics.service";

/// Of the file, what stands behind a name.
fn value(file: &str, name: &str) -> Result<u64> {
    let line = file.lines().find_map(|line| line.strip_prefix(name));
    let value = line.with_context(|| format!("no {name}: {file}"))?;
    Ok(value.trim().parse()?)
}

fn total_banned(guest: &Guest) -> Result<u64> {
    let total = guest.property("TotalBanned")?;
    total.as_u64().with_context(|| total.to_string())
}

fn a_timer_writes_the_numbers_for_monitoring(guest: &Guest) -> Result<()> {
    let enabled = guest.run(&["systemctl", "is-enabled", TIMER])?;
    ensure!(enabled.out.trim() == "disabled", "at first: {enabled:?}");
    let _gone = guest.undo(format!(
        "systemctl disable --quiet --now {TIMER}; rm -rf /etc/systemd/system/{TIMER}.d /etc/systemd/system/{SERVICE}.d /var/lib/prometheus
        systemctl daemon-reload; systemctl start banjour"
    ));
    let source = guest.source();
    guest.attackers.fail(source, Imap, 3)?;
    guest.expect_banned(source)?;
    // Who waits for a minute in a test? systemd refuses more than five starts in ten seconds, unless told otherwise.
    guest.write(
        &format!("/etc/systemd/system/{TIMER}.d/often.conf"),
        "[Timer]\nOnCalendar=\nOnCalendar=*:*:*\n",
    )?;
    guest.write(
        &format!("/etc/systemd/system/{SERVICE}.d/often.conf"),
        "[Unit]\nStartLimitIntervalSec=0\n",
    )?;
    guest.sh("systemctl daemon-reload")?;
    guest.sh(&format!("systemctl enable --quiet --now {TIMER}"))?;
    let read = || guest.run(&["cat", FILE]).map(|output| output.out);
    wait_for("the file", SOON, || Ok(!read()?.is_empty()))?;
    let (mut file, mut expected) = (String::new(), Vec::new());
    wait_for("the numbers of now", SOON, || {
        file = read()?;
        expected = vec![
            ("banjour_up ", 1),
            ("banjour_current_bans ", guest.bans()?.len() as u64),
            ("banjour_bans_total ", total_banned(guest)?),
            ("banjour_problems ", guest.problems()?.len() as u64),
        ];
        for (name, number) in &expected {
            if value(&file, name)? != *number {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .with_context(|| format!("{expected:?}: {file}"))?;
    ensure!(
        value(&file, "banjour_jail_bans_total{jail=\"dovecot\"} ")? > 0,
        "{file}"
    );
    let counts = guest.firewall != Firewall::Firewalld;
    for name in [
        "banjour_dropped_packets_total ",
        "banjour_dropped_bytes_total ",
    ] {
        // Looking whether the ports are closed has sent some.
        let dropped = value(&file, name).unwrap_or(0) > 0;
        ensure!(dropped == counts, "{name}with {:?}: {file}", guest.firewall);
    }
    let mode = guest.sh(&format!("stat -c %a {FILE}"))?;
    ensure!(mode == "644", "{mode}");

    // Monitoring must see that it is down, and asking does not start it.
    guest.sh("systemctl stop banjour")?;
    wait_for("the end to be told of", SOON, || {
        Ok(value(&read()?, "banjour_up ")? == 0)
    })?;
    let state = guest.sh(&format!("systemctl show -P Result {SERVICE}"))?;
    ensure!(state == "success", "{state}");
    let said = guest.sh(&format!(
        "journalctl --sync; journalctl -q -o cat -u {SERVICE}"
    ))?;
    ensure!(said.is_empty(), "each minute: {said}");
    let rating = guest.sh(&format!(
        "systemd-analyze security --no-pager {SERVICE} | tail -n1"
    ))?;
    ensure!(rating.contains("OK") || rating.contains("SAFE"), "{rating}");
    Ok(())
}

fn a_report_tells_of_attempts_and_bans_as_they_were(guest: &Guest) -> Result<()> {
    let since = guest.sh("date +@%s.%6N")?;
    let since = since.split('.').next().context("no time")?;
    // Nothing of the case before in the same second.
    guest.sh("sleep 1")?;
    let (imap, pop3, smtp) = (guest.source(), guest.source(), guest.source_v6());
    guest.attackers.fail(imap, Imap, 2)?;
    guest.attackers.fail(pop3, Pop3, 3)?;
    guest.attackers.fail(smtp, Smtp, 3)?;
    guest.expect_banned(pop3)?;
    guest.expect_banned_in(smtp, "postfix-sasl")?;
    let attempts_of = |report: &Value, source| {
        let sources = report["sources"].as_array().into_iter().flatten();
        let mut sources = sources.filter(|seen| seen["source"] == client(source));
        sources.next().map(|seen| seen["attempts"].clone())
    };
    let mut report = Value::Null;
    wait_for("the attempts to be told of", SOON, || {
        let json = guest.sh(&format!("banjour report --since {since} --json"))?;
        report = serde_json::from_str(&json)?;
        Ok([(imap, 2), (pop3, 3), (smtp, 3)]
            .into_iter()
            .all(|(source, attempts)| attempts_of(&report, source) == Some(attempts.into())))
    })
    .with_context(|| format!("{report:#}"))?;
    let services: Vec<_> = report["services"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|service| service["name"].as_str())
        .collect();
    for service in ["IMAP", "POP3", "SMTP"] {
        ensure!(services.contains(&service), "no {service}: {services:?}");
    }
    let made = guest.sh(&format!(
        "journalctl -q -o cat --since {since} _SYSTEMD_UNIT=banjour.service BANJOUR_ACTION=ban | wc -l"
    ))?;
    ensure!(
        report["bans"]["made"] == made.trim().parse::<u64>()?,
        "not {made}: {}",
        report["bans"]
    );
    ensure!(report["host"].is_string(), "{}", report["host"]);
    let page = guest.sh("banjour report --html /tmp/report.html && cat /tmp/report.html")?;
    ensure!(page.contains("</html>"), "{page}");
    Ok(())
}
