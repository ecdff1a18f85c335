//! The host's own addresses, and word of when they change. Any process may ask for both (rtnetlink(7)).

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket,
};
use tokio::net::UnixDatagram;

/// `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR` of linux/rtnetlink.h: an address came or went.
const GROUPS: u32 = 0x10 | 0x100;

/// All addresses of all interfaces.
pub(super) fn addresses() -> Result<BTreeSet<IpAddr>, String> {
    let interfaces = getifaddrs()
        .map_err(|e| format!("cannot tell this host's own addresses, they may get banned: {e}"))?;
    let address = |interface: InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    Ok(interfaces.filter_map(address).collect())
}

/// Hears of changes. A datagram socket is all that matters here, whatever its family.
pub(super) struct Changes(UnixDatagram);

impl Changes {
    pub(super) fn new() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkRoute,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        UnixDatagram::from_std(socket.into()).map(Self)
    }

    /// Waits until addresses may have changed. What the messages say does not matter, since all addresses are asked for
    /// again: they may be cut short, and an error means that some were lost.
    pub(super) async fn heard(&self) {
        let mut message = [0; 1];
        let _ = self.0.recv(&mut message).await;
        while !matches!(self.0.try_recv(&mut message), Err(error) if error.kind() == ErrorKind::WouldBlock)
        {
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_among_the_hosts_addresses() {
        let own = addresses().unwrap();
        assert!(own.contains(&"127.0.0.1".parse().unwrap()), "{own:?}");
    }
}
