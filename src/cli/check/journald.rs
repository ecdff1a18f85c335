//! journald's own settings (journald.conf(5)): the main file, and drop-ins over it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// In systemd's order: an earlier directory's file hides one of the same name in a later.
const DIRECTORIES: [&str; 4] = [
    "etc/systemd",
    "run/systemd",
    "usr/local/lib/systemd",
    "usr/lib/systemd",
];

/// Level "info", at which Dovecot tells of failed logins (syslog(3)).
pub(super) const INFO: u8 = 6;

const LEVELS: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

/// The settings in section `[Journal]`, each with the file that says so.
pub(super) fn settings(root: &Path) -> BTreeMap<String, (String, PathBuf)> {
    let main = DIRECTORIES.map(|directory| root.join(directory).join("journald.conf"));
    let main = main.into_iter().find(|path| path.exists());
    let mut drop_ins = BTreeMap::new();
    for directory in DIRECTORIES {
        let files = fs::read_dir(root.join(directory).join("journald.conf.d"));
        for file in files.into_iter().flatten().flatten() {
            let path = file.path();
            if path.extension().is_some_and(|end| end == "conf") {
                drop_ins.entry(file.file_name()).or_insert(path);
            }
        }
    }
    let mut settings = BTreeMap::new();
    for path in main.into_iter().chain(drop_ins.into_values()) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        for (name, value) in assignments(&text) {
            if value.is_empty() {
                settings.remove(name);
            } else {
                settings.insert(name.to_owned(), (value.to_owned(), path.clone()));
            }
        }
    }
    settings
}

fn assignments(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with(['#', ';', '[']));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim()))
}

/// A level's number, as journald.conf(5) allows it to be written.
pub(super) fn level(text: &str) -> Option<u8> {
    let named = LEVELS.iter().position(|level| *level == text);
    let named = named.and_then(|at| u8::try_from(at).ok());
    named.or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_lie_over_the_main_file_and_hide_one_another() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("usr/lib/systemd/journald.conf", "[Journal]\nStorage=none\n"),
            (
                "etc/systemd/journald.conf",
                "[Journal]\n#Storage=auto\nMaxLevelStore = notice\n",
            ),
            (
                "usr/lib/systemd/journald.conf.d/a.conf",
                "[Journal]\nStorage=none\n",
            ),
            (
                "run/systemd/journald.conf.d/a.conf",
                "[Journal]\nStorage=volatile\n",
            ),
            (
                "etc/systemd/journald.conf.d/b.conf",
                "[Journal]\nMaxLevelStore=\n",
            ),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let settings = settings(root.path());
        assert_eq!(settings["Storage"].0, "volatile");
        assert!(!settings.contains_key("MaxLevelStore"));
    }

    #[test]
    fn levels_have_names_and_numbers() {
        assert_eq!(level("notice"), Some(5));
        assert_eq!(level("6"), Some(6));
        assert_eq!(level("loud"), None);
    }
}
