//! firewalld, played: two sets, a record of what was called, and faults to be switched on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use banjour::source::Source;
use tokio::time::sleep;
use zbus::{Connection, interface};

use crate::bus::Bus;
use crate::host::becomes;

const NAME: &str = "org.fedoraproject.FirewallD1";
const PATH: &str = "/org/fedoraproject/FirewallD1";
const SETS: [&str; 2] = ["banjour-ipv4", "banjour-ipv6"];

/// What is wrong with it.
#[derive(Clone, Debug, Default)]
pub(crate) enum Fault {
    #[default]
    None,
    /// Every call fails with this text.
    Refuses(&'static str),
    /// Calls that change something fail with this text.
    RefusesChanges(&'static str),
    /// Every call takes so long.
    Slow(Duration),
    /// Calls are answered when this is over.
    Busy,
    /// No call is ever answered.
    Silent,
}

#[derive(Debug, Default)]
struct State {
    policies: Vec<String>,
    sets: BTreeMap<String, BTreeSet<String>>,
    calls: Vec<String>,
    fault: Fault,
}

type Shared = Arc<Mutex<State>>;

/// A firewalld that runs.
pub(crate) struct Firewalld<'a> {
    bus: &'a Bus,
    connection: Connection,
    state: Shared,
}

/// firewalld has one name for all its errors; what happened is the text's first word.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.fedoraproject.FirewallD1")]
enum Error {
    #[zbus(error)]
    Bus(zbus::Error),
    Exception(String),
}

struct IpSet(Shared);

struct Policy(Shared);

impl<'a> Firewalld<'a> {
    /// Starts one that knows banjour's sets, both empty.
    pub(crate) fn start(bus: &'a Bus) -> Self {
        Self::start_with(bus, Fault::None)
    }

    /// Starts one that has a fault from the first moment on.
    pub(crate) fn start_with(bus: &'a Bus, fault: Fault) -> Self {
        let state = Shared::default();
        lock(&state).fault = fault;
        lock(&state).load();
        let build = bus
            .builder()
            .serve_at(PATH, IpSet(Arc::clone(&state)))
            .serve_at(PATH, Policy(Arc::clone(&state)))
            .name(NAME)
            .build();
        let connection = bus.run(build);
        Self {
            bus,
            connection: connection.unwrap(),
            state,
        }
    }

    /// Ends it; what it had in its sets is gone.
    pub(crate) fn stop(self) {
        self.bus.run(self.connection.close()).unwrap();
    }

    /// `firewall-cmd --reload`: run-time entries are gone, and everybody hears of it.
    pub(crate) fn reload(&self) {
        self.empty();
        self.reloaded();
    }

    /// The signal alone.
    pub(crate) fn reloaded(&self) {
        let signal = self
            .connection
            .emit_signal(None::<&str>, PATH, NAME, "Reloaded", &());
        self.bus.run(signal).unwrap();
    }

    /// Takes every entry out of the sets.
    pub(crate) fn empty(&self) {
        for set in lock(&self.state).sets.values_mut() {
            set.clear();
        }
    }

    /// Puts an entry in, as somebody else would.
    pub(crate) fn put(&self, set: &str, entry: &str) {
        let mut state = lock(&self.state);
        state.sets.get_mut(set).unwrap().insert(entry.to_owned());
    }

    /// `firewall-cmd --ipset=SET --remove-entry=ENTRY`, of which everybody hears.
    pub(crate) fn remove(&self, set: &str, entry: &str) {
        let mut state = lock(&self.state);
        assert!(state.sets.get_mut(set).unwrap().remove(entry));
        drop(state);
        let (interface, body) = ("org.fedoraproject.FirewallD1.ipset", (set, entry));
        let signal =
            self.connection
                .emit_signal(None::<&str>, PATH, interface, "EntryRemoved", &body);
        self.bus.run(signal).unwrap();
    }

    /// Forgets the sets and the policy, as a firewalld that has not read banjour's files.
    pub(crate) fn forget(&self) {
        lock(&self.state).sets.clear();
        self.forget_policy();
    }

    /// Forgets the policy alone.
    pub(crate) fn forget_policy(&self) {
        lock(&self.state).policies.clear();
    }

    /// `firewall-cmd --reload` where it has not read banjour's files yet.
    pub(crate) fn load(&self) {
        lock(&self.state).load();
        self.reloaded();
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        lock(&self.state).fault = fault;
    }

    /// All entries of both sets.
    pub(crate) fn entries(&self) -> BTreeSet<String> {
        lock(&self.state).sets.values().flatten().cloned().collect()
    }

    /// Waits until these, and no others, are kept out.
    #[track_caller]
    pub(crate) fn holds(&self, sources: &[&str]) {
        let wanted: BTreeSet<String> = sources.iter().map(ToString::to_string).collect();
        becomes(&wanted, || self.entries());
    }

