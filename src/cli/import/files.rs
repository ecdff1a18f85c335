//! Which of fail2ban's files are read, and in which order: NAME.conf, NAME.d/*.conf, NAME.local, NAME.d/*.local, each with
//! the files that its `[INCLUDES]` names before and after it. See jail.conf(5).

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::ini::{Error, Ini};

/// Longest file that is read; fail2ban's own `jail.conf` has 25 kB.
const MAX_SIZE: u64 = 1024 * 1024;

/// Most files that are read; a file counts each time that one includes it.
const MAX_FILES: usize = 500;

const INCLUDES: &str = "INCLUDES";

/// What the files say together.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) ini: Ini,
    /// Files that are not UTF-8: fail2ban leaves them out.
    pub(super) left_out: Vec<PathBuf>,
    count: usize,
}

/// Reads the files of one name, such as `jail`, below fail2ban's directory. There may be none.
pub(super) fn read(directory: &Path, name: &str) -> Result<Files, Error> {
    let drop_ins = drop_ins(&directory.join(format!("{name}.d")))?;
    let mut files = Files::default();
    for kind in ["conf", "local"] {
        let path = directory.join(format!("{name}.{kind}"));
        files.add(&path, &mut Vec::new())?;
        let kind = Some(kind.as_ref());
        for path in drop_ins.iter().filter(|path| path.extension() == kind) {
            files.add(path, &mut Vec::new())?;
        }
    }
    Ok(files)
}

impl Files {
    /// Whether there was any.
    pub(super) fn any(&self) -> bool {
        self.count > 0
    }

    /// Lays a file over, with what it includes. `within` are the files that include this one.
    fn add(&mut self, path: &Path, within: &mut Vec<PathBuf>) -> Result<(), Error> {
        let Some(bytes) = bytes(path)? else {
            return Ok(());
        };
        self.count += 1;
        if self.count > MAX_FILES {
            let message = format!("more than {MAX_FILES} files, as they include one another");
            let path = path.to_owned();
            return Err(Error::File { path, message });
        }
        let Ok(text) = String::from_utf8(bytes) else {
            self.left_out.push(path.to_owned());
            return Ok(());
        };
        let ini = Ini::parse(path, &text)?;
        within.push(path.to_owned());
        self.include(&ini, "before", path, within)?;
        let after = ini.clone();
        self.ini.merge(ini);
        self.include(&after, "after", path, within)?;
        within.pop();
        Ok(())
    }

    fn include(
        &mut self,
        ini: &Ini,
        option: &str,
        path: &Path,
        within: &mut Vec<PathBuf>,
    ) -> Result<(), Error> {
        let names = ini.get(INCLUDES, option)?.map(|value| value.text);
        let directory = path.parent().unwrap_or(path);
        for name in names.iter().flat_map(|names| names.lines()) {
            let included = directory.join(name);
            let local = included.with_extension("local");
            if name.is_empty() || within.contains(&included) {
                continue;
            }
            self.add(&included, within)?;
            if local != included && !within.contains(&local) {
                self.add(&local, within)?;
            }
        }
        Ok(())
    }
}

/// The files in a directory, sorted; hidden ones are none.
fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let refuse = |error| Error::Read {
        path: directory.to_owned(),
        error,
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(refuse(error)),
    };
    let mut paths = Vec::new();
    for entry in entries.take(MAX_FILES + 1) {
        let entry = entry.map_err(refuse)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    if paths.len() > MAX_FILES {
        return Err(Error::File {
            path: directory.to_owned(),
            message: format!("more than {MAX_FILES} files"),
        });
    }
    paths.sort();
    Ok(paths)
}

/// A file's content; what is no file (a link to `/dev/null`) has none.
fn bytes(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let refuse = |error| Error::Read {
        path: path.to_owned(),
        error,
    };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(None);
        }
        Err(error) => return Err(refuse(error)),
    }
    let file = File::open(path).map_err(refuse)?;
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1)
        .read_to_end(&mut bytes)
        .map_err(refuse)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(Error::File {
            path: path.to_owned(),
            message: format!("is longer than {MAX_SIZE} bytes"),
        });
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::import::tests::directory;

    fn order(files: &[(&str, &str)]) -> String {
        let directory = directory(files);
        let files = read(directory.path(), "jail").unwrap();
        files.ini.get("order", "seen").unwrap().unwrap().text
    }

    #[test]
    fn files_are_read_in_fail2bans_order() {
        let files: Vec<_> = ["jail.conf", "jail.d/b.conf", "jail.local", "jail.d/a.local"]
            .map(|name| (name, format!("[order]\nseen = {name}\n")))
            .into();
        for count in 1..=files.len() {
            let files = files[..count].iter().map(|(name, text)| (*name, &**text));
            let files: Vec<_> = files.rev().collect();
            assert_eq!(order(&files), files[0].0);
        }
        assert_eq!(
            order(&[
                (
                    "jail.conf",
                    "[INCLUDES]\nbefore = paths.conf\n  sub/more.conf\nafter = last.conf\n[order]\nseen = 3\n"
                ),
                (
                    "paths.conf",
                    "[INCLUDES]\nbefore = jail.conf\n[order]\nseen = 1\n"
                ),
                ("paths.local", "[DEFAULT]\nx = local\n"),
                (
                    "sub/more.conf",
                    "[INCLUDES]\nafter = none.conf\n[order]\nseen = 2\n"
                ),
                ("last.conf", "[order]\nseen = %(x)s after %(known/seen)s\n"),
                ("jail.d/.hidden.conf", "nonsense"),
                ("jail.d/note.txt", "nonsense"),
            ]),
            "local after 3"
        );
    }

    #[test]
    fn a_file_that_is_no_text_is_left_out_as_fail2ban_does() {
        let directory = directory(&[("jail.conf", "[order]\nseen = 1\n")]);
        fs::write(
            directory.path().join("jail.local"),
            b"[order]\nseen = \xe4\n",
        )
        .unwrap();
        let files = read(directory.path(), "jail").unwrap();
        assert_eq!(files.left_out, [directory.path().join("jail.local")]);
        assert_eq!(files.ini.sections["order"]["seen"].text, "1");
        assert!(!read(directory.path(), "fail2ban").unwrap().any());
    }

    #[test]
    fn files_without_end_are_refused() {
        let directory = directory(&[
            ("jail.conf", "[INCLUDES]\nbefore = s/../jail.conf\n"),
            ("s/x", ""),
        ]);
        let error = read(directory.path(), "jail").unwrap_err().to_string();
        assert!(error.contains("more than 500 files"), "{error}");
        fs::write(
            directory.path().join("jail.conf"),
            vec![b'\n'; 1024 * 1024 + 1],
        )
        .unwrap();
        let error = read(directory.path(), "jail").unwrap_err().to_string();
        assert!(
            error.ends_with("jail.conf: is longer than 1048576 bytes"),
            "{error}"
        );
    }
}
