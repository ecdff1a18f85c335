//! Something goes wrong under load: soon after, all is as if it had not. What goes wrong is data; one after the other here,
//! in any order and two at a time as well, and for as long as one likes with `make soak`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::before::{After, Before, Journal};
use crate::client::Service::Imap;
use crate::host::{Guest, wait_for};
use crate::kernel::Firewall;
use crate::load::{Dice, Load};

crate::cases![
    whatever_becomes_of_the_journal_all_of_it_counts,
    whatever_becomes_of_the_bus_and_the_firewall_bans_are_in_force,
    however_the_agent_ends_it_goes_on_where_it_was,
    a_full_disk_loses_nothing,
    faults_in_any_order_and_two_at_a_time,
];

/// Where the journal is Debian 12's.
pub(crate) const OLDEST: &[crate::Case] = &[
    (
        "whatever_becomes_of_the_journal_all_of_it_counts",
        whatever_becomes_of_the_journal_all_of_it_counts,
    ),
    (
        "faults_in_any_order_and_two_at_a_time",
        faults_in_any_order_and_two_at_a_time,
    ),
];

/// How many sources attack during a fault.
const SOURCES: u32 = 300;
/// The attack goes on for so long before and after.
const CALM: Duration = Duration::from_millis(500);
/// An answer over the bus takes milliseconds; a loaded test machine may need longer.
const ANSWER: Duration = Duration::from_secs(3);

/// What the agent can do meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Agent {
    /// It answers, and counts on.
    Counts,
    /// It runs, but hears late of what is written.
    Runs,
    /// It has to begin again.
    Ends,
}

/// What goes wrong.
#[derive(Clone, Copy)]
struct Fault {
    name: &'static str,
    agent: Agent,
    journal: Journal,
    /// For a shell. DELAYS are some random times, in seconds.
    script: &'static str,
}

const fn fault(name: &'static str, agent: Agent, script: &'static str) -> Fault {
    Fault {
        name,
        agent,
        journal: Journal::Whole,
        script,
    }
}

const JOURNAL: [Fault; 5] = [
    fault(
        "journal rotated",
        Agent::Runs,
        "for delay in DELAYS; do journalctl --rotate; sleep $delay; done",
    ),
    fault(
        "journald restarted",
        Agent::Runs,
        "for delay in DELAYS; do systemctl restart systemd-journald; sleep $delay
         systemctl reset-failed systemd-journald; done",
    ),
    Fault {
        journal: Journal::Killed(DELAYS as u64),
        ..fault(
            "journald killed",
            Agent::Runs,
            "for delay in DELAYS; do systemctl kill --signal=KILL systemd-journald; sleep $delay
             systemctl reset-failed systemd-journald; done",
        )
    },
    fault(
        "journald hung",
        Agent::Runs,
        "systemctl kill --signal=STOP systemd-journald; sleep 2; systemctl kill --signal=CONT systemd-journald",
    ),
    Fault {
        journal: Journal::Vacuumed,
        ..fault(
            "journal vacuumed",
            Agent::Runs,
            "for delay in DELAYS; do journalctl -q --rotate --vacuum-time=1s; sleep $delay
             journalctl -q --rotate --vacuum-files=1; done",
        )
    },
];

const HELPER: [Fault; 2] = [
    fault(
        "helper killed",
        Agent::Counts,
        "for i in $(seq 40); do systemctl kill --signal=KILL HELPER || true; sleep 0.05; done 2>/dev/null",
    ),
    // A call has it started; who asks for what only it knows is not kept waiting.
    fault(
        "helper hung",
        Agent::Counts,
        "busctl -q call HELPER_NAME /org/banjour/Netfilter1 org.banjour.Netfilter1 List >/dev/null
         systemctl kill --signal=STOP HELPER; sleep 2; timeout 20 banjour status >/dev/null
         sleep 2; systemctl kill --signal=CONT HELPER",
    ),
];

const BUS: [Fault; 1] = [fault(
    "bus restarted",
    Agent::Ends,
    "systemctl restart dbus; sleep 0.5; systemctl restart systemd-logind
     ! systemctl --quiet is-enabled firewalld || systemctl restart firewalld",
)];

const FIREWALLD: [Fault; 5] = [
    fault(
        "firewalld reloaded",
        Agent::Counts,
        "for delay in DELAYS; do firewall-cmd --quiet --reload; sleep $delay; done",
    ),
    fault(
        "firewalld restarted",
        Agent::Counts,
        "systemctl restart firewalld",
    ),
    fault(
        "firewalld stopped",
        Agent::Counts,
        "systemctl stop firewalld; sleep 3; systemctl start firewalld",
    ),
    fault(
        "firewalld hung",
        Agent::Counts,
        "systemctl kill --signal=STOP firewalld; sleep 2; timeout 20 banjour status >/dev/null
         sleep 2; systemctl kill --signal=CONT firewalld",
    ),
    fault(
        "firewalld hung and killed",
        Agent::Counts,
        "systemctl kill --signal=STOP firewalld; sleep 1; systemctl kill --signal=KILL firewalld
         sleep 2; systemctl start firewalld",
    ),
];

