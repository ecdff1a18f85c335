//! Host names → addresses, by systemd-resolved over D-Bus (org.freedesktop.resolve1(5)): the agent itself has no network.
//! Anybody may ask it, without polkit.
//!
//! The last good answers are kept in a file of their own beside the state: they are a cache that names fill again in a
//! minute, so that they are worth no transaction, and a damaged file is one without answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::ready;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use zbus::Connection;
use zbus::fdo::{self, DBusProxy, NameOwnerChangedArgs};
use zbus::proxy::CacheProperties;

use super::{Answers, Name};

const SERVICE: &str = "org.freedesktop.resolve1";

/// The file in the state directory.
const FILE: &str = "names.json";

/// Larger files are not ours: 64 names with 64 addresses each are 200 kB.
const MAX_FILE: u64 = 1024 * 1024;

/// Names whose address changes are given out for a minute or so, and resolved remembers them as long: to ask costs next
/// to nothing, and an office that gets another address is known before its stale phone has failed three times.
const REFRESH: Duration = Duration::from_mins(1);

/// After a failure: at boot, the network comes later than we do.
const RETRY: Duration = Duration::from_secs(10);

/// Longer than resolved waits for one server; nobody waits for it.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// More addresses of one name are left out: more do not fit into an answer by UDP.
const MAX_ADDRESSES: usize = 64;

/// Both families (`AF_UNSPEC`), on any interface.
const ANY_FAMILY: i32 = 0;
const ANY_INTERFACE: i32 = 0;

/// `SD_RESOLVED_DNS` and `SD_RESOLVED_NO_SEARCH`: neither LLMNR nor multicast DNS, to which any neighbour may answer, and
/// the name as it is. What stands in /etc/hosts is answered all the same.
const FLAGS: u64 = 0x1 | 0x100;

#[zbus::proxy(
    interface = "org.freedesktop.resolve1.Manager",
    default_service = "org.freedesktop.resolve1",
    default_path = "/org/freedesktop/resolve1"
)]
trait Resolve {
    /// A host on which resolved does not run may have its reasons: it is not started by this.
    #[zbus(name = "ResolveHostname", no_autostart)]
    fn resolve_hostname(
        &self,
        interface: i32,
        name: &str,
        family: i32,
        flags: u64,
    ) -> zbus::Result<(Vec<(i32, i32, Vec<u8>)>, String, u64)>;
}

/// How things are with the names.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub(super) answers: Answers,
    pub(super) faults: Vec<String>,
}

/// Why a name has no new answer.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("systemd-resolved does not run")]
    NoResolver,
    #[error("no answer in time")]
    Timeout,
    #[error("it has no address")]
    NoAddress,
    #[error("{0}")]
    Refused(String),
}

/// Resolves the names that are wanted again and again, and tells of what is new. Ends with who listens.
pub(super) async fn run(
    connection: Connection,
    state: PathBuf,
    mut wanted: watch::Receiver<BTreeSet<Name>>,
    answers: Answers,
    told: mpsc::Sender<Resolved>,
) {
    // Where the bus does not tell, there is the clock.
    let starts = stream::iter(starts(&connection).await.ok()).flatten();
    let mut starts = pin!(starts);
    let mut saved = answers.clone();
    let mut resolved = Resolved {
        answers,
        faults: Vec::new(),
    };
    'rounds: loop {
        let names = wanted.borrow_and_update().clone();
        resolved.answers.retain(|name, _| names.contains(name));
        let mut asked = JoinSet::new();
        for name in &names {
            let (connection, name) = (connection.clone(), name.clone());
            asked.spawn(async move { (resolve(&connection, &name).await, name) });
        }
        let mut failed = BTreeMap::new();
        loop {
            let answer = tokio::select! {
                answer = asked.join_next() => answer,
                // Who does not answer keeps no others waiting.
                change = wanted.changed() => match change {
                    Ok(()) => continue 'rounds,
                    Err(_) => return,
                }
            };
            let Some(Ok((answer, name))) = answer else {
                break;
            };
            match answer {
                Ok(addresses) => {
                    let known = resolved.answers.insert(name, addresses.clone());
                    if known != Some(addresses) && told.send(resolved.clone()).await.is_err() {
                        return;
                    }
                }
                Err(error) => drop(failed.insert(name, error)),
            }
        }
        resolved.faults = tell(&failed, &resolved.answers);
        if resolved.answers != saved {
            match save(&state, &resolved.answers).await {
                Ok(()) => saved.clone_from(&resolved.answers),
                Err(error) => resolved.faults.push(format!(
                    "cannot save the addresses of host names, they would be unknown after a restart: {error}"
                )),
            }
        }
        if told.send(resolved.clone()).await.is_err() {
            return;
        }
        let pause = match (names.is_empty(), resolved.faults.is_empty()) {
            (true, _) => Duration::MAX,
            (_, true) => REFRESH,
            (_, false) => RETRY,
        };
        tokio::select! {
            change = wanted.changed() => if change.is_err() { return },
            Some(_) = starts.next() => {}
            () = sleep(pause) => {}
        }
    }
}

