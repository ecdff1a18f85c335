//! The list: sources, each with why it is ignored. A look-up is one binary search, however many there are.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::Name;
use crate::source::{Prefixes, Source};

/// Sources that are never banned. None contains another, so their order is that of their addresses.
#[derive(Debug, Default)]
pub struct List(Vec<Ignored>);

/// A source that is never banned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The source.
    pub source: Source,
    /// Why.
    pub why: Why,
}

/// Why a source is never banned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The host itself.
    Loopback,
    /// The host itself, by an address of its own.
    Own,
    /// A private network, while these are ignored.
    Private,
    /// It stands in the settings.
    Setting,
    /// It stands in a file, in this line.
    File(Arc<Path>, usize),
    /// A host name means it.
    Name(Name),
}

impl List {
    /// Of several reasons for the same source, the first stands.
    pub(super) fn new(mut all: Vec<Ignored>) -> Self {
        // Sorted, a prefix comes before all that it contains.
        all.sort_by_key(|ignored| ignored.source);
        let mut list = Vec::<Ignored>::with_capacity(all.len());
        for ignored in all {
            let known = list.last();
            if !known.is_some_and(|known| known.source.contains(ignored.source)) {
                list.push(ignored);
            }
        }
        Self(list)
    }

    /// What on the list has an address in common with `source`: such a source is never banned.
    #[must_use]
    pub fn overlap(&self, source: Source) -> Option<&Ignored> {
        let after = self
            .0
            .partition_point(|ignored| ignored.source.first() <= source.last());
        let nearest = self.0.get(after.checked_sub(1)?)?;
        nearest.source.overlaps(source).then_some(nearest)
    }

    /// The client that an address stands for: its network at these prefix lengths. A network that is ignored in part is
    /// no single client: there, an address stands for the largest network around it that is not ignored, and one that is
    /// ignored stands for itself. So who is ignored is spared, and its neighbours are not.
    #[must_use]
    pub fn client(&self, address: Source, prefixes: Prefixes) -> Source {
        let network = address.network(prefixes);
        match self.overlap(network) {
            Some(ignored) if !ignored.source.contains(network) => {
                let around = address.around();
                let free = around
                    .take_while(|around| network.contains(*around))
                    .take_while(|around| self.overlap(*around).is_none());
                free.last().unwrap_or(address)
            }
            _ => network,
        }
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, why } = self;
        match why {
            Why::Loopback => write!(f, "{source} is loopback"),
            Why::Own => write!(f, "{source} is an address of this host"),
            Why::Private => write!(f, "{source} is private, and \"ignore-private\" is set"),
            Why::Setting => write!(f, "{source} stands in \"ignore\""),
            Why::File(path, line) => write!(f, "{source} stands in {}:{line}", path.display()),
            Why::Name(name) => write!(f, "{source} is {name}, which stands in \"ignore\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(text: &str) -> Source {
        text.parse().unwrap()
    }

    fn list(sources: &[Source]) -> List {
        let ignored = |source: &Source| Ignored {
            source: *source,
            why: Why::Setting,
        };
        List::new(sources.iter().map(ignored).collect())
    }

    fn of(texts: &[&str]) -> List {
        list(&texts.iter().map(|text| source(text)).collect::<Vec<_>>())
    }

    #[test]
    fn what_overlaps_an_entry_is_found() {
        let list = of(&[
            "192.0.2.128/25",
            "192.0.2.0/24",
            "198.51.100.7",
            "2001:db8::/32",
            "10.0.0.0/8",
        ]);
        for (text, entry) in [
            ("192.0.2.200", Some("192.0.2.0/24")),
            ("192.0.0.0/16", Some("192.0.2.0/24")),
            ("198.51.100.7", Some("198.51.100.7")),
            ("198.51.100.0/24", Some("198.51.100.7")),
            ("198.51.100.6", None),
            ("198.51.100.8", None),
            ("2001:db8:ffff::/48", Some("2001:db8::/32")),
            ("2001:db9::", None),
            ("9.255.255.255", None),
            ("11.0.0.0", None),
            ("::/0", Some("2001:db8::/32")),
            ("::", None),
        ] {
            let found = list.overlap(source(text)).map(|found| found.source);
            assert_eq!(found, entry.map(source), "{text}");
        }
        assert_eq!(List::default().overlap(source("192.0.2.1")), None);
    }

    #[test]
    fn of_several_reasons_the_first_stands() {
        let [own, setting] = [Why::Own, Why::Setting].map(|why| Ignored {
            source: source("192.0.2.2"),
            why,
        });
        let list = List::new(vec![own.clone(), setting]);
        assert_eq!(list.overlap(own.source), Some(&own));
    }

    #[test]
    fn a_network_that_is_ignored_in_part_is_no_single_client() {
        let prefixes = Prefixes { ipv4: 24, ipv6: 64 };
        let list = of(&["2001:db8:1::2", "2001:db8:2::/48", "192.0.2.7"]);
        for (address, client) in [
            ("2001:db8:5::7", "2001:db8:5::/64"),
            // Its own network is the listed one's, …
            ("2001:db8:1::2", "2001:db8:1::2"),
            ("2001:db8:1::3", "2001:db8:1::3"),
            ("2001:db8:1::7", "2001:db8:1::4/126"),
            // … and who has a whole /64 to choose from finds no more than 64 clients in it.
            ("2001:db8:1:0:8000::7", "2001:db8:1:0:8000::/65"),
            ("2001:db8:2:3::7", "2001:db8:2:3::/64"),
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.200", "192.0.2.128/25"),
            ("192.0.3.200", "192.0.3.0/24"),
        ] {
            assert_eq!(
                list.client(source(address), prefixes).to_string(),
                client,
                "{address}"
            );
        }
    }

    fn near() -> impl Strategy<Value = Source> {
        (0_u32..4096, 20_u8..=32).prop_map(|(bits, length)| {
            let address = std::net::Ipv4Addr::from(0xc000_0000 | bits);
            source(&format!("{address}/{length}"))
        })
    }

    proptest! {
        #[test]
        fn a_look_up_finds_what_a_look_at_each_finds(
            sources in prop::collection::vec(near(), 0..40),
            asked in near(),
        ) {
            let each = sources.iter().any(|source| source.overlaps(asked));
            prop_assert_eq!(list(&sources).overlap(asked).is_some(), each);
        }

        #[test]
        fn a_client_is_ignored_only_if_its_address_is(
            sources in prop::collection::vec(near(), 0..6),
            bits in 0_u32..4096,
        ) {
            let list = list(&sources);
            let address = Source::from(std::net::IpAddr::from(std::net::Ipv4Addr::from(0xc000_0000 | bits)));
            let client = list.client(address, Prefixes { ipv4: 24, ipv6: 64 });
            prop_assert!(client.contains(address));
            prop_assert_eq!(list.overlap(client).is_some(), list.overlap(address).is_some());
        }
    }
}
