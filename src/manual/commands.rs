//! What clap knows of the commands.

use anyhow::{Context, Result};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::page::Page;

/// Each command of `banjour(1)`: how it is called, what it does, its options, examples.
pub(crate) fn commands(page: &mut Page) -> Result<()> {
    let mut program = banjour::cli::command().disable_help_subcommand(true);
    program.build();
    for command in program.get_subcommands() {
        let name = command.get_name();
        let mut heading = Roff::new();
        heading.control("SS", [name]);
        page.add(&heading);
        // Its "--help" is the program's.
        let command = command
            .clone()
            .mut_arg("help", |help| help.hide(true))
            .bin_name(format!("banjour {name}"));
        let man = Man::new(command.clone());
        page.add_section(|out| man.render_synopsis_section(out))?;
        match command.get_long_about().or_else(|| command.get_about()) {
            Some(about) => page.markdown(&sentence(&about.to_string())),
            None => page.missing(format!("command {name} has no doc comment in src/cli.rs")),
        }
        undescribed(page, &command);
        page.add_section(|out| man.render_options_section(out))?;
        let examples = command.get_after_help().map(ToString::to_string);
        match examples
            .as_deref()
            .and_then(|text| text.strip_prefix("Examples:\n"))
        {
            Some(examples) => {
                let (examples, more) = examples.split_once("\n\n").unwrap_or((examples, ""));
                page.markdown("Examples:");
                let lines = examples
                    .lines()
                    .map(|line| line.strip_prefix("  ").unwrap_or(line));
                page.lines(&lines.collect::<Vec<_>>().join("\n"));
                page.markdown(more);
            }
            None => page.missing(format!(
                "command {name} has no examples: an after_help that begins with \"Examples:\""
            )),
        }
    }
    Ok(())
}

/// A program's own options.
pub(crate) fn options(page: &mut Page, command: &Command) -> Result<()> {
    undescribed(page, command);
    let mut command = command.clone();
    command.build();
    let man = Man::new(command.mut_arg("help", |help| help.help("Print help")));
    page.add_section(|out| man.render_options_section(out))
}

/// The codes, as the end of `banjour --help` tells them.
pub(crate) fn exit_codes(page: &mut Page) -> Result<()> {
    let help = banjour::cli::command();
    let help = help.get_after_help().map(ToString::to_string);
    let codes = help
        .as_deref()
        .and_then(|text| {
            text.lines()
                .find_map(|line| line.strip_prefix("Exit codes: "))
        })
        .context("banjour --help does not tell the exit codes")?;
    for code in codes.trim_end_matches('.').split("; ") {
        let (code, meaning) = code
            .split_once(' ')
            .context("an exit code without meaning")?;
        page.term(vec![bold(code)], &sentence(meaning));
    }
    Ok(())
}

fn undescribed(page: &mut Page, command: &Command) {
    for argument in command.get_arguments() {
        if argument.get_help().is_none() && !argument.is_hide_set() {
            page.missing(format!(
                "argument {} of {} has no doc comment",
                argument.get_id(),
                command.get_name()
            ));
        }
    }
}

/// What stands in help texts as a phrase.
fn sentence(phrase: &str) -> String {
    let mut letters = phrase.chars();
    let first: String = letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    let end = if phrase.ends_with('.') { "" } else { "." };
    first + letters.as_str() + end
}

/// A name in bold, with what follows it.
pub(crate) fn named(name: &str, rest: &str) -> Vec<clap_mangen::roff::Inline> {
    vec![bold(name), roman(rest)]
}
