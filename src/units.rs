//! The mail units, as systemd has them (org.freedesktop.systemd1(5)): which of those that filters read run, and whether
//! Postfix or Dovecot runs in one that nobody reads, as after an upgrade that renames it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath, OwnedVariant, fdo};

use crate::filter::Filters;
use crate::journal::is_read;

/// A restart takes units down for a moment, and a boot brings them up one by one: what lasts no longer is not told.
const SETTLES: Duration = Duration::from_secs(30);

/// systemd answers at once, or hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reports that wait; only the last one matters.
const REPORTS: usize = 4;

/// Services whose programs are remembered; hosts have some hundred.
const MAX_SERVICES: usize = 4096;

/// One row of `ListUnitsByPatterns`: name, description, load, active and sub state, followed unit, object, job.
type Row = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

/// What a service starts: path, arguments, and what became of it the last time.
type Start = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Systemd {
    #[zbus(no_autostart)]
    fn subscribe(&self) -> zbus::Result<()>;
    #[zbus(no_autostart)]
    fn list_units_by_patterns(&self, states: &[&str], names: &[&str]) -> zbus::Result<Vec<Row>>;
    #[zbus(no_autostart)]
    fn get_unit_file_state(&self, file: &str) -> zbus::Result<String>;
    #[zbus(signal)]
    fn job_removed(
        &self,
        id: u32,
        job: OwnedObjectPath,
        unit: String,
        result: String,
    ) -> zbus::Result<()>;
    #[zbus(signal)]
    fn reloading(&self, active: bool) -> zbus::Result<()>;
}

/// A mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Daemon {
    /// Postfix.
    Postfix,
    /// Dovecot.
    Dovecot,
}

impl Daemon {
    /// By what a service starts.
    fn of(path: &str) -> Option<Self> {
        match path.rsplit('/').next()? {
            "postfix" | "postmulti" | "master" => Some(Self::Postfix),
            "dovecot" => Some(Self::Dovecot),
            _ => None,
        }
    }

    /// The unit that starts it, where nobody has renamed it.
    #[must_use]
    pub fn filter_unit(self) -> &'static str {
        match self {
            Self::Postfix => "postfix.service",
            Self::Dovecot => "dovecot.service",
        }
    }

    /// The filter that reads it.
    #[must_use]
    pub fn filter(self) -> &'static str {
        match self {
            Self::Postfix => "postfix-sasl",
            Self::Dovecot => "dovecot",
        }
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Postfix => "Postfix",
            Self::Dovecot => "Dovecot",
        })
    }
}

/// A unit that filters read, or that a mail server runs in.
#[derive(Clone, Debug)]
pub struct MailUnit {
    /// Its name.
    pub name: String,
    /// `active`, `failed`, `inactive`, …
    pub state: String,
    /// Whose it is.
    pub daemon: Option<Daemon>,
    /// Whether filters read it.
    pub is_read: bool,
    path: OwnedObjectPath,
}

impl MailUnit {
    /// Whether it runs, or is about to.
    #[must_use]
    pub fn runs(&self) -> bool {
        is_active(&self.state)
    }
}

fn is_active(state: &str) -> bool {
    matches!(state, "active" | "activating" | "reloading" | "refreshing")
}

/// systemd, and what services were found to start.
pub struct Systemd1 {
    connection: Connection,
    manager: SystemdProxy<'static>,
    daemons: HashMap<String, Option<Daemon>>,
}

impl Systemd1 {
    /// # Errors
    /// When there is no bus.
    pub async fn new(connection: &Connection) -> zbus::Result<Self> {
        let manager = SystemdProxy::builder(connection)
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        Ok(Self {
            connection: connection.clone(),
            manager,
            daemons: HashMap::new(),
        })
    }

