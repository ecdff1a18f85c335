//! All that the window shows. It hears what the agent tells and what a person wants, and does nothing itself: time comes in
//! as an argument, requests go out as values. Everything in it is bounded, whatever comes in.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use jiff::tz::TimeZone;
use lru::LruCache;

use super::counts::Counts;
use super::explain;
use super::feed::{Answer, Event, Snapshot};
use super::happening::Happening;
use super::line::{Line, clean};
use super::panel::Panel;
use crate::bus::{BanDetails, BusyAccount, BusySource};

/// Lines that one can scroll back to.
pub(super) const MAX_LINES: usize = 2000;

/// An attempt like one of the last so many lines, in the same second, is told by that line.
const ALIKE: usize = 64;

/// Bans that are known not to be news when they are told again: more than an overview has.
const MAX_KNOWN: NonZeroUsize = NonZeroUsize::new(4096).expect("is not 0");

/// How long a message stays.
const MESSAGE_TIME: u64 = 8_000_000;

/// A problem's text, or a message's.
const MAX_TEXT: usize = 500;

/// Where keys go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Focus {
    Events,
    Sources,
    Accounts,
}

/// What is typed in the last line but one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Typing {
    Ban(String),
    Lift(String),
    Filter(String),
}

/// Lines that stand still while others come.
#[derive(Debug)]
pub(super) struct Frozen {
    pub(super) lines: Vec<Line>,
    /// How many have come since.
    pub(super) missed: u64,
}

/// A message about what was asked for.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) text: String,
    pub(super) is_error: bool,
    until: u64,
}

/// What the window shows.
#[derive(Debug)]
pub(super) struct State {
    /// µs since the epoch.
    pub(super) now: u64,
    pub(super) zone: TimeZone,
    pub(super) version: String,
    pub(super) firewall: String,
    pub(super) in_force: u32,
    pub(super) problems: Vec<String>,
    /// Since when the agent is gone, and what is known of that.
    pub(super) gone: Option<(u64, String)>,
    lines: VecDeque<Line>,
    next_id: u64,
    pub(super) frozen: Option<Frozen>,
    pub(super) sources: Vec<BusySource>,
    pub(super) accounts: Vec<BusyAccount>,
    pub(super) bans: Counts,
    pub(super) attempts: Counts,
    known: Known,
    begun: bool,
    pub(super) focus: Focus,
    /// The selected line's number, source and account.
    pub(super) line: Option<u64>,
    pub(super) source: Option<String>,
    pub(super) account: Option<String>,
    /// In lower case.
    pub(super) filter: String,
    pub(super) typing: Option<Typing>,
    pub(super) panel: Option<Panel>,
    pub(super) message: Option<Message>,
    /// How many lines a page has.
    pub(super) page: usize,
}

impl State {
    pub(super) fn new(now: u64, zone: TimeZone) -> Self {
        Self {
            now,
            zone,
            version: String::new(),
            firewall: String::new(),
            in_force: 0,
            problems: Vec::new(),
            gone: None,
            lines: VecDeque::new(),
            next_id: 0,
            frozen: None,
            sources: Vec::new(),
            accounts: Vec::new(),
            bans: Counts::new(now),
            attempts: Counts::new(now),
            known: Known::default(),
            begun: false,
            focus: Focus::Events,
            line: None,
            source: None,
            account: None,
            filter: String::new(),
            typing: None,
            panel: None,
            message: None,
            page: 10,
        }
    }

    /// Time goes on.
    pub(super) fn advance(&mut self, now: u64) {
        self.now = now;
        self.bans.advance(now);
        self.attempts.advance(now);
        self.message.take_if(|message| message.until <= now);
    }

    /// Takes in what the agent tells.
    pub(super) fn hear(&mut self, event: Event) {
        match event {
            Event::Here(snapshot) => self.here(*snapshot),
            Event::Refreshed(snapshot) => self.refresh(*snapshot),
            Event::Happened(happening) => self.happened(&happening),
            Event::Gone(text) => {
                if self.gone.is_none() {
                    let (at, text) = (self.now, text.clone());
                    self.add(&Happening::Gone { at, text });
                }
                let since = self.gone.take().map_or(self.now, |(since, _)| since);
                self.gone = Some((since, clean(&text, MAX_TEXT)));
            }
            Event::Answered(Ok(Answer::Done(text))) => self.tell(&text, false),
            Event::Answered(Ok(Answer::Why(source, explanation))) => {
                let lines = explain::lines(&explanation, self.now, &self.zone);
                self.panel = Some(Panel::new(format!("Why {source}?"), lines, Some(source)));
                self.message = None;
            }
            Event::Answered(Err(text)) => self.tell(&text, true),
        }
    }

    fn here(&mut self, mut snapshot: Snapshot) {
        if self.gone.take().is_some() && self.begun {
            self.add(&Happening::Back { at: self.now });
        }
        self.bans.raise(&snapshot.bans_since);
        // The newest come first, and are wanted last.
        for ban in snapshot.overview.bans.drain(..).rev() {
            if self.known.is_new(&ban) {
                self.add(&Happening::Ban(ban));
            }
        }
        self.begun = true;
        self.refresh(snapshot);
    }

