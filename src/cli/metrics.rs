//! `banjour metrics`: the agent's numbers for monitoring.
//!
//! Two formats that differ in little: `OpenMetrics`, and Prometheus' older text format, which is all that `node_exporter`
//! reads from files. (It refuses a whole file for a type that it does not know, and drops what is said of a counter that is
//! called as `OpenMetrics` wants it.) That is why this is written here; libraries write one or the other.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::file::{Readers, replace};
use super::{Agent, Failure, jail_proxy, text};

/// An agent that takes longer to answer is as good as none; what asks each minute is not to wait for the next.
const PATIENCE: Duration = Duration::from_secs(20);

const EXAMPLES: &str = "\
Examples:
  banjour metrics                                   # OpenMetrics
  banjour metrics --output /run/banjour.prom        # a file for node_exporter
  banjour metrics --format prometheus | head -n 20  # what would be in it";

/// Arguments of `banjour metrics`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Write into this file, all at once: no reader sees a part of it
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How to write it: openmetrics, or prometheus, which node_exporter's textfile collector reads [default: openmetrics, with
    /// --output prometheus]
    #[arg(long, value_name = "FORMAT", hide_possible_values = true)]
    #[allow(clippy::doc_markdown, reason = "it is what --help prints")]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Openmetrics,
    Prometheus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

/// Metrics in the order in which they are written.
#[derive(Default)]
struct Metrics(Vec<Metric>);

struct Metric {
    /// Without a counter's `_total`.
    name: &'static str,
    kind: Kind,
    /// What the name ends with, if that is a unit.
    unit: Option<&'static str>,
    help: &'static str,
    samples: Vec<(Option<Label>, u64)>,
}

/// A name, and what it is here.
type Label = (&'static str, String);

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let collected = tokio::time::timeout(PATIENCE, collect()).await;
    let collected = collected.unwrap_or_else(|_| {
        Err(Failure::Refused(format!(
            "no answer within {} s",
            PATIENCE.as_secs()
        )))
    });
    // That there is no agent is what monitoring wants to know, and no reason to tell it nothing.
    let metrics = collected.unwrap_or_else(|failure| {
        eprintln!("banjour: {failure}");
        let mut metrics = Metrics::default();
        metrics.up(0);
        metrics
    });
    let format = arguments.format.unwrap_or(match arguments.output {
        Some(_) => Format::Prometheus,
        None => Format::Openmetrics,
    });
    let metrics = metrics.write(format);
    match &arguments.output {
        None => text::print(&metrics),
        Some(file) => replace(file, &metrics, Readers::All)
            .map_err(|e| Failure::Refused(format!("cannot write {}: {e}", file.display()))),
    }
}

async fn collect() -> Result<Metrics, Failure> {
    let Agent {
        connection,
        manager,
    } = Agent::find().await?;
    let mut metrics = Metrics::default();
    metrics.up(1);
    metrics.gauge(
        "banjour_build_info",
        "The version of the agent that runs.",
        Some(("version", manager.version().await?)),
        1,
    );
    let firewall = manager.firewall().await?;
    if !firewall.is_empty() {
        metrics.gauge(
            "banjour_firewall_info",
            "Who keeps banned sources out; missing where nobody does.",
            Some(("firewall", firewall)),
            1,
        );
    }
    let of_all = [
        (
            "banjour_problems",
            "Problems that an administrator is told of; banjour status names them.",
            manager.problems().await?.len() as u64,
        ),
        (
            "banjour_sources_kept_out",
            "Sources that the firewall keeps out.",
            manager.in_force().await?.into(),
        ),
        (
            "banjour_current_bans",
            "Bans in force, of all jails.",
            manager.currently_banned().await?.into(),
        ),
    ];
    for (name, help, value) in of_all {
        metrics.gauge(name, help, None, value);
    }
    let bans = manager.total_banned().await?;
    metrics.counter("banjour_bans", None, "Bans, of all jails.", None, bans);
    // firewalld does not count, and a firewall that can't tell is a problem already.
    if let Ok((true, packets, bytes)) = manager.dropped().await {
        let packets_help =
            "Packets of banned sources that were dropped, since the firewall's rules were made.";
        let bytes_help = "The same in bytes.";
        let unit = Some("packets");
        metrics.counter("banjour_dropped_packets", unit, packets_help, None, packets);
        let unit = Some("bytes");
        metrics.counter("banjour_dropped_bytes", unit, bytes_help, None, bytes);
    }
    for name in manager.jails().await? {
        let jail = jail_proxy(&connection, &name).await?;
        let label = || Some(("jail", name.clone()));
        metrics.gauge(
            "banjour_jail_failing_sources",
            "Sources with attempts in the jail's window.",
            label(),
            jail.currently_failed().await?.into(),
        );
        metrics.gauge(
            "banjour_jail_current_bans",
            "Bans in force, by jail.",
            label(),
            jail.currently_banned().await?.into(),
        );
        let attempts = jail.total_failed().await?;
        let help = "Failed attempts, each counted once, by jail.";
        metrics.counter("banjour_jail_attempts", None, help, label(), attempts);
        let bans = jail.total_banned().await?;
        metrics.counter("banjour_jail_bans", None, "Bans, by jail.", label(), bans);
    }
    Ok(metrics)
}

