//! A guest: a Debian mail host, booted, with banjour installed in it as on a real one.

use std::fmt;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::client::{Origin, Service};
use crate::kernel::Firewall;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest/guest");

/// What an admin runs after `make install DESTDIR=`.
const AFTER_INSTALL: &str = "
    systemd-sysusers
    systemd-tmpfiles --create banjour.conf
    journalctl --update-catalog
    systemctl daemon-reload
    systemctl reload dbus
    systemctl reload-or-restart polkit
    # The attackers have their addresses in few networks, and guess at few accounts.
    mkdir -p /etc/banjour/banjour.toml.d
    printf 'network-sources = 0\\naccount-sources = 0\\n' >/etc/banjour/banjour.toml.d/00-guest.toml
    ! firewall-cmd --quiet --state 2>/dev/null || firewall-cmd --quiet --reload
    systemctl enable --quiet --now banjour";

/// Dovecot, PAM and the penalty for clients that come again make every failure last two to seventeen seconds. One case
/// does without this.
pub(crate) const NO_DELAYS: &str = "
    sed -i 's/pam_unix.so nullok/pam_unix.so nullok nodelay/' /etc/pam.d/common-auth
    echo 'auth_failure_delay = 0' >/etc/dovecot/conf.d/99-no-delays.conf
    case $(dovecot --version) in
    2.3*) printf 'service anvil {\\n unix_listener anvil-auth-penalty {\\n mode = 0\\n }\\n}\\n' \
        >>/etc/dovecot/conf.d/99-no-delays.conf ;;
    esac";

/// Something that is no mail service, as a mail host's ssh would be.
const OTHER_SERVICE: &str = "systemd-run --quiet python3 -m http.server --bind :: 22";
pub(crate) const OTHER_PORT: u16 = 22;

/// What a command did.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) struct Guest {
    pub(crate) release: &'static str,
    pub(crate) firewall: Firewall,
    name: String,
    pub(crate) attackers: Origin,
    /// The host itself, as a client of its own services.
    pub(crate) inside: Origin,
    sources: AtomicU16,
    /// What Dovecot runs with beyond the image's configuration.
    dovecot: Mutex<String>,
}

impl Guest {
    /// Boots a guest of a release, with a firewall, and installs banjour in it. It is gone with the value, or with this
    /// process.
    pub(crate) fn boot(release: &'static str, firewall: Firewall) -> Result<Self> {
        let guest = Self::boot_without_banjour(release, firewall, "")?;
        guest.install()?;
        guest.set_up_services()?;
        Ok(guest)
    }

