//! Bans → the firewall. The driver holds what is *desired* and what is *applied*, and brings the second to the first. It
//! is driven by their difference, not by events: a start, another firewall, firewalld's reload, an error each mean just
//! "what is applied is unknown: begin again". From time to time, and when it hears that somebody has changed something, it
//! reads back what there is.

mod desired;
mod driver;
mod firewalld;
mod found;
mod netfilter;
mod reading;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;
use zbus::Connection;

use crate::source::Source;
use crate::usec::Usec;

pub use desired::Desired;
pub use driver::{Report, run};
use firewalld::Firewalld;
use netfilter::Netfilter;
pub use netfilter::{Disconnections, NotEnded};

/// How long a helper may take to tell what it was left with.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it may take to tell what it has dropped: who asks is somebody at a terminal.
const GLANCE: Duration = Duration::from_secs(3);

/// What the admin wants of the firewall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Which one; without, the first that there is.
    pub backend: Option<Backend>,
    /// A ban closes all ports, not those of mail alone.
    pub all_ports: bool,
    /// Banned sources are told, instead of nothing.
    pub reject: bool,
}

/// Who keeps banned sources out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backend {
    /// firewalld, which has sets and a policy of ours.
    Firewalld,
    /// Our helper, with nftables.
    Nftables,
    /// Our helper, with iptables and ipset.
    Iptables,
}

impl Backend {
    /// All, in the order of preference.
    pub const ALL: [Self; 3] = [Self::Firewalld, Self::Nftables, Self::Iptables];

    /// The name in settings, on the bus and in texts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firewalld => "firewalld",
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What keeps bans from being in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody owns firewalld's name on the bus.
    #[error(
        "firewalld does not run, so that no ban is in force; run \"systemctl start firewalld\""
    )]
    Absent,
    /// firewalld does not know our sets, or not the policy that drops their members.
    #[error(
        "firewalld has not loaded banjour's sets and policy, so that no ban is in force; run \"firewall-cmd --reload\""
    )]
    SetsMissing,
    /// This host has not what the backend needs.
    #[error("{0} cannot be used, so that no ban is in force: {1}")]
    Unsupported(Backend, String),
    /// There is no firewall at all.
    #[error(
        "there is no firewall, so that no ban is in force: firewalld does not run, {0}, {1}; run \"apt install nftables\""
    )]
    None(String, String),
    /// It does not answer.
    #[error("{0} does not answer, so that new bans are not in force")]
    Hangs(Backend),
    /// It answered with an error.
    #[error("{0} refuses, so that new bans are not in force: {1}")]
    Refused(Backend, String),
    /// It will never ban this source.
    #[error("{0} refuses a source, which is not kept out: {1:?} {2}")]
    RefusedSource(Backend, String, String),
}

/// What a kernel keeps out for us, each until when, as an agent before this one has left it; and with what. A helper that
/// does not answer in time holds nothing.
pub async fn left(connection: &Connection) -> Option<(Backend, BTreeMap<Source, Timestamp>)> {
    for backend in [Backend::Nftables, Backend::Iptables] {
        let read = async {
            Netfilter::new(connection, backend)
                .await
                .ok()?
                .read()
                .await
                .ok()
        };
        let Ok(Some(found)) = timeout(PATIENCE, read).await else {
            continue;
        };
        let timed = |(source, until): (Source, Option<Usec>)| Some((source, until?.time()));
        let sources: BTreeMap<_, _> = found.sources.into_iter().filter_map(timed).collect();
        if !sources.is_empty() {
            return Some((backend, sources));
        }
    }
    None
}

/// Whether a source is kept out, or all of a network around it, by the firewall's own word.
///
/// # Errors
/// When it can't be asked.
pub async fn holds(
    connection: &Connection,
    backend: Backend,
    source: Source,
) -> Result<bool, Error> {
    let holds = |held: &Source| held.contains(source);
    if backend != Backend::Firewalld {
        return Ok(held(connection, backend).await?.1.iter().any(holds));
    }
    let read = async { Firewalld::new(connection).await?.read().await };
    let found = timeout(PATIENCE, read).await;
    Ok(found.map_err(|_| Error::Hangs(backend))??.iter().any(holds))
}

/// The rules that keep sources out by our helper, and the sources, as the kernel has them now.
///
/// # Errors
/// When it can't be asked.
pub async fn held(
    connection: &Connection,
    backend: Backend,
) -> Result<(String, BTreeSet<Source>), Error> {
    let helper = helper(connection, backend).await?;
    let found = timeout(PATIENCE, helper.read()).await;
    let found = found.map_err(|_| Error::Hangs(backend))??;
    let sources = found
        .sources
        .into_iter()
        .map(|(source, _)| source)
        .collect();
    Ok((found.rules.unwrap_or_default(), sources))
}

/// How many packets and bytes of banned sources were not let in, where that is counted.
///
/// # Errors
/// When it can't be asked.
pub async fn dropped(
    connection: &Connection,
    backend: Backend,
) -> Result<Option<(u64, u64)>, Error> {
    if backend == Backend::Firewalld {
        return Ok(None);
    }
    let helper = helper(connection, backend).await?;
    let dropped = timeout(GLANCE, helper.dropped()).await;
    dropped.map_err(|_| Error::Hangs(backend))?.map(Some)
}

async fn helper(connection: &Connection, backend: Backend) -> Result<Netfilter<'static>, Error> {
    let helper = Netfilter::new(connection, backend).await;
    helper.map_err(|e| Error::Refused(backend, e.to_string()))
}
