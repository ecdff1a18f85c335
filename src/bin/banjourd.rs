//! The daemon. See banjourd(8).

use std::path::PathBuf;
use std::process::ExitCode;

use banjour::agent::{self, Options};
use clap::Parser;

/// Reads the journal, counts failed logins at Postfix and Dovecot, and bans who guesses passwords.
///
/// Started by systemd as banjour.service; `banjour status` shows what it does.
#[derive(Parser)]
#[command(name = "banjourd", version)]
pub(crate) struct Arguments {
    /// Read the configuration and the journal below this directory
    #[arg(long, value_name = "DIRECTORY", default_value = "/")]
    root: PathBuf,
}

/// sysexits(3): the configuration is faulty. systemd doesn't try again (`RestartPreventExitStatus=`).
const EX_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let Arguments { root } = Arguments::parse();
    let options = Options {
        root,
        state: Options::state_directory(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let end = runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(agent::run(options)));
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // systemd puts it into the journal; "<3>" is its priority, error (sd-daemon(3)).
            eprintln!("<3>{error:#}");
            if error.is::<banjour::config::Error>() {
                ExitCode::from(EX_CONFIG)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
