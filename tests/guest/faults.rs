//! Something goes wrong under load: soon after, all is as if it had not. What goes wrong is data; one after the other here,
//! in any order and two at a time as well, and for as long as one likes with `make soak`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::before::{Before, Journal};
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

/// What goes wrong.
#[derive(Clone, Copy)]
struct Fault {
    /// For a shell. DELAYS are some random times, in seconds.
    script: &'static str,
    /// Whether the agent goes on, answers and counts all the time.
    goes_on: bool,
    journal: Journal,
}

impl Fault {
    /// The agent does not mind.
    const fn outside(script: &'static str) -> Self {
        Self {
            script,
            goes_on: true,
            journal: Journal::Whole,
        }
    }

    /// The agent has to begin again.
    const fn inside(script: &'static str) -> Self {
        Self {
            goes_on: false,
            ..Self::outside(script)
        }
    }

    const fn of_journal(script: &'static str, journal: Journal) -> Self {
        Self {
            journal,
            ..Self::inside(script)
        }
    }
}

/// journald holds back notifications, and whole seconds of lines, when it begins again: so the agent may count nothing for
/// a while.
const JOURNAL: [Fault; 5] = [
    Fault::of_journal(
        "for delay in DELAYS; do journalctl --rotate; sleep $delay; done",
        Journal::Whole,
    ),
    Fault::of_journal(
        "for delay in DELAYS; do systemctl restart systemd-journald; sleep $delay
         systemctl reset-failed systemd-journald; done",
        Journal::Whole,
    ),
    Fault::of_journal(
        "for delay in DELAYS; do systemctl kill --signal=KILL systemd-journald; sleep $delay
         systemctl reset-failed systemd-journald; done",
        Journal::Killed(DELAYS as u64),
    ),
    Fault::of_journal(
        "systemctl kill --signal=STOP systemd-journald; sleep 2; systemctl kill --signal=CONT systemd-journald",
        Journal::Whole,
    ),
    Fault::of_journal(
        "for delay in DELAYS; do journalctl -q --rotate --vacuum-time=1s; sleep $delay
         journalctl -q --rotate --vacuum-files=1; done",
        Journal::Vacuumed,
    ),
];

const HELPER: [Fault; 2] = [
    Fault::outside(
        "for i in $(seq 40); do systemctl kill --signal=KILL HELPER || true; sleep 0.05; done 2>/dev/null",
    ),
    // It is started by a call, and hangs in it.
    Fault::outside(
        "busctl -q call HELPER_NAME /org/banjour/Netfilter1 org.banjour.Netfilter1 List >/dev/null
         systemctl kill --signal=STOP HELPER; sleep 4; systemctl kill --signal=CONT HELPER",
    ),
];

const BUS: Fault = Fault::inside(
    "systemctl restart dbus; sleep 0.5; systemctl restart systemd-logind
     ! systemctl --quiet is-enabled firewalld || systemctl restart firewalld",
);

const FIREWALLD: [Fault; 6] = [
    Fault::outside("for delay in DELAYS; do firewall-cmd --quiet --reload; sleep $delay; done"),
    Fault::outside("systemctl restart firewalld"),
    Fault::outside("systemctl stop firewalld; sleep 3; systemctl start firewalld"),
    Fault::outside(
        "systemctl kill --signal=STOP firewalld; sleep 4; systemctl kill --signal=CONT firewalld",
    ),
    Fault::outside("systemctl kill --signal=KILL firewalld; sleep 2; systemctl start firewalld"),
    // It is told to end while it hangs, which takes until systemd has no more patience.
    Fault::outside(
        "systemctl kill --signal=STOP firewalld; sleep 1; systemctl kill --signal=KILL firewalld
         systemctl start firewalld",
    ),
];

const AGENT: [Fault; 4] = [
    Fault::inside(
        "for delay in DELAYS; do
             systemctl stop banjour
             [ $(systemctl show -P Result banjour) = success ]
             systemctl start --no-block banjour; sleep $delay
         done",
    ),
    Fault::inside(
        "for delay in DELAYS; do
             systemctl kill --signal=KILL banjour || true
             systemctl restart --no-block banjour; sleep $delay
         done",
    ),
    HUNG,
    Fault::inside("systemctl stop banjour; sleep 3; systemctl start banjour"),
];

/// Nobody but systemd's watchdog helps.
const HUNG: Fault = Fault::inside(
    "old=$(systemctl show -P MainPID banjour); kill -STOP $old
     while pid=$(systemctl show -P MainPID banjour); [ $pid = 0 ] || [ $pid = $old ]; do sleep 0.1; done",
);

const FULL: Fault = Fault::outside(
    "head -c 1G /dev/zero >/var/lib/banjour/filler 2>/dev/null || true
     until banjour status | grep -q 'cannot save state'; do sleep 0.1; done
     sleep 1; rm /var/lib/banjour/filler",
);

/// It is killed when it has nowhere to write to, and comes back to the same.
const FULL_AND_KILLED: Fault = Fault::inside(
    "head -c 1G /dev/zero >/var/lib/banjour/filler 2>/dev/null || true
     for delay in DELAYS; do systemctl kill --signal=KILL banjour || true
     systemctl restart --no-block banjour; sleep $delay; done
     rm /var/lib/banjour/filler",
);

