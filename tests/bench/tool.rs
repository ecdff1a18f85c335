//! Who is measured: banjour, and the programs that do the same, from Debian's packages, set up to ban at the third failure for
//! an hour with nftables, and otherwise as they are shipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::RELEASE;
use crate::host::Guest;
use crate::kernel::Firewall;
use crate::table;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    Banjour,
    Fail2ban,
    Sshguard,
    Crowdsec,
}

impl Tool {
    pub(crate) const ALL: [Self; 4] = [
        Self::Banjour,
        Self::Fail2ban,
        Self::Sshguard,
        Self::Crowdsec,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Banjour => "banjour",
            Self::Fail2ban => "fail2ban",
            Self::Sshguard => "sshguard",
            Self::Crowdsec => "CrowdSec",
        }
    }

    /// The services that it consists of.
    pub(crate) const fn units(self) -> &'static [&'static str] {
        match self {
            Self::Banjour => &["banjour.service"],
            Self::Fail2ban => &["fail2ban.service"],
            Self::Sshguard => &["sshguard.service"],
            Self::Crowdsec => &["crowdsec.service", "crowdsec-firewall-bouncer.service"],
        }
    }

    /// What shows whom it has had the kernel keep out.
    pub(crate) const fn banned(self) -> &'static str {
        match self {
            Self::Banjour => "nft list table inet banjour",
            Self::Fail2ban => "nft list table inet f2b-table",
            Self::Sshguard => "nft list table ip sshguard",
            Self::Crowdsec => "nft list table ip crowdsec",
        }
    }

    const fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Banjour => &[],
            Self::Fail2ban => &["fail2ban", "python3-systemd"],
            Self::Sshguard => &["sshguard"],
            Self::Crowdsec => &["crowdsec", "crowdsec-firewall-bouncer"],
        }
    }

    const fn set_up(self) -> &'static str {
        match self {
            Self::Banjour => "",
            Self::Fail2ban => FAIL2BAN,
            Self::Sshguard => SSHGUARD,
            Self::Crowdsec => CROWDSEC,
        }
    }

    /// Boots a guest that is protected by this one.
    pub(crate) fn boot(self, firewall: Firewall) -> Result<Guest> {
        let guest = if self == Self::Banjour {
            let guest = Guest::boot(RELEASE, firewall)?;
            prepare(&guest)?;
            guest
        } else {
            let guest = Guest::boot_without_banjour(RELEASE, firewall, &self.name()[..1])?;
            prepare(&guest)?;
            self.install(&guest)
                .with_context(|| format!("install {}", self.name()))?;
            guest
        };
        Ok(guest)
    }

    fn install(self, guest: &Guest) -> Result<()> {
        let packages = download(self)?;
        let inside = guest.root()?.join("root/packages");
        fs::create_dir(&inside)?;
        for file in fs::read_dir(&packages)? {
            let file = file?;
            fs::copy(file.path(), inside.join(file.file_name()))?;
        }
        guest.sh(self.set_up()).map(drop)
    }

    /// Its version, if it has been fetched: part of the package's name.
    pub(crate) fn version(self) -> Option<String> {
        let Some(package) = self.packages().first() else {
            return Some(env!("CARGO_PKG_VERSION").to_owned());
        };
        let files = fs::read_dir(self.kept().ok()?).ok()?;
        files.flatten().find_map(|file| {
            let name = file.file_name().into_string().ok()?;
            let version = name.strip_prefix(package)?.strip_prefix('_')?;
            Some(version.split('_').next()?.to_owned())
        })
    }

    /// Where its packages are kept.
    fn kept(self) -> Result<PathBuf> {
        Ok(table::directory()?.join(format!("{RELEASE}-{}", self.name())))
    }
}

