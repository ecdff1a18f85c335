//! What filters find in entries.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::source::Source;
use crate::tally::Witness;

/// What one entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Of somebody's login.
    Evidence(Evidence),
    /// Of the server's own authentication.
    Trouble(Trouble),
}

impl Finding {
    /// From now on it speaks of the client that its address stands for.
    pub fn widen(&mut self, client: impl FnOnce(Source) -> Source) {
        let source = match self {
            Self::Evidence(evidence) => Some(&mut evidence.source),
            Self::Trouble(trouble) => trouble.client.as_mut().map(|client| &mut client.source),
        };
        if let Some(source) = source {
            *source = client(*source);
        }
    }
}

/// What one entry says of somebody's login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// When journald received it.
    pub at: Timestamp,
    /// The filter that understood it.
    pub filter: Arc<str>,
    /// The client's address.
    pub source: Source,
    /// The name that the client gave, as it wrote it (without control characters), cut short.
    pub user: Option<String>,
    /// The server's own name of the connection, cut short. Dovecot's login processes have one, Postfix has none.
    pub session: Option<String>,
    /// A hash of the password that was given, if the server tells it: the same one again is no new guess.
    pub password: Option<String>,
    /// What the client wanted to use: `imap`, `smtp`. The programs that talk to clients tell.
    pub service: Option<String>,
    /// The SASL mechanism, as the client wrote it.
    pub method: Option<String>,
    /// What became of the login.
    pub outcome: Outcome,
}

/// What became of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A witness says that `attempts` failed.
    Failure {
        /// Who says it.
        witness: Witness,
        /// How many failed, by this entry.
        attempts: u32,
    },
    /// Somebody logged in.
    Success,
}

/// The server says that it could not check a password, and that is nobody's fault but its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// When journald received it.
    pub at: Timestamp,
    /// The filter that understood it.
    pub filter: Arc<str>,
    /// Whose password it was. `None`: whoever's comes, as long as it lasts.
    pub client: Option<Client>,
    /// Where it is whoever's: for how long clients may be told of a failure because of it.
    pub explains: Duration,
    /// Whether it deceives the witnesses that otherwise know (see [`Witness::is_sure`]).
    pub deceives: bool,
    /// The entry's message, cut short, for the admin to read.
    pub message: String,
}

/// Whose password could not be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's address.
    pub source: Source,
    /// The name that it gave, as in [`Evidence::user`].
    pub user: Option<String>,
    /// Whether it came through a login process, which tells by itself that nobody checked the password.
    pub session: bool,
    /// The password database that could not check it.
    pub back: Arc<str>,
}
