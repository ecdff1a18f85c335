//! firewalld, over D-Bus (firewalld.dbus(5)). banjour's sets and the policy that drops their members are files of
//! firewalld's configuration (`policy/firewalld`); at run time only the sets' entries change.

use std::collections::BTreeSet;

use futures_util::future::ready;
use futures_util::{Stream, StreamExt, stream};
use zbus::fdo::{self, DBusProxy};
use zbus::names::BusName;
use zbus::proxy::CacheProperties;
use zbus::{Connection, MatchRule, Message, MessageStream};

use super::{Backend, Error};
use crate::source::Source;

const SERVICE: &str = "org.fedoraproject.FirewallD1";
/// firewalld's sets have one family each: the set for IPv4, and the one for IPv6.
const SETS: [(&str, bool); 2] = [("banjour-ipv4", true), ("banjour-ipv6", false)];

/// It drops what comes from the sets' members.
const POLICY: &str = "banjour";

/// From so many changes on, setting all entries at once is the cheaper call: at n entries, adding one costs firewalld
/// some 7 µs × n, and setting all of them 70 µs × n.
const BULK: usize = 10;

/// What firewalld tells of itself.
pub(super) enum Event {
    /// A start, an end, a reload: the sets may be other than we left them.
    Reset,
    /// An entry of one of our sets came (`true`) or went.
    Entry(Source, bool),
}

#[zbus::proxy(
    interface = "org.fedoraproject.FirewallD1.ipset",
    default_service = "org.fedoraproject.FirewallD1",
    default_path = "/org/fedoraproject/FirewallD1"
)]
trait IpSet {
    #[zbus(name = "getEntries", no_autostart)]
    fn get_entries(&self, ipset: &str) -> zbus::Result<Vec<String>>;
    #[zbus(name = "setEntries", no_autostart)]
    fn set_entries(&self, ipset: &str, entries: &[Source]) -> zbus::Result<()>;
    #[zbus(name = "addEntry", no_autostart)]
    fn add_entry(&self, ipset: &str, entry: Source) -> zbus::Result<()>;
    #[zbus(name = "removeEntry", no_autostart)]
    fn remove_entry(&self, ipset: &str, entry: Source) -> zbus::Result<()>;
}

#[zbus::proxy(
    interface = "org.fedoraproject.FirewallD1.policy",
    default_service = "org.fedoraproject.FirewallD1",
    default_path = "/org/fedoraproject/FirewallD1"
)]
trait Policy {
    #[zbus(name = "getPolicies", no_autostart)]
    fn get_policies(&self) -> zbus::Result<Vec<String>>;
}

pub(super) struct Firewalld<'a> {
    bus: DBusProxy<'a>,
    ipset: IpSetProxy<'a>,
    policy: PolicyProxy<'a>,
}

impl<'a> Firewalld<'a> {
    pub(super) async fn new(connection: &Connection) -> zbus::Result<Self> {
        let bus = DBusProxy::new(connection).await?;
        let ipset = IpSetProxy::builder(connection)
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        let policy = PolicyProxy::builder(connection)
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        Ok(Self { bus, ipset, policy })
    }

    pub(super) async fn events(&self) -> zbus::Result<impl Stream<Item = Event> + Unpin + use<'a>> {
        let owner = self
            .bus
            .receive_name_owner_changed_with_args(&[(0, SERVICE)])
            .await?
            .map(|_| Event::Reset);
        let signals = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender(SERVICE)
            .build()?;
        let signals = MessageStream::for_match_rule(signals, self.bus.inner().connection(), None)
            .await?
            .filter_map(|signal| ready(signal.ok().as_ref().and_then(event)));
        Ok(stream::select(owner, signals))
    }

    /// Whether it runs.
    pub(super) async fn runs(&self) -> Result<bool, Error> {
        let name = BusName::try_from(SERVICE).map_err(|e| refused(e.to_string()))?;
        let owned = self.bus.name_has_owner(name).await;
        owned.map_err(|e| refused(e.to_string()))
    }

    /// The members of both sets, if they have an effect.
    pub(super) async fn read(&self) -> Result<BTreeSet<Source>, Error> {
        if !self.runs().await? {
            return Err(Error::Absent);
        }
        let policies = self.policy.get_policies().await?;
        if !policies.iter().any(|policy| policy == POLICY) {
            return Err(Error::SetsMissing);
        }
        let mut members = BTreeSet::new();
        for (set, _) in SETS {
            for entry in self.ipset.get_entries(set).await? {
                let source = entry.parse();
                members.insert(source.map_err(|e| refused(format!("set {set}: {e}")))?);
            }
        }
        Ok(members)
    }

    /// Takes members out and puts others in, after which they are `all`.
    pub(super) async fn change<All>(
        &self,
        gone: Vec<Source>,
        new: Vec<Source>,
        all: impl Fn() -> All,
    ) -> Result<(), Error>
    where
        All: Iterator<Item = Source>,
    {
        for (set, ipv4) in SETS {
            let ours = |source: &Source| source.is_ipv4() == ipv4;
            let (gone, new) = (
                gone.iter().filter(|s| ours(s)),
                new.iter().filter(|s| ours(s)),
            );
            if gone.clone().chain(new.clone()).count() > BULK {
                let entries: Vec<Source> = all().filter(ours).collect();
                self.ipset.set_entries(set, &entries).await?;
                continue;
            }
            // Removals first: a prefix may come in the place of hosts inside it.
            for gone in gone {
                tolerate("NOT_ENABLED", self.ipset.remove_entry(set, *gone).await)?;
            }
            for new in new {
                tolerate("ALREADY_ENABLED", self.ipset.add_entry(set, *new).await)?;
            }
        }
        Ok(())
    }
}

/// What a signal of firewalld's tells, if it matters.
fn event(signal: &Message) -> Option<Event> {
    let header = signal.header();
    let member = header.member()?.as_str();
    if member == "Reloaded" {
        return Some(Event::Reset);
    }
    let came = match member {
        "EntryAdded" => true,
        "EntryRemoved" => false,
        _ => return None,
    };
    let (set, entry): (String, String) = signal.body().deserialize().ok()?;
    let ours = SETS.iter().any(|(ours, _)| *ours == set);
    Some(Event::Entry(entry.parse().ok().filter(|_| ours)?, came))
}

fn refused(text: String) -> Error {
    Error::Refused(Backend::Firewalld, text)
}

/// firewalld's exceptions come as text that begins with a code.
fn tolerate(code: &str, result: zbus::Result<()>) -> Result<(), Error> {
    match result.map_err(Error::from) {
        Err(Error::Refused(_, text)) if text.starts_with(code) => Ok(()),
        result => result,
    }
}

impl From<zbus::Error> for Error {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::FDO(error) => match *error {
                fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => Self::Absent,
                fdo::Error::NoReply(_) | fdo::Error::Timeout(_) => Self::Hangs(Backend::Firewalld),
                error => refused(error.to_string()),
            },
            zbus::Error::MethodError(_, Some(text), _) if text.starts_with("INVALID_IPSET") => {
                Self::SetsMissing
            }
            zbus::Error::MethodError(name, text, _) => {
                refused(text.unwrap_or_else(|| name.to_string()))
            }
            error => refused(error.to_string()),
        }
    }
}
