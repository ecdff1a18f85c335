//! `banjour unban`

use serde_json::json;

use super::{Failure, text};
use crate::bus::ManagerProxy;
use crate::source::Source;

const EXAMPLES: &str = "\
Examples:
  banjour unban 203.0.113.66                  # from every jail, and forget it
  banjour unban 203.0.113.0/24 --jail manual  # from this jail";

/// Arguments of `banjour unban`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// An address such as 192.0.2.7, or a prefix such as 192.0.2.0/24
    source: Source,
    /// Only its ban in this jail [default: all its bans]
    #[arg(long, default_value = "", hide_default_value = true)]
    jail: String,
    /// Answer with a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(manager: &ManagerProxy<'_>, arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { source, jail, json } = arguments;
    let removed = manager.unban(&source.to_string(), jail, 0).await?;
    // Whoever lifts a ban wants the source to come in; a ban of something wider may still keep it out.
    let still: Vec<String> = manager
        .list_bans()
        .await?
        .into_iter()
        .filter(|(banned, ..)| {
            banned
                .parse::<Source>()
                .is_ok_and(|banned| banned.contains(*source))
        })
        .map(|(banned, jail, ..)| format!("{banned} in jail {jail}"))
        .collect();
    if *json {
        return text::print_json(
            &json!({ "source": source, "removed": removed, "still_banned": still }),
        );
    }
    let done = match removed {
        0 => format!("{source} was not banned\n"),
        1 => format!("lifted the ban of {source}\n"),
        n => format!("lifted {n} bans of {source}\n"),
    };
    let still = still
        .iter()
        .map(|ban| format!("{source} is still kept out by the ban of {ban}\n"));
    text::print(&still.fold(done, |text, line| text + &line))
}
