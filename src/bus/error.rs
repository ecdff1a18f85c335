//! The errors that callers get.

use zbus::fdo;
use zbus::message::{Header, Message};
use zbus::names::ErrorName;

/// Errors of our own, `org.banjour.Banjour1.Error.…`. Each text says what was wrong and what is allowed.
#[derive(Clone, Debug, PartialEq, zbus::DBusError)]
#[zbus(prefix = "org.banjour.Banjour1.Error")]
pub enum Error {
    /// Any other error on the bus.
    #[zbus(error)]
    Bus(zbus::Error),
    /// Neither an address nor a prefix.
    InvalidSource(String),
    /// A flag that is not defined.
    InvalidFlags(String),
    /// A time that is too long.
    InvalidDuration(String),
    /// No jail of this name is enabled.
    NoSuchJail(String),
    /// The source is on the list of those never banned.
    SourceIgnored(String),
    /// The configuration on disk is faulty; the one before stays in force.
    ReloadFailed(String),
    /// Something else.
    Failed(String),
}

/// What a method may fail with: an error of our own, or a standard one (`org.freedesktop.DBus.Error.AccessDenied`).
#[derive(Debug)]
pub enum CallError {
    /// Ours.
    Own(Error),
    /// The bus'.
    Standard(fdo::Error),
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}

impl From<fdo::Error> for CallError {
    fn from(error: fdo::Error) -> Self {
        Self::Standard(error)
    }
}

impl From<Error> for fdo::Error {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl zbus::DBusError for CallError {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        match self {
            Self::Own(error) => error.create_reply(call),
            Self::Standard(error) => error.create_reply(call),
        }
    }

    fn name(&self) -> ErrorName<'_> {
        match self {
            Self::Own(error) => error.name(),
            Self::Standard(error) => error.name(),
        }
    }

    fn description(&self) -> Option<&str> {
        match self {
            Self::Own(error) => error.description(),
            Self::Standard(error) => error.description(),
        }
    }
}
