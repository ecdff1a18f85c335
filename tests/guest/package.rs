//! The packages: their life on a host that never had banjour, from installation to purge.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::RELEASES;
use crate::agent::SOON;
use crate::client::Service::Imap;
use crate::host::{Guest, make, wait_for};
use crate::kernel::Firewall;

/// The version that is installed first, and the one that it is upgraded to.
const VERSIONS: [&str; 2] = ["0.0.1", "0.0.2"];

/// What an administrator changed in the file that the package brings.
const SETTINGS: &str = "
network-sources = 0
[jail.dovecot]
ban-time = \"3h\"
";

/// Files that come and go with any package, or with time.
const ELSEWHERE: &str = "
    find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp \\
        -o -path /var/log -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/mail \\
        -o -path /var/lib/postfix -o -path /var/spool/postfix -o -path /var/lib/dovecot \\
        -o -path /var/lib/systemd/catalog -o -path /var/lib/systemd/timers -o -path /root \\) -prune \\
        -o \\( ! -type d -o -name '*banjour*' \\) -print
";

/// The case for each release and the firewalls that differ in it, each on a guest of its own.
pub(crate) fn trials() -> impl Iterator<Item = Trial> {
    let hosts = RELEASES.into_iter().flat_map(|release| {
        [Firewall::Firewalld, Firewall::Nftables].map(|firewall| (release, firewall))
    });
    let deb = hosts.map(|(release, firewall)| {
        let suffix = firewall.suffix();
        let name = format!("{release}{suffix}::a_package_lives_and_leaves_nothing");
        Trial::test(name, move || {
            let guest = Guest::boot_without_banjour(release, firewall, "p")
                .map_err(|error| format!("{error:#}"))?;
            let result = life(&guest);
            Ok(result.map_err(|error| format!("{error:#}\n{}", guest.report()))?)
        })
    });
    let rpm = Trial::test("rpm::holds_what_make_installs", || {
        Ok(rpm().map_err(|error| format!("{error:#}"))?)
    });
    deb.chain([rpm])
}

fn life(guest: &Guest) -> Result<()> {
    let packages = VERSIONS.map(|version| deb(guest, version));
    let [first, second] = packages;
    let (first, second) = (first?, second?);
    guest.set_up_services()?;
    let before = files(guest)?;

    let said = apt(guest, &format!("install {first}"))?;
    let reloads = guest.firewall == Firewall::Firewalld;
    ensure!(
        said.contains("firewall-cmd --reload") == reloads,
        "firewalld reloads where it has to, and this is said: {said}"
    );
    installed(guest)?;
    let config = "/etc/banjour/banjour.toml";
    guest.sh(&format!(
        "cat >>{config} <<'END'{SETTINGS}END\nsystemctl reload banjour"
    ))?;
    let edited = guest.sh(&format!("cat {config}"))?;

    let source = guest.source();
    guest.attackers.fail(source, Imap, 3)?;
    let ban = guest.expect_banned_in(source, "dovecot")?;
    ensure!(ban.until - ban.since == 3 * 3_600_000_000, "{ban:?}");
    let patient = guest.source_v6();
    guest.attackers.fail(patient, Imap, 2)?;

    // Upgraded while one who is banned goes on, and another one goes on as soon as it is done.
    let pid = guest.main_pid()?;
    let mut said = String::new();
    guest.expect_shut_out_while(&[source], || {
        said = apt(guest, &format!("install {second}"))?;
        guest.wait_until_up(pid)
    })?;
    ensure!(
        !said.contains("--reload"),
        "firewalld knows banjour already: {said}"
    );
    let version = guest.sh("dpkg-query --show --showformat='${Version}' banjour")?;
    ensure!(version.starts_with(VERSIONS[1]), "{version}");
    ensure!(
        guest.sh(&format!("cat {config}"))? == edited,
        "the settings changed"
    );
    ensure!(
        guest.bans_of(source)? == [ban.clone()],
        "{:?}",
        guest.bans()?
    );
    guest.attackers.fail(patient, Imap, 1)?;
    guest.expect_banned(patient)?;
    let bans = guest.bans()?;

    apt(guest, "remove banjour")?;
    nothing_in_the_kernel(guest)?;
    guest.expect_open(source)?;
    ensure!(
        guest.sh(&format!("cat {config}"))? == edited,
        "the settings are gone"
    );
    guest.sh("test -s /var/lib/banjour/banjour.db")?;
    ensure!(
        guest
            .sh("! ls -A /usr/libexec/banjour /usr/lib/banjour 2>/dev/null")?
            .is_empty()
    );

    apt(guest, &format!("install {second}"))?;
    guest.wait_until_up(0)?;
    ensure!(guest.bans()? == bans, "{:?} was {bans:?}", guest.bans()?);
    for source in [source, patient] {
        guest.expect_banned(source)?;
    }
    guest.expect_exactly_the_bans(SOON)?;

    apt(guest, "purge banjour")?;
    nothing_in_the_kernel(guest)?;
    let after = files(guest)?;
    let difference: Vec<_> = before.symmetric_difference(&after).collect();
    ensure!(difference.is_empty(), "not as before: {difference:#?}");
    Ok(())
}

