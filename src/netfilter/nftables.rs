//! nftables: a table of our own, `inet banjour`, that no other program's reload touches. `nft list table inet banjour`
//! shows it. Every change is one transaction of nft(8).
//!
//! Its chain comes before all others, also before connections are tracked, and looks at what is sent to this host, to
//! itself and to what is behind its ports. Addresses are in plain hash sets, and so are the prefix lengths that banjour
//! bans of its own accord, behind a mask: to add to a set of intervals takes time that grows with the set (a second at
//! 100,000). Other lengths are few, and in such a set.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use ipnet::IpNet;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket,
};
use serde::Deserialize;
use serde_json::Value;

use super::source::Timed;
use super::{CHANGED, Error, Held, MAIL_PORTS, MAX_SOURCES, Rules, Traffic, program};

const NFT: &str = "/usr/sbin/nft";

/// The multicast group of changes, as a bit (`NFNLGRP_NFTABLES` of linux/netfilter/nfnetlink.h).
const CHANGES: u32 = 1 << (7 - 1);

/// Takes the table out, whether it is there or not.
const NO_TABLE: &str = "add table inet banjour\ndelete table inet banjour\n";

/// A set of sources.
struct Set {
    name: &'static str,
    ipv6: bool,
    /// The prefix length of its members; without, they have any.
    prefix: Option<u8>,
    /// What a packet's source is compared by.
    key: &'static str,
}

/// In the order in which packets are compared; the last one of a family has all that the others don't.
const SETS: [Set; 8] = [
    set("ipv4-32", false, Some(32), "ip saddr"),
    set("ipv4-24", false, Some(24), "ip saddr & 255.255.255.0"),
    set("ipv4-other", false, None, "ip saddr"),
    set(
        "ipv6-64",
        true,
        Some(64),
        "ip6 saddr & ffff:ffff:ffff:ffff::",
    ),
    set("ipv6-128", true, Some(128), "ip6 saddr"),
    set(
        "ipv6-56",
        true,
        Some(56),
        "ip6 saddr & ffff:ffff:ffff:ff00::",
    ),
    set("ipv6-48", true, Some(48), "ip6 saddr & ffff:ffff:ffff::"),
    set("ipv6-other", true, None, "ip6 saddr"),
];

const fn set(name: &'static str, ipv6: bool, prefix: Option<u8>, key: &'static str) -> Set {
    Set {
        name,
        ipv6,
        prefix,
        key,
    }
}

pub(super) async fn replace(rules: Rules, sources: &[Timed]) -> Result<String, Error> {
    // What was dropped goes on being counted.
    let counters = counters().await.unwrap_or_default();
    nft(&["-f", "-"], anew(rules, &counters, sources)).await?;
    let shown = shown().await.unwrap_or_default();
    let whole = rules_in(&shown) == SETS.len() + 1 + refusals(rules).len();
    Ok(if whole { shown } else { CHANGED.to_owned() })
}

pub(super) async fn apply(removed: &[IpNet], added: &[Timed]) -> Result<(), Error> {
    nft(&["-f", "-"], change(removed, added)).await.map(drop)
}

pub(super) async fn list() -> Result<Held, Error> {
    if !exists().await? {
        return Ok(Held::default());
    }
    let rules = shown().await?;
    Ok(held(
        rules,
        json(&["list", "table", "inet", "banjour"]).await?,
    ))
}

pub(super) async fn dropped() -> Result<Traffic, Error> {
    Ok(super::sum(counters().await?.into_values()))
}

pub(super) async fn clear() -> Result<(), Error> {
    nft(&["-f", "-"], NO_TABLE.to_owned()).await.map(drop)
}

pub(super) fn watch() -> Result<OwnedFd, Error> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let protocol = SockProtocol::NetlinkNetFilter;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol);
    let socket = socket.map_err(std::io::Error::from)?;
    let address = NetlinkAddr::new(0, CHANGES);
    bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &address).map_err(std::io::Error::from)?;
    Ok(socket)
}

