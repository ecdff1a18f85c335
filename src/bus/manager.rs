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

    #[zbus(out_args("bans"))]
    async fn list_bans(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<BanRow>, CallError> {
        authorize(connection, &header, Action::Read).await?;
        Ok(ask(&self.orders, |reply| Order::ListBans(None, reply)).await?)
    }

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

    /// Whoever calls this hears of every attempt (signal `Attempt`) until it leaves the bus.
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

    #[zbus(signal)]
    async fn attempt(
        emitter: &SignalEmitter<'_>,
        source: &str,
        jail: &str,
        user: &str,
        attempts: u32,
        at_usec: u64,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn account_under_attack(
        emitter: &SignalEmitter<'_>,
        user: &str,
        sources: u32,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn ban_ignored(
        emitter: &SignalEmitter<'_>,
        source: &str,
        jail: &str,
        attempts: u32,
        user: &str,
    ) -> zbus::Result<()>;

    #[zbus(property(emits_changed_signal = "const"))]
    #[allow(clippy::unused_self, reason = "zbus wants a method")]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    #[zbus(property)]
    async fn firewall(&self) -> zbus::fdo::Result<&'static str> {
        let firewall = self.status().await?.firewall;
        Ok(firewall.map_or("", Backend::as_str))
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn in_force(&self) -> zbus::fdo::Result<u32> {
        Ok(self.status().await?.in_force)
    }

    #[zbus(property(emits_changed_signal = "false"), name = "LoadedUSec")]
    async fn loaded_usec(&self) -> zbus::fdo::Result<u64> {
        Ok(self.status().await?.loaded_usec)
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
