//! What fail2ban's configuration says about mail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::filter::Choice;
use super::ini::{At, Error, Value};
use super::jail::{Jail, Options};
use super::{files, quoted, shown};
use crate::config::MANUAL;
use crate::ignore::Entry;
use crate::source::Source;

/// Where fail2ban keeps its bans unless told otherwise.
const DATABASE: &str = "/var/lib/fail2ban/fail2ban.sqlite3";

/// Longest name of a jail.
const MAX_NAME: usize = 64;

/// fail2ban's configuration in banjour's words.
#[derive(Debug, Default)]
pub(super) struct Import {
    pub(super) directory: PathBuf,
    /// Jails that are enabled, and for which banjour has filters.
    pub(super) jails: Vec<Jail>,
    /// Enabled jails for mail programs that banjour has no filter for, each with its filter's name.
    pub(super) without_filter: Vec<(String, String)>,
    /// Enabled jails that have nothing to do with mail.
    pub(super) others: Vec<String>,
    pub(super) ignore: Vec<Entry>,
    /// What does not belong to one jail.
    pub(super) notes: Vec<String>,
    /// Every mail jail, enabled or not, with banjour's name of it where there can be one.
    pub(super) names: BTreeMap<String, Option<String>>,
    /// What a ban lasts in each jail.
    pub(super) ban_times: BTreeMap<String, f64>,
}

/// `ignoreip` of all jails.
#[derive(Default)]
struct Ignored {
    /// Each word, and the jails that have it.
    words: BTreeMap<String, BTreeSet<String>>,
    own_addresses: bool,
}

impl Import {
    /// Reads the configuration in fail2ban's directory.
    pub(super) fn read(directory: &Path) -> Result<Self, Error> {
        let files = files::read(directory, "jail")?;
        if !files.any() {
            return Err(Error::File {
                path: directory.to_owned(),
                message:
                    "there is no jail.conf and no jail.local; is fail2ban's configuration here?"
                        .to_owned(),
            });
        }
        let mut import = Self {
            directory: directory.to_owned(),
            ..Self::default()
        };
        for path in files.left_out {
            import.notes.push(format!(
                "{} is not UTF-8: fail2ban leaves it out, and so does this",
                super::one_line(&path)
            ));
        }
        let mut ini = files.ini;
        for (name, text) in [
            ("fail2ban_version", "1"),
            ("fail2ban_confpath", "/etc/fail2ban"),
        ] {
            let at = At {
                path: directory.into(),
                line: 1,
            };
            let text = text.to_owned();
            ini.defaults.insert(name.to_owned(), Value { text, at });
        }
        let mut ignored = Ignored::default();
        for jail in ini.sections.keys().filter(|name| *name != "INCLUDES") {
            import.add(Options { ini: &ini, jail }, &mut ignored)?;
        }
        let mut filters = import.jails.iter().flat_map(|jail| &jail.filters);
        if filters.any(|name| name.ends_with("-probe") || name.ends_with("-reject")) {
            import.notes.push(
                "Filters …-reject and …-probe: not only attackers do what these know. Each file in \
                 /usr/lib/banjour/filters says what the risk is"
                    .to_owned(),
            );
        }
        import.ignore(&ignored);
        Ok(import)
    }

    /// Where fail2ban keeps its bans.
    pub(super) fn database(&self) -> Result<PathBuf, Error> {
        let ini = files::read(&self.directory, "fail2ban")?.ini;
        let file = ini.get("Definition", "dbfile")?;
        Ok(file.map_or_else(|| DATABASE.into(), |value| value.text.into()))
    }