/// These sources in the place of all that there is.
fn anew(rules: Rules, counters: &BTreeMap<String, Traffic>, sources: &[Timed]) -> String {
    let mut script = NO_TABLE.to_owned();
    script += &table(rules, counters);
    elements(&mut script, "add", sources);
    script
}

/// Some sources out, and then others in.
fn change(removed: &[IpNet], added: &[Timed]) -> String {
    let removed: Vec<Timed> = removed.iter().map(|net| (*net, Duration::ZERO)).collect();
    let mut script = String::new();
    // To delete what is not there is an error, unless it has been added just before.
    elements(&mut script, "add", &removed);
    elements(&mut script, "delete", &removed);
    elements(&mut script, "add", added);
    script
}

fn held(rules: String, listing: Listing) -> Held {
    let mut held = Held {
        rules,
        sources: BTreeMap::new(),
    };
    for set in listing.nftables.into_iter().filter_map(|object| object.set) {
        let known = SETS.iter().find(|known| known.name == set.name);
        for element in set.elem {
            let source = known.and_then(|known| known.source(&element));
            match source {
                Some((net, left)) => drop(held.sources.insert(net, left)),
                // Nothing that we put there: it is as if somebody had changed the rules.
                None => held.rules.extend(["\n", &element.val.to_string()]),
            }
        }
    }
    held
}

/// The table without any source.
fn table(rules: Rules, counters: &BTreeMap<String, Traffic>) -> String {
    let mut text = "table inet banjour {\n".to_owned();
    let mut chain = String::new();
    for Set {
        name,
        ipv6,
        prefix,
        key,
    } in &SETS
    {
        let (packets, bytes) = counters.get(*name).copied().unwrap_or_default();
        let family = if *ipv6 { "ipv6_addr" } else { "ipv4_addr" };
        let interval = if prefix.is_none() { "interval, " } else { "" };
        let _ = write!(
            text,
            "counter {name} {{ packets {packets} bytes {bytes} }}
             set {name} {{ type {family}; flags {interval}timeout; size {MAX_SOURCES}; }}\n"
        );
        let _ = writeln!(chain, "{key} @{name} counter name \"{name}\" goto refuse");
    }
    let ports = MAIL_PORTS.map(|port| port.to_string()).join(", ");
    let ports = if rules.all_ports {
        String::new()
    } else {
        format!("tcp dport {{ {ports} }} ")
    };
    let refuse = refusals(rules).join("\n");
    let _ = write!(
        text,
        "chain refuse {{
         {refuse}
         }}
         chain banned {{
         {chain}}}
         chain prerouting {{
         type filter hook prerouting priority -310; policy accept;
         {ports}fib daddr type local jump banned
         }}
         }}\n"
    );
    text
}

/// What is done with packets of banned sources.
fn refusals(rules: Rules) -> &'static [&'static str] {
    if rules.reject {
        &[
            "meta l4proto tcp reject with tcp reset",
            "reject with icmpx admin-prohibited",
        ]
    } else {
        &["drop"]
    }
}

/// How many rules a table has, as nft(8) shows it.
fn rules_in(shown: &str) -> usize {
    let chains = shown.split("\tchain ").skip(1);
    let bodies = chains.filter_map(|chain| chain.split("\n\t}").next());
    let lines = bodies.flat_map(|body| body.lines().skip(1));
    lines
        .filter(|line| !line.trim().starts_with("type "))
        .count()
}

/// A line for each set that has some of these.
fn elements(script: &mut String, verb: &str, sources: &[Timed]) {
    for set in &SETS {
        let mut members = sources.iter().filter(|(net, _)| set.has(*net)).peekable();
        if members.peek().is_none() {
            continue;
        }
        let _ = write!(script, "{verb} element inet banjour {} {{ ", set.name);
        for (net, time) in members {
            let _ = match set.prefix {
                Some(_) => write!(script, "{}", net.addr()),
                None => write!(script, "{net}"),
            };
            if *time > Duration::ZERO {
                // nft(8) takes no number of more than seven digits here.
                let (seconds, millis) = (time.as_secs(), time.subsec_millis());
                let _ = write!(script, " timeout {seconds}s{millis}ms");
            }
            script.push_str(", ");
        }
        script.push_str("}\n");
    }
}

