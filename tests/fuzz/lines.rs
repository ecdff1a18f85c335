//! What holds for any line: evidence is within its bounds and names an address that stands there, and no text of a
//! client's moves the address or hides an attempt.

use std::collections::BTreeSet;

use super::{
    Entry, Filter, Finding, Looks, MAX_MESSAGE, Outcome, SHIPPED, Source, Timestamp, Writer, shape,
    shown,
};

pub(crate) mod frames;

use frames::Frame;

/// Whose entries filters believe.
const WRITERS: [(&str, &str); 3] = [
    ("dovecot.service", "root"),
    ("postfix@-.service", "postfix"),
    ("saslauthd.service", "root"),
];

/// The shipped filters, and the look at what they don't know.
pub(crate) struct Lines {
    pub(crate) filters: Vec<Filter>,
    pub(crate) looks: Looks,
}

impl Lines {
    pub(crate) fn new() -> Self {
        let compile = |(name, text)| Filter::compile(name, text).expect("a shipped filter");
        Self {
            filters: SHIPPED.map(compile).into(),
            looks: Looks::new().expect("our own patterns"),
        }
    }

    /// A client's text, where a daemon writes it.
    pub(crate) fn framed(&self, frame: &Frame, text: &[u8]) {
        let message = frame.fill(text);
        let found = self.found(frame.unit, frame.user, &message);
        let seen = |finding: &Finding| match finding {
            Finding::Evidence(evidence) => {
                &*evidence.filter == frame.filter
                    && matches!(evidence.outcome, Outcome::Failure { .. })
            }
            Finding::Trouble(_) => false,
        };
        for finding in &found {
            let source = source(finding).map(|source| source.to_string());
            assert_eq!(
                source.as_deref(),
                Some("192.0.2.7"),
                "{}",
                message.escape_ascii()
            );
        }
        if message.len() <= MAX_MESSAGE && frame.must_be_seen(text) {
            assert!(found.iter().any(seen), "{}", message.escape_ascii());
        }
    }

    /// Any message.
    pub(crate) fn any(&self, message: &[u8]) {
        let mut named = None;
        for (unit, user) in WRITERS {
            for finding in self.found(unit, user, message) {
                let named = named.get_or_insert_with(|| addresses(message));
                let source = source(&finding);
                assert!(
                    source.is_none_or(|source| named.contains(&source)),
                    "{source:?} does not stand in {}",
                    message.escape_ascii()
                );
            }
        }
        self.look(message);
    }

    /// What the filters find. Findings are short and readable.
    pub(crate) fn found(&self, unit: &str, user: &str, message: &[u8]) -> Vec<Finding> {
        let entry = Entry {
            unit,
            writer: Writer::User(user),
            message,
            at: Timestamp::UNIX_EPOCH,
        };
        let read = |filter: &Filter| {
            let finding = filter.read(&entry)?;
            assert!(
                filter.understand(message).is_some(),
                "{} is passed over",
                message.escape_ascii()
            );
            bounded(&finding);
            Some(finding)
        };
        self.filters.iter().filter_map(read).collect()
    }

    fn look(&self, message: &[u8]) {
        if self.looks.like_a_failure(message) {
            let text = message.to_ascii_lowercase();
            let has = |word: &str| text.windows(word.len()).any(|part| part == word.as_bytes());
            assert!(
                ["fail", "denied", "invalid"].into_iter().any(has),
                "{}",
                message.escape_ascii()
            );
        }
        let shown = shown(message);
        // A character takes up to ten to show, as in \u{10ffff}.
        assert!(readable(&shown, 2000), "{shown:?}");
        assert!(shape(&shown).split(' ').count() <= 20, "{shown:?}");
    }
}

fn bounded(finding: &Finding) {
    let short = |text: &Option<String>, max| text.as_ref().is_none_or(|text| readable(text, max));
    match finding {
        Finding::Evidence(evidence) => {
            assert!(!evidence.source.to_string().contains('/'), "{evidence:?}");
            assert!(short(&evidence.user, 64), "{evidence:?}");
            assert!(short(&evidence.session, 40), "{evidence:?}");
            assert!(short(&evidence.password, 40), "{evidence:?}");
            assert!(short(&evidence.service, 20), "{evidence:?}");
            assert!(short(&evidence.method, 20), "{evidence:?}");
            if let Outcome::Failure { attempts, .. } = evidence.outcome {
                assert!((1..=1000).contains(&attempts), "{evidence:?}");
            }
        }
        Finding::Trouble(trouble) => {
            assert!(readable(&trouble.message, 200), "{trouble:?}");
            let user = trouble.client.as_ref().map(|client| &client.user);
            assert!(user.is_none_or(|user| short(user, 64)), "{trouble:?}");
        }
    }
}

fn readable(text: &str, max: usize) -> bool {
    text.chars().count() <= max && !text.contains(char::is_control)
}

/// Whom a finding speaks of; `None` where that is everybody.
fn source(finding: &Finding) -> Option<Source> {
    match finding {
        Finding::Evidence(evidence) => Some(evidence.source),
        Finding::Trouble(trouble) => trouble.client.as_ref().map(|client| client.source),
    }
}

/// All that can be read as an address in a message.
fn addresses(message: &[u8]) -> BTreeSet<Source> {
    message
        .split(|byte| !(byte.is_ascii_hexdigit() || b":.".contains(byte)))
        .flat_map(|word| {
            // A port, or a word of the daemon's, may stand behind a colon or before one.
            let text = str::from_utf8(word).unwrap_or_default();
            let colons = text.match_indices(':').map(|(at, _)| at);
            let cuts: Vec<usize> = colons.collect();
            let heads = cuts.iter().map(|at| &text[..*at]);
            let tails = cuts.iter().map(|at| &text[at + 1..]);
            let parts: Vec<_> = heads.chain(tails).chain([text]).collect();
            parts
        })
        .filter_map(|text| text.parse().ok())
        .collect()
}
