//! Lines that look like failed logins to somebody who knows no daemon: a word for it, and an address. Those that no
//! filter knows are what goes unseen when a daemon's wording changes.

use std::collections::BTreeMap;

use regex::bytes::Regex;

/// A shape has no more words than this; where lines differ, they do so earlier.
const MAX_WORDS: usize = 20;

/// As much of a line as an admin is shown.
const MAX_SHOWN: usize = 200;

/// Shapes of lines that are told apart. Attackers make up as many as they like.
const MAX_SHAPES: usize = 1000;

/// One line of each shape, and how many there were.
#[derive(Debug, Default)]
pub struct Shapes(BTreeMap<String, (String, u64)>);

impl Shapes {
    /// Takes in a line, unless it is one shape too many.
    pub fn add(&mut self, line: String) {
        let shape = shape(&line);
        if self.0.len() < MAX_SHAPES || self.0.contains_key(&shape) {
            self.0.entry(shape).or_insert((line, 0)).1 += 1;
        }
    }

    /// The lines, each with how many there were of its shape.
    pub fn lines(&self) -> impl Iterator<Item = &(String, u64)> {
        self.0.values()
    }
}

/// What a failed login looks like.
#[derive(Debug)]
pub struct Looks {
    word: Regex,
    address: Regex,
    delivery: Regex,
}

impl Looks {
    /// # Errors
    /// When our own patterns don't compile.
    pub fn new() -> Result<Self, regex::Error> {
        Ok(Self {
            word: Regex::new("(?i-u)fail|denied|invalid")?,
            address: Regex::new(
                r"(?-u)[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]*:[0-9A-Fa-f]",
            )?,
            // What Postfix tells of a message, not of a login, begins with the message's queue id, short or long
            // (enable_long_queue_ids, postconf(5)): it bounces, and other servers say "denied" as they like.
            delivery: Regex::new(
                r"^(?-u)(?:NOQUEUE|[0-9A-F]{6,15}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,20}): ",
            )?,
        })
    }

    /// Whether a message looks so.
    #[must_use]
    pub fn like_a_failure(&self, message: &[u8]) -> bool {
        self.word.is_match(message)
            && self.address.is_match(message)
            && !self.delivery.is_match(message)
    }
}

/// A message without what differs from one to the next: numbers, and all with digits in it.
#[must_use]
pub fn shape(message: &str) -> String {
    let words = message.split(' ').map(|word| {
        if word.contains(|c: char| c.is_ascii_digit()) {
            "…"
        } else {
            word
        }
    });
    words.take(MAX_WORDS).collect::<Vec<_>>().join(" ")
}

/// A message as it may be shown: its beginning, without control characters.
#[must_use]
pub fn shown(message: &[u8]) -> String {
    let cut = &message[..message.len().min(4 * MAX_SHOWN)];
    let text: String = String::from_utf8_lossy(cut)
        .chars()
        .take(MAX_SHOWN)
        .collect();
    text.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_logins_look_so_and_bounces_do_not() {
        let looks = Looks::new().unwrap();
        for (message, so) in [
            ("imap-login: login denied for 192.0.2.7", true),
            (
                "warning: unknown[2001:db8::7]: SASL LOGIN authentication failed",
                true,
            ),
            ("imap-login: login denied", false),
            ("connect from unknown[192.0.2.7]", false),
            (
                "4bKx2J3z8Yz1C: to=<a@b.example>, status=bounced (192.0.2.7 said: denied)",
                false,
            ),
            (
                "3F2A1B0C: to=<a@b.example>, status=bounced (192.0.2.7 said: 550 invalid)",
                false,
            ),
            (
                "NOQUEUE: reject: RCPT from unknown[192.0.2.7]: Relay access denied",
                false,
            ),
        ] {
            assert_eq!(looks.like_a_failure(message.as_bytes()), so, "{message}");
        }
    }

    #[test]
    fn what_is_shown_is_short_and_has_no_control_characters() {
        let hostile = [&b"\x1b[31m\n"[..], &[b'x'; 1000], &[0xff]].concat();
        let shown = shown(&hostile);
        assert!(
            shown.starts_with("\\u{1b}[31m\\nx") && shown.len() < 2 * MAX_SHOWN,
            "{shown}"
        );
    }
}
