//! A disk that is full, or can't be written, or is not there: the agent protects all the same, and saves all of it when it
//! can.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

use crate::daemon::Agent;
use crate::helper::Kind;
use crate::host::{Host, becomes, until};

const HOUR: u64 = 3_600_000_000;

/// A small disk of a host's, for its state. It is there for this test's thread and what it starts, and goes with them.
struct Disk(PathBuf);

impl Disk {
    fn mount(host: &Host) -> Self {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let disk = Self(host.state());
        run("mount", &["--make-rprivate", "/"]);
        let path = disk.0.to_str().unwrap();
        run("mount", &["-t", "tmpfs", "-o", "size=512k", "tmpfs", path]);
        disk
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Writes until nothing fits in any more.
    fn fill(&self) {
        let zeros = fs::File::open("/dev/zero").unwrap();
        let mut filler = fs::OpenOptions::new();
        let mut filler = filler
            .create(true)
            .append(true)
            .open(self.filler())
            .unwrap();
        let error = std::io::copy(&mut &zeros, &mut filler).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }

    fn clear(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn remount(&self, how: &str) {
        run(
            "mount",
            &["-o", &format!("remount,{how}"), self.0.to_str().unwrap()],
        );
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

fn host() -> Host {
    let host = Host::new();
    host.helper.install(Kind::Nftables, true);
    host
}

fn is_told(agent: &Agent<'_>) {
    let problem = until("the problem is told", || {
        let mut problems = agent.problems().into_iter();
        problems.find(|problem| problem.contains("cannot save state"))
    });
    until("STATUS= tells", || {
        agent.host.status().contains(&problem).then_some(())
    });
}

fn is_over(agent: &Agent<'_>) {
    becomes(&[""; 0][..], || agent.problems());
}

/// Whatever the disk does: who guesses is banned, who is ordered to be is too, and who is pardoned comes in.
fn protects(host: &Host, agent: &Agent<'_>, net: u8) {
    let source = |n: u8| format!("198.18.{net}.{n}");
    host.attempts(&source(1), 3);
    host.attempts(&source(2), 2);
    agent.ban(&source(3), "", HOUR).unwrap();
    agent.ban(&source(4), "", HOUR).unwrap();
    assert_eq!(agent.unban(&source(4), ""), Ok(1));
    agent.catches_up();
    for (n, banned) in [(1, true), (2, false), (3, true), (4, false)] {
        becomes(&banned, || {
            host.helper.until(Kind::Nftables, &source(n)).is_some()
        });
    }
}

/// After `kill -9`, another agent knows what this one knew, and counts on.
fn is_remembered<'a>(host: &'a Host, agent: Agent<'a>) -> Agent<'a> {
    let (bans, totals) = (agent.bans(), agent.totals());
    agent.kill();
    let agent = host.start();
    assert_eq!((agent.bans(), agent.totals()), (bans, totals));
    agent
}

#[test]
fn a_disk_that_gets_full_is_told_and_gets_all_when_there_is_room() {
    let host = host();
    let disk = Disk::mount(&host);
    let agent = host.start();
    protects(&host, &agent, 1);
    disk.fill();
    protects(&host, &agent, 2);
    for n in 1..=200 {
        agent.ban(&format!("198.18.3.{n}"), "", HOUR).unwrap();
    }
    is_told(&agent);
    protects(&host, &agent, 4);
    disk.clear();
    is_over(&agent);
    protects(&host, &agent, 5);
    let agent = is_remembered(&host, agent);
    host.attempts("198.18.4.2", 1);
    until("the window was saved", || {
        agent
            .banned()
            .contains(&"198.18.4.2 dovecot".to_owned())
            .then_some(())
    });
}

#[test]
fn a_full_disk_does_not_keep_the_agent_from_starting_and_remembering() {
    let host = host();
    let disk = Disk::mount(&host);
    let agent = host.start();
    protects(&host, &agent, 1);
    let (bans, totals) = (agent.bans(), agent.totals());
    assert!(agent.stop().success());
    disk.fill();
    let agent = host.start();
    assert_eq!((agent.bans(), agent.totals()), (bans.clone(), totals));
    is_told(&agent);
    protects(&host, &agent, 2);
    let attempts = agent.totals().0;
    // Nothing of this could be saved but in the journal, which has the attempts.
    agent.kill();
    let agent = host.start();
    becomes(&attempts, || agent.totals().0);
    agent.ban("198.18.2.3", "", HOUR).unwrap();
    disk.clear();
    is_over(&agent);
    let agent = is_remembered(&host, agent);
    assert!(agent.bans().len() > bans.len());
}

#[test]
fn the_first_start_of_all_may_find_a_full_disk() {
    let host = host();
    let disk = Disk::mount(&host);
    disk.fill();
    let agent = host.start();
    is_told(&agent);
    protects(&host, &agent, 1);
    disk.clear();
    is_over(&agent);
    is_remembered(&host, agent);
    assert!(crate::host::file_like(&host.state(), "banjour.db.damaged-").is_none());
}

#[test]
fn a_read_only_disk_is_as_good_as_a_full_one() {
    let host = host();
    let disk = Disk::mount(&host);
    let agent = host.start();
    protects(&host, &agent, 1);
    let bans = agent.bans();
    // Killed, and ended as it should: what is left to be read is not the same.
    agent.kill();
    disk.remount("ro");
    let agent = host.start();
    assert_eq!(agent.bans(), bans);
    is_told(&agent);
    protects(&host, &agent, 2);
    disk.remount("rw");
    is_over(&agent);
    let agent = is_remembered(&host, agent);
    let bans = agent.bans();
    assert!(agent.stop().success());
    disk.remount("ro");
    let agent = host.start();
    assert_eq!(agent.bans(), bans);
    is_told(&agent);
    disk.remount("rw");
    is_over(&agent);
    is_remembered(&host, agent);
}

/// What was in it is no guess any more when it is there again.
#[test]
fn a_state_that_comes_back_is_taken_up_and_what_happened_meanwhile_stays() {
    let host = host();
    let agent = host.start();
    protects(&host, &agent, 1);
    let totals = agent.totals();
    agent.ban("198.18.1.9", "", HOUR).unwrap();
    agent.kill();
    host.attempts("198.18.1.2", 1);
    let away = host.path("away");
    fs::rename(host.state(), &away).unwrap();

    let agent = host.start();
    is_told(&agent);
    protects(&host, &agent, 2);
    agent.unban("198.18.1.9", "").unwrap();
    fs::rename(&away, host.state()).unwrap();
    is_over(&agent);
    let banned = |agent: &Agent<'_>| agent.banned();
    becomes(&true, || {
        let banned = banned(&agent);
        let has = |text: &str| banned.contains(&text.to_owned());
        has("198.18.1.3 manual") && has("198.18.1.2 dovecot") && has("198.18.2.3 manual")
    });
    assert!(!banned(&agent).contains(&"198.18.1.9 manual".to_owned()));
    agent.catches_up();
    // Once more the six of `protects`, with its barrier, and the last barrier.
    assert_eq!(agent.totals().0, totals.0 + 1 + 5 + 1000 + 1000);
    is_remembered(&host, agent);
}

#[test]
fn a_disk_that_comes_back_with_a_damaged_state_gets_all_anew() {
    let host = host();
    let disk = Disk::mount(&host);
    let agent = host.start();
    protects(&host, &agent, 1);
    disk.fill();
    protects(&host, &agent, 2);
    is_told(&agent);
    fs::write(host.state().join("banjour.db"), "no database").unwrap();
    disk.clear();
    until("the loss is told", || {
        let problems = agent.problems();
        let told = problems
            .iter()
            .any(|text| text.contains("banjour.db.damaged-"));
        (told && problems.len() == 1).then_some(())
    });
    protects(&host, &agent, 3);
    is_remembered(&host, agent);
}
