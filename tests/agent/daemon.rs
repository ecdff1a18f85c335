//! The running agent, as its callers and its signals show it.

use std::fmt::Debug;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread;

use banjour::bus::{BanRow, JailProxy, ManagerProxy, NAME, jail_path};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use zbus::fdo::PropertiesChanged;
use zbus::proxy::CacheProperties;
use zbus::{DBusError, Message};

use crate::host::{Host, becomes, until};
use crate::journal::Entry;

/// A running agent; it is killed when the test drops it.
pub(crate) struct Agent<'a> {
    pub(crate) host: &'a Host,
    pub(crate) child: Child,
}

/// An error that a call was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The error's name, without `org.banjour.Banjour1.Error.` or `org.freedesktop.DBus.Error.`.
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Refusal {
    /// With the error's full name.
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let name = name
            .strip_prefix("org.banjour.Banjour1.Error.")
            .or(name.strip_prefix("org.freedesktop.DBus.Error."))
            .unwrap_or(name);
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
        }
    }
}

impl From<zbus::Error> for Refusal {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, text, _) => {
                Self::new(&name, text.as_deref().unwrap_or_default())
            }
            zbus::Error::FDO(error) => {
                Self::new(&error.name(), error.description().unwrap_or_default())
            }
            error => panic!("{error}"),
        }
    }
}

impl Agent<'_> {
    /// The agent's manager object, without any cache.
    pub(crate) fn manager(&self) -> ManagerProxy<'static> {
        let connection = self.host.bus.connection();
        let build = ManagerProxy::builder(connection)
            .cache_properties(CacheProperties::No)
            .build();
        self.host.bus.run(build).unwrap()
    }

    /// A jail's object, whether it is there or not.
    pub(crate) fn jail(&self, name: &str) -> JailProxy<'static> {
        let connection = self.host.bus.connection();
        let build = JailProxy::builder(connection)
            .path(jail_path(name))
            .cache_properties(CacheProperties::No)
            .build();
        self.host.bus.run(build).unwrap()
    }

    /// Waits for a call's answer.
    pub(crate) fn run<T>(&self, call: impl Future<Output = zbus::Result<T>>) -> Result<T, Refusal> {
        self.host.bus.run(call).map_err(Refusal::from)
    }

    pub(crate) fn ban(&self, source: &str, jail: &str, usec: u64) -> Result<(), Refusal> {
        self.run(self.manager().ban(source, jail, usec, 0))
    }

    pub(crate) fn unban(&self, source: &str, jail: &str) -> Result<u32, Refusal> {
        self.run(self.manager().unban(source, jail, 0))
    }

    pub(crate) fn reload(&self) -> Result<(), Refusal> {
        self.run(self.manager().reload())
    }

    /// Every ban, with its times.
    pub(crate) fn bans(&self) -> Vec<BanRow> {
        self.run(self.manager().list_bans()).unwrap()
    }

    /// Every ban as `source jail`.
    pub(crate) fn banned(&self) -> Vec<String> {
        let text = |(source, jail, ..): BanRow| format!("{source} {jail}");
        self.bans().into_iter().map(text).collect()
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        self.run(self.manager().problems()).unwrap()
    }

    /// Waits for one problem, whose text has `part` in it.
    #[track_caller]
    pub(crate) fn one_problem(&self, part: &str) {
        until(part, || {
            let problems = self.problems();
            (problems.len() == 1 && problems[0].contains(part)).then_some(())
        });
    }

    /// Waits until there is no problem.
    #[track_caller]
    pub(crate) fn no_problem(&self) {
        becomes(&[""; 0][..], || self.problems());
    }

    /// Attempts ever in jail `dovecot`, bans ever in all jails.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (
            self.run(self.jail("dovecot").total_failed()).unwrap(),
            self.run(self.manager().total_banned()).unwrap(),
        )
    }

    /// Waits until all that was written to the journal is dealt with: a source of no other meaning gets banned and
    /// lifted.
    #[track_caller]
    pub(crate) fn catches_up(&self) {
        const BARRIER: &str = "203.0.113.200";
        self.host.journal.write(&Entry::imap(BARRIER, 1000));
        until("the barrier's ban", || {
            self.bans()
                .iter()
                .any(|(source, ..)| source == BARRIER)
                .then_some(())
        });
        self.unban(BARRIER, "").unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    /// SIGTERM, and how the agent then ended.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Waits for the agent's end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        until("the agent's end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the agent's standard error:\n{}", self.host.stderr());
        }
    }
}

/// The agent's signals, each as a line of text.
pub(crate) struct Signals(pub(crate) Arc<Mutex<Vec<String>>>);

impl Signals {
    /// Waits for a signal, and takes it and all before it.
    #[track_caller]
    pub(crate) fn hear(&self, wanted: &str) -> Vec<String> {
        until(wanted, || {
            let mut heard = self.0.lock().unwrap();
            let index = heard.iter().position(|text| text == wanted)?;
            Some(heard.drain(..=index).collect())
        })
    }
}

pub(crate) fn signal_text(message: &Message) -> String {
    let header = message.header();
    let member = header.member().unwrap().to_string();
    let body = message.body();
    match member.as_str() {
        "BanNew" => {
            let (source, jail, _): (String, String, u64) = body.deserialize().unwrap();
            format!("BanNew {source} {jail}")
        }
        "BanRemoved" => {
            let (source, jail, reason): (String, String, String) = body.deserialize().unwrap();
            format!("BanRemoved {source} {jail} {reason}")
        }
        "AccountUnderAttack" => {
            let (user, sources): (String, u32) = body.deserialize().unwrap();
            format!("AccountUnderAttack {user} {sources}")
        }
        "BanIgnored" => {
            let (source, jail, attempts, user): (String, String, u32, String) =
                body.deserialize().unwrap();
            format!("BanIgnored {source} {jail} {attempts} {user}")
        }
        "PropertiesChanged" => {
            let changed = PropertiesChanged::from_message(message.clone()).unwrap();
            let changed = changed.args().unwrap();
            let names: Vec<_> = changed
                .changed_properties()
                .keys()
                .copied()
                .chain(changed.invalidated_properties().iter().copied())
                .collect();
            format!("PropertiesChanged {}", names.join(" "))
        }
        other => other.to_owned(),
    }
}

/// A message for the agent that no proxy would send.
pub(crate) fn raw_call<B>(
    host: &Host,
    path: &str,
    interface: &str,
    method: &str,
    body: &B,
) -> Result<Message, Refusal>
where
    B: serde::Serialize + zbus::zvariant::DynamicType,
{
    let call = host
        .bus
        .connection()
        .call_method(Some(NAME), path, Some(interface), method, body);
    host.bus.run(call).map_err(Refusal::from)
}
