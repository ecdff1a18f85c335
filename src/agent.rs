//! The one owner of all state, and the loop that runs it: evidence, orders, reports and time come in; bans go out to the
//! firewall, the disk, the bus and the journal. Nothing here waits for any of these.

mod beginning;
mod blind;
mod clock;
mod keeper;
mod orders;
mod problems;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::bus::{self, Error};
use crate::config::Config;
use crate::filter::{Filters, Finding};
use crate::firewall::{self, Backend, Desired, Disconnections};
use crate::ignore::Follower;
use crate::jail::{WITNESS_DELAY, after, before};
use crate::journal::{self, Batch, Event, Missed, Position, Start};
use crate::state::{self, Changes, Saved, Writer};
use crate::{log, units};
use beginning::{Beginning, tell_loss};
use blind::Blind;
use clock::{Clock, Told};
use keeper::{Keeper, local};
use problems::{Kind, Problems};

/// Firewall reports that wait; only the last one matters.
const REPORTS: usize = 16;

/// Where the agent finds its files.
#[derive(Clone, Debug)]
pub struct Options {
    /// Below which the configuration and the journal lie.
    pub root: PathBuf,
    /// Where the state is kept.
    pub state: PathBuf,
}

struct Agent {
    root: PathBuf,
    keeper: Keeper,
    ignored: Follower,
    problems: Problems,
    writer: Writer,
    /// Whether the disk takes what it is given.
    is_saved: bool,
    /// Whether what the state says is known.
    is_read: bool,
    journal: mpsc::Receiver<Event>,
    /// Where the driver hears of other settings.
    settings: watch::Sender<firewall::Settings>,
    blind: Blind,
    /// Where who follows the mail units hears of other filters.
    filters: watch::Sender<Arc<Filters>>,
}

/// Runs until SIGTERM.
///
/// # Errors
/// When it can't start (the configuration is faulty, no bus), or the bus is gone: systemd starts it
/// again, and nothing is lost by it.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let config = Config::load(&options.root)?;
    let (log_control, _lines) = log::init();
    let (connection, mut orders, announcer) = bus::serve(log_control, config.jails.keys().cloned())
        .await
        .context("cannot serve on the system bus")?;
    let mut begin = Beginning::find(&connection, &options).await;
    let desired = Desired::default();
    let mut problems = Problems::new(announcer.clone());
    begin.tell(&mut problems, after(Timestamp::now(), window(&config)));
    let holder = begin.saved.holder;
    let (settings, settings_out) = watch::channel(config.firewall);
    let (filters, filters_out) = watch::channel(Arc::clone(&config.filters));
    let (root, ignore) = (options.root.clone(), config.ignore.clone());
    let ignored = Follower::new(connection.clone(), root, options.state.clone(), ignore);
    let mut keeper = Keeper::new(
        config,
        ignored.list(),
        begin.saved,
        desired.clone(),
        announcer,
    );
    if !begin.is_read {
        *keeper.changes() = keeper.everything();
        keeper.changes().holder = holder;
    }

    let (reports_in, mut reports) = mpsc::channel(REPORTS);
    let disconnections = Disconnections::default();
    let mut firewall = tokio::spawn(firewall::run(
        connection.clone(),
        settings_out,
        holder,
        desired,
        disconnections.clone(),
        reports_in,
    ));
    let (ended_in, mut ended) = mpsc::channel(REPORTS);
    let mut helper = tokio::spawn(disconnections.run(connection.clone(), ended_in));
    let (disk_in, mut disk) = mpsc::unbounded_channel();
    let is_saved = begin.state.is_some();
    let writer = Writer::spawn(options.state, begin.state, disk_in)
        .context("cannot start the state's thread")?;
    let journal =
        read_journal(&options.root, &keeper).context("cannot start the journal's thread")?;
    let mut agent = Agent {
        root: options.root,
        keeper,
        ignored,
        problems,
        writer,
        is_saved,
        is_read: begin.is_read || is_saved,
        journal,
        settings,
        blind: Blind::default(),
        filters,
    };
    agent.ignore();
    let mut mail_units = units::spawn(connection.clone(), filters_out);

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let clock = Clock::new(sd_notify::watchdog_enabled()).context("cannot start a timer")?;
    notify(&[NotifyState::Ready]);
    tracing::debug!("ready");

    let end = loop {
        agent.settle(Timestamp::now());
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            () = connection.closed() => break Err(anyhow::anyhow!("the bus is gone")),
            end = &mut firewall => break end.map_err(Into::into).and_then(|end| end.context("the bus is gone, and the firewall out of reach")),
            Some(order) = orders.recv() => agent.obey(order),
            _ = hangup.recv() => drop(agent.reload()),
            told = clock.tells() => agent.follow_clock(told.context("cannot read a timer")?),
            Some(report) = reports.recv() => agent.note(&report),
            end = &mut helper => break end.map_err(Into::into).and_then(|end| end.context("the bus is gone, and the helper out of reach")),
            Some(report) = ended.recv() => {
                agent.problems.set(Kind::Connections, report.err().map(|error| error.to_string()));
            }
            Some(event) = disk.recv() => agent.hear_of_disk(event).context("cannot start the journal's thread")?,
            () = agent.ignored.changed() => agent.ignore(),
            Some(fault) = mail_units.recv() => agent.problems.set(Kind::Units, fault),
            Some(event) = agent.journal.recv() => agent.take_in(event).await,
            () = sleep(agent.keeper.until_next_end(Timestamp::now())) => {}
        }
    };
    notify(&[NotifyState::Stopping]);
    firewall.abort();
    helper.abort();
    let last = if agent.is_saved {
        agent.keeper.last_changes()
    } else {
        agent.keeper.everything()
    };
    agent.writer.finish(last);
    end
}

