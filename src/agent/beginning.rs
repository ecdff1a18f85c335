//! What the agent begins with: the state that it left, or where that is lost, what the journal and the kernel tell.

use jiff::Timestamp;
use zbus::Connection;

use super::problems::{Kind, Problems};
use super::{Options, not_saved};
use crate::ban::{Ban, Cause, JailName};
use crate::config::MANUAL;
use crate::firewall;
use crate::journal::{Place, Told, read_own};
use crate::state::{self, Aside, Saved, State};

pub(super) struct Beginning {
    /// The database, unless the disk refuses.
    pub(super) state: Option<State>,
    /// What was in it, or what is known without it.
    pub(super) saved: Saved,
    /// Whether it was in it.
    pub(super) is_read: bool,
    /// Why it can't be written.
    pub(super) refused: Option<state::Error>,
    /// How it was lost.
    pub(super) lost: Option<String>,
}

impl Beginning {
    /// Opens the state, or does without it.
    pub(super) async fn find(connection: &Connection, options: &Options) -> Self {
        let (state, refused, aside) = match State::open(&options.state) {
            Ok((state, saved, None)) => {
                return Self {
                    state: Some(state),
                    saved,
                    is_read: true,
                    refused: None,
                    lost: None,
                };
            }
            Ok((state, _, Some(aside))) => (Some(state), None, Some(aside)),
            Err(error) => (None, Some(error), None),
        };
        if let Some(saved) = refused
            .as_ref()
            .and_then(|_| State::read(&options.state).ok())
        {
            return Self {
                state,
                saved,
                is_read: true,
                refused,
                lost: None,
            };
        }
        let (saved, found) = rebuild(connection, options).await;
        Self {
            state,
            saved,
            is_read: false,
            refused,
            lost: aside.map(|aside| tell_loss(&aside, &found)),
        }
    }
}

impl Beginning {
    /// Says what is wrong; that something was lost, until a time.
    pub(super) fn tell(&mut self, problems: &mut Problems, until: Timestamp) {
        if let Some(text) = self.lost.take() {
            problems.lose(Kind::StateLost, text, until);
        }
        if let Some(error) = &self.refused {
            problems.set(Kind::State, Some(not_saved(&error.to_string())));
        }
    }
}

/// Says what became of a state.
pub(super) fn tell_loss(aside: &Aside, then: &str) -> String {
    let kept = aside
        .path
        .as_ref()
        .map(|path| format!(" and is kept as {}", path.display()));
    let kept = kept.unwrap_or_default();
    format!("the state could not be used ({}){kept}; {then}", aside.why)
}

/// The bans that the agent has told the journal of, and those that the kernel holds besides. Says how many.
async fn rebuild(connection: &Connection, options: &Options) -> (Saved, String) {
    let Told { bans, pardoned } =
        read_own(&Place::Root(options.root.clone())).unwrap_or_else(|error| {
            tracing::warn!("cannot read in the journal who was banned: {error}");
            Told::default()
        });
    let mut saved = Saved::default();
    let told = bans.len();
    let now = Timestamp::now();
    if let Some((holder, kept_out)) = firewall::left(connection).await {
        saved.holder = Some(holder);
        for (source, until) in kept_out {
            let is_told =
                bans.contains(source) || pardoned.keys().any(|(pardoned, _)| *pardoned == source);
            if !is_told && until > now {
                let (jail, since) = (JailName::from(MANUAL), now);
                saved.bans.push(Ban {
                    source,
                    jail,
                    since,
                    until,
                    cause: Cause::Order,
                });
            }
        }
    }
    let found = format!(
        "{told} bans were found in the journal, {} more in the firewall, and all counters begin anew",
        saved.bans.len()
    );
    saved.bans.extend(bans.iter());
    for ban in &saved.bans {
        saved
            .settled
            .push(((ban.source, ban.jail.clone()), ban.until));
        saved.totals.entry(ban.jail.clone()).or_default().banned += 1;
    }
    saved.settled.extend(pardoned);
    (saved, found)
}
