//! Programs that change the kernel for us: by absolute path, with nothing in their environment, and all that they are
//! told on standard input.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::Error;

/// 100,000 sources take them half a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// As much as is repeated of what a program complains of.
const MAX_COMPLAINT: usize = 300;

/// What a program prints, if it succeeds.
pub(super) async fn run(path: &str, arguments: &[&str], input: String) -> Result<String, Error> {
    let mut child = Command::new(path)
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| Error::Unsupported(format!("cannot run {path}: {e}")))?;
    let stdin = child.stdin.take();
    let feed = async move {
        // A program that does not read on has something to say.
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let output = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = timeout(PATIENCE, output)
        .await
        .map_err(|_| Error::Failed(format!("{path} does not end")))??;
    if output.status.success() {
        return String::from_utf8(output.stdout)
            .map_err(|_| Error::Failed(format!("{path} prints what is no text")));
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint: String = complaint.trim().chars().take(MAX_COMPLAINT).collect();
    Err(Error::Failed(format!(
        "{path}: {}",
        complaint.replace('\n', " ")
    )))
}