    /// The calls that changed something since this was last asked, each as `method set entries`.
    pub(crate) fn take_changes(&self) -> Vec<String> {
        let calls = std::mem::take(&mut lock(&self.state).calls);
        calls
            .into_iter()
            .filter(|call| !call.starts_with("get"))
            .collect()
    }

    /// How many calls there were since the changes were last taken.
    pub(crate) fn calls(&self) -> usize {
        lock(&self.state).calls.len()
    }
}

impl State {
    /// Reads banjour's files: empty sets, and the policy that makes use of them.
    fn load(&mut self) {
        self.sets = SETS.map(|set| (set.to_owned(), BTreeSet::new())).into();
        self.policies = ["allow-host-ipv6", "banjour"].map(str::to_owned).into();
    }
}

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap()
}

/// Writes a call down, and fails or dawdles as the test wants.
async fn begin(state: &Shared, call: String) -> Result<(), Error> {
    let fault = {
        let mut state = lock(state);
        state.calls.push(call.clone());
        state.fault.clone()
    };
    match fault {
        Fault::None => Ok(()),
        Fault::RefusesChanges(_) if call.starts_with("get") => Ok(()),
        Fault::Refuses(text) | Fault::RefusesChanges(text) => {
            Err(Error::Exception(text.to_owned()))
        }
        Fault::Slow(time) => {
            sleep(time).await;
            Ok(())
        }
        Fault::Busy => {
            while matches!(lock(state).fault, Fault::Busy) {
                sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        }
        Fault::Silent => std::future::pending().await,
    }
}

impl IpSet {
    fn change<T>(
        &self,
        ipset: &str,
        change: impl FnOnce(&mut BTreeSet<String>) -> Result<T, String>,
    ) -> Result<T, Error> {
        let mut state = lock(&self.0);
        let set = state
            .sets
            .get_mut(ipset)
            .ok_or_else(|| Error::Exception(format!("INVALID_IPSET: {ipset}")))?;
        change(set).map_err(Error::Exception)
    }
}

/// Overlapping entries are refused (`check_entry_overlaps_existing` in firewalld's functions.py), and so are those of
/// the other family.
fn check(ipset: &str, entry: &str, set: &BTreeSet<String>) -> Result<(), String> {
    let invalid = || format!("INVALID_ENTRY: invalid address '{entry}' in '{ipset}'");
    let source: Source = entry.parse().map_err(|_| invalid())?;
    if source.is_ipv4() != ipset.ends_with("ipv4") {
        return Err(invalid());
    }
    let overlaps = |other: &&String| source.overlaps(other.parse().unwrap());
    match set.iter().find(overlaps) {
        Some(other) => Err(format!(
            "INVALID_ENTRY: Entry '{entry}' overlaps with existing entry '{other}'"
        )),
        None => Ok(()),
    }
}

#[interface(name = "org.fedoraproject.FirewallD1.ipset")]
impl IpSet {
    #[zbus(name = "getEntries")]
    async fn get_entries(&self, ipset: &str) -> Result<Vec<String>, Error> {
        begin(&self.0, format!("getEntries {ipset}")).await?;
        self.change(ipset, |set| Ok(set.iter().cloned().collect()))
    }

    #[zbus(name = "addEntry")]
    async fn add_entry(&self, ipset: &str, entry: &str) -> Result<(), Error> {
        begin(&self.0, format!("addEntry {ipset} {entry}")).await?;
        self.change(ipset, |set| {
            if set.contains(entry) {
                return Err(format!(
                    "ALREADY_ENABLED: '{entry}' already is in '{ipset}'"
                ));
            }
            check(ipset, entry, set)?;
            set.insert(entry.to_owned());
            Ok(())
        })
    }

    #[zbus(name = "removeEntry")]
    async fn remove_entry(&self, ipset: &str, entry: &str) -> Result<(), Error> {
        begin(&self.0, format!("removeEntry {ipset} {entry}")).await?;
        self.change(ipset, |set| {
            if set.remove(entry) {
                return Ok(());
            }
            Err(format!("NOT_ENABLED: '{entry}' not in '{ipset}'"))
        })
    }

    #[zbus(name = "setEntries")]
    async fn set_entries(&self, ipset: &str, entries: Vec<String>) -> Result<(), Error> {
        let call = format!("setEntries {ipset} {}", entries.join(" "));
        begin(&self.0, call.trim_end().to_owned()).await?;
        self.change(ipset, |set| {
            let mut new = BTreeSet::new();
            for entry in entries {
                check(ipset, &entry, &new)?;
                new.insert(entry);
            }
            *set = new;
            Ok(())
        })
    }
}

#[interface(name = "org.fedoraproject.FirewallD1.policy")]
impl Policy {
    #[zbus(name = "getPolicies")]
    async fn get_policies(&self) -> Result<Vec<String>, Error> {
        begin(&self.0, "getPolicies".to_owned()).await?;
        Ok(lock(&self.0).policies.clone())
    }
}