impl Agent {
    /// What follows from whatever has happened, and from time.
    fn settle(&mut self, now: Timestamp) {
        self.keeper.expire(now);
        self.problems.expire(now);
        let overflow = self.keeper.overflow(now);
        self.problems.set(Kind::Overflow, overflow);
        self.problems.set(Kind::Unknown, self.blind.problem(now));
        self.save();
        self.problems.tell_status(|| self.keeper.summary());
    }

    /// Hands on what is to be saved. A disk that refuses gets all of it later: nothing is kept for it.
    fn save(&mut self) {
        if self.is_saved {
            self.writer.save(self.keeper.changes());
        } else {
            *self.keeper.changes() = Changes::default();
        }
    }

    fn hear_of_disk(&mut self, event: state::Event) -> std::io::Result<()> {
        match event {
            state::Event::Failed(error) => {
                self.is_saved = false;
                self.problems.set(Kind::State, Some(not_saved(&error)));
            }
            state::Event::Back(saved, aside) => {
                if let Some(aside) = aside {
                    let text = tell_loss(&aside, "all that is in force has been saved anew");
                    self.lose(Kind::StateLost, text);
                } else if !self.is_read && *saved != Saved::default() {
                    self.keeper.take_up(*saved);
                    self.journal = read_journal(&self.root, &self.keeper)?;
                }
                self.is_read = true;
                self.is_saved = true;
                *self.keeper.changes() = self.keeper.everything();
            }
            state::Event::Saved => self.problems.set(Kind::State, None),
        }
        Ok(())
    }

    fn lose(&mut self, kind: Kind, text: String) {
        let over = after(Timestamp::now(), window(self.keeper.config()));
        self.problems.lose(kind, text, over);
    }

    /// Heeds the reader, and then lets others have a turn: in a storm its next word is there already, and tokio would have
    /// the bus wait for a hundred of them.
    async fn take_in(&mut self, event: Event) {
        self.heed(event);
        yield_now().await;
    }

    fn heed(&mut self, event: Event) {
        match event {
            Event::Opened => {
                self.keeper.read_again();
                self.problems.set(Kind::Journal, None);
            }
            Event::Batch(batch) => {
                for finding in &batch.findings {
                    if let Finding::Trouble(trouble) = finding {
                        self.problems.hear(trouble, Timestamp::now());
                    }
                }
                self.overlook(&batch);
                self.keeper.take(batch);
            }
            Event::Missed(missed) => {
                let Missed { from, until, why } = missed;
                let text = format!(
                    "the journal has lost entries from {} to {}, and failed logins among them are not counted: {why}",
                    local(from),
                    local(until)
                );
                self.lose(Kind::Missed, text);
            }
            Event::Failed(error) => {
                let text = format!("cannot read the journal, nobody gets banned: {error}");
                self.problems.set(Kind::Journal, Some(text));
            }
        }
    }

