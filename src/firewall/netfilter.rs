//! The helper `banjour-netfilter`, over D-Bus: it does what needs rights that the agent has not. The bus starts it when it
//! is called, with nftables or with iptables.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedFd, fdo};

use super::desired::{Changes, Sources};
use super::found::Found;
use super::{Backend, Error, Settings};
use crate::jail::usec;
use crate::source::Source;
use crate::usec::Usec;

const NFTABLES: &str = "org.banjour.Netfilter1";
const IPTABLES: &str = "org.banjour.Iptables1";

/// The helper's error for what this host can't do.
const UNSUPPORTED: &str = "org.banjour.Netfilter1.Error.Unsupported";

/// How long a call may take that ends connections: the helper may have to be started first.
const PATIENCE: Duration = Duration::from_secs(20);

/// A source as it was named, and why the helper does not touch it.
type Refused = (String, String);

#[zbus::proxy(
    interface = "org.banjour.Netfilter1",
    default_service = "org.banjour.Netfilter1",
    default_path = "/org/banjour/Netfilter1"
)]
trait Helper {
    fn replace(
        &self,
        all_ports: bool,
        reject: bool,
        sources: &[(Source, u64)],
    ) -> zbus::Result<(String, Vec<Refused>)>;
    fn apply(&self, removed: &[Source], added: &[(Source, u64)]) -> zbus::Result<Vec<Refused>>;
    fn list(&self) -> zbus::Result<(String, Vec<(Source, u64)>)>;
    fn dropped(&self) -> zbus::Result<(u64, u64)>;
    fn watch(&self) -> zbus::Result<OwnedFd>;
    fn clear(&self) -> zbus::Result<()>;
    fn disconnect(&self, sources: &[Source]) -> zbus::Result<(u32, Vec<Refused>)>;
}

pub(super) struct Netfilter<'a> {
    backend: Backend,
    helper: HelperProxy<'a>,
}

impl Netfilter<'_> {
    pub(super) async fn new(connection: &Connection, backend: Backend) -> zbus::Result<Self> {
        let name = match backend {
            Backend::Iptables => IPTABLES,
            _ => NFTABLES,
        };
        let helper = HelperProxy::builder(connection)
            .destination(name)
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        Ok(Self { backend, helper })
    }

    /// Makes these all that the kernel keeps out. Returns the rules that do so, and the sources that are refused.
    pub(super) async fn hold(
        &self,
        settings: &Settings,
        wanted: &Sources,
    ) -> Result<(String, Vec<Refused>), Error> {
        let Settings {
            all_ports, reject, ..
        } = *settings;
        let sources = timed(wanted);
        let held = self.helper.replace(all_ports, reject, &sources).await;
        held.map_err(|e| self.failed(e))
    }

    /// Makes the changes. Returns the sources that are refused.
    pub(super) async fn change(&self, changes: &Changes) -> Result<Vec<Refused>, Error> {
        // What is over has gone by itself.
        let now = Usec::from(Timestamp::now());
        let removed = changes.removed.iter().filter(|(_, until)| **until > now);
        // What is there gets another time by being taken out first.
        let removed = removed
            .map(|(source, _)| source)
            .chain(changes.renewed.keys());
        let removed: Vec<Source> = removed.copied().collect();
        let added = [timed(&changes.added), timed(&changes.renewed)].concat();
        if removed.is_empty() && added.is_empty() {
            return Ok(Vec::new());
        }
        let refused = self.helper.apply(&removed, &added).await;
        refused.map_err(|e| self.failed(e))
    }

    pub(super) async fn read(&self) -> Result<Found, Error> {
        let (rules, sources) = self.helper.list().await.map_err(|e| self.failed(e))?;
        let sources = sources.into_iter().map(|(source, until)| {
            let at = i64::try_from(until).unwrap_or(i64::MAX);
            let until = Timestamp::from_microsecond(at).unwrap_or(Timestamp::MAX);
            (source, Some(until.into()))
        });
        Ok(Found::new(Some(rules), sources.collect()))
    }

    pub(super) async fn dropped(&self) -> Result<(u64, u64), Error> {
        self.helper.dropped().await.map_err(|e| self.failed(e))
    }

    pub(super) async fn watch(&self) -> Result<OwnedFd, Error> {
        self.helper.watch().await.map_err(|e| self.failed(e))
    }

    pub(super) async fn clear(&self) -> Result<(), Error> {
        self.helper.clear().await.map_err(|e| self.failed(e))
    }

    fn failed(&self, error: zbus::Error) -> Error {
        match error {
            zbus::Error::MethodError(name, text, _) if name == UNSUPPORTED => {
                Error::Unsupported(self.backend, text.unwrap_or_default())
            }
            zbus::Error::MethodError(name, text, _) => {
                self.refused(text.unwrap_or_else(|| name.to_string()))
            }
            zbus::Error::FDO(error) => match *error {
                fdo::Error::NoReply(_) => self.refused("banjour-netfilter has ended".to_owned()),
                error => self.refused(error.to_string()),
            },
            error => self.refused(error.to_string()),
        }
    }

    fn refused(&self, text: String) -> Error {
        Error::Refused(self.backend, text)
    }
}

fn timed(sources: &Sources) -> Vec<(Source, u64)> {
    let timed = |(source, until): (&Source, &Usec)| (*source, usec(until.time()));
    sources.iter().map(timed).collect()
}

/// What keeps connections from being ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotEnded {
    /// The helper does not touch one of the sources.
    #[error("the connections of a banned source go on: {0:?} {1}")]
    Refused(String, String),
    /// The helper can't.
    #[error("connections that banned sources have open go on: {0}")]
    Failed(String),
}

/// Sources whose connections are to be ended. There are never more than bans.
#[derive(Clone, Debug, Default)]
pub struct Disconnections(Arc<(Mutex<HashSet<Source>>, Notify)>);

impl Disconnections {
    /// Orders the end of these sources' connections.
    pub(super) fn order(&self, sources: HashSet<Source>) {
        if !sources.is_empty() {
            self.lock().extend(sources);
            self.0.1.notify_one();
        }
    }

    /// Carries orders out, for ever, and tells of each call whether the helper did what it should. The driver does not
    /// wait for it.
    ///
    /// # Errors
    /// When the bus is gone.
    pub async fn run(
        self,
        connection: Connection,
        reports: mpsc::Sender<Result<(), NotEnded>>,
    ) -> zbus::Result<()> {
        let helper = HelperProxy::new(&connection).await?;
        loop {
            self.0.1.notified().await;
            let sources = std::mem::take(&mut *self.lock());
            let report = end_connections(&helper, sources).await;
            if reports.send(report).await.is_err() {
                return Ok(());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Source>> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn end_connections(
    helper: &HelperProxy<'_>,
    sources: HashSet<Source>,
) -> Result<(), NotEnded> {
    let mut sources: Vec<Source> = sources.into_iter().collect();
    sources.sort_unstable();
    let failed = |text: String| Err(NotEnded::Failed(text));
    match timeout(PATIENCE, helper.disconnect(&sources)).await {
        Ok(Ok((_, refused))) => match refused.into_iter().next() {
            Some((source, why)) => Err(NotEnded::Refused(source, why)),
            None => Ok(()),
        },
        Ok(Err(zbus::Error::MethodError(_, Some(text), _))) => failed(text),
        Ok(Err(error)) => failed(error.to_string()),
        Err(_) => failed("banjour-netfilter does not answer".to_owned()),
    }
}
