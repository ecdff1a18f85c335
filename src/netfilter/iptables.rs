//! iptables and ipset: a chain of our own, `banjour`, first in INPUT, and a set of sources for each family, `banjour4`
//! and `banjour6`. `iptables -L banjour -v -n` and `ipset list banjour4` show them, and what was dropped. iptables(8) is
//! the host's, be it the nft variant or the legacy one; the two say and print the same, as far as it matters here.
//!
//! All sources at once are put into new sets, which are then swapped for those in use, and the chain with the jump to it
//! is one transaction for each family. Single sources are changed in place, one after the other: if one can't be, those
//! before it have been. ipset(8) counts whole seconds.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::source::Timed;
use super::{CHANGED, Error, Held, MAIL_PORTS, MAX_SOURCES, Rules, Traffic, program};

const IPSET: &str = "/usr/sbin/ipset";

/// How long others may change their rules before ours are given up, in seconds (the legacy variant has a lock).
const WAIT: &str = "5";

/// What the programs say when the kernel can't: iptables, legacy and nft, its extension for sets, and ipset.
const LACKING: [&str; 8] = [
    "(do you need to insmod?)",
    "Failed to initialize nft",
    "rule set generation id: Invalid argument",
    "missing kernel module",
    "is not loaded in",
    "Cannot open session to kernel",
    "Kernel error received: Invalid argument",
    "set type not supported",
];

/// How the rules of INPUT begin.
const INPUT: &str = "-A INPUT ";

struct Family {
    ipv6: bool,
    iptables: &'static str,
    restore: &'static str,
    set: &'static str,
    /// Where the next members of the set come together.
    new: &'static str,
    inet: &'static str,
    prohibited: &'static str,
}

const FAMILIES: [Family; 2] = [
    Family {
        ipv6: false,
        iptables: "/usr/sbin/iptables",
        restore: "/usr/sbin/iptables-restore",
        set: "banjour4",
        new: "banjour4-new",
        inet: "inet",
        prohibited: "icmp-admin-prohibited",
    },
    Family {
        ipv6: true,
        iptables: "/usr/sbin/ip6tables",
        restore: "/usr/sbin/ip6tables-restore",
        set: "banjour6",
        new: "banjour6-new",
        inet: "inet6",
        prohibited: "icmp6-adm-prohibited",
    },
];

/// What of ours is there, but for the sources.
struct State {
    /// By name, what they are.
    sets: BTreeMap<String, String>,
    /// Of those families that the kernel has.
    tables: Vec<(&'static Family, Table)>,
}

/// The rules of ours in a family's table `filter`, as `iptables -S` shows them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    chain: Vec<String>,
    /// From any chain: that others send more than INPUT through ours is for them to say.
    jumps: Vec<String>,
    dropped: Traffic,
}

pub(super) async fn replace(rules: Rules, sources: &[Timed]) -> Result<String, Error> {
    let mut before = state().await?;
    if !before.swappable() {
        // Nor can a set go that rules use.
        before.clear().await?;
        before = state().await?;
    }
    ipset(&["restore"], before.swap(sources)).await?;
    for (family, table) in &before.tables {
        family.restore(family.chain(rules, table)).await?;
    }
    let after = state().await?;
    let whole = after.is_whole(rules).then(|| after.shown());
    Ok(whole.unwrap_or_else(|| CHANGED.to_owned()))
}

pub(super) async fn apply(removed: &[IpNet], added: &[Timed]) -> Result<(), Error> {
    // What is there already gets its time, and what is gone already is no error.
    ipset(&["-exist", "restore"], change(removed, added)).await?;
    Ok(())
}

/// Some sources out, and then others in.
fn change(removed: &[IpNet], added: &[Timed]) -> String {
    let mut script = String::new();
    for net in removed {
        let _ = writeln!(script, "del {} {net}", Family::of(*net).set);
    }
    for (net, time) in added {
        let (set, seconds) = (Family::of(*net).set, seconds(*time));
        let _ = writeln!(script, "add {set} {net} timeout {seconds}");
    }
    script
}

pub(super) async fn list() -> Result<Held, Error> {
    let state = state().await?;
    let mut held = Held {
        rules: state.shown(),
        sources: BTreeMap::new(),
    };
    for set in FAMILIES.iter().map(|family| family.set) {
        if !state.sets.contains_key(set) {
            continue;
        }
        let saved = ipset(&["save", set], String::new()).await?;
        for line in saved.lines().filter(|line| line.starts_with("add ")) {
            match member(line) {
                Some((net, left)) => drop(held.sources.insert(net, left)),
                // Nothing that we put there: it is as if somebody had changed the rules.
                None => held.rules.extend([line, "\n"]),
            }
        }
    }
    Ok(held)
}

