//! The agent: whether it runs and comes back, what it complains of, and whether it has the configuration that is on disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Host;
use super::report::{Group::Agent, Report};
use crate::config;

const UNIT: &str = "banjour.service";

pub(super) async fn look(report: &mut Report, host: &Host) {
    let config = &host.config;
    if let Err(error) = config {
        report.do_this(
            Agent,
            format!("the configuration is faulty: {error}"),
            "correct it, then: systemctl reload-or-restart banjour",
        );
    }
    match &host.manager {
        Some(manager) => match manager.version().await {
            Ok(version) => report.fine(Agent, format!("banjour {version} runs")),
            Err(error) => report.do_this(
                Agent,
                format!("the agent does not answer: {error}"),
                "systemctl restart banjour; journalctl -u banjour",
            ),
        },
        None => report.do_this(
            Agent,
            "banjour does not run, nobody gets banned",
            "systemctl enable --now banjour; if it ends again: journalctl -u banjour -n 20",
        ),
    }
    starts_at_boot(report, host).await;
    if let Some(manager) = &host.manager {
        if config.is_ok()
            && let Ok(loaded) = manager.loaded_usec().await
        {
            is_loaded(report, loaded);
        }
        match manager.problems().await {
            Ok(problems) if problems.is_empty() => report.fine(Agent, "it has no problems"),
            Ok(problems) => {
                for problem in problems {
                    report.problem(Agent, problem);
                }
            }
            Err(error) => report.unknown(Agent, format!("its problems: {error}"), AS_ROOT),
        }
    }
    jails(report, host);
}

pub(super) const AS_ROOT: &str = "run it as root";

async fn starts_at_boot(report: &mut Report, host: &Host) {
    match host.systemd.unit_file_state(UNIT).await.as_deref() {
        Ok("enabled" | "enabled-runtime" | "static" | "alias" | "generated") => {
            report.fine(Agent, "it starts at boot");
        }
        Ok(state) => report.do_this(
            Agent,
            format!("it does not start at boot: its unit is {state}"),
            "systemctl unmask banjour; systemctl enable banjour",
        ),
        Err(error) => report.unknown(
            Agent,
            format!("whether it starts at boot: {error}"),
            "systemctl is-enabled banjour",
        ),
    }
}

/// The agent's `Problems` tell of files that it can't use; those that it has not read, only their times do.
fn is_loaded(report: &mut Report, loaded_usec: u64) {
    let changed = config::places(Path::new("/"))
        .into_iter()
        .find(|path| changed_usec(path).is_some_and(|changed| changed > loaded_usec));
    match changed {
        None => report.fine(Agent, "the configuration on disk is the one in force"),
        Some(path) => report.do_this(
            Agent,
            format!("{} changed after the agent read it", path.display()),
            "systemctl reload banjour",
        ),
    }
}

/// When a file, or what a directory has in it, was last changed by whatever means.
fn changed_usec(path: &PathBuf) -> Option<u64> {
    let file = fs::metadata(path).ok()?;
    let nanoseconds = i128::from(file.ctime()) * 1_000_000_000 + i128::from(file.ctime_nsec());
    u64::try_from(nanoseconds / 1000).ok()
}

fn jails(report: &mut Report, host: &Host) {
    let Ok(config) = &host.config else { return };
    if config.filters.is_empty() {
        report.do_this(
            Agent,
            "no jail with a filter is enabled, so that nobody gets banned",
            "set enabled = true in a jail in /etc/banjour/banjour.toml, then: systemctl reload banjour",
        );
    }
    let observing = config.jails.iter().filter(|(_, jail)| jail.observes);
    let observing: Vec<&str> = observing.map(|(name, _)| &**name).collect();
    if !observing.is_empty() {
        report.advise(
            Agent,
            format!("these jails only observe, and ban nobody: {}", observing.join(", ")),
            "when you have seen enough: mode = \"enforce\" in /etc/banjour/banjour.toml, then: systemctl reload banjour",
        );
    }
}
