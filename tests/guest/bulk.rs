//! 100,000 bans: as many as the agent saved are in force after a start, and single ones still come and go soon.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::client::Service::Imap;
use crate::host::{Guest, Undo, wait_for};

crate::cases![a_hundred_thousand_bans_are_in_force_after_a_start];
crate::cases![MEASUREMENTS: a_hundred_thousand_bans];

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

/// Half of them IPv4 addresses, half networks of IPv6, in the agent's state; the agent is stopped, the kernel empty.
fn save_bans(guest: &Guest) -> Result<Undo<'_>> {
    let sqlite = "runuser -u banjour -- sqlite3 /var/lib/banjour/banjour.db";
    let forget = format!(
        "systemctl stop banjour
         {sqlite} \"DELETE FROM ban WHERE source LIKE '10.%' OR source LIKE '2001:db8:a%::/64'\"
         systemctl start banjour"
    );
    let forget = guest.undo(forget);
    guest.sh(&format!(
        "systemctl stop banjour
         /usr/libexec/banjour/banjour-netfilter clear
         now=$(date +%s000000)
         {sqlite} \"
             WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {BANS} / 2)
             INSERT INTO ban (source, jail, since, until)
                 SELECT printf('10.0.%d.%d', i / 256, i % 256), 'manual', $now, $now + 7200000000 FROM n
                 UNION ALL
                 SELECT printf('2001:db8:a%02x:%x::/64', i / 256, i % 256 + 1), 'manual', $now, $now + 7200000000 FROM n\""
    ))?;
    Ok(forget)
}

fn in_force(guest: &Guest) -> Result<()> {
    wait_for("all bans to be in force", LOADED, || {
        let count = guest.property("InForce").unwrap_or_default();
        Ok(count.as_u64() >= Some(BANS))
    })
}

fn a_hundred_thousand_bans(guest: &Guest) -> Result<()> {
    let _forget = save_bans(guest)?;
    let start = Instant::now();
    guest.sh("systemctl start banjour")?;
    in_force(guest)?;
    let loaded = start.elapsed();
    ensure!(guest.kept_out()?.len() as u64 >= BANS, "not all are there");
    let agent = guest.process_field("banjour.service", "RssAnon")?;
    let helper = guest.process_field(guest.firewall.unit(), "VmHWM")?;
    let mut shown = Vec::new();
    for command in [
        "status",
        "list",
        "list --json",
        "why 10.0.0.1",
        "why 198.18.254.1",
    ] {
        let asked = Instant::now();
        guest.sh(&format!("banjour {command} >/dev/null"))?;
        shown.push(format!("\"{command}\" {:.2?}", asked.elapsed()));
    }
    let mut times = Vec::new();
    for _ in 0..10 {
        let source = guest.source();
        let banned = Instant::now();
        guest.ban(&source.to_string())?;
        while guest.attackers.knock(source, Imap.port())? {}
        times.push(banned.elapsed());
        guest.unban(&source.to_string())?;
    }
    times.sort();
    eprintln!(
        "{}{}: {BANS} bans in force after {loaded:.1?}; the agent has {agent}, the helper had {helper}; one more ban takes {:.1?}; {}",
        guest.release,
        guest.firewall.suffix(),
        times[times.len() / 2],
        shown.join(", ")
    );
    Ok(())
}
