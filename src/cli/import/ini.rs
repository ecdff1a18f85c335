//! One of fail2ban's files, as Python's configparser reads it there: `#` and `;` begin a comment line, only ` ;` one
//! behind a value; a line that is indented deeper than its option continues it; names of options have no case; nothing
//! may stand in one file twice.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{one_line, shown};

/// What stands above all sections.
const DEFAULT: &str = "DEFAULT";

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) path: Rc<Path>,
    pub(super) line: usize,
}

/// An option's value, not yet interpolated: see `interpolate.rs`.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) at: At,
}

pub(super) type Section = BTreeMap<String, Value>;

/// One file, or several that were laid over one another.
#[derive(Clone, Debug, Default)]
pub(super) struct Ini {
    pub(super) defaults: Section,
    pub(super) sections: BTreeMap<String, Section>,
    /// What a section said before a later file spoke: `%(known/NAME)s`.
    pub(super) known: BTreeMap<String, Section>,
}

/// Files that fail2ban can't use either.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{}: {error}", one_line(path))]
    Read { path: PathBuf, error: io::Error },
    #[error("{}: {message}", one_line(path))]
    File { path: PathBuf, message: String },
    #[error("{}:{}: {message}", one_line(&at.path), at.line)]
    Content { at: At, message: String },
}

impl Ini {
    /// Reads one file's text.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let path: Rc<Path> = path.into();
        let mut ini = Self::default();
        let mut section: Option<&str> = None;
        let mut option: Option<String> = None;
        let mut indent = 0;
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        for (line, index) in text.split('\n').zip(1..) {
            let at = At {
                path: Rc::clone(&path),
                line: index,
            };
            let refuse = |message| {
                Err(Error::Content {
                    at: at.clone(),
                    message,
                })
            };
            let end = comment(line);
            let value = line[..end.unwrap_or(line.len())].trim();
            let current = option
                .as_ref()
                .zip(section)
                .and_then(|(option, section)| ini.section(section).get_mut(option));
            if value.is_empty() {
                // An empty line is part of the value; a line with a comment is not.
                if let (None, Some(current)) = (end, current) {
                    current.text.push('\n');
                }
                continue;
            }
            let depth = line.chars().take_while(|c| c.is_whitespace()).count();
            if let Some(current) = current
                && depth > indent
            {
                current.text.push('\n');
                current.text.push_str(value);
                continue;
            }
            indent = depth;
            if let Some(name) = header(value) {
                if name != DEFAULT && ini.sections.contains_key(name) {
                    return refuse(format!("section [{}] stands here again", shown(name)));
                }
                ini.section(name);
                section = Some(name);
                option = None;
                continue;
            }
            let Some(within) = section else {
                return refuse(format!("{value:.40?} stands before the first [section]"));
            };
            let Some((name, value)) = value.split_once(['=', ':']) else {
                return refuse(format!(
                    "{value:.40?} is neither [section] nor option = value"
                ));
            };
            let name = name.trim_end().to_lowercase();
            if name.is_empty() {
                return refuse(format!("{value:.40?} has no option before it"));
            }
            let value = Value {
                text: value.trim().to_owned(),
                at: at.clone(),
            };
            if ini.section(within).insert(name.clone(), value).is_some() {
                return refuse(format!("option {name:.40?} stands here again"));
            }
            option = Some(name);
        }
        let sections = ini.sections.values_mut().chain([&mut ini.defaults]);
        for value in sections.flat_map(BTreeMap::values_mut) {
            value.text.truncate(value.text.trim_end().len());
        }
        Ok(ini)
    }

    /// Lays a later file over.
    pub(super) fn merge(&mut self, over: Self) {
        self.defaults.extend(over.defaults);
        for (name, section) in over.sections {
            let Some(before) = self.sections.get_mut(&name) else {
                self.sections.insert(name, section);
                continue;
            };
            let known = before.iter().filter(|(key, _)| section.contains_key(*key));
            self.known
                .entry(name)
                .or_default()
                .extend(known.map(|(key, value)| (key.clone(), value.clone())));
            before.extend(section);
        }
    }

    fn section(&mut self, name: &str) -> &mut Section {
        if name == DEFAULT {
            &mut self.defaults
        } else {
            self.sections.entry(name.to_owned()).or_default()
        }
    }
}

/// Where a line's comment begins.
fn comment(line: &str) -> Option<usize> {
    if line.trim_start().starts_with(['#', ';']) {
        return Some(0);
    }
    let spaced = |at: &usize| line[..*at].ends_with(char::is_whitespace);
    line.match_indices(';').map(|(at, _)| at).find(spaced)
}

fn header(value: &str) -> Option<&str> {
    let inside = value.strip_prefix('[')?;
    inside
        .rfind(']')
        .map(|end| &inside[..end])
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Ini, String> {
        Ini::parse(Path::new("jail.local"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_read_as_configparser_reads_them() {
        let ini = parse(
            "# a comment\n[DEFAULT]\nBanTime = 1h ; an hour\nfindtime: 10m # no comment\n\
             [a b]]\n  maxretry=3\n  ignoreip = 192.0.2.1\n\n     ; between\n     192.0.2.2;3\n  empty =\n\tx = 1\r\n\
             [DEFAULT]\nlast = yes\n\n\n",
        )
        .unwrap();
        let text = |section: &Section, name: &str| section[name].text.clone();
        assert_eq!(text(&ini.defaults, "bantime"), "1h");
        assert_eq!(text(&ini.defaults, "findtime"), "10m # no comment");
        assert_eq!(text(&ini.defaults, "last"), "yes");
        let section = &ini.sections["a b]"];
        assert_eq!(text(section, "maxretry"), "3");
        assert_eq!(text(section, "ignoreip"), "192.0.2.1\n\n192.0.2.2;3");
        assert_eq!(
            (text(section, "empty"), section["empty"].at.line),
            (String::new(), 11)
        );
        assert_eq!(text(section, "x"), "1");
    }

    /// As it happens to people who indent what they add.
    #[test]
    fn what_is_indented_deeper_continues_the_option_before() {
        let ini = parse("[sshd]\nenabled = true\n    maxretry = 3\n").unwrap();
        assert_eq!(ini.sections["sshd"]["enabled"].text, "true\nmaxretry = 3");
    }

    #[test]
    fn what_fail2ban_refuses_is_refused_in_one_line() {
        for (text, expected) in [
            (
                "a = 1\n",
                "jail.local:1: \"a = 1\" stands before the first [section]",
            ),
            (
                "[a]\nb\n",
                "jail.local:2: \"b\" is neither [section] nor option = value",
            ),
            ("[a]\n= 1\n", "jail.local:2: \" 1\" has no option before it"),
            (
                "[a]\nb = 1\nB = 2\n",
                "jail.local:3: option \"b\" stands here again",
            ),
            (
                "[a]\n[b]\n[a]\n",
                "jail.local:3: section [a] stands here again",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_later_file_is_laid_over_and_the_earlier_word_is_known() {
        let mut ini = parse("[DEFAULT]\na = 1\n[x]\nb = 1\nc = 1\n").unwrap();
        ini.merge(parse("[DEFAULT]\na = 2\n[x]\nb = 2\n[y]\nd = 1\n").unwrap());
        assert_eq!(ini.defaults["a"].text, "2");
        assert_eq!(
            (&*ini.sections["x"]["b"].text, &*ini.sections["x"]["c"].text),
            ("2", "1")
        );
        assert_eq!(ini.known["x"].len(), 1);
        assert_eq!(ini.known["x"]["b"].text, "1");
    }
}
