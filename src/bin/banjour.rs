//! The command. See banjour(1).

use std::process::ExitCode;

fn main() -> ExitCode {
    banjour::cli::main()
}
