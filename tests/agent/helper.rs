//! banjour-netfilter, played: it notes what it is to keep out, and whose connections it is to end.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zbus::{Connection, interface};

use crate::bus::Bus;
use crate::host::becomes;

const PATH: &str = "/org/banjour/Netfilter1";

/// With what a helper keeps sources out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nftables,
    Iptables,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the host has what this helper needs.
    usable: bool,
    /// All ports, and reject; nothing where there are no rules.
    rules: Option<(bool, bool)>,
    sources: BTreeMap<String, u64>,
    /// The other ends of the sockets that it has handed out.
    watched: Vec<UnixDatagram>,
    disconnected: Vec<String>,
    changes: Vec<String>,
    fault: Option<&'static str>,
}

type Shared = Arc<Mutex<State>>;

/// The helpers of a host, one for nftables and one for iptables, on which nothing can be kept out yet.
pub(crate) struct Helper {
    helpers: [Shared; 2],
    _connections: [Connection; 2],
}

/// As the helper calls its errors.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.banjour.Netfilter1.Error")]
enum Error {
    #[zbus(error)]
    Bus(zbus::Error),
    Failed(String),
    Unsupported(String),
}

type Refused = (String, String);

struct Netfilter(Shared);

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Netfilter {
    /// Its state, if it can do anything.
    fn usable(&self, verb: &str) -> Result<MutexGuard<'_, State>, Error> {
        let mut state = lock(&self.0);
        if let Some(fault) = state.fault {
            return Err(Error::Failed(fault.to_owned()));
        }
        if !state.usable {
            return Err(Error::Unsupported("it is not installed".to_owned()));
        }
        state.changes.push(verb.to_owned());
        Ok(state)
    }
}

impl State {
    fn add(&mut self, sources: Vec<(String, u64)>) -> Vec<Refused> {
        let (own, sources): (Vec<_>, Vec<_>) = sources
            .into_iter()
            .partition(|(source, _)| source == Helper::OWN);
        self.sources.extend(sources);
        own.into_iter()
            .map(|(source, _)| (source, "is an address of this host".to_owned()))
            .collect()
    }

    fn shown(&self) -> String {
        self.rules
            .map_or(String::new(), |rules| format!("{rules:?}"))
    }
}

#[interface(name = "org.banjour.Netfilter1")]
impl Netfilter {
    fn replace(
        &self,
        all_ports: bool,
        reject: bool,
        sources: Vec<(String, u64)>,
    ) -> Result<(String, Vec<Refused>), Error> {
        let mut state = self.usable(&format!("replace {}", sources.len()))?;
        state.rules = Some((all_ports, reject));
        state.sources.clear();
        let refused = state.add(sources);
        Ok((state.shown(), refused))
    }

    #[allow(clippy::needless_pass_by_value, reason = "zbus wants values")]
    fn apply(
        &self,
        removed: Vec<String>,
        added: Vec<(String, u64)>,
    ) -> Result<Vec<Refused>, Error> {
        let mut state = self.usable(&format!("apply {} {}", removed.len(), added.len()))?;
        if state.rules.is_none() {
            return Err(Error::Failed("there is no table".to_owned()));
        }
        state.sources.retain(|source, _| !removed.contains(source));
        Ok(state.add(added))
    }

    fn list(&self) -> Result<(String, Vec<(String, u64)>), Error> {
        let state = self.usable("list")?;
        Ok((state.shown(), state.sources.clone().into_iter().collect()))
    }

    fn dropped(&self) -> Result<(u64, u64), Error> {
        self.usable("dropped").map(|_| (7, 420))
    }

    /// No change is ever told.
    fn watch(&self) -> Result<zbus::OwnedFd, Error> {
        let mut state = self.usable("watch")?;
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        state.watched.push(ours);
        Ok(OwnedFd::from(theirs).into())
    }

    fn clear(&self) -> Result<(), Error> {
        let mut state = self.usable("clear")?;
        state.rules = None;
        state.sources.clear();
        Ok(())
    }

    fn disconnect(&self, sources: Vec<String>) -> Result<(u32, Vec<Refused>), Error> {
        let mut state = lock(&self.0);
        if let Some(fault) = state.fault {
            return Err(Error::Failed(fault.to_owned()));
        }
        let (own, sources): (Vec<_>, Vec<_>) = sources
            .into_iter()
            .partition(|source| *source == Helper::OWN);
        state.disconnected.extend(sources);
        let why = "is an address of this host".to_owned();
        Ok((0, own.into_iter().map(|own| (own, why.clone())).collect()))
    }
}

impl Helper {
    /// The host's own address, as this helper has it.
    pub(crate) const OWN: &'static str = "198.18.255.1";

    pub(crate) fn start(bus: &Bus) -> Self {
        let helpers = [Shared::default(), Shared::default()];
        let names = ["org.banjour.Netfilter1", "org.banjour.Iptables1"];
        let connections = [0, 1].map(|n| {
            let build = bus
                .builder()
                .serve_at(PATH, Netfilter(Arc::clone(&helpers[n])))
                .name(names[n])
                .build();
            bus.run(build).unwrap()
        });
        Self {
            helpers,
            _connections: connections,
        }
    }

    fn state(&self, kind: Kind) -> MutexGuard<'_, State> {
        lock(&self.helpers[kind as usize])
    }

    /// What it needs has been installed, or has gone.
    pub(crate) fn install(&self, kind: Kind, usable: bool) {
        self.state(kind).usable = usable;
    }

    /// Somebody changes the kernel.
    pub(crate) fn flush(&self, kind: Kind) {
        let mut state = self.state(kind);
        state.rules = None;
        state.sources.clear();
    }

    /// Somebody puts a source in.
    pub(crate) fn put(&self, kind: Kind, source: &str, until: u64) {
        self.state(kind).sources.insert(source.to_owned(), until);
    }

    /// Whether all ports are closed, and whether it is told; nothing without rules.
    pub(crate) fn rules(&self, kind: Kind) -> Option<(bool, bool)> {
        self.state(kind).rules
    }

    /// Until when a source is kept out.
    pub(crate) fn until(&self, kind: Kind, source: &str) -> Option<u64> {
        self.state(kind).sources.get(source).copied()
    }

    /// Waits until these, and no others, are kept out.
    #[track_caller]
    pub(crate) fn holds(&self, kind: Kind, sources: &[&str]) {
        becomes(sources, || {
            self.state(kind).sources.keys().cloned().collect::<Vec<_>>()
        });
    }

    /// The calls since this was last asked.
    pub(crate) fn take_calls(&self, kind: Kind) -> Vec<String> {
        std::mem::take(&mut self.state(kind).changes)
    }

    /// Waits until it was told to end these sources' connections, in this order, and no others.
    #[track_caller]
    pub(crate) fn hears(&self, sources: &[&str]) {
        becomes(sources, || self.state(Kind::Nftables).disconnected.clone());
    }

    /// From now on it fails so, or no more.
    pub(crate) fn set_fault(&self, fault: Option<&'static str>) {
        for kind in [Kind::Nftables, Kind::Iptables] {
            self.state(kind).fault = fault;
        }
    }
}
