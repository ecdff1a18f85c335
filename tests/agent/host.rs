//! A host for one test: a root directory, a bus, a journal, and the agent on it.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use banjour::bus::PATH;
use banjour::filter;
use futures_util::StreamExt;
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;
use zbus::{MatchRule, MessageStream, message};

use crate::bus::Bus;
use crate::daemon::{Agent, Signals, signal_text};
use crate::helper::Helper;
use crate::journal::{Entry, Journal, now};

/// How long anything may take before the test has failed. Machines that run tests are busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// How often is looked whether something has happened.
const POLL: Duration = Duration::from_millis(5);

/// The user id of `nobody`.
pub(crate) const NOBODY: u32 = 65534;

/// Waits until `look` finds something.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(POLL);
    }
}

/// Waits until `look` sees what is wanted, and else tells what it saw last.
#[track_caller]
pub(crate) fn becomes<T: Debug + PartialEq<W>, W: Debug + ?Sized>(
    wanted: &W,
    mut look: impl FnMut() -> T,
) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let seen = look();
        if seen == *wanted {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "not in time\n  wanted: {wanted:?}\n  seen:   {seen:?}"
        );
        thread::sleep(POLL);
    }
}

/// For this test's thread, and all that it starts, a network with nothing but a loopback interface.
pub(crate) fn own_network() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    ip(&["link", "set", "lo", "up"]);
}

/// `ip(8)`.
#[track_caller]
pub(crate) fn ip(arguments: &[&str]) {
    assert!(
        Command::new("ip")
            .args(arguments)
            .status()
            .unwrap()
            .success()
    );
}

/// A host on which nothing runs yet but its bus and its journal.
pub(crate) struct Host {
    pub(crate) bus: Bus,
    pub(crate) journal: Journal,
    pub(crate) helper: Helper,
    notifications: Notifications,
    directory: TempDir,
}

impl Host {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("banjour-test-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        let path = directory.path();
        fs::create_dir(path.join("state")).unwrap();
        let notifications = Notifications::begin(&path.join("notify"));
        let bus = Bus::start(path);
        let host = Self {
            helper: Helper::start(&bus),
            bus,
            journal: Journal::begin(&path.join("root")),
            notifications,
            directory,
        };
        // Tests have their addresses in few networks, and fail under one name.
        let few = "network-sources = 0\naccount-sources = 0\n";
        host.write("etc/banjour/banjour.toml.d/00-test.toml", few);
        // Not every machine has a user "postfix".
        let (name, text) = filter::SHIPPED
            .into_iter()
            .find(|(name, _)| *name == "postfix-sasl")
            .unwrap();
        let text = text.replace("users = [\"postfix\"]", "users = [\"nobody\"]");
        host.write(&format!("etc/banjour/filters/{name}.toml"), &text);
        host
    }

    /// A path below the agent's root.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join("root").join(below)
    }

    /// Where the agent keeps its state.
    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Writes a file below the agent's root.
    pub(crate) fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes the agent's configuration.
    pub(crate) fn configure(&self, text: &str) {
        self.write("etc/banjour/banjour.toml", text);
    }

    /// Starts the agent and waits until it is ready.
    pub(crate) fn start(&self) -> Agent<'_> {
        self.start_with(&[])
    }

    /// Starts the agent with more in its environment.
    pub(crate) fn start_with(&self, environment: &[(&str, &str)]) -> Agent<'_> {
        let mut agent = self.launch(environment);
        until("READY=1", || {
            if let Some(status) = agent.child.try_wait().unwrap() {
                panic!("the agent ended with {status}: {}", self.stderr());
            }
            self.notified("READY=1").then_some(())
        });
        agent
    }

    /// Starts the agent, ready or not.
    pub(crate) fn launch(&self, environment: &[(&str, &str)]) -> Agent<'_> {
        let directory = self.directory.path();
        self.notifications.lines().clear();
        let child = Command::new(env!("CARGO_BIN_EXE_banjourd"))
            .arg("--root")
            .arg(directory.join("root"))
            .env("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address())
            .env("STATE_DIRECTORY", self.state())
            .env("NOTIFY_SOCKET", directory.join("notify"))
            .env_remove("WATCHDOG_USEC")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        Agent { host: self, child }
    }

    /// What the agent that was started last wrote to standard error.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).unwrap()
    }

    /// Whether the agent has told systemd `line` since it was started.
    pub(crate) fn notified(&self, line: &str) -> bool {
        self.notifications.lines().iter().any(|told| told == line)
    }

    /// The last text that the agent gave to `systemctl status`.
    pub(crate) fn status(&self) -> String {
        let lines = self.notifications.lines();
        let last = lines
            .iter()
            .rev()
            .find_map(|line| line.strip_prefix("STATUS="));
        last.unwrap_or_default().to_owned()
    }

    /// Writes `imap-login`'s lines for so many connections with one failed attempt each.
    pub(crate) fn attempts(&self, source: &str, count: usize) {
        for _ in 0..count {
            self.journal.write(&Entry::imap(source, 1));
        }
    }

    /// Writes entries that were made so many minutes ago, at the same moment but for some µs.
    pub(crate) fn attempts_ago(&self, minutes: u64, source: &str, count: u64) {
        let then = now() - minutes * 60_000_000;
        for n in 0..count {
            self.journal.write_at(then + n, &Entry::imap(source, 1));
        }
    }

    /// Collects the agent's signals from now on.
    pub(crate) fn listen(&self) -> Signals {
        let rule = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .path_namespace(PATH)
            .build()
            .unwrap();
        let connection = self.bus.connection();
        let mut stream = self
            .bus
            .run(MessageStream::for_match_rule(rule, connection, None))
            .unwrap();
        let texts = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&texts);
        self.bus.spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                heard.lock().unwrap().push(signal_text(&message));
            }
        });
        Signals(texts)
    }

    /// Runs the command as root.
    pub(crate) fn banjour(&self, arguments: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_banjour"))
            .args(arguments)
            .output()
            .unwrap()
    }

    /// A program that finds this host's bus.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address())
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command
    }

    /// The same, as the user `nobody`.
    pub(crate) fn command_of_nobody(&self, program: &str) -> Command {
        let mut command = self.command("setpriv");
        command
            .arg(format!("--reuid={NOBODY}"))
            .arg(format!("--regid={NOBODY}"))
            .args(["--clear-groups", "--", program]);
        command
    }

    /// Runs the command as `nobody`, who may not be able to get at the file: it is handed over open.
    pub(crate) fn banjour_of_nobody(&self, arguments: &[&str]) -> Output {
        self.command_of_nobody("/proc/self/fd/0")
            .args(arguments)
            .stdin(File::open(env!("CARGO_BIN_EXE_banjour")).unwrap())
            .output()
            .unwrap()
    }
}

/// What the agent tells systemd; read all the time, as systemd does (`sd_notify(3)`).
struct Notifications(Arc<Mutex<Vec<String>>>);

impl Notifications {
    /// Listens until the test process ends.
    fn begin(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&lines);
        thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]);
                let mut heard = heard.lock().unwrap();
                heard.extend(text.lines().map(str::to_owned));
            }
        });
        Self(lines)
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap()
    }
}

/// A file in `directory` whose name begins so.
pub(crate) fn file_like(directory: &Path, beginning: &str) -> Option<PathBuf> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(beginning))
        })
}
