//! What can go wrong on a mail server: data, for a shell.

use anyhow::{Result, ensure};

use crate::before::Journal;
use crate::host::Guest;
use crate::kernel::Firewall;
use crate::load::Dice;

/// What the agent can do meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agent {
    /// It answers, and counts on.
    Counts,
    /// It runs, but hears late of what is written.
    Runs,
    /// It has to begin again.
    Ends,
}

/// What goes wrong.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) agent: Agent,
    pub(crate) journal: Journal,
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

pub(crate) const JOURNAL: [Fault; 5] = [
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
        // With a full socket, besides.
        "pid=$(systemctl show -P MainPID systemd-journald); trap \"kill -CONT $pid\" EXIT; kill -STOP $pid
         python3 -c 'import socket
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.setblocking(False)
try:
    while True: log.sendto(b\"MESSAGE=x\\n\", \"/run/systemd/journal/socket\")
except BlockingIOError: pass'
         for verb in ban unban; do timeout 10 banjour $verb 203.0.113.200 || [ $? != 124 ]; done; sleep 1",
    ),
    // Whoever throws a file away takes its content out of it in the same moment, so that the reader must have had its time.
    Fault {
        journal: Journal::Vacuumed,
        ..fault(
            "journal vacuumed",
            Agent::Runs,
            "for delay in DELAYS; do journalctl --rotate; sleep 1; journalctl -q --vacuum-time=1s; sleep $delay
             journalctl --rotate; sleep 1; journalctl -q --vacuum-files=1; done",
        )
    },
];

pub(crate) const HELPER: [Fault; 2] = [
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
         trap 'systemctl kill --signal=CONT HELPER' EXIT; systemctl kill --signal=STOP HELPER; sleep 2
         timeout 20 banjour status >/dev/null || [ $? != 124 ]; sleep 2",
    ),
];

pub(crate) const BUS: [Fault; 1] = [fault(
    "bus restarted",
    Agent::Ends,
    "systemctl restart dbus; sleep 0.5; systemctl restart systemd-logind
     ! systemctl --quiet is-enabled firewalld || systemctl restart firewalld",
)];

pub(crate) const FIREWALLD: [Fault; 5] = [
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
        "trap 'systemctl kill --signal=CONT firewalld' EXIT; systemctl kill --signal=STOP firewalld; sleep 2
         timeout 20 banjour status >/dev/null || [ $? != 124 ]; sleep 2",
    ),
    fault(
        "firewalld hung and killed",
        Agent::Counts,
        "systemctl kill --signal=STOP firewalld; sleep 1; systemctl kill --signal=KILL firewalld
         sleep 2; systemctl start firewalld",
    ),
];

pub(crate) const AGENT: [Fault; 5] = [
    fault(
        "agent stopped again and again",
        Agent::Ends,
        // Where it did not end as it should, it is started all the same: another fault may wait for that.
        "for delay in DELAYS; do
             systemctl stop banjour; result=$(systemctl show -P Result banjour)
             systemctl start --no-block banjour; [ $result = success ]; sleep $delay
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
    // Files get other names while it looks which there are.
    Fault {
        journal: Journal::Killed(4 * DELAYS as u64),
        ..fault(
            "journald killed while the agent starts",
            Agent::Ends,
            "for delay in DELAYS DELAYS DELAYS DELAYS; do
                 systemctl kill --signal=KILL banjour || true
                 systemctl restart --no-block banjour; sleep 0.0${delay#0.}
                 systemctl kill --signal=KILL systemd-journald; sleep $delay
                 systemctl reset-failed systemd-journald
             done",
        )
    },
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

pub(crate) const DISK: [Fault; 2] = [
    fault(
        "disk full",
        Agent::Counts,
        "head -c 1G /dev/zero >/var/lib/banjour/filler 2>/dev/null || true
         told=no; for i in $(seq 50); do
             if banjour status | grep -q 'cannot save state'; then told=yes; break; fi; sleep 0.1
         done
         sleep 1; rm -f /var/lib/banjour/filler; [ $told = yes ]",
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
const TIME: &str = "120";
const HANGS: i32 = 124;

/// How many random times there are, and how long each is at the most, in ms.
const DELAYS: usize = 4;
const LONGEST: usize = 900;

impl Fault {
    /// Does it. What another fault does at the same time may make it fail, but not hang.
    pub(crate) fn happen(&self, guest: &Guest, dice: &mut Dice, alone: bool) -> Result<()> {
        let delays: [String; DELAYS] =
            std::array::from_fn(|_| format!("0.{:03}", dice.roll(LONGEST)));
        let script = self
            .script
            .replace("DELAYS", &delays.join(" "))
            .replace("HELPER_NAME", guest.firewall.helper())
            .replace("HELPER", guest.firewall.unit());
        let done = guest.run(&["timeout", TIME, "sh", "-euc", &script])?;
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
pub(crate) fn all(guest: &Guest) -> Vec<Fault> {
    let mut all = [&JOURNAL[..], &HELPER, &BUS, &AGENT, &DISK].concat();
    if guest.firewall == Firewall::Firewalld {
        all.extend(FIREWALLD);
    }
    all.retain(|fault| fault.journal != Journal::Vacuumed);
    all
}