pub(super) async fn dropped() -> Result<Traffic, Error> {
    let tables = state().await?.tables.into_iter();
    Ok(super::sum(tables.map(|(_, table)| table.dropped)))
}

pub(super) async fn clear() -> Result<(), Error> {
    state().await?.clear().await
}

async fn state() -> Result<State, Error> {
    let mut tables = Vec::new();
    for family in FAMILIES.iter().filter(|family| !family.ipv6 || has_ipv6()) {
        let rules = ["-w", WAIT, "-v", "-S"];
        let rules = run(family.iptables, &rules, String::new()).await?;
        tables.push((family, Table::read(&rules)));
    }
    let sets = kinds(&ipset(&["list", "-terse"], String::new()).await?);
    Ok(State { sets, tables })
}

/// A kernel without IPv6 has nobody to keep out there; what ip6tables(8) says of it depends on the variant.
fn has_ipv6() -> bool {
    let (family, kind) = (AddressFamily::Inet6, SockType::Datagram);
    socket(family, kind, SockFlag::SOCK_CLOEXEC, None).err() != Some(Errno::EAFNOSUPPORT)
}

impl State {
    /// All of it that matters, and nothing that changes by itself.
    fn shown(&self) -> String {
        let mut text = String::new();
        for (name, kind) in &self.sets {
            let _ = writeln!(text, "{IPSET} create {name} {kind}");
        }
        for (family, table) in &self.tables {
            let input = |jump: &&String| jump.starts_with(INPUT);
            for rule in table.chain.iter().chain(table.jumps.iter().filter(input)) {
                let _ = writeln!(text, "{} {rule}", family.iptables);
            }
        }
        text
    }

    /// Whether nothing is missing, nor too much.
    fn is_whole(&self, rules: Rules) -> bool {
        // The chain itself is the first line.
        let lines = if rules.reject { 3 } else { 2 };
        let whole = |table: &Table| {
            let jumps = table.jumps.iter().filter(|jump| jump.starts_with(INPUT));
            table.chain.len() == lines && jumps.count() == 1
        };
        self.sets.len() == FAMILIES.len() && self.tables.iter().all(|(_, table)| whole(table))
    }

    /// The kernel swaps sets only if they are of one type and family.
    fn swappable(&self) -> bool {
        FAMILIES.iter().all(|family| {
            let kind = format!("hash:net family {} ", family.inet);
            self.sets
                .get(family.set)
                .is_none_or(|set| set.starts_with(&kind))
        })
    }

    /// Sets with these sources in the place of those that there are.
    fn swap(&self, sources: &[Timed]) -> String {
        let mut script = String::new();
        for Family { set, new, inet, .. } in &FAMILIES {
            let kind = format!("hash:net family {inet} maxelem {MAX_SOURCES} timeout 0");
            if self.sets.contains_key(*new) {
                let _ = writeln!(script, "destroy {new}");
            }
            if !self.sets.contains_key(*set) {
                let _ = writeln!(script, "create {set} {kind}");
            }
            let _ = writeln!(script, "create {new} {kind}");
        }
        for (net, time) in sources {
            let (new, seconds) = (Family::of(*net).new, seconds(*time));
            let _ = writeln!(script, "add {new} {net} timeout {seconds}");
        }
        for Family { set, new, .. } in &FAMILIES {
            let _ = writeln!(script, "swap {new} {set}\ndestroy {new}");
        }
        script
    }

    async fn clear(&self) -> Result<(), Error> {
        let mut end = Ok(());
        for (family, table) in &self.tables {
            let rules = table.gone();
            if !rules.is_empty() {
                end = end.and(family.restore(rules).await);
            }
        }
        for name in self.sets.keys() {
            end = end.and(ipset(&["destroy", name], String::new()).await.map(drop));
        }
        end
    }
}

