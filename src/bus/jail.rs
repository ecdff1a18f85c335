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
    /// The bans of this jail: source, since when and until when. polkit asks for `org.banjour.Banjour1.read`.
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

    /// The jail's name.
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> &str {
        &self.name
    }

    /// The filters whose evidence it counts. One without any takes bans made by hand.
    #[zbus(property(emits_changed_signal = "false"))]
    async fn filters(&self) -> zbus::fdo::Result<Vec<String>> {
        Ok(self.status().await?.filters)
    }

    /// The failed login that brings the ban.
    #[zbus(property(emits_changed_signal = "false"))]
    async fn attempts(&self) -> zbus::fdo::Result<u32> {
        Ok(self.status().await?.attempts)
    }

    /// In what time they must happen.
    #[zbus(property(emits_changed_signal = "false"), name = "WindowUSec")]
    async fn window_usec(&self) -> zbus::fdo::Result<u64> {
        Ok(self.status().await?.window_usec)
    }

    /// How long a first ban lasts.
    #[zbus(property(emits_changed_signal = "false"), name = "BanTimeUSec")]
    async fn ban_time_usec(&self) -> zbus::fdo::Result<u64> {
        Ok(self.status().await?.ban_time_usec)
    }

    /// Sources with attempts in the window.
    #[zbus(property(emits_changed_signal = "false"))]
    async fn currently_failed(&self) -> zbus::fdo::Result<u32> {
        Ok(self.status().await?.currently_failed)
    }

    /// Attempts since the state was begun.
    #[zbus(property(emits_changed_signal = "false"))]
    async fn total_failed(&self) -> zbus::fdo::Result<u64> {
        Ok(self.status().await?.total_failed)
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

impl Jail {
    async fn status(&self) -> Result<JailStatus, Error> {
        ask(&self.orders, |reply| Order::Jail(self.name.clone(), reply)).await
    }
}