/// The service runs as Debian has it, and every file is there.
fn installed(guest: &Guest) -> Result<()> {
    guest.wait_until_up(0)?;
    ensure!(guest.sh("systemctl is-enabled banjour")? == "enabled");
    guest.expect_firewall(guest.firewall.name())?;
    wait_for("no problem", SOON, || Ok(guest.problems()?.is_empty()))?;
    let listed = guest.sh("dpkg --listfiles banjour")?;
    let listed: BTreeSet<&str> = listed
        .lines()
        .map(|path| path.strip_suffix(".gz").unwrap_or(path))
        .collect();
    let all = made_by_install(&[])?;
    let missing: Vec<_> = all
        .iter()
        .filter(|path| !listed.contains(path.as_str()))
        .collect();
    ensure!(missing.is_empty(), "the package lacks {missing:?}");
    let catalog = guest.sh("journalctl --list-catalog | grep -c ' banjour: '")?;
    ensure!(catalog.parse::<u32>()? > 3, "the catalog is not known");
    Ok(())
}

fn nothing_in_the_kernel(guest: &Guest) -> Result<()> {
    let ruleset = guest.sh("nft list ruleset")?;
    ensure!(!ruleset.contains("banjour"), "{ruleset}");
    ensure!(
        guest
            .run(&["pgrep", "-u", "banjour,banjour-netfilter"])?
            .out
            .is_empty(),
        "something runs on"
    );
    Ok(())
}

fn apt(guest: &Guest, arguments: &str) -> Result<String> {
    guest.sh(&format!(
        "DEBIAN_FRONTEND=noninteractive apt-get --yes -o Dpkg::Use-Pty=0 {arguments} 2>&1"
    ))
}

fn files(guest: &Guest) -> Result<BTreeSet<String>> {
    let found = guest.sh(ELSEWHERE)?;
    // Copies that whoever changes them makes of the lists of users.
    let lists = |path: &&str| !(path.starts_with("/etc/") && path.ends_with('-'));
    let files = found
        .lines()
        .filter(lists)
        .filter(|path| *path != "/etc/.pwd.lock");
    Ok(files.map(str::to_owned).collect())
}

/// All that `make install` installs, with more said to make.
fn made_by_install(more: &[&str]) -> Result<BTreeSet<String>> {
    let directory = tempfile::tempdir()?;
    let to = format!("DESTDIR={}", directory.path().display());
    make(&[&["install", &to], more].concat())?;
    let found = Command::new("find")
        .arg(directory.path())
        .args(["-type", "f", "-printf", "/%P\n"])
        .output()?;
    let found = String::from_utf8(found.stdout)?;
    let files: BTreeSet<String> = found.lines().map(str::to_owned).collect();
    ensure!(files.len() > 25, "{files:?}");
    Ok(files)
}

