//! Writes the man pages into a directory: `manual DIRECTORY`. See `make`.
//!
//! What a page tells of commands, settings and D-Bus is taken from where these are defined; the rest is the text in
//! `*.md` beside this. What has no description there is said, by the page's test too.

mod commands;
mod docs;
mod interfaces;
mod page;
mod settings;

#[cfg(test)]
mod tests;

#[path = "../bin/banjourd.rs"]
#[allow(
    dead_code,
    reason = "the daemon's arguments are all that is of interest"
)]
mod banjourd;

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

use anyhow::{Context, Result};

use page::{Page, Source};

/// The pages: name, section, what it is about, its text.
const PAGES: [Source; 4] = [
    Source {
        name: "banjour",
        section: "1",
        about: "See and lift bans of password guessers on this mail server",
        text: include_str!("banjour.1.md"),
    },
    Source {
        name: "banjourd",
        section: "8",
        about: "Keep password guessers away from Postfix and Dovecot",
        text: include_str!("banjourd.8.md"),
    },
    Source {
        name: "banjour.toml",
        section: "5",
        about: "Settings of banjour",
        text: include_str!("banjour.toml.5.md"),
    },
    Source {
        name: "org.banjour.Banjour1",
        section: "5",
        about: "The D-Bus interface of banjourd",
        text: include_str!("org.banjour.Banjour1.5.md"),
    },
];

fn main() -> Result<ExitCode> {
    let Some(directory) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: manual DIRECTORY");
        return Ok(ExitCode::from(2));
    };
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    for source in &PAGES {
        let page = page(source)?;
        for missing in &page.missing {
            eprintln!("manual: {}: {missing}", source.file());
        }
        let path = directory.join(source.file());
        fs::write(&path, page.roff).with_context(|| path.display().to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A page whole: its text, with what is generated in the places that the text says.
fn page(source: &Source) -> Result<Page> {
    let mut page = Page::begin(source);
    for (index, part) in source.text.split("{{").enumerate() {
        let text = if index == 0 {
            part
        } else {
            let (generated, text) = part.split_once("}}").context("{{ without }}")?;
            match generated {
                "commands" => commands::commands(&mut page)?,
                "options of banjour" => commands::options(&mut page, &banjour::cli::command())?,
                "options of banjourd" => {
                    let command = <banjourd::Arguments as clap::CommandFactory>::command();
                    commands::options(&mut page, &command)?;
                }
                "exit codes" => commands::exit_codes(&mut page)?,
                "settings" => settings::settings(&mut page, "Fragment")?,
                "settings of a jail" => settings::settings(&mut page, "JailFragment")?,
                "interfaces" => interfaces::interfaces(&mut page)?,
                "errors" => interfaces::errors(&mut page)?,
                other => anyhow::bail!("{}: there is no {{{{{other}}}}}", source.file()),
            }
            text
        };
        page.markdown(text);
    }
    Ok(page)
}
