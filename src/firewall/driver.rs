//! The driver: brings what the firewall holds to what is desired, and keeps it there.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use zbus::Connection;

use super::desired::{Changes, Desired, Sources};
use super::firewalld::{Event, Firewalld};
use super::found::{Difference, Found};
use super::netfilter::{Disconnections, Netfilter};
use super::reading::{AGAIN, Reading};
use super::watch::Watch;
use super::{Backend, Error, Settings};
use crate::source::Source;

/// How long everything may take that is to be done at once. 50,000 entries take firewalld 8 s.
const PATIENCE: Duration = Duration::from_mins(1);

/// After an error, the next try waits so long, and twice as long each time …
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// … up to this.
const RETRY_LAST: Duration = Duration::from_secs(30);

/// Changes of firewalld's entries that are remembered while it is busy with ours.
const MAX_HEARD: usize = 1024;

/// How things are, after each try.
#[derive(Clone, Debug)]
pub struct Report {
    /// Who holds the bans, or should.
    pub backend: Option<Backend>,
    /// How many sources it keeps out.
    pub in_force: usize,
    /// What is wrong.
    pub result: Result<(), Error>,
    /// That somebody changed what the firewall holds; until it was found to stay as it should be.
    pub disturbed: Option<String>,
}

/// Keeps the firewall equal to what is desired, for ever. firewalld is never started by us: where it is wanted and does not
/// run, that is a problem to report, and its start is the event to wait for. `holder` held bans when the agent ran before.
///
/// # Errors
/// When the bus is gone.
pub async fn run(
    connection: Connection,
    mut settings: watch::Receiver<Settings>,
    holder: Option<Backend>,
    desired: Desired,
    disconnections: Disconnections,
    reports: mpsc::Sender<Report>,
) -> zbus::Result<()> {
    let firewalld = Firewalld::new(&connection).await?;
    let mut events = firewalld.events().await?;
    let first = *settings.borrow_and_update();
    let mut driver = Driver {
        settings: first,
        desired: desired.clone(),
        disconnections,
        firewalld,
        nftables: Netfilter::new(&connection, Backend::Nftables).await?,
        iptables: Netfilter::new(&connection, Backend::Iptables).await?,
        holder,
        applied: None,
        rules: None,
        refused: BTreeMap::new(),
        watch: None,
        disturbed: None,
        reading: Reading::default(),
    };
    let mut retry = RETRY_FIRST;
    let mut heard = Vec::new();
    loop {
        let result = tokio::select! {
            result = timeout(PATIENCE, driver.bring()) => result.unwrap_or_else(|_| Err(driver.hangs())),
            // It makes all of it doubtful: from the beginning, then.
            end = reset(&mut events, &mut heard) => {
                driver.applied = None;
                end?;
                continue;
            }
        };
        let failed = result.is_err();
        if failed {
            driver.applied = None;
        } else {
            retry = RETRY_FIRST;
        }
        driver.heed_all(&mut heard);
        if reports.send(driver.report(result)).await.is_err() {
            return Ok(());
        }
        tokio::select! {
            () = desired.changed() => {}
            event = events.next() => driver.heed(&event.ok_or_else(bus_is_gone)?),
            () = driver.listen() => driver.reading.hurry(),
            () = sleep_until(driver.reading.next), if !failed => driver.reading.due = true,
            () = sleep(retry), if failed => retry = (2 * retry).min(RETRY_LAST),
            Ok(()) = settings.changed() => {
                driver.settings = *settings.borrow_and_update();
                driver.applied = None;
            }
        }
    }
}

/// Waits for firewalld to begin anew. Changes of its entries, most of which are our own, are heard in between.
async fn reset(
    events: &mut (impl Stream<Item = Event> + Unpin),
    heard: &mut Vec<Event>,
) -> zbus::Result<()> {
    loop {
        match events.next().await.ok_or_else(bus_is_gone)? {
            Event::Reset => return Ok(()),
            event if heard.len() < MAX_HEARD => heard.push(event),
            Event::Entry(..) => {}
        }
    }
}

