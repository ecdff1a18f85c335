//! Bans → the firewall. The driver holds two sets, what is *desired* and what is *applied*, and brings the second to the
//! first. It is driven by their difference, not by events: a start, firewalld's reload or restart, an error each mean
//! just "what is applied is unknown: read it, and close the difference again".

mod firewalld;
mod netfilter;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use zbus::Connection;

use crate::source::Source;
pub use firewalld::Error;
use firewalld::Firewalld;
pub use netfilter::{Disconnections, NotEnded};

/// How long firewalld may take for everything that is to be done at once. 50,000 entries take it 8 s.
const PATIENCE: Duration = Duration::from_mins(1);

/// After an error, the next try waits so long, and twice as long each time …
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// … up to this.
const RETRY_LAST: Duration = Duration::from_secs(30);

/// Sources that one task writes, and another one waits for.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<(Mutex<BTreeSet<Source>>, Notify)>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<Source>> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<Source>)) {
        change(&mut self.lock());
        self.0.1.notify_one();
    }

    async fn changed(&self) {
        self.0.1.notified().await;
    }
}

/// The set of sources that are to be kept out; shared by the agent, which writes, and the driver.
#[derive(Clone, Debug, Default)]
pub struct Desired(Shared);

impl Desired {
    /// Changes the set and wakes the driver.
    pub fn change(&self, change: impl FnOnce(&mut BTreeSet<Source>)) {
        self.0.change(change);
    }

    /// The set without what another prefix in it covers: firewalld refuses overlapping entries.
    fn minimal(&self) -> BTreeSet<Source> {
        let sources = self.0.lock();
        let mut minimal = BTreeSet::new();
        let mut last: Option<Source> = None;
        // In order, a prefix comes before all that it contains.
        for &source in sources.iter() {
            if last.is_none_or(|last| !last.contains(source)) {
                minimal.insert(source);
                last = Some(source);
            }
        }
        minimal
    }
}

/// What the driver tells the agent after each try: the firewall holds what is desired, or why it does not.
pub type Report = Result<(), Error>;

/// Keeps firewalld's sets equal to what is desired, for ever. Never started by us: where firewalld does not run, that is
/// a problem to report, and its start is the event to wait for. Sources that it has just shut out are handed on, since it
/// lets the connections pass that they have.
///
/// # Errors
/// When the bus is gone.
pub async fn run(
    connection: Connection,
    desired: Desired,
    disconnections: Disconnections,
    reports: mpsc::Sender<Report>,
) -> zbus::Result<()> {
    let firewalld = Firewalld::new(&connection).await?;
    let mut events = firewalld.events().await?;
    let mut applied = None;
    let mut retry = RETRY_FIRST;
    loop {
        // An event that comes meanwhile makes all of it doubtful: from the beginning, then.
        let report = tokio::select! {
            report = timeout(PATIENCE, bring(&firewalld, &desired, &disconnections, &mut applied)) => report.unwrap_or(Err(Error::Hangs)),
            event = events.next() => {
                applied = None;
                event.ok_or_else(bus_is_gone)?;
                continue;
            }
        };
        let failed = report.is_err();
        if failed {
            applied = None;
        } else {
            retry = RETRY_FIRST;
        }
        if reports.send(report).await.is_err() {
            return Ok(());
        }
        tokio::select! {
            () = desired.0.changed() => {}
            event = events.next() => {
                applied = None;
                event.ok_or_else(bus_is_gone)?;
            }
            () = sleep(retry), if failed => retry = (2 * retry).min(RETRY_LAST),
        }
    }
}

fn bus_is_gone() -> zbus::Error {
    zbus::Error::InputOutput(Arc::new(io::Error::other("the bus is gone")))
}

/// Closes the difference, until there is none.
async fn bring(
    firewalld: &Firewalld<'_>,
    desired: &Desired,
    disconnections: &Disconnections,
    applied: &mut Option<BTreeSet<Source>>,
) -> Result<(), Error> {
    loop {
        let now = match applied.take() {
            Some(now) => now,
            None => firewalld.read().await?,
        };
        let wanted = desired.minimal();
        if now == wanted {
            *applied = Some(now);
            return Ok(());
        }
        // Until it has succeeded, nobody knows what is applied.
        firewalld.change(&now, &wanted).await?;
        disconnections.order(wanted.difference(&now).copied());
        *applied = Some(wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_stands_for_the_hosts_inside_it() {
        let desired = Desired::default();
        let set = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| text.parse().unwrap())
                .collect::<BTreeSet<Source>>()
        };
        desired.change(|sources| {
            *sources = set(&[
                "192.0.2.1",
                "192.0.2.0/24",
                "192.0.2.255",
                "192.0.3.0",
                "192.0.2.0/25",
                "2001:db8::1",
                "::/96",
            ]);
        });
        assert_eq!(
            desired.minimal(),
            set(&["192.0.2.0/24", "192.0.3.0", "2001:db8::1", "::/96"])
        );
        desired.change(|sources| {
            sources.remove(&"192.0.2.0/24".parse().unwrap());
        });
        assert_eq!(
            desired.minimal(),
            set(&[
                "192.0.2.0/25",
                "192.0.2.255",
                "192.0.3.0",
                "2001:db8::1",
                "::/96"
            ])
        );
    }
}
