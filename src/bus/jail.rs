//! `org.banjour.Banjour1.Jail`: one jail, as `fail2ban-client status JAIL` shows it.

use tokio::sync::mpsc;
use zbus::message::Header;
use zbus::{Connection, interface};

use super::{CallError, Error, JailStatus, Order, ask};
use crate::ban::JailName;
use crate::polkit::{Action, authorize};

/// The object of one jail.
#[derive(Debug)]
pub(super) struct Jail {
    pub(super) name: JailName,
    pub(super) orders: mpsc::Sender<Order>,
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
