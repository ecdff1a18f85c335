//! README.md: what it tells people to type works as it stands there.

use anyhow::{Result, ensure};

use crate::host::Guest;

crate::cases![
    every_command_for_a_mail_host_works,
    every_command_beside_fail2bans_works,
    the_examples_of_settings_are_accepted,
];

const README: &str = include_str!("../../README.md");

/// The lines of the README's code blocks in a language.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    README
        .split(fence.as_str())
        .skip(1)
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

/// The right column of "Coming from fail2ban". `journalctl -f` ends with Ctrl-C only.
fn every_command_beside_fail2bans_works(guest: &Guest) -> Result<()> {
    let commands = README
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| line.split(" | ").nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|code| {
            ["banjour ", "systemctl ", "journalctl ", "firewall-cmd "]
                .iter()
                .any(|start| code.starts_with(start))
        })
        .filter(|code| !code.ends_with(" -f") && !code.ends_with("LINE"));
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
