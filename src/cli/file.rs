//! Files that are written all at once: whoever reads sees the old one or the new one.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// Whom the umask lets.
    Usual,
    /// Everybody: programs of other users.
    All,
}

/// Puts a file in the place of another, in a directory that is made where it is missing.
pub(super) fn replace(file: &Path, text: &str, readers: Readers) -> io::Result<()> {
    let directory = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(directory)?;
    let new = directory.join(format!(".banjour-{}.new", process::id()));
    let written = write_new(&new, text, readers).and_then(|()| fs::rename(&new, file));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

fn write_new(new: &Path, text: &str, readers: Readers) -> io::Result<()> {
    const EVERYBODY_READS: u32 = 0o644;
    // What an earlier process of the same id may have left. Then nobody's link is followed.
    let _ = fs::remove_file(new);
    let mut file = File::create_new(new)?;
    if readers == Readers::All {
        file.set_permissions(Permissions::from_mode(EVERYBODY_READS))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
