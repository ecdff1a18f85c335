//! The privileged side: `org.banjour.Netfilter1`, a helper that the bus starts when the agent calls it, and that goes when
//! nobody has called it for a while. Of banjour it shares nothing with the agent, whose process reads what attackers
//! write: a caller, root or the agent as the bus sees to (`policy/dbus/org.banjour.Netfilter1.conf`), names addresses,
//! prefixes and times, each is checked here, and nothing else is taken. What is done with them in the kernel is fixed.
//!
//! It runs for nftables with `CAP_NET_ADMIN` as all that it has of root's rights. iptables(8) wants `CAP_NET_RAW` too,
//! and so has a service, and a name on the bus, of its own.

mod iptables;
mod nftables;
mod program;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod sockets;
mod source;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;
use zbus::OwnedFd;

use source::{Refused, Timed};

const PATH: &str = "/org/banjour/Netfilter1";

/// The helper goes when it has not been called for this long …
const IDLE: Duration = Duration::from_secs(30);
/// … and calls that came before the bus knew get this long.
const LAST_CALLS: Duration = Duration::from_millis(200);

/// Most sources in one call, and in the kernel: as many as there are bans.
const MAX_SOURCES: usize = 131_072;

/// SMTP, submission, submissions, POP3, POP3S, IMAP, IMAPS, and Sieve with its port of old, on which Dovecot of Debian 13
/// listens too: the ports that a ban closes.
pub(crate) const MAIL_PORTS: [u16; 9] = [25, 465, 587, 110, 995, 143, 993, 4190, 2000];

/// Why nothing was done. `org.banjour.Netfilter1.Error.…`
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.banjour.Netfilter1.Error")]
pub enum Error {
    /// Any other error on the bus.
    #[zbus(error)]
    Bus(zbus::Error),
    /// Too many sources in one call.
    TooMany(String),
    /// This host can't do it.
    Unsupported(String),
    /// The kernel refuses, or a program does.
    Failed(String),
}

/// What keeps banned sources out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A table of our own, by nft(8).
    Nftables,
    /// A chain of our own by iptables(8) and ip6tables(8), and sets by ipset(8).
    Iptables,
}

/// Stands for the rules where somebody has changed them as soon as they were made: `List` will show others.
const CHANGED: &str = "changed";

/// What is done with packets of banned sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rules {
    /// On all ports, not on those of mail alone.
    all_ports: bool,
    /// They are told, instead of nothing.
    reject: bool,
}

/// What the kernel holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Held {
    /// The rules, in a text that is the same as long as nobody changes them.
    rules: String,
    sources: BTreeMap<IpNet, Duration>,
}

/// Packets and bytes.
type Traffic = (u64, u64);

/// Serves until nobody has called for a while.
///
/// # Errors
/// When there is no bus, or the name is not to be had.
pub async fn run(backend: Backend) -> zbus::Result<()> {
    let called = Arc::new(Notify::new());
    let helper = Helper {
        backend,
        called: Arc::clone(&called),
        turn: Mutex::default(),
    };
    let connection = zbus::connection::Builder::system()
        .serve_at(PATH, helper)
        .name(backend.name())
        .build()
        .await?;
    while timeout(IDLE, called.notified()).await.is_ok() {}
    // A later call starts another helper; this one still answers those that are on their way to it.
    connection.release_name(backend.name()).await?;
    while timeout(LAST_CALLS, called.notified()).await.is_ok() {}
    Ok(())
}

/// Takes everything of banjour's out of the kernel, whichever backend put it there.
///
/// # Errors
/// The first of what went wrong; the rest is taken out all the same.
pub async fn clear() -> Result<(), Error> {
    let mut end = Ok(());
    for backend in [Backend::Nftables, Backend::Iptables] {
        end = end.and(match backend.clear().await {
            Err(Error::Unsupported(_)) => Ok(()),
            cleared => cleared,
        });
    }
    end
}

struct Helper {
    backend: Backend,
    called: Arc<Notify>,
    /// One change at a time.
    turn: Mutex<()>,
}

#[zbus::interface(name = "org.banjour.Netfilter1")]
impl Helper {
    /// Keeps exactly these sources out, each until a time (µs since the epoch), in the place of all that was there, in
    /// one step. Returns the rules that do it, as `List` shows them as long as nobody changes them, and the sources that
    /// are not touched, with why.
    #[zbus(out_args("rules", "refused"))]
    async fn replace(
        &self,
        all_ports: bool,
        reject: bool,
        sources: Vec<(String, u64)>,
    ) -> Result<(String, Vec<Refused>), Error> {
        let _turn = self.turn().await;
        let (sources, refused) = source::timed(sources)?;
        let rules = Rules { all_ports, reject };
        Ok((self.backend.replace(rules, &sources).await?, refused))
    }

