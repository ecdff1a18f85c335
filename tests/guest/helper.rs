//! The helper, which may do to the kernel what the agent may not: what it takes, from whom, and with what rights.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::agent::SOON;
use crate::host::{Guest, Output, wait_for};
use crate::kernel::Firewall;

crate::cases![
    the_helper_obeys_the_agent_and_root_alone,
    the_helper_takes_sources_and_nothing_else,
    the_helper_has_few_rights_and_few_ways_to_use_them,
];

// Where it is not called again and again, to read back what the kernel holds.
crate::cases![IDLE: the_helper_goes_when_it_is_idle];

/// What nobody means to keep out, or can.
const REFUSED: [&str; 11] = [
    "0.0.0.0/0",
    "::/0",
    "127.0.0.1",
    "::1",
    "192.0.2.2",
    "192.0.2.0/24",
    "2001:db8:1::2",
    "2001:db8:1::/64",
    "all",
    "",
    "198.51.100.1; reboot",
];

/// Of a call's source, for ever.
const UNTIL: &str = "18446744073709551615";

fn busctl(helper: &str, method: &str) -> String {
    format!(
        "busctl --json=short call {helper} /org/banjour/Netfilter1 org.banjour.Netfilter1 {method}"
    )
}

/// Calls the helper of the host's firewall, as root.
fn call(guest: &Guest, method: &str) -> Result<Output> {
    guest.run(&["sh", "-c", &busctl(guest.firewall.helper(), method)])
}

fn the_helper_obeys_the_agent_and_root_alone(guest: &Guest) -> Result<()> {
    for helper in ["org.banjour.Netfilter1", "org.banjour.Iptables1"] {
        let disconnect = busctl(helper, "Disconnect as 1 198.51.100.1");
        let call = |user: &str| guest.run(&["runuser", "-u", user, "--", "sh", "-c", &disconnect]);
        for user in ["root", "banjour"] {
            let called = call(user)?;
            ensure!(called.code == 0, "{user} is refused: {}", called.err);
        }
        for user in ["dave", "postfix", "dovecot", "nobody"] {
            let called = call(user)?;
            ensure!(
                called.code != 0 && called.err.contains("denied"),
                "{user} may call {helper}: {}{}",
                called.out,
                called.err
            );
        }
    }
    Ok(())
}

/// Who is refused is named in the answer, and keeps nobody else out of the call.
fn the_helper_takes_sources_and_nothing_else(guest: &Guest) -> Result<()> {
    let source = guest.source();
    let good = [source.to_string(), "2001:db8:e::/48".to_owned()];
    let all = || REFUSED.into_iter().chain(good.iter().map(String::as_str));
    let count = all().count();
    let untimed: Vec<_> = all().map(|name| format!("'{name}'")).collect();
    let timed: Vec<_> = all().map(|name| format!("'{name}' {UNTIL}")).collect();
    let (untimed, timed) = (untimed.join(" "), timed.join(" "));
    let refuses = |method: &str, index: usize| {
        let called = call(guest, method)?;
        ensure!(called.code == 0, "{method}: {}", called.err);
        let reply: serde_json::Value = serde_json::from_str(&called.out)?;
        let refused: Vec<(String, String)> = serde_json::from_value(reply["data"][index].clone())?;
        let named: Vec<_> = refused.iter().map(|(name, _)| name.as_str()).collect();
        ensure!(named == REFUSED, "{method}: {refused:?}");
        Ok(())
    };
    refuses(&format!("Disconnect as {count} {untimed}"), 1)?;
    if guest.firewall != Firewall::Firewalld {
        // To the agent, this is somebody who meddles.
        let _start = guest.undo("systemctl start banjour");
        guest.sh("systemctl stop banjour")?;
        for (method, index) in [
            (format!("Apply 'asa(st)' 0 {count} {timed}"), 0),
            (format!("Replace 'bba(st)' false false {count} {timed}"), 1),
        ] {
            refuses(&method, index)?;
            guest.expect_closed(source)?;
            let kept_out = guest.kept_out()?;
            let own: [IpAddr; 2] = ["192.0.2.2".parse()?, "2001:db8:1::2".parse()?];
            let wrong = kept_out
                .iter()
                .find(|net| own.iter().any(|own| net.contains(own)));
            ensure!(wrong.is_none(), "{method}: {wrong:?}");
        }
        guest.sh("systemctl start banjour")?;
        guest.expect_exactly_the_bans(SOON)?;
    }
    let many = call(guest, "Disconnect as 131073 $(yes 1 | head -n 131073)")?;
    ensure!(
        many.code != 0 && many.err.contains("131072"),
        "{}",
        many.err
    );
    Ok(())
}

fn the_helper_has_few_rights_and_few_ways_to_use_them(guest: &Guest) -> Result<()> {
    let unit = guest.firewall.unit();
    // CAP_NET_ADMIN, and for iptables CAP_NET_RAW.
    let capabilities = if guest.firewall.is_iptables() {
        "0000000000003000"
    } else {
        "0000000000001000"
    };
    guest.expect_sandbox(unit, 1.5)?;
    call(guest, "List")?;
    let field = |name: &str| guest.process_field(unit, name);
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        ensure!(field(set)? == capabilities, "{set} {}", field(set)?);
    }
    let user = guest.sh("id -u banjour-netfilter")?;
    let users = field("Uid")?;
    ensure!(users.starts_with(&user), "it runs as {users}");
    let libraries = guest.sh("ldd /usr/libexec/banjour/banjour-netfilter")?;
    ensure!(!libraries.contains("systemd"), "it links {libraries}");
    Ok(())
}

fn the_helper_goes_when_it_is_idle(guest: &Guest) -> Result<()> {
    let list = || {
        let called = call(guest, "List")?;
        ensure!(called.code == 0, "{}", called.err);
        Ok(())
    };
    list()?;
    // It goes after half a minute; another guest's case may set the clock meanwhile, which all agents heed.
    wait_for("the helper to go", Duration::from_secs(90), || {
        let state = guest.sh("systemctl show -P ActiveState banjour-netfilter")?;
        ensure!(state != "failed", "the helper failed");
        Ok(state == "inactive")
    })?;
    list()
}
