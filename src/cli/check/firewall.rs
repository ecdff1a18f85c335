//! The firewall: whether it keeps out who is banned, by the kernel's own word, and from all ports that the mail servers
//! listen on.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;
use zbus::Connection;

use super::agent::AS_ROOT;
use super::report::{Group::Firewall, Report};
use super::{Host, ports};
use crate::bus::ManagerProxy;
use crate::cli::kernel::{self, Closed, Kept};
use crate::firewall::{Backend, held};
use crate::jail::usec;
use crate::source::Source;

/// A ban that came or went between two questions is no difference: they are asked again …
const TRIES: u32 = 4;
/// … after this time.
const PAUSE: Duration = Duration::from_millis(500);

/// Who is let in again within this time may be kept out, or not, in µs.
const SOON: u64 = 3_000_000;

pub(super) async fn look(report: &mut Report, host: &Host) {
    let Some(manager) = &host.manager else {
        report.unknown(
            Firewall,
            "whom the firewall should keep out, since the agent does not run",
            "start it, then check again",
        );
        return;
    };
    let name = manager.firewall().await.unwrap_or_default();
    let Some(backend) = Backend::ALL
        .into_iter()
        .find(|backend| backend.as_str() == name)
    else {
        report.problem(
            Firewall,
            "nothing keeps banned sources out; see the agent's problems",
        );
        return;
    };
    report.fine(Firewall, format!("{backend} keeps banned sources out"));
    if !host.is_root {
        counted(report, manager).await;
        report.unknown(Firewall, "whether the kernel really drops them", AS_ROOT);
        return;
    }
    if backend == Backend::Firewalld && kernel::is_nftables(&host.connection).await == Some(false) {
        counted(report, manager).await;
        report.unknown(
            Firewall,
            "whether the kernel really drops them, since firewalld has it do so by iptables",
            "iptables-save | grep banjour; ipset list banjour-ipv4",
        );
        return;
    }
    let kept = match compare(&host.connection, manager, backend).await {
        Ok((kept, banned, difference)) => {
            match difference {
                None => report.fine(
                    Firewall,
                    format!("the kernel keeps out who is banned ({banned}), and nobody else"),
                ),
                Some(difference) => report.do_this(Firewall, difference, mend(backend)),
            }
            kept
        }
        Err(error) => {
            report.do_this(Firewall, error, mend(backend));
            return;
        }
    };
    if kept.closed == Closed::default() {
        report.do_this(
            Firewall,
            "no rule in the kernel drops what banned sources send: bans are not in force",
            mend(backend),
        );
        return;
    }
    ports::look(report, host, backend, &kept.closed);
}

/// What helps where the kernel has not what it should.
fn mend(backend: Backend) -> &'static str {
    match backend {
        // It can't reload when its table is gone.
        Backend::Firewalld => {
            "systemctl restart firewalld (drops rules that are not permanent); banjour fills its sets again"
        }
        Backend::Nftables | Backend::Iptables => {
            "systemctl restart banjour; if it comes back: journalctl -u banjour -n 20"
        }
    }
}

async fn banned(manager: &ManagerProxy<'_>) -> Result<BTreeSet<Source>, String> {
    let bans = manager.list_bans().await;
    let bans = bans.map_err(|e| format!("cannot ask who is banned: {e}"))?;
    let soon = usec(Timestamp::now()) + SOON;
    let lasting = bans.into_iter().filter(|(_, _, _, until)| *until > soon);
    Ok(lasting
        .filter_map(|(source, ..)| source.parse().ok())
        .collect())
}

/// What anybody may ask.
async fn counted(report: &mut Report, manager: &ManagerProxy<'_>) {
    for attempt in 1..=TRIES {
        let (Ok(banned), Ok(in_force)) = (banned(manager).await, manager.in_force().await) else {
            return;
        };
        let in_force = usize::try_from(in_force).unwrap_or(usize::MAX);
        if in_force >= banned.len() {
            report.fine(
                Firewall,
                format!("all banned sources are kept out ({in_force}), says the agent"),
            );
            return;
        }
        if attempt == TRIES {
            report.do_this(
                Firewall,
                format!("{in_force} of {} banned sources are kept out", banned.len()),
                "journalctl -u banjour -n 20",
            );
        }
        sleep(PAUSE).await;
    }
}

/// What the kernel holds, how many are banned, and how these differ.
async fn compare(
    connection: &Connection,
    manager: &ManagerProxy<'_>,
    backend: Backend,
) -> Result<(Kept, usize, Option<String>), String> {
    let mut tries = 1;
    loop {
        let kept = match backend {
            Backend::Firewalld => kernel::of_firewalld().await?,
            Backend::Nftables | Backend::Iptables => {
                let held = held(connection, backend).await;
                kernel::of_helper(held.map_err(|e| e.to_string())?)
            }
        };
        let banned = banned(manager).await?;
        let missing = banned.iter().filter(|source| !kept.keeps_out(**source));
        let missing: Vec<_> = missing.collect();
        let foreign = kept.foreign(&banned);
        if missing.is_empty() && foreign.is_empty() {
            return Ok((kept, banned.len(), None));
        }
        if tries == TRIES {
            let named = |sources: Vec<&Source>, how: &str| {
                let first = sources.first()?;
                Some(format!("{} {how}, such as {first}", sources.len()))
            };
            let parts = [
                named(missing, "banned sources are let in by the kernel"),
                named(foreign, "are kept out that are not banned"),
            ];
            let difference = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
            return Ok((kept, banned.len(), Some(difference)));
        }
        tries += 1;
        sleep(PAUSE).await;
    }
}
