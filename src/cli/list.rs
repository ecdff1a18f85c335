//! `banjour list`

use jiff::Timestamp;
use serde_json::json;

use super::{Failure, text};
use crate::bus::{BanDetails, ManagerProxy};

/// Names that a row shows on a terminal; JSON and `banjour why` have all of them.
const NAMES_IN_A_ROW: usize = 3;

const EXAMPLES: &str = "\
Examples:
  banjour list                     # who is banned, since when, until when and why
  banjour list --jail dovecot      # by this jail
  banjour list --json              # for programs, with all names that were tried";

/// Arguments of `banjour list`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Only the bans of this jail
    #[arg(long, default_value = "", hide_default_value = true)]
    jail: String,
    /// Answer with a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(manager: &ManagerProxy<'_>, arguments: &Arguments) -> Result<(), Failure> {
    let mut bans = manager.describe_bans(&arguments.jail, 0).await?;
    if arguments.json {
        return text::print_json(&json!({ "bans": bans }));
    }
    if bans.is_empty() {
        return text::print("nobody is banned\n");
    }
    bans.sort_by_key(|ban| ban.since_usec);
    text::print(&table(&bans))
}

/// Bans in rows: on a terminal with the times that matter, relative; in a pipe with all of it.
pub(super) fn table(bans: &[BanDetails]) -> String {
    let now = Timestamp::now();
    let person = text::on_terminal();
    let (end, names) = if person {
        ("ENDS", NAMES_IN_A_ROW)
    } else {
        ("UNTIL", usize::MAX)
    };
    let row = |ban: &BanDetails| {
        let [since, until] = if person {
            let ahead = text::ahead(ban.until_usec, now);
            [text::since(ban.since_usec, now), ahead]
        } else {
            [ban.since_usec, ban.until_usec].map(text::time)
        };
        let before = match ban.previous_bans {
            0 => "-".to_owned(),
            n => n.to_string(),
        };
        [
            ban.source.clone(),
            ban.jail.clone(),
            since,
            until,
            cause(ban),
            before,
            users(&ban.users, names),
        ]
    };
    let rows: Vec<_> = bans.iter().map(row).collect();
    let heading = ["BANNED", "JAIL", "SINCE", end, "WHY", "BEFORE", "TRIED"];
    text::table(heading, &rows)
}

/// Why somebody is banned, in two or three words.
pub(super) fn cause(ban: &BanDetails) -> String {
    let n = ban.count;
    match &*ban.cause {
        "attempts" if n == 1 => "1 attempt".to_owned(),
        "attempts" => format!("{n} attempts"),
        "network" => format!("{n} bans in it"),
        _ => "by hand".to_owned(),
    }
}

/// Names in quotes, the last ones first.
pub(super) fn users(users: &[String], most: usize) -> String {
    let shown = users.iter().rev().take(most);
    let shown: Vec<String> = shown.map(|user| format!("{user:?}")).collect();
    let more = users.len().saturating_sub(most);
    match (shown.len(), more) {
        (0, _) => "-".to_owned(),
        (_, 0) => shown.join(", "),
        _ => format!("{}, {more} more", shown.join(", ")),
    }
}