impl Metrics {
    fn up(&mut self, up: u64) {
        self.gauge(
            "banjour_up",
            "Whether the agent runs and answers.",
            None,
            up,
        );
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, label: Option<Label>, value: u64) {
        self.add(name, Kind::Gauge, None, help, (label, value));
    }

    fn counter(
        &mut self,
        name: &'static str,
        unit: Option<&'static str>,
        help: &'static str,
        label: Option<Label>,
        value: u64,
    ) {
        self.add(name, Kind::Counter, unit, help, (label, value));
    }

    fn add(
        &mut self,
        name: &'static str,
        kind: Kind,
        unit: Option<&'static str>,
        help: &'static str,
        sample: (Option<Label>, u64),
    ) {
        // All samples of a metric stand together.
        if let Some(metric) = self.0.iter_mut().find(|metric| metric.name == name) {
            metric.samples.push(sample);
            return;
        }
        self.0.push(Metric {
            name,
            kind,
            unit,
            help,
            samples: vec![sample],
        });
    }

    fn write(&self, format: Format) -> String {
        let mut out = String::new();
        for metric in &self.0 {
            metric.write(format, &mut out);
        }
        if format == Format::Openmetrics {
            out += "# EOF\n";
        }
        out
    }
}

impl Metric {
    fn write(&self, format: Format, out: &mut String) {
        let sample = match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Gauge => self.name.to_owned(),
        };
        let (name, kind) = match (format, self.kind) {
            (Format::Openmetrics, Kind::Counter) => (self.name, "counter"),
            (Format::Prometheus, Kind::Counter) => (sample.as_str(), "counter"),
            (_, Kind::Gauge) => (self.name, "gauge"),
        };
        // Writing into a string never fails.
        let _ = writeln!(out, "# HELP {name} {}\n# TYPE {name} {kind}", self.help);
        if let (Format::Openmetrics, Some(unit)) = (format, self.unit) {
            let _ = writeln!(out, "# UNIT {name} {unit}");
        }
        for (label, value) in &self.samples {
            let label = label.as_ref().map_or_else(String::new, |(name, value)| {
                format!("{{{name}=\"{}\"}}", escaped(value))
            });
            let _ = writeln!(out, "{sample}{label} {value}");
        }
    }
}

/// A label's value, as both formats want it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        let mut metrics = Metrics::default();
        metrics.up(1);
        for jail in ["a", "b\"\\\n"] {
            let label = Some(("jail", jail.to_owned()));
            metrics.counter("banjour_x_bytes", Some("bytes"), "Some.", label, 5);
        }
        metrics
    }

    #[test]
    fn openmetrics_has_units_and_an_end() {
        assert_eq!(
            metrics().write(Format::Openmetrics),
            "# HELP banjour_up Whether the agent runs and answers.\n# TYPE banjour_up gauge\nbanjour_up 1\n\
             # HELP banjour_x_bytes Some.\n# TYPE banjour_x_bytes counter\n# UNIT banjour_x_bytes bytes\n\
             banjour_x_bytes_total{jail=\"a\"} 5\nbanjour_x_bytes_total{jail=\"b\\\"\\\\\\n\"} 5\n# EOF\n"
        );
    }

    #[test]
    fn the_older_format_names_counters_as_their_samples() {
        let text = metrics().write(Format::Prometheus);
        assert!(
            text.contains(
                "# TYPE banjour_x_bytes_total counter\nbanjour_x_bytes_total{jail=\"a\"} 5\n"
            ),
            "{text}"
        );
        assert!(!text.contains("UNIT") && !text.contains("EOF"), "{text}");
    }
}
