//! What the agent knows of a source, in sentences.

use jiff::tz::TimeZone;

use super::line::clean;
use crate::bus::{BanDetails, Explanation};
use crate::cli::list::cause;
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

#[cfg(test)]
pub(super) mod tests {
    use super::super::state::tests::{MINUTE, NOW, details};
    use super::*;
    use crate::bus::Doings;

    pub(in crate::cli::watch) fn explanation() -> Explanation {
        Explanation {
            client: "198.18.0.1".to_owned(),
            in_force: "yes".to_owned(),
            bans: vec![details(NOW - 5 * MINUTE, "198.18.0.1")],
            members: Vec::new(),
            jails: vec![Doings {
                jail: "dovecot".to_owned(),
                attempts: 5,
                counting: 0,
                limit: 3,
            }],
            users: vec!["bob".to_owned(), "al\u{202e}ice".to_owned()],
            ignored: String::new(),
            customers: vec![("carol".to_owned(), NOW - 120 * MINUTE)],
            remembered_bans: 3,
            last_ban_usec: NOW - 5 * MINUTE,
            last_ban_until_usec: NOW + 55 * MINUTE,
        }
    }

    #[test]
    fn everything_that_is_known_is_said() {
        let text = lines(&explanation(), NOW, &TimeZone::UTC).join("\n");
        assert_eq!(
            text,
            "198.18.0.1 is banned in jail dovecot.\n  \
               why     3 attempts, the first at 2026-11-22 12:14:55\n  \
               since   2026-11-22 12:15:00, 5min ago\n  \
               until   2026-11-22 13:15:00, in 55min\n  \
               tried   alice, bob\n  \
               before  it was banned twice\n\n\
             The firewall keeps it out.\n\
             Jail dovecot: 5 failed, 0 of them count; 3 bring a ban.\n\
             It tried: bob, al\\u{202e}ice\n\
             carol has logged in from there, 2h ago.\n\
             It was banned 3 times, last on 2026-11-22 12:15:00; a next ban lasts longer."
        );
        let nothing = Explanation {
            in_force: "no".to_owned(),
            bans: Vec::new(),
            jails: Vec::new(),
            users: Vec::new(),
            customers: Vec::new(),
            remembered_bans: 0,
            ignored: "192.0.2.0/24, the host's own".to_owned(),
            ..explanation()
        };
        let text = lines(&nothing, NOW, &TimeZone::UTC).join("\n");
        assert_eq!(
            text,
            "It is not banned.\n\nThe firewall lets it in.\n\
             It is never banned: 192.0.2.0/24, the host's own.\n\
             It has not failed of late in any jail."
        );
    }
}
