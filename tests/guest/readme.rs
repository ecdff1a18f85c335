//! README.md and the pages in `doc`: what they tell people to type works as it stands there.

use anyhow::{Context, Result, bail, ensure};

use crate::agent::SOON;
use crate::client::Service::Imap;
use crate::host::{Guest, wait_for};

crate::cases![
    every_command_for_a_mail_host_works,
    every_command_beside_fail2bans_works,
    the_examples_of_settings_are_accepted,
    the_example_in_python_tells_of_a_ban,
    every_example_of_the_help_is_accepted,
];

const FAIL2BAN: &str = include_str!("../../doc/fail2ban.md");

const PAGES: [&str; 5] = [
    include_str!("../../README.md"),
    include_str!("../../doc/dbus.md"),
    FAIL2BAN,
    include_str!("../../doc/filters.md"),
    include_str!("../../doc/firewalls.md"),
];

/// The code blocks in a language, of all pages.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    PAGES
        .iter()
        .flat_map(|page| page.split(fence.as_str()).skip(1))
        .filter_map(|rest| rest.split_once("\n```"))
        .map(|(block, _)| block.to_owned())
        .collect()
}

fn every_command_for_a_mail_host_works(guest: &Guest) -> Result<()> {
    let blocks = blocks("sh");
    ensure!(blocks.len() >= 2, "the README has lost its commands");
    for command in blocks.iter().flat_map(|block| block.lines()) {
        guest.sh(command)?;
    }
    Ok(())
}

/// The right column of what was used with fail2ban. `journalctl -f` and `banjour watch` end with Ctrl-C only.
fn every_command_beside_fail2bans_works(guest: &Guest) -> Result<()> {
    let commands = FAIL2BAN
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| line.split(" | ").nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|code| {
            ["banjour ", "systemctl ", "journalctl ", "firewall-cmd "]
                .iter()
                .any(|start| code.starts_with(start))
        })
        .filter(|code| {
            ![" -f", " watch", "LINE"]
                .iter()
                .any(|end| code.ends_with(end))
        });
    let mut count = 0;
    for command in commands {
        guest.sh(command)?;
        count += 1;
    }
    ensure!(
        count >= 12,
        "the README has lost its table: {count} commands"
    );
    guest.sh("systemctl service-log-level banjour info")?;
    Ok(())
}

/// It needs what firewalld needs too.
fn the_example_in_python_tells_of_a_ban(guest: &Guest) -> Result<()> {
    let blocks = blocks("python");
    let [example] = &blocks[..] else {
        bail!("there are {} examples in Python", blocks.len());
    };
    let (source, out) = (guest.source(), "/run/example.out");
    guest.write("/run/example.py", example)?;
    let _end = guest.undo("systemctl stop example; rm -f /run/example.*");
    guest.ban("198.18.254.9")?;
    guest.sh(&format!(
        "systemd-run --quiet --unit example --property StandardOutput=file:{out} python3 /run/example.py"
    ))?;
    let tells = |line: &str| {
        wait_for(line, SOON, || {
            Ok(guest.sh(&format!("cat {out} || true"))?.contains(line))
        })
    };
    tells("198.18.254.9 in manual: 0 order, as nobody, banned 0 times before")?;
    guest.unban("198.18.254.9")?;
    guest.attackers.fail(source, Imap, 3)?;
    tells(&format!("{source} in dovecot: 3 attempts, as "))
}

fn the_examples_of_settings_are_accepted(guest: &Guest) -> Result<()> {
    let (filters, settings): (Vec<_>, Vec<_>) = blocks("toml")
        .into_iter()
        .partition(|block| block.contains("[[pattern]]"));
    ensure!(
        filters.len() == 1 && settings.len() >= 2,
        "the README has lost its examples"
    );
    let _undo = guest.undo("rm -f /etc/banjour/filters/roundcube.toml");
    guest.write("/etc/banjour/filters/roundcube.toml", &filters[0])?;
    for (index, settings) in settings.iter().enumerate() {
        let _undo = guest.configure(&format!("readme-{index}"), settings)?;
        ensure!(guest.problems()?.is_empty(), "{:?}", guest.problems()?);
    }
    let line = "IMAP Error: Login failed for x from y against localhost from 192.0.2.7. AUTHENTICATE PLAIN: NO";
    let explained = guest.sh(&format!("banjour test --filter roundcube '{line}'"))?;
    ensure!(explained.contains("address = \"192.0.2.7\""), "{explained}");
    Ok(())
}

/// Some find nothing to do here (exit code 1), but all are understood, and leave nothing behind.
fn every_example_of_the_help_is_accepted(guest: &Guest) -> Result<()> {
    let help = guest.sh("banjour --help")?;
    let commands = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // Long descriptions go on below themselves.
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty());
    for command in commands.filter(|command| *command != "help") {
        let help = guest.sh(&format!("banjour {command} --help"))?;
        let (_, examples) = help
            .split_once("Examples:\n")
            .with_context(|| format!("banjour {command} --help has no examples"))?;
        let examples = examples.lines().take_while(|line| !line.is_empty());
        for example in examples.map(str::trim) {
            // This one goes on until somebody ends it.
            let endless = command == "watch";
            let patience = if endless { "2" } else { "60" };
            let said = guest.run(&["timeout", patience, "sh", "-c", example])?;
            ensure!(
                said.code < 2 || (endless && said.code == 124),
                "`{example}` exited with {}: {}",
                said.code,
                said.err
            );
        }
    }
    Ok(())
}
