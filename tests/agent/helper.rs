//! banjour-netfilter, played: it notes whose connections it is to end.

use std::sync::{Arc, Mutex, PoisonError};

use zbus::{Connection, interface};

use crate::bus::Bus;
use crate::host::becomes;

const NAME: &str = "org.banjour.Netfilter1";
const PATH: &str = "/org/banjour/Netfilter1";

#[derive(Debug, Default)]
struct State {
    disconnected: Vec<String>,
    fault: Option<&'static str>,
}

/// A helper that is there.
pub(crate) struct Helper {
    state: Arc<Mutex<State>>,
    _connection: Connection,
}

/// As the helper calls its errors.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.banjour.Netfilter1.Error")]
enum Error {
    #[zbus(error)]
    Bus(zbus::Error),
    Failed(String),
    InvalidSource(String),
}

struct Netfilter(Arc<Mutex<State>>);

#[interface(name = "org.banjour.Netfilter1")]
impl Netfilter {
    fn disconnect(&self, sources: Vec<String>) -> Result<u32, Error> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fault) = state.fault {
            return Err(Error::Failed(fault.to_owned()));
        }
        if let Some(own) = sources.iter().find(|source| *source == Helper::OWN) {
            return Err(Error::InvalidSource(own.clone()));
        }
        state.disconnected.extend(sources);
        Ok(0)
    }
}

impl Helper {
    /// The host's own address, as this helper has it.
    pub(crate) const OWN: &'static str = "198.18.255.1";

    pub(crate) fn start(bus: &Bus) -> Self {
        let state = Arc::default();
        let build = bus
            .builder()
            .serve_at(PATH, Netfilter(Arc::clone(&state)))
            .name(NAME)
            .build();
        Self {
            state,
            _connection: bus.run(build).unwrap(),
        }
    }

    /// Waits until it was told to end these sources' connections, in this order, and no others.
    #[track_caller]
    pub(crate) fn hears(&self, sources: &[&str]) {
        becomes(sources, || {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.disconnected.clone()
        });
    }

    /// From now on it fails so, or no more.
    pub(crate) fn set_fault(&self, fault: Option<&'static str>) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fault = fault;
    }
}
