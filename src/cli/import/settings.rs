//! What was read, as banjour's settings (TOML), and as JSON.

use serde_json::{Value, json};

use super::jail::Jail;
use super::read::Import;
use super::{one_line, shown, time};
use crate::ignore::{Entry, LOOPBACK};
use crate::source::Source;

/// Longest line of a comment.
const WIDTH: usize = 110;

/// banjour's own jails for mail, and the filter of the same name.
const DEFAULT_JAILS: [&str; 2] = ["dovecot", "postfix-sasl"];

impl Import {
    pub(super) fn as_toml(&self) -> String {
        let directory = one_line(&self.directory);
        let mut out = comment(&format!("fail2ban's mail jails, from {directory}."));
        if self.jails.is_empty() {
            out += &comment(
                "No mail jail that banjour has filters for is enabled there: there is nothing to take over.",
            );
        } else {
            out += &self.how_to();
        }
        let common = self.common_notes();
        for note in self.notes.iter().chain(&common) {
            out += "#\n";
            out += &comment(note);
        }
        out += &self.stays();
        if self.ignore.iter().any(|entry| !is_loopback(entry)) {
            out +=
                "\n# This list takes the place of one in /etc/banjour/banjour.toml.\nignore = [\n";
            let lines = self
                .ignore
                .iter()
                .map(|entry| format!("    \"{entry}\",\n"));
            out.extend(lines);
            out += "]\n";
        }
        for jail in &self.jails {
            out += "\n";
            for note in jail.notes.iter().filter(|note| !common.contains(note)) {
                out += &comment(note);
            }
            out += &as_table(jail);
        }
        for name in DEFAULT_JAILS {
            out += &self.default_jail(name);
        }
        out
    }

    pub(super) fn as_json(&self) -> Value {
        let jails = self.jails.iter().map(|jail| {
            json!({
                "fail2ban": jail.of,
                "name": jail.name,
                "filters": jail.filters,
                "attempts": jail.attempts,
                "window_usec": jail.window.as_secs() * 1_000_000,
                "ban_time_usec": jail.ban_time.as_secs() * 1_000_000,
                "ban_time_factor": jail.factor,
                "ban_time_max_usec": jail.longest.map(|longest| longest.as_secs() * 1_000_000),
                "notes": jail.notes,
            })
        });
        let without = self.without_filter.iter();
        json!({
            "jails": jails.collect::<Vec<_>>(),
            "ignore": self.ignore.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "notes": self.notes,
            "without_filter": without.map(|(jail, _)| jail).collect::<Vec<_>>(),
            "others": self.others,
        })
    }

    fn how_to(&self) -> String {
        let directory = one_line(&self.directory);
        let argument = if directory == super::DIRECTORY {
            String::new()
        } else {
            format!(" {directory}")
        };
        let switched_off = self
            .jails
            .iter()
            .map(|jail| format!("#   [{}]\n#   enabled = false\n", shown(&jail.of)));
        let switched_off: String = switched_off.collect();
        let rest = if self.others.is_empty() && self.without_filter.is_empty() {
            comment(
                "fail2ban has no other jail enabled, so that instead of this it can be stopped: systemctl disable --now fail2ban",
            )
        } else {
            String::new()
        };
        let counts = comment(
            "attempts is fail2ban's maxretry. But fail2ban counts lines, of which one wrong password may write several, \
             and banjour counts attempts: a maxretry that was raised because of that can go back down.",
        );
        let grows = comment(
            "ban-time-factor = 1 is as fail2ban has it without bantime.increment; without that line, bans of those who \
             come back get longer.",
        );
        let not_needed = comment(
            "Nothing to set any more: backend, logpath, journalmatch, usedns, port, banaction. A ban closes all mail ports.",
        );
        format!(
            "#\n\
             #   mkdir -p /etc/banjour/banjour.toml.d\n\
             #   banjour import-fail2ban{argument} >/etc/banjour/banjour.toml.d/fail2ban.toml\n\
             #   systemctl reload banjour\n\
             #   banjour import-fail2ban{argument} --bans\n\
             #\n\
             # The last one takes over who is banned. Then switch off what fail2ban need not do any more, in\n\
             # {directory}/jail.d/zz-banjour.local, and systemctl reload fail2ban:\n\
             #\n{switched_off}{rest}#\n{counts}#\n{grows}#\n{not_needed}"
        )
    }