const AGENT: [Fault; 4] = [
    fault(
        "agent stopped again and again",
        Agent::Ends,
        "for delay in DELAYS; do
             systemctl stop banjour
             [ $(systemctl show -P Result banjour) = success ]
             systemctl start --no-block banjour; sleep $delay
         done",
    ),
    fault(
        "agent killed",
        Agent::Ends,
        "for delay in DELAYS; do
             systemctl kill --signal=KILL banjour || true
             systemctl restart --no-block banjour; sleep $delay
         done",
    ),
    // Nobody but systemd's watchdog helps.
    fault(
        "agent hung",
        Agent::Ends,
        "old=$(systemctl show -P MainPID banjour); [ $old = 0 ] || kill -STOP $old
         while pid=$(systemctl show -P MainPID banjour); [ $pid = 0 ] || [ $pid = $old ]; do sleep 0.1; done",
    ),
    fault(
        "agent stopped for a while",
        Agent::Ends,
        "systemctl stop banjour; sleep 3; systemctl start banjour",
    ),
];

const DISK: [Fault; 2] = [
    fault(
        "disk full",
        Agent::Counts,
        "head -c 1G /dev/zero >/var/lib/banjour/filler 2>/dev/null || true
         until banjour status | grep -q 'cannot save state'; do sleep 0.1; done
         sleep 1; rm -f /var/lib/banjour/filler",
    ),
    // It has nowhere to write to, and comes back to the same.
    fault(
        "disk full and agent killed",
        Agent::Ends,
        "head -c 1G /dev/zero >/var/lib/banjour/filler 2>/dev/null || true
         for delay in DELAYS; do systemctl kill --signal=KILL banjour || true
         systemctl restart --no-block banjour; sleep $delay; done
         rm -f /var/lib/banjour/filler",
    ),
];

/// How long a fault may take, in seconds, and how timeout(1) says that it took longer.
const TIME: &str = "60";
const HANGS: i32 = 124;

/// How many random times there are, and how long each is at the most, in ms.
const DELAYS: usize = 4;
const LONGEST: usize = 900;

impl Fault {
    fn happen(&self, guest: &Guest, dice: &mut Dice, alone: bool) -> Result<()> {
        let delays: [String; DELAYS] =
            std::array::from_fn(|_| format!("0.{:03}", dice.roll(LONGEST)));
        let script = self
            .script
            .replace("DELAYS", &delays.join(" "))
            .replace("HELPER_NAME", guest.firewall.helper())
            .replace("HELPER", guest.firewall.unit());
        let done = guest.run(&["timeout", TIME, "sh", "-euc", &script])?;
        // What another fault does at the same time may make this one fail, but not hang.
        ensure!(
            done.code == 0 || !alone && done.code != HANGS,
            "`{script}` exited with {}: {}",
            done.code,
            done.err
        );
        Ok(())
    }
}

/// All faults that may come together. What is thrown away while nobody reads it is lost, so that one must not.
fn all(guest: &Guest) -> Vec<Fault> {
    let mut all = [&JOURNAL[..], &HELPER, &BUS, &AGENT, &DISK].concat();
    if guest.firewall == Firewall::Firewalld {
        all.extend(FIREWALLD);
    }
    all.retain(|fault| fault.journal != Journal::Vacuumed);
    all
}

