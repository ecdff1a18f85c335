//! D-Bus: what others see of the agent and may ask of it. Style model: systemd's own interfaces.
//!
//! Handlers hold only a sender to the agent, which owns all state, and wait for its answer without any lock. Signals go
//! the other way through [`Announcer`]: a bus that is slow to take them never holds up the agent.

mod answer;
mod error;
mod jail;
mod manager;
mod proxy;
mod subscribers;

use tokio::sync::{mpsc, oneshot};
use zbus::object_server::Interface;
use zbus::{Connection, connection};

use crate::ban::JailName;
use crate::firewall::Backend;
use crate::log::LogControl;
pub use answer::{BanDetails, BusyAccount, BusySource, Doings, Explanation, Overview};
pub use error::{CallError, Error};
use jail::Jail;
use manager::{Manager, ManagerSignals};
pub use proxy::{JailProxy, ManagerProxy};
use subscribers::Subscribers;

/// The well-known name. Its number changes when an interface changes so that old clients would fail.
pub const NAME: &str = "org.banjour.Banjour1";
/// The object with interface `org.banjour.Banjour1.Manager`.
pub const PATH: &str = "/org/banjour/Banjour1";
const LOG_CONTROL_PATH: &str = "/org/freedesktop/LogControl1";

/// Orders that wait for the agent; senders wait beyond that.
const ORDERS: usize = 64;
/// Signals that wait for the bus. Beyond that they are lost, as a signal may be.
const SIGNALS: usize = 4096;

/// A ban as it is sent: source, jail, since, until (µs since the epoch).
pub type BanRow = (String, String, u64, u64);

/// The answer to an order that changes something. The caller is to hear of it when the change is on disk, or can't be: that
/// is when the receiver is told, or dropped.
pub type Done<T> = Result<(T, oneshot::Receiver<()>), Error>;

/// An order to the agent, with where its answer goes.
#[derive(Debug)]
pub enum Order {
    /// Ban a source in a jail for a time in µs (0: the jail's own).
    Ban(String, String, u64, oneshot::Sender<Done<()>>),
    /// Lift a source's bans in a jail (empty: in all); answers how many there were.
    Unban(String, String, oneshot::Sender<Done<u32>>),
    /// The bans of one jail, or of all.
    ListBans(Option<JailName>, oneshot::Sender<Vec<BanRow>>),
    /// The same, with why they were made; no answer when there is no such jail.
    DescribeBans(String, oneshot::Sender<Result<Vec<BanDetails>, Error>>),
    /// Who and what is in sight, of each kind so many at the most.
    Overview(u32, oneshot::Sender<Overview>),
    /// What is known of a source.
    Why(String, oneshot::Sender<Result<Explanation, Error>>),
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
    /// Who keeps banned sources out.
    pub firewall: Option<Backend>,
    /// How many sources it keeps out.
    pub in_force: u32,
    /// When the configuration in force was read, in µs since the epoch.
    pub loaded_usec: u64,
    /// The jails' names.
    pub jails: Vec<String>,
    /// What degrades protection, and what to do about it.
    pub problems: Vec<String>,
    /// Bans in force.
    pub currently_banned: u32,
    /// Bans ever.
    pub total_banned: u64,
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

/// The same, and waits until what it changed is on disk.
async fn have_done<T>(
    orders: &mpsc::Sender<Order>,
    order: impl FnOnce(oneshot::Sender<Done<T>>) -> Order,
) -> Result<T, Error> {
    let (answer, saved) = ask(orders, order).await??;
    // A disk that refuses is a problem of the agent's, told elsewhere; the order is in force all the same.
    let _ = saved.await;
    Ok(answer)
}

/// Something that others should hear of.
#[derive(Debug)]
pub enum Announcement {
    /// Source, jail, until (µs since the epoch).
    BanNew(String, JailName, u64),
    /// The same ban with why it was made: for subscribers alone.
    BanDescribed(BanDetails),
    /// Source, jail, reason.
    BanRemoved(String, JailName, &'static str),
    /// Source, jail, user, attempts, when (µs since the epoch): for subscribers alone.
    Attempt(String, JailName, String, u32, u64),
    /// An account has come under attack from so many sources.
    AccountUnderAttack(String, u32),
    /// Source, jail, attempts, the last user.
    BanIgnored(String, JailName, u32, String),
    /// The property `Problems` has changed.
    Problems,
    /// The property `Firewall` has changed.
    Firewall,
    /// There is a new jail.
    JailNew(JailName),
    /// A jail is gone.
    JailRemoved(JailName),
}

/// The agent's way to say something on the bus without waiting for it.
#[derive(Clone, Debug)]
pub struct Announcer {
    announcements: mpsc::Sender<Announcement>,
    subscribers: Subscribers,
}

impl Announcer {
    /// Says it, or loses it when thousands of signals wait already.
    pub fn say(&self, announcement: Announcement) {
        if self.announcements.try_send(announcement).is_err() {
            tracing::debug!("the bus is behind, a signal is lost");
        }
    }

