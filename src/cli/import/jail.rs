//! One of fail2ban's jails → one of banjour's, with a note for each thing that has no equivalent.

use std::collections::BTreeSet;
use std::time::Duration;

use super::filter::Watched;
use super::ini::{Error, Ini};
use super::{quoted, shown, time};
use crate::config::MAX_LIMIT;

/// What fail2ban takes where not even `jail.conf` says anything.
const DEFAULT_ATTEMPTS: i64 = 3;
const DEFAULT_TIME: f64 = 600.0;

/// Actions that do no more than to ban, as their names begin.
const BANNING: [&str; 17] = [
    "apf",
    "blackhole",
    "bsd-ipfw",
    "dummy",
    "firewallcmd",
    "firewalld",
    "hostsdeny",
    "ip6tables",
    "ipf",
    "iptables",
    "nftables",
    "npf",
    "osx",
    "pf",
    "route",
    "shorewall",
    "ufw",
];

/// A jail as banjour's settings will have it.
#[derive(Debug)]
pub(super) struct Jail {
    /// Its name in fail2ban.
    pub(super) of: String,
    pub(super) name: String,
    pub(super) filters: BTreeSet<&'static str>,
    pub(super) attempts: u32,
    pub(super) window: Duration,
    pub(super) ban_time: Duration,
    /// By how much a ban outlasts the one before; 1: by nothing.
    pub(super) factor: u16,
    /// How long one gets at the most, if that is said.
    pub(super) longest: Option<Duration>,
    pub(super) notes: Vec<String>,
}

/// Reads the options of a jail in their sections, with `[DEFAULT]` behind them.
#[derive(Clone, Copy)]
pub(super) struct Options<'a> {
    pub(super) ini: &'a Ini,
    pub(super) jail: &'a str,
}

impl Options<'_> {
    pub(super) fn text(self, option: &str) -> Result<String, Error> {
        let value = self.ini.get(self.jail, option)?;
        Ok(value.map_or_else(String::new, |value| value.text))
    }

    /// `1`, `on`, `true` and `yes` are yes for fail2ban, all else is no.
    pub(super) fn yes(self, option: &str, default: bool) -> Result<bool, Error> {
        let yes = |text: &str| ["1", "on", "true", "yes"].contains(&&*text.to_lowercase());
        let value = self.ini.get(self.jail, option)?;
        Ok(value.map_or(default, |value| yes(&value.text)))
    }

    pub(super) fn seconds(self, option: &str) -> Result<f64, Error> {
        let Some(value) = self.ini.get(self.jail, option)? else {
            return Ok(DEFAULT_TIME);
        };
        time::seconds(&value.text).ok_or_else(|| {
            let message = format!(
                "{} is not a time such as \"600\", \"10m\", \"1h\" or \"1d\"",
                quoted(&value.text)
            );
            value.refuse(self.jail, option, &message)
        })
    }

    fn number(self, option: &str) -> Result<i64, Error> {
        let Some(value) = self.ini.get(self.jail, option)? else {
            return Ok(DEFAULT_ATTEMPTS);
        };
        value.text.parse().map_err(|_| {
            let message = format!("{} is not a whole number", quoted(&value.text));
            value.refuse(self.jail, option, &message)
        })
    }

    /// Names of options whose values are not empty.
    fn given<'b>(self, options: &[&'b str]) -> Vec<&'b str> {
        let given = |option: &&str| {
            let value = self.ini.raw(self.jail, option);
            value.is_some_and(|value| !value.text.is_empty())
        };
        options.iter().copied().filter(given).collect()
    }
}

impl Jail {
    /// `local` is the filter's file with an admin's patterns, if there is one.
    pub(super) fn read(
        options: Options<'_>,
        name: String,
        watched: Watched,
        local: Option<String>,
    ) -> Result<Self, Error> {
        let Watched { filters, mut notes } = watched;
        if name != options.jail {
            notes.push(format!(
                "fail2ban's name for it is {}",
                quoted(options.jail)
            ));
        }
        let (attempts, note) = attempts(options.number("maxretry")?);
        notes.extend(note);
        let (window, note) = span("findtime", "window", options.seconds("findtime")?);
        notes.extend(note);
        let (ban_time, note) = span("bantime", "ban-time", options.seconds("bantime")?);
        notes.extend(note);
        let (factor, longest, more) = growth(options)?;
        notes.extend(more);
        notes.extend(without_equivalent(options, local)?);
        Ok(Self {
            of: options.jail.to_owned(),
            name,
            filters,
            attempts,
            window,
            ban_time,
            factor,
            longest,
            notes,
        })
    }
}

