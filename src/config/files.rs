//! Where configuration is found: `/etc`, `/run` and `/usr/lib`, in systemd's order (see systemd-system.conf(5)).
//! A file in an earlier directory hides one of the same name in a later; an empty one, or a link to `/dev/null`, masks it.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::Error;
use crate::filter;

const DIRECTORIES: [&str; 3] = ["etc/banjour", "run/banjour", "usr/lib/banjour"];

/// Where it is, and what it says.
pub(super) type File = (PathBuf, String);

/// All files and directories that configuration may come from, below `root`; those that are there.
#[must_use]
pub fn places(root: &Path) -> Vec<PathBuf> {
    let mut places = Vec::new();
    for directory in DIRECTORIES {
        places.push(root.join(directory).join("banjour.toml"));
        for below in ["banjour.toml.d", "filters"] {
            let directory = root.join(directory).join(below);
            let files = fs::read_dir(&directory).into_iter().flatten().flatten();
            places.extend(files.map(|file| file.path()));
            places.push(directory);
        }
    }
    places.retain(|place| place.exists());
    places
}

/// The main file and its drop-ins, in the order in which they are laid over one another.
pub(super) fn settings(root: &Path) -> Result<Vec<File>, Error> {
    let mut found = Vec::new();
    for directory in DIRECTORIES {
        let path = root.join(directory).join("banjour.toml");
        if let Some(text) = read(&path)? {
            found.push((path, text));
            break;
        }
    }
    found.extend(by_name(root, "banjour.toml.d")?.into_values());
    Ok(found)
}

/// Every filter, by name; the shipped ones are there without a file too.
pub(super) fn filters(root: &Path) -> Result<BTreeMap<String, File>, Error> {
    let mut filters: BTreeMap<String, File> = filter::SHIPPED
        .iter()
        .map(|(name, text)| {
            (
                (*name).to_owned(),
                (
                    PathBuf::from(format!("(shipped) {name}.toml")),
                    (*text).to_owned(),
                ),
            )
        })
        .collect();
    for (name, file) in by_name(root, "filters")? {
        if file.1.is_empty() {
            filters.remove(&name);
        } else {
            filters.insert(name, file);
        }
    }
    Ok(filters)
}

/// The `.toml` files of a directory below the three, by name without the ending.
fn by_name(root: &Path, below: &str) -> Result<BTreeMap<String, File>, Error> {
    let mut files = BTreeMap::new();
    for directory in DIRECTORIES {
        let directory = root.join(directory).join(below);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(Error::Read {
                    path: directory,
                    error,
                });
            }
        };
        for entry in entries {
            let path = entry
                .map_err(|error| Error::Read {
                    path: directory.clone(),
                    error,
                })?
                .path();
            let (Some("toml"), Some(name)) = (
                path.extension().and_then(|e| e.to_str()),
                path.file_stem().and_then(|s| s.to_str()),
            ) else {
                continue;
            };
            if files.contains_key(name) {
                continue;
            }
            if let Some(text) = read(&path)? {
                files.insert(name.to_owned(), (path.clone(), text));
            }
        }
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::Read {
            path: path.to_owned(),
            error,
        }),
    }
}
