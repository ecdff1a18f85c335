//! `banjour watch`: what happens, as it happens. A window on a terminal, plain lines in a pipe.
//!
//! One task follows the agent on the bus ([`feed`]) and sends what it hears. What is shown is a pure [`state::State`], that
//! hears it and keys; [`window`] draws it. A thread alone writes ([`output`]), so a terminal or a pipe that takes nothing
//! holds up nobody.

mod counts;
mod draw;
mod explain;
mod feed;
mod happening;
mod keys;
mod line;
mod look;
mod output;
mod panel;
mod plain;
mod state;
mod window;

use std::env;
use std::io::{self, IsTerminal};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Agent, Failure};
use look::Look;

const EXAMPLES: &str = "\
Examples:
  banjour watch                                    # a window; \"?\" tells its keys
  banjour watch | grep --line-buffered 203.0.113.  # lines, as from tail -f
  banjour watch --json                             # for programs: an object for each event";

/// Arguments of `banjour watch`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Lines instead of the window, also on a terminal
    #[arg(long)]
    plain: bool,
    /// A JSON object for each event
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(agent: Agent, arguments: &Arguments) -> Result<(), Failure> {
    // Whoever may not see this is told so before a window hides it.
    agent.manager.overview(0, 0).await?;
    if arguments.plain || arguments.json || !io::stdout().is_terminal() {
        return plain::run(agent.connection, arguments.json).await;
    }
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let Some(look) = Look::of(variable) else {
        eprintln!(
            "banjour: this terminal (TERM={:?}) has no cursor to place, so there are lines instead of the window",
            variable("TERM")
        );
        return plain::run(agent.connection, false).await;
    };
    window::run(agent.connection, look).await
}

/// The signals that end the command in good order.
struct Ending([Signal; 3]);

impl Ending {
    fn begin() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn wait(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
