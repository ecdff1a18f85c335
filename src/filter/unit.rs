//! The units whose entries a filter reads.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A unit that a filter reads: `dovecot.service`, or all instances of a template: `postfix@*.service`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Unit(String);

/// The text names no unit.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not a unit such as \"dovecot.service\", nor all of a template such as \"postfix@*.service\""
)]
pub struct NotAUnit(String);

impl Unit {
    /// Whether `name`, from `_SYSTEMD_UNIT`, is this unit or an instance of this template.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self.template() {
            Some(prefix) => name
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.starts_with('@') && rest.ends_with(".service")),
            None => self.0 == name,
        }
    }

    /// The field and value that journald's index is asked for. It can't look up a part of a name, but instances of a template
    /// share a slice (systemd.resource-control(5): `system-postfix.slice`, with `-` in the name escaped).
    #[must_use]
    pub fn journal_match(&self) -> (&'static str, String) {
        match self.template() {
            Some(prefix) => (
                "_SYSTEMD_SLICE",
                format!("system-{}.slice", prefix.replace('-', "\\x2d")),
            ),
            None => ("_SYSTEMD_UNIT", self.0.clone()),
        }
    }

    fn template(&self) -> Option<&str> {
        self.0.strip_suffix("@*.service")
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Unit {
    type Error = NotAUnit;

    fn try_from(text: String) -> Result<Self, NotAUnit> {
        // systemd.unit(5): a name's characters, and 255 of them at the most.
        let body = text
            .strip_suffix(".service")
            .map(|body| body.strip_suffix("@*").unwrap_or(body));
        let valid = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        match body {
            Some(body) if !body.is_empty() && text.len() <= 255 && body.chars().all(valid) => {
                Ok(Self(text))
            }
            _ => Err(NotAUnit(text)),
        }
    }
}

impl FromStr for Unit {
    type Err = NotAUnit;

    fn from_str(text: &str) -> Result<Self, NotAUnit> {
        text.to_owned().try_into()
    }
}
