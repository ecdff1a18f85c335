//! What other programs are asked: by absolute path, with nothing in their environment.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// They read a few files.
const PATIENCE: Duration = Duration::from_secs(10);

/// As much as is repeated of what a program complains of.
const MAX_COMPLAINT: usize = 200;

/// Settings by name; a name may have several values, in blocks of their own.
pub(super) type Settings = BTreeMap<String, Vec<String>>;

/// The first of these programs that there is.
pub(super) fn installed(paths: &[&'static str]) -> Option<&'static str> {
    paths.iter().copied().find(|path| Path::new(path).exists())
}

/// What a program prints, if it succeeds.
pub(super) async fn output(path: &str, arguments: &[&str]) -> Result<String, String> {
    let run = Command::new(path)
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match timeout(PATIENCE, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("cannot run {path}: {error}")),
        Err(_) => return Err(format!("{path} does not end")),
    };
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let complaint: String = complaint.trim().chars().take(MAX_COMPLAINT).collect();
        return Err(format!("{path}: {}", complaint.escape_debug()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The settings that doveconf(1) or postconf(1) prints, as `NAME = VALUE`.
pub(super) async fn settings(path: &str, arguments: &[&str]) -> Result<Settings, String> {
    Ok(parse(&output(path, arguments).await?))
}

fn parse(text: &str) -> Settings {
    let mut settings = Settings::new();
    for line in text.lines() {
        if let Some((name, value)) = line.split_once('=') {
            let values = settings.entry(name.trim().to_owned()).or_default();
            values.push(value.trim().to_owned());
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_in_blocks_too() {
        let settings = parse(
            "log_path = syslog\ninfo_log_path = \nprotocol imap {\n  info_log_path = /x\n}\n",
        );
        assert_eq!(settings["log_path"], ["syslog"]);
        assert_eq!(settings["info_log_path"], ["", "/x"]);
        assert_eq!(settings.len(), 2);
    }
}
