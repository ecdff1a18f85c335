//! What degrades protection, with what to do about it: told once when it begins and once when it is over, and shown for
//! as long as it lasts (`Problems` on the bus, `STATUS=` in `systemctl status`).

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use sd_notify::NotifyState;
use tokio::time::Instant;

use super::notify;
use crate::bus::{Announcement, Announcer};
use crate::filter::Trouble;
use crate::jail::before;
use crate::log::id;

/// During an attack the number of bans changes with each; systemd, which we must not wait for, hears of it this often.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Trouble that explains failures for no longer than this, such as a restart of Dovecot's, is not worth telling.
const MOMENT: Duration = Duration::from_secs(5);

/// The mail server is thought to be in trouble for this long after it last said so.
const TROUBLE_LASTS: Duration = Duration::from_mins(1);

/// Characters of a problem that are told; a firewall may complain of all that it was given.
const MAX_TEXT: usize = 1000;

/// What can be wrong; one text at a time for each. In order of weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The journal can't be read.
    Journal,
    /// Bans are not in force.
    Firewall,
    /// Somebody changes what the firewall holds.
    Disturbed,
    /// The firewall does not do what the settings say.
    Settings,
    /// Banned clients keep the connections that they have.
    Connections,
    /// A mail server runs where nobody reads, or none runs at all.
    Units,
    /// Most of what looks like a failed login is known to no filter.
    Unknown,
    /// The mail server can't check passwords.
    Authentication,
    /// The configuration on disk is faulty.
    Config,
    /// Not all of `ignore` is in force.
    Ignore,
    /// Host names in it are not resolved.
    Names,
    /// More sources attack than can be remembered.
    Overflow,
    /// State can't be saved.
    State,
    /// State was lost.
    StateLost,
    /// Entries of the journal are lost.
    Missed,
    /// journald has dropped lines of mail units.
    Suppressed,
}

pub(super) struct Problems {
    texts: BTreeMap<Kind, String>,
    /// When the mail server last spoke of trouble.
    trouble: Timestamp,
    /// What is over by itself, and when.
    passing: BTreeMap<Kind, Timestamp>,
    changed: bool,
    status: String,
    told: Option<Instant>,
    announcer: Announcer,
}

impl Problems {
    pub(super) fn new(announcer: Announcer) -> Self {
        Self {
            texts: BTreeMap::new(),
            trouble: Timestamp::MIN,
            passing: BTreeMap::new(),
            changed: false,
            status: String::new(),
            told: None,
            announcer,
        }
    }

    /// Says how things are with one kind. Only a change is told.
    pub(super) fn set(&mut self, kind: Kind, text: Option<String>) {
        let text = text.map(|text| one_line(&text));
        if self.texts.get(&kind) == text.as_ref() {
            return;
        }
        match text {
            Some(text) => {
                tracing::warn!(
                    MESSAGE_ID = id::PROBLEM,
                    BANJOUR_ACTION = "problem",
                    "{text}"
                );
                self.texts.insert(kind, text);
            }
            None => self.solve(kind, "solved"),
        }
        self.changed = true;
        self.announcer.say(Announcement::Problems);
    }

    fn solve(&mut self, kind: Kind, how: &str) {
        if let Some(text) = self.texts.remove(&kind) {
            tracing::info!(
                MESSAGE_ID = id::SOLVED,
                BANJOUR_ACTION = "solved",
                "{how}: {text}"
            );
        }
    }

    /// Takes in what the mail server says of its trouble. While it lasts, the first message stands for all.
    pub(super) fn hear(&mut self, trouble: &Trouble, now: Timestamp) {
        if trouble.explains <= MOMENT {
            return;
        }
        self.trouble = self.trouble.max(trouble.at);
        let over = trouble.at <= before(now, TROUBLE_LASTS);
        if !over && !self.texts.contains_key(&Kind::Authentication) {
            let text = format!(
                "the mail server cannot check passwords, and logins that fail by this are not counted; filter {:?} read: {:?}",
                trouble.filter, trouble.message
            );
            self.set(Kind::Authentication, Some(text));
        }
    }

    /// Tells of a loss. Nothing can make it good; it is over when nothing of that time would count any more.
    pub(super) fn lose(&mut self, kind: Kind, text: String, over: Timestamp) {
        self.set(kind, Some(text));
        self.passing.insert(kind, over);
    }

    /// Tells of lines that journald has dropped. While it lasts, the first unit stands for all.
    pub(super) fn suppressed(&mut self, unit: &str, over: Timestamp) {
        let text = format!(
            "journald has dropped lines of {unit:?}, and failed logins among them are not counted; have it take more by LogRateLimitIntervalSec=1s and LogRateLimitBurst=1000000 in the unit (\"systemctl edit {unit}\")"
        );
        let known = self.texts.get(&Kind::Suppressed).cloned();
        self.lose(Kind::Suppressed, known.unwrap_or(text), over);
    }

    /// Clears what nobody has spoken of for a while.
    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some((&kind, _)) = self.passing.iter().find(|(_, over)| **over <= now) {
            self.passing.remove(&kind);
            self.solve(kind, "over, since all that counts by now was written later");
            self.changed = true;
            self.announcer.say(Announcement::Problems);
        }
        if self.trouble <= before(now, TROUBLE_LASTS) {
            self.set(Kind::Authentication, None);
        }
    }

    /// All of them, the gravest first.
    pub(super) fn texts(&self) -> Vec<String> {
        self.texts.values().cloned().collect()
    }

    /// Tells systemd how things are: a change of problems at once, of the summary when it is time.
    pub(super) fn tell_status(&mut self, summary: impl FnOnce() -> String) {
        let recent = self
            .told
            .is_some_and(|told| told.elapsed() < STATUS_INTERVAL);
        if recent && !self.changed {
            return;
        }
        let summary = summary();
        let problems = self.texts.values().map(String::as_str);
        let status = problems
            .chain([summary.as_str()])
            .collect::<Vec<_>>()
            .join("; ");
        if status != self.status {
            notify(&[NotifyState::Status(&status)]);
            self.status = status;
            self.told = Some(Instant::now());
        }
        self.changed = false;
    }
}

/// What a firewall complains of may have lines, and systemd takes the status up to the end of one (`sd_notify(3)`).
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_and_not_endless() {
        let text = one_line("it says:\n\t{\"a\":\r\n 1}\nREADY=1\u{85}x");
        assert_eq!(text, "it says: {\"a\": 1} READY=1 x");
        assert_eq!(one_line(&"x".repeat(99_999)).len(), MAX_TEXT);
    }
}
