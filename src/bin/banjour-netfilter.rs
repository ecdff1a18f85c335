//! The helper that may do to the kernel what the agent may not. Started over D-Bus when the agent wants something.

use std::process::ExitCode;

use banjour::netfilter::{self, Backend};
use clap::Parser;

/// Keeps banned sources out, and ends their connections, for banjour's agent; not meant to be called by hand
#[derive(Parser)]
#[command(name = "banjour-netfilter", version)]
enum Arguments {
    /// Serve org.banjour.Netfilter1 on the system bus, with nft(8)
    Nftables,
    /// Serve org.banjour.Iptables1 on the system bus, with iptables(8), ip6tables(8) and ipset(8)
    Iptables,
    /// Take all that banjour has put into the kernel out of it, for its removal
    Clear,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let end = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(&arguments)));
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // systemd puts it into the journal; "<3>" is its priority, error (sd-daemon(3)).
            eprintln!("<3>{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match arguments {
        Arguments::Nftables => netfilter::run(Backend::Nftables).await?,
        Arguments::Iptables => netfilter::run(Backend::Iptables).await?,
        Arguments::Clear => netfilter::clear().await?,
    }
    Ok(())
}
