//! Tests on real Debian mail hosts: a guest of each release and firewall, with banjour installed in it, and attackers
//! outside. Each case is a test of its own (`bookworm::three_imap_attempts_ban_and_two_do_not` with firewalld,
//! `bookworm-nftables::…` without), and uses addresses of its own, so the cases of a host share one guest, one after the
//! other; the releases run side by side. Needs root.

#[path = "guest/admin.rs"]
mod admin;
#[path = "guest/agent.rs"]
mod agent;
#[path = "guest/before.rs"]
mod before;
#[path = "guest/bulk.rs"]
mod bulk;
#[path = "guest/bus.rs"]
mod bus;
#[path = "guest/check.rs"]
mod check;
#[path = "guest/client.rs"]
mod client;
#[path = "guest/config.rs"]
mod config;
#[path = "guest/connections.rs"]
mod connections;
#[path = "guest/counting.rs"]
mod counting;
#[path = "guest/detection.rs"]
mod detection;
#[path = "guest/fault.rs"]
mod fault;
#[path = "guest/faults.rs"]
mod faults;
#[path = "guest/fire.rs"]
mod fire;
#[path = "guest/firewall.rs"]
mod firewall;
#[path = "guest/firewalld.rs"]
mod firewalld;
#[path = "guest/forgery.rs"]
mod forgery;
#[path = "guest/helper.rs"]
mod helper;
#[path = "guest/host.rs"]
mod host;
#[path = "guest/kernel.rs"]
mod kernel;
#[path = "guest/load.rs"]
mod load;
#[path = "guest/monitoring.rs"]
mod monitoring;
#[path = "guest/own.rs"]
mod own;
#[path = "guest/package.rs"]
mod package;
#[path = "guest/policy.rs"]
mod policy;
#[path = "guest/readme.rs"]
mod readme;
#[path = "guest/restart.rs"]
mod restart;
#[path = "guest/rights.rs"]
mod rights;
#[path = "guest/session.rs"]
mod session;
#[path = "guest/soak.rs"]
mod soak;
#[path = "guest/storm.rs"]
mod storm;
#[path = "guest/why.rs"]
mod why;
#[path = "guest/wire.rs"]
mod wire;
#[path = "guest/witnesses.rs"]
mod witnesses;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Trial};
use nix::unistd::Uid;

use agent::SOON;
use host::{Guest, wait_for};
use kernel::Firewall;

const RELEASES: [&str; 2] = ["bookworm", "trixie"];

/// A named case of a theme.
type Case = (&'static str, fn(&Guest) -> Result<()>);

/// What every firewall must do alike.
const EVERYWHERE: [&[Case]; 7] = [
    detection::EVERYWHERE,
    firewall::CASES,
    connections::CASES,
    helper::CASES,
    restart::EVERYWHERE,
    fire::CASES,
    why::EVERYWHERE,
];

/// What has nothing to do with the firewall, or with firewalld alone.
const FIREWALLD: [&[Case]; 16] = [
    detection::CASES,
    counting::CASES,
    witnesses::CASES,
    forgery::CASES,
    firewalld::CASES,
    helper::IDLE,
    policy::CASES,
    bus::CASES,
    admin::CASES,
    check::CASES,
    rights::CASES,
    restart::CASES,
    config::CASES,
    monitoring::CASES,
    readme::CASES,
    why::CASES,
];

/// What is about rules and sets that are banjour's own.
const NFTABLES: [&[Case]; 6] = [
    own::CASES,
    own::NFTABLES,
    bulk::CASES,
    helper::IDLE,
    check::HELPER,
    monitoring::CASES,
];
const IPTABLES: [&[Case]; 3] = [own::CASES, bulk::CASES, check::HELPER];

/// What takes long, and so is not tried everywhere.
fn long(release: &str, firewall: Firewall) -> &'static [&'static [Case]] {
    match (release, firewall) {
        ("trixie", Firewall::Firewalld | Firewall::Nftables) if soak::is_wanted() => &[soak::CASES],
        ("trixie", Firewall::Firewalld | Firewall::Nftables) => &[faults::CASES, storm::CASES],
        ("bookworm", Firewall::Nftables) => &[faults::OLDEST],
        _ => &[],
    }
}

/// The functions of a theme, with their names.
macro_rules! cases {
    ($list:ident: $($case:ident),* $(,)?) => {
        pub(crate) const $list: &[crate::Case] = &[$((stringify!($case), $case)),*];
    };
    ($($case:ident),* $(,)?) => {
        crate::cases![CASES: $($case),*];
    };
}
pub(crate) use cases;

/// The guest of a release and firewall: booted by the first case that wants it. If that fails, so do all cases.
enum Slot {
    NotYet,
    Up(Guest),
    Failed,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if !arguments.list && !Uid::effective().is_root() {
        eprintln!("the guest tests need root, to start guests: run `make test`");
        return ExitCode::FAILURE;
    }
    // A thread for each release, and the trials in turns: so both are always at work, and each case waits for no other's.
    arguments.test_threads.get_or_insert(RELEASES.len());
    let trials = Firewall::ALL.into_iter().flat_map(trials);
    libtest_mimic::run(&arguments, trials.chain(package::trials()).collect()).exit_code()
}

/// All cases on guests with this firewall. Only they hold a guest, which so goes with the last of them.
fn trials(firewall: Firewall) -> Vec<Trial> {
    let others: &[&[Case]] = match firewall {
        Firewall::Firewalld => &FIREWALLD,
        Firewall::Nftables => &NFTABLES,
        Firewall::IptablesNft | Firewall::IptablesLegacy => &IPTABLES,
    };
    let tests = [&EVERYWHERE, others].concat().concat();
    let slots = RELEASES.map(|release| (release, Arc::new(Mutex::new(Slot::NotYet))));
    let slots = slots.each_ref();
    let on = |release, slot: &Arc<Mutex<Slot>>, (name, case): Case| {
        let (name, slot) = (
            format!("{release}{}::{name}", firewall.suffix()),
            Arc::clone(slot),
        );
        Trial::test(name, move || Ok(run(release, firewall, &slot, case)?))
    };
    let on_each = |case| slots.map(|(release, slot)| on(release, slot, case));
    let long = slots.iter().flat_map(|(release, slot)| {
        let cases = long(release, firewall).concat().into_iter();
        cases.map(move |case| on(release, slot, case))
    });
    tests.into_iter().flat_map(on_each).chain(long).collect()
}

/// One case on its guest, which the slot holds as long as there are cases for it.
fn run(
    release: &'static str,
    firewall: Firewall,
    slot: &Mutex<Slot>,
    case: fn(&Guest) -> Result<()>,
) -> Result<(), String> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Slot::NotYet = *slot {
        *slot = match Guest::boot(release, firewall) {
            Ok(guest) => Slot::Up(guest),
            Err(error) => {
                *slot = Slot::Failed;
                return Err(format!("{error:#}"));
            }
        };
    }
    let Slot::Up(guest) = &*slot else {
        return Err("the guest did not come up: see the first case".to_owned());
    };
    case(guest)
        .and_then(|()| left_in_order(guest).context("after the case"))
        .map_err(|error| format!("{error:#}\n{}", guest.report()))
}

/// Whatever a case did, the agent runs and has no complaint soon after its end.
fn left_in_order(guest: &Guest) -> Result<()> {
    guest.wait_until_up(0)?;
    let mut problems = Vec::new();
    wait_for("the last problem to be solved", SOON, || {
        problems = guest.problems()?;
        Ok(problems.is_empty())
    })
    .with_context(|| format!("problems: {problems:?}"))
}
