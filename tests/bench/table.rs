//! The table of results, as Markdown, and the machine that they are of.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::tool::Tool;

/// A row of the goals' table.
#[derive(Default)]
struct Row {
    what: String,
    goal: String,
    of: BTreeMap<Tool, String>,
    compare: String,
}

/// All that was measured in this run.
pub(crate) struct Table {
    machine: String,
    rows: Vec<Row>,
    notes: Vec<String>,
    /// So much could not be measured.
    pub(crate) failures: u32,
}

/// Where results and journals are kept, as Cargo has it.
pub(crate) fn directory() -> Result<PathBuf> {
    let programs = PathBuf::from(env!("CARGO_BIN_EXE_banjourd"));
    let target = programs.ancestors().nth(2).context("no target directory")?;
    let directory = target.join("bench");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

impl Table {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            machine: machine()?,
            rows: Vec::new(),
            notes: Vec::new(),
            failures: 0,
        })
    }

    /// Begins a row.
    pub(crate) fn row(&mut self, what: impl Into<String>, goal: impl Into<String>) {
        self.rows.push(Row {
            what: what.into(),
            goal: goal.into(),
            ..Row::default()
        });
    }

    /// What was measured of a program, in the row that was begun last.
    pub(crate) fn put(&mut self, tool: Tool, result: impl Into<String>) {
        let result = result.into();
        if let Some(row) = self.rows.last_mut() {
            eprintln!("{}: {}: {result}", row.what, tool.name());
            row.of.insert(tool, result);
        }
    }

    /// The same, or that it could not be measured: the others are, all the same.
    pub(crate) fn measure(&mut self, tool: Tool, measure: impl FnOnce() -> Result<String>) {
        match measure() {
            Ok(result) => self.put(tool, result),
            Err(error) => {
                self.failures += 1;
                eprintln!("{}: {error:#}", tool.name());
                self.put(tool, "failed");
            }
        }
    }

    /// What that is to be compared with, in the same row.
    pub(crate) fn compare(&mut self, result: impl Into<String>) {
        let result = result.into();
        if let Some(row) = self.rows.last_mut() {
            eprintln!("{}: to compare: {result}", row.what);
            row.compare = result;
        }
    }

    /// Something that the table's reader should know.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        eprintln!("note: {note}");
        self.notes.push(note);
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("Measured on {}.\n\n| what | goal |", self.machine);
        for tool in Tool::ALL {
            let version = tool.version().unwrap_or_default();
            let _ = write!(text, " {} {version} |", tool.name());
        }
        text.push_str(" to compare |\n|---|---|---|---|---|---|---|\n");
        for row in &self.rows {
            let _ = write!(text, "| {} | {} |", row.what, row.goal);
            for tool in Tool::ALL {
                let result = row.of.get(&tool).map_or("", String::as_str);
                let _ = write!(text, " {result} |");
            }
            let _ = writeln!(text, " {} |", row.compare);
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text
    }

    /// Writes it to target/bench.md.
    pub(crate) fn save(&self) -> Result<()> {
        let file = directory()?.with_extension("md");
        fs::write(&file, self.markdown()).with_context(|| format!("write {}", file.display()))
    }
}

/// What a figure depends on.
fn machine() -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let field = |name: &str| {
        let line = cpus.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split(": ").nth(1));
        value.unwrap_or("unknown").to_owned()
    };
    let cores = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kib: u64 = memory
        .split_whitespace()
        .nth(1)
        .context("no memory")?
        .parse()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel = kernel.split('-').next().unwrap_or_default();
    let release = Command::new("sh")
        .args(["-c", ". /etc/os-release; echo \"$PRETTY_NAME\""])
        .output()?;
    Ok(format!(
        "{} (family {}, model {}, {} MHz), {cores} cores, {} GiB of memory, Linux {kernel}, {}; the guests are Debian {}",
        field("model name"),
        field("cpu family"),
        field("model\t"),
        field("cpu MHz").split('.').next().unwrap_or_default(),
        kib / 1024 / 1024,
        String::from_utf8_lossy(&release.stdout).trim_end(),
        crate::RELEASE
    ))
}
