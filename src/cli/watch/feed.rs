//! The agent on the bus: what it tells and answers, for as long as the command runs, whether it is there or not.
//!
//! Every life of the agent has a bus name of its own, and it is called and heard by that: what another one said is never
//! taken for its word, and no call of ours starts one that an admin has stopped. Calls are made beside the reading of
//! signals, never in its way: an answer stands in the line behind them.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use zbus::fdo::{DBusProxy, NameOwnerChangedStream};
use zbus::names::{BusName, UniqueName, WellKnownName};
use zbus::proxy::CacheProperties;
use zbus::{Connection, MatchRule, Message, MessageStream, message};

use super::happening::Happening;
use crate::bus::{self, Explanation, ManagerProxy, Overview};
use crate::cli::Failure;
use crate::jail::usec;
use crate::source::Source;

/// What is read from the bus and not yet shown. Beyond that, the bus keeps it.
pub(super) const EVENTS: usize = 256;
/// Orders that wait; a person types them.
const REQUESTS: usize = 16;
/// Signals that were read and not yet looked at.
const SIGNALS: NonZeroUsize = NonZeroUsize::new(1024).expect("is not 0");
/// Happenings that wait for the agent's first answer; of those beyond, the answer knows the bans.
const EARLY: usize = 1000;
/// So many of each kind are asked for: more than a screen shows.
const MOST: u32 = 50;
/// How soon the overview is asked for again: after a property has changed, after something else happened, and when
/// nothing does.
const REFRESH_SOON: Duration = Duration::from_millis(100);
const REFRESH: Duration = Duration::from_secs(2);
const REFRESH_IDLE: Duration = Duration::from_secs(10);
/// How long the agent may take to answer before it is taken for gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often is looked for a bus, or an agent, that did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// What the feed tells.
#[derive(Debug)]
pub(super) enum Event {
    /// The agent is there, or there again; all that it tells from now on follows.
    Here(Box<Snapshot>),
    /// How things are now.
    Refreshed(Box<Snapshot>),
    Happened(Happening),
    /// It is not there any more.
    Gone(String),
    /// What became of a request.
    Answered(Result<Answer, String>),
}

/// The agent's present state.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) version: String,
    pub(super) firewall: String,
    pub(super) in_force: u32,
    pub(super) problems: Vec<String>,
    pub(super) overview: Overview,
    /// When the bans in force began; asked for once.
    pub(super) bans_since: Vec<u64>,
}

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Into a jail, for a time in µs (0: the jail's own).
    Ban(Source, String, u64),
    Unban(Source),
    Why(Source),
}

/// What is answered.
#[derive(Debug)]
pub(super) enum Answer {
    Done(String),
    Why(String, Box<Explanation>),
}

/// Follows the agent beside what else runs; begins with a connection to the bus.
pub(super) fn begin(connection: Connection) -> (mpsc::Receiver<Event>, mpsc::Sender<Request>) {
    let (events, receiver) = mpsc::channel(EVENTS);
    let (sender, requests) = mpsc::channel(REQUESTS);
    tokio::spawn(async move {
        // Ends when nobody listens any more.
        let _ = Feed { events, requests }.follow(connection).await;
    });
    (receiver, sender)
}

/// It ends when it is left, and never else.
pub(super) fn ended() -> Failure {
    Failure::Refused("the agent is no longer followed; this is a bug of banjour's".to_owned())
}

/// Why the feed goes on to another connection, or ends.
#[derive(Debug)]
enum End {
    /// The agent, or the bus, does not answer, with what to tell.
    Gone(String),
    /// The agent has left the bus, so that there is no use in waiting for it.
    Left,
    /// Nobody listens.
    Finished,
}

impl From<zbus::Error> for End {
    fn from(error: zbus::Error) -> Self {
        Self::Gone(said(error))
    }
}

impl From<zbus::fdo::Error> for End {
    fn from(error: zbus::fdo::Error) -> Self {
        Self::from(zbus::Error::from(error))
    }
}

impl<T> From<mpsc::error::SendError<T>> for End {
    fn from(_: mpsc::error::SendError<T>) -> Self {
        Self::Finished
    }
}

struct Feed {
    events: mpsc::Sender<Event>,
    requests: mpsc::Receiver<Request>,
}

