//! How long it takes from the line in the journal to the closed port.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::agent::SOON;
use crate::client::Service::{Imap, Submissions};
use crate::host::{Guest, at_once, wait_for};

crate::cases![from_the_line_to_the_closed_port];

fn from_the_line_to_the_closed_port(guest: &Guest) -> Result<()> {
    // A mail port where nobody listens: knocking there costs the servers nothing.
    let _listen =
        guest.undo("mv /var/tmp/master.cf /etc/postfix/master.cf; systemctl restart postfix");
    guest.sh(
        "cp -p /etc/postfix/master.cf /var/tmp; postconf -M# submissions/inet; systemctl restart postfix",
    )?;
    let nobody = guest.source();
    wait_for("the port to be nobody's", SOON, || {
        guest.attackers.refused(nobody, Submissions.port())
    })?;

    let sources: [IpAddr; 10] = std::array::from_fn(|_| guest.source());
    at_once(&sources, |&source| guest.attackers.fail(source, Imap, 2))?;
    let mut times = Vec::new();
    for source in sources {
        times.push(reaction(guest, source).with_context(|| format!("{source}"))?);
    }
    times.sort();
    let median = times[times.len() / 2];
    eprintln!(
        "{}: from the line to the closed port: {median:.1?} (median), {times:.1?}",
        guest.release
    );
    Ok(())
}

/// The third attempt, while somebody knocks at another port again and again.
fn reaction(guest: &Guest, source: IpAddr) -> Result<Duration> {
    let closed = std::thread::scope(|scope| {
        let guessing = scope.spawn(|| guest.attackers.fail(source, Imap, 1));
        let mut closed = SystemTime::now();
        let end = SystemTime::now() + SOON;
        while guest.attackers.refused(source, Submissions.port())? {
            ensure!(SystemTime::now() < end, "the port is still open");
            std::thread::sleep(Duration::from_millis(1));
            closed = SystemTime::now();
        }
        guessing.join().expect("guessing does not panic")?;
        anyhow::Ok(closed)
    })?;
    // Three failures, three lines of PAM's; the third is the first word about the third.
    let lines = guest.sh(&format!(
        "journalctl -q -o json -u dovecot -t auth -g 'rhost={source} '"
    ))?;
    let line = lines
        .lines()
        .nth(2)
        .context("PAM did not tell of three failures")?;
    let line: serde_json::Value = serde_json::from_str(line)?;
    let written = line["_SOURCE_REALTIME_TIMESTAMP"]
        .as_str()
        .context("the line has no time")?;
    let written = SystemTime::UNIX_EPOCH + Duration::from_micros(written.parse()?);
    // Less than nothing: the knock was already on its way.
    Ok(closed.duration_since(written).unwrap_or_default())
}
