//! A system bus for one test, and the loop on which the test's own ends of it run.

use std::fs;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::timeout;
use zbus::{Connection, connection};

use crate::host::DEADLINE;

/// As the system's bus, but that everybody may do everything: what a caller may do is the agent's decision here.
const CONFIGURATION: &str = r#"<busconfig>
    <type>custom</type>
    <listen>unix:path=SOCKET</listen>
    <auth>EXTERNAL</auth>
    <policy context="default">
        <allow user="*"/>
        <allow own="*"/>
        <allow send_destination="*" eavesdrop="true"/>
        <allow eavesdrop="true"/>
    </policy>
</busconfig>
"#;

/// The bus, which ends with the test.
pub(crate) struct Bus {
    daemon: Mutex<Child>,
    address: String,
    connection: Connection,
    background: Background,
}

impl Bus {
    /// Starts a bus with its socket in `directory`.
    pub(crate) fn start(directory: &Path) -> Self {
        let configuration = directory.join("bus.conf");
        let socket = directory.join("bus");
        fs::write(
            &configuration,
            CONFIGURATION.replace("SOCKET", socket.to_str().unwrap()),
        )
        .unwrap();
        let mut daemon = Command::new("dbus-daemon")
            .args(["--nofork", "--print-address", "--config-file"])
            .arg(configuration)
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon is installed");
        let mut address = String::new();
        BufReader::new(daemon.stdout.as_mut().unwrap())
            .read_line(&mut address)
            .unwrap();
        let address = address.trim().to_owned();
        let background = Background::start();
        let connection = background.run(connect(&address));
        Self {
            daemon: Mutex::new(daemon),
            address,
            connection,
            background,
        }
    }

    /// Ends the bus, whoever is still on it.
    pub(crate) fn kill(&self) {
        let mut daemon = self.daemon.lock().unwrap();
        let _ = daemon.kill();
        let _ = daemon.wait();
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A connection of root.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Begins a connection that offers something.
    pub(crate) fn builder(&self) -> connection::Builder<'static> {
        connection::Builder::address(self.address.as_str())
    }

    /// Waits for `future`, which must not take long.
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        self.background.run(future)
    }

    /// Lets `future` run beside the test.
    pub(crate) fn spawn<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.background.handle.spawn(future);
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn connect(address: &str) -> Connection {
    connection::Builder::address(address).build().await.unwrap()
}

/// A thread that runs tasks, so that a test reads from top to bottom and its fakes answer all the while.
struct Background {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let _ = runtime.block_on(stopped);
            runtime.shutdown_timeout(Duration::ZERO);
        });
        Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn run<F: Future>(&self, future: F) -> F::Output {
        self.handle
            .block_on(async { timeout(DEADLINE, future).await })
            .expect("no answer on the bus")
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
