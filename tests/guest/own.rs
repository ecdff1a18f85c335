//! The rules and sets that are banjour's own, by its helper: how settings change them, and how they go.

use std::env::consts::ARCH;
use std::net::IpAddr;
use std::process::Command;

use anyhow::{Result, bail, ensure};

use crate::agent::SOON;
use crate::client::Service::Imap;
use crate::host::{Guest, OTHER_PORT, wait_for};

crate::cases![ports_and_reject_are_as_set, a_cleared_kernel_holds_nothing];
crate::cases![NFTABLES: a_clock_that_is_set_has_the_kernel_count_anew];

fn ports_and_reject_are_as_set(guest: &Guest) -> Result<()> {
    let sources = [guest.source(), guest.source_v6()];
    for source in sources {
        guest.ban(&source.to_string())?;
        guest.expect_banned(source)?;
    }
    let others = [guest.source(), guest.source_v6()];
    let attackers = &guest.attackers;
    let answers = |source: IpAddr, port: u16| {
        if attackers.refused(source, port)? {
            return anyhow::Ok("a refusal");
        }
        Ok(match attackers.reachable(source, port) {
            Ok(true) => "an open port",
            Ok(false) => "nothing",
            Err(_) => "a late refusal",
        })
    };
    for (settings, mail, ssh) in [
        ("ports = \"all\"\n", "nothing", "nothing"),
        ("reject = true\n", "a refusal", "an open port"),
        ("ports = \"all\"\nreject = true\n", "a refusal", "a refusal"),
        ("", "nothing", "an open port"),
    ] {
        let _undo = guest.configure("90-ports", settings)?;
        let banned = sources.map(|source| (source, (mail, ssh)));
        let others = others.map(|source| (source, ("an open port", "an open port")));
        for (source, expected) in banned.into_iter().chain(others) {
            wait_for("the settings to be in force", SOON, || {
                let found = (answers(source, Imap.port())?, answers(source, OTHER_PORT)?);
                Ok(found == expected)
            })?;
        }
    }
    Ok(())
}

/// What a package does when it is removed.
fn a_cleared_kernel_holds_nothing(guest: &Guest) -> Result<()> {
    let source = guest.source();
    guest.ban(&source.to_string())?;
    guest.expect_banned(source)?;
    let _start = guest.undo("systemctl start banjour");
    guest.sh("systemctl stop banjour")?;
    let show = if guest.firewall.is_iptables() {
        "iptables-save; ip6tables-save; ipset list -name"
    } else {
        "nft list ruleset"
    };
    let before = guest.sh(show)?;
    ensure!(before.contains("banjour"), "{before}");
    // Where nothing is left, that is no error.
    for _ in 0..2 {
        guest.sh("/usr/libexec/banjour/banjour-netfilter clear")?;
        let left = guest.sh(show)?;
        ensure!(!left.contains("banjour"), "{left}");
        guest.expect_open(source)?;
    }
    guest.sh("systemctl start banjour")?;
    guest.expect_closed(source)?;
    guest.expect_exactly_the_bans(SOON)
}

/// Bans end by the clock, and the kernel counts seconds. nft(8) tells for how many a source was put in.
fn a_clock_that_is_set_has_the_kernel_count_anew(guest: &Guest) -> Result<()> {
    let source = guest.source();
    guest.ban(&source.to_string())?;
    guest.expect_banned(source)?;
    let put_in = || {
        guest.sh(&format!(
            "nft list set inet banjour ipv4-32 | grep -o '{source} timeout [^ ]*'"
        ))
    };
    let before = put_in()?;
    set_clock()?;
    wait_for("the source to be put in anew", SOON, || {
        Ok(put_in()? != before)
    })?;
    guest.expect_closed(source)
}

/// Sets the machine's clock, which guests share, to a nanosecond later: `ADJ_SETOFFSET | ADJ_NANO` (adjtimex(2)). In `struct timex`,
/// `time` comes after nine words of eight bytes, the first of which is `modes`.
fn set_clock() -> Result<()> {
    let number = match ARCH {
        "x86_64" => 159,
        "aarch64" => 171,
        other => bail!("what is adjtimex(2) on {other}?"),
    };
    let script = format!(
        "$timex = pack('q9 q q x200', 0x2100, (0) x 8, 0, 1); exit(syscall({number}, $timex) < 0)"
    );
    let set = Command::new("perl").args(["-e", &script]).status()?;
    ensure!(set.success(), "the clock could not be set: {set}");
    Ok(())
}
