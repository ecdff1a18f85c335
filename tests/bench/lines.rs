//! What a line costs: all that the reader does with one, through all shipped filters.
//!
//! `cargo bench --bench lines` measures typical lines, and those that are full of what patterns look for; it
//! tries each piece in each frame and shows the slowest, which should stay below 1 ms.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::fmt;
use std::time::{Duration, Instant};

use banjour::filter::{
    Entry, Filter, Finding, Looks, MAX_MESSAGE, Outcome, SHIPPED, Writer, shape, shown,
};
use banjour::source::Source;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use jiff::Timestamp;

#[path = "../fuzz/lines.rs"]
#[expect(dead_code, reason = "the fuzzer checks more than a bench measures")]
mod lines;

use lines::Lines;
use lines::frames::{FRAMES, Frame, PIECES};

/// A line is timed this often, and its best time counts: others run on the machine.
const ROUNDS: usize = 5;

/// So many of the slowest are shown.
const SHOWN: usize = 15;

/// One of each kind.
const TYPICAL: [Line; 9] = [
    line(
        "nothing, dovecot",
        "dovecot.service",
        "root",
        "imap(alice)<4711><E0Rab91gY9LGEgAE>: Disconnected: Logged out in=1054 out=23847 deleted=0 expunged=0 trashed=0 hdr_count=3 hdr_bytes=1203 body_count=1 body_bytes=3040",
    ),
    line(
        "nothing, postfix",
        "postfix@-.service",
        "postfix",
        "connect from unknown[192.0.2.7]",
    ),
    line(
        "nothing, delivery",
        "postfix@-.service",
        "postfix",
        "4bKx2J3z8Yz1C: to=<alice@example.org>, relay=mx.example[198.51.100.9]:25, delay=1.2, delays=0.1/0/0.5/0.6, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 3F2A1B0C)",
    ),
    line(
        "success, dovecot",
        "dovecot.service",
        "root",
        "imap-login: Login: user=<alice>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.2, mpid=4711, TLS, session=<b0Xyz91gY9LGEgAE>",
    ),
    line(
        "front, dovecot 2.3",
        "dovecot.service",
        "root",
        "imap-login: Disconnected: Connection closed (auth failed, 3 attempts in 19 secs): user=<bob>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.2, TLS, session=<b0Xyz91gY9LGEgAE>",
    ),
    line(
        "front, dovecot 2.4",
        "dovecot.service",
        "root",
        "imap-login: Login aborted: Logged out (auth failed, 1 attempts in 4 secs) (auth_failed): user=<bob>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.2, TLS, session=<b0Xyz91gY9LGEgAE>",
    ),
    line(
        "back, pam",
        "dovecot.service",
        "root",
        "pam_unix(dovecot:auth): authentication failure; logname= uid=0 euid=0 tty=dovecot ruser=bob rhost=192.0.2.7  user=bob",
    ),
    line(
        "back, passwd-file",
        "dovecot.service",
        "root",
        "auth: passwd-file(bob,192.0.2.7,<b0Xyz91gY9LGEgAE>): Password mismatch",
    ),
    line(
        "front, postfix",
        "postfix@-.service",
        "postfix",
        "warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: (reason unavailable), sasl_username=bob",
    ),
];

/// A line, and who writes it.
#[derive(Clone, Copy)]
struct Line {
    name: &'static str,
    unit: &'static str,
    user: &'static str,
    message: &'static str,
}

const fn line(
    name: &'static str,
    unit: &'static str,
    user: &'static str,
    message: &'static str,
) -> Line {
    Line {
        name,
        unit,
        user,
        message,
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

impl Lines {
    /// All that the reader does with a line.
    fn pass(&self, unit: &str, user: &str, message: &[u8]) -> (Vec<Finding>, bool) {
        let filters = self.filters.iter();
        let understood: Vec<_> = filters
            .filter_map(|filter| filter.understand(message))
            .collect();
        if understood.is_empty() {
            return (Vec::new(), self.looks.like_a_failure(message));
        }
        let entry = Entry {
            unit,
            writer: Writer::User(user),
            message,
            at: Timestamp::UNIX_EPOCH,
        };
        let found = understood.iter().filter_map(|known| known.read(&entry));
        (found.collect(), false)
    }
}

impl Frame {
    /// The line with a piece in it so often that it is as long as this, or nearly so: what a client may write if nothing
    /// cuts it.
    fn crammed(&self, piece: &[u8], length: usize) -> Vec<u8> {
        let room = (length - self.line.len()) / self.line.matches("{}").count();
        let text = piece.repeat(room / piece.len());
        let parts: Vec<_> = self.line.split("{}").map(str::as_bytes).collect();
        parts.join(&*text)
    }
}

fn main() {
    divan::main();
    // Nobody who lists benches, or tests that they run, waits for it.
    if std::env::args().any(|argument| argument == "--bench") {
        slowest(MAX_MESSAGE);
        slowest(64 * 1024);
    }
}

#[divan::bench(args = TYPICAL)]
fn typical(bencher: Bencher<'_, '_>, line: Line) {
    let lines = Lines::new();
    bencher
        .counter(BytesCount::of_str(line.message))
        .bench_local(|| lines.pass(line.unit, line.user, black_box(line.message.as_bytes())));
}

/// Of one byte that no pattern looks for: as long as any that is read, and 64 KiB.
#[divan::bench(args = [MAX_MESSAGE, 64 * 1024])]
fn plain(bencher: Bencher<'_, '_>, length: usize) {
    let lines = Lines::new();
    let message = vec![b'x'; length];
    bencher
        .counter(BytesCount::new(message.len()))
        .bench_local(|| lines.pass("dovecot.service", "root", black_box(&message)));
}

/// Each piece in each frame, as long as may be.
fn slowest(length: usize) {
    let lines = Lines::new();
    let mut all = Vec::new();
    for frame in &FRAMES {
        for piece in PIECES {
            let message = frame.crammed(piece.as_bytes(), length);
            let once = || {
                let begun = Instant::now();
                black_box(lines.pass(frame.unit, frame.user, black_box(&message)));
                begun.elapsed()
            };
            let time = (0..ROUNDS).map(|_| once()).min().unwrap();
            all.push((time, frame.line, piece));
        }
    }
    all.sort_unstable_by(|a, b| b.cmp(a));
    let slow = all
        .iter()
        .filter(|(time, ..)| *time >= Duration::from_millis(1));
    println!(
        "{} lines of {length} bytes, {} of them in 1 ms or more; median {:.0} µs; the slowest:",
        all.len(),
        slow.count(),
        micros(all[all.len() / 2].0)
    );
    for (time, line, piece) in &all[..SHOWN] {
        println!("{:8.0} µs  {piece:?} in {line}", micros(*time));
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
