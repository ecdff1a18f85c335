//! What the kernel holds for banjour: whom it keeps out, and from which ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use ipnet::{IpNet, IpSubnets, Ipv4Subnets, Ipv6Subnets};
use nix::unistd::Uid;
use serde_json::Value;
use zbus::{Connection, Proxy};

use super::program;
use crate::netfilter::MAIL_PORTS;
use crate::source::Source;

const NFT: &str = "/usr/sbin/nft";
const SETS: [&str; 2] = ["banjour-ipv4", "banjour-ipv6"];

/// What a ban closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    All,
    Ports(BTreeSet<u16>),
}

impl Default for Closed {
    fn default() -> Self {
        Self::Ports(BTreeSet::new())
    }
}

impl Closed {
    fn configured(all: bool) -> Self {
        if all {
            Self::All
        } else {
            Self::Ports(MAIL_PORTS.into())
        }
    }

    fn add(&mut self, more: &Self) {
        match (&mut *self, more) {
            (Self::Ports(ports), Self::Ports(more)) => ports.extend(more),
            _ => *self = Self::All,
        }
    }

    pub(super) fn has(&self, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Ports(ports) => ports.contains(&port),
        }
    }
}

/// What is kept out.
#[derive(Debug, Default)]
pub(super) struct Kept {
    sources: BTreeSet<Source>,
    /// What the rules close.
    pub(super) closed: Closed,
}

impl Kept {
    pub(super) fn keeps_out(&self, source: Source) -> bool {
        covers(&self.sources, source)
    }

    /// Who is kept out, and is not among these.
    pub(super) fn foreign(&self, banned: &BTreeSet<Source>) -> Vec<&Source> {
        // firewalld joins neighbours: half of what it names may be one's, half another's.
        let is_joined = |source: &Source| banned.iter().any(|banned| source.contains(*banned));
        let sources = self.sources.iter();
        sources
            .filter(|source| !covers(banned, **source) && !is_joined(source))
            .collect()
    }
}

/// Whether a source is among these, by itself or in a prefix.
fn covers(sources: &BTreeSet<Source>, source: Source) -> bool {
    sources.contains(&source) || source.around().any(|around| sources.contains(&around))
}

/// What the helper reads back from the kernel.
pub(super) fn of_helper((rules, sources): (String, BTreeSet<Source>)) -> Kept {
    // Its own rules, or what somebody has made of them; the agent, which knows them, tells of the second.
    let has_all = || {
        let mut ports = MAIL_PORTS.iter();
        ports.all(|port| rules.contains(&port.to_string()))
    };
    let closed = if rules.is_empty() {
        Closed::default()
    } else {
        Closed::configured(!has_all())
    };
    Kept { sources, closed }
}

/// Whether firewalld has its rules in nftables, as it does unless `FirewallBackend` says otherwise (firewalld.conf(5)); `None`
/// where it does not tell.
pub(super) async fn is_nftables(connection: &Connection) -> Option<bool> {
    let name = "org.fedoraproject.FirewallD1";
    let backend = async {
        let path = "/org/fedoraproject/FirewallD1/config";
        let config = Proxy::new(connection, name, path, format!("{name}.config")).await?;
        config.get_property::<String>("FirewallBackend").await
    };
    Some(backend.await.ok()? != "iptables")
}

/// What firewalld has in the kernel, where that can be read: by root, and if it is in nftables.
pub(super) async fn by_firewalld(connection: &Connection) -> Option<Kept> {
    if !Uid::effective().is_root()
        || is_nftables(connection).await != Some(true)
        || !Path::new(NFT).exists()
    {
        return None;
    }
    // Without its table it has nothing.
    Some(of_firewalld().await.unwrap_or_default())
}

/// What firewalld has put into the kernel. firewalld itself does not notice when somebody takes it out.
pub(super) async fn of_firewalld() -> Result<Kept, String> {
    let listing = program::output(NFT, &["--json", "list", "table", "inet", "firewalld"]).await;
    let listing = listing.map_err(|e| format!("the kernel has none of firewalld's rules ({e})"))?;
    let listing: Value = serde_json::from_str(&listing).map_err(|e| format!("{NFT}: {e}"))?;
    Ok(read(&listing))
}

