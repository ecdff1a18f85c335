//! polkit's authority, played: it answers as told, and writes down what it was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use zbus::{Connection, OwnedVariant, interface};

use crate::bus::Bus;

const NAME: &str = "org.freedesktop.PolicyKit1";
const PATH: &str = "/org/freedesktop/PolicyKit1/Authority";

/// What it answers to every question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
    /// A dialog with an administrator would help. With one, the administrator agrees.
    Challenge,
    /// A dialog is up, and nobody answers it.
    Never,
}

/// A question that it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) action: String,
    /// Whether the user may be asked by a dialog.
    pub(crate) interactive: bool,
}

/// An authority that runs.
pub(crate) struct Polkit {
    _connection: Connection,
    questions: Arc<Mutex<Vec<Question>>>,
}

struct Authority {
    answer: Answer,
    questions: Arc<Mutex<Vec<Question>>>,
}

impl Polkit {
    pub(crate) fn start(bus: &Bus, answer: Answer) -> Self {
        let questions = Arc::default();
        let authority = Authority {
            answer,
            questions: Arc::clone(&questions),
        };
        let connection = bus.run(bus.builder().serve_at(PATH, authority).name(NAME).build());
        Self {
            _connection: connection.unwrap(),
            questions,
        }
    }

    /// The questions since this was last asked, as `action` or `action, interactive`.
    pub(crate) fn take_questions(&self) -> Vec<String> {
        let questions = std::mem::take(&mut *self.questions.lock().unwrap());
        let text = |question: Question| {
            question.action
                + if question.interactive {
                    ", interactive"
                } else {
                    ""
                }
        };
        questions.into_iter().map(text).collect()
    }
}

type Subject = (String, HashMap<String, OwnedVariant>);
type AuthorizationResult = (bool, bool, HashMap<String, String>);

#[interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Authority {
    /// Flag 1 is `AllowUserInteraction` (polkit's D-Bus API reference).
    #[allow(
        unused_variables,
        clippy::needless_pass_by_value,
        reason = "zbus hands over what it has read, and reads all"
    )]
    async fn check_authorization(
        &self,
        subject: Subject,
        action: String,
        details: HashMap<String, String>,
        flags: u32,
        cancellation: String,
    ) -> (AuthorizationResult,) {
        assert_eq!(subject.0, "system-bus-name");
        let interactive = flags & 1 == 1;
        self.questions.lock().unwrap().push(Question {
            action,
            interactive,
        });
        let (yes, challenge) = match self.answer {
            Answer::Yes => (true, false),
            Answer::No => (false, false),
            Answer::Challenge => (interactive, !interactive),
            Answer::Never => std::future::pending().await,
        };
        ((yes, challenge, HashMap::new()),)
    }
}
