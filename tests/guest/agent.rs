//! The agent in a guest, as its users see it: over the bus, in its journal, in the kernel's sets, and from outside.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::client::Service;
use crate::host::{Guest, Output, at_once, wait_for};
use crate::kernel::Firewall;

/// A ban takes milliseconds; a loaded test machine may need longer.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// When no ban has come by now, none will: ten times what one takes at worst.
const NEVER: Duration = Duration::from_millis(1500);

const MANAGER: [&str; 3] = [
    "org.banjour.Banjour1",
    "/org/banjour/Banjour1",
    "org.banjour.Banjour1.Manager",
];

/// What banjour calls the client of an address: IPv4's is itself, IPv6's is its /64.
pub(crate) fn client(source: IpAddr) -> String {
    match source {
        IpAddr::V4(_) => source.to_string(),
        IpAddr::V6(v6) => {
            let network = u128::from(v6) >> 64 << 64;
            format!("{}/64", Ipv6Addr::from(network))
        }
    }
}

/// One line of `ListBans`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ban {
    pub(crate) source: String,
    pub(crate) jail: String,
    pub(crate) since: u64,
    pub(crate) until: u64,
}

impl Guest {
    /// Stops the agent and puts bans into its state: half of them IPv4 addresses, half networks of IPv6.
    pub(crate) fn save_bans(&self, count: u64) -> Result<()> {
        self.sh(&format!(
            "systemctl stop banjour
             now=$(date +%s000000)
             runuser -u banjour -- sqlite3 /var/lib/banjour/banjour.db \"
                 WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count} / 2)
                 INSERT INTO ban (source, jail, since, until)
                     SELECT printf('10.0.%d.%d', i / 256, i % 256), 'manual', $now, $now + 7200000000 FROM n
                     UNION ALL
                     SELECT printf('2001:db8:a%02x:%x::/64', i / 256, i % 256 + 1), 'manual', $now, $now + 7200000000 FROM n\""
        ))?;
        Ok(())
    }

    /// Calls a method of the manager: `Unban sst 192.0.2.1 "" 0`. Answers the arguments of the reply.
    pub(crate) fn call(&self, method: &[&str]) -> Result<Value> {
        let output =
            self.run(&[&["busctl", "--json=short", "call"], &MANAGER[..], method].concat())?;
        ensure!(output.code == 0, "{}: {}", method.join(" "), output.err);
        let reply: Value = serde_json::from_str(&output.out).unwrap_or_default();
        Ok(reply["data"].clone())
    }

    /// A property of the manager.
    pub(crate) fn property(&self, name: &str) -> Result<Value> {
        self.property_of(MANAGER[1], MANAGER[2], name)
    }

    pub(crate) fn property_of(&self, path: &str, interface: &str, name: &str) -> Result<Value> {
        let output = self.run(&[
            "busctl",
            "--json=short",
            "get-property",
            MANAGER[0],
            path,
            interface,
            name,
        ])?;
        ensure!(output.code == 0, "{interface}.{name}: {}", output.err);
        let reply: Value = serde_json::from_str(&output.out).with_context(|| output.out.clone())?;
        Ok(reply["data"].clone())
    }

    pub(crate) fn problems(&self) -> Result<Vec<String>> {
        Ok(serde_json::from_value(self.property("Problems")?)?)
    }

    pub(crate) fn bans(&self) -> Result<Vec<Ban>> {
        let reply: Vec<Vec<(String, String, u64, u64)>> =
            serde_json::from_value(self.call(&["ListBans"])?)?;
        let bans = reply.into_iter().flatten();
        Ok(bans
            .map(|(source, jail, since, until)| Ban {
                source,
                jail,
                since,
                until,
            })
            .collect())
    }

    /// The bans of an address itself, and of the client that it belongs to.
    pub(crate) fn bans_of(&self, source: IpAddr) -> Result<Vec<Ban>> {
        let names = [source.to_string(), client(source)];
        let mut bans = self.bans()?;
        bans.retain(|ban| names.contains(&ban.source));
        Ok(bans)
    }

    /// `banjour ban` with more arguments, which must work.
    pub(crate) fn ban(&self, arguments: &str) -> Result<String> {
        self.sh(&format!("banjour ban {arguments}"))
    }

    pub(crate) fn unban(&self, arguments: &str) -> Result<String> {
        self.sh(&format!("banjour unban {arguments}"))
    }

    /// How many connections of this source are established at the host.
    pub(crate) fn connections_of(&self, source: IpAddr) -> Result<u32> {
        let count = format!(
            "ss -tnH state established | grep -cE ' (\\[|\\[::ffff:)?{source}\\]?:[0-9]+ *$' || true"
        );
        Ok(self.sh(&count)?.parse()?)
    }

    /// Fails unless the source is banned soon, in the kernel too, and finds every mail port closed.
    pub(crate) fn expect_banned(&self, source: IpAddr) -> Result<Vec<Ban>> {
        wait_for(&format!("a ban of {source}"), SOON, || {
            Ok(!self.bans_of(source)?.is_empty())
        })?;
        self.expect_closed(source)?;
        self.bans_of(source)
    }

    /// The same, in this jail. PAM may have brought a ban before, and cut off the client before Postfix could say a word.
    pub(crate) fn expect_banned_in(&self, source: IpAddr, jail: &str) -> Result<Ban> {
        self.expect_banned(source)?;
        let mut found = None;
        wait_for(&format!("a ban of {source} in {jail}"), SOON, || {
            let bans = self.bans_of(source)?;
            found = bans.into_iter().find(|ban| ban.jail == jail);
            Ok(found.is_some())
        })?;
        found.context("no ban")
    }

    /// The same for several.
    pub(crate) fn expect_all_banned(&self, sources: &[IpAddr]) -> Result<()> {
        at_once(sources, |&source| self.expect_banned(source).map(drop))
    }

    /// Fails unless every mail port is closed to the source, soon.
    pub(crate) fn expect_closed(&self, source: IpAddr) -> Result<()> {
        wait_for(&format!("the kernel to drop {source}"), SOON, || {
            self.kernel_has(source)
        })?;
        let open = self.attackers.open_ports(source)?;
        ensure!(
            open.is_empty(),
            "{source} is banned, but ports {open:?} answer it"
        );
        Ok(())
    }

    /// Fails if any of these gets in at any time while something is done.
    pub(crate) fn expect_shut_out_while(
        &self,
        sources: &[IpAddr],
        act: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let knocking = scope.spawn(|| {
                at_once(sources, |&source| {
                    while !over.load(Ordering::Relaxed) {
                        let open = self.attackers.knock(source, Service::Imap.port())?;
                        ensure!(!open, "{source} got in");
                    }
                    Ok(())
                })
            });
            let acted = act();
            over.store(true, Ordering::Relaxed);
            knocking.join().expect("knocking does not panic")?;
            acted
        })
    }

    /// Fails unless this keeps banned sources out, as the agent says, soon.
    pub(crate) fn expect_firewall(&self, name: &str) -> Result<()> {
        wait_for(name, SOON, || Ok(self.property("Firewall")? == name))
    }

    /// How many packets and bytes of banned sources the agent says were dropped; on firewalld it can't tell.
    pub(crate) fn dropped(&self) -> Result<(u64, u64)> {
        let (counted, packets, bytes): (bool, u64, u64) =
            serde_json::from_value(self.call(&["Dropped"])?)?;
        let counts = self.firewall != Firewall::Firewalld;
        ensure!(counted == counts, "counted: {counted}");
        Ok((packets, bytes))
    }

    /// Fails unless every mail port is open to the source, soon.
    pub(crate) fn expect_open(&self, source: IpAddr) -> Result<()> {
        wait_for(&format!("the kernel to let {source} in"), SOON, || {
            Ok(!self.kernel_has(source)?)
        })?;
        at_once(&Service::ALL.map(Service::port), |&port| {
            self.attackers.expect_answer(source, port)
        })
    }

    /// Fails unless the source is not banned any more, soon, and gets in.
    pub(crate) fn expect_lifted(&self, source: IpAddr) -> Result<()> {
        wait_for(&format!("the end of the ban of {source}"), SOON, || {
            Ok(self.bans_of(source)?.is_empty())
        })?;
        self.expect_open(source)
    }

    /// Waits long enough for a ban of any of these, and fails if one came.
    pub(crate) fn expect_never_banned(&self, sources: &[IpAddr]) -> Result<()> {
        std::thread::sleep(NEVER);
        at_once(sources, |&source| {
            let bans = self.bans_of(source)?;
            ensure!(
                bans.is_empty(),
                "{source} is banned, and should not be: {bans:?}"
            );
            ensure!(
                !self.kernel_has(source)?,
                "the kernel drops {source}, and no ban is listed"
            );
            Ok(())
        })
    }

    /// The agent's process.
    pub(crate) fn main_pid(&self) -> Result<u32> {
        Ok(self.sh("systemctl show -P MainPID banjour")?.parse()?)
    }

    /// Waits until the agent runs and answers, not being process `old` (0: any will do).
    pub(crate) fn wait_until_up(&self, old: u32) -> Result<()> {
        wait_for("the agent to be up", SOON, || {
            let active = self.run(&["systemctl", "is-active", "banjour"])?.out.trim() == "active";
            Ok(active && self.main_pid()? != old && self.property("Version").is_ok())
        })
    }

    /// What the kernel says of a service's process: a field of its `status` (proc(5)).
    pub(crate) fn process_field(&self, service: &str, name: &str) -> Result<String> {
        let status = format!("cat /proc/$(systemctl show -P MainPID {service})/status");
        let status = self.sh(&status)?;
        let field = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        let field = field.with_context(|| format!("no {name} in {status}"))?;
        Ok(field.trim().to_owned())
    }

    /// Fails unless systemd finds a service's sandbox at least as tight as this, and nothing wrong with its file.
    pub(crate) fn expect_sandbox(&self, service: &str, exposure: f64) -> Result<()> {
        let verdict = self.sh(&format!(
            "systemd-analyze security --no-pager {service} | tail -n 1"
        ))?;
        let found: f64 = verdict
            .split_whitespace()
            .find_map(|word| word.parse().ok())
            .with_context(|| format!("no figure in {verdict}"))?;
        ensure!(found <= exposure, "{verdict}");
        let faults = self.run(&["systemd-analyze", "verify", service])?;
        ensure!(!faults.err.contains("banjour"), "{}", faults.err);
        Ok(())
    }

    /// What `STATUS=` says.
    pub(crate) fn status_text(&self) -> Result<String> {
        self.sh("systemctl show -P StatusText banjour")
    }

    /// The agent's own entries that match, each as the journal exports it.
    pub(crate) fn journal(&self, matches: &str) -> Result<Vec<Value>> {
        let lines = self.sh(&format!("journalctl -q -u banjour -o json {matches}"))?;
        lines
            .lines()
            .map(|line| Ok(serde_json::from_str(line)?))
            .collect()
    }

    /// The guest's time, for `journalctl --since=`.
    pub(crate) fn now(&self) -> Result<String> {
        self.sh("date '+%F %T.%6N'")
    }

    /// A configuration drop-in, reloaded; taken away again at the end of the case.
    pub(crate) fn configure(&self, name: &str, toml: &str) -> Result<crate::host::Undo<'_>> {
        let path = format!("/etc/banjour/banjour.toml.d/{name}.toml");
        self.write(&path, toml)?;
        let undo = self.undo(format!("rm -f {path}; systemctl reload-or-restart banjour"));
        self.sh("systemctl reload banjour")?;
        Ok(undo)
    }

    /// Calls a method of the manager as dbus-send writes it, which tells an error's name.
    pub(crate) fn dbus_send(&self, method: &str) -> Result<Output> {
        let [name, path, interface] = MANAGER;
        let send =
            format!("dbus-send --system --print-reply --dest={name} {path} {interface}.{method}");
        self.run(&["sh", "-c", &send])
    }

    /// What helps to understand a failed case.
    pub(crate) fn report(&self) -> String {
        let commands = [
            "journalctl -u 'banjour*' -u firewalld -n 60 -o short-precise --no-hostname",
            "systemctl status banjour --no-pager -n 0",
            "banjour status | head -n 40",
            self.firewall.show(),
            "journalctl -n 40 -o short-precise --no-hostname -t dovecot -t auth -t postfix/smtpd \
             -t postfix/submission/smtpd -t postfix/submissions/smtpd",
        ];
        let mut report = String::new();
        for command in commands {
            let shown = match self.run(&["sh", "-c", command]) {
                Ok(output) => output.out + &output.err,
                Err(error) => format!("{error:#}\n"),
            };
            report.extend(["\n# ", command, "\n", &shown]);
        }
        report
    }
}