    /// Lets sources in, those that are not kept out too, and then keeps others out, in one step. A source that is kept
    /// out already and gets another time is named in both.
    #[zbus(out_args("refused"))]
    async fn apply(
        &self,
        removed: Vec<String>,
        added: Vec<(String, u64)>,
    ) -> Result<Vec<Refused>, Error> {
        let _turn = self.turn().await;
        let (removed, mut refused) = source::untimed(removed)?;
        let (added, more) = source::timed(added)?;
        refused.extend(more);
        self.backend.apply(&removed, &added).await?;
        Ok(refused)
    }

    /// The rules and the sources that the kernel holds, each until when.
    #[zbus(out_args("rules", "sources"))]
    async fn list(&self) -> Result<(String, Vec<(String, u64)>), Error> {
        let _turn = self.turn().await;
        let held = self.backend.list().await?;
        Ok((held.rules, source::until(held.sources)))
    }

    /// How many packets and bytes of banned sources the kernel did not let in.
    #[zbus(out_args("packets", "bytes"))]
    async fn dropped(&self) -> Result<Traffic, Error> {
        let _turn = self.turn().await;
        self.backend.dropped().await
    }

    /// A netlink socket on which the kernel tells of every change of nftables (`NFNLGRP_NFTABLES`). All that it allows
    /// is to listen.
    async fn watch(&self) -> Result<OwnedFd, Error> {
        let _turn = self.turn().await;
        match self.backend {
            Backend::Nftables => Ok(nftables::watch()?.into()),
            Backend::Iptables => Err(Error::Unsupported("nobody tells of iptables".to_owned())),
        }
    }

    /// Takes the rules and all sources out of the kernel.
    async fn clear(&self) -> Result<(), Error> {
        let _turn = self.turn().await;
        self.backend.clear().await
    }

    /// Ends the TCP connections that these sources have to the mail ports. Returns how many there were, and the sources
    /// that are not touched.
    #[zbus(out_args("ended", "refused"))]
    async fn disconnect(&self, sources: Vec<String>) -> Result<(u32, Vec<Refused>), Error> {
        let _turn = self.turn().await;
        let (sources, refused) = source::untimed(sources)?;
        let ended = sockets::destroy(&sources).map_err(|e| not_ended(&e))?;
        Ok((ended, refused))
    }
}

impl Helper {
    async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.called.notify_one();
        self.turn.lock().await
    }
}

/// Both backends have the same verbs. Sources come checked; none stands for more than one of them.
impl Backend {
    /// The name on the bus.
    fn name(self) -> &'static str {
        match self {
            Self::Nftables => "org.banjour.Netfilter1",
            Self::Iptables => "org.banjour.Iptables1",
        }
    }

    async fn replace(self, rules: Rules, sources: &[Timed]) -> Result<String, Error> {
        match self {
            Self::Nftables => nftables::replace(rules, sources).await,
            Self::Iptables => iptables::replace(rules, sources).await,
        }
    }

    async fn apply(self, removed: &[IpNet], added: &[Timed]) -> Result<(), Error> {
        match self {
            Self::Nftables => nftables::apply(removed, added).await,
            Self::Iptables => iptables::apply(removed, added).await,
        }
    }

    async fn list(self) -> Result<Held, Error> {
        match self {
            Self::Nftables => nftables::list().await,
            Self::Iptables => iptables::list().await,
        }
    }

    async fn dropped(self) -> Result<Traffic, Error> {
        match self {
            Self::Nftables => nftables::dropped().await,
            Self::Iptables => iptables::dropped().await,
        }
    }

    async fn clear(self) -> Result<(), Error> {
        match self {
            Self::Nftables => nftables::clear().await,
            Self::Iptables => iptables::clear().await,
        }
    }
}

/// Whatever the kernel has counted, or somebody else has put there.
fn sum(traffic: impl IntoIterator<Item = Traffic>) -> Traffic {
    let traffic = traffic.into_iter();
    traffic.fold((0, 0), |(packets, bytes), (more, longer): Traffic| {
        (packets.saturating_add(more), bytes.saturating_add(longer))
    })
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

fn not_ended(error: &io::Error) -> Error {
    if error.kind() == io::ErrorKind::Unsupported {
        Error::Unsupported(
            "this kernel can't end connections (CONFIG_INET_DIAG_DESTROY)".to_owned(),
        )
    } else {
        Error::Failed(format!("the kernel refuses to end connections: {error}"))
    }
}
