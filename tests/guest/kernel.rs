//! The firewall of a guest, and whom it keeps out for banjour: read from the kernel, with the host's own programs.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use ipnet::{IpNet, IpSubnets, Ipv4Subnets, Ipv6Subnets};
use serde_json::Value;

use crate::host::{Guest, wait_for};

/// What a host has for a firewall. banjour is told nothing of it: it finds out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Firewall {
    Firewalld,
    /// nftables alone, with a table of the admin's.
    Nftables,
    /// iptables and ipset alone, with rules of the admin's. iptables speaks to nftables in the kernel …
    IptablesNft,
    /// … or to what was there before.
    IptablesLegacy,
}

impl Firewall {
    pub(crate) const ALL: [Self; 4] = [
        Self::Firewalld,
        Self::Nftables,
        Self::IptablesNft,
        Self::IptablesLegacy,
    ];

    /// What it adds to the name of a release.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::Firewalld => "",
            Self::Nftables => "-nftables",
            Self::IptablesNft => "-iptables-nft",
            Self::IptablesLegacy => "-iptables-legacy",
        }
    }

    /// What banjour calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Firewalld => "firewalld",
            Self::Nftables => "nftables",
            Self::IptablesNft | Self::IptablesLegacy => "iptables",
        }
    }

    pub(crate) const fn is_iptables(self) -> bool {
        matches!(self, Self::IptablesNft | Self::IptablesLegacy)
    }

    /// The helper's name on the bus …
    pub(crate) const fn helper(self) -> &'static str {
        if self.is_iptables() {
            "org.banjour.Iptables1"
        } else {
            "org.banjour.Netfilter1"
        }
    }

    /// … and its unit.
    pub(crate) const fn unit(self) -> &'static str {
        if self.is_iptables() {
            "banjour-iptables.service"
        } else {
            "banjour-netfilter.service"
        }
    }

    /// Shows whom it keeps out for banjour.
    const fn list(self) -> &'static str {
        match self {
            Self::Firewalld => {
                "nft --json list set inet firewalld banjour-ipv4; nft --json list set inet firewalld banjour-ipv6"
            }
            Self::Nftables => "nft --json list table inet banjour",
            Self::IptablesNft | Self::IptablesLegacy => "ipset save banjour4; ipset save banjour6",
        }
    }

    /// Shows all of it that is banjour's.
    pub(crate) const fn show(self) -> &'static str {
        match self {
            Self::Firewalld | Self::Nftables => self.list(),
            Self::IptablesNft | Self::IptablesLegacy => {
                "iptables -nvL; ip6tables -nvL; ipset list -terse; ipset save banjour4; ipset save banjour6"
            }
        }
    }

    /// Makes a host, which has all of them, one that has this.
    fn set_up(self) -> String {
        match self {
            Self::Firewalld => String::new(),
            Self::Nftables => NFTABLES.to_owned(),
            Self::IptablesNft => IPTABLES.replace("VARIANT", "nft"),
            Self::IptablesLegacy => IPTABLES.replace("VARIANT", "legacy"),
        }
    }
}

const NFTABLES: &str = "
    systemctl disable --quiet --now firewalld
    systemctl mask --quiet firewalld
    cat >/etc/nftables.conf <<END
    flush ruleset
    table inet filter {
        chain input {
            type filter hook input priority filter; policy drop;
            ct state established,related accept
            iif lo accept
            meta l4proto { icmp, ipv6-icmp } accept
            tcp dport { 22, 25, 110, 143, 465, 587, 993, 995, 4190 } accept
        }
    }
END
    systemctl enable --quiet --now nftables";

const IPTABLES: &str = "
    systemctl disable --quiet --now firewalld
    systemctl mask --quiet firewalld
    mv /usr/sbin/nft /usr/sbin/nft.away
    for program in iptables ip6tables; do
        update-alternatives --quiet --set $program /usr/sbin/$program-VARIANT
    done
    mkdir -p /etc/iptables
    cat >/etc/iptables/rules <<END
*filter
:INPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A INPUT -p tcp -m multiport --dports 25,110,143,465,587,993,995,4190 -j ACCEPT
COMMIT
END
    iptables-restore </etc/iptables/rules
    ip6tables-restore </etc/iptables/rules";