/// Whenever resolved starts.
async fn starts(connection: &Connection) -> zbus::Result<impl Stream + use<>> {
    let bus = DBusProxy::new(connection).await?;
    let changes = bus
        .receive_name_owner_changed_with_args(&[(0, SERVICE)])
        .await?;
    Ok(changes.filter(|change| {
        let started = |args: NameOwnerChangedArgs<'_>| args.new_owner().is_some();
        ready(change.args().is_ok_and(started))
    }))
}

async fn resolve(connection: &Connection, name: &Name) -> Result<BTreeSet<IpAddr>, Error> {
    let ask = async {
        let proxy = ResolveProxy::builder(connection)
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        proxy
            .resolve_hostname(ANY_INTERFACE, name.as_ref(), ANY_FAMILY, FLAGS)
            .await
    };
    let answer = timeout(CALL_TIMEOUT, ask).await;
    let (found, _, _) = answer.map_err(|_| Error::Timeout)??;
    let addresses = found
        .into_iter()
        .filter_map(|(_, _, bytes)| address(&bytes));
    let addresses: BTreeSet<IpAddr> = addresses.take(MAX_ADDRESSES).collect();
    if addresses.is_empty() {
        return Err(Error::NoAddress);
    }
    Ok(addresses)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

impl From<zbus::Error> for Error {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, text, _) => match name.as_str() {
                "org.freedesktop.DBus.Error.ServiceUnknown"
                | "org.freedesktop.DBus.Error.NameHasNoOwner" => Self::NoResolver,
                name => Self::Refused(text.unwrap_or_else(|| name.to_owned())),
            },
            zbus::Error::FDO(error)
                if matches!(
                    *error,
                    fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_)
                ) =>
            {
                Self::NoResolver
            }
            error => Self::Refused(error.to_string()),
        }
    }
}

/// What fails, and what follows from it. Without a resolver, one text is enough.
fn tell(faults: &BTreeMap<Name, Error>, answers: &Answers) -> Vec<String> {
    let known = |name: &Name| {
        if answers.contains_key(name) {
            "the addresses that it had last stay ignored"
        } else {
            "nobody is ignored by it"
        }
    };
    if faults
        .values()
        .any(|error| matches!(error, Error::NoResolver))
    {
        let names: Vec<_> = faults
            .keys()
            .map(|name| format!("{name} ({})", known(name)))
            .collect();
        return vec![format!(
            "host names in \"ignore\" need systemd-resolved, which does not run: {}; install it, systemctl enable --now \
             systemd-resolved, or write addresses",
            names.join(", ")
        )];
    }
    let told = faults.iter().map(|(name, error)| {
        format!(
            "cannot resolve {name}, which stands in \"ignore\": {error}; {}",
            known(name)
        )
    });
    told.collect()
}

/// The last good answers; none, where there is no file that says any.
pub(super) fn load(state: &Path) -> Answers {
    let mut text = String::new();
    let read =
        File::open(state.join(FILE)).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
    let saved: BTreeMap<String, BTreeSet<IpAddr>> = read
        .ok()
        .and_then(|_| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let answers = saved.into_iter();
    answers
        .filter_map(|(name, addresses)| Some((Name::new(&name)?, addresses)))
        .collect()
}

/// The disk may keep the thread that writes waiting, but not the agent.
async fn save(state: &Path, answers: &Answers) -> io::Result<()> {
    let state = state.to_owned();
    let names = answers.iter();
    let names: BTreeMap<&str, _> = names.map(|(name, found)| (&*name.0, found)).collect();
    let text = serde_json::to_string_pretty(&names)?;
    spawn_blocking(move || replace(&state.join(FILE), &text))
        .await
        .map_err(io::Error::other)?
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text).and_then(|()| fs::rename(&new, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn answers_are_as_they_were_saved_and_a_damaged_file_has_none() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(load(state.path()), Answers::new());
        let addresses = ["192.0.2.7", "2001:db8::7"].map(|text| text.parse().unwrap());
        let answers = Answers::from([(name("office.example"), addresses.into())]);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(save(state.path(), &answers)).unwrap();
        assert_eq!(load(state.path()), answers);
        for text in ["", "{\"office.example\": [\"x\"]}", "[]", "\0"] {
            fs::write(state.path().join(FILE), text).unwrap();
            assert_eq!(load(state.path()), Answers::new());
        }
    }

    #[test]
    fn addresses_have_four_or_sixteen_bytes() {
        assert_eq!(address(&[192, 0, 2, 7]), "192.0.2.7".parse().ok());
        assert_eq!(address(&[0; 16]), "::".parse().ok());
        assert_eq!(address(&[0; 5]), None);
        assert_eq!(address(&[]), None);
    }

    #[test]
    fn a_fault_says_what_follows_from_it() {
        let answers = Answers::from([(name("a.example"), BTreeSet::new())]);
        let faults = |error: fn() -> Error| {
            let names = ["a.example", "b.example"].map(|text| (name(text), error()));
            tell(&BTreeMap::from(names), &answers)
        };
        let told = faults(|| Error::NoResolver);
        assert!(
            told.len() == 1 && told[0].contains("enable --now"),
            "{told:?}"
        );
        let told = faults(|| Error::Timeout);
        assert!(told[0].ends_with("stay ignored") && told[1].ends_with("nobody is ignored by it"));
    }
}
