//! Who may do what: other users, and the agent itself.

use anyhow::{Result, ensure};

use crate::agent::SOON;
use crate::host::{Guest, wait_for};

crate::cases![
    dave_may_look_and_may_not_touch,
    dave_may_not_even_look_where_polkit_says_so,
    dave_may_ban_where_polkit_says_so,
    the_agent_has_no_capability_and_no_root,
    the_unit_is_a_sandbox,
    the_agent_may_not_do_more_to_firewalld_than_it_must,
];

const RULE: &str = "/etc/polkit-1/rules.d/10-case.rules";

fn dave_may_look_and_may_not_touch(guest: &Guest) -> Result<()> {
    let source = guest.source();
    guest.ban(&source.to_string())?;
    guest.expect_banned(source)?;
    let status = guest.as_dave("banjour status")?;
    ensure!(
        status.code == 0 && status.out.contains(&source.to_string()),
        "status: {status:?}"
    );
    for command in ["ban 198.18.254.1", &format!("unban {source}")] {
        let refused = guest.as_dave(&format!("banjour {command}"))?;
        ensure!(
            refused.code == 4,
            "banjour {command} exited with {}: {}",
            refused.code,
            refused.err
        );
    }
    let manager =
        "busctl call org.banjour.Banjour1 /org/banjour/Banjour1 org.banjour.Banjour1.Manager";
    for method in [
        "Ban sstt 198.18.254.1 '' 0 0",
        &format!("Unban sst {source} '' 0"),
        "Reload",
    ] {
        let refused = guest.as_dave(&format!("{manager} {method}"))?;
        ensure!(refused.code != 0, "dave called {method}");
    }
    let level = guest.as_dave(
        "busctl set-property org.banjour.Banjour1 /org/freedesktop/LogControl1 org.freedesktop.LogControl1 \
         LogLevel s debug",
    )?;
    ensure!(level.code != 0, "dave changed the log level");
    ensure!(
        guest.bans_of("198.18.254.1".parse()?)?.is_empty(),
        "dave banned somebody"
    );
    guest.expect_closed(source)
}

fn dave_may_not_even_look_where_polkit_says_so(guest: &Guest) -> Result<()> {
    let source = guest.source();
    guest.ban(&source.to_string())?;
    let _rule = rule(guest, "read", "NO")?;
    wait_for("dave to be refused", SOON, || {
        Ok(guest.as_dave("banjour status")?.code == 4)
    })?;
    for path in ["/org/banjour/Banjour1", "/org/banjour/Banjour1/jail/manual"] {
        let interface = if path.ends_with("manual") {
            "Jail"
        } else {
            "Manager"
        };
        let listed = guest.as_dave(&format!(
            "busctl call org.banjour.Banjour1 {path} org.banjour.Banjour1.{interface} ListBans"
        ))?;
        ensure!(
            listed.code != 0,
            "dave listed bans at {path}: {}",
            listed.out
        );
    }
    ensure!(
        guest.run(&["banjour", "status"])?.code == 0,
        "root is refused too"
    );
    Ok(())
}

fn dave_may_ban_where_polkit_says_so(guest: &Guest) -> Result<()> {
    let source = guest.source();
    let _rule = rule(guest, "ban", "YES")?;
    wait_for("dave to be allowed", SOON, || {
        Ok(guest.as_dave(&format!("banjour ban {source}"))?.code == 0)
    })?;
    guest.expect_banned(source)?;
    let refused = guest.as_dave(&format!("banjour unban {source}"))?;
    ensure!(refused.code == 4, "to ban is not to unban: {refused:?}");
    Ok(())
}

/// polkitd sees the file by itself, in a moment.
fn rule<'a>(guest: &'a Guest, action: &str, result: &str) -> Result<crate::host::Undo<'a>> {
    let undo = guest.undo(format!("rm {RULE}"));
    guest.write(
        RULE,
        &format!(
            "polkit.addRule(function(action, subject) {{
                 if (action.id == \"org.banjour.Banjour1.{action}\" && subject.user == \"dave\")
                     return polkit.Result.{result};
             }});\n"
        ),
    )?;
    Ok(undo)
}

fn the_agent_has_no_capability_and_no_root(guest: &Guest) -> Result<()> {
    let field = |name: &str| guest.process_field("banjour.service", name);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        ensure!(
            field(set)? == "0000000000000000",
            "{set} is {}",
            field(set)?
        );
    }
    ensure!(field("NoNewPrivs")? == "1", "new privileges are possible");
    ensure!(field("Seccomp")? == "2", "system calls are not filtered");
    let banjour = guest.sh("id -u banjour")?;
    ensure!(
        field("Uid")?.split('\t').all(|uid| uid == banjour),
        "its users are {}",
        field("Uid")?
    );
    let group = guest.sh("id -g banjour")?;
    ensure!(
        field("Gid")?.split('\t').all(|gid| gid == group),
        "its groups are {}",
        field("Gid")?
    );
    let journal = guest.sh("getent group systemd-journal | cut -d: -f3")?;
    ensure!(
        field("Groups")?
            .split(' ')
            .all(|more| more == group || more == journal),
        "its further groups are {}",
        field("Groups")?
    );
    Ok(())
}

fn the_unit_is_a_sandbox(guest: &Guest) -> Result<()> {
    guest.expect_sandbox("banjour.service", 1.0)
}

/// User banjour may configure firewalld; what needs another action stays out of its reach.
fn the_agent_may_not_do_more_to_firewalld_than_it_must(guest: &Guest) -> Result<()> {
    let manager =
        "org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager";
    let refused = guest.run(&[
        "runuser",
        "-u",
        "banjour",
        "--",
        "sh",
        "-c",
        &format!("busctl --no-pager call {manager} RestartUnit ss firewalld.service replace"),
    ])?;
    ensure!(refused.code != 0, "user banjour restarted firewalld");
    // Nor is it in dave's: firewalld's own rules are as they were.
    let source = guest.source();
    let entry = format!("firewall-cmd --quiet --ipset=banjour-ipv4 --add-entry={source}");
    ensure!(guest.as_dave(&entry)?.code != 0, "dave changed the sets");
    ensure!(!guest.kernel_has(source)?, "dave changed the sets");
    Ok(())
}