impl Guest {
    /// Makes the host one that has this firewall and no other.
    pub(crate) fn set_up_firewall(&self) -> Result<()> {
        self.sh(&self.firewall.set_up()).map(drop)
    }

    /// Whom the kernel keeps out for banjour.
    pub(crate) fn kept_out(&self) -> Result<Vec<IpNet>> {
        self.kept_out_by(self.firewall)
    }

    /// Where nothing of banjour's is, that is nobody.
    pub(crate) fn kept_out_by(&self, firewall: Firewall) -> Result<Vec<IpNet>> {
        let shown = self.run(&["sh", "-c", firewall.list()])?.out;
        let mut members = Vec::new();
        for line in shown.lines() {
            if let Some(member) = line.strip_prefix("add ") {
                let net = member.split(' ').nth(1).with_context(|| line.to_owned())?;
                members.push(net_of(net, None)?);
            } else if line.starts_with('{') {
                let listing: Value = serde_json::from_str(line)?;
                for object in listing["nftables"].as_array().into_iter().flatten() {
                    members.extend(members_of(&object["set"])?);
                }
            }
        }
        Ok(members)
    }

    /// Whether the kernel keeps this address out for banjour.
    pub(crate) fn kernel_has(&self, source: IpAddr) -> Result<bool> {
        Ok(self.kept_out()?.iter().any(|net| net.contains(&source)))
    }

    /// Fails unless the kernel keeps out who is banned and nobody else, within a time.
    pub(crate) fn expect_exactly_the_bans(&self, limit: Duration) -> Result<()> {
        let (mut banned, mut kept_out) = (Vec::new(), Vec::new());
        let waited = wait_for("the kernel to keep out who is banned", limit, || {
            let bans = self.bans()?.into_iter();
            let nets: Result<Vec<_>> = bans.map(|ban| net_of(&ban.source, None)).collect();
            (banned, kept_out) = (nets?, self.kept_out()?);
            banned = IpNet::aggregate(&banned);
            kept_out = IpNet::aggregate(&kept_out);
            Ok(banned == kept_out)
        });
        waited.with_context(|| {
            let without = |all: &[IpNet], others: &[IpNet]| {
                let mut rest = all.to_vec();
                rest.retain(|net| !others.contains(net));
                rest.truncate(10);
                rest
            };
            format!(
                "banned and let in: {:?}; kept out and not banned: {:?}",
                without(&banned, &kept_out),
                without(&kept_out, &banned)
            )
        })
    }
}

/// The members of a set, as libnftables-json(5) has it. A name that ends in a number is that of prefixes of that length.
fn members_of(set: &Value) -> Result<Vec<IpNet>> {
    let name = set["name"].as_str().unwrap_or_default();
    let length = name.rsplit_once('-').and_then(|(_, end)| end.parse().ok());
    let mut members = Vec::new();
    for element in set["elem"].as_array().into_iter().flatten() {
        let value = element.pointer("/elem/val").unwrap_or(element);
        if let Some(address) = value.as_str() {
            members.push(net_of(address, length)?);
        } else if let Some(prefix) = value.get("prefix") {
            let address = prefix["addr"].as_str().unwrap_or_default();
            members.push(net_of(&format!("{address}/{}", prefix["len"]), None)?);
        } else {
            let ends: (IpAddr, IpAddr) = serde_json::from_value(value["range"].clone())?;
            members.extend(match ends {
                (IpAddr::V4(low), IpAddr::V4(high)) => {
                    IpSubnets::from(Ipv4Subnets::new(low, high, 0))
                }
                (IpAddr::V6(low), IpAddr::V6(high)) => {
                    IpSubnets::from(Ipv6Subnets::new(low, high, 0))
                }
                mixed => anyhow::bail!("a range of {mixed:?}"),
            });
        }
    }
    Ok(members)
}

/// An address or a prefix; an address may stand for the prefix of this length around it.
fn net_of(text: &str, length: Option<u8>) -> Result<IpNet> {
    if text.contains('/') {
        return text.parse().with_context(|| text.to_owned());
    }
    let address: IpAddr = text.parse().with_context(|| text.to_owned())?;
    let net = IpNet::from(address);
    Ok(IpNet::new(address, length.unwrap_or(net.max_prefix_len()))?)
}
