//! The ports that the mail servers listen on, against those that a ban closes.

use std::collections::BTreeMap;

use super::Host;
use super::agent::AS_ROOT;
use super::processes::{Process, open_ports};
use super::report::{Group::Firewall, Report};
use crate::cli::kernel::Closed;
use crate::firewall::Backend;
use crate::units::Daemon;

pub(super) fn look(report: &mut Report, host: &Host, backend: Backend, closed: &Closed) {
    let mut open: BTreeMap<u16, Daemon> = BTreeMap::new();
    for Process { id, daemon, .. } in host.processes.iter().filter(|p| !p.is_contained) {
        let Some(ports) = open_ports(*id) else {
            report.unknown(
                Firewall,
                format!("on which ports {daemon} listens"),
                AS_ROOT,
            );
            return;
        };
        open.extend(ports.into_iter().map(|port| (port, *daemon)));
    }
    if open.is_empty() {
        return;
    }
    let (closed, left): (Vec<_>, Vec<_>) =
        open.into_iter().partition(|(port, _)| closed.has(*port));
    if left.is_empty() {
        let ports: Vec<_> = closed.iter().map(|(port, _)| port.to_string()).collect();
        report.fine(
            Firewall,
            format!(
                "a ban closes all ports that the mail servers listen on: {}",
                ports.join(", ")
            ),
        );
        return;
    }
    let named: Vec<_> = left
        .iter()
        .map(|(port, daemon)| format!("{port} ({daemon})"))
        .collect();
    report.do_this(
        Firewall,
        format!("a ban does not close all ports that the mail servers listen on: {}", named.join(", ")),
        match backend {
            Backend::Firewalld => "take the listener out, or copy /usr/lib/firewalld/policies/banjour.xml to /etc/firewalld/policies, add the port there, then: firewall-cmd --reload",
            Backend::Nftables | Backend::Iptables => "take the listener out, or set ports = \"all\" in /etc/banjour/banjour.toml, then: systemctl reload banjour",
        },
    );
}
