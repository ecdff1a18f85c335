//! A time in half the memory that a [`Timestamp`] takes, for tables of which each row has some.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// µs since the epoch, as the journal and the database have times. What is beyond a µs is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Usec(i64);

impl Usec {
    /// Before all times.
    pub const MIN: Self = Self(i64::MIN);

    /// The time.
    #[must_use]
    pub fn time(self) -> Timestamp {
        Timestamp::from_microsecond(self.0).unwrap_or(if self.0 < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        })
    }
}

impl From<Timestamp> for Usec {
    fn from(at: Timestamp) -> Self {
        Self(at.as_microsecond())
    }
}
