//! What the kernel tells of changes to banjour's table (`nf_tables` of linux/netfilter): heard on a socket that
//! the helper has opened, since to open it takes a right.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use netlink_packet_core::{NLA_HEADER_SIZE, NetlinkBuffer, NlasIterator};
use tokio::net::UnixDatagram;

use super::desired::Sources;
use crate::source::Source;

/// Longest message; the kernel's are a page or two.
const MAX_MESSAGE: usize = 65_536;

/// `NFNL_SUBSYS_NFTABLES` of linux/netfilter/nfnetlink.h, and `NFT_MSG_…` of `nf_tables.h` there.
const SUBSYSTEM: u16 = 10;
const NEW_ELEMENT: u16 = 12;
const DELETED_ELEMENT: u16 = 14;
const NEW_GENERATION: u16 = 15;
/// `struct nfgenmsg`, before a message's attributes.
const FAMILY_HEADER: usize = 4;
/// `NFTA_…_TABLE` is the first attribute of every message that names one.
const TABLE: u16 = 1;
const SET: u16 = 2;
const ELEMENTS: u16 = 3;
const KEY: u16 = 1;
const VALUE: u16 = 1;

/// The socket. Of a datagram socket it is all that matters here, whatever its family.
pub(super) struct Watch(UnixDatagram);

impl Watch {
    /// Of a socket that does not block.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        UnixDatagram::from_std(socket.into()).map(Self)
    }

    /// Waits until something was changed that should be as it was, `held` being what should be there. Where messages were
    /// lost, which is an error, anything may have been changed.
    pub(super) async fn disturbed(&self, held: &Sources) {
        let mut message = vec![0; MAX_MESSAGE];
        loop {
            match self.0.recv(&mut message).await {
                Ok(length) if !disturbs(&message[..length], held) => {}
                _ => return,
            }
        }
    }
}

/// Whether a datagram tells of a change that is not ours. What we have added, and what we have taken out, is no such.
fn disturbs(mut datagram: &[u8], held: &Sources) -> bool {
    while let Ok(message) = NetlinkBuffer::new_checked(datagram) {
        if message_disturbs(message.message_type(), message.payload(), held) {
            return true;
        }
        // Messages are aligned to four bytes (netlink(7)).
        let length = (message.length() as usize).next_multiple_of(4);
        datagram = datagram.get(length..).unwrap_or_default();
    }
    false
}

fn message_disturbs(kind: u16, payload: &[u8], held: &Sources) -> bool {
    let attributes = payload.get(FAMILY_HEADER..).unwrap_or_default();
    if kind >> 8 != SUBSYSTEM || attribute(attributes, TABLE) != Some(b"banjour\0") {
        return false;
    }
    match kind & 0xff {
        NEW_GENERATION => false,
        kind @ (NEW_ELEMENT | DELETED_ELEMENT) => {
            let set = attribute(attributes, SET).unwrap_or_default();
            let elements = attribute(attributes, ELEMENTS).unwrap_or_default();
            let mut sources = each(elements).map(|(_, element)| source(set, element));
            let gone = kind == DELETED_ELEMENT;
            // Sets of intervals tell of their borders, which say nothing.
            sources.any(|source| source.is_none_or(|source| held.contains_key(&source) == gone))
        }
        _ => true,
    }
}

/// The member of a set whose name ends in the length of its members' prefixes.
fn source(set: &[u8], element: &[u8]) -> Option<Source> {
    let length = str::from_utf8(set).ok()?.trim_end_matches('\0');
    let length = length.split_once('-')?.1;
    let key = attribute(attribute(element, KEY)?, VALUE)?;
    let address = match key.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(key).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(key).ok()?),
    };
    format!("{address}/{length}").parse().ok()
}

fn attribute(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let mut each = each(attributes);
    each.find(|(of, _)| *of == kind).map(|(_, value)| value)
}

fn each(attributes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let all = NlasIterator::new(attributes).map_while(Result::ok);
    all.filter_map(|attribute| {
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        let value = attribute.into_inner().get(NLA_HEADER_SIZE..length)?;
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    /// A datagram as the kernel sent it.
    fn datagram(hex: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    fn disturbs(hex: &str, held: &str) -> bool {
        let held = Sources::from([(held.parse().unwrap(), Timestamp::MAX.into())]);
        super::disturbs(&datagram(hex), &held)
    }

    const ADDED: &str = "580000000c0a000400000000ae010000010000170c00010062616e6a6f7572000c000200697076342d3332002c000300280001000c00010008000100c61209090c00040000000000000186a00c00050000000000000186a0";
    const DELETED: &str = "580000000e0a000000000000b0010000010000180c00010062616e6a6f7572000c000200697076342d3332002c000300280001000c00010008000100c61209090c00040000000000000186a00c0005000000000000018638";
    const DELETED_NETWORK: &str = "640000000e0a000000000000b20100000100001a0c00010062616e6a6f7572000c000200697076362d3634003800030034000100180001001400010020010db80009000900000000000000000c00040000000000000186a00c000500000000000001869c";
    const DELETED_INTERVAL: &str = "5c0000000e0a000000000000b40100000100001c0c00010062616e6a6f7572000f000200697076342d6f7468657200002c000300280001000c00010008000100c61200000c00040000000000000186a00c000500000000000001869c4c0000000e0a000000000000b40100000100001c0c00010062616e6a6f7572000f000200697076342d6f7468657200001c000300180001000c00010008000100c61280000800030000000001";
    const DELETED_RULE: &str = "6c000000080a000001000000b50100000100001d0c00010062616e6a6f7572000b00020072656675736500000c000300000000000000001434000400300001000e000100696d6d6564696174650000001c0002000800010000000000100002000c0002000800010000000000";
    const GENERATION: &str =
        "2c0000000f0a000001000000b50100000000001d080001000000001d08000200000013ff080003006e667400";
    const DELETED_TABLE_OF_ANOTHER: &str = "30000000020a000001000000c001000001000020080001007a7a7a0008000300000000000c000400000000000000000d";

    #[test]
    fn what_should_be_there_and_was_taken_out_disturbs() {
        assert!(disturbs(DELETED, "198.18.9.9"));
        assert!(!disturbs(DELETED, "198.18.9.8"));
        assert!(disturbs(DELETED_NETWORK, "2001:db8:9:9::/64"));
        assert!(!disturbs(DELETED_NETWORK, "2001:db8:9:9::"));
        assert!(disturbs(DELETED_INTERVAL, "198.18.9.9"));
        assert!(disturbs(&[ADDED, DELETED].concat(), "198.18.9.9"));
    }

    #[test]
    fn changed_rules_disturb_and_what_others_have_does_not() {
        assert!(disturbs(DELETED_RULE, "198.18.9.9"));
        for hex in [ADDED, GENERATION, DELETED_TABLE_OF_ANOTHER, ""] {
            assert!(!disturbs(hex, "198.18.9.9"), "{hex}");
        }
    }

    #[test]
    fn what_is_cut_or_garbled_is_no_panic() {
        let whole = datagram(&[DELETED_INTERVAL, DELETED_RULE].concat());
        let held = Sources::new();
        for length in 0..whole.len() {
            super::disturbs(&whole[..length], &held);
            let mut garbled = whole.clone();
            garbled[length] ^= 0xff;
            super::disturbs(&garbled, &held);
        }
    }
}
