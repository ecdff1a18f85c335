//! The real agent and command, each test on a system bus of its own, with a configuration, a journal and a state of its
//! own. What is played here are the peers: journald's files are written as they come, firewalld, polkit and resolved are
//! answered for as the test wants. Needs root, since some callers are somebody else.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "agent/attempts.rs"]
mod attempts;
#[path = "agent/backend.rs"]
mod backend;
#[path = "agent/bounds.rs"]
mod bounds;
#[path = "agent/browser.rs"]
mod browser;
#[path = "agent/bus.rs"]
mod bus;
#[path = "agent/check.rs"]
mod check;
#[path = "agent/command.rs"]
mod command;
#[path = "agent/complete.rs"]
mod complete;
#[path = "agent/crash.rs"]
mod crash;
#[path = "agent/daemon.rs"]
mod daemon;
#[path = "agent/damage.rs"]
mod damage;
#[path = "agent/disconnect.rs"]
mod disconnect;
#[path = "agent/disk.rs"]
mod disk;
#[path = "agent/enforcement.rs"]
mod enforcement;
#[path = "agent/firewalld.rs"]
mod firewalld;
#[path = "agent/helper.rs"]
mod helper;
#[path = "agent/host.rs"]
mod host;
#[path = "agent/ignore.rs"]
mod ignore;
#[path = "agent/import.rs"]
mod import;
#[path = "agent/inspect.rs"]
mod inspect;
#[path = "agent/journal.rs"]
mod journal;
#[path = "agent/loss.rs"]
mod loss;
#[path = "agent/memory.rs"]
mod memory;
#[path = "agent/metrics.rs"]
mod metrics;
#[path = "agent/names.rs"]
mod names;
#[path = "agent/orders.rs"]
mod orders;
#[path = "agent/policy.rs"]
mod policy;
#[path = "agent/polkit.rs"]
mod polkit;
#[path = "agent/reader.rs"]
mod reader;
#[path = "agent/replay.rs"]
mod replay;
#[path = "agent/report.rs"]
mod report;
#[path = "agent/resolved.rs"]
mod resolved;
#[path = "agent/restart.rs"]
mod restart;
#[path = "agent/rights.rs"]
mod rights;
#[path = "agent/settings.rs"]
mod settings;
#[path = "agent/trouble.rs"]
mod trouble;
#[path = "agent/watch.rs"]
mod watch;
#[path = "agent/week.rs"]
mod week;
#[path = "agent/window.rs"]
mod window;