    /// All mail units that systemd knows of.
    ///
    /// # Errors
    /// When it can't be asked.
    pub async fn mail_units(&mut self, filters: &Filters) -> zbus::Result<Vec<MailUnit>> {
        let list = self.manager.list_units_by_patterns(&[], &["*.service"]);
        let rows = timeout(PATIENCE, list).await.map_err(|_| hangs())??;
        let mut found = Vec::new();
        for (name, _, load, state, _, _, path, ..) in rows {
            let is_read = is_read(filters, &name);
            if load == "not-found" || !is_read && !is_active(&state) {
                continue;
            }
            let daemon = self.daemon(&name, &path).await;
            if is_read || daemon.is_some() {
                found.push(MailUnit {
                    name,
                    state,
                    daemon,
                    is_read,
                    path,
                });
            }
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// Where units were read again, they may start something else.
    fn note(&mut self, change: Change) {
        if let Change::Reload = change {
            self.daemons.clear();
        }
    }

    async fn daemon(&mut self, name: &str, path: &OwnedObjectPath) -> Option<Daemon> {
        if let Some(known) = self.daemons.get(name) {
            return *known;
        }
        let starts: Vec<Start> = self.service_property(path, "ExecStart").await?;
        let daemon = starts.iter().find_map(|start| Daemon::of(&start.0));
        if self.daemons.len() >= MAX_SERVICES {
            self.daemons.clear();
        }
        self.daemons.insert(name.to_owned(), daemon);
        daemon
    }

    async fn service_property<T: TryFrom<OwnedVariant>>(
        &self,
        path: &OwnedObjectPath,
        name: &str,
    ) -> Option<T> {
        self.get(path, "org.freedesktop.systemd1.Service", name)
            .await
    }

    /// A property of a unit as a service.
    pub async fn property<T: TryFrom<OwnedVariant>>(
        &self,
        unit: &MailUnit,
        name: &str,
    ) -> Option<T> {
        self.service_property(&unit.path, name).await
    }

    /// When a unit was last started, in µs since the epoch.
    pub async fn started(&self, unit: &MailUnit) -> Option<u64> {
        let name = "ActiveEnterTimestamp";
        self.get(&unit.path, "org.freedesktop.systemd1.Unit", name)
            .await
    }

    /// When a service of this name was last started.
    pub async fn started_by_name(&self, name: &str) -> Option<u64> {
        let rows = self.manager.list_units_by_patterns(&[], &[name]).await;
        let (.., path, _, _, _) = rows.ok()?.into_iter().next()?;
        let property = "ActiveEnterTimestamp";
        self.get(&path, "org.freedesktop.systemd1.Unit", property)
            .await
    }

    /// Whether a unit is started at boot: `enabled`, `disabled`, `masked`, …
    ///
    /// # Errors
    /// When it can't be asked, or there is none.
    pub async fn unit_file_state(&self, name: &str) -> zbus::Result<String> {
        self.manager.get_unit_file_state(name).await
    }

    async fn get<T: TryFrom<OwnedVariant>>(
        &self,
        path: &OwnedObjectPath,
        interface: &'static str,
        name: &str,
    ) -> Option<T> {
        let properties = fdo::PropertiesProxy::builder(&self.connection)
            .destination("org.freedesktop.systemd1")
            .path(path.clone())
            .build()
            .await
            .ok()?;
        let interface = interface.try_into().ok()?;
        let value = timeout(PATIENCE, properties.get(interface, name)).await;
        value.ok()?.ok()?.try_into().ok()
    }
}

fn hangs() -> zbus::Error {
    zbus::Error::Failure("systemd does not answer".to_owned())
}

/// What is wrong with the mail units, if something is.
#[must_use]
pub fn fault(units: &[MailUnit]) -> Option<String> {
    let unread = units.iter().find(|unit| !unit.is_read && unit.runs());
    if let Some((unit, daemon)) = unread.and_then(|unit| Some((unit, unit.daemon?))) {
        return Some(format!(
            "{daemon} runs in {:?}, which no filter reads, so that nobody is banned for what fails there; add it to \"units\" in /etc/banjour/filters/{}.toml, a copy of that in /usr/lib/banjour/filters (\"banjour check\" tells the command)",
            unit.name,
            daemon.filter()
        ));
    }
    let runs = units.iter().any(|unit| unit.runs() && unit.is_read);
    (!runs).then(|| {
        "no unit that filters read runs, so that nothing is protected; run \"banjour check\""
            .to_owned()
    })
}

/// Follows the mail units, and tells what is wrong with them.
#[must_use]
pub fn spawn(
    connection: Connection,
    filters: watch::Receiver<Arc<Filters>>,
) -> mpsc::Receiver<Option<String>> {
    let (reports, receiver) = mpsc::channel(REPORTS);
    tokio::spawn(follow(connection, filters, reports));
    receiver
}

/// Tells what is wrong with the mail units, at first and whenever units have changed; for ever. Where systemd can't be
/// asked, that is nothing.
async fn follow(
    connection: Connection,
    mut filters: watch::Receiver<Arc<Filters>>,
    reports: mpsc::Sender<Option<String>>,
) -> zbus::Result<()> {
    let mut systemd = Systemd1::new(&connection).await?;
    let jobs = systemd.manager.receive_job_removed().await?;
    let reloads = systemd.manager.receive_reloading().await?;
    let mut told = stream::select(jobs.map(|_| Change::Job), reloads.map(|_| Change::Reload));
    // Without this, systemd tells nobody of its jobs.
    if let Err(error) = systemd.manager.subscribe().await {
        tracing::debug!("systemd does not tell of its units: {error}");
    }
    loop {
        // What comes meanwhile is in what is read then. It is taken all the same: the bus waits for who does not listen.
        let settled = Instant::now() + SETTLES;
        while let Ok(change) = timeout_at(settled, told.next()).await {
            let Some(change) = change else { return Ok(()) };
            systemd.note(change);
        }
        let now = Arc::clone(&filters.borrow_and_update());
        match systemd.mail_units(&now).await {
            Ok(units) if reports.send(fault(&units)).await.is_err() => return Ok(()),
            Ok(_) => {}
            Err(error) => tracing::debug!("cannot ask systemd for its units: {error}"),
        }
        tokio::select! {
            change = told.next() => match change {
                Some(change) => systemd.note(change),
                None => return Ok(()),
            },
            changed = filters.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

/// What systemd tells of.
#[derive(Clone, Copy)]
enum Change {
    /// A unit was started, or stopped.
    Job,
    /// Units were read again.
    Reload,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str, state: &str, daemon: Option<Daemon>, is_read: bool) -> MailUnit {
        MailUnit {
            name: name.to_owned(),
            state: state.to_owned(),
            daemon,
            is_read,
            path: OwnedObjectPath::default(),
        }
    }

    #[test]
    fn a_unit_that_nobody_reads_and_none_at_all_are_faults() {
        let dovecot = unit("dovecot.service", "active", Some(Daemon::Dovecot), true);
        let renamed = unit("mail.service", "active", Some(Daemon::Postfix), false);
        let stopped = unit("dovecot.service", "inactive", Some(Daemon::Dovecot), true);
        assert_eq!(fault(std::slice::from_ref(&dovecot)), None);
        assert_eq!(fault(&[dovecot.clone(), stopped.clone()]), None);
        let text = fault(&[dovecot, renamed]).unwrap();
        assert!(text.contains("Postfix runs in \"mail.service\""), "{text}");
        for none in [&[][..], &[stopped]] {
            let text = fault(none).unwrap();
            assert!(text.contains("no unit that filters read runs"), "{text}");
        }
    }

    #[test]
    fn daemons_are_known_by_what_is_started() {
        for (path, daemon) in [
            ("/usr/sbin/dovecot", Some(Daemon::Dovecot)),
            ("postfix", Some(Daemon::Postfix)),
            ("/usr/sbin/postmulti", Some(Daemon::Postfix)),
            ("/usr/bin/dovecot_exporter", None),
            ("/bin/true", None),
        ] {
            assert_eq!(Daemon::of(path), daemon, "{path}");
        }
    }
}
