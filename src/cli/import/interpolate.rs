//! `%(name)s` in a value: the section's own option, or that of `[DEFAULT]`; `__name__`, the section's name; `known/name`,
//! what an earlier file said; `default/name`; `SECTION/name`. `%%` is a percent sign.

use super::ini::{Error, Ini, Value};
use super::shown;

/// How deep values may stand in one another; configparser's own limit.
const MAX_DEPTH: usize = 10;

/// How often one value may name others, and how long it may get: values that name each other ten times, ten levels
/// deep, would fill any memory.
const MAX_NAMES: usize = 10_000;
const MAX_LENGTH: usize = 64 * 1024;

impl Ini {
    /// An option of a section, or of `[DEFAULT]`, with what it names filled in.
    pub(super) fn get(&self, section: &str, option: &str) -> Result<Option<Value>, Error> {
        let Some(value) = self.raw(section, option) else {
            return Ok(None);
        };
        let mut expansion = Expansion {
            ini: self,
            section,
            names: 0,
            text: String::new(),
        };
        match expansion.add(&value.text, 1) {
            Ok(()) => Ok(Some(Value {
                text: expansion.text,
                at: value.at.clone(),
            })),
            Err(message) => Err(value.refuse(section, option, &message)),
        }
    }

    /// The same, as it stands in the file.
    pub(super) fn raw(&self, section: &str, option: &str) -> Option<&Value> {
        let own = self.sections.get(section)?.get(option);
        own.or_else(|| self.defaults.get(option))
    }

    fn named(&self, section: &str, name: &str) -> Option<&str> {
        let lower = name.to_lowercase();
        if lower == "__name__" {
            return self
                .sections
                .get_key_value(section)
                .map(|(name, _)| &**name);
        }
        let value = self.raw(section, &lower).or_else(|| {
            // configparser asks for the name in lower case, so that one with capitals is never found.
            let (of, option) = name.split_once('/').filter(|_| lower == name)?;
            let own = match of {
                "default" => None,
                "known" => self.known.get(section).and_then(|known| known.get(option)),
                of => self.sections.get(of)?.get(option),
            };
            own.or_else(|| self.defaults.get(option))
        });
        value.map(|value| &*value.text)
    }
}

impl Value {
    /// An error about this value.
    pub(super) fn refuse(&self, section: &str, option: &str, message: &str) -> Error {
        Error::Content {
            at: self.at.clone(),
            message: format!("[{}] {}: {message}", shown(section), shown(option)),
        }
    }
}

struct Expansion<'a> {
    ini: &'a Ini,
    section: &'a str,
    names: usize,
    text: String,
}

impl Expansion<'_> {
    fn add(&mut self, mut rest: &str, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("leads back to itself, or more than 10 levels deep".to_owned());
        }
        while let Some((before, after)) = rest.split_once('%') {
            self.text.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                self.text.push('%');
                rest = after;
                continue;
            }
            let (name, after) = after
                .strip_prefix('(')
                .and_then(|after| after.split_once(')'))
                .and_then(|(name, after)| Some((name, after.strip_prefix('s')?)))
                .filter(|(name, _)| !name.is_empty())
                .ok_or_else(|| {
                    format!("\"%\" at {after:.20?} begins no \"%(name)s\"; write \"%%\" for \"%\"")
                })?;
            let value = self
                .ini
                .named(self.section, name)
                .ok_or_else(|| format!("there is no option {name:.80?}"))?;
            self.names += 1;
            if self.names > MAX_NAMES || self.text.len() > MAX_LENGTH {
                return Err(format!(
                    "gets longer than {MAX_LENGTH} bytes, or names too many options"
                ));
            }
            self.add(value, depth + 1)?;
            rest = after;
        }
        self.text.push_str(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn get(files: &[&str], section: &str, option: &str) -> Result<String, String> {
        let mut ini = Ini::default();
        for text in files {
            ini.merge(Ini::parse(Path::new("jail.local"), text).unwrap());
        }
        let value = ini
            .get(section, option)
            .map_err(|error| error.to_string())?;
        Ok(value.map_or_else(|| "-".to_owned(), |value| value.text))
    }

    #[test]
    fn names_are_filled_in() {
        let files = [
            "[DEFAULT]\nmode = normal\nfilter = %(__name__)s[mode=%(mode)s]\nbantime = 10m\n\
             [postfix]\nmode = more\nmaxretry = 7\nbantime = 1h\n[a-b]\n",
            "[postfix]\nmaxretry = 9\nwas = %(known/maxretry)s/%(known/bantime)s\n100 = 1%%\n\
             [a-b]\nmaxretry = %(postfix/maxretry)s\nbantime = %(default/bantime)s\nmode = %(postfix/none)s\n",
        ];
        for (section, option, expected) in [
            ("postfix", "filter", "postfix[mode=more]"),
            ("postfix", "was", "7/10m"),
            ("postfix", "100", "1%"),
            ("postfix", "bantime", "1h"),
            ("a-b", "maxretry", "9"),
            ("a-b", "bantime", "10m"),
            ("a-b", "none", "-"),
            ("nosuch", "bantime", "-"),
        ] {
            assert_eq!(
                get(&files, section, option),
                Ok(expected.to_owned()),
                "{section}.{option}"
            );
        }
        assert!(
            get(&files, "a-b", "mode")
                .unwrap_err()
                .ends_with("there is no option \"postfix/none\"")
        );
    }

    #[test]
    fn what_has_no_end_or_no_sense_is_refused_in_one_line() {
        let twice = |n: usize| format!("v{n} = {}\n", format!("%(v{})s", n + 1).repeat(20));
        let wide = (0..9)
            .map(twice)
            .fold("[a]\n".to_owned(), |text, line| text + &line)
            + "v9 = x\n";
        for (text, option, expected) in [
            (
                "[a]\nx = %(y)s\ny = %(x)s\n",
                "x",
                "jail.local:2: [a] x: leads back to itself, or more than 10 levels deep",
            ),
            ("[a]\nx = %(X)s\n", "x", "leads back to itself"),
            ("[a]\nx = 5%\n", "x", "begins no \"%(name)s\""),
            ("[a]\nx = %(y\n", "x", "begins no \"%(name)s\""),
            ("[a]\nx = %()s\n", "x", "begins no \"%(name)s\""),
            ("[a]\nx = %(y)s\n", "x", "there is no option \"y\""),
            (&wide, "v0", "names too many options"),
        ] {
            let error = get(&[text], "a", option).unwrap_err();
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        }
    }
}
