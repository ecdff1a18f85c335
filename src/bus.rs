//! D-Bus: what others see of the agent and may ask of it. Style model: systemd's own interfaces.
//!
//! Handlers hold only a sender to the agent, which owns all state, and wait for its answer without any lock. Signals go
//! the other way through [`Announcer`]: a bus that is slow to take them never holds up the agent.

mod error;
mod proxy;

use tokio::sync::{mpsc, oneshot};
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, connection, interface};

use crate::ban::JailName;
use crate::log::LogControl;
use crate::polkit::{Action, authorize};
pub use error::{CallError, Error};
pub use proxy::{JailProxy, ManagerProxy};

/// The well-known name. Its number changes when an interface changes so that old clients would fail.
pub const NAME: &str = "org.banjour.Banjour1";
/// The object that has [`Manager`].
pub const PATH: &str = "/org/banjour/Banjour1";
const LOG_CONTROL_PATH: &str = "/org/freedesktop/LogControl1";

/// Orders that wait for the agent; senders wait beyond that.
const ORDERS: usize = 64;
/// Signals that wait for the bus. Beyond that they are lost, as a signal may be.
const SIGNALS: usize = 4096;

/// A ban as it is sent: source, jail, since, until (µs since the epoch).
pub type BanRow = (String, String, u64, u64);

/// An order to the agent, with where its answer goes.
#[derive(Debug)]
pub enum Order {
    /// Ban a source in a jail for a time in µs (0: the jail's own).
    Ban(String, String, u64, oneshot::Sender<Result<(), Error>>),
    /// Lift a source's bans in a jail (empty: in all); answers how many there were.
    Unban(String, String, oneshot::Sender<Result<u32, Error>>),
    /// The bans of one jail, or of all.
    ListBans(Option<JailName>, oneshot::Sender<Vec<BanRow>>),
    /// Read the configuration again.
    Reload(oneshot::Sender<Result<(), Error>>),
    /// The manager's properties.
    Status(oneshot::Sender<Status>),
    /// A jail's properties; no answer when there is no such jail.
    Jail(JailName, oneshot::Sender<JailStatus>),
}

/// The agent at a glance.
#[derive(Debug)]
pub struct Status {
    /// The jails' names.
    pub jails: Vec<String>,
    /// What degrades protection, and what to do about it.
    pub problems: Vec<String>,
    /// Bans in force.
    pub currently_banned: u32,
    /// Bans ever.
    pub total_banned: u64,
    /// Attempts ever.
    pub total_failed: u64,
}

/// A jail at a glance.
#[derive(Debug)]
pub struct JailStatus {
    /// The filters' names.
    pub filters: Vec<String>,
    /// The attempt that brings a ban.
    pub attempts: u32,
    /// In what time, in µs.
    pub window_usec: u64,
    /// For how long, in µs.
    pub ban_time_usec: u64,
    /// Sources with attempts in the window.
    pub currently_failed: u32,
    /// Attempts ever.
    pub total_failed: u64,
    /// Bans in force.
    pub currently_banned: u32,
    /// Bans ever.
    pub total_banned: u64,
}

/// The object at [`PATH`].
#[derive(Debug)]
pub struct Manager {
    orders: mpsc::Sender<Order>,
}

/// The object of one jail.
#[derive(Debug)]
pub struct Jail {
    name: JailName,
    orders: mpsc::Sender<Order>,
}

