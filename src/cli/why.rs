//! `banjour why`: may this address log in, and why not.

mod lines;
mod user;

use std::str::FromStr;

use anstyle::Style;
use jiff::Timestamp;
use serde_json::{Value, json};
use zbus::Connection;

use super::{Failure, kernel, list, text};
use crate::bus::{BanDetails, Doings, Explanation, ManagerProxy};
use crate::firewall::Backend;
use crate::source::{NotASource, Source};
use lines::{Lines, Read};

const EXAMPLES: &str = "\
Examples:
  banjour why 203.0.113.66             # may it log in, and why not; with the journal's lines
  banjour why 2001:db8::7 --lines 100  # with more of them
  banjour why alice@example.org        # who is banned and has tried this name";

/// Arguments of `banjour why`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// An address such as 192.0.2.7, a prefix such as 192.0.2.0/24, or the name of a user
    #[arg(id = "source", value_name = "SOURCE")]
    subject: Subject,
    /// Show so many lines of the journal for each ban
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    lines: usize,
    /// Answer with a JSON object
    #[arg(long)]
    json: bool,
}

/// Whom the question is about.
#[derive(Clone, Debug)]
enum Subject {
    Source(Source),
    User(String),
}

impl FromStr for Subject {
    type Err = NotASource;

    /// What looks like an address and is none is a mistake, and no name.
    fn from_str(text: &str) -> Result<Self, NotASource> {
        let digits = |c: char| c.is_ascii_hexdigit() || ".:/".contains(c);
        match text.parse() {
            Ok(source) => Ok(Self::Source(source)),
            Err(error) if text.contains(['.', ':', '/']) && text.chars().all(digits) => Err(error),
            Err(error) if text.is_empty() => Err(error),
            Err(_) => Ok(Self::User(text.to_owned())),
        }
    }
}

pub(super) async fn run(
    connection: &Connection,
    manager: &ManagerProxy<'_>,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let source = match &arguments.subject {
        Subject::Source(source) => *source,
        Subject::User(user) => return user::run(manager, user, arguments.json).await,
    };
    let mut known = manager.why(&source.to_string(), 0).await?;
    let firewall = manager.firewall().await?;
    if firewall == Backend::Firewalld.as_str() && known.in_force == "yes" {
        // It does not notice when somebody takes its rules out of the kernel, which only root may ask.
        if let Some(kept) = kernel::by_firewalld(connection).await
            && !kept.keeps_out(source)
        {
            "no".clone_into(&mut known.in_force);
        }
    }
    let read = lines::read(source, &known, arguments.lines);
    if arguments.json {
        return text::print_json(&as_json(&source.to_string(), &firewall, &known, &read)?);
    }
    let report = Report {
        source,
        firewall: &firewall,
        known: &known,
        read: &read,
        now: Timestamp::now(),
    };
    text::print(&report.text())
}

fn as_json(
    source: &str,
    firewall: &str,
    known: &Explanation,
    read: &Read,
) -> Result<Value, Failure> {
    let refused = |e: serde_json::Error| Failure::Refused(e.to_string());
    let mut value = serde_json::to_value(known).map_err(refused)?;
    value["source"] = source.into();
    value["firewall"] = firewall.into();
    value["journal"] = read.bans.iter().map(Lines::json).collect();
    value["recent"] = read.recent.json();
    value["story"] = read
        .story
        .iter()
        .map(|(at, message)| json!({ "at_usec": at.as_microsecond(), "message": message }))
        .collect();
    value["unread"] = json!(read.failed);
    Ok(value)
}

/// What is told to a person.
struct Report<'a> {
    source: Source,
    firewall: &'a str,
    known: &'a Explanation,
    read: &'a Read,
    now: Timestamp,
}

