//! Files with one entry per line: an address, a prefix or a host name; blank lines, and `#` with what follows, say nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Entry, NotAnEntry, Why};

/// Larger files are not read: 65,000 addresses fit in, and many times that is no list that somebody keeps.
const MAX_FILE: u64 = 1024 * 1024;

/// More lines of a file are not read. With [`MAX_FILES`], they take some 60 MB.
const MAX_LINES: usize = 65_536;

/// More files are not read.
const MAX_FILES: usize = 16;

/// So many bad lines of a file are shown; the others are counted.
const MAX_SHOWN: usize = 3;

/// The agent's sandbox shows it none of what lies here (`ProtectHome=`, `PrivateTmp=` in `units/banjour.service`).
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

/// The files that the setting names, with their last good content.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: BTreeMap<Arc<Path>, Content>,
    /// Files too many.
    left_out: usize,
}

#[derive(Debug, Default)]
struct Content {
    /// By line, counted from 1.
    entries: Vec<(usize, Entry)>,
    /// Lines that are no entry.
    bad: Vec<(usize, NotAnEntry)>,
    /// Why it can't be read now.
    unreadable: Option<String>,
}

impl Files {
    /// Reads all files that are wanted, below `root`. One that can't be read keeps the content that it had.
    pub(super) fn read<'a>(&mut self, root: &Path, wanted: impl Iterator<Item = &'a Path>) {
        let mut before = std::mem::take(&mut self.files);
        self.left_out = 0;
        for path in wanted {
            if self.files.contains_key(path) {
                continue;
            }
            if self.files.len() == MAX_FILES {
                self.left_out += 1;
                continue;
            }
            let content = match read(&below(root, path)) {
                Ok(text) => Content::parse(&text),
                Err(error) => Content {
                    unreadable: Some(why(path, &error)),
                    ..before.remove(path).unwrap_or_default()
                },
            };
            self.files.insert(path.into(), content);
        }
    }

    /// Every entry, with where it stands.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Entry, Why)> {
        self.files.iter().flat_map(|(path, content)| {
            let entries = content.entries.iter();
            entries.map(|(line, entry)| (entry, Why::File(Arc::clone(path), *line)))
        })
    }

    /// What is wrong with them, and what follows from it.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (path, content) in &self.files {
            content.tell(path, &mut faults);
        }
        if self.left_out > 0 {
            faults.push(format!(
                "\"ignore\" names more than {MAX_FILES} files, ignoring {} of them",
                self.left_out
            ));
        }
        faults
    }
}

impl Content {
    fn parse(text: &str) -> Self {
        let mut content = Self::default();
        let lines = text.trim_start_matches('\u{feff}').lines();
        for (line, text) in (1..).zip(lines) {
            let entry = text.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            if line > MAX_LINES {
                content.unreadable = Some(format!("more than {MAX_LINES} lines"));
                break;
            }
            match entry.parse() {
                Ok(Entry::File(_)) => content.bad.push((line, NotAnEntry::new(entry))),
                Ok(entry) => content.entries.push((line, entry)),
                Err(error) => content.bad.push((line, error)),
            }
        }
        content
    }

    fn tell(&self, path: &Path, faults: &mut Vec<String>) {
        let shown = path.display();
        if let Some(why) = &self.unreadable {
            let known = match self.entries.len() {
                0 => "nobody is ignored by it".to_owned(),
                count => format!("the {count} entries known of it stay ignored"),
            };
            faults.push(format!("{shown}: {why}; {known}"));
        }
        for (line, error) in self.bad.iter().take(MAX_SHOWN) {
            faults.push(format!("{shown}:{line}: {error}, ignoring"));
        }
        if self.bad.len() > MAX_SHOWN {
            faults.push(format!(
                "{shown}: {} more such lines",
                self.bad.len() - MAX_SHOWN
            ));
        }
    }
}