fn bus_is_gone() -> zbus::Error {
    zbus::Error::InputOutput(Arc::new(io::Error::other("the bus is gone")))
}

struct Driver<'a> {
    settings: Settings,
    desired: Desired,
    disconnections: Disconnections,
    firewalld: Firewalld<'a>,
    nftables: Netfilter<'a>,
    iptables: Netfilter<'a>,
    /// Who holds bans.
    holder: Option<Backend>,
    /// What it holds, those that it refuses included; `None` if that is unknown.
    applied: Option<Sources>,
    /// Its rules, if others could change them.
    rules: Option<String>,
    refused: BTreeMap<Source, Error>,
    watch: Option<Watch>,
    /// What was last found to be changed, and when.
    disturbed: Option<(String, Instant)>,
    reading: Reading,
}

impl Driver<'_> {
    /// Closes the difference, until there is none.
    async fn bring(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.reading.due) {
            self.read_back().await?;
        }
        loop {
            // Until a change has succeeded, nobody knows what is applied.
            let Some(mut applied) = self.applied.take() else {
                self.hold().await?;
                continue;
            };
            let changes = self.desired.changes(&applied);
            if changes.is_empty() {
                self.applied = Some(applied);
                break;
            }
            if self.change(&applied, &changes).await.is_ok() {
                changes.apply(&mut applied);
                self.applied = Some(applied);
                self.reading.changed(self.holder);
            }
        }
        self.disconnections.order(self.desired.take_fresh());
        Ok(())
    }

    /// Begins again: whatever the firewall holds, it is to be what is desired.
    async fn hold(&mut self) -> Result<(), Error> {
        let wanted = self.desired.minimal();
        let holder = match self.settings.backend {
            Some(backend) => self.hold_with(backend, &wanted).await?,
            None if self.firewalld.runs().await? => {
                self.hold_with(Backend::Firewalld, &wanted).await?
            }
            None => match self.hold_with(Backend::Nftables, &wanted).await {
                Err(Error::Unsupported(_, nftables)) => {
                    match self.hold_with(Backend::Iptables, &wanted).await {
                        Err(Error::Unsupported(_, iptables)) => {
                            return Err(Error::None(nftables, iptables));
                        }
                        held => held?,
                    }
                }
                held => held?,
            },
        };
        if let Some(before) = self.holder.filter(|before| *before != holder) {
            self.retire(before).await?;
        }
        self.holder = Some(holder);
        self.applied = Some(wanted);
        self.reading.changed(self.holder);
        Ok(())
    }

    async fn hold_with(&mut self, backend: Backend, wanted: &Sources) -> Result<Backend, Error> {
        self.rules = None;
        self.refused.clear();
        if backend == Backend::Firewalld {
            self.watch = None;
            let now = self.firewalld.read().await?;
            let gone = now.iter().filter(|source| !wanted.contains_key(source));
            let new = wanted.keys().filter(|source| !now.contains(source));
            let (gone, new) = (gone.copied().collect(), new.copied().collect());
            let change = self.firewalld.change(gone, new, || wanted.keys().copied());
            change.await?;
            return Ok(backend);
        }
        // The kernel sends whoever listens a word on each source, which takes it as long as to put all of them in anew.
        self.watch = None;
        let helper = self.helper(backend);
        let (rules, refused) = helper.hold(&self.settings, wanted).await?;
        self.rules = Some(rules);
        if backend == Backend::Nftables {
            let socket = self.nftables.watch().await?;
            let watch = Watch::new(socket.into());
            self.watch = Some(watch.map_err(|e| Error::Refused(backend, e.to_string()))?);
            // What somebody changed before that shows soon.
            self.reading.hurry();
        }
        self.refuse(backend, refused);
        Ok(backend)
    }

    /// Another one holds the bans now.
    async fn retire(&self, before: Backend) -> Result<(), Error> {
        let retired = match before {
            Backend::Firewalld => match self.firewalld.read().await {
                Ok(now) => {
                    let gone = now.into_iter().collect();
                    self.firewalld
                        .change(gone, Vec::new(), std::iter::empty)
                        .await
                }
                Err(error) => Err(error),
            },
            _ => self.helper(before).clear().await,
        };
        match retired {
            Err(Error::Absent | Error::SetsMissing | Error::Unsupported(..)) => Ok(()),
            retired => retired,
        }
    }

    async fn change(&mut self, applied: &Sources, changes: &Changes) -> Result<(), Error> {
        if let Some(backend @ (Backend::Nftables | Backend::Iptables)) = self.holder {
            let refused = self.helper(backend).change(changes).await?;
            self.refused
                .retain(|source, _| !changes.removed.contains_key(source));
            self.refuse(backend, refused);
            return Ok(());
        }
        let gone = changes.removed.keys().copied().collect();
        let new = changes.added.keys().copied().collect();
        let all = || {
            let stays = |source: &Source| !changes.removed.contains_key(source);
            let known = applied.keys().filter(move |source| stays(source));
            known.chain(changes.added.keys()).copied()
        };
        self.firewalld.change(gone, new, all).await
    }

    fn refuse(&mut self, backend: Backend, refused: Vec<(String, String)>) {
        for (text, why) in refused {
            if let Ok(source) = text.parse() {
                let error = Error::RefusedSource(backend, text, why);
                self.refused.insert(source, error);
            }
        }
    }

    fn helper(&self, backend: Backend) -> &Netfilter<'_> {
        match backend {
            Backend::Iptables => &self.iptables,
            _ => &self.nftables,
        }
    }

    /// Looks whether the firewall still holds what was applied.
    async fn read_back(&mut self) -> Result<(), Error> {
        let Some((holder, applied)) = self.holder.zip(self.applied.as_ref()) else {
            return Ok(());
        };
        let began = Instant::now();
        let found = match holder {
            Backend::Firewalld => {
                let members = self.firewalld.read().await?;
                let members = members.into_iter().map(|source| (source, None));
                Found::new(None, members.collect())
            }
            _ => self.helper(holder).read().await?,
        };
        let difference = found.difference(
            self.rules.as_deref(),
            applied,
            &self.refused,
            Timestamp::now(),
        );
        if difference != Difference::None {
            self.applied = None;
        }
        if let Difference::Disturbed(how) = difference {
            let text = format!(
                "somebody has changed what {holder} holds for banjour: {how}; it was put right"
            );
            self.disturbed = Some((text, began));
        } else {
            self.disturbed = self.disturbed.take().filter(|(_, at)| at.elapsed() < AGAIN);
        }
        let disturbed = self.disturbed.is_some();
        self.reading.read(began, disturbed, self.holder);
        Ok(())
    }

    /// Changes of entries that came while others were made: of too many, none can be told apart.
    fn heed_all(&mut self, heard: &mut Vec<Event>) {
        if heard.len() == MAX_HEARD {
            self.reading.hurry();
        }
        for event in heard.drain(..) {
            self.heed(&event);
        }
    }

    fn heed(&mut self, event: &Event) {
        match *event {
            Event::Reset => self.applied = None,
            Event::Entry(source, came) => {
                let there = |applied: &Sources| applied.contains_key(&source);
                let firewalld = self.holder == Some(Backend::Firewalld);
                if firewalld && self.applied.as_ref().is_some_and(|a| there(a) != came) {
                    self.reading.hurry();
                }
            }
        }
    }

    /// Waits until the kernel tells of somebody's change.
    async fn listen(&self) {
        match (&self.watch, &self.applied) {
            (Some(watch), Some(applied)) => watch.disturbed(applied).await,
            _ => std::future::pending().await,
        }
    }

    fn hangs(&self) -> Error {
        let backend = self.settings.backend.or(self.holder);
        Error::Hangs(backend.unwrap_or(Backend::Firewalld))
    }

    fn report(&self, result: Result<(), Error>) -> Report {
        let applied = self.applied.as_ref().map_or(0, BTreeMap::len);
        Report {
            backend: self.settings.backend.or(self.holder),
            in_force: applied.saturating_sub(self.refused.len()),
            result: result.and(self.refused.values().next().cloned().map_or(Ok(()), Err)),
            disturbed: self.disturbed.as_ref().map(|(text, _)| text.clone()),
        }
    }
}
