//! The mail servers' processes, as the kernel has them (proc(5)): in which unit they run, and on which ports they listen.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use crate::units::Daemon;

/// `TCP_LISTEN` of the kernel's `net/tcp_states.h`.
const LISTENS: &str = "0A";

/// The first process of a mail server.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) id: u32,
    pub(super) daemon: Daemon,
    /// The unit, or what else of systemd's tree it runs in.
    pub(super) unit: String,
    /// Whether it is in a container: processes have other ids there.
    pub(super) is_contained: bool,
}

/// All that run on this host.
pub(super) fn mail_servers() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(mail_server).collect()
}

fn mail_server(id: u32) -> Option<Process> {
    let directory = PathBuf::from(format!("/proc/{id}"));
    let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
    let command = read("cmdline")?;
    let program = command.split('\0').next()?;
    let daemon = match program.rsplit('/').next()? {
        "dovecot" => Daemon::Dovecot,
        "master" if program.contains("/postfix/") => Daemon::Postfix,
        _ => return None,
    };
    // Every namespace that it is in has an id for it.
    let status = read("status")?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let ids = field("NSpid:");
    // Both run as root; anybody else may call a program what he likes.
    if field("Uid:")?.split_whitespace().next()? != "0" {
        return None;
    }
    Some(Process {
        id,
        daemon,
        unit: unit_of(&read("cgroup")?)?,
        is_contained: ids.is_some_and(|ids| ids.split_whitespace().count() > 1),
    })
}

/// The unit in a line such as `0::/system.slice/dovecot.service`; of the hybrid tree, systemd's own is the last.
fn unit_of(cgroups: &str) -> Option<String> {
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let is_unit = |part: &&str| matches!(part.rsplit_once('.'), Some((_, "service" | "scope")));
    let unit = path.split('/').find(is_unit);
    Some(unit.unwrap_or(path).to_owned())
}

/// The TCP ports on which a process listens for others than this host; `None` if it may not be asked.
pub(super) fn open_ports(id: u32) -> Option<BTreeSet<u16>> {
    let directory = PathBuf::from(format!("/proc/{id}"));
    let sockets = sockets(&directory.join("fd"))?;
    let mut ports = BTreeSet::new();
    for table in ["net/tcp", "net/tcp6"] {
        let text = fs::read_to_string(directory.join(table)).unwrap_or_default();
        let listeners = text.lines().skip(1).filter_map(listener);
        let ours = listeners
            .filter(|(address, _, inode)| !address.is_loopback() && sockets.contains(inode));
        ports.extend(ours.map(|(_, port, _)| port));
    }
    Some(ports)
}

/// The inodes of a process' sockets.
fn sockets(directory: &Path) -> Option<HashSet<u64>> {
    let files = fs::read_dir(directory).ok()?.flatten();
    let inode = |file: fs::DirEntry| {
        let target = fs::read_link(file.path()).ok()?;
        let target = target.to_str()?.strip_prefix("socket:[")?;
        target.strip_suffix(']')?.parse().ok()
    };
    Some(files.filter_map(inode).collect())
}

/// Address, port and inode of a row of /proc/net/tcp, if it listens.
fn listener(row: &str) -> Option<(IpAddr, u16, u64)> {
    let mut cells = row.split_whitespace();
    let (address, port) = cells.nth(1)?.split_once(':')?;
    if cells.nth(1)? != LISTENS {
        return None;
    }
    let inode = cells.nth(5)?.parse().ok()?;
    Some((
        address_of(address)?,
        u16::from_str_radix(port, 16).ok()?,
        inode,
    ))
}

/// The kernel prints each four bytes as a number of the machine's own order.
fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(hex.get(8 * at..8 * at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    if hex.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?).into());
    }
    let words = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
    let bytes: [u8; 16] = words.try_into().ok()?;
    Some(IpAddr::from(Ipv6Addr::from(bytes)).to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_from_the_kernels_table() {
        let row = "   0: 0100007F:024B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12699925 1 0000000050569d35 100 0 0 10 0";
        let (address, port, inode) = listener(row).unwrap();
        assert_eq!((port, inode), (587, 12_699_925));
        assert!(address.is_loopback(), "{address}");
        assert_eq!(listener(&row.replace(" 0A ", " 01 ")), None);
        let v6 = address_of("B80D0120000000000000000001000000").unwrap();
        assert_eq!(v6.to_string(), "2001:db8::1");
    }

    #[test]
    fn the_unit_is_in_the_path() {
        for (cgroups, unit) in [
            (
                "9:name=systemd:/\n0::/system.slice/dovecot.service\n",
                "dovecot.service",
            ),
            (
                "0::/system.slice/system-postfix.slice/postfix@-.service",
                "postfix@-.service",
            ),
            (
                "0::/user.slice/user-0.slice/session-3.scope",
                "session-3.scope",
            ),
            ("0::/", "/"),
        ] {
            assert_eq!(unit_of(cgroups).as_deref(), Some(unit));
        }
    }
}
