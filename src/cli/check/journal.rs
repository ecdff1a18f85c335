//! The journal: whether what the mail servers write gets there, and from units that filters read.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::Host;
use super::journald::{self, INFO};
use super::report::{Group::Journal, Report};
use crate::cli::text;
use crate::filter::{Filter, Unit};
use crate::journal::{Place, extent, is_read, last_written, suppressed};
use crate::units::{Daemon, MailUnit};

/// Daemons write a line when they start; that may take a moment to be read.
const JUST_STARTED: SignedDuration = SignedDuration::from_secs(30);

/// How far back it is looked for lines that journald has dropped.
pub(super) const LOOKS_BACK: SignedDuration = SignedDuration::from_hours(24);

pub(super) async fn look(report: &mut Report, host: &Host) {
    let place = Place::Root("/".into());
    storage(report);
    let begin = if let Ok(Some((first, _))) = extent(&place) {
        first
    } else {
        let what = "cannot read the system's journal";
        if host.is_root {
            report.do_this(Journal, what, "systemctl status systemd-journald");
        } else {
            let action = "run it as root, or as a member of group \"systemd-journal\"";
            report.unknown(Journal, what, action);
        }
        Timestamp::now()
    };
    match &host.units {
        Ok(units) => {
            for unit in units {
                whether_it_writes(report, host, unit, &place, begin).await;
            }
            none_at_all(report, host, units);
        }
        Err(error) => report.unknown(
            Journal,
            format!("cannot ask systemd for the mail units: {error}"),
            "systemctl list-units 'dovecot*' 'postfix*'",
        ),
    }
    unread(report, host);
    dropped(report, host, &place).await;
}

fn storage(report: &mut Report) {
    let settings = journald::settings(Path::new("/"));
    let mut fine = true;
    if let Some((value, path)) = settings.get("Storage")
        && value == "none"
    {
        fine = false;
        report.do_this(
            Journal,
            format!("journald keeps nothing: Storage=none in {}", path.display()),
            "set Storage=auto there (rsyslog still gets all by ForwardToSyslog=), then: systemctl restart systemd-journald",
        );
    }
    if let Some((value, path)) = settings.get("MaxLevelStore")
        && journald::level(value).is_some_and(|level| level < INFO)
    {
        fine = false;
        report.do_this(
            Journal,
            format!(
                "journald drops what Dovecot says of failed logins, which is of level info: MaxLevelStore={value} in {}",
                path.display()
            ),
            "set MaxLevelStore=info there, then: systemctl restart systemd-journald",
        );
    }
    if fine {
        report.fine(Journal, "journald keeps all levels that matter");
    }
}

/// Whether a unit that filters read runs, and has written to the journal since it was started.
async fn whether_it_writes(
    report: &mut Report,
    host: &Host,
    unit: &MailUnit,
    place: &Place,
    begin: Timestamp,
) {
    let name = &unit.name;
    if !unit.is_read {
        return;
    }
    if unit.state == "failed" {
        let action = format!("systemctl status {name}");
        report.do_this(Journal, format!("{name} has failed"), action);
        return;
    }
    // What starts no mail server is a wrapper, as postfix.service of Debian 12.
    if !unit.runs() || unit.daemon.is_none() {
        return;
    }
    let namespace: Option<String> = host.systemd.property(unit, "LogNamespace").await;
    if let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) {
        report.do_this(
            Journal,
            format!("{name} writes to a journal of its own, LogNamespace={namespace}, which banjour does not read"),
            format!("take LogNamespace= out (systemctl edit {name}), then: systemctl restart {name}"),
        );
        return;
    }
    let level: Option<i32> = host.systemd.property(unit, "LogLevelMax").await;
    if level.is_some_and(|level| (0..i32::from(INFO)).contains(&level)) {
        report.do_this(
            Journal,
            format!("{name} keeps failed logins from the journal: its LogLevelMax= is below info"),
            format!(
                "take LogLevelMax= out (systemctl edit {name}), then: systemctl restart {name}"
            ),
        );
    }
    let now = Timestamp::now();
    let started = host
        .systemd
        .started(unit)
        .await
        .and_then(|usec| Timestamp::from_microsecond(i64::try_from(usec).ok()?).ok());
    let started = started.unwrap_or(begin);
    // What was written before may be gone.
    let known_for = now.duration_since(started.max(begin));
    let is_all_known = begin <= started || known_for >= LOOKS_BACK;
    match last_written(place, name) {
        Ok(Some(at)) if at >= started - JUST_STARTED => {
            report.fine(
                Journal,
                format!(
                    "{name} runs, and wrote to the journal {}",
                    ago(now.duration_since(at))
                ),
            );
        }
        Ok(_) if known_for < JUST_STARTED || !is_all_known => report.fine(
            Journal,
            format!(
                "{name} runs, and wrote nothing in the last {}",
                span(known_for)
            ),
        ),
        Ok(_) => report.do_this(
            Journal,
            format!("{name} runs, and has written nothing to the journal since its start"),
            format!("see below where it logs to; if that is the journal: systemctl restart {name}"),
        ),
        // It was told above that the journal can't be read.
        Err(_) => report.fine(Journal, format!("{name} runs")),
    }
}