/// While attacks go on, so do these, each in a thread of its own, one after the other. Then all is in order.
fn under_load(guest: &Guest, dice: &mut Dice, faults: &[&[Fault]]) -> Result<After> {
    let before = Before::of(guest)?;
    let (all, alone) = (faults.concat(), faults.len() == 1);
    let (load_is_over, faults_are_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let goes_on = all.iter().all(|fault| fault.agent == Agent::Counts);
    let ledger = std::thread::scope(|scope| {
        let load = Load::start(scope, guest, &load_is_over, dice.another(), SOURCES)?;
        std::thread::sleep(CALM);
        let asking = goes_on.then(|| scope.spawn(|| goes_on_until(guest, &faults_are_over)));
        let mut going_wrong = Vec::new();
        for row in faults {
            let mut dice = dice.another();
            going_wrong.push(scope.spawn(move || {
                row.iter()
                    .try_for_each(|fault| fault.happen(guest, &mut dice, alone).context(fault.name))
            }));
        }
        let gone_wrong: Result<()> = going_wrong
            .into_iter()
            .try_for_each(|row| row.join().expect("a fault does not panic"));
        faults_are_over.store(true, Ordering::Relaxed);
        // A fault that failed may have left something behind.
        let put_right = guest.sh(PUT_RIGHT).map(drop);
        let gone_on = asking.map_or(Ok(()), |asking| {
            asking.join().expect("asking does not panic")
        });
        std::thread::sleep(CALM);
        let ledger = load.stop()?;
        gone_wrong.and(gone_on).and(put_right).map(|()| ledger)
    })?;
    let journal = all.iter().map(|fault| fault.journal).max();
    before.expect_after(guest, &ledger, journal.unwrap_or(Journal::Whole))
}

const PUT_RIGHT: &str = "rm -f /var/lib/banjour/filler; systemctl start banjour
    ! systemctl --quiet is-enabled firewalld || systemctl start firewalld";

/// Asks the agent again and again: it answers, and what it has counted grows.
fn goes_on_until(guest: &Guest, over: &AtomicBool) -> Result<()> {
    let first = guest.counter("TotalFailed")?;
    let mut last = first;
    while !over.load(Ordering::Relaxed) {
        let asked = Instant::now();
        last = guest.counter("TotalFailed")?;
        let took = asked.elapsed();
        ensure!(took < ANSWER, "an answer took {took:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    ensure!(last > first, "it has counted nothing all the while");
    Ok(())
}

/// Each by itself; and then somebody who really guesses is banned.
fn each(guest: &Guest, faults: &[&[Fault]]) -> Result<()> {
    let mut dice = Dice::new(guest)?;
    for fault in faults.concat() {
        let after = under_load(guest, &mut dice, &[&[fault]]).context(fault.name)?;
        eprintln!("{guest}: {}: {after}", fault.name);
    }
    protects(guest)
}

fn protects(guest: &Guest) -> Result<()> {
    let guesser = guest.source();
    guest.attackers.fail(guesser, Imap, 3)?;
    guest.expect_banned(guesser).map(drop)
}

fn whatever_becomes_of_the_journal_all_of_it_counts(guest: &Guest) -> Result<()> {
    each(guest, &[&JOURNAL])
}

fn whatever_becomes_of_the_bus_and_the_firewall_bans_are_in_force(guest: &Guest) -> Result<()> {
    let firewalld: &[Fault] = match guest.firewall {
        Firewall::Firewalld => &FIREWALLD,
        _ => &[],
    };
    each(guest, &[&HELPER, firewalld, &BUS])
}

fn however_the_agent_ends_it_goes_on_where_it_was(guest: &Guest) -> Result<()> {
    let _patience = impatient(guest)?;
    each(guest, &[&AGENT])
}

fn a_full_disk_loses_nothing(guest: &Guest) -> Result<()> {
    let _disk = small_disk(guest)?;
    each(guest, &[&DISK])
}

fn faults_in_any_order_and_two_at_a_time(guest: &Guest) -> Result<()> {
    let (_patience, _disk) = (impatient(guest)?, small_disk(guest)?);
    let mut dice = Dice::new(guest)?;
    let after = mess(guest, &mut dice)?;
    eprintln!("{guest}: {after}");
    protects(guest)
}

/// Each fault that there is, in two threads, in any order.
fn mess(guest: &Guest, dice: &mut Dice) -> Result<After> {
    let mut faults = all(guest);
    let mut row = Vec::new();
    for _ in 0..faults.len() / 2 {
        row.push(faults.swap_remove(dice.roll(faults.len())));
    }
    let mut rest = Vec::new();
    while !faults.is_empty() {
        rest.push(faults.swap_remove(dice.roll(faults.len())));
    }
    let names = |row: &[Fault]| row.iter().map(|fault| fault.name).collect::<Vec<_>>();
    let what = format!("{:?} and {:?}", names(&row), names(&rest));
    under_load(guest, dice, &[&row, &rest]).context(what)
}

/// systemd's patience with the agent is 30 s, which is long for a test.
fn impatient(guest: &Guest) -> Result<crate::host::Undo<'_>> {
    let drop_in = "/run/systemd/system/banjour.service.d/watchdog.conf";
    let restart = "systemctl daemon-reload; systemctl restart banjour";
    let undo = guest.undo(format!("rm {drop_in}; {restart}"));
    guest.write(drop_in, "[Service]\nWatchdogSec=3s\n")?;
    guest.sh(restart)?;
    Ok(undo)
}

/// The state on a disk of its own, with little room.
fn small_disk(guest: &Guest) -> Result<crate::host::Undo<'_>> {
    let undo = guest.undo(
        "systemctl stop banjour; cp -a /var/lib/banjour/. /var/tmp/banjour-state; umount /var/lib/banjour
         cp -a /var/tmp/banjour-state/. /var/lib/banjour; rm -r /var/tmp/banjour-state; systemctl start banjour",
    );
    guest.sh(
        "systemctl stop banjour; cp -a /var/lib/banjour /var/tmp/banjour-state
         mount -t tmpfs -o size=32M,mode=700 banjour-state /var/lib/banjour
         chown banjour: /var/lib/banjour; cp -a /var/tmp/banjour-state/. /var/lib/banjour; systemctl start banjour",
    )?;
    guest.wait_until_up(0)?;
    wait_for("no problem", ANSWER, || Ok(guest.problems()?.is_empty()))?;
    Ok(undo)
}
