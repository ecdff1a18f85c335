//! What a piece of evidence costs the policy, with a thousand sources in the window and with a million, and how much
//! memory each source takes: `cargo bench --bench sources`.
//!
//! All sources are in the window of jail `dovecot` when time begins to be taken. Then evidence comes of them in random
//! order, so that each time another one is looked up, counted and, every third time, to be banned. Where other programs run
//! beside it, the column `fastest` tells most.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on has failed"
)]

use std::cell::{Cell, RefCell};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use banjour::ban::JailName;
use banjour::config::Config;
use banjour::filter::{Evidence, Outcome};
use banjour::ignore::List;
use banjour::jail::after;
use banjour::policy::Policy;
use banjour::source::Source;
use banjour::tally::Witness;
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use jiff::Timestamp;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const SOURCES: [u32; 4] = [1_000, 10_000, 100_000, MOST];
const MOST: u32 = 1_000_000;

/// Sources come up for the first time within so long, which is less than the window.
const ARRIVAL: Duration = Duration::from_mins(50);

/// Between two pieces of evidence while time is taken. All of them together are less than what is left of the window.
const PACE: Duration = Duration::from_millis(1);

fn main() {
    let before = anonymous_memory();
    let world = World::new(MOST);
    let memory = anonymous_memory() - before;
    println!(
        "{MOST} sources take {} MiB of memory, {} bytes each",
        memory >> 20,
        memory / u64::from(MOST)
    );
    drop(world);
    divan::main();
}

/// Names that are tried, so few that all of them are remembered: what grows is the number of sources, nothing else.
const NAMES: u32 = 1_000;

/// A policy that has heard of sources.
struct World {
    config: Config,
    policy: Policy,
    ignored: List,
    filter: Arc<str>,
    back: Arc<str>,
    now: Timestamp,
    sources: u32,
    dice: u64,
}

impl World {
    /// The settings are the shipped ones, with room for all sources, but that no name comes under attack: then all are banned
    /// at once who try it, and nothing is counted.
    fn new(sources: u32) -> Self {
        let root = tempfile::tempdir().unwrap();
        let settings = root.path().join("etc/banjour");
        fs::create_dir_all(&settings).unwrap();
        let ample = "account-sources = 0\n[jail.dovecot]\nmax-sources = 2000000\n";
        fs::write(settings.join("banjour.toml"), ample).unwrap();
        let config = Config::load(root.path()).unwrap();
        let mut world = Self {
            policy: Policy::new(&config),
            config,
            ignored: List::default(),
            filter: "dovecot".into(),
            back: "pam_unix".into(),
            now: Timestamp::UNIX_EPOCH,
            sources,
            dice: 42,
        };
        for n in 0..sources {
            let evidence = world.evidence(n, ARRIVAL / sources);
            world.weigh(&evidence);
        }
        world
    }

    /// PAM's word on a source's attempt, so much later than the last one.
    fn evidence(&mut self, n: u32, later: Duration) -> Evidence {
        self.now = after(self.now, later);
        Evidence {
            at: self.now,
            filter: Arc::clone(&self.filter),
            source: host(n),
            user: Some(format!("user{}", n % NAMES)),
            session: None,
            password: None,
            service: None,
            method: None,
            outcome: Outcome::Failure {
                witness: Witness::Back(Arc::clone(&self.back)),
                attempts: 1,
            },
        }
    }

    /// Of any source.
    fn next(&mut self) -> Evidence {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let n = u32::try_from(self.dice >> 33).unwrap() % self.sources;
        self.evidence(n, PACE)
    }

    /// How many sentences follow.
    fn weigh(&mut self, evidence: &Evidence) -> usize {
        let weighed = self
            .policy
            .weigh(evidence, &self.config, &self.ignored, false);
        weighed.sentences.len()
    }
}

fn host(n: u32) -> Source {
    // Attackers' addresses do not lie side by side.
    let bits = n.wrapping_mul(2_654_435_761);
    IpAddr::from(Ipv4Addr::from_bits(bits)).into()
}

/// What this process has in memory that is no file's, in bytes (`proc_pid_status(5)`).
fn anonymous_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    1024 * kib
}

#[divan::bench(args = SOURCES, sample_count = 100, sample_size = 1_000)]
fn evidence(bencher: Bencher<'_, '_>, sources: u32) {
    let world = RefCell::new(World::new(sources));
    let sentences = Cell::new(0);
    bencher
        .counter(ItemsCount::new(1_u32))
        .with_inputs(|| world.borrow_mut().next())
        .bench_local_refs(|evidence| {
            sentences.set(sentences.get() + world.borrow_mut().weigh(evidence));
        });
    assert!(sentences.get() > 0, "nobody was to be banned");
}

/// A line of somebody who is banned, as the last words of his open connections are. There are no more bans than
/// `ban::MAX_BANS`.
#[divan::bench(args = &SOURCES[..3], sample_count = 100, sample_size = 1_000)]
fn banned(bencher: Bencher<'_, '_>, sources: u32) {
    let mut world = World::new(sources);
    let jail: JailName = "dovecot".into();
    let until = after(world.now, Duration::from_hours(1));
    for n in 0..sources {
        world.policy.settle(host(n), &jail, until);
    }
    let world = RefCell::new(world);
    bencher
        .counter(ItemsCount::new(1_u32))
        .with_inputs(|| world.borrow_mut().next())
        .bench_local_refs(|evidence| assert_eq!(world.borrow_mut().weigh(evidence), 0));
}
