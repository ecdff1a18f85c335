//! `banjour ban`

use std::time::Duration;

use serde_json::json;

use super::{Failure, text};
use crate::bus::ManagerProxy;
use crate::config::{MANUAL, span};
use crate::source::Source;

const EXAMPLES: &str = r#"Examples:
  banjour ban 203.0.113.66             # as long as jail "manual" says
  banjour ban 203.0.113.0/24 --for 2h  # a network, for two hours"#;

/// Arguments of `banjour ban`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// An address such as 192.0.2.7, or a prefix such as 192.0.2.0/24
    source: Source,
    /// The jail to put it into
    #[arg(long, default_value = MANUAL)]
    jail: String,
    /// How long: 90s, 60min, 2h, 1d [default: the jail's ban-time]
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    time: Option<Duration>,
    /// Answer with a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(manager: &ManagerProxy<'_>, arguments: &Arguments) -> Result<(), Failure> {
    let Arguments {
        source,
        jail,
        time,
        json,
    } = arguments;
    let source = source.to_string();
    let usec = time.map_or(0, |time| {
        u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
    });
    manager.ban(&source, jail, usec, 0).await?;
    if *json {
        return text::print_json(&json!({ "source": source, "jail": jail }));
    }
    text::print(&format!("banned {source} in jail {jail}\n"))
}
