//! Keeps the list as it should be: hears of changes, and makes another.

use std::collections::BTreeSet;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use zbus::Connection;

use super::names::Resolved;
use super::own::Changes;
use super::watch::Watch;
use super::{List, MAX_NAMES, Name, Seen, Settings, files, names, own};

/// What changes is looked at this long after: a file may be half written, and interfaces come with many addresses at once.
const SETTLE: Duration = Duration::from_millis(100);

/// Rounds of names that wait; each has all answers in it.
const ROUNDS: usize = 1;

/// The list, and all that it follows.
pub struct Follower {
    root: PathBuf,
    seen: Seen,
    list: Arc<List>,
    watch: Option<Watch>,
    changes: Option<Changes>,
    /// When what has changed is looked at.
    due: Option<Instant>,
    wanted: watch::Sender<BTreeSet<Name>>,
    resolved: mpsc::Receiver<Resolved>,
    faults: Vec<String>,
    faults_of_names: Vec<String>,
}

impl Follower {
    /// Follows files below `root`, and names through the bus. The last good answers are kept in the directory `state`.
    #[must_use]
    pub fn new(connection: Connection, root: PathBuf, state: PathBuf, settings: Settings) -> Self {
        let answers = names::load(&state);
        let (wanted, wanted_out) = watch::channel(BTreeSet::new());
        let (resolved_in, resolved) = mpsc::channel(ROUNDS);
        let names = names::run(connection, state, wanted_out, answers.clone(), resolved_in);
        let mut follower = Self {
            root,
            seen: Seen::new(settings, answers),
            list: Arc::default(),
            watch: None,
            changes: None,
            due: None,
            wanted,
            resolved,
            faults: Vec::new(),
            faults_of_names: Vec::new(),
        };
        follower.look();
        tokio::spawn(names);
        follower
    }

    /// The list as it is now.
    #[must_use]
    pub fn list(&self) -> Arc<List> {
        Arc::clone(&self.list)
    }

    /// What of the setting is not in force, and why; but for names.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        told(&self.faults)
    }

    /// Which names are not resolved, and why.
    #[must_use]
    pub fn fault_of_names(&self) -> Option<String> {
        told(&self.faults_of_names)
    }

    /// Follows other settings, and looks at all anew.
    pub fn set(&mut self, settings: Settings) {
        self.seen.settings = settings;
        self.look();
        self.wanted.send_modify(|_| {});
    }

    /// Waits until the list, or a fault, may be another. Nothing is lost when it is dropped before its end.
    pub async fn changed(&mut self) {
        loop {
            let (watch, changes, due) = (self.watch.as_mut(), self.changes.as_ref(), self.due);
            let seen = async {
                match watch {
                    Some(watch) => watch.seen().await,
                    None => pending().await,
                }
            };
            let heard = async {
                match changes {
                    Some(changes) => changes.heard().await,
                    None => pending().await,
                }
            };
            let settled = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = seen, if due.is_none() => self.due = Some(Instant::now() + SETTLE),
                () = heard, if due.is_none() => self.due = Some(Instant::now() + SETTLE),
                () = settled => {
                    self.look();
                    return;
                }
                Some(Resolved { answers, faults }) = self.resolved.recv() => {
                    self.seen.answers = answers;
                    self.faults_of_names = faults;
                    self.list = Arc::new(self.seen.list());
                    return;
                }
            }
        }
    }

    /// Looks at all but names, which come when they are resolved. What changes after this is heard of: the watches begin
    /// before it.
    fn look(&mut self) {
        self.due = None;
        self.faults.clear();
        let paths = self.seen.settings.files();
        let mut paths = paths.map(|path| files::below(&self.root, path)).peekable();
        self.watch = None;
        if paths.peek().is_some() {
            let watch = Watch::new(paths).map_err(|error| {
                format!("cannot watch the files that \"ignore\" names ({error}); after a change of one: systemctl reload banjour")
            });
            self.watch = watch.map_err(|fault| self.faults.push(fault)).ok();
        }
        if self.changes.is_none() {
            let changes = Changes::new().map_err(|error| {
                format!("cannot hear of changes of this host's own addresses ({error}); after one: systemctl reload banjour")
            });
            self.changes = changes.map_err(|fault| self.faults.push(fault)).ok();
        }
        match own::addresses() {
            Ok(own) => self.seen.own = own,
            Err(fault) => self.faults.push(fault),
        }
        self.seen.files.read(&self.root, self.seen.settings.files());
        self.faults.extend(self.seen.files.faults());
        let watched = self.watch.iter().flat_map(|watch| watch.faults().to_vec());
        self.faults.extend(watched);

        let mut names = self.seen.names();
        let left_out: Vec<Name> = names.iter().skip(MAX_NAMES).cloned().collect();
        if let Some(first) = left_out.first() {
            self.faults.push(format!(
                "\"ignore\" has more than {MAX_NAMES} host names, ignoring {} of them, the first {first}",
                left_out.len()
            ));
            names.retain(|name| !left_out.contains(name));
        }
        self.wanted.send_if_modified(|wanted| {
            let other = *wanted != names;
            *wanted = names;
            other
        });
        self.list = Arc::new(self.seen.list());
    }
}

fn told(faults: &[String]) -> Option<String> {
    (!faults.is_empty()).then(|| faults.join("; "))
}