impl Feed {
    async fn follow(mut self, first: Connection) -> Result<Infallible, End> {
        let mut connection = Some(first);
        loop {
            let connected = match connection.take() {
                Some(connection) => Ok(connection),
                None => Connection::system().await,
            };
            let end = match connected {
                Ok(connection) => self.on_bus(&connection).await.err(),
                Err(error) => Some(End::Gone(format!("the system bus is gone: {error}"))),
            };
            match end {
                Some(End::Gone(why)) => self.gone(why).await?,
                _ => return Err(End::Finished),
            }
            self.refuse_for(RETRY).await?;
        }
    }

    /// Follows one agent after the other, as long as the bus is there.
    async fn on_bus(&mut self, connection: &Connection) -> Result<Infallible, End> {
        let bus = DBusProxy::new(connection).await?;
        let mut changes = bus
            .receive_name_owner_changed_with_args(&[(0, bus::NAME)])
            .await?;
        loop {
            let name = WellKnownName::from_static_str(bus::NAME)?;
            let owner = match bus.get_name_owner(name.into()).await {
                Ok(owner) => owner.into_inner(),
                Err(zbus::fdo::Error::NameHasNoOwner(_)) => {
                    self.gone("the agent does not run".to_owned()).await?;
                    self.owner_changes(&mut changes).await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let end = self.on_agent(connection, &owner, &mut changes).await;
            match end {
                Err(End::Left) => self.gone("the agent has stopped".to_owned()).await?,
                Err(End::Gone(why)) => {
                    self.gone(why).await?;
                    // What refuses to answer is asked again, but not all the time.
                    self.refuse_for(RETRY).await?;
                }
                _ => return Err(End::Finished),
            }
        }
    }

    /// Follows one agent, until it is gone.
    async fn on_agent(
        &mut self,
        connection: &Connection,
        owner: &UniqueName<'_>,
        changes: &mut NameOwnerChangedStream,
    ) -> Result<Infallible, End> {
        let rule = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .sender(owner.to_owned())
            .path(bus::PATH)
            .build()?;
        let mut signals = MessageStream::for_match_rule(rule, connection, Some(SIGNALS)).await?;
        let manager = ManagerProxy::builder(connection)
            .destination(BusName::Unique(owner.to_owned()))
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        let (answers, mut answered) = mpsc::channel::<Result<Event, zbus::Error>>(REQUESTS);
        let (hello, answer) = (manager.clone(), answers.clone());
        tokio::spawn(async move {
            let here = snapshot(&hello, true).await;
            let _ = answer.send(here.map(Event::Here)).await;
        });
        // Nothing is due before the first answer, and at any time one is on its way at the most.
        let (mut due, mut asked) = (Instant::now() + REFRESH_IDLE, true);
        // What is heard before that is told after it.
        let mut early = Some(Vec::new());
        loop {
            tokio::select! {
                signal = signals.next() => {
                    let Some(Ok(signal)) = signal else { return Err(bus_is_gone()) };
                    let is_property = signal.header().member().is_some_and(|of| of == "PropertiesChanged");
                    due = due.min(Instant::now() + if is_property { REFRESH_SOON } else { REFRESH });
                    self.tell(&signal, &mut early).await?;
                }
                answer = answered.recv() => match answer {
                    Some(Ok(event)) => {
                        let is_first = matches!(event, Event::Here(_));
                        match event {
                            // An agent that has just begun is still reading what was before.
                            Event::Here(_) => (due, asked) = (Instant::now() + REFRESH, false),
                            Event::Refreshed(_) => (due, asked) = (Instant::now() + REFRESH_IDLE, false),
                            _ => {}
                        }
                        self.events.send(event).await?;
                        if is_first {
                            for happening in early.take().into_iter().flatten() {
                                self.events.send(Event::Happened(happening)).await?;
                            }
                        }
                    }
                    Some(Err(error)) => return Err(error.into()),
                    None => return Err(End::Finished),
                },
                () = sleep_until(due), if !asked => {
                    asked = true;
                    let (manager, answer) = (manager.clone(), answers.clone());
                    tokio::spawn(async move {
                        let now = snapshot(&manager, false).await;
                        let _ = answer.send(now.map(Event::Refreshed)).await;
                    });
                }
                request = self.requests.recv() => {
                    let Some(request) = request else { return Err(End::Finished) };
                    due = due.min(Instant::now());
                    let (manager, answer) = (manager.clone(), answers.clone());
                    tokio::spawn(async move {
                        let done = carry_out(&manager, request).await.map_err(said);
                        let _ = answer.send(Ok(Event::Answered(done))).await;
                    });
                }
                change = changes.next() => {
                    let Some(change) = change else { return Err(bus_is_gone()) };
                    // What is told of agents before this one comes late.
                    if change.args()?.old_owner().as_ref() == Some(owner) {
                        return Err(End::Left);
                    }
                }
            }
        }
    }

    async fn tell(
        &mut self,
        signal: &Message,
        early: &mut Option<Vec<Happening>>,
    ) -> Result<(), End> {
        match (Happening::read(signal, usec(Timestamp::now())), early) {
            (Some(happening), None) => self.events.send(Event::Happened(happening)).await?,
            (Some(happening), Some(early)) if early.len() < EARLY => early.push(happening),
            _ => {}
        }
        Ok(())
    }

    async fn gone(&mut self, why: String) -> Result<(), End> {
        Ok(self.events.send(Event::Gone(why)).await?)
    }

    /// Waits until another agent has the name, and meanwhile refuses what is asked for.
    async fn owner_changes(&mut self, changes: &mut NameOwnerChangedStream) -> Result<(), End> {
        loop {
            tokio::select! {
                change = changes.next() => {
                    return change.map(drop).ok_or_else(bus_is_gone);
                }
                request = self.requests.recv() => self.refuse(request).await?,
            }
        }
    }

    async fn refuse_for(&mut self, time: Duration) -> Result<(), End> {
        let end = Instant::now() + time;
        loop {
            tokio::select! {
                () = sleep_until(end) => return Ok(()),
                request = self.requests.recv() => self.refuse(request).await?,
            }
        }
    }

    async fn refuse(&mut self, request: Option<Request>) -> Result<(), End> {
        let refused = match request {
            Some(_) => Err("the agent is not there".to_owned()),
            None => return Err(End::Finished),
        };
        Ok(self.events.send(Event::Answered(refused)).await?)
    }
}

/// How things are; the first time, with all that follows after it subscribed.
async fn snapshot(manager: &ManagerProxy<'_>, first: bool) -> zbus::Result<Box<Snapshot>> {
    let ask = async {
        if first {
            manager.subscribe(0).await?;
        }
        let overview = if first {
            manager.overview(MOST, 0).await?
        } else {
            // Without a flag that lets a dialog for a password come up again and again.
            manager.inner().call("Overview", &(MOST, 0_u64)).await?
        };
        let bans = if first {
            manager.list_bans().await?
        } else {
            Vec::new()
        };
        Ok(Box::new(Snapshot {
            version: manager.version().await?,
            firewall: manager.firewall().await?,
            in_force: manager.in_force().await?,
            problems: manager.problems().await?,
            overview,
            bans_since: bans.into_iter().map(|(_, _, since, _)| since).collect(),
        }))
    };
    let late = |_| zbus::Error::Failure("the agent does not answer".to_owned());
    timeout(PATIENCE, ask).await.map_err(late)?
}

async fn carry_out(manager: &ManagerProxy<'_>, request: Request) -> zbus::Result<Answer> {
    match request {
        Request::Ban(source, jail, time) => {
            manager.ban(&source.to_string(), &jail, time, 0).await?;
            let text = format!("banned {source} in jail {jail}");
            Ok(Answer::Done(text))
        }
        Request::Unban(source) => {
            let removed = manager.unban(&source.to_string(), "", 0).await?;
            let done = match removed {
                0 => format!("{source} was not banned"),
                1 => format!("lifted the ban of {source}"),
                n => format!("lifted {n} bans of {source}"),
            };
            // Whoever lifts a ban wants the source to come in; a ban of something wider may still keep it out.
            let bans = manager.list_bans().await?;
            let still = bans.iter().find(|(banned, ..)| {
                let banned = banned.parse::<Source>();
                banned.is_ok_and(|banned| banned.contains(source))
            });
            Ok(Answer::Done(match still {
                Some((banned, jail, ..)) => {
                    format!("{done}; the ban of {banned} in jail {jail} still keeps it out")
                }
                None => done,
            }))
        }
        Request::Why(source) => {
            let source = source.to_string();
            let explanation = manager.why(&source, 0).await?;
            Ok(Answer::Why(source, Box::new(explanation)))
        }
    }
}

fn bus_is_gone() -> End {
    End::Gone("the system bus is gone".to_owned())
}

/// An error's text for a person.
fn said(error: zbus::Error) -> String {
    Failure::from(error).to_string()
}