fn attempts(maxretry: i64) -> (u32, Option<String>) {
    let allowed = u32::try_from(maxretry.max(1))
        .unwrap_or(MAX_LIMIT)
        .min(MAX_LIMIT);
    let same = i64::from(allowed) == maxretry;
    let note = format!("maxretry = {maxretry}: attempts are 1 to {MAX_LIMIT}");
    (allowed, (!same).then_some(note))
}

fn span(option: &str, key: &str, seconds: f64) -> (Duration, Option<String>) {
    let (span, same) = time::span(seconds);
    let note = if seconds < 0.0 && key != "window" {
        format!("{option} = {seconds} is for ever; the longest {key} is ten years")
    } else {
        format!("{option} = {seconds} s: {key} is from one second to ten years")
    };
    (span, (!same).then_some(note))
}

/// How bans grow: fail2ban's double, where it is told to have them grow and not how.
fn growth(options: Options<'_>) -> Result<(u16, Option<Duration>, Vec<String>), Error> {
    if !options.yes("bantime.increment", false)? {
        return Ok((1, None, Vec::new()));
    }
    let mut notes = Vec::new();
    let mut longest = None;
    if !options.given(&["bantime.maxtime"]).is_empty() {
        let seconds = options.seconds("bantime.maxtime")?;
        let (span, note) = span("bantime.maxtime", "ban-time-max", seconds);
        longest = Some(span);
        notes.extend(note);
    }
    let given = options.given(&[
        "bantime.factor",
        "bantime.formula",
        "bantime.multipliers",
        "bantime.rndtime",
    ]);
    if !given.is_empty() {
        notes.push(format!(
            "{}: there is no equivalent; each ban lasts twice as long as the one before",
            given.join(", ")
        ));
    }
    Ok((2, longest, notes))
}

fn without_equivalent(options: Options<'_>, local: Option<String>) -> Result<Vec<String>, Error> {
    let mut notes = Vec::new();
    if !options.text("ignorecommand")?.is_empty() {
        notes.push(
            "ignorecommand, ignorecache: banjour asks no program; addresses that it lets through belong into \"ignore\""
                .to_owned(),
        );
    }
    let own = options.given(&["failregex", "ignoreregex", "prefregex"]);
    let own: Vec<String> = own.into_iter().map(str::to_owned).chain(local).collect();
    if !own.is_empty() {
        notes.push(format!(
            "{}: patterns of your own are not taken over; see whether banjour's filter knows the line (banjour test \
             LINE), or write a filter",
            own.join(", ")
        ));
    }
    let action = options.text("action")?;
    let (mail, other): (Vec<_>, Vec<_>) = actions(&action)
        .into_iter()
        .filter(|name| !BANNING.iter().any(|begin| name.starts_with(begin)))
        .map(shown)
        .partition(|name| name.contains("mail") || name.contains("smtp"));
    if !mail.is_empty() {
        notes.push(format!(
            "action {}: banjour sends no mail; bans stand in the journal (journalctl -u banjour), and are D-Bus signals \
             (BanNew)",
            mail.join(", ")
        ));
    }
    if !other.is_empty() {
        notes.push(format!(
            "action {}: banjour does nothing but ban; what else shall happen can follow its D-Bus signal BanNew",
            other.join(", ")
        ));
    }
    Ok(notes)
}

/// The names in `NAME[OPTION="VALUE", …] NAME …`.
fn actions(text: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| c == '[' || c.is_whitespace())
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if !name.is_empty() {
            names.insert(name);
        }
        rest = after_options(after).trim_start();
    }
    names
}

/// What follows `[…]`, in which a value in quotes may hold brackets.
fn after_options(text: &str) -> &str {
    if !text.starts_with('[') {
        return text;
    }
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, ']') => return &text[at + 1..],
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_have_names() {
        for (text, expected) in [
            ("", ""),
            (
                "iptables-multiport[port=\"smtp,imap\", chain=\"<known/chain>\"]",
                "iptables-multiport",
            ),
            ("a[x=\"]\", y=']']\n   b [z=1]\nc", "a b c"),
            ("a[x=\"unclosed]", "a"),
            ("]] [", "]]"),
        ] {
            assert_eq!(
                actions(text).into_iter().collect::<Vec<_>>().join(" "),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn attempts_are_within_banjours_limits() {
        for (maxretry, expected) in [
            (1, 1),
            (1000, 1000),
            (1001, 1000),
            (0, 1),
            (-5, 1),
            (i64::MAX, 1000),
        ] {
            let (attempts, note) = attempts(maxretry);
            assert_eq!(
                (attempts, note.is_none()),
                (expected, i64::from(expected) == maxretry)
            );
        }
    }
}
