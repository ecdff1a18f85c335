//! Lines to journald, by its native protocol (`systemd.io/JOURNAL_NATIVE_PROTOCOL`). A thread of its own sends them: a socket
//! of journald's that is full, since journald hangs or has another's burst to take, would hold up the sender for as long.

use std::fmt::{self, Write as _};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

const SOCKET: &str = "/run/systemd/journal/socket";

/// Lines that wait for journald, of some 400 bytes each. Beyond that they are not kept, and their number is told.
const QUEUE: usize = 32_768;

/// How long the last lines may take before the process ends.
const PATIENCE: Duration = Duration::from_secs(2);

enum Order {
    /// Send this.
    Send(Vec<u8>),
    /// Say when all before is sent.
    Tell(SyncSender<()>),
}

/// Where `tracing` hands over what is to be logged.
pub(super) struct Journald {
    identifier: &'static str,
    queue: SyncSender<Order>,
    dropped: Arc<AtomicU64>,
}

/// As long as this lives, lines are sent. When it goes, it waits for the last ones, if that does not take long.
#[derive(Debug)]
pub struct Lines(Option<SyncSender<Order>>);

impl Journald {
    /// Opens journald's socket, if there is one.
    pub(super) fn open(identifier: &'static str) -> io::Result<(Self, Lines)> {
        let socket = UnixDatagram::unbound()?;
        // Which journald ignores.
        socket.send_to(&[], SOCKET)?;
        let (queue, orders) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let sender = Sender {
            identifier,
            socket,
            dropped: Arc::clone(&dropped),
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || sender.send_all(&orders))?;
        let lines = Lines(Some(queue.clone()));
        let journald = Self {
            identifier,
            queue,
            dropped,
        };
        Ok((journald, lines))
    }
}

impl Lines {
    /// Where lines do not go to journald, nobody has to wait.
    pub(super) const fn none() -> Self {
        Self(None)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let Some(queue) = &self.0 else { return };
        let (tell, told) = sync_channel(1);
        // A full queue means that journald does not listen.
        if queue.try_send(Order::Tell(tell)).is_ok() {
            let _ = told.recv_timeout(PATIENCE);
        }
    }
}

struct Sender {
    identifier: &'static str,
    socket: UnixDatagram,
    dropped: Arc<AtomicU64>,
}

impl Sender {
    fn send_all(&self, orders: &Receiver<Order>) {
        for order in orders {
            match order {
                Order::Send(line) => self.send(&line),
                Order::Tell(tell) => drop(tell.send(())),
            }
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                let mut line = Line::new(Level::WARN, self.identifier);
                let text = format!(
                    "{dropped} lines of the agent's own are missing here: journald did not take them in time"
                );
                line.put("MESSAGE", &text);
                self.send(&line.0);
            }
        }
    }

    fn send(&self, line: &[u8]) {
        // There is nobody to tell.
        let _ = self.socket.send_to(line, SOCKET);
    }
}

impl<S: Subscriber> Layer<S> for Journald {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let meta = event.metadata();
        let mut line = Line::new(*meta.level(), self.identifier);
        if let (Some(file), Some(number)) = (meta.file(), meta.line()) {
            line.put("CODE_FILE", file);
            line.put("CODE_LINE", &number.to_string());
        }
        event.record(&mut line);
        if self.queue.try_send(Order::Send(line.0)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One entry, as journald takes it.
struct Line(Vec<u8>);

impl Line {
    fn new(level: Level, identifier: &str) -> Self {
        let mut line = Self(Vec::with_capacity(512));
        // syslog(3)
        let priority = match level {
            Level::ERROR => "3",
            Level::WARN => "4",
            Level::INFO => "6",
            _ => "7",
        };
        line.put("PRIORITY", priority);
        line.put("SYSLOG_IDENTIFIER", identifier);
        line
    }

    /// A field; its value may be any bytes, and its name what journald takes: no other letters, and none of its own.
    fn put(&mut self, name: &str, value: &str) {
        let name = name.trim_start_matches('_').bytes();
        self.0.extend(name.map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() => byte.to_ascii_uppercase(),
            _ => b'_',
        }));
        self.0.push(b'\n');
        self.0
            .extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Only what can't be formatted fails.
        let _ = write!(text, "{value:?}");
        self.put(field.name(), &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_written_as_journald_reads_it() {
        let mut line = Line(Vec::new());
        line.put("message", "two\nlines");
        line.put("_so.me", "");
        let wanted = b"MESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\nSO_ME\n\0\0\0\0\0\0\0\0\n";
        assert_eq!(line.0, wanted);
    }

    #[test]
    fn what_does_not_fit_is_counted_and_holds_up_nobody() {
        let (queue, orders) = sync_channel(1);
        let journald = Journald {
            identifier: "test",
            queue,
            dropped: Arc::default(),
        };
        let dropped = Arc::clone(&journald.dropped);
        let subscriber = {
            use tracing_subscriber::layer::SubscriberExt;
            tracing_subscriber::registry().with(journald)
        };
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..3 {
                tracing::info!(SOME_FIELD = n, "line {n}");
            }
        });
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
        let Order::Send(line) = orders.try_recv().unwrap() else {
            panic!("it is to be sent");
        };
        let text = String::from_utf8_lossy(&line);
        for field in [
            "PRIORITY\n",
            "SYSLOG_IDENTIFIER\n",
            "line 0\n",
            "SOME_FIELD\n",
        ] {
            assert!(text.contains(field), "{text:?}");
        }
    }
}
