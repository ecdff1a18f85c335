//! `banjour check`: is this host protected? Going blind after an upgrade, without a word, is what most often goes wrong
//! with programs like this one. Each line says that something is fine, or what to do.

mod agent;
mod clock;
mod firewall;
mod journal;
mod journald;
mod lines;
mod mail;
mod ports;
mod processes;
mod report;

use std::path::Path;
use std::sync::Arc;

use nix::unistd::Uid;
use zbus::Connection;

use super::{Agent, Failure, text};
use crate::bus::ManagerProxy;
use crate::config::{self, Config};
use crate::filter::Filters;
use crate::units::{MailUnit, Systemd1};
use processes::Process;
use report::Report;

/// The filters that jails use where nobody says otherwise.
const DEFAULT_FILTERS: [&str; 2] = ["dovecot", "postfix-sasl"];

/// Arguments of `banjour check`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Answer with a JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  banjour check         # each thing: fine, or what to do about it
  banjour check --json  # for programs

Exit codes: 0 fine, or advice only; 1 something is to be done; 3 the agent does not run.
It changes nothing. Some things only root can ask.";

/// What there is to look at.
struct Host {
    connection: Connection,
    /// The agent, if it runs.
    manager: Option<ManagerProxy<'static>>,
    /// The configuration on disk.
    config: Result<Config, config::Error>,
    /// The filters in use, or those that would be.
    filters: Arc<Filters>,
    /// systemd, and the mail units; unless it can't be asked.
    systemd: Systemd1,
    units: zbus::Result<Vec<MailUnit>>,
    /// The mail servers' processes.
    processes: Vec<Process>,
    is_root: bool,
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let host = Host::find().await?;
    let mut report = Report::default();
    agent::look(&mut report, &host).await;
    journal::look(&mut report, &host).await;
    lines::look(&mut report, &host);
    mail::look(&mut report, &host).await;
    firewall::look(&mut report, &host).await;
    clock::look(&mut report, &host).await;
    if arguments.json {
        text::print_json(&report.as_json())?;
    } else {
        text::print(&report.as_text())?;
    }
    if host.manager.is_none() {
        Err(Failure::Told(3))
    } else if report.to_do() > 0 {
        Err(Failure::Told(1))
    } else {
        Ok(())
    }
}

impl Host {
    async fn find() -> Result<Self, Failure> {
        let (connection, manager) = match Agent::find().await {
            Ok(agent) => (agent.connection, Some(agent.manager)),
            Err(Failure::NotRunning) => (Connection::system().await?, None),
            Err(failure) => return Err(failure),
        };
        let root = Path::new("/");
        let config = Config::load(root);
        let filters = if let Ok(config) = &config {
            Arc::clone(&config.filters)
        } else {
            let names = DEFAULT_FILTERS.map(str::to_owned);
            Arc::new(Config::filters(root, &names).unwrap_or_default())
        };
        let mut systemd = Systemd1::new(&connection).await?;
        let units = systemd.mail_units(&filters).await;
        Ok(Self {
            connection,
            manager,
            config,
            filters,
            systemd,
            units,
            processes: processes::mail_servers(),
            is_root: Uid::effective().is_root(),
        })
    }

    /// The mail units that run.
    fn running(&self) -> impl Iterator<Item = &MailUnit> {
        self.units.iter().flatten().filter(|unit| unit.runs())
    }
}