/// A package of this version, in the guest.
fn deb(guest: &Guest, version: &str) -> Result<String> {
    let built = made("deb", version)?;
    let name = format!("/srv/banjour-{version}.deb");
    fs::copy(&built, guest.root()?.join(&name[1..]))
        .with_context(|| built.display().to_string())?;
    Ok(name)
}

/// The package that `make deb` or `make rpm` makes of a version.
fn made(kind: &str, version: &str) -> Result<PathBuf> {
    static EMPTIED: Mutex<bool> = Mutex::new(false);
    let packages = concat!(env!("CARGO_TARGET_TMPDIR"), "/packages");
    let mut emptied = EMPTIED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*emptied && fs::exists(packages)? {
        fs::remove_dir_all(packages)?;
    }
    *emptied = true;
    let find = || {
        let mut entries = fs::read_dir(packages).ok()?.flatten();
        let found = entries.find(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.contains(version) && name.ends_with(kind)
        });
        found.map(|entry| entry.path())
    };
    if let Some(package) = find() {
        return Ok(package);
    }
    make(&[
        kind,
        "DEB_FLAGS=--fast",
        &format!("VERSION={version}"),
        &format!("PACKAGES={packages}"),
    ])?;
    let package = find().with_context(|| format!("make {kind} made none"))?;
    if kind == "deb" {
        let lintian = Command::new("lintian")
            .args(["--allow-root", "--fail-on", "error"])
            .arg(&package)
            .output()
            .context("lintian")?;
        let said = String::from_utf8_lossy(&lintian.stdout);
        ensure!(lintian.status.success(), "lintian: {said}");
    }
    Ok(package)
}

/// Debian has `rpm`, and nothing that it could be installed on: what it holds and asks for is looked at.
fn rpm() -> Result<()> {
    let package = made("rpm", VERSIONS[0])?;
    let query = |what: &[&str]| -> Result<String> {
        let output = Command::new("rpm")
            .arg("-qp")
            .args(what)
            .arg(&package)
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    };
    let held = query(&["--list"])?;
    let held: BTreeSet<&str> = held.lines().collect();
    let all = made_by_install(&["ZSH_COMPLETIONS=share/zsh/site-functions"])?;
    let missing: Vec<_> = all
        .iter()
        .filter(|path| !held.contains(path.as_str()))
        .collect();
    ensure!(missing.is_empty(), "the package lacks {missing:?}");
    ensure!(
        held.contains("/usr/share/zsh/site-functions/_banjour"),
        "{held:?}"
    );
    ensure!(query(&["--configfiles"])? == "/etc/banjour/banjour.toml\n");
    let requires = query(&["--requires"])?;
    for wanted in [
        "systemd\n",
        "dbus\n",
        "polkit\n",
        "libsystemd.so.0()(64bit)\n",
        "libc.so.6(GLIBC_2",
    ] {
        ensure!(requires.contains(wanted), "{wanted} is not in {requires}");
    }
    // Debian's libsystemd wants it; others' need not.
    ensure!(!requires.contains("libgcrypt"), "{requires}");
    let scripts = query(&["--scripts"])?;
    for wanted in [
        "postinstall scriptlet",
        "preset banjour.service",
        "preuninstall scriptlet",
        "banjour-netfilter clear",
        "postuninstall scriptlet",
        "try-restart",
    ] {
        ensure!(scripts.contains(wanted), "{wanted} is not in {scripts}");
    }
    let directory = tempfile::tempdir()?;
    for (index, script) in scripts.split("scriptlet:\n").skip(1).enumerate() {
        let path = directory.path().join(index.to_string());
        // The heading of the next one is its last line.
        let script = script
            .rsplit_once("\n\n")
            .map_or(script, |(script, _)| script);
        fs::write(&path, script)?;
        let checked = Command::new("sh").arg("-n").arg(&path).output()?;
        ensure!(
            checked.status.success(),
            "{}",
            String::from_utf8_lossy(&checked.stderr)
        );
    }
    Ok(())
}