    /// Takes in what filters could not see.
    fn overlook(&mut self, batch: &Batch) {
        for suppressed in &batch.overlooked.suppressed {
            let over = after(suppressed.at, window(self.keeper.config()));
            if over > Timestamp::now() {
                self.problems.suppressed(&suppressed.unit, over);
            }
        }
        if !batch.again {
            self.blind.note(batch);
        }
    }

    /// Takes in who is never banned now.
    fn ignore(&mut self) {
        self.problems.set(Kind::Ignore, self.ignored.fault());
        self.problems
            .set(Kind::Names, self.ignored.fault_of_names());
        self.keeper.ignore(self.ignored.list());
    }

    /// By the clock, bans end, and where it was set, sooner or later. The kernel counts seconds, and so gets all bans anew.
    fn follow_clock(&self, told: Told) {
        match told {
            Told::Watchdog => notify(&[NotifyState::Watchdog]),
            Told::Set => {
                tracing::debug!("the clock was set");
                self.settings.send_modify(|_| {});
            }
        }
    }

    /// Takes in how things are with the firewall.
    fn note(&mut self, report: &firewall::Report) {
        let error = report.result.as_ref().err().map(ToString::to_string);
        self.problems.set(Kind::Firewall, error);
        self.problems.set(Kind::Disturbed, report.disturbed.clone());
        let settings = &self.keeper.config().firewall;
        let firewalld = report.backend == Some(Backend::Firewalld);
        let ignored = firewalld && (settings.all_ports || settings.reject);
        let text = "firewalld's policy \"banjour\" says what a ban closes and how, not the settings \"ports\" and \"reject\"; set firewall = \"nftables\", or copy /usr/lib/firewalld/policies/banjour.xml to /etc/firewalld/policies and change it";
        self.problems
            .set(Kind::Settings, ignored.then(|| text.to_owned()));
        self.keeper.enforced(report);
    }

    /// Takes a new configuration into force, or keeps the one that runs and says why.
    fn reload(&mut self) -> Result<(), Error> {
        let config = match Config::load(&self.root) {
            Ok(config) => config,
            Err(error) => {
                let text =
                    format!("the configuration is faulty, the one before stays in force: {error}");
                self.problems.set(Kind::Config, Some(text));
                return Err(Error::ReloadFailed(error.to_string()));
            }
        };
        self.problems.set(Kind::Config, None);
        self.settings.send_replace(config.firewall);
        self.filters.send_replace(Arc::clone(&config.filters));
        self.ignored.set(config.ignore.clone());
        self.keeper.reconfigure(config);
        self.ignore();
        self.journal =
            read_journal(&self.root, &self.keeper).map_err(|e| Error::Failed(e.to_string()))?;
        tracing::info!(
            MESSAGE_ID = log::id::RELOAD,
            BANJOUR_ACTION = "reload",
            "configuration reloaded: {} jails",
            self.keeper.config().jails.len()
        );
        Ok(())
    }
}

/// A reader that goes on where the keeper stands, and reads the window before that again for jails that need it.
fn read_journal(root: &Path, keeper: &Keeper) -> std::io::Result<mpsc::Receiver<Event>> {
    let position = keeper.position().cloned();
    let start = Start {
        from: read_from(position.as_ref(), keeper.config()),
        position,
    };
    let config = keeper.config();
    let (filters, others) = (Arc::clone(&config.filters), Arc::clone(&config.others));
    journal::spawn(root.to_owned(), filters, others, start)
}

/// From where on the journal is read again.
fn read_from(position: Option<&Position>, config: &Config) -> Timestamp {
    let now = Timestamp::now();
    // The clock may have been set back since.
    let last = position.map_or(now, |position| position.at.min(now));
    before(last, reach(config))
}

/// How far back an attempt can matter.
fn reach(config: &Config) -> Duration {
    window(config) + WITNESS_DELAY
}

/// The longest time that any jail looks back.
fn window(config: &Config) -> Duration {
    let windows = config.jails.values().map(|jail| jail.rule.window);
    windows.max().unwrap_or_default()
}

fn not_saved(why: &str) -> String {
    format!("cannot save state, it would be lost at a restart: {why}")
}

/// Outside of systemd there is nobody to tell.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot notify systemd: {error}");
    }
}

impl Options {
    /// The state directory that systemd gives (`StateDirectory=`), or the usual one.
    #[must_use]
    pub fn state_directory() -> PathBuf {
        std::env::var_os("STATE_DIRECTORY")
            .map_or_else(|| Path::new("/var/lib/banjour").to_owned(), PathBuf::from)
    }
}
