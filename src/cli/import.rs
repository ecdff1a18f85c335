//! `banjour import-fail2ban`

mod bans;
mod database;
mod files;
mod filter;
mod ini;
mod interpolate;
mod jail;
mod read;
mod settings;
mod time;

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{Agent, Failure, text};
use read::Import;

/// fail2ban's configuration.
const DIRECTORY: &str = "/etc/fail2ban";

/// Longest text of somebody else's that a message repeats.
const MAX_QUOTED: usize = 80;

const EXAMPLES: &str = "\
Examples:
  banjour import-fail2ban         # print its settings as ours
  banjour import-fail2ban --bans  # take over whom it has banned";

/// Arguments of `banjour import-fail2ban`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// fail2ban's configuration
    #[arg(default_value = DIRECTORY)]
    directory: PathBuf,
    /// Have the agent take over the bans of fail2ban's mail jails that are in force
    #[arg(long)]
    bans: bool,
    /// fail2ban's database [default: what its configuration says]
    #[arg(long, value_name = "FILE", requires = "bans")]
    database: Option<PathBuf>,
    /// Answer with a JSON object
    #[arg(long)]
    json: bool,
}

impl From<ini::Error> for Failure {
    fn from(error: ini::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let import = Import::read(&arguments.directory)?;
    if arguments.bans {
        let database = match &arguments.database {
            Some(file) => file.clone(),
            None => import.database()?,
        };
        let found = bans::Found::read(&database, &import, Timestamp::now())?;
        let report = found.hand_over(&Agent::find().await?.manager).await?;
        return if arguments.json {
            text::print_json(&report.as_json())
        } else {
            text::print(&report.as_text())
        };
    }
    if arguments.json {
        return text::print_json(&import.as_json());
    }
    text::print(&import.as_toml())
}

/// Somebody else's text in quotes, in one line, and not too long.
fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text))
}

/// The same without quotes, for names.
fn shown(text: &str) -> String {
    let end = text.char_indices().nth(MAX_QUOTED);
    let (text, more) = end.map_or((text, ""), |(end, _)| (&text[..end], "…"));
    format!("{}{more}", text.escape_debug())
}

/// A path, in one line.
fn one_line(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

#[cfg(test)]
mod tests;