    fn refresh(&mut self, snapshot: Snapshot) {
        for happening in problems_changed(&self.problems, &snapshot.problems, self.now) {
            self.add(&happening);
        }
        self.version = snapshot.version;
        self.firewall = snapshot.firewall;
        self.in_force = snapshot.in_force;
        self.problems = snapshot.problems;
        self.sources = snapshot.overview.sources;
        self.accounts = snapshot.overview.accounts;
    }

    fn happened(&mut self, happening: &Happening) {
        match happening {
            Happening::Attempt { at, attempts, .. } => self.attempts.add(*at, (*attempts).into()),
            Happening::Ban(ban) => {
                if !self.known.is_new(ban) {
                    return;
                }
                self.bans.add(ban.since_usec, 1);
            }
            _ => {}
        }
        self.add(happening);
    }

    fn add(&mut self, happening: &Happening) {
        let line = Line::new(self.next_id, happening);
        let mut last = self.lines.iter_mut().rev().take(ALIKE);
        if last.any(|known| known.absorb(&line)) {
            return;
        }
        self.next_id += 1;
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
        if let Some(frozen) = &mut self.frozen {
            frozen.missed += 1;
        }
    }

    pub(super) fn tell(&mut self, text: &str, is_error: bool) {
        self.message = Some(Message {
            text: clean(text, MAX_TEXT),
            is_error,
            until: self.now + MESSAGE_TIME,
        });
    }

    /// The lines that the filter lets through, the oldest first.
    pub(super) fn shown(&self) -> Vec<&Line> {
        let wanted = |line: &&Line| line.matches(&self.filter);
        match &self.frozen {
            Some(frozen) => frozen.lines.iter().filter(wanted).collect(),
            None => self.lines.iter().filter(wanted).collect(),
        }
    }

    /// Stops the lines where they are.
    pub(super) fn freeze(&mut self) {
        if self.frozen.is_none() {
            let lines = self.lines.iter().cloned().collect();
            self.frozen = Some(Frozen { lines, missed: 0 });
        }
    }

    /// Shows what comes as it comes.
    pub(super) fn follow(&mut self) {
        self.frozen = None;
        self.line = None;
    }

    /// The source that is selected where the keys go.
    pub(super) fn selected_source(&self) -> Option<String> {
        match self.focus {
            Focus::Events => {
                let line = self
                    .shown()
                    .into_iter()
                    .find(|line| Some(line.id) == self.line)?;
                (!line.source.is_empty()).then(|| line.source.clone())
            }
            Focus::Sources => self.source.clone(),
            Focus::Accounts => None,
        }
    }

    /// Moves the selection so many lines down, or up.
    pub(super) fn step(&mut self, by: isize) {
        match self.focus {
            Focus::Events => {
                self.freeze();
                let ids: Vec<u64> = self.shown().iter().map(|line| line.id).collect();
                self.line = match self.line {
                    // From where nothing is selected, the first step selects what came last.
                    None => ids.last().copied(),
                    selected => stepped(&ids, selected.as_ref(), by),
                };
            }
            Focus::Sources => {
                let names: Vec<_> = self.sources.iter().map(|of| of.source.clone()).collect();
                self.source = stepped(&names, self.source.as_ref(), by);
            }
            Focus::Accounts => {
                let names: Vec<_> = self.accounts.iter().map(|of| of.user.clone()).collect();
                self.account = stepped(&names, self.account.as_ref(), by);
            }
        }
    }
}

/// What lies so many steps from the selected one; from none, the first.
fn stepped<T: Clone + PartialEq>(all: &[T], selected: Option<&T>, by: isize) -> Option<T> {
    let last = all.len().checked_sub(1)?;
    let index = selected.and_then(|selected| all.iter().position(|one| one == selected));
    let index = index.map_or(0, |index| index.saturating_add_signed(by).min(last));
    all.get(index).cloned()
}

/// What has begun or is over among the agent's problems.
pub(super) fn problems_changed(before: &[String], now: &[String], at: u64) -> Vec<Happening> {
    let solved = before.iter().filter(|text| !now.contains(text));
    let solved = solved.map(|text| Happening::Solved {
        at,
        text: text.clone(),
    });
    let new = now.iter().filter(|text| !before.contains(text));
    let new = new.map(|text| Happening::Problem {
        at,
        text: text.clone(),
    });
    solved.chain(new).collect()
}

/// The bans that were told of, so that none is told twice.
#[derive(Debug)]
pub(super) struct Known(LruCache<(String, String, u64), ()>);

impl Default for Known {
    fn default() -> Self {
        Self(LruCache::new(MAX_KNOWN))
    }
}

impl Known {
    /// Whether it was not known until now.
    pub(super) fn is_new(&mut self, ban: &BanDetails) -> bool {
        let key = (ban.source.clone(), ban.jail.clone(), ban.since_usec);
        self.0.put(key, ()).is_none()
    }
}

#[cfg(test)]
pub(super) mod tests;