/// Where a file of the host lies below `root`.
pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Why a file can't be read, and what to do about it.
fn why(path: &Path, error: &io::Error) -> String {
    if HIDDEN.iter().any(|hidden| path.starts_with(hidden)) {
        format!(
            "{error}: the agent sees nothing below that directory, keep the file in /etc/banjour"
        )
    } else if error.kind() == ErrorKind::PermissionDenied {
        format!("{error}: user \"banjour\" must be able to read it")
    } else {
        error.to_string()
    }
}

fn read(path: &Path) -> io::Result<String> {
    // To open a pipe would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other("is larger than 1 MiB"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(files: &Files) -> Vec<String> {
        let entry = |(entry, why): (&Entry, Why)| match why {
            Why::File(path, line) => format!("{}:{line} {entry}", path.display()),
            _ => unreachable!(),
        };
        files.entries().map(entry).collect()
    }

    fn read(files: &mut Files, root: &Path, wanted: &[&str]) {
        files.read(root, wanted.iter().map(Path::new));
    }

    #[test]
    fn comments_and_blank_lines_say_nothing_and_bad_lines_keep_no_other_out() {
        let root = tempfile::tempdir().unwrap();
        let text = "\u{feff}# the office\n\n192.0.2.7 # its router\r\n\t2001:db8::/48\n/etc/other\nOffice.Example.\n1.2.3\n\
                    x\0y\na b\n192.0.2.9";
        fs::write(root.path().join("list"), text).unwrap();
        let mut files = Files::default();
        read(&mut files, root.path(), &["/list", "/list"]);
        assert_eq!(
            entries(&files),
            [
                "/list:3 192.0.2.7",
                "/list:4 2001:db8::/48",
                "/list:6 office.example",
                "/list:10 192.0.2.9"
            ]
        );
        let faults = files.faults();
        assert_eq!(faults.len(), 4, "{faults:?}");
        assert!(faults[0].starts_with("/list:5: \"/etc/other\" is not"));
        assert!(faults[2].starts_with("/list:8: \"x\\0y\" is not"));
        assert_eq!(faults[3], "/list: 1 more such lines");
    }

    #[test]
    fn what_cannot_be_read_keeps_its_last_good_content() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("list");
        let mut files = Files::default();
        read(&mut files, root.path(), &["/list"]);
        assert!(files.faults()[0].starts_with("/list: No such file"));
        fs::write(&path, "192.0.2.7").unwrap();
        read(&mut files, root.path(), &["/list"]);
        assert_eq!(files.faults(), [""; 0]);
        let too_large = " ".repeat(usize::try_from(MAX_FILE).unwrap() + 1);
        fs::write(&path, too_large).unwrap();
        read(&mut files, root.path(), &["/list"]);
        assert!(files.faults()[0].contains("larger than 1 MiB"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        read(&mut files, root.path(), &["/list"]);
        assert!(files.faults()[0].contains("not a regular file"));
        assert_eq!(entries(&files), ["/list:1 192.0.2.7"]);
        // Nobody wants it any more.
        read(&mut files, root.path(), &[]);
        assert_eq!(entries(&files), [""; 0]);
        assert_eq!(files.faults(), [""; 0]);
    }

    #[test]
    fn files_and_lines_are_bounded() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("list"), "::1\n".repeat(MAX_LINES + 1)).unwrap();
        let mut files = Files::default();
        read(&mut files, root.path(), &["/list"]);
        assert_eq!(entries(&files).len(), MAX_LINES);
        assert!(files.faults()[0].contains("more than 65536 lines"));
        let many: Vec<_> = (0..=MAX_FILES).map(|n| format!("/{n}")).collect();
        read(
            &mut files,
            root.path(),
            &many.iter().map(String::as_str).collect::<Vec<_>>(),
        );
        assert_eq!(files.files.len(), MAX_FILES);
        assert_eq!(files.faults().len(), MAX_FILES + 1);
    }

    #[test]
    fn where_the_sandbox_hides_a_file_its_fault_says_so() {
        let mut files = Files::default();
        read(
            &mut files,
            Path::new("/nonexistent"),
            &["/home/me/list", "/etc/list"],
        );
        let faults = files.faults();
        assert!(!faults[0].contains("sees nothing") && faults[1].contains("sees nothing"));
    }
}