fn read(listing: &Value) -> Kept {
    let objects = listing["nftables"].as_array().into_iter().flatten();
    let mut sources = BTreeSet::new();
    // Where chains lead to, and what is refused in them to members of our sets.
    let mut leads: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut refused: BTreeMap<&str, Vec<Closed>> = BTreeMap::new();
    let mut reached = Vec::new();
    for object in objects {
        if let Some(set) = object.get("set")
            && SETS.iter().any(|name| set["name"] == *name)
        {
            let elements = set["elem"].as_array().into_iter().flatten();
            sources.extend(elements.flat_map(members).map(Source::from));
        } else if let Some(chain) = object.get("chain")
            && chain["hook"] == "input"
        {
            reached.extend(chain["name"].as_str());
        } else if let Some(rule) = object.get("rule") {
            let chain = rule["chain"].as_str().unwrap_or_default();
            let expressions = rule["expr"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            for expression in expressions {
                for how in ["jump", "goto"] {
                    leads
                        .entry(chain)
                        .or_default()
                        .extend(expression[how]["target"].as_str());
                }
            }
            if let Some(ports) = refusal(expressions) {
                refused.entry(chain).or_default().push(ports);
            }
        }
    }
    let mut closed = Closed::default();
    let mut seen = BTreeSet::new();
    while let Some(chain) = reached.pop() {
        if seen.insert(chain) {
            reached.extend(leads.get(chain).into_iter().flatten());
            for more in refused.get(chain).into_iter().flatten() {
                closed.add(more);
            }
        }
    }
    Kept { sources, closed }
}

/// What a rule closes to members of our sets, if it refuses anything.
fn refusal(expressions: &[Value]) -> Option<Closed> {
    let is_ours = |name: &Value| SETS.iter().any(|set| name == &format!("@{set}"));
    let matches = || expressions.iter().filter_map(|e| e.get("match"));
    let refuses = |e: &Value| e.get("drop").is_some() || e.get("reject").is_some();
    if !matches().any(|one| is_ours(&one["right"])) || !expressions.iter().any(refuses) {
        return None;
    }
    let is_port = |one: &&Value| one.pointer("/left/payload/field") == Some(&"dport".into());
    let Some(ports) = matches().find(is_port) else {
        return Some(Closed::All);
    };
    let right = &ports["right"];
    let several = right["set"].as_array();
    let several = several.map_or(std::slice::from_ref(right), Vec::as_slice);
    let numbers = several.iter().filter_map(Value::as_u64);
    Some(Closed::Ports(
        numbers
            .filter_map(|port| u16::try_from(port).ok())
            .collect(),
    ))
}

/// The networks of a set's element (libnftables-json(5)).
fn members(element: &Value) -> Vec<IpNet> {
    let value = element.pointer("/elem/val").unwrap_or(element);
    if let Some(address) = value.as_str() {
        let address: Option<IpAddr> = address.parse().ok();
        return address.map(IpNet::from).into_iter().collect();
    }
    if let Some(prefix) = value.get("prefix") {
        let address = prefix["addr"].as_str().unwrap_or_default();
        let net = format!("{address}/{}", prefix["len"]).parse();
        return net.into_iter().collect();
    }
    match serde_json::from_value(value["range"].clone()) {
        Ok((IpAddr::V4(low), IpAddr::V4(high))) => {
            IpSubnets::from(Ipv4Subnets::new(low, high, 0)).collect()
        }
        Ok((IpAddr::V6(low), IpAddr::V6(high))) => {
            IpSubnets::from(Ipv6Subnets::new(low, high, 0)).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn listing(jump: &str) -> Value {
        let rule = |chain: &str, expr: Value| json!({"rule": {"chain": chain, "expr": expr}});
        let port = |port: u16| json!({"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": port}});
        let ours = json!({"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@banjour-ipv4"}});
        json!({"nftables": [
            {"set": {"name": "banjour-ipv4", "elem": ["192.0.2.1", {"prefix": {"addr": "198.51.100.0", "len": 24}}, {"range": ["192.0.2.4", "192.0.2.5"]}]}},
            {"set": {"name": "other", "elem": ["203.0.113.1"]}},
            {"chain": {"name": "filter_INPUT", "hook": "input"}},
            rule("filter_INPUT", json!([{"jump": {"target": jump}}])),
            rule("policy", json!([{"jump": {"target": "deny"}}])),
            rule("deny", json!([ours, port(25), {"drop": null}])),
            rule("deny", json!([ours, port(143), {"drop": null}])),
            rule("deny", json!([port(80), {"drop": null}])),
        ]})
    }

    #[test]
    fn members_and_ports_are_read_from_the_kernels_rules() {
        let kept = read(&listing("policy"));
        assert_eq!(kept.closed, Closed::Ports([25, 143].into()));
        for (source, out) in [
            ("192.0.2.1", true),
            ("198.51.100.9", true),
            ("192.0.2.5", true),
            ("203.0.113.1", false),
        ] {
            assert_eq!(kept.keeps_out(source.parse().unwrap()), out, "{source}");
        }
        let banned = ["192.0.2.1", "192.0.2.4", "192.0.2.5"].map(|s| s.parse().unwrap());
        let foreign = kept.foreign(&banned.into());
        assert_eq!(foreign, [&"198.51.100.0/24".parse::<Source>().unwrap()]);
    }

    #[test]
    fn rules_that_nothing_leads_to_close_nothing() {
        let kept = read(&listing("elsewhere"));
        assert_eq!(kept.closed, Closed::Ports(BTreeSet::new()));
    }
}
