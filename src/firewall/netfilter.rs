//! The helper `banjour-netfilter`, over D-Bus: it does what needs rights that the agent has not. The bus starts it when it
//! is called.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use zbus::Connection;

use super::Shared;
use crate::source::Source;

/// Most sources in one call, as the helper has it.
const MAX_SOURCES: usize = 4096;

/// How long a call may take: the helper may have to be started first.
const PATIENCE: Duration = Duration::from_secs(20);

/// What keeps connections from being ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotEnded {
    /// The helper does not touch one of the sources.
    #[error("the connections of a banned source go on: {0}")]
    Refused(String),
    /// The helper can't.
    #[error("connections that banned sources have open go on: {0}")]
    Failed(String),
}

/// The helper's name for [`NotEnded::Refused`].
const INVALID_SOURCE: &str = "org.banjour.Netfilter1.Error.InvalidSource";

#[zbus::proxy(
    interface = "org.banjour.Netfilter1",
    default_service = "org.banjour.Netfilter1",
    default_path = "/org/banjour/Netfilter1"
)]
trait Netfilter {
    fn disconnect(&self, sources: &[String]) -> zbus::Result<(u32, Vec<(String, String)>)>;
}

/// Sources whose connections are to be ended. There are never more than bans.
#[derive(Clone, Debug, Default)]
pub struct Disconnections(Shared);

impl Disconnections {
    /// Orders the end of these sources' connections.
    pub(super) fn order(&self, ordered: impl Iterator<Item = Source>) {
        self.0.change(|sources| sources.extend(ordered));
    }

    /// Carries orders out, for ever, and tells of each call whether the helper did what it should.
    ///
    /// # Errors
    /// When the bus is gone.
    pub async fn run(
        self,
        connection: Connection,
        reports: mpsc::Sender<Result<(), NotEnded>>,
    ) -> zbus::Result<()> {
        let helper = NetfilterProxy::new(&connection).await?;
        loop {
            self.0.changed().await;
            while let Some(batch) = self.take() {
                if reports
                    .send(disconnect(&helper, &batch).await)
                    .await
                    .is_err()
                {
                    return Ok(());
                }
            }
        }
    }

    fn take(&self) -> Option<Vec<String>> {
        let mut sources = self.0.lock();
        let batch: Vec<Source> = sources.iter().take(MAX_SOURCES).copied().collect();
        for source in &batch {
            sources.remove(source);
        }
        (!batch.is_empty()).then(|| batch.iter().map(Source::to_string).collect())
    }
}

/// The helper takes a call as a whole: where it refuses a source, the others are named again, one by one.
async fn disconnect(helper: &NetfilterProxy<'_>, sources: &[String]) -> Result<(), NotEnded> {
    let result = call(helper, sources).await;
    if sources.len() == 1 || !matches!(result, Err(NotEnded::Refused(_))) {
        return result;
    }
    let mut all = Ok(());
    for source in sources {
        all = all.and(call(helper, std::slice::from_ref(source)).await);
    }
    all
}

async fn call(helper: &NetfilterProxy<'_>, sources: &[String]) -> Result<(), NotEnded> {
    let failed = |text: &str| Err(NotEnded::Failed(text.to_owned()));
    match timeout(PATIENCE, helper.disconnect(sources)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(zbus::Error::MethodError(name, Some(text), _))) if name == INVALID_SOURCE => {
            Err(NotEnded::Refused(text))
        }
        Ok(Err(zbus::Error::MethodError(_, Some(text), _))) => failed(&text),
        Ok(Err(error)) => failed(&error.to_string()),
        Err(_) => failed("banjour-netfilter does not answer"),
    }
}
