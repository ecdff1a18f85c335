//! What the kernel tells of changes to banjour's table (`nf_tables` of linux/netfilter): heard on a socket that
//! the helper has opened, since to open it takes a right.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use netlink_packet_core::{NLA_HEADER_SIZE, NetlinkBuffer, NlasIterator};
use tokio::net::UnixDatagram;

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
    pub(super) async fn disturbed<T>(&self, held: &BTreeMap<Source, T>) {
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
fn disturbs<T>(mut datagram: &[u8], held: &BTreeMap<Source, T>) -> bool {
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

fn message_disturbs<T>(kind: u16, payload: &[u8], held: &BTreeMap<Source, T>) -> bool {
    let attributes = payload.get(FAMILY_HEADER..).unwrap_or_default();
    if kind >> 8 != SUBSYSTEM || attribute(attributes, TABLE) != Some(b"banjour\0") {
        return false;
    }
    match kind & 0xff {
        NEW_GENERATION | NEW_ELEMENT => false,
        DELETED_ELEMENT => {
            let set = attribute(attributes, SET).unwrap_or_default();
            let elements = attribute(attributes, ELEMENTS).unwrap_or_default();
            let mut sources = each(elements).map(|(_, element)| source(set, element));
            // Sets of intervals tell of their borders, which say nothing.
            sources.any(|source| source.is_none_or(|source| held.contains_key(&source)))
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
