//! `org.banjour.Banjour1.Manager`: bans, and the agent at a glance.

use tokio::sync::mpsc;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, interface};

use super::{
    BanDetails, BanRow, CallError, Error, Explanation, Order, Overview, Status, Subscribers, ask,
    have_done,
};
use crate::firewall::{self, Backend};
use crate::polkit::{Action, authorize};

/// The object at [`PATH`].
#[derive(Debug)]
pub(super) struct Manager {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) subscribers: Subscribers,
}

#[interface(name = "org.banjour.Banjour1.Manager", introspection_docs = false)]
impl Manager {
    /// Bans `source`, an address or a prefix, in `jail`, for `duration_usec`, or, with 0, for as long as the jail says. It may be in
    /// force already: then its end changes. Answers when the ban is on disk. polkit asks for `org.banjour.Banjour1.ban`.
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
        let ban = |reply| Order::Ban(source, jail, duration_usec, reply);
        Ok(have_done(&self.orders, ban).await?)
    }

    /// Lifts the bans of `source` in `jail`, or, with an empty name, in all jails, and forgives what it did. Answers how many
    /// there were, when that is on disk. polkit asks for `org.banjour.Banjour1.unban`.
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
        let unban = |reply| Order::Unban(source, jail, reply);
        Ok(have_done(&self.orders, unban).await?)
    }

    /// All bans: source, jail, since when and until when. polkit asks for `org.banjour.Banjour1.read`, which everybody may
    /// unless an administrator says otherwise.
    #[zbus(out_args("bans"))]
    async fn list_bans(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<BanRow>, CallError> {
        authorize(connection, &header, Action::Read).await?;
        Ok(ask(&self.orders, |reply| Order::ListBans(None, reply)).await?)
    }

    /// The bans of `jail`, or, with an empty name, all of them, each with why it was made: source, jail, since when and until
    /// when; the cause, `attempts`, `network` (so many were banned in it) or `order`; how many attempts or bans led to it;
    /// when the first of these attempts happened, 0 if there is none; names that were tried, last the one that brought the
    /// ban; and how many bans there were before that are not forgotten. polkit asks for `org.banjour.Banjour1.inspect`, which
    /// administrators may, and who is in group `systemd-journal` or `adm`.
    #[zbus(out_args("bans"))]
    async fn describe_bans(
        &self,
        jail: String,
        flags: u64,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<BanDetails>, CallError> {
        no_flags(flags)?;
        authorize(connection, &header, Action::Inspect).await?;
        let describe = |reply| Order::DescribeBans(jail, reply);
        Ok(ask(&self.orders, describe).await??)
    }

    /// Who and what is in sight, of each so many at the most, and never more than 100: the sources with most attempts (how
    /// many, when they were last heard of, whether they are banned), the accounts that strangers fail for most often (how
    /// often, from how many sources, whether that is an attack), and the newest bans, as `DescribeBans` has them. polkit asks
    /// for `org.banjour.Banjour1.inspect`.
    #[zbus(out_args("overview"))]
    async fn overview(
        &self,
        most: u32,
        flags: u64,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Overview, CallError> {
        no_flags(flags)?;
        authorize(connection, &header, Action::Inspect).await?;
        Ok(ask(&self.orders, |reply| Order::Overview(most, reply)).await?)
    }

    /// All that is known of `source`: the client that it stands for; whether the firewall keeps it out, by its own word
    /// (`yes`, `no`, or `unknown` where it can't be asked); the bans that do, as `DescribeBans` has them; who was banned in a
    /// banned network, and when; by jail, its attempts lately, how many of them count, and how many bring a ban; names that it
    /// tried; why it is never banned, if it never is; who has logged in from there, and when last; how many bans are not
    /// forgotten, when the last one began, and when it ended or will. polkit asks for `org.banjour.Banjour1.inspect`.
    #[zbus(out_args("explanation"))]
    async fn why(
        &self,
        source: String,
        flags: u64,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Explanation, CallError> {
        no_flags(flags)?;
        authorize(connection, &header, Action::Inspect).await?;
        let (of, status) = (source.clone(), self.status().await?);
        let mut explanation = ask(&self.orders, |reply| Order::Why(source, reply)).await??;
        let in_force = match (status.firewall, of.parse()) {
            (Some(firewall), Ok(of)) => firewall::holds(connection, firewall, of).await.ok(),
            _ => None,
        };
        let word = match in_force {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unknown",
        };
        explanation.in_force.push_str(word);
        Ok(explanation)
    }

    /// From now on the caller hears of every attempt (signal `Attempt`) and why each ban was made (signal `BanDescribed`), until
    /// it leaves the bus. Up to 16 callers may. polkit asks for `org.banjour.Banjour1.inspect`.
    async fn subscribe(
        &self,
        flags: u64,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), CallError> {
        no_flags(flags)?;
        authorize(connection, &header, Action::Inspect).await?;
        let added = match header.sender() {
            Some(sender) => {
                let client = sender.to_owned().into();
                self.subscribers.add(connection, client).await
            }
            None => Ok(false),
        };
        match added {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Failed("too many are subscribed already".to_owned()).into()),
            Err(error) => Err(Error::Failed(error.to_string()).into()),
        }
    }

    /// The caller hears of attempts no more.
    #[allow(clippy::unused_async, reason = "zbus wants a future")]
    async fn unsubscribe(
        &self,
        flags: u64,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), CallError> {
        no_flags(flags)?;
        if let Some(sender) = header.sender() {
            self.subscribers.remove(&sender.to_owned().into());
        }
        Ok(())
    }

    /// What the firewall has dropped of banned sources: packets and bytes. With firewalld, which does not count,
    /// `counted` is false. polkit asks for `org.banjour.Banjour1.read`.
    #[zbus(out_args("counted", "packets", "bytes"))]
    async fn dropped(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(bool, u64, u64), CallError> {
        authorize(connection, &header, Action::Read).await?;
        let Some(firewall) = self.status().await?.firewall else {
            return Ok((false, 0, 0));
        };
        let dropped = firewall::dropped(connection, firewall).await;
        let dropped = dropped.map_err(|e| Error::Failed(e.to_string()))?;
        Ok(dropped.map_or((false, 0, 0), |(packets, bytes)| (true, packets, bytes)))
    }

    /// Reads the configuration again. When it is faulty, the one before stays in force and the error tells what is wrong.
    /// polkit asks for `org.banjour.Banjour1.reload`.
    async fn reload(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), CallError> {
        authorize(connection, &header, Action::Reload).await?;
        Ok(ask(&self.orders, Order::Reload).await??)
    }

    /// A source was banned, or the end of its ban has changed.
    #[zbus(signal)]
    async fn ban_new(
        emitter: &SignalEmitter<'_>,
        source: &str,
        jail: &str,
        until_usec: u64,
    ) -> zbus::Result<()>;

    /// Why a source was banned, as `DescribeBans` has it. Told after `BanNew` to who has called `Subscribe`, and to nobody else.
    #[zbus(signal)]
    async fn ban_described(emitter: &SignalEmitter<'_>, ban: &BanDetails) -> zbus::Result<()>;

    /// A ban has ended. The reason is a word, such as `expired` or `unbanned`.
    #[zbus(signal)]
    async fn ban_removed(
        emitter: &SignalEmitter<'_>,
        source: &str,
        jail: &str,
        reason: &str,
    ) -> zbus::Result<()>;

    /// A jail has counted so many new attempts of a source. Told to who has called `Subscribe`, and to nobody else. What
    /// Postfix asks Dovecot, jails of both may tell of. The user may be empty.
    #[zbus(signal)]
    async fn attempt(
        emitter: &SignalEmitter<'_>,
        source: &str,
        jail: &str,
        user: &str,
        attempts: u32,
        at_usec: u64,
    ) -> zbus::Result<()>;

    /// So many sources have failed for one account that it counts as under attack.
    #[zbus(signal)]
    async fn account_under_attack(
        emitter: &SignalEmitter<'_>,
        user: &str,
        sources: u32,
    ) -> zbus::Result<()>;

    /// A source has failed often enough for a ban, but is on the list of those never banned. Once in the jail's window.
    #[zbus(signal)]
    async fn ban_ignored(
        emitter: &SignalEmitter<'_>,
        source: &str,
        jail: &str,
        attempts: u32,
        user: &str,
    ) -> zbus::Result<()>;

    /// The agent's version.
    #[zbus(property(emits_changed_signal = "const"))]
    #[allow(clippy::unused_self, reason = "zbus wants a method")]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// Who keeps banned sources out: `firewalld`, `nftables`, `iptables`; empty while nobody does.
    #[zbus(property)]
    async fn firewall(&self) -> zbus::fdo::Result<&'static str> {
        let firewall = self.status().await?.firewall;
        Ok(firewall.map_or("", Backend::as_str))
    }

    /// How many sources and networks the firewall keeps out.
    #[zbus(property(emits_changed_signal = "false"))]
    async fn in_force(&self) -> zbus::fdo::Result<u32> {
        Ok(self.status().await?.in_force)
    }

    /// When the configuration in force was read.
    #[zbus(property(emits_changed_signal = "false"), name = "LoadedUSec")]
    async fn loaded_usec(&self) -> zbus::fdo::Result<u64> {
        Ok(self.status().await?.loaded_usec)
    }

    /// The names of the jails that are enabled.
    #[zbus(property)]
    async fn jails(&self) -> zbus::fdo::Result<Vec<String>> {
        Ok(self.status().await?.jails)
    }

    /// What degrades protection, and what to do about it; empty when all is well.
    #[zbus(property)]
    async fn problems(&self) -> zbus::fdo::Result<Vec<String>> {
        Ok(self.status().await?.problems)
    }

    /// Bans in force.
    #[zbus(property(emits_changed_signal = "false"))]
    async fn currently_banned(&self) -> zbus::fdo::Result<u32> {
        Ok(self.status().await?.currently_banned)
    }

    /// Bans since the state was begun.
    #[zbus(property(emits_changed_signal = "false"))]
    async fn total_banned(&self) -> zbus::fdo::Result<u64> {
        Ok(self.status().await?.total_banned)
    }
}

impl Manager {
    async fn status(&self) -> Result<Status, Error> {
        ask(&self.orders, Order::Status).await
    }
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