#[interface(name = "org.banjour.Banjour1.Manager", introspection_docs = false)]
impl Manager {
    #[allow(
        clippy::too_many_arguments,
        reason = "four are the method's, two are zbus'"
    )]
    async fn ban(
        &self,
        source: String,
        jail: String,
        duration_usec: u64,
        flags: u64,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), CallError> {
        no_flags(flags)?;
        authorize(connection, &header, Action::Ban).await?;
        Ok(ask(&self.orders, |reply| {
            Order::Ban(source, jail, duration_usec, reply)
        })
        .await??)
    }

    #[zbus(out_args("removed"))]
    async fn unban(
        &self,
        source: String,
        jail: String,
        flags: u64,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<u32, CallError> {
        no_flags(flags)?;
        authorize(connection, &header, Action::Unban).await?;
        Ok(ask(&self.orders, |reply| Order::Unban(source, jail, reply)).await??)
    }

    #[zbus(out_args("bans"))]
    async fn list_bans(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<BanRow>, CallError> {
        authorize(connection, &header, Action::Read).await?;
        Ok(ask(&self.orders, |reply| Order::ListBans(None, reply)).await?)
    }

    async fn reload(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), CallError> {
        authorize(connection, &header, Action::Reload).await?;
        Ok(ask(&self.orders, Order::Reload).await??)
    }

    #[zbus(signal)]
    async fn ban_new(
        emitter: &SignalEmitter<'_>,
        source: &str,
        jail: &str,
        until_usec: u64,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn ban_removed(
        emitter: &SignalEmitter<'_>,
        source: &str,
        jail: &str,
        reason: &str,
    ) -> zbus::Result<()>;

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn firewall(&self) -> &str {
        "firewalld"
    }

    #[zbus(property)]
    async fn jails(&self) -> zbus::fdo::Result<Vec<String>> {
        Ok(self.status().await?.jails)
    }

    #[zbus(property)]
    async fn problems(&self) -> zbus::fdo::Result<Vec<String>> {
        Ok(self.status().await?.problems)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn currently_banned(&self) -> zbus::fdo::Result<u32> {
        Ok(self.status().await?.currently_banned)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn total_banned(&self) -> zbus::fdo::Result<u64> {
        Ok(self.status().await?.total_banned)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn total_failed(&self) -> zbus::fdo::Result<u64> {
        Ok(self.status().await?.total_failed)
    }
}

impl Manager {
    async fn status(&self) -> Result<Status, Error> {
        ask(&self.orders, Order::Status).await
    }
}

#[interface(name = "org.banjour.Banjour1.Jail", introspection_docs = false)]
impl Jail {
    #[zbus(out_args("bans"))]
    async fn list_bans(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<(String, u64, u64)>, CallError> {
        authorize(connection, &header, Action::Read).await?;
        let bans = ask(&self.orders, |reply| {
            Order::ListBans(Some(self.name.clone()), reply)
        })
        .await?;
        Ok(bans
            .into_iter()
            .map(|(source, _, since, until)| (source, since, until))
            .collect())
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> &str {
        &self.name
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn filters(&self) -> zbus::fdo::Result<Vec<String>> {
        Ok(self.status().await?.filters)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn attempts(&self) -> zbus::fdo::Result<u32> {
        Ok(self.status().await?.attempts)
    }

    #[zbus(property(emits_changed_signal = "false"), name = "WindowUSec")]
    async fn window_usec(&self) -> zbus::fdo::Result<u64> {
        Ok(self.status().await?.window_usec)
    }

    #[zbus(property(emits_changed_signal = "false"), name = "BanTimeUSec")]
    async fn ban_time_usec(&self) -> zbus::fdo::Result<u64> {
        Ok(self.status().await?.ban_time_usec)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn currently_failed(&self) -> zbus::fdo::Result<u32> {
        Ok(self.status().await?.currently_failed)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn total_failed(&self) -> zbus::fdo::Result<u64> {
        Ok(self.status().await?.total_failed)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn currently_banned(&self) -> zbus::fdo::Result<u32> {
        Ok(self.status().await?.currently_banned)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn total_banned(&self) -> zbus::fdo::Result<u64> {
        Ok(self.status().await?.total_banned)
    }
}

impl Jail {
    async fn status(&self) -> Result<JailStatus, Error> {
        ask(&self.orders, |reply| Order::Jail(self.name.clone(), reply)).await
    }
}

/// Sends an order to the agent and waits for its answer.
async fn ask<T>(
    orders: &mpsc::Sender<Order>,
    order: impl FnOnce(oneshot::Sender<T>) -> Order,
) -> Result<T, Error> {
    let (reply, answer) = oneshot::channel();
    let stopping = || Error::Failed("the agent is stopping".to_owned());
    orders.send(order(reply)).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())
}

fn no_flags(flags: u64) -> Result<(), Error> {
    if flags == 0 {
        Ok(())
    } else {
        Err(Error::InvalidFlags(format!(
            "flags {flags:#x}: none is defined, pass 0"
        )))
    }
}

/// Something that others should hear of.
#[derive(Debug)]
pub enum Announcement {
    /// Source, jail, until (µs since the epoch).
    BanNew(String, JailName, u64),
    /// Source, jail, reason.
    BanRemoved(String, JailName, &'static str),
    /// The property `Problems` has changed.
    Problems,
    /// There is a new jail.
    JailNew(JailName),
    /// A jail is gone.
    JailRemoved(JailName),
}

/// The agent's way to say something on the bus without waiting for it.
#[derive(Clone, Debug)]
pub struct Announcer(mpsc::Sender<Announcement>);

impl Announcer {
    /// Says it, or loses it when thousands of signals wait already.
    pub fn say(&self, announcement: Announcement) {
        if self.0.try_send(announcement).is_err() {
            tracing::debug!("the bus is behind, a signal is lost");
        }
    }
}

/// Connects to the system bus, serves all objects and then takes the name.
///
/// # Errors
/// When there is no bus, or somebody has the name.
pub async fn serve(
    log: LogControl,
    jails: impl Iterator<Item = JailName>,
) -> zbus::Result<(Connection, mpsc::Receiver<Order>, Announcer)> {
    let (orders, receiver) = mpsc::channel(ORDERS);
    let builder = connection::Builder::system()
        .serve_at(
            PATH,
            Manager {
                orders: orders.clone(),
            },
        )
        .serve_at(LOG_CONTROL_PATH, log)
        .name(NAME);
    let serve_jail = |builder: connection::Builder<'static>, name: JailName| {
        builder.serve_at(
            jail_path(&name),
            Jail {
                name,
                orders: orders.clone(),
            },
        )
    };
    let connection = jails.fold(builder, serve_jail).build().await?;
    let (announcer, announcements) = mpsc::channel(SIGNALS);
    tokio::spawn(announce(connection.clone(), orders, announcements));
    Ok((connection, receiver, Announcer(announcer)))
}

async fn announce(
    connection: Connection,
    orders: mpsc::Sender<Order>,
    mut announcements: mpsc::Receiver<Announcement>,
) {
    while let Some(announcement) = announcements.recv().await {
        if let Err(error) = emit(&connection, &orders, announcement).await {
            tracing::debug!("cannot emit a signal: {error}");
        }
    }
}

async fn emit(
    connection: &Connection,
    orders: &mpsc::Sender<Order>,
    announcement: Announcement,
) -> zbus::Result<()> {
    let server = connection.object_server();
    let manager = server.interface::<_, Manager>(PATH).await?;
    match announcement {
        Announcement::BanNew(source, jail, until) => manager.ban_new(&source, &jail, until).await,
        Announcement::BanRemoved(source, jail, reason) => {
            manager.ban_removed(&source, &jail, reason).await
        }
        Announcement::Problems => {
            manager
                .get()
                .await
                .problems_changed(manager.signal_emitter())
                .await
        }
        Announcement::JailNew(name) => {
            server
                .at(
                    jail_path(&name),
                    Jail {
                        name,
                        orders: orders.clone(),
                    },
                )
                .await?;
            manager
                .get()
                .await
                .jails_changed(manager.signal_emitter())
                .await
        }
        Announcement::JailRemoved(name) => {
            server.remove::<Jail, _>(jail_path(&name)).await?;
            manager
                .get()
                .await
                .jails_changed(manager.signal_emitter())
                .await
        }
    }
}

/// The path of a jail's object; the name is escaped as `sd_bus_path_encode(3)` does.
#[must_use]
pub fn jail_path(name: &str) -> String {
    let mut path = format!("{PATH}/jail/");
    for (index, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit()) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_escaped_as_systemd_does() {
        for (name, path) in [
            ("dovecot", "dovecot"),
            ("postfix-sasl", "postfix_2dsasl"),
            ("1a_.2", "_31a_5f_2e2"),
        ] {
            assert_eq!(
                super::jail_path(name),
                format!("/org/banjour/Banjour1/jail/{path}")
            );
        }
    }
}
