//! Packets from many sources to a mail port, and which of them get through: sockets that see a packet only behind the firewall.
//!
//! Each source sends SYNs with numbers; what arrives at a raw socket in the guest has passed all that the firewall has
//! before a program could see it. The first packet behind the last that arrived was the first to be dropped.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Protocol, Socket, Type};

use crate::host::Guest;

/// The mail port that is knocked at: nobody listens there in the guests, so that a knock costs the servers nothing.
const PORT: u16 = 465;
const SOURCE_PORT: u16 = 40_000;
/// A source knocks this often at first …
const INTERVAL: Duration = Duration::from_micros(500);
/// … and later once in this share of the time that it has been at it, so that slow answers are known to 2 %.
const SHARE: u32 = 50;
/// Holds a second of packets of all sources.
const BUFFER: usize = 64 << 20;
/// A banned source has no packet through for this long, or for as long as ten knocks of its take.
const SILENT: Duration = Duration::from_millis(100);

/// A source, and when it begins to knock.
pub(crate) struct Knocker {
    pub(crate) source: Ipv4Addr,
    pub(crate) from: SystemTime,
}

/// When each source's first dropped packet was sent; nothing for those that were let in to the end, `limit` after they began.
pub(crate) fn dropped(
    guest: &Guest,
    knockers: &[Knocker],
    limit: Duration,
) -> Result<Vec<Option<SystemTime>>> {
    let ended = AtomicBool::new(false);
    let passed: Vec<_> = knockers.iter().map(|_| AtomicU32::new(0)).collect();
    let places: HashMap<Ipv4Addr, usize> = knockers
        .iter()
        .enumerate()
        .map(|(place, knocker)| (knocker.source, place))
        .collect();
    let inside = raw(&guest.inside.namespace, None)?;
    inside.set_recv_buffer_size(BUFFER).ok();
    inside.set_read_timeout(Some(Duration::from_millis(100)))?;
    let sockets: Vec<Socket> = knockers
        .iter()
        .map(|knocker| raw(&guest.attackers.namespace, Some(knocker.source)))
        .collect::<Result<_>>()?;
    let host = SocketAddrV4::new(guest.attackers.host_v4, PORT);

    thread::scope(|scope| {
        let listening = scope.spawn(|| -> Result<()> {
            while !ended.load(Ordering::Relaxed) {
                if let Some((source, number)) = receive(&inside)?
                    && let Some(&place) = places.get(&source)
                {
                    passed[place].fetch_max(number + 1, Ordering::Relaxed);
                }
            }
            Ok(())
        });
        let sent = send(knockers, &sockets, host, &passed, limit);
        // What was sent last is on its way.
        thread::sleep(Duration::from_millis(300));
        ended.store(true, Ordering::Relaxed);
        listening.join().expect("listening does not panic")?;
        let sent = sent?;
        Ok(sent
            .iter()
            .zip(&passed)
            .map(|(times, passed)| times.get(passed.load(Ordering::Relaxed) as usize).copied())
            .collect())
    })
}

/// One source's state while it knocks.
struct Sending {
    times: Vec<SystemTime>,
    /// When its last packet that passed was known to have passed, and its number.
    last: (Instant, u32),
    next: SystemTime,
    over: bool,
}

/// Sends until all are dropped or have had their time; when each packet was sent.
fn send(
    knockers: &[Knocker],
    sockets: &[Socket],
    host: SocketAddrV4,
    passed: &[AtomicU32],
    limit: Duration,
) -> Result<Vec<Vec<SystemTime>>> {
    let begin = Instant::now();
    let mut all: Vec<Sending> = knockers
        .iter()
        .map(|knocker| Sending {
            times: Vec::new(),
            last: (begin, 0),
            next: knocker.from,
            over: false,
        })
        .collect();
    let mut left = all.len();
    while left > 0 {
        for (place, one) in all.iter_mut().enumerate() {
            let now = SystemTime::now();
            if one.over || one.next > now {
                continue;
            }
            let knocker = &knockers[place];
            let age = now.duration_since(knocker.from).unwrap_or_default();
            let interval = INTERVAL.max(age / SHARE);
            let through = passed[place].load(Ordering::Relaxed);
            if through > one.last.1 {
                one.last = (Instant::now(), through);
            }
            let silent = one.last.0.elapsed() > SILENT.max(interval * 10);
            if age > limit || (one.times.len() > 20 && silent) {
                one.over = true;
                left -= 1;
                continue;
            }
            let number = u32::try_from(one.times.len()).context("too many packets")?;
            let packet = syn(knocker.source, host, number);
            one.times.push(SystemTime::now());
            // A full queue is no drop of the firewall's: the packet is sent again with its number's place in time.
            if let Err(error) = sockets[place].send_to(&packet, &host.into()) {
                anyhow::ensure!(
                    matches!(error.kind(), ErrorKind::WouldBlock)
                        || error.raw_os_error() == Some(105),
                    "send: {error}"
                );
                one.times.pop();
            }
            one.next = now + interval;
        }
        thread::sleep(Duration::from_micros(50));
    }
    Ok(all.into_iter().map(|one| one.times).collect())
}

/// A raw TCP socket in a network namespace, which it stays in.
fn raw(namespace: &Path, source: Option<Ipv4Addr>) -> Result<Socket> {
    let namespace =
        File::open(namespace).with_context(|| format!("open {}", namespace.display()))?;
    thread::scope(|scope| {
        let making = scope.spawn(|| {
            setns(&namespace, CloneFlags::CLONE_NEWNET).context("enter the network namespace")?;
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP))?;
            if let Some(source) = source {
                socket.bind(&SocketAddrV4::new(source, 0).into())?;
                // What comes back is nobody's business.
                socket.set_recv_buffer_size(1).ok();
            }
            Ok(socket)
        });
        making.join().expect("making a socket does not panic")
    })
}

/// The source and the number of a knock that has arrived.
fn receive(mut socket: &Socket) -> Result<Option<(Ipv4Addr, u32)>> {
    // An IPv4 header of twenty bytes, then TCP's ports and number (RFC 9293, 3.1).
    let mut bytes = [0; 40];
    match socket.read(&mut bytes) {
        Ok(length) if length < bytes.len() => return Ok(None),
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            return Ok(None);
        }
        Err(error) => return Err(error).context("receive"),
    }
    let word =
        |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let ours = word(20) == u32::from(SOURCE_PORT) << 16 | u32::from(PORT);
    Ok(ours.then(|| (Ipv4Addr::from(word(12)), word(24))))
}

/// A SYN with this number, and its checksum, over the pseudo header too.
fn syn(source: Ipv4Addr, host: SocketAddrV4, number: u32) -> [u8; 20] {
    let mut packet = [0; 20];
    packet[0..2].copy_from_slice(&SOURCE_PORT.to_be_bytes());
    packet[2..4].copy_from_slice(&PORT.to_be_bytes());
    packet[4..8].copy_from_slice(&number.to_be_bytes());
    // Five words of header, SYN, a window.
    packet[12..16].copy_from_slice(&[5 << 4, 2, 0xff, 0xff]);
    let pseudo = [source.octets(), host.ip().octets(), [0, 6, 0, 20]];
    let mut sum: u32 = pseudo
        .as_flattened()
        .chunks(2)
        .chain(packet.chunks(2))
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = !u16::try_from(sum).unwrap_or_default();
    packet[16..18].copy_from_slice(&checksum.to_be_bytes());
    packet
}
