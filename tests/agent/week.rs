//! A week of attacks: guessers who come by day more than by night, are banned, and come back; and what the agent told of it.

use std::path::Path;

use crate::journal::{Entry, Journal, MACHINE, now};

const MINUTE: u64 = 60_000_000;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;
pub(crate) const GUESSERS: u64 = 120;
/// A system account of the host that the journal comes from.
const POSTFIX: u32 = 110;

/// Names that would do something in a page, or to a line, if they could.
const HOSTILE: [&str; 4] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "eve\u{202e}nimda",
    "</svg></style><h1>owned",
];

fn imap(service: &str, method: &str, source: &str, user: &str) -> Entry {
    let message = format!(
        "{service}-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<{user}>, \
         method={method}, rip={source}, lip=192.0.2.2, session=<E0Rab91gY9LGEgAE>"
    );
    Entry::of("dovecot.service", 0, &message)
}

fn login(source: &str, user: &str) -> Entry {
    let message = format!(
        "imap-login: Login: user=<{user}>, method=PLAIN, rip={source}, lip=192.0.2.2, mpid=7, session=<x>"
    );
    Entry::of("dovecot.service", 0, &message)
}

fn smtp(source: &str, user: &str) -> Entry {
    let message = format!(
        "warning: unknown[{source}]: SASL LOGIN authentication failed: (reason unavailable), sasl_username={user}"
    );
    Entry::of("postfix.service", POSTFIX, &message)
}

/// Numbers that look like chance, and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// A time up to so many minutes, to the µs.
    fn minutes(&mut self, limit: u64) -> u64 {
        self.below(limit) * MINUTE + self.below(MINUTE)
    }
}

/// What the test knows of the week that it made up.
pub(crate) struct Week {
    pub(crate) since: u64,
    pub(crate) attempts: u64,
    pub(crate) bans: u64,
    /// Who was banned, and logged in later.
    pub(crate) suspect: String,
}

/// Writes a week of attacks, and what the agent did about them, into a journal below `root`.
pub(crate) fn write_week(root: &Path) -> Week {
    let names = [
        "info",
        "admin",
        "test",
        "bob",
        "sales",
        "contact",
        "office",
        "postmaster",
        "alice",
        "support",
    ];
    // Whole days, so that it looks the same whenever it is looked at.
    let since = (now() / DAY - 8) * DAY;
    let mut chance = Chance(42);
    let mut entries: Vec<(u64, Entry)> = Vec::new();
    let mut week = Week {
        since,
        attempts: 0,
        bans: 0,
        suspect: String::new(),
    };
    for guesser in 0..GUESSERS {
        // Few networks have most of them, and some never stop.
        let network = chance.below(6) * chance.below(6);
        let source = format!("198.18.{network}.{}", guesser + 1);
        if week.suspect.is_empty() {
            week.suspect.clone_from(&source);
        }
        let (mut at, mut bans) = (since + chance.minutes(5 * 24 * 60), 0);
        for _ in 0..=chance.below(4) * chance.below(4) {
            // By night, most wait.
            let hour = at / HOUR % 24;
            if !(7..20).contains(&hour) && chance.below(4) > 0 {
                at += (31 - hour) % 24 * HOUR + chance.minutes(9 * 60);
            }
            for _ in 0..3 {
                at += MINUTE + chance.minutes(15);
                let user = match chance.below(40) {
                    0..4 => HOSTILE[0],
                    4..6 => HOSTILE[usize::try_from(chance.below(4)).unwrap()],
                    n => names[usize::try_from(n % 10 * (n / 10) % 10).unwrap()],
                };
                let entry = match chance.below(10) {
                    0..5 => smtp(&source, user),
                    5..9 => imap("imap", "PLAIN", &source, user),
                    _ => imap("pop3", "LOGIN", &source, user),
                };
                entries.push((at, entry));
                week.attempts += 1;
            }
            let until = at + (HOUR << bans);
            entries.push((at + 1000, Entry::ban(&source, "dovecot", until)));
            entries.push((until, Entry::unban(&source, "dovecot", "expired")));
            week.bans += 1;
            bans = (bans + 1).min(7);
            at = until + chance.minutes(8 * 60);
            if at > since + 6 * DAY {
                break;
            }
        }
    }
    // A customer with a new phone, and one who is let in again after too many mistakes.
    entries.push((since + DAY, login("203.0.113.7", "alice")));
    for n in 1..=20 {
        let at = since + DAY + n * 10 * MINUTE;
        entries.push((at, imap("imap", "PLAIN", "203.0.113.7", "alice")));
    }
    entries.push((since + 3 * DAY, login(&week.suspect, "carol")));
    entries.retain(|(at, _)| *at < since + 7 * DAY);
    entries.sort_by_key(|(at, _)| *at);
    let journal = Journal::begin_at(root, MACHINE, since - HOUR);
    for (at, entry) in &entries {
        journal.write_at(*at, entry);
    }
    journal.rotate();
    week
}
