//! The journal's lines about a source, read again where they are.

use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::bus::Explanation;
use crate::config::Config;
use crate::filter::Finding;
use crate::jail::{WITNESS_DELAY, before};
use crate::journal::{Entries, Error, Place, read_story};
use crate::source::Source;

use super::text;

/// Entries of the agent's own that are shown.
const STORY: usize = 10;

/// What a source did lately, where it is not banned, is looked for in as much time.
const LATELY: std::time::Duration = std::time::Duration::from_hours(24);

/// All that was read.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// By ban, the lines that led to it.
    pub(super) bans: Vec<Lines>,
    /// The lines of the last day, where there is no ban.
    pub(super) recent: Lines,
    /// What the agent told.
    pub(super) story: Vec<(Timestamp, String)>,
    /// Why nothing could be read.
    pub(super) failed: Option<String>,
}

/// Some lines; of too many, the last.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: Vec<Line>,
    /// How many there were before these.
    omitted: usize,
}

#[derive(Debug)]
struct Line {
    at: Timestamp,
    cursor: String,
    identifier: String,
    pid: String,
    message: String,
}

/// Reads what the journal has on a source, up to `most` lines for each ban.
pub(super) fn read(source: Source, known: &Explanation, most: usize) -> Read {
    let mut read = Read {
        bans: known.bans.iter().map(|_| Lines::default()).collect(),
        ..Read::default()
    };
    read.failed = fill(&mut read, source, known, most).err();
    read
}

fn fill(read: &mut Read, source: Source, known: &Explanation, most: usize) -> Result<(), String> {
    let root = Path::new("/");
    let place = Place::Root(root.to_owned());
    let config = Config::load(root).map_err(|e| e.to_string())?;
    let failed = |e: Error| e.to_string();
    let entries = |from| Entries::open(&place, &config.filters, from).map_err(failed);
    for (ban, lines) in known.bans.iter().zip(&mut read.bans) {
        let banned = ban.source.parse().unwrap_or(source);
        if ban.cause == "attempts" {
            let from = before(text::timestamp(ban.first_usec), WITNESS_DELAY);
            let until = text::timestamp(ban.since_usec);
            lines
                .read(&mut entries(from)?, banned, until, most)
                .map_err(failed)?;
        }
    }
    if known.bans.is_empty() {
        let now = Timestamp::now();
        let client = known.client.parse().unwrap_or(source);
        let mut entries = entries(before(now, LATELY))?;
        read.recent
            .read(&mut entries, client, now, most)
            .map_err(failed)?;
    }
    let mut sources: Vec<&str> = known.bans.iter().map(|ban| &*ban.source).collect();
    sources.push(&known.client);
    sources.extend(known.members.iter().map(|(source, _)| &**source));
    sources.sort_unstable();
    sources.dedup();
    for source in sources.iter().filter_map(|source| source.parse().ok()) {
        read.story
            .extend(read_story(&place, source, STORY).map_err(failed)?);
    }
    read.story.sort();
    let omitted = read.story.len().saturating_sub(STORY);
    read.story.drain(..omitted);
    Ok(())
}

impl Lines {
    /// Reads the lines about a source up to a time.
    fn read(
        &mut self,
        entries: &mut Entries<'_>,
        source: Source,
        until: Timestamp,
        most: usize,
    ) -> Result<(), Error> {
        let mut found = Vec::new();
        while let Some(at) = entries.advance()? {
            if at > until {
                break;
            }
            entries.read(at, &mut found)?;
            if !found.drain(..).any(|finding| is_about(&finding, source)) {
                continue;
            }
            let line = entries.line()?;
            self.lines.push(Line {
                at,
                cursor: entries.cursor()?,
                identifier: line.identifier.unwrap_or_default(),
                pid: line.pid.unwrap_or_default(),
                message: text::printable(&line.message),
            });
            if self.lines.len() > most {
                self.lines.remove(0);
                self.omitted += 1;
            }
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// As `journalctl` shows them.
    pub(super) fn text(&self) -> String {
        let omitted = match self.omitted {
            0 => String::new(),
            n => format!(
                "  ({n} earlier lines; --lines={} shows them)\n",
                n + self.lines.len()
            ),
        };
        let line = |line: &Line| {
            let Line {
                at,
                identifier,
                pid,
                message,
                ..
            } = line;
            format!("  {}  {identifier}[{pid}]: {message}\n", text::local(*at))
        };
        omitted + &self.lines.iter().map(line).collect::<String>()
    }

    pub(super) fn json(&self) -> Value {
        let line = |line: &Line| {
            json!({
                "at_usec": line.at.as_microsecond(),
                "cursor": line.cursor,
                "identifier": line.identifier,
                "pid": line.pid,
                "message": line.message,
            })
        };
        json!({
            "lines": self.lines.iter().map(line).collect::<Vec<_>>(),
            "omitted": self.omitted,
        })
    }
}

/// Whether a finding speaks of this source, or of somebody in it.
fn is_about(finding: &Finding, source: Source) -> bool {
    match finding {
        Finding::Evidence(evidence) => source.contains(evidence.source),
        Finding::Trouble(trouble) => trouble
            .client
            .as_ref()
            .is_some_and(|client| source.contains(client.source)),
    }
}
