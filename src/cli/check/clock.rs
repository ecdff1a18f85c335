//! The clock: bans begin and end by it.

use jiff::{SignedDuration, Timestamp};
use zbus::fdo::PropertiesProxy;

use super::Host;
use super::report::{Group::Clock, Report};
use crate::journal::{Place, extent};

/// Entries are dated by journald's clock, which is ours, and read later.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

pub(super) async fn look(report: &mut Report, host: &Host) {
    if let Ok(Some((_, last))) = extent(&Place::Root("/".into())) {
        let ahead = last.duration_since(Timestamp::now());
        if ahead > TOLERANCE {
            report.do_this(
                Clock,
                format!(
                    "the journal has entries of {} min in the future; the clock was set back, and bans of then end too late",
                    ahead.as_mins()
                ),
                "set the clock right (timedatectl), or rotate the journal away: journalctl --rotate --vacuum-time=1s",
            );
        }
    }
    match is_synchronized(host).await {
        Ok(true) => report.fine(Clock, "it is synchronized"),
        Ok(false) => report.advise(
            Clock,
            "it is not synchronized: bans last by it, and logs are compared by it",
            "apt install systemd-timesyncd, or chrony; in a container, the host does it",
        ),
        Err(error) => report.unknown(
            Clock,
            format!("whether it is synchronized: {error}"),
            "timedatectl",
        ),
    }
}

async fn is_synchronized(host: &Host) -> zbus::Result<bool> {
    let properties = PropertiesProxy::builder(&host.connection)
        .destination("org.freedesktop.timedate1")
        .path("/org/freedesktop/timedate1")
        .build()
        .await?;
    let value = properties
        .get("org.freedesktop.timedate1".try_into()?, "NTPSynchronized")
        .await?;
    bool::try_from(value)
}
