//! What the agent knows of a source, in sentences.

use jiff::tz::TimeZone;

use super::happening::cause;
use super::line::clean;
use crate::bus::{BanDetails, Explanation};
use crate::cli::text::{self, timestamp};

/// A name in a sentence.
const MAX_NAME: usize = 64;

/// Bans of a network's sources are listed up to so many.
const MAX_BANS: usize = 20;

/// The explanation's lines.
pub(super) fn lines(explanation: &Explanation, now: u64, zone: &TimeZone) -> Vec<String> {
    let at = |usec: u64| {
        let zoned = timestamp(usec).to_zoned(zone.clone());
        zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
    };
    let ago = |usec: u64| format!("{} ago", text::span(now.saturating_sub(usec)));
    let mut lines = Vec::new();
    if explanation.bans.is_empty() {
        lines.push("It is not banned.".to_owned());
    }
    for ban in explanation.bans.iter().take(MAX_BANS) {
        lines.push(format!("{} is banned in jail {}.", ban.source, ban.jail));
        lines.push(format!("  why     {}", why(ban, &at)));
        lines.push(format!(
            "  since   {}, {}",
            at(ban.since_usec),
            ago(ban.since_usec)
        ));
        let left = ban.until_usec.saturating_sub(now);
        lines.push(format!(
            "  until   {}, in {}",
            at(ban.until_usec),
            text::span(left)
        ));
        if !ban.users.is_empty() {
            lines.push(format!("  tried   {}", names(&ban.users)));
        }
        if ban.previous_bans > 0 {
            lines.push(format!(
                "  before  it was banned {}",
                times(ban.previous_bans)
            ));
        }
    }
    if let Some(more @ 1..) = explanation.bans.len().checked_sub(MAX_BANS) {
        lines.push(format!("… and {more} more bans."));
    }
    lines.push(String::new());
    lines.push(match explanation.in_force.as_str() {
        "yes" => "The firewall keeps it out.".to_owned(),
        "no" => "The firewall lets it in.".to_owned(),
        _ => "Whether the firewall keeps it out could not be asked.".to_owned(),
    });
    if !explanation.ignored.is_empty() {
        let ignored = clean(&explanation.ignored, 200);
        lines.push(format!("It is never banned: {ignored}."));
    }
    for doings in &explanation.jails {
        lines.push(format!(
            "Jail {}: {} failed, {} of them count; {} bring a ban.",
            doings.jail, doings.attempts, doings.counting, doings.limit
        ));
    }
    if explanation.jails.is_empty() {
        lines.push("It has not failed of late in any jail.".to_owned());
    }
    if !explanation.users.is_empty() {
        lines.push(format!("It tried: {}", names(&explanation.users)));
    }
    for (user, last) in &explanation.customers {
        lines.push(format!(
            "{} has logged in from there, {}.",
            clean(user, MAX_NAME),
            ago(*last)
        ));
    }
    if explanation.remembered_bans > 0 {
        lines.push(format!(
            "It was banned {}, last on {}; a next ban lasts longer.",
            times(explanation.remembered_bans),
            at(explanation.last_ban_usec)
        ));
    }
    lines
}

fn why(ban: &BanDetails, at: &impl Fn(u64) -> String) -> String {
    match ban.first_usec {
        0 => cause(ban),
        first => format!("{}, the first at {}", cause(ban), at(first)),
    }
}

fn names(users: &[String]) -> String {
    let names: Vec<_> = users.iter().map(|user| clean(user, MAX_NAME)).collect();
    names.join(", ")
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}