    /// Notes that belong to every jail are told once.
    fn common_notes(&self) -> Vec<String> {
        let Some((first, others)) = self
            .jails
            .split_first()
            .filter(|(_, others)| !others.is_empty())
        else {
            return Vec::new();
        };
        let everywhere = |note: &&String| others.iter().all(|jail| jail.notes.contains(note));
        first.notes.iter().filter(everywhere).cloned().collect()
    }

    /// What stays with fail2ban.
    fn stays(&self) -> String {
        let mut out = String::new();
        if !self.without_filter.is_empty() {
            let jails = self.without_filter.iter().map(|(jail, filter)| {
                if jail == filter {
                    shown(jail)
                } else {
                    format!("{} (filter {})", shown(jail), shown(filter))
                }
            });
            out += "#\n";
            out += &comment(&format!(
                "For mail, but banjour has no filter for them: {}. Leave them to fail2ban, or write a filter: README, \
                 \"Filters\", has one for Roundcube.",
                jails.collect::<Vec<_>>().join(", ")
            ));
            if self
                .without_filter
                .iter()
                .any(|(_, filter)| filter == "sieve")
            {
                out += &comment(
                    "(sieve is about Cyrus' timsieved; Dovecot's ManageSieve is in banjour's filter dovecot.)",
                );
            }
        }
        if !self.others.is_empty() {
            let jails: Vec<_> = self.others.iter().map(|name| shown(name)).collect();
            out += "#\n";
            out += &comment(&format!(
                "Not for mail, leave them to fail2ban: {}.",
                jails.join(", ")
            ));
        }
        for (name, note) in [
            (
                "pam-generic",
                "pam-generic reads what PAM says of Dovecot's logins too, and goes on to count lines of them.",
            ),
            (
                "recidive",
                "recidive reads fail2ban's own log, and sees no more of who guesses passwords of mail.",
            ),
        ] {
            if self.others.iter().any(|other| other == name) {
                out += &comment(note);
            }
        }
        out
    }

    /// What becomes of a jail of banjour's own that fail2ban has not enabled.
    fn default_jail(&self, name: &str) -> String {
        if self.jails.iter().any(|jail| jail.name == name) {
            return String::new();
        }
        let by = self.jails.iter().filter(|jail| jail.filters.contains(name));
        let by: Vec<_> = by.map(|jail| &*jail.name).collect();
        let why = if by.is_empty() {
            format!("fail2ban has no jail {name} enabled. banjour's own stays as it is")
        } else {
            let by = by.join(", ");
            format!(
                "{by} has filter {name} too. banjour's own jail {name} stays beside it, and the stricter one bans first"
            )
        };
        format!(
            "\n{}# [jail.{name}]\n# enabled = false\n",
            comment(&format!("{why}; these two lines would switch it off:"))
        )
    }
}

fn as_table(jail: &Jail) -> String {
    let quote = if jail.name.contains('.') { "\"" } else { "" };
    let filters: Vec<_> = jail
        .filters
        .iter()
        .map(|name| format!("\"{name}\""))
        .collect();
    let longest = jail.longest.map(time::written);
    let longest = longest.map_or_else(String::new, |longest| {
        format!("ban-time-max = \"{longest}\"\n")
    });
    format!(
        "[jail.{quote}{}{quote}]\nfilters = [{}]\nattempts = {}\nwindow = \"{}\"\nban-time = \"{}\"\n\
         ban-time-factor = {}\n{longest}",
        jail.name,
        filters.join(", "),
        jail.attempts,
        time::written(jail.window),
        time::written(jail.ban_time),
        jail.factor,
    )
}

fn is_loopback(entry: &Entry) -> bool {
    let mut loopback = LOOPBACK.iter().filter_map(|net| net.parse::<Source>().ok());
    matches!(entry, Entry::Source(source) if loopback.any(|net| net.contains(*source)))
}

/// A comment, broken between words.
fn comment(text: &str) -> String {
    let mut out = "#".to_owned();
    let mut length = out.len();
    for word in text.split(' ') {
        if length + word.len() >= WIDTH && length > 1 {
            out += "\n#";
            length = 1;
        }
        out += " ";
        out += word;
        length += 1 + word.len();
    }
    out + "\n"
}
