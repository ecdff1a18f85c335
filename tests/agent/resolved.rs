//! systemd-resolved, played: it answers for the names that it was told.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use zbus::{Connection, interface};

use crate::bus::Bus;

const NAME: &str = "org.freedesktop.resolve1";
const PATH: &str = "/org/freedesktop/resolve1";

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<String, Vec<IpAddr>>,
    /// Names that it never answers for.
    silent: Vec<String>,
    asked: Vec<(String, i32, u64)>,
}

type Shared = Arc<Mutex<State>>;

/// A resolved that runs.
pub(crate) struct Resolved<'a> {
    bus: &'a Bus,
    connection: Connection,
    state: Shared,
}

/// As it calls its errors (`org.freedesktop.resolve1(5)`).
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.resolve1")]
enum Error {
    #[zbus(error)]
    Bus(zbus::Error),
    #[zbus(name = "DnsError.NXDOMAIN")]
    NoName(String),
}

struct Manager(Shared);

impl<'a> Resolved<'a> {
    pub(crate) fn start(bus: &'a Bus, names: &[(&str, &[&str])]) -> Self {
        let state = Shared::default();
        for (name, addresses) in names {
            let addresses = parse(addresses);
            state
                .lock()
                .unwrap()
                .names
                .insert((*name).to_owned(), addresses);
        }
        let manager = Manager(Arc::clone(&state));
        let connection = bus.run(bus.builder().serve_at(PATH, manager).name(NAME).build());
        Self {
            bus,
            connection: connection.unwrap(),
            state,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// From now on, a name has these addresses.
    pub(crate) fn set(&self, name: &str, addresses: &[&str]) {
        let addresses = parse(addresses);
        self.state().names.insert(name.to_owned(), addresses);
    }

    /// From now on, there is no such name.
    pub(crate) fn forget(&self, name: &str) {
        self.state().names.remove(name);
    }

    /// From now on, it says nothing of a name.
    pub(crate) fn silence(&self, name: &str) {
        self.state().silent.push(name.to_owned());
    }

    /// What it was asked: name, family, flags.
    pub(crate) fn asked(&self) -> Vec<(String, i32, u64)> {
        self.state().asked.clone()
    }

    pub(crate) fn stop(self) {
        self.bus.run(self.connection.close()).unwrap();
    }
}

fn parse(addresses: &[&str]) -> Vec<IpAddr> {
    let addresses = addresses.iter().map(|text| text.parse().unwrap());
    addresses.collect()
}

type Answer = (Vec<(i32, i32, Vec<u8>)>, String, u64);

#[interface(name = "org.freedesktop.resolve1.Manager")]
impl Manager {
    async fn resolve_hostname(
        &self,
        interface: i32,
        name: String,
        family: i32,
        flags: u64,
    ) -> Result<Answer, Error> {
        let (found, silent) = {
            let mut state = self.0.lock().unwrap();
            state.asked.push((name.clone(), family, flags));
            let silent = state.silent.contains(&name);
            (state.names.get(&name).cloned(), silent)
        };
        if silent {
            std::future::pending::<()>().await;
        }
        let found = found.ok_or_else(|| Error::NoName(format!("{name:?} not found")))?;
        let address = |address: IpAddr| match address {
            IpAddr::V4(v4) => (interface, 2, v4.octets().to_vec()),
            IpAddr::V6(v6) => (interface, 10, v6.octets().to_vec()),
        };
        Ok((found.into_iter().map(address).collect(), name, 0))
    }
}
