//! Completions for shells: asked for by their scripts, which are installed, with `COMPLETE=` in the environment.
//!
//! Options and commands come from the definitions of the arguments, sources and jails from the running agent. A shell
//! waits for the answer while somebody has a finger on the tab key, so it is given in time, or there is none.

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;

use clap::{Arg, Command, CommandFactory};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{Bash, EnvCompleter, Fish, Shells, Zsh};

use super::{Agent, Arguments, Failure};
use crate::config::Config;

/// How long the agent may take. Listing 100,000 bans takes less.
const TIME: Duration = Duration::from_secs(1);

/// More than this many, nobody reads; they type another digit.
const MAX_CANDIDATES: usize = 100;

/// The shells, each with the script that is installed for it.
const SHELLS: Shells<'static> = Shells(&[
    &Shell(&Bash, include_str!("complete/banjour")),
    &Shell(&Zsh, include_str!("complete/_banjour")),
    &Shell(&Fish, include_str!("complete/banjour.fish")),
]);

/// Answers a shell, if that is who asks; then there is nothing else to do.
pub(super) fn answer() -> clap::error::Result<bool> {
    CompleteEnv::with_factory(command)
        .shells(SHELLS)
        .try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref())
}

/// The arguments, and what knows their values: by their names, which mean the same in every command.
fn command() -> Command {
    let command = Arguments::command();
    let names: Vec<String> = command
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    names.into_iter().fold(command, |command, name| {
        // Whom to ban is not among those who are.
        let bans = name == "ban";
        command.mut_subcommand(name, |command| {
            command.mut_args(|argument| match argument.get_id().as_str() {
                "source" if !bans => knows(argument, sources),
                "jail" => knows(argument, jails),
                "filter" => knows(argument, filters),
                _ => argument,
            })
        })
    })
}

/// Has `values` complete an argument.
fn knows(argument: Arg, values: fn() -> Vec<CompletionCandidate>) -> Arg {
    argument.add(ArgValueCompleter::new(move |typed: &OsStr| {
        let typed = typed.to_string_lossy();
        values()
            .into_iter()
            .filter(|value| value.get_value().to_string_lossy().starts_with(&*typed))
            .take(MAX_CANDIDATES)
            .collect()
    }))
}

fn sources() -> Vec<CompletionCandidate> {
    let bans = ask(async {
        let agent = Agent::find().await?;
        Ok(agent.manager.list_bans().await?)
    });
    bans.into_iter()
        .map(|(source, jail, ..)| {
            CompletionCandidate::new(source).help(Some(format!("in jail {jail}").into()))
        })
        .collect()
}

fn jails() -> Vec<CompletionCandidate> {
    let jails = ask(async { Ok(Agent::find().await?.manager.jails().await?) });
    jails.into_iter().map(CompletionCandidate::new).collect()
}

fn filters() -> Vec<CompletionCandidate> {
    let filters = Config::filters(Path::new("/"), &[]).unwrap_or_default();
    filters
        .keys()
        .map(|name| CompletionCandidate::new(name.to_string()))
        .collect()
}

/// What the agent says in time. An agent that does not run, a bus that hangs or a caller who may not read is no answer.
fn ask<T: Default>(question: impl Future<Output = Result<T, Failure>>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return T::default();
    };
    runtime
        .block_on(async { tokio::time::timeout(TIME, question).await })
        .ok()
        .and_then(Result::ok)
        .unwrap_or_default()
}

/// A shell with a script of ours.
struct Shell(&'static dyn EnvCompleter, &'static str);

impl EnvCompleter for Shell {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn is(&self, name: &str) -> bool {
        self.0.is(name)
    }

    fn write_registration(
        &self,
        _: &str,
        _: &str,
        _: &str,
        _: &str,
        buf: &mut dyn io::Write,
    ) -> io::Result<()> {
        buf.write_all(self.1.as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut Command,
        arguments: Vec<std::ffi::OsString>,
        directory: Option<&Path>,
        buf: &mut dyn io::Write,
    ) -> io::Result<()> {
        self.0.write_complete(command, arguments, directory, buf)
    }
}
