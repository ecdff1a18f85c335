//! Ends established connections, as `ss -K` does: `sock_diag(7)`, `SOCK_DESTROY`. A firewall that lets established
//! connections pass leaves a banned client the one that it has; this takes it away, at both ends.

use std::collections::BTreeSet;
use std::io;

use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_packet_sock_diag::{SockDiagDestroy, SockDiagMessage};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};
use nix::libc::{ENOENT, EOPNOTSUPP};

use super::MAIL_PORTS;

/// Ends the connections that these sources have to the mail ports, and says how many there were.
///
/// # Errors
/// The kernel's; of kind `Unsupported` where it can't.
pub(super) fn destroy(sources: &[IpNet]) -> io::Result<u32> {
    let socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let networks: BTreeSet<IpNet> = sources.iter().copied().collect();
    let lengths: BTreeSet<u8> = sources.iter().map(IpNet::prefix_len).collect();
    let network = |client, length| IpNet::new(client, length).map(|net| net.trunc());
    let mut destroyed = 0;
    // Servers that listen on [::] hold IPv4's clients among those of IPv6, as ::ffff:ADDRESS.
    for family in [AF_INET, AF_INET6] {
        for connection in connections(&socket, family)? {
            let client = connection.destination_address.to_canonical();
            let is_mail = MAIL_PORTS.contains(&connection.source_port);
            let mut around = lengths
                .iter()
                .filter_map(|length| network(client, *length).ok());
            if is_mail && around.any(|net| networks.contains(&net)) {
                destroyed += u32::from(end(&socket, family, connection)?);
            }
        }
    }
    Ok(destroyed)
}

/// Connections of a family that are not over yet.
fn connections(socket: &Socket, family: u8) -> io::Result<Vec<SocketId>> {
    let any = match family {
        AF_INET => SocketId::new_v4(),
        _ => SocketId::new_v6(),
    };
    let states = StateFlags::all() - StateFlags::LISTEN - StateFlags::TIME_WAIT - StateFlags::CLOSE;
    let dump = SockDiagMessage::InetRequest(request(family, states, any));
    send(socket, NLM_F_REQUEST | NLM_F_DUMP, dump)?;
    let mut found = Vec::new();
    loop {
        for message in receive::<SockDiagMessage>(socket)? {
            match message {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    found.push(response.header.socket_id);
                }
                NetlinkPayload::Done(_) => return Ok(found),
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                _ => {}
            }
        }
    }
}

/// Ends one connection; `false` if it was gone by itself.
fn end(socket: &Socket, family: u8, connection: SocketId) -> io::Result<bool> {
    let request = request(family, StateFlags::all(), connection);
    let destroy = SockDiagDestroy::new(SockDiagMessage::InetRequest(request));
    send(socket, NLM_F_REQUEST | NLM_F_ACK, destroy)?;
    loop {
        for message in receive::<SockDiagDestroy>(socket)? {
            let NetlinkPayload::Error(answer) = message else {
                continue;
            };
            return match answer.code.map(|code| -code.get()) {
                None => Ok(true),
                Some(ENOENT) => Ok(false),
                Some(EOPNOTSUPP) => Err(io::ErrorKind::Unsupported.into()),
                Some(code) => Err(io::Error::from_raw_os_error(code)),
            };
        }
    }
}

fn request(family: u8, states: StateFlags, socket_id: SocketId) -> InetRequest {
    InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states,
        socket_id,
    }
}

fn send<T>(socket: &Socket, flags: u16, request: T) -> io::Result<()>
where
    T: NetlinkSerializable + Into<NetlinkPayload<T>>,
{
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, request.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    Ok(())
}

/// The messages of one datagram.
fn receive<T: NetlinkDeserializable>(socket: &Socket) -> io::Result<Vec<NetlinkPayload<T>>> {
    let (datagram, _) = socket.recv_from_full()?;
    let mut messages = Vec::new();
    let mut rest = &datagram[..];
    while !rest.is_empty() {
        let message = NetlinkMessage::<T>::deserialize(rest)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
        // Messages are aligned to four bytes (netlink(7)).
        let length = (message.header.length as usize).next_multiple_of(4);
        rest = rest.get(length.max(1)..).unwrap_or_default();
        messages.push(message.payload);
    }
    Ok(messages)
}