fn ago(of: SignedDuration) -> String {
    if of < JUST_STARTED {
        "just now".to_owned()
    } else {
        format!("{} ago", span(of))
    }
}

fn span(of: SignedDuration) -> String {
    text::span(u64::try_from(of.as_micros()).unwrap_or(0))
}

fn none_at_all(report: &mut Report, host: &Host, units: &[MailUnit]) {
    if units.iter().any(|unit| unit.runs() && unit.is_read) {
        return;
    }
    let mut names: Vec<_> = host
        .filters
        .values()
        .flat_map(Filter::units)
        .map(ToString::to_string)
        .collect();
    names.dedup();
    report.do_this(
        Journal,
        format!(
            "none of the units that filters read runs: {}",
            names.join(", ")
        ),
        "start the mail server, or see \"Filters\" in banjour's README for one in another unit",
    );
}

/// Mail servers that run where no filter reads.
fn unread(report: &mut Report, host: &Host) {
    let mut told = Vec::new();
    let units = host.running().filter(|unit| !unit.is_read);
    let units = units.filter_map(|unit| Some((unit.name.clone(), unit.daemon?, false)));
    let processes = host
        .processes
        .iter()
        .map(|process| (process.unit.clone(), process.daemon, process.is_contained));
    for (name, daemon, is_contained) in units.chain(processes) {
        if is_read(&host.filters, &name) || told.contains(&(name.clone(), daemon)) {
            continue;
        }
        told.push((name.clone(), daemon));
        if is_contained {
            report.advise(
                Journal,
                format!(
                    "a {daemon} runs in a container ({name}), whose log banjour does not read here"
                ),
                "run banjour in the container, or have the container log to this host's journal",
            );
        } else if name.parse::<Unit>().is_ok() {
            report.do_this(
                Journal,
                format!("{daemon} runs in {name}, which no filter reads: nobody is banned for what fails there"),
                add_unit(daemon, &name),
            );
        } else {
            report.do_this(
                Journal,
                format!("{daemon} was not started by systemd, and runs in {name}: no filter reads what it writes"),
                format!("stop it, and start it by its unit: systemctl start {}", daemon.filter_unit()),
            );
        }
    }
}

/// The command that has a filter read one more unit.
fn add_unit(daemon: Daemon, unit: &str) -> String {
    let file = format!("filters/{}.toml", daemon.filter());
    let edit = format!("'s/^units = \\[/&\"{}\", /'", unit.replace('\\', r"\\\\"));
    let own = format!("/etc/banjour/{file}");
    let edited = if Path::new(&own).exists() {
        format!("sed -i {edit} {own}")
    } else {
        format!("mkdir -p /etc/banjour/filters; sed {edit} /usr/lib/banjour/{file} >{own}")
    };
    format!("{edited}; systemctl reload banjour")
}

/// Lines of mail units that journald has dropped since they, and it, were last started: what was before, a change of its
/// limits may have mended.
async fn dropped(report: &mut Report, host: &Host, place: &Place) {
    let day = Timestamp::now() - LOOKS_BACK;
    let Ok(suppressed) = suppressed(place, &host.filters, day) else {
        return;
    };
    let journald = host
        .systemd
        .started_by_name("systemd-journald.service")
        .await;
    let mut fine = true;
    for unit in host.running().filter(|unit| unit.is_read) {
        let started = host.systemd.started(unit).await;
        let since = started.max(journald).unwrap_or(0);
        let of_unit = suppressed.iter().filter(|told| {
            told.unit == unit.name
                && u64::try_from(told.at.as_microsecond()).is_ok_and(|at| at >= since)
        });
        let lines: u64 = of_unit.map(|told| told.lines).sum();
        if lines > 0 {
            fine = false;
            let name = &unit.name;
            report.do_this(
                Journal,
                format!("journald has dropped {lines} lines of {name} in the last day: attempts among them are lost"),
                format!(
                    "mkdir -p /etc/systemd/system/{name}.d; printf '[Service]\\nLogRateLimitIntervalSec=1s\\nLogRateLimitBurst=1000000\\n' \
                     >/etc/systemd/system/{name}.d/banjour.conf; systemctl daemon-reload; systemctl restart {name}"
                ),
            );
        }
    }
    if fine {
        report.fine(Journal, "journald has dropped nothing of the mail units");
    }
}
