//! Where a journal's files are.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use itertools::Itertools;

/// Where journald has its files, below the root: those that stay, and those that don't.
const DIRECTORIES: [&str; 2] = ["var/log/journal", "run/log/journal"];
/// Where these are made, if there are none.
const AROUND: [&str; 2] = ["var/log", "run/log"];

/// Which journal to read.
#[derive(Clone, Debug)]
pub enum Place {
    /// This host's, or that of the system installed below a directory.
    Root(PathBuf),
    /// The files in a directory, perhaps another host's.
    Directory(PathBuf),
    /// One file, perhaps another host's.
    File(PathBuf),
}

impl Place {
    /// Where this system's journal files are, in order.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        let Self::Root(root) = self else {
            return Vec::new();
        };
        let machine = fs::read_to_string(root.join("etc/machine-id")).unwrap_or_default();
        let is_ours = move |directory: &fs::DirEntry| {
            machine.is_empty() || *directory.file_name() == *machine.trim()
        };
        DIRECTORIES
            .into_iter()
            .flat_map(|directory| fs::read_dir(root.join(directory)))
            .flat_map(Iterator::flatten)
            .filter(is_ours)
            .map(|directory| directory.path())
            .sorted()
            .collect()
    }

    /// The directories around those, some of which may be missing, the outer ones first.
    pub(super) fn around(&self) -> Vec<PathBuf> {
        let Self::Root(root) = self else {
            return Vec::new();
        };
        let all = AROUND.into_iter().chain(DIRECTORIES);
        all.map(|directory| root.join(directory)).collect()
    }

    /// Whether journald writes to a file that may not be read. libsystemd passes over that one too.
    pub(super) fn is_closed(&self) -> bool {
        self.directories()
            .iter()
            .map(|directory| File::open(directory.join("system.journal")))
            .any(|file| file.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied))
    }

    /// The system's journal files.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let is_journal = |file: &PathBuf| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("system")
                && (name.ends_with(".journal") || name.ends_with(".journal~"))
        };
        self.directories()
            .into_iter()
            .flat_map(fs::read_dir)
            .flat_map(Iterator::flatten)
            .map(|file| file.path())
            .filter(is_journal)
            .collect()
    }
}
