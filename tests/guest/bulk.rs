//! 100,000 bans: as many as the agent saved are in force after a start, and single ones still come and go soon.

use std::time::Duration;

use anyhow::Result;

use crate::host::{Guest, Undo, wait_for};

crate::cases![a_hundred_thousand_bans_are_in_force_after_a_start];

const BANS: u64 = 100_000;

/// It takes a second or two where nothing else runs.
const LOADED: Duration = Duration::from_secs(20);

fn a_hundred_thousand_bans_are_in_force_after_a_start(guest: &Guest) -> Result<()> {
    let _forget = save_bans(guest)?;
    guest.sh("systemctl start banjour")?;
    in_force(guest)?;
    guest.expect_exactly_the_bans(LOADED)?;
    for source in [guest.source(), guest.source_v6()] {
        guest.ban(&source.to_string())?;
        guest.expect_closed(source)?;
        guest.unban(&source.to_string())?;
        guest.expect_open(source)?;
    }
    Ok(())
}

/// In the agent's state; the agent is stopped, the kernel empty.
fn save_bans(guest: &Guest) -> Result<Undo<'_>> {
    let sqlite = "runuser -u banjour -- sqlite3 /var/lib/banjour/banjour.db";
    let forget = format!(
        "systemctl stop banjour
         {sqlite} \"DELETE FROM ban WHERE source LIKE '10.%' OR source LIKE '2001:db8:a%::/64'\"
         systemctl start banjour"
    );
    let forget = guest.undo(forget);
    guest.save_bans(BANS)?;
    guest.sh("/usr/libexec/banjour/banjour-netfilter clear")?;
    Ok(forget)
}

fn in_force(guest: &Guest) -> Result<()> {
    wait_for("all bans to be in force", LOADED, || {
        let count = guest.property("InForce").unwrap_or_default();
        Ok(count.as_u64() >= Some(BANS))
    })
}
