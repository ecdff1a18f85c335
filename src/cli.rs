//! The command `banjour`: a D-Bus client for people.
//!
//! A terminal gets tables and relative times, a pipe plain lines with tabs, `--json` objects.

mod ban;
mod check;
mod complete;
mod file;
mod import;
mod kernel;
mod list;
mod metrics;
mod program;
mod recorded;
mod replay;
mod report;
mod status;
mod test;
mod text;
mod unban;
mod watch;
mod when;
mod why;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::names::WellKnownName;

use crate::bus::{self, ManagerProxy};

/// Keeps password guessers away from Postfix and Dovecot.
#[derive(Debug, Parser)]
#[command(name = "banjour", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 refused or failed, or \"check\" has found something to do; 2 wrong arguments; 3 the agent does not run; 4 not allowed.
The agent's own journal: journalctl -u banjour";

#[derive(Debug, Subcommand)]
enum Command {
    /// Show how the agent is, its jails and who is banned
    Status(status::Arguments),
    /// List who is banned, since when, until when and why
    List(list::Arguments),
    /// Tell whether an address may log in, and why not: its ban, the lines that led to it, what is known of it
    Why(why::Arguments),
    /// Tell whether this host is protected, and what to do where it is not
    Check(check::Arguments),
    /// Watch failed logins and bans as they happen, and ban, lift and explain by a key
    Watch(watch::Arguments),
    /// Ban an address or a prefix
    Ban(ban::Arguments),
    /// Lift the bans of an address or a prefix, and forgive what it did
    Unban(unban::Arguments),
    /// Print fail2ban's mail jails as settings of banjour's, or take over whom it has banned
    #[command(name = "import-fail2ban")]
    Import(import::Arguments),
    /// Tell what the configuration would have done with a journal, and change nothing
    Replay(replay::Arguments),
    /// Tell what attacks there were in a time and what became of them, on the terminal or as a page to print
    Report(report::Arguments),
    /// Print the agent's numbers for Prometheus, Zabbix and the like
    Metrics(metrics::Arguments),
    /// Show what filters make of messages, and where the nearest pattern stops
    Test(test::Arguments),
}

/// What a command can end with, other than well.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Refused(String),
    #[error("banjour does not run; start it with: systemctl enable --now banjour")]
    NotRunning,
    #[error("not allowed: {0}; run it as root, with sudo for one")]
    NotAllowed(String),
    /// What there is to say was said on standard output.
    #[error("")]
    Told(u8),
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::Output(_) => 1,
            Self::Told(code) => *code,
            Self::NotRunning => 3,
            Self::NotAllowed(_) => 4,
        }
    }
}

impl From<zbus::Error> for Failure {
    fn from(error: zbus::Error) -> Self {
        use zbus::fdo::Error as Fdo;
        match error {
            zbus::Error::FDO(error) => match *error {
                Fdo::AccessDenied(text) | Fdo::InteractiveAuthorizationRequired(text) => {
                    Self::NotAllowed(text)
                }
                Fdo::ServiceUnknown(_) | Fdo::NameHasNoOwner(_) => Self::NotRunning,
                error => Self::Refused(error.to_string()),
            },
            zbus::Error::MethodError(_, Some(text), _) => Self::Refused(text),
            error => Self::Refused(error.to_string()),
        }
    }
}

/// The definition of the arguments, for the manual.
#[must_use]
pub fn command() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// Runs the command with the process' arguments.
#[must_use]
pub fn main() -> ExitCode {
    match complete::answer() {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("banjour: {error}");
            return ExitCode::from(2);
        }
    }
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let end = runtime
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(run(arguments.command)));
    match end {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads us has read enough, as "head" does.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(Failure::Told(code)) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("banjour: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Check(arguments) => check::run(&arguments).await,
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Metrics(arguments) => metrics::run(&arguments).await,
        Command::Import(arguments) => import::run(&arguments).await,
        Command::Status(arguments) => {
            let agent = Agent::find().await?;
            status::run(&agent.connection, &agent.manager, &arguments).await
        }
        Command::List(arguments) => list::run(&Agent::find().await?.manager, &arguments).await,
        Command::Why(arguments) => {
            let agent = Agent::find().await?;
            why::run(&agent.connection, &agent.manager, &arguments).await
        }
        Command::Watch(arguments) => watch::run(Agent::find().await?, &arguments).await,
        Command::Ban(arguments) => ban::run(&Agent::find().await?.manager, &arguments).await,
        Command::Unban(arguments) => unban::run(&Agent::find().await?.manager, &arguments).await,
    }
}

/// The running agent.
struct Agent {
    connection: Connection,
    manager: ManagerProxy<'static>,
}

impl Agent {
    async fn find() -> Result<Self, Failure> {
        let connection = Connection::system().await.map_err(|e| {
            Failure::Refused(format!("cannot reach the system bus; is dbus running? {e}"))
        })?;
        // Otherwise the bus would start an agent that an admin has stopped.
        let bus = DBusProxy::new(&connection).await?;
        let name = WellKnownName::from_static_str(bus::NAME)?;
        if !bus
            .name_has_owner(name.into())
            .await
            .map_err(zbus::Error::from)?
        {
            return Err(Failure::NotRunning);
        }
        let manager = ManagerProxy::builder(&connection)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await?;
        Ok(Self {
            connection,
            manager,
        })
    }
}

/// A jail's object.
async fn jail_proxy(
    connection: &Connection,
    name: &str,
) -> Result<bus::JailProxy<'static>, Failure> {
    Ok(bus::JailProxy::builder(connection)
        .path(bus::jail_path(name))
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await?)
}
