//! firewalld, over D-Bus (firewalld.dbus(5)). banjour's sets and the policy that drops their members are files of
//! firewalld's configuration (`policy/firewalld`); at run time only the sets' entries change.

use std::collections::BTreeSet;

use futures_util::{Stream, StreamExt, stream};
use zbus::fdo::{self, DBusProxy};
use zbus::names::BusName;
use zbus::proxy::CacheProperties;
use zbus::{Connection, MatchRule, MessageStream};

use crate::source::Source;

const SERVICE: &str = "org.fedoraproject.FirewallD1";
/// firewalld's sets have one family each: the set for IPv4, and the one for IPv6.
const SETS: [(&str, bool); 2] = [("banjour-ipv4", true), ("banjour-ipv6", false)];

/// It drops what comes from the sets' members.
const POLICY: &str = "banjour";

/// From so many changes on, setting all entries at once is the cheaper call: at n entries, adding one costs firewalld
/// some 7 µs × n, and setting all of them 70 µs × n.
const BULK: usize = 10;

/// What keeps a ban from being in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody owns firewalld's name on the bus.
    #[error(
        "firewalld does not run, so that no ban is in force; run \"systemctl start firewalld\""
    )]
    Absent,
    /// firewalld does not know our sets, or not the policy that drops their members.
    #[error(
        "firewalld has not loaded banjour's sets and policy, so that no ban is in force; run \"firewall-cmd --reload\""
    )]
    SetsMissing,
    /// It does not answer.
    #[error("firewalld does not answer, so that new bans are not in force")]
    Hangs,
    /// It answered with an error.
    #[error("firewalld refuses, so that new bans are not in force: {0}")]
    Refused(String),
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
    fn set_entries(&self, ipset: &str, entries: &[String]) -> zbus::Result<()>;
    #[zbus(name = "addEntry", no_autostart)]
    fn add_entry(&self, ipset: &str, entry: &str) -> zbus::Result<()>;
    #[zbus(name = "removeEntry", no_autostart)]
    fn remove_entry(&self, ipset: &str, entry: &str) -> zbus::Result<()>;
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

    /// An item for each event after which the sets may be other than we left them: a start, an end, a reload.
    pub(super) async fn events(&self) -> zbus::Result<impl Stream<Item = ()> + Unpin + use<'a>> {
        let owner = self
            .bus
            .receive_name_owner_changed_with_args(&[(0, SERVICE)])
            .await?
            .map(|_| ());
        let reload = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender(SERVICE)
            .interface(SERVICE)
            .member("Reloaded")
            .build()?;
        let reloaded = MessageStream::for_match_rule(reload, self.bus.inner().connection(), None)
            .await?
            .map(|_| ());
        Ok(stream::select(owner, reloaded))
    }

    /// The members of both sets, if they have an effect.
    pub(super) async fn read(&self) -> Result<BTreeSet<Source>, Error> {
        let name = BusName::try_from(SERVICE).map_err(|e| Error::Refused(e.to_string()))?;
        if !self
            .bus
            .name_has_owner(name)
            .await
            .map_err(|e| Error::Refused(e.to_string()))?
        {
            return Err(Error::Absent);
        }
        if !self
            .policy
            .get_policies()
            .await?
            .iter()
            .any(|policy| policy == POLICY)
        {
            return Err(Error::SetsMissing);
        }
        let mut members = BTreeSet::new();
        for (set, _) in SETS {
            for entry in self.ipset.get_entries(set).await? {
                members.insert(
                    entry
                        .parse()
                        .map_err(|e| Error::Refused(format!("set {set}: {e}")))?,
                );
            }
        }
        Ok(members)
    }

    /// Makes the sets' members `wanted`, from `now`.
    pub(super) async fn change(
        &self,
        now: &BTreeSet<Source>,
        wanted: &BTreeSet<Source>,
    ) -> Result<(), Error> {
        for (set, ipv4) in SETS {
            let members = |of: &BTreeSet<Source>| {
                of.iter()
                    .copied()
                    .filter(|s| s.is_ipv4() == ipv4)
                    .collect::<BTreeSet<_>>()
            };
            let (now, wanted) = (members(now), members(wanted));
            if now.symmetric_difference(&wanted).count() > BULK {
                let entries: Vec<String> = wanted.iter().map(Source::to_string).collect();
                self.ipset.set_entries(set, &entries).await?;
                continue;
            }
            // Removals first: a prefix may come in the place of hosts inside it.
            for gone in now.difference(&wanted) {
                tolerate(
                    "NOT_ENABLED",
                    self.ipset.remove_entry(set, &gone.to_string()).await,
                )?;
            }
            for new in wanted.difference(&now) {
                tolerate(
                    "ALREADY_ENABLED",
                    self.ipset.add_entry(set, &new.to_string()).await,
                )?;
            }
        }
        Ok(())
    }
}

/// firewalld's exceptions come as text that begins with a code.
fn tolerate(code: &str, result: zbus::Result<()>) -> Result<(), Error> {
    match result.map_err(Error::from) {
        Err(Error::Refused(text)) if text.starts_with(code) => Ok(()),
        result => result,
    }
}

impl From<zbus::Error> for Error {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::FDO(error) => match *error {
                fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => Self::Absent,
                fdo::Error::NoReply(_) | fdo::Error::Timeout(_) => Self::Hangs,
                error => Self::Refused(error.to_string()),
            },
            zbus::Error::MethodError(_, Some(text), _) if text.starts_with("INVALID_IPSET") => {
                Self::SetsMissing
            }
            zbus::Error::MethodError(name, text, _) => {
                Self::Refused(text.unwrap_or_else(|| name.to_string()))
            }
            error => Self::Refused(error.to_string()),
        }
    }
}