/// How many random times there are, and how long each is at the most, in ms.
const DELAYS: usize = 4;
const LONGEST: usize = 900;

impl Fault {
    fn happen(&self, guest: &Guest, dice: &mut Dice) -> Result<()> {
        let delays: [String; DELAYS] =
            std::array::from_fn(|_| format!("0.{:03}", dice.roll(LONGEST)));
        let script = self
            .script
            .replace("DELAYS", &delays.join(" "))
            .replace("HELPER_NAME", guest.firewall.helper())
            .replace("HELPER", guest.firewall.unit());
        let done = guest.run(&["timeout", "60", "sh", "-euc", &script])?;
        ensure!(
            done.code == 0,
            "`{script}` exited with {}: {}",
            done.code,
            done.err
        );
        Ok(())
    }
}

/// All faults that a host can have.
fn all(guest: &Guest) -> Vec<Fault> {
    let firewalld: &[Fault] = match guest.firewall {
        Firewall::Firewalld => &FIREWALLD,
        _ => &[],
    };
    [
        &JOURNAL[..],
        &HELPER,
        &[BUS],
        firewalld,
        &AGENT,
        &[FULL, FULL_AND_KILLED],
    ]
    .concat()
}

/// While attacks go on, so do these, each in a thread of its own, one after the other. Then all is in order.
fn under_load(guest: &Guest, dice: &mut Dice, faults: &[&[Fault]]) -> Result<String> {
    let before = Before::of(guest)?;
    let (load_is_over, faults_are_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let goes_on = faults.concat().iter().all(|fault| fault.goes_on);
    let ledger = std::thread::scope(|scope| {
        let load = Load::start(scope, guest, &load_is_over, dice.another(), SOURCES)?;
        std::thread::sleep(CALM);
        let asking = goes_on.then(|| scope.spawn(|| goes_on_until(guest, &faults_are_over)));
        let mut going_wrong = Vec::new();
        for row in faults {
            let mut dice = dice.another();
            going_wrong.push(scope.spawn(move || {
                row.iter()
                    .try_for_each(|fault| fault.happen(guest, &mut dice).context(fault.script))
            }));
        }
        let gone_wrong: Result<()> = going_wrong
            .into_iter()
            .try_for_each(|row| row.join().expect("a fault does not panic"));
        faults_are_over.store(true, Ordering::Relaxed);
        let gone_on = asking.map_or(Ok(()), |asking| {
            asking.join().expect("asking does not panic")
        });
        std::thread::sleep(CALM);
        let ledger = load.stop()?;
        gone_wrong.and(gone_on).map(|()| ledger)
    })?;
    let all = faults.concat();
    let journal = all.iter().map(|fault| fault.journal).max();
    let after = before.expect_after(guest, &ledger, journal.unwrap_or(Journal::Whole))?;
    Ok(format!("{after:?}"))
}

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
fn each(guest: &Guest, what: &str, faults: &[Fault]) -> Result<()> {
    let mut dice = Dice::new(what)?;
    for fault in faults {
        let after = under_load(guest, &mut dice, &[&[*fault]]).context(fault.script)?;
        eprintln!(
            "{}{}: {after}: {}",
            guest.release,
            guest.firewall.suffix(),
            fault.script
        );
    }
    protects(guest)
}

fn protects(guest: &Guest) -> Result<()> {
    let guesser = guest.source();
    guest.attackers.fail(guesser, Imap, 3)?;
    guest.expect_banned(guesser).map(drop)
}

fn whatever_becomes_of_the_journal_all_of_it_counts(guest: &Guest) -> Result<()> {
    each(guest, "the journal", &JOURNAL)
}

fn whatever_becomes_of_the_bus_and_the_firewall_bans_are_in_force(guest: &Guest) -> Result<()> {
    each(guest, "the helper", &HELPER)?;
    if guest.firewall == Firewall::Firewalld {
        each(guest, "firewalld", &FIREWALLD)?;
    }
    each(guest, "the bus", &[BUS])
}

fn however_the_agent_ends_it_goes_on_where_it_was(guest: &Guest) -> Result<()> {
    let _patience = impatient(guest)?;
    each(guest, "the agent", &AGENT)
}

fn a_full_disk_loses_nothing(guest: &Guest) -> Result<()> {
    let _disk = small_disk(guest)?;
    each(guest, "the disk", &[FULL, FULL_AND_KILLED])
}

fn faults_in_any_order_and_two_at_a_time(guest: &Guest) -> Result<()> {
    let (_patience, _disk) = (impatient(guest)?, small_disk(guest)?);
    let mut dice = Dice::new("faults in any order")?;
    let faults = all(guest);
    let mut row = || -> Vec<Fault> { (0..4).map(|_| faults[dice.roll(faults.len())]).collect() };
    let rows = [row(), row()];
    under_load(guest, &mut dice, &[&rows[0], &rows[1]]).map(drop)?;
    protects(guest)
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
