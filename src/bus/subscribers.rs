//! Who wants to hear of every attempt. Nobody else is told: there may be many, and names are in them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::names::{BusName, OwnedUniqueName};

/// Clients that hear of every attempt, each of which costs a message.
const MAX_SUBSCRIBERS: usize = 16;

/// The clients, by their unique names, until they leave the bus.
#[derive(Clone, Debug, Default)]
pub(super) struct Subscribers(Arc<Mutex<BTreeSet<OwnedUniqueName>>>);

impl Subscribers {
    /// Takes a client in; false when there are too many.
    pub(super) async fn add(
        &self,
        connection: &Connection,
        client: OwnedUniqueName,
    ) -> zbus::Result<bool> {
        let bus = DBusProxy::new(connection).await?;
        let mut changes = bus
            .receive_name_owner_changed_with_args(&[(0, client.as_str())])
            .await?;
        {
            let mut clients = self.lock();
            if clients.len() >= MAX_SUBSCRIBERS && !clients.contains(&client) {
                return Ok(false);
            }
            if !clients.insert(client.clone()) {
                return Ok(true);
            }
        }
        let clients = self.clone();
        tokio::spawn(async move {
            // It may have left before we looked.
            let name = BusName::Unique(client.clone().into());
            if bus.name_has_owner(name).await.unwrap_or(false) {
                changes.next().await;
            }
            clients.remove(&client);
        });
        Ok(true)
    }

    pub(super) fn remove(&self, client: &OwnedUniqueName) {
        self.lock().remove(client);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(super) fn all(&self) -> Vec<OwnedUniqueName> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<OwnedUniqueName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