/// Room for journals, in memory as all of the guest's disk, and this program; journald without a limit of what it keeps; and
/// a mail port where nobody listens, see `knock`.
fn prepare(guest: &Guest) -> Result<()> {
    let root = guest.root()?;
    let disk = root.parent().context("no directory")?;
    let grown = Command::new("mount")
        .args(["-o", "remount,size=12G"])
        .arg(disk)
        .status()?;
    ensure!(grown.success(), "the guest's disk could not be made larger");
    fs::copy(std::env::current_exe()?, root.join("usr/local/bin/bench"))?;
    guest.write(
        "/etc/systemd/journald.conf.d/bench.conf",
        "[Journal]\nSystemMaxUse=10G\nSystemKeepFree=1M\n",
    )?;
    guest.sh("systemctl restart systemd-journald
         postconf -M# submissions/inet
         systemctl restart postfix")?;
    Ok(())
}

/// Fetches Debian's packages once, with the guest's own apt and its keys, into target/bench. Guests have no network.
fn download(tool: Tool) -> Result<PathBuf> {
    let kept = tool.kept()?;
    if kept.exists() {
        return Ok(kept);
    }
    let guest = Guest::boot_without_banjour(RELEASE, Firewall::Nftables, "d")?;
    let root = guest.root()?;
    fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf"))?;
    let fetched = Command::new("chroot")
        .arg(&root)
        .args([
            "sh",
            "-euc",
            "apt-get -qq update
             apt-get -qq -o Dpkg::Use-Pty=0 --no-install-recommends --download-only --yes install \"$@\"",
            "sh",
        ])
        .args(tool.packages())
        .output()?;
    let said = String::from_utf8_lossy(&fetched.stderr);
    ensure!(fetched.status.success(), "apt-get: {said}");
    let new = kept.with_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    fs::create_dir(&new)?;
    for file in fs::read_dir(root.join("var/cache/apt/archives"))? {
        let path = file?.path();
        if path.extension() == Some("deb".as_ref()) {
            fs::copy(
                &path,
                new.join(path.file_name().unwrap_or(Path::new("").as_os_str())),
            )?;
        }
    }
    fs::rename(&new, &kept)?;
    Ok(kept)
}

const FAIL2BAN: &str = "
    dpkg --install /root/packages/*.deb >/dev/null
    cat >/etc/fail2ban/jail.d/bench.local <<'END'
[DEFAULT]
backend = systemd
banaction = nftables
maxretry = 3
findtime = 1h
bantime = 1h
[sshd]
enabled = false
[dovecot]
enabled = true
journalmatch = _SYSTEMD_UNIT=dovecot.service
END
    systemctl restart fail2ban
    until fail2ban-client ping >/dev/null 2>&1; do sleep 0.1; done";

/// The same reader of the journal as in its default settings, for Dovecot in the place of sshd.
const SSHGUARD: &str = "
    dpkg --install /root/packages/*.deb >/dev/null
    cat >/etc/sshguard/sshguard.conf <<'END'
BACKEND=\"/usr/libexec/sshguard/sshg-fw-nft-sets\"
LOGREADER=\"LANG=C journalctl -afb -p info -n1 -o cat _SYSTEMD_UNIT=dovecot.service\"
THRESHOLD=30
BLOCK_TIME=3600
DETECTION_TIME=3600
BLACKLIST_FILE=100000:/var/lib/sshguard/blacklist.db
WHITELIST_FILE=/etc/sshguard/whitelist
END
    mkdir -p /var/lib/sshguard
    systemctl restart sshguard";

/// Its hub's parser of Dovecot's lines, and a scenario that bans at the third; no registration at the central service.
const CROWDSEC: &str = "
    printf 'url: http://127.0.0.1:9\\nlogin: nobody\\npassword: none\\n' >/etc/crowdsec.none
    mkdir -p /etc/crowdsec
    mv /etc/crowdsec.none /etc/crowdsec/online_api_credentials.yaml
    DEBIAN_FRONTEND=noninteractive dpkg --install /root/packages/*.deb >/dev/null 2>&1
    sed -i '/online_client:/,+1d' /etc/crowdsec/config.yaml
    ln -sf /var/lib/crowdsec/hub/parsers/s01-parse/crowdsecurity/dovecot-logs.yaml /etc/crowdsec/parsers/s01-parse/
    cat >/etc/crowdsec/scenarios/three.yaml <<'END'
type: leaky
name: bench/three
description: three failed logins within an hour
filter: \"evt.Meta.log_type == 'dovecot_logs' && evt.Meta.dovecot_login_result == 'auth_failed'\"
groupby: evt.Meta.source_ip
capacity: 2
leakspeed: 1h
blackhole: 1m
labels:
  remediation: true
END
    cat >/etc/crowdsec/acquis.yaml <<'END'
source: journalctl
journalctl_filter:
  - _SYSTEMD_UNIT=dovecot.service
labels:
  type: syslog
END
    systemctl restart crowdsec
    systemctl restart crowdsec-firewall-bouncer";