    /// Whether anybody wants to hear of every attempt.
    #[must_use]
    pub fn has_subscribers(&self) -> bool {
        !self.subscribers.is_empty()
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
    let subscribers = Subscribers::default();
    let builder = connection::Builder::system()
        .serve_at(
            PATH,
            Manager {
                orders: orders.clone(),
                subscribers: subscribers.clone(),
            },
        )
        .serve_at(LOG_CONTROL_PATH, log)
        // One agent on a host: a second one must not take the name, nor the first let go of it.
        .allow_name_replacements(false)
        .replace_existing_names(false)
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
    let announcer = Announcer {
        announcements: announcer,
        subscribers,
    };
    Ok((connection, receiver, announcer))
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
        Announcement::BanDescribed(ban) => {
            for client in manager.get().await.subscribers.all() {
                let emitter = manager.signal_emitter().to_owned();
                let to_client = emitter.set_destination(client.into());
                to_client.ban_described(&ban).await?;
            }
            Ok(())
        }
        Announcement::Attempt(source, jail, user, attempts, at) => {
            for client in manager.get().await.subscribers.all() {
                let emitter = manager.signal_emitter().to_owned();
                let to_client = emitter.set_destination(client.into());
                to_client
                    .attempt(&source, &jail, &user, attempts, at)
                    .await?;
            }
            Ok(())
        }
        Announcement::AccountUnderAttack(user, sources) => {
            manager.account_under_attack(&user, sources).await
        }
        Announcement::BanIgnored(source, jail, attempts, user) => {
            manager.ban_ignored(&source, &jail, attempts, &user).await
        }
        Announcement::Problems => {
            manager
                .get()
                .await
                .problems_changed(manager.signal_emitter())
                .await
        }
        Announcement::Firewall => {
            manager
                .get()
                .await
                .firewall_changed(manager.signal_emitter())
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

/// What the manager's and a jail's object say of themselves, as XML, for the manual.
#[must_use]
pub fn introspection() -> [String; 2] {
    let (orders, _) = mpsc::channel(1);
    let jail = Jail {
        name: crate::config::MANUAL.into(),
        orders: orders.clone(),
    };
    let manager = Manager {
        orders,
        subscribers: Subscribers::default(),
    };
    let interfaces: [&dyn Interface; 2] = [&manager, &jail];
    interfaces.map(|interface| {
        let mut xml = String::new();
        interface.introspect_to_writer(&mut xml, 0);
        format!("<node>{xml}</node>")
    })
}

/// The path of a jail's object; the name is escaped as `sd_bus_path_encode(3)` does.
#[must_use]
pub fn jail_path(name: &str) -> String {
    let escape = |(index, byte): (usize, u8)| match char::from(byte) {
        c if c.is_ascii_alphabetic() || (index > 0 && c.is_ascii_digit()) => c.to_string(),
        _ => format!("_{byte:02x}"),
    };
    let name: String = name.bytes().enumerate().map(escape).collect();
    format!("{PATH}/jail/{name}")
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
