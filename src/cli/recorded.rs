//! Which journal to read, by which settings: what `banjour replay` and `banjour report` have in common.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::Failure;
use crate::agent::Options;
use crate::config::Config;
use crate::ignore::{self, List};
use crate::journal::Place;

/// What stands on the command line.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Read the journal files in this directory [default: this host's journal]
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "file")]
    directory: Option<PathBuf>,
    /// Read this journal file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Try this file in the place of the host's settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A journal, and how to read it.
pub(super) struct Recorded {
    pub(super) place: Place,
    pub(super) config: Config,
    pub(super) ignored: List,
}

impl Which {
    pub(super) fn prepare(&self) -> Result<Recorded, Failure> {
        let root = Path::new("/");
        let config = match &self.config {
            Some(file) => Config::try_file(root, file),
            None => Config::load(root),
        };
        let config = config.map_err(|e| Failure::Refused(e.to_string()))?;
        let place = match (&self.directory, &self.file) {
            (Some(directory), _) => Place::Directory(directory.clone()),
            (None, Some(file)) => Place::File(file.clone()),
            (None, None) => Place::Root(root.to_owned()),
        };
        // The addresses of another host are not ours.
        let this_host = matches!(place, Place::Root(_));
        let (ignored, missing) = ignore::now(
            config.ignore.clone(),
            root,
            &Options::state_directory(),
            this_host,
        );
        for missing in missing {
            eprintln!("banjour: ignore: {missing}");
        }
        Ok(Recorded {
            place,
            config,
            ignored,
        })
    }
}

/// How far the reading has come, on a terminal.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn begin() -> Self {
        if !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {human_pos} entries, at {msg} ({elapsed})")
        {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(super) fn show(&self, count: u64, at: Timestamp) {
        self.0.set_position(count);
        self.0
            .set_message(at.strftime("%Y-%m-%d %H:%M").to_string());
    }

    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}
