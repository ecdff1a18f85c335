//! What holds for any settings and any filter: they are right, or an error says in one line where and what is wrong. For
//! tests and fuzzing.

use arbitrary::{Result, Unstructured};

use super::*;
use crate::filter::{Entry, Writer};

/// A filter that costs nothing to compile, in the place of all that there are.
const FILTER: &str = "description = \"x\"\nunits = []\nusers = []\npattern = []\n";

/// What regular expressions are made of, and what may make one large.
const REGEX: [&str; 42] = [
    "^",
    "$",
    "(?<address>",
    "(?<user>",
    "(?<back>",
    "(?<attempts>",
    "(?<unknown>",
    "(?<x>",
    "(?:",
    "(?i)",
    "(?s-u)",
    "(",
    ")",
    "[",
    "]",
    "[^<>]",
    "[0-9.]+",
    ".",
    "*",
    "+",
    "?",
    "*?",
    "|",
    "{2,3}",
    "{1000}",
    "{1000000}",
    "{999999999999}",
    "{,}",
    "{a}",
    "{b}",
    "{c}",
    "\\",
    "\\pL",
    "\\w",
    "\\b",
    "\\x{10ffff}",
    "(?x: #",
    "[[:alpha:]&&[^a]]",
    "rip=",
    ", ",
    "é",
    "a",
];

/// Values, right ones and others.
const VALUES: [&str; 40] = [
    "3",
    "0",
    "1",
    "-1",
    "24",
    "32",
    "64",
    "128",
    "1000",
    "1001",
    "2000000",
    "9223372036854775807",
    "99999999999999999999",
    "1.5",
    "nan",
    "true",
    "false",
    "\"1h\"",
    "\"10y\"",
    "\"1ns\"",
    "\"9999999999999y\"",
    "\"-1h\"",
    "\"1h 30m\"",
    "\"PT1H\"",
    "\"enforce\"",
    "\"observe\"",
    "\"nftables\"",
    "\"all\"",
    "\"\"",
    "\"\\n\"",
    "[]",
    "[\"dovecot\"]",
    "[\"x\", \"dovecoat\\n\"]",
    "[\"192.0.2.0/24\", \"/etc/x\", \"office.example\"]",
    "[\"::1/0\"]",
    "[1]",
    "{}",
    "{ a = 1 }",
    "1979-05-27T07:32:00Z",
    "'''\n'''",
];

/// Keys that there are nowhere.
const KEYS: [&str; 5] = [
    "ignor",
    "\"a\\nb\"",
    "jail.\"x\\u001b\".attempts",
    "jail",
    "\"\"",
];

/// Settings, or a filter, out of whatever is in `data`.
///
/// # Panics
/// When something does not hold.
pub fn check(data: &[u8]) {
    let mut choices = Unstructured::new(data);
    match choices.arbitrary::<u8>().unwrap_or_default() {
        0..=95 => settings(&String::from_utf8_lossy(choices.take_rest())),
        96..=231 => settings(&changed(&mut choices).unwrap_or_default()),
        232..=239 => filter(&String::from_utf8_lossy(choices.take_rest())),
        _ => filter(&pattern(&mut choices).unwrap_or_default()),
    }
}

fn settings(text: &str) {
    let available = ["dovecot", "postfix-sasl", "x"]
        .map(|name| (name.to_owned(), (PathBuf::from(name), FILTER.to_owned())))
        .into();
    let files = vec![(PathBuf::from("f.toml"), text.to_owned())];
    match Config::checked(files, &available, Timestamp::UNIX_EPOCH) {
        Err(error) => told(&error, text),
        Ok(config) => {
            for jail in config.jails.values() {
                let Rule {
                    window, ban_time, ..
                } = jail.rule;
                for span in [window, ban_time, jail.growth.longest, jail.growth.forget] {
                    assert!(
                        (Duration::from_secs(1)..=MAX_TIME).contains(&span),
                        "{text}"
                    );
                }
                assert!(jail.rule.attempts.get() <= MAX_LIMIT, "{text}");
                assert!(jail.rule.max_sources <= 2_000_000, "{text}");
            }
            let known = |name: &String| config.filters.contains_key(name.as_str());
            let mut used = config.jails.values().flat_map(|jail| &jail.filters);
            assert!(used.all(known), "{text}");
            assert!(config.trust_time <= MAX_TIME && config.accounts.window <= MAX_TIME);
        }
    }
}

fn filter(text: &str) {
    match compile("f", Path::new("f.toml"), text) {
        Err(error) => told(&error, text),
        Ok(filter) => {
            for message in [&b""[..], b"rip=192.0.2.7, a", text.as_bytes()] {
                let entry = Entry {
                    unit: "x.service",
                    writer: Writer::User("x"),
                    message,
                    at: Timestamp::UNIX_EPOCH,
                };
                assert!(filter.read(&entry).is_none() || filter.understand(message).is_some());
            }
        }
    }
}

/// One line that names the file, and the line in it where there is one.
fn told(error: &Error, text: &str) {
    let said = error.to_string();
    assert!(!said.contains(char::is_control), "{said:?}: {text}");
    assert!(said.starts_with("f.toml:"), "{said:?}: {text}");
    if let Error::Content { line, message, .. } = error {
        let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
        assert!(
            (1..=lines).contains(line) && !message.is_empty(),
            "{said:?}: {text}"
        );
    }
}

/// The settings that come with banjour, some with other values, and some lines that are not there.
fn changed(choices: &mut Unstructured<'_>) -> Result<String> {
    let mut lines: Vec<String> = DEFAULTS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    for _ in 0..choices.int_in_range(1..=6)? {
        let at = choices.choose_index(lines.len())?;
        let value = choices.choose(&VALUES)?;
        let own;
        let value = if choices.ratio(1, 8)? {
            own = choices.arbitrary::<String>()?;
            &own
        } else {
            *value
        };
        let key = match lines[at].split_once(" = ") {
            Some((key, _)) if choices.ratio(7, 8)? => key.to_owned(),
            _ => (*choices.choose(&KEYS)?).to_owned(),
        };
        let line = format!("{key} = {value}");
        if choices.ratio(7, 8)? {
            lines[at] = line;
        } else {
            lines.insert(at, line);
        }
    }
    Ok(lines.join("\n"))
}

/// A filter with one pattern of pieces.
fn pattern(choices: &mut Unstructured<'_>) -> Result<String> {
    let mut regex = |most| -> Result<String> {
        (0..choices.int_in_range(0..=most)?)
            .map(|_| choices.choose(&REGEX).copied())
            .collect()
    };
    let (pattern, parts) = (regex(10)?, [regex(4)?, regex(4)?, regex(2)?]);
    let kind = choices.choose(&["front", "back", "refused", "success", "trouble", "nothing"])?;
    let more = choices.choose(&[
        "",
        "",
        "",
        "unsure = true",
        "explains = '1h'",
        "service = ''",
    ])?;
    let [a, b, c] = parts;
    Ok(format!(
        "description = \"x\"\nunits = [\"x.service\"]\nusers = [\"x\"]\n[parts]\na = '''{a}'''\nb = '''{b}'''\n\
         c = '''{c}'''\n[[pattern]]\nname = \"n\"\nkind = \"{kind}\"\nregex = '''^{pattern}'''\n{more}\n"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 2000,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn settings_are_right_or_told_of_in_one_line(data in vec(any::<u8>(), 0..200)) {
            super::check(&data);
        }
    }
}
