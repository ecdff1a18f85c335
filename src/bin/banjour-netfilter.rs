//! The helper that may do to the kernel what the agent may not. Started over D-Bus when the agent wants something.

use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let end = runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(banjour::netfilter::run()));
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // systemd puts it into the journal; "<3>" is its priority, error (sd-daemon(3)).
            eprintln!("<3>{error}");
            ExitCode::FAILURE
        }
    }
}