    /// The same without banjour, and with more in its name than the one that has it.
    pub(crate) fn boot_without_banjour(
        release: &'static str,
        firewall: Firewall,
        more: &str,
    ) -> Result<Self> {
        // Short enough for the name of a network interface.
        let id = std::process::id();
        let name = format!("{}{}{more}{id}", &release[..2], firewall as u8);
        script(&["build", release])?;
        let mut guest = Self {
            attackers: Origin {
                namespace: Path::new("/run/netns").join(format!("banjour-{name}")),
                host_v4: Ipv4Addr::new(192, 0, 2, 2),
                host_v6: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2),
            },
            inside: Origin {
                namespace: PathBuf::new(),
                host_v4: Ipv4Addr::LOCALHOST,
                host_v6: Ipv6Addr::LOCALHOST,
            },
            release,
            firewall,
            name,
            sources: AtomicU16::new(0),
            dovecot: Mutex::default(),
        };
        script(&["start", &guest.name, release])?;
        let leader = script(&["leader", &guest.name])?;
        guest.inside.namespace = Path::new("/proc").join(leader).join("ns/net");
        guest.set_up_firewall()?;
        Ok(guest)
    }

    /// Makes failures quick, and adds a service that is not for mail.
    pub(crate) fn set_up_services(&self) -> Result<()> {
        self.sh(&format!("{NO_DELAYS}\n{OTHER_SERVICE}"))?;
        self.restart_dovecot()
    }

    /// Where its files are, out here.
    pub(crate) fn root(&self) -> Result<PathBuf> {
        Ok(script(&["root", &self.name])?.into())
    }

    fn install(&self) -> Result<()> {
        make(&["install", &format!("DESTDIR={}", self.root()?.display())])?;
        self.sh(AFTER_INSTALL).with_context(|| self.report())?;
        Ok(())
    }

    /// Runs a command as root, whatever its exit code.
    pub(crate) fn run(&self, command: &[&str]) -> Result<Output> {
        output(&["run", &self.name], command, "")
    }

    /// Starts a command as root, to be spoken with.
    pub(crate) fn start(&self, command: &[&str]) -> Result<Child> {
        Command::new(SCRIPT)
            .args(["run", &self.name])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context(SCRIPT)
    }

    /// Runs a shell script as root, and is an error when that fails. What it prints, without the last line's end.
    pub(crate) fn sh(&self, script: &str) -> Result<String> {
        let output = self.run(&["sh", "-euc", script])?;
        ensure!(
            output.code == 0,
            "`{}` exited with {}: {}{}",
            script.trim(),
            output.code,
            output.out,
            output.err
        );
        Ok(output.out.trim_end().to_owned())
    }

    /// Runs a shell script as dave, who may do nothing in particular.
    pub(crate) fn as_dave(&self, script: &str) -> Result<Output> {
        self.run(&["runuser", "-u", "dave", "--", "sh", "-c", script])
    }

    /// Writes a file, and the directories that lead to it.
    pub(crate) fn write(&self, path: &str, text: &str) -> Result<()> {
        let tee = format!("mkdir -p \"$(dirname {path})\" && cat >{path}");
        let output = output(&["run", &self.name], &["sh", "-euc", &tee], text)?;
        ensure!(output.code == 0, "write {path}: {}", output.err);
        Ok(())
    }

    /// Something that a case changed, to be put right when the case ends, however it does.
    #[must_use]
    pub(crate) fn undo(&self, script: impl Into<String>) -> Undo<'_> {
        Undo {
            guest: self,
            script: script.into(),
        }
    }

    /// Sees to it that Dovecot runs with these settings and no others. They stay until a case wants others: a restart
    /// costs five seconds, which Dovecot 2.3 waits for the penalty service that it is not to have.
    pub(crate) fn dovecot(&self, settings: &str) -> Result<()> {
        let mut current = self.dovecot.lock().unwrap_or_else(PoisonError::into_inner);
        if *current != settings {
            self.write("/etc/dovecot/conf.d/99-zz-case.conf", settings)?;
            self.restart_dovecot()?;
            settings.clone_into(&mut current);
        }
        Ok(())
    }

    pub(crate) fn restart_dovecot(&self) -> Result<()> {
        self.sh("systemctl restart dovecot")?;
        wait_for(
            "Dovecot and Postfix to answer",
            Duration::from_secs(10),
            || {
                let someone: [IpAddr; 2] = [
                    Ipv4Addr::new(198, 18, 0, 1).into(),
                    Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 1).into(),
                ];
                Ok(someone.into_iter().all(|source| {
                    let open = self.attackers.open_ports(source);
                    open.is_ok_and(|open| open.len() == Service::ALL.len())
                }))
            },
        )
    }

    /// An address that nobody has used yet.
    pub(crate) fn source(&self) -> IpAddr {
        let [high, low] = self.sources.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Ipv4Addr::new(198, 18, 10 + high, low).into()
    }

    /// The same for IPv6, each in a /64 of its own.
    pub(crate) fn source_v6(&self) -> IpAddr {
        let number = self.sources.fetch_add(1, Ordering::Relaxed);
        Ipv6Addr::new(0x2001, 0xdb8, 0xbad, number, 0, 0, 0, 7).into()
    }
}

impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.release, self.firewall.suffix())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Err(error) = script(&["stop", &self.name]) {
            eprintln!("{error:#}");
        }
    }
}

pub(crate) struct Undo<'a> {
    guest: &'a Guest,
    script: String,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.guest.sh(&self.script) {
            eprintln!("cleaning up: {error:#}");
        }
    }
}

/// Looks until it is so, and is an error when it takes longer than the limit.
pub(crate) fn wait_for(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let end = Instant::now() + limit;
    while !look().with_context(|| format!("waiting for {what}"))? {
        if Instant::now() > end {
            bail!("{what}: not within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Does the same with all, at the same time.
pub(crate) fn at_once<T: Sync>(all: &[T], each: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let each = &each;
        let running: Vec<_> = all
            .iter()
            .map(|one| scope.spawn(move || each(one)))
            .collect();
        running
            .into_iter()
            .try_for_each(|one| one.join().expect("a case's threads do not panic"))
    })
}

/// `make`, with the programs that are tested; one at a time, since the first one may have to write the manual.
pub(crate) fn make(arguments: &[&str]) -> Result<()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let programs = Path::new(env!("CARGO_BIN_EXE_banjourd")).parent();
    let making = Command::new("make")
        .args(["--silent", "-C", env!("CARGO_MANIFEST_DIR")])
        .arg(format!(
            "BIN={}",
            programs.context("no directory")?.display()
        ))
        .args(arguments)
        // `make test` is not to change what this one does.
        .env_remove("MAKEFLAGS")
        .output()
        .context("make")?;
    let said = String::from_utf8_lossy(&making.stderr);
    ensure!(making.status.success(), "make {arguments:?}: {said}");
    Ok(())
}

/// The guest script, which must succeed.
fn script(arguments: &[&str]) -> Result<String> {
    let output = output(arguments, &[], "")?;
    ensure!(
        output.code == 0,
        "guest {}: {}",
        arguments.join(" "),
        output.err
    );
    Ok(output.out.trim_end().to_owned())
}

fn output(arguments: &[&str], command: &[&str], input: &str) -> Result<Output> {
    let mut child = Command::new(SCRIPT)
        .args(arguments)
        .args(command)
        .env("BANJOUR_OWNER", std::process::id().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context(SCRIPT)?;
    child
        .stdin
        .take()
        .context("no standard input")?
        .write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    Ok(Output {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
