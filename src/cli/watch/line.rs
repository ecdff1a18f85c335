//! A happening as one line of the window. What attackers wrote is made harmless here: all that is drawn is [`clean`].

use unicode_width::UnicodeWidthChar;

use super::happening::Happening;
use crate::cli::list::cause;
use crate::cli::text;

/// So much of any text, in columns, is enough for any screen.
const MAX_TEXT: usize = 500;

/// A name in a line; the filter cuts them too, so that this bounds what a strange agent could send.
const MAX_NAME: usize = 100;

/// What a line tells of, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Attempt,
    Ban,
    Unban,
    Ignored,
    Account,
    Problem,
    Solved,
}

impl Kind {
    /// The word in the line's second column.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Attempt => "attempt",
            Self::Ban => "BAN",
            Self::Unban => "unban",
            Self::Ignored => "ignored",
            Self::Account => "ATTACK",
            Self::Problem => "PROBLEM",
            Self::Solved => "solved",
        }
    }
}

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Lines are numbered as they come.
    pub(super) id: u64,
    pub(super) kind: Kind,
    /// µs since the epoch.
    pub(super) at: u64,
    pub(super) source: String,
    pub(super) jail: String,
    /// The name that was tried, or what there is to say.
    pub(super) text: String,
    /// Attempts that are told by this line.
    pub(super) attempts: u32,
}

impl Line {
    pub(super) fn new(id: u64, happening: &Happening) -> Self {
        let attempts = match happening {
            Happening::Attempt { attempts, .. } => *attempts,
            _ => 0,
        };
        let (kind, said) = say(happening);
        Self {
            id,
            kind,
            at: happening.at(),
            source: clean(happening.source(), MAX_NAME),
            jail: clean(happening.jail(), MAX_NAME),
            text: said,
            attempts,
        }
    }

    /// Takes in another attempt like this one, if it is one of the same second.
    pub(super) fn absorb(&mut self, other: &Self) -> bool {
        let same = self.kind == Kind::Attempt
            && other.kind == Kind::Attempt
            && self.at / 1_000_000 == other.at / 1_000_000
            && self.source == other.source
            && self.jail == other.jail
            && self.text == other.text;
        if same {
            self.attempts = self.attempts.saturating_add(other.attempts);
        }
        same
    }

    /// Whether the words of a filter are all in it; `words` are lower case.
    pub(super) fn matches(&self, words: &str) -> bool {
        let has = |word: &str| {
            [self.kind.word(), &self.source, &self.jail, &self.text]
                .iter()
                .any(|part| part.to_lowercase().contains(word))
        };
        words.split_whitespace().all(has)
    }
}

fn say(happening: &Happening) -> (Kind, String) {
    let name = |user: &str| {
        if user.is_empty() {
            "(no name)".to_owned()
        } else {
            clean(user, MAX_NAME)
        }
    };
    match happening {
        Happening::Attempt { user, .. } => (Kind::Attempt, name(user)),
        Happening::Ban(ban) => {
            let time = ban.until_usec.saturating_sub(ban.since_usec);
            let mut said = format!("{}, {}", text::span(time), cause(ban));
            if let Some(last) = ban.users.last() {
                said = format!("{said}, {}", name(last));
            }
            (Kind::Ban, said)
        }
        Happening::Unban { reason, .. } => {
            let said = match reason.as_str() {
                "expired" => "its time is over",
                "unbanned" => "by hand",
                "ignored" => "is on the list ignore now",
                "network" => "its network is banned",
                "jail-removed" => "its jail is gone",
                "limit" => "too many bans",
                other => return (Kind::Unban, clean(other, MAX_NAME)),
            };
            (Kind::Unban, said.to_owned())
        }
        Happening::BanIgnored { attempts, user, .. } => {
            let said = format!("{attempts} attempts, {}", name(user));
            (Kind::Ignored, said)
        }
        Happening::AccountUnderAttack { user, sources, .. } => {
            let said = format!("{sources} sources fail for {}", name(user));
            (Kind::Account, said)
        }
        Happening::Problem { text, .. } | Happening::Gone { text, .. } => {
            (Kind::Problem, clean(text, MAX_TEXT))
        }
        Happening::Solved { text, .. } => (Kind::Solved, clean(text, MAX_TEXT)),
        Happening::Back { .. } => (Kind::Solved, "the agent is back".to_owned()),
    }
}

/// Text of anybody's as it may be drawn or printed: each character has a width and moves nothing, others are spelled
/// (`\u{202e}`). So many columns at the most; what is cut ends in `…`.
pub(super) fn clean(text: &str, columns: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let (spelled, width) = match c.width() {
            Some(width) if width > 0 && text::is_printable(c) => (c.to_string(), width),
            _ => {
                let spelled = c.escape_unicode().to_string();
                let width = spelled.len();
                (spelled, width)
            }
        };
        if used + width > columns {
            // Room for the mark is made where it has to be.
            while used + 1 > columns {
                let Some(last) = out.pop() else { break };
                used -= last.width().unwrap_or_default();
            }
            out.push('…');
            break;
        }
        out += &spelled;
        used += width;
    }
    out
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;

    #[test]
    fn what_attackers_write_moves_nothing() {
        for (text, shown) in [
            ("bob", "bob"),
            ("", ""),
            ("böb@exämple.de", "böb@exämple.de"),
            ("日本", "日本"),
            ("a\x1b[2J\x07b", "a\\u{1b}[2J\\u{7}b"),
            ("a\u{9b}2Jb", "a\\u{9b}2Jb"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            ("\u{2066}x\u{2069}", "\\u{2066}x\\u{2069}"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("e\u{301}\u{301}", "e\\u{301}\\u{301}"),
            ("a\nb\tc\r", "a\\u{a}b\\u{9}c\\u{d}"),
            ("\u{2028}\u{e000}", "\\u{2028}\\u{e000}"),
            ("it's \"q\" \\", "it's \"q\" \\"),
        ] {
            assert_eq!(clean(text, 100), shown, "{text:?}");
        }
    }

    #[test]
    fn no_text_is_wider_than_its_place() {
        let texts = [
            "bobbob",
            "日本日本日本",
            "a\u{202e}b",
            "\u{1b}\u{1b}",
            "ab日",
        ];
        for text in texts {
            for columns in 0..20 {
                let shown = clean(text, columns);
                assert!(
                    shown.width() <= columns.max(1),
                    "{text:?} {columns} {shown}"
                );
            }
        }
        assert_eq!(clean("bobbob", 4), "bob…");
        assert_eq!(clean("日本日本", 4), "日…");
        assert_eq!(clean("日本", 4), "日本");
    }
}
