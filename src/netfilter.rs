//! The privileged side: `org.banjour.Netfilter1`, a helper that the bus starts when the agent calls it, and that goes when
//! nobody has called it for a while. Of all that root may do it has `CAP_NET_ADMIN`, and of banjour it shares nothing with
//! the agent, whose process reads what attackers write: a caller, root or the agent as the bus sees to
//! (`policy/dbus/org.banjour.Netfilter1.conf`), names addresses and prefixes, each is checked here, and nothing else is
//! taken.

mod sockets;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use tokio::sync::Notify;
use tokio::time::timeout;

/// The name on the bus; the interface has it too.
const NAME: &str = "org.banjour.Netfilter1";
const PATH: &str = "/org/banjour/Netfilter1";

/// The helper goes when it has not been called for this long …
const IDLE: Duration = Duration::from_secs(30);
/// … and calls that came before the bus knew get this long.
const LAST_CALLS: Duration = Duration::from_millis(200);

/// Most sources in one call.
const MAX_SOURCES: usize = 4096;

/// The shortest prefixes that are taken: no provider's network is larger, and a slip of the pen is.
const MIN_PREFIX_IPV4: u8 = 8;
const MIN_PREFIX_IPV6: u8 = 16;

/// Why nothing was done. `org.banjour.Netfilter1.Error.…`
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.banjour.Netfilter1.Error")]
pub enum Error {
    /// Any other error on the bus.
    #[zbus(error)]
    Bus(zbus::Error),
    /// Not a source, or one that is never touched.
    InvalidSource(String),
    /// Too many sources in one call.
    TooMany(String),
    /// The kernel can't do this.
    Unsupported(String),
    /// The kernel refuses.
    Failed(String),
}

/// Serves until nobody has called for a while.
///
/// # Errors
/// When there is no bus, or the name is not to be had.
pub async fn run() -> zbus::Result<()> {
    let called = Arc::new(Notify::new());
    let helper = Helper {
        called: Arc::clone(&called),
    };
    let connection = zbus::connection::Builder::system()
        .serve_at(PATH, helper)
        .name(NAME)
        .build()
        .await?;
    while timeout(IDLE, called.notified()).await.is_ok() {}
    // A later call starts another helper; this one still answers those that are on their way to it.
    connection.release_name(NAME).await?;
    while timeout(LAST_CALLS, called.notified()).await.is_ok() {}
    Ok(())
}

struct Helper {
    called: Arc<Notify>,
}

#[zbus::interface(name = "org.banjour.Netfilter1")]
impl Helper {
    /// Ends the TCP connections that these sources, addresses or prefixes, have to the mail ports. Returns how many there
    /// were.
    fn disconnect(&self, sources: Vec<String>) -> Result<u32, Error> {
        self.called.notify_one();
        let sources = check(sources, &own_addresses()?)?;
        Ok(sockets::destroy(&sources)?)
    }
}

/// What the sources are, if none is one that must not be touched.
fn check(sources: Vec<String>, own: &[IpAddr]) -> Result<Vec<IpNet>, Error> {
    if sources.len() > MAX_SOURCES {
        return Err(Error::TooMany(format!(
            "{} sources are more than the {MAX_SOURCES} that one call may name",
            sources.len()
        )));
    }
    sources.into_iter().map(|text| source(&text, own)).collect()
}

fn source(text: &str, own: &[IpAddr]) -> Result<IpNet, Error> {
    let refuse = |why: &str| Error::InvalidSource(format!("{:?} {why}", cut(text)));
    let net: IpNet = text
        .parse()
        .or_else(|_| text.parse().map(|ip: IpAddr| ip.to_canonical().into()))
        .map_err(|_| refuse("is neither an address nor a prefix"))?;
    let shortest = match net {
        IpNet::V4(_) => MIN_PREFIX_IPV4,
        IpNet::V6(_) => MIN_PREFIX_IPV6,
    };
    if net.prefix_len() < shortest {
        return Err(refuse("is too large a network"));
    }
    if matches!(net, IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some()) {
        return Err(refuse("is a network of IPv4, to be written as one"));
    }
    if net.addr().is_loopback() || net.addr().is_unspecified() || net.addr().is_multicast() {
        return Err(refuse("is nobody out there"));
    }
    if own.iter().any(|address| net.contains(address)) {
        return Err(refuse("is, or contains, an address of this host"));
    }
    Ok(net)
}

/// As much of a text as is worth repeating.
fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

fn own_addresses() -> Result<Vec<IpAddr>, Error> {
    let interfaces = getifaddrs()
        .map_err(|e| Error::Failed(format!("cannot tell this host's addresses: {e}")))?;
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    Ok(interfaces.filter_map(address).collect())
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::Unsupported {
            Self::Unsupported(
                "this kernel can't end connections (CONFIG_INET_DIAG_DESTROY)".to_owned(),
            )
        } else {
            Self::Failed(format!("the kernel refuses to end connections: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_addresses_and_prefixes_out_there() {
        let own = ["192.0.2.2", "2001:db8:1::2"].map(|address| address.parse().unwrap());
        let check = |text: &str| check(vec![text.to_owned()], &own);
        for (text, net) in [
            ("198.51.100.1", "198.51.100.1/32"),
            ("198.51.100.0/24", "198.51.100.0/24"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("2001:db8:2::/48", "2001:db8:2::/48"),
            ("::ffff:198.51.100.1", "198.51.100.1/32"),
        ] {
            assert_eq!(check(text).unwrap(), [net.parse::<IpNet>().unwrap()]);
        }
        for (text, why) in [
            ("", "neither"),
            ("0", "neither"),
            ("all", "neither"),
            ("198.51.100.1 ", "neither"),
            ("198.51.100.1/33", "neither"),
            ("-198.51.100.1", "neither"),
            ("0.0.0.0/0", "too large"),
            ("::/0", "too large"),
            ("198.0.0.0/7", "too large"),
            ("::ffff:0:0/96", "of IPv4"),
            ("::ffff:198.51.100.1/128", "of IPv4"),
            ("127.0.0.1", "nobody"),
            ("127.1.2.0/24", "nobody"),
            ("::1", "nobody"),
            ("0.0.0.0", "nobody"),
            ("::", "nobody"),
            ("224.0.0.1", "nobody"),
            ("ff02::1", "nobody"),
            ("192.0.2.2", "this host"),
            ("192.0.2.0/24", "this host"),
            ("2001:db8:1::/64", "this host"),
        ] {
            let error = check(text).unwrap_err();
            let Error::InvalidSource(error) = error else {
                panic!("{text}: {error}");
            };
            assert!(
                error.contains(why) && error.contains(&format!("{text:?}")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_call_names_no_more_than_its_bound() {
        let sources = |n: usize| vec!["198.51.100.1".to_owned(); n];
        assert!(check(sources(MAX_SOURCES), &[]).is_ok());
        let error = check(sources(MAX_SOURCES + 1), &[]).unwrap_err();
        assert!(matches!(error, Error::TooMany(_)), "{error}");
    }
}
