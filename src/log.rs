//! Our own journal entries, and the standard interface to say how much of them is wanted.
//!
//! Fields are sent as journald knows them (`BANJOUR_SOURCE` and so on); `units/banjour.catalog` explains each
//! `MESSAGE_ID` to `journalctl -x`. Without journald's socket, lines go to standard error.

mod journald;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use zbus::message::Header;
use zbus::{Connection, fdo};

use crate::polkit;
use journald::Journald;
pub use journald::Lines;

/// The daemon's `SYSLOG_IDENTIFIER`.
pub const IDENTIFIER: &str = "banjourd";

/// `MESSAGE_ID`s, as in `units/banjour.catalog`.
pub mod id {
    /// A source was banned.
    pub const BAN: &str = "a1d1a07c5eb64eb4a4c9e3d5ee5b1f01";
    /// A ban ended.
    pub const UNBAN: &str = "a1d1a07c5eb64eb4a4c9e3d5ee5b1f02";
    /// Protection is degraded.
    pub const PROBLEM: &str = "a1d1a07c5eb64eb4a4c9e3d5ee5b1f03";
    /// It is no more.
    pub const SOLVED: &str = "a1d1a07c5eb64eb4a4c9e3d5ee5b1f04";
    /// Another configuration is in force.
    pub const RELOAD: &str = "a1d1a07c5eb64eb4a4c9e3d5ee5b1f05";
    /// A source would have been banned.
    pub const OBSERVED: &str = "a1d1a07c5eb64eb4a4c9e3d5ee5b1f07";
    /// An account is under attack.
    pub const SIEGE: &str = "a1d1a07c5eb64eb4a4c9e3d5ee5b1f08";
    /// Somebody else keeps banned sources out.
    pub const FIREWALL: &str = "a1d1a07c5eb64eb4a4c9e3d5ee5b1f09";
    /// A login has failed; told at level debug.
    pub const ATTEMPT: &str = "a1d1a07c5eb64eb4a4c9e3d5ee5b1f0a";
    /// A source was not banned, since it never is.
    pub const BAN_IGNORED: &str = "5d0e3c1f7b8f4e0e9a55c60cf1b7a2d6";
}

/// The levels' names (syslog(3)) with ours; the first that fits is shown.
const LEVELS: [(&str, Level); 8] = [
    ("info", Level::INFO),
    ("notice", Level::INFO),
    ("debug", Level::TRACE),
    ("warning", Level::WARN),
    ("err", Level::ERROR),
    ("crit", Level::ERROR),
    ("alert", Level::ERROR),
    ("emerg", Level::ERROR),
];

const TARGET_JOURNAL: &str = "journal";
const TARGET_CONSOLE: &str = "console";

/// `org.freedesktop.LogControl1`, for `systemctl service-log-level`.
#[derive(Debug)]
pub struct LogControl {
    level: reload::Handle<LevelFilter, Registry>,
    target: &'static str,
}

/// Starts to log. To be called once.
#[must_use]
pub fn init() -> (LogControl, Lines) {
    let (filter, level) = reload::Layer::new(LevelFilter::INFO);
    let registry = tracing_subscriber::registry().with(filter);
    let (target, lines) = if let Ok((journald, lines)) = Journald::open(IDENTIFIER) {
        registry.with(journald).init();
        (TARGET_JOURNAL, lines)
    } else {
        registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(std::io::stderr)
                    .without_time(),
            )
            .init();
        (TARGET_CONSOLE, Lines::none())
    };
    (LogControl { level, target }, lines)
}

#[zbus::interface(name = "org.freedesktop.LogControl1", introspection_docs = false)]
impl LogControl {
    #[zbus(property(emits_changed_signal = "false"))]
    fn log_level(&self) -> String {
        let current = self
            .level
            .clone_current()
            .and_then(LevelFilter::into_level)
            .unwrap_or(Level::ERROR);
        LEVELS
            .iter()
            .find(|(_, level)| *level == current)
            .map_or("err", |(name, _)| name)
            .to_owned()
    }

    #[zbus(property)]
    async fn set_log_level(
        &self,
        level: String,
        #[zbus(header)] header: Option<Header<'_>>,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<()> {
        let root = match &header {
            Some(header) => polkit::is_root(connection, header).await?,
            None => false,
        };
        if !root {
            return Err(fdo::Error::AccessDenied(
                "only root may change the log level".to_owned(),
            ));
        }
        let Some((_, level)) = LEVELS.iter().find(|(name, _)| *name == level) else {
            let names = LEVELS.map(|(name, _)| name).join(", ");
            return Err(fdo::Error::InvalidArgs(format!(
                "{level:?} is not a log level; there are: {names}"
            )));
        };
        self.level
            .reload(LevelFilter::from_level(*level))
            .map_err(|e| fdo::Error::Failed(e.to_string()))
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn log_target(&self) -> &'static str {
        self.target
    }

    #[zbus(property(emits_changed_signal = "const"))]
    #[allow(clippy::unused_self, reason = "zbus wants a method")]
    fn syslog_identifier(&self) -> &'static str {
        IDENTIFIER
    }
}

#[cfg(test)]
mod tests {
    /// `journalctl -x` explains each kind of entry.
    #[test]
    fn every_message_id_is_in_the_catalog_once() {
        let catalog = include_str!("../units/banjour.catalog");
        let source = include_str!("log.rs");
        let ids = source.lines().filter_map(|line| {
            let (_, id) = line.trim().split_once(": &str = \"")?;
            id.strip_suffix("\";").filter(|id| id.len() == 32)
        });
        let mut ids: Vec<&str> = ids.collect();
        let explained = catalog.lines().filter_map(|line| line.strip_prefix("-- "));
        let mut explained: Vec<&str> = explained.collect();
        ids.sort_unstable();
        explained.sort_unstable();
        assert!(ids.len() >= 10);
        assert_eq!(ids, explained);
    }
}