impl Report<'_> {
    fn text(&self) -> String {
        let (style, verdict) = self.verdict();
        let mut out = text::styled(style, &verdict) + "\n";
        for (ban, lines) in self.known.bans.iter().zip(&self.read.bans) {
            out += &self.ban(ban, lines);
        }
        if !self.known.members.is_empty() {
            out += &heading("Who was banned in this network:");
            let line = |(source, at): &(String, u64)| format!("  {}  {source}\n", text::time(*at));
            out.extend(self.known.members.iter().map(line));
        }
        out += &self.standing();
        if self.known.bans.is_empty() && !self.read.recent.is_empty() {
            out += &heading("What it did lately:");
            out += &self.read.recent.text();
        }
        if !self.read.story.is_empty() {
            out += &heading("What banjour did about it:");
            let line = |(at, message): &(Timestamp, String)| {
                format!("  {}  {message}\n", text::local(*at))
            };
            out.extend(self.read.story.iter().map(line));
        }
        let unread = |failed: &String| format!("\nThe journal's lines are not shown: {failed}\n");
        out.extend(self.read.failed.iter().map(unread));
        out + &self.advice()
    }

    /// The first line answers.
    fn verdict(&self) -> (Style, String) {
        let (source, known) = (self.source, self.known);
        if known.bans.is_empty() {
            let why = if known.ignored.is_empty() {
                "it is not banned"
            } else {
                "it is never banned"
            };
            let held = if known.in_force == "yes" {
                format!(
                    ", but {} still keeps it out; see \"banjour status\"",
                    self.firewall
                )
            } else {
                String::new()
            };
            let style = if held.is_empty() {
                text::CALM
            } else {
                text::ALARM
            };
            return (style, format!("{source} may log in: {why}{held}"));
        }
        let inside = |ban: &BanDetails| {
            let banned = ban.source.parse::<Source>();
            banned.is_ok_and(|banned| banned != source && source.contains(banned))
        };
        if known.bans.iter().all(inside) {
            let n = known.bans.len();
            let bans = if n == 1 { "ban" } else { "bans" };
            let verdict = format!("{source} is not banned as a whole; {n} {bans} in it");
            return (text::STRONG, verdict);
        }
        let kernel = match (&*known.in_force, self.firewall) {
            ("yes", firewall) => format!("{firewall} drops what it sends"),
            ("no", "") => "NO FIREWALL KEEPS IT OUT; see \"banjour status\"".to_owned(),
            ("no", firewall) => {
                format!("BUT {firewall} DOES NOT KEEP IT OUT; see \"banjour status\"")
            }
            _ => "the firewall could not be asked whether it keeps it out".to_owned(),
        };
        let style = if known.in_force == "yes" {
            text::STRONG
        } else {
            text::ALARM
        };
        let verdict = format!("{source} may not log in: it is banned, and {kernel}");
        (style, verdict)
    }

    fn ban(&self, ban: &BanDetails, lines: &Lines) -> String {
        let whose = if ban.source == self.source.to_string() {
            String::new()
        } else {
            format!(" as part of {}", ban.source)
        };
        let inside = ban
            .source
            .parse::<Source>()
            .is_ok_and(|banned| self.source.contains(banned) && banned != self.source);
        let whose = if inside {
            format!(": {}", ban.source)
        } else {
            whose
        };
        let why = match &*ban.cause {
            "attempts" => format!(
                "{} failed logins since {}, the last as {}",
                ban.count,
                text::time(ban.first_usec),
                ban.users
                    .last()
                    .map_or("nobody".to_owned(), |user| format!("{user:?}")),
            ),
            "network" => format!("{} sources were banned in this network", ban.count),
            _ => "an administrator's order".to_owned(),
        };
        let mut out = format!(
            "{}  since   {} ({})\n  until   {} ({})\n  why     {why}\n",
            heading(&format!("Banned in jail {}{whose}", ban.jail)),
            text::time(ban.since_usec),
            text::since(ban.since_usec, self.now),
            text::time(ban.until_usec),
            text::ahead(ban.until_usec, self.now),
        );
        let tried = (!ban.users.is_empty()).then(|| list::users(&ban.users, usize::MAX));
        out.extend(tried.map(|users| format!("  tried   {users}\n")));
        let before = (ban.previous_bans > 0).then_some(ban.previous_bans);
        out.extend(before.map(|n| format!("  before  bans that are not forgotten: {n}\n")));
        if !lines.is_empty() {
            out += &heading("The lines that led to it:");
            out += &lines.text();
        } else if ban.cause == "attempts" && self.read.failed.is_none() {
            out += "\nThe journal has the lines that led to it no more.\n";
        }
        out
    }

    /// What is known of it besides.
    fn standing(&self) -> String {
        let known = self.known;
        let mut facts = Vec::new();
        if !known.ignored.is_empty() {
            facts.push(format!("It is never banned: {}.", known.ignored));
        }
        if known.client != self.source.to_string() {
            facts.push(format!("It counts as its network, {}.", known.client));
        }
        let customer = |(user, last): &(String, u64)| {
            let since = text::since(*last, self.now);
            format!(
                "{user:?} has logged in from there {since}: a stale password of that name does not ban it."
            )
        };
        facts.extend(known.customers.iter().map(customer));
        if known.bans.is_empty() {
            facts.extend(known.jails.iter().map(doings));
        }
        if known.bans.is_empty() && !known.users.is_empty() {
            let tried = list::users(&known.users, usize::MAX);
            facts.push(format!("It has tried {tried}."));
        }
        if known.bans.is_empty() && known.remembered_bans > 0 {
            let times = known.remembered_bans;
            let ended = text::time(known.last_ban_until_usec);
            facts.push(format!(
                "Bans that are not forgotten: {times}, the last one until {ended}; the next one lasts longer for it."
            ));
        }
        if facts.is_empty() {
            return String::new();
        }
        format!("\n{}\n", facts.join("\n"))
    }

    fn advice(&self) -> String {
        let source = self.source;
        let keeps_out = self.known.bans.iter().find(|ban| {
            let banned = ban.source.parse::<Source>();
            banned.is_ok_and(|banned| banned.contains(source))
        });
        keeps_out.map_or_else(String::new, |ban| {
            format!(
                "\nTo let it in: banjour unban {}\nTo never ban it again: add it to \"ignore\" in /etc/banjour/banjour.toml, then systemctl reload banjour\n",
                ban.source
            )
        })
    }
}

fn heading(text: &str) -> String {
    format!("\n{}\n", text::styled(text::STRONG, text))
}

fn doings(doings: &Doings) -> String {
    let Doings {
        jail,
        attempts,
        counting,
        limit,
    } = doings;
    format!(
        "Jail {jail}: {attempts} failed logins lately; {counting} of {limit} count towards a ban."
    )
}