impl Family {
    fn of(net: IpNet) -> &'static Self {
        &FAMILIES[usize::from(matches!(net, IpNet::V6(_)))]
    }

    /// The chain, and one jump to it before all other rules, in the place of what there is. What was dropped goes on
    /// being counted, but for IPv6 with the nft variant of iptables 1.8.9, which starts from 0.
    fn chain(&self, rules: Rules, before: &Table) -> String {
        let mut text = ":banjour - [0:0]\n".to_owned() + &before.jumps_gone(INPUT);
        let ports = MAIL_PORTS.map(|port| port.to_string()).join(",");
        let ports = if rules.all_ports {
            String::new()
        } else {
            format!("-p tcp -m multiport --dports {ports} ")
        };
        let sources = format!("-m set --match-set {} src", self.set);
        let (packets, bytes) = before.dropped;
        let counters = format!("-c {packets} {bytes}");
        let _ = writeln!(text, "-I INPUT {ports}-j banjour");
        if rules.reject {
            let (tcp, prohibited) = ("REJECT --reject-with tcp-reset", self.prohibited);
            let _ = writeln!(text, "-A banjour -p tcp {sources} {counters} -j {tcp}");
            let _ = writeln!(
                text,
                "-A banjour {sources} -j REJECT --reject-with {prohibited}"
            );
        } else {
            let _ = writeln!(text, "-A banjour {sources} {counters} -j DROP");
        }
        text
    }

    /// Changes to the table `filter`, all of them or none.
    async fn restore(&self, changes: String) -> Result<(), Error> {
        let script = format!("*filter\n{changes}COMMIT\n");
        let arguments = ["--noflush", "-w", WAIT];
        run(self.restore, &arguments, script).await.map(drop)
    }
}

impl Table {
    /// From what `iptables -v -S` prints.
    fn read(text: &str) -> Self {
        let mut table = Self::default();
        for line in text.lines() {
            let (rule, traffic) = counted(line).unwrap_or((line.to_owned(), (0, 0)));
            let jumps = |end| rule.starts_with("-A ") && rule.ends_with(end);
            if rule.starts_with("-A banjour ") || rule == "-N banjour" {
                table.chain.push(rule);
                table.dropped = super::sum([table.dropped, traffic]);
            } else if jumps(" -j banjour") || jumps(" -g banjour") {
                table.jumps.push(rule);
            }
        }
        table
    }

    /// What takes all of it out.
    fn gone(&self) -> String {
        let mut text = self.jumps_gone("");
        if !self.chain.is_empty() {
            text.push_str("-F banjour\n-X banjour\n");
        }
        text
    }

    /// What takes those jumps out that begin like this.
    fn jumps_gone(&self, from: &str) -> String {
        let jumps = self.jumps.iter().filter(|jump| jump.starts_with(from));
        jumps
            .map(|jump| jump.replacen("-A", "-D", 1) + "\n")
            .collect()
    }
}

/// A rule without its counters, which are the last thing before what is done with a packet, and those.
fn counted(line: &str) -> Option<(String, Traffic)> {
    let (rule, counters) = line.rsplit_once(" -c ")?;
    let mut words = counters.splitn(3, ' ');
    let packets = words.next()?.parse().ok()?;
    let bytes = words.next()?.parse().ok()?;
    let target = words
        .next()
        .map_or_else(String::new, |target| format!(" {target}"));
    Some((format!("{rule}{target}"), (packets, bytes)))
}

/// Our sets, and those that an interrupted call left, from what `ipset list -terse` prints; how large the kernel makes
/// their hashes is its own affair.
fn kinds(text: &str) -> BTreeMap<String, String> {
    let ours = |name: &str| {
        FAMILIES
            .iter()
            .any(|family| name == family.set || name == family.new)
    };
    let kind = |set: &str| {
        let value = |key| set.lines().find_map(|line| line.strip_prefix(key));
        let name = value("Name: ").filter(|name| ours(name))?;
        let mut kind = value("Type: ")?.to_owned();
        let mut words = value("Header: ")?.split(' ');
        while let Some(word) = words.next() {
            if matches!(word, "hashsize" | "initval") {
                words.next();
            } else {
                kind.extend([" ", word]);
            }
        }
        Some((name.to_owned(), kind))
    };
    text.split("\n\n").filter_map(kind).collect()
}

/// A source, and how long it has left, from a line of `ipset save`.
fn member(line: &str) -> Option<Timed> {
    let words: Vec<&str> = line.split(' ').collect();
    let ["add", _, net, "timeout", left] = words[..] else {
        return None;
    };
    let net = net
        .parse()
        .or_else(|_| net.parse().map(|ip: IpAddr| ip.into()));
    let left = left.parse().ok().filter(|left| *left > 0)?;
    Some((net.ok()?, Duration::from_secs(left)))
}

/// Those that have begun; 0 would be for ever.
fn seconds(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}

async fn ipset(arguments: &[&str], input: String) -> Result<String, Error> {
    run(IPSET, arguments, input).await
}

async fn run(path: &str, arguments: &[&str], input: String) -> Result<String, Error> {
    let end = program::run(path, arguments, input).await;
    end.map_err(|error| match error {
        Error::Failed(why) if lacks(&why) => Error::Unsupported(why),
        error => error,
    })
}

/// Whether it is the kernel that can't.
fn lacks(why: &str) -> bool {
    LACKING.iter().any(|lacking| why.contains(lacking))
}

#[cfg(any(test, fuzzing))]
pub(super) mod properties;
#[cfg(test)]
mod tests;
