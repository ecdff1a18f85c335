//! Something goes wrong under load: soon after, all is as if it had not. What goes wrong is data; one after the other here,
//! in any order and two at a time as well, and for as long as one likes with `make soak`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::before::{ANSWER, After, Before, Journal};
use crate::client::Service::Imap;
use crate::fault::{self, AGENT, Agent, BUS, DISK, FIREWALLD, Fault, HELPER, JOURNAL};
use crate::host::{Guest, Undo, wait_for};
use crate::kernel::Firewall;
use crate::load::{Dice, Load, room_for_all};

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

/// The attack goes on for so long before and after.
const CALM: Duration = Duration::from_millis(500);

/// While attacks go on, so do these, each in a thread of its own, one after the other. Then all is in order.
fn under_load(guest: &Guest, dice: &mut Dice, faults: &[&[Fault]]) -> Result<After> {
    let before = Before::of(guest)?;
    let (all, alone) = (faults.concat(), faults.len() == 1);
    let (load_is_over, faults_are_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let goes_on = all.iter().all(|fault| fault.agent == Agent::Counts);
    let ledger = std::thread::scope(|scope| {
        let load = Load::start(scope, guest, &load_is_over, dice.another())?;
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
    let _room = room_for_all(guest)?;
    let mut dice = Dice::new(guest)?;
    for fault in faults.concat() {
        let after = under_load(guest, &mut dice, &[&[fault]]).context(fault.name)?;
        eprintln!("{guest}: {}: {after}", fault.name);
    }
    protects(guest)
}

pub(crate) fn protects(guest: &Guest) -> Result<()> {
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
    let _ready = ready_for_all(guest)?;
    let mut dice = Dice::new(guest)?;
    let after = mess(guest, &mut dice)?;
    eprintln!("{guest}: {after}");
    protects(guest)
}

/// Each fault that there is, in two threads, in any order.
pub(crate) fn mess(guest: &Guest, dice: &mut Dice) -> Result<After> {
    let mut faults = fault::all(guest);
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

/// What it takes for some faults: systemd notices soon when the agent hangs, the disk for its state is small, and that for
/// the journal is not.
pub(crate) fn ready_for_all(guest: &Guest) -> Result<[Undo<'_>; 3]> {
    Ok([impatient(guest)?, small_disk(guest)?, room_for_all(guest)?])
}

/// systemd's patience with the agent is 3 min, 90 s while it starts and 30 s while it ends, which is long for a test.
fn impatient(guest: &Guest) -> Result<Undo<'_>> {
    let drop_in = "/run/systemd/system/banjour.service.d/watchdog.conf";
    let restart = "systemctl daemon-reload; systemctl restart banjour";
    let undo = guest.undo(format!("rm {drop_in}; {restart}"));
    guest.write(
        drop_in,
        "[Service]\nWatchdogSec=3s\nTimeoutStartSec=10s\nTimeoutStopSec=5s\n",
    )?;
    guest.sh(restart)?;
    Ok(undo)
}

/// The state on a disk of its own, with little room.
fn small_disk(guest: &Guest) -> Result<Undo<'_>> {
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