    fn add(&mut self, options: Options<'_>, ignored: &mut Ignored) -> Result<(), Error> {
        let jail = options.jail.to_owned();
        let enabled = options.yes("enabled", false)?;
        let choice = Choice::read(&options.text("filter")?);
        let patterns = self.patterns(options, &choice.name);
        let Some(watched) = choice.watched(&jail, &patterns) else {
            if enabled {
                self.others.push(jail);
            }
            return Ok(());
        };
        let name = (!watched.filters.is_empty()).then(|| self.name(&jail));
        self.names.insert(jail.clone(), name.clone());
        if let Ok(time) = options.seconds("bantime") {
            self.ban_times.insert(jail.clone(), time);
        }
        if !enabled {
            return Ok(());
        }
        let Some(name) = name else {
            self.without_filter.push((jail, choice.name));
            return Ok(());
        };
        for word in options
            .text("ignoreip")?
            .split(|c: char| c == ',' || c.is_whitespace())
        {
            let jails = ignored.words.entry(word.to_owned()).or_default();
            jails.insert(jail.clone());
        }
        ignored.own_addresses |= options.yes("ignoreself", true)?;
        let local = format!("filter.d/{}.local", shown(&choice.name));
        let local = self.directory.join(&local).exists().then_some(local);
        self.jails.push(Jail::read(options, name, watched, local)?);
        Ok(())
    }

    /// What tells for what a filter is: its own file, and the jail's patterns. Where the file can't be read, its name
    /// must do.
    fn patterns(&self, options: Options<'_>, filter: &str) -> String {
        let file = files::read(&self.directory.join("filter.d"), filter).unwrap_or_default();
        let definition = file.ini.sections.get("Definition");
        let texts = definition.into_iter().flat_map(BTreeMap::values);
        let own = options.ini.raw(options.jail, "failregex");
        let texts: Vec<&str> = texts.chain(own).map(|value| &*value.text).collect();
        texts.join("\n")
    }

    /// A name that banjour allows, and that no other jail has.
    fn name(&self, jail: &str) -> String {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let mut base: String = jail
            .chars()
            .map(|c| if allowed(c) { c } else { '-' })
            .collect();
        base.truncate(MAX_NAME);
        let mut name = base.clone();
        let mut count = 1;
        while name == MANUAL || self.names.values().flatten().any(|taken| *taken == name) {
            count += 1;
            let end = format!("-{count}");
            base.truncate(MAX_NAME - end.len());
            name = base.clone() + &end;
        }
        name
    }

    fn ignore(&mut self, ignored: &Ignored) {
        let all = self.jails.len();
        let mut unknown = Vec::new();
        for (word, jails) in ignored.words.iter().filter(|(word, _)| !word.is_empty()) {
            let Some(entry) = entry(word) else {
                unknown.push(quoted(word));
                continue;
            };
            if jails.len() < all {
                let jails: Vec<_> = jails.iter().map(|name| shown(name)).collect();
                self.notes.push(format!(
                    "ignoreip {entry} was for {} alone; \"ignore\" is for all jails",
                    jails.join(", ")
                ));
            }
            self.ignore.push(entry);
        }
        self.ignore.sort();
        self.ignore.dedup();
        if !unknown.is_empty() {
            self.notes.push(format!(
                "ignoreip {}: neither an address, nor a prefix, nor a host name with a dot",
                unknown.join(", ")
            ));
        }
        if !ignored.own_addresses {
            self.notes.push(
                "ignoreself = false: banjour never bans this host's own addresses".to_owned(),
            );
        }
    }
}

/// An address, a prefix or a host name, as fail2ban takes them.
fn entry(word: &str) -> Option<Entry> {
    let name = || match word.parse() {
        Ok(Entry::Name(name)) => Some(Entry::Name(name)),
        Ok(Entry::Source(_) | Entry::File(_)) | Err(_) => None,
    };
    source(word).map(Entry::Source).or_else(name)
}

/// Also `192.0.2.0/255.255.255.0` and `[2001:db8::7]`.
fn source(word: &str) -> Option<Source> {
    let word = word
        .strip_prefix('[')
        .and_then(|word| word.strip_suffix(']'))
        .unwrap_or(word);
    if let Some((address, mask)) = word.split_once('/')
        && let Ok(mask) = mask.parse::<std::net::Ipv4Addr>()
    {
        let length = mask.to_bits().leading_ones();
        let plain = mask.to_bits().count_ones() == length;
        return plain
            .then(|| format!("{address}/{length}").parse().ok())
            .flatten();
    }
    word.parse().ok()
}
