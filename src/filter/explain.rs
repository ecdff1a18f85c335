//! Why a message is evidence, or is none: for people who write filters (`banjour test`).

use regex_automata::hybrid::dfa::DFA;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

use super::Filter;
use super::pattern::{Kind, Pattern};

/// What a filter makes of a message, whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explanation {
    /// A pattern matches.
    Match {
        /// The pattern's name.
        pattern: String,
        /// The pattern's kind, as in the file.
        kind: &'static str,
        /// The captures, in the pattern's order; bytes that are no text are shown as such.
        captures: Vec<(String, String)>,
    },
    /// No pattern matches.
    Nearest {
        /// The name of the pattern that got furthest, of those that tell of something.
        pattern: String,
        /// The offset in bytes at which it could not go on; the message's length if it wanted more.
        stopped: usize,
    },
}

impl Filter {
    /// Explains a message.
    #[must_use]
    pub fn explain(&self, message: &[u8]) -> Explanation {
        if let Some(understood) = self.understand(message) {
            return understood.pattern.explain(message);
        }
        let reaches = self
            .patterns
            .iter()
            .filter(|pattern| pattern.kind != Kind::Nothing)
            .map(|pattern| (pattern.reach(message), pattern));
        let (stopped, furthest) = reaches.max_by_key(|(reach, _)| *reach).unzip();
        Explanation::Nearest {
            pattern: furthest
                .map(|pattern| pattern.name.clone())
                .unwrap_or_default(),
            stopped: stopped.unwrap_or_default(),
        }
    }
}

impl Pattern {
    fn explain(&self, message: &[u8]) -> Explanation {
        let captures = self.regex.captures(message);
        let text = |name: &str| {
            let bytes = captures.as_ref()?.name(name)?.as_bytes();
            Some((name.to_owned(), String::from_utf8_lossy(bytes).into_owned()))
        };
        Explanation::Match {
            pattern: self.name.clone(),
            kind: self.kind.name(),
            captures: self
                .regex
                .capture_names()
                .flatten()
                .filter_map(text)
                .collect(),
        }
    }

    /// How many bytes the pattern can follow the message.
    fn reach(&self, message: &[u8]) -> usize {
        let automaton = DFA::builder()
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .build(self.regex.as_str());
        let Ok(automaton) = automaton else { return 0 };
        let mut cache = automaton.create_cache();
        let start = Input::new(message).anchored(Anchored::Yes);
        let Ok(mut state) = automaton.start_state_forward(&mut cache, &start) else {
            return 0;
        };
        for (offset, byte) in message.iter().enumerate() {
            match automaton.next_state(&mut cache, state, *byte) {
                // A match that is over is no way on either.
                Ok(next) if !next.is_dead() && !next.is_quit() => state = next,
                _ => return offset,
            }
        }
        message.len()
    }
}