impl Set {
    fn has(&self, net: IpNet) -> bool {
        let hashed = |len: u8| {
            SETS.iter()
                .any(|set| set.ipv6 == self.ipv6 && set.prefix == Some(len))
        };
        let ours = matches!(net, IpNet::V6(_)) == self.ipv6;
        ours && match self.prefix {
            Some(prefix) => net.prefix_len() == prefix,
            None => !hashed(net.prefix_len()),
        }
    }

    /// A member, and how long it has left.
    fn source(&self, element: &Element) -> Option<Timed> {
        let (address, len) = match (&element.val, self.prefix) {
            (Value::String(address), Some(prefix)) => (address.as_str(), prefix),
            (Value::String(address), None) => (address.as_str(), if self.ipv6 { 128 } else { 32 }),
            (val, _) => {
                let prefix = val.get("prefix")?;
                let len = prefix.get("len")?.as_u64()?;
                (prefix.get("addr")?.as_str()?, u8::try_from(len).ok()?)
            }
        };
        let address: IpAddr = address.parse().ok()?;
        let net = IpNet::new(address, len).ok()?;
        Some((net, Duration::from_secs(element.expires?)))
    }
}

/// libnftables-json(5), as far as it matters here.
#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Object>,
}

/// One of these, or something else.
#[derive(Deserialize)]
struct Object {
    set: Option<Listed>,
    counter: Option<Counter>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    #[serde(default)]
    elem: Vec<Element>,
}

#[derive(Deserialize)]
#[serde(from = "Either")]
struct Element {
    val: Value,
    /// Seconds that it has left; without, it stays.
    expires: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Either {
    Timed { elem: Inner },
    Bare(Value),
}

#[derive(Deserialize)]
struct Inner {
    val: Value,
    expires: Option<u64>,
}

impl From<Either> for Element {
    fn from(either: Either) -> Self {
        match either {
            Either::Timed {
                elem: Inner { val, expires },
            } => Self { val, expires },
            Either::Bare(val) => Self { val, expires: None },
        }
    }
}

#[derive(Deserialize)]
struct Counter {
    name: String,
    packets: u64,
    bytes: u64,
}

async fn counters() -> Result<BTreeMap<String, Traffic>, Error> {
    let listing = json(&["list", "counters", "table", "inet", "banjour"]).await?;
    Ok(counted(listing))
}

fn counted(listing: Listing) -> BTreeMap<String, Traffic> {
    let objects = listing.nftables.into_iter();
    let counters = objects.filter_map(|object| object.counter);
    counters
        .map(|counter| (counter.name, (counter.packets, counter.bytes)))
        .collect()
}

async fn exists() -> Result<bool, Error> {
    let tables = nft(&["list", "tables", "inet"], String::new()).await?;
    Ok(tables.lines().any(|line| line == "table inet banjour"))
}

/// The table as nft(8) shows it, without what changes by itself.
async fn shown() -> Result<String, Error> {
    let list = ["--stateless", "--terse", "list", "table", "inet", "banjour"];
    nft(&list, String::new()).await
}

async fn json(arguments: &[&str]) -> Result<Listing, Error> {
    let text = nft(&[&["--json"], arguments].concat(), String::new()).await?;
    listing(&text)
}

fn listing(text: &str) -> Result<Listing, Error> {
    serde_json::from_str(text)
        .map_err(|e| Error::Failed(format!("{NFT} prints what is not understood: {e}")))
}

async fn nft(arguments: &[&str], input: String) -> Result<String, Error> {
    program::run(NFT, arguments, input).await
}

#[cfg(any(test, fuzzing))]
pub(super) mod properties;
#[cfg(test)]
mod tests;
