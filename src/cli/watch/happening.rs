//! What the agent tells as it happens: its signals, read.

use serde_json::{Value, json};
use zbus::Message;

use crate::bus::BanDetails;

/// One thing that happened. Times are µs since the epoch.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    Attempt {
        at: u64,
        source: String,
        jail: String,
        user: String,
        attempts: u32,
    },
    Ban(BanDetails),
    Unban {
        at: u64,
        source: String,
        jail: String,
        reason: String,
    },
    BanIgnored {
        at: u64,
        source: String,
        jail: String,
        attempts: u32,
        user: String,
    },
    AccountUnderAttack {
        at: u64,
        user: String,
        sources: u32,
    },
    Problem {
        at: u64,
        text: String,
    },
    Solved {
        at: u64,
        text: String,
    },
    /// The agent does not answer any more.
    Gone {
        at: u64,
        text: String,
    },
    /// It does again.
    Back {
        at: u64,
    },
}

impl Happening {
    /// Reads a signal of the manager's; others are none of ours.
    pub(super) fn read(message: &Message, now: u64) -> Option<Self> {
        let header = message.header();
        let body = message.body();
        Some(match header.member()?.as_str() {
            "Attempt" => {
                let (source, jail, user, attempts, at) = body.deserialize().ok()?;
                Self::Attempt {
                    at,
                    source,
                    jail,
                    user,
                    attempts,
                }
            }
            "BanDescribed" => Self::Ban(body.deserialize::<(BanDetails,)>().ok()?.0),
            "BanRemoved" => {
                let (source, jail, reason) = body.deserialize().ok()?;
                Self::Unban {
                    at: now,
                    source,
                    jail,
                    reason,
                }
            }
            "BanIgnored" => {
                let (source, jail, attempts, user) = body.deserialize().ok()?;
                Self::BanIgnored {
                    at: now,
                    source,
                    jail,
                    attempts,
                    user,
                }
            }
            "AccountUnderAttack" => {
                let (user, sources) = body.deserialize().ok()?;
                Self::AccountUnderAttack {
                    at: now,
                    user,
                    sources,
                }
            }
            _ => return None,
        })
    }

    /// What it is: the agent's own journal has the same words in `BANJOUR_ACTION`.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Attempt { .. } => "attempt",
            Self::Ban(_) => "ban",
            Self::Unban { .. } => "unban",
            Self::BanIgnored { .. } => "ban-ignored",
            Self::AccountUnderAttack { .. } => "account-under-attack",
            Self::Problem { .. } => "problem",
            Self::Solved { .. } => "solved",
            Self::Gone { .. } => "agent-gone",
            Self::Back { .. } => "agent-back",
        }
    }

    pub(super) fn at(&self) -> u64 {
        match self {
            Self::Ban(ban) => ban.since_usec,
            Self::Attempt { at, .. }
            | Self::Unban { at, .. }
            | Self::BanIgnored { at, .. }
            | Self::AccountUnderAttack { at, .. }
            | Self::Problem { at, .. }
            | Self::Solved { at, .. }
            | Self::Gone { at, .. }
            | Self::Back { at } => *at,
        }
    }

    pub(super) fn source(&self) -> &str {
        match self {
            Self::Ban(ban) => &ban.source,
            Self::Attempt { source, .. }
            | Self::Unban { source, .. }
            | Self::BanIgnored { source, .. } => source,
            _ => "",
        }
    }

    pub(super) fn jail(&self) -> &str {
        match self {
            Self::Ban(ban) => &ban.jail,
            Self::Attempt { jail, .. }
            | Self::Unban { jail, .. }
            | Self::BanIgnored { jail, .. } => jail,
            _ => "",
        }
    }

    pub(super) fn json(&self) -> Value {
        let mut value = match self {
            Self::Attempt { user, attempts, .. } | Self::BanIgnored { user, attempts, .. } => {
                json!({ "user": user, "attempts": attempts })
            }
            // The ban begins with the entry that brings it, so that it needs no other time.
            Self::Ban(ban) => json!(ban),
            Self::Unban { reason, .. } => json!({ "reason": reason }),
            Self::AccountUnderAttack { user, sources, .. } => {
                json!({ "user": user, "sources": sources })
            }
            Self::Problem { text, .. } | Self::Solved { text, .. } | Self::Gone { text, .. } => {
                json!({ "text": text })
            }
            Self::Back { .. } => json!({}),
        };
        value["event"] = self.kind().into();
        value["at_usec"] = self.at().into();
        if !self.source().is_empty() {
            value["source"] = self.source().into();
            value["jail"] = self.jail().into();
        }
        value
    }
}
