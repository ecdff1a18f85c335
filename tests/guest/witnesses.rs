//! The counting rule's proof: password databases in every arrangement, quiet and verbose; clients do what clients do, and
//! what each of them knows of its failures is what `banjour replay` must find in the journal, of everyone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::agent::SOON;
use crate::client::Service::{self, Imap, Imaps, Pop3, Sieve, Smtp, Submission};
use crate::host::{Guest, Undo, at_once, wait_for};
use crate::session::{Answer, Mechanism};

crate::cases![
    every_attempt_is_counted_once_with_pam,
    every_attempt_is_counted_once_with_a_password_file,
    every_attempt_is_counted_once_with_sql,
    every_attempt_is_counted_once_with_pam_and_then_a_password_file,
    every_attempt_is_counted_once_with_a_password_file_and_then_pam,
    customers_are_not_counted_while_their_database_is_down,
];

/// The server's trouble is thought to be over a minute after it last spoke of it.
const TROUBLE_LASTS: Duration = Duration::from_secs(90);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Database {
    /// Knows bob.
    Pam,
    /// Knows virt.
    PasswdFile,
    /// Knows virt.
    Sqlite,
}
use Database::{Pam, PasswdFile, Sqlite};

impl Database {
    pub(crate) fn settings(self, release: &str) -> &'static str {
        match (self, release) {
            (Pam, "bookworm") => "passdb {\n driver = pam\n}\nuserdb {\n driver = passwd\n}\n",
            (Pam, _) => "passdb pam {\n}\nuserdb passwd {\n}\n",
            (PasswdFile, "bookworm") => {
                "passdb {\n driver = passwd-file\n args = /etc/dovecot/virtual\n}\n\
                 userdb {\n driver = passwd-file\n args = /etc/dovecot/virtual\n}\n"
            }
            (PasswdFile, _) => {
                "passdb passwd-file {\n passwd_file_path = /etc/dovecot/virtual\n}\n\
                 userdb passwd-file {\n passwd_file_path = /etc/dovecot/virtual\n}\n"
            }
            (Sqlite, "bookworm") => {
                "passdb {\n driver = sql\n args = /etc/dovecot/sqlite.conf\n}\n\
                 userdb {\n driver = sql\n args = /etc/dovecot/sqlite.conf\n}\n"
            }
            (Sqlite, _) => {
                "sql_driver = sqlite\nsqlite_path = /etc/dovecot/virtual.db\n\
                 passdb sql {\n query = SELECT user, password FROM users WHERE user = '%{user}'\n}\n\
                 userdb sql {\n query = SELECT home, uid, gid FROM users WHERE user = '%{user}'\n}\n"
            }
        }
    }
}

/// The content of the password file.
pub(crate) fn password_file(guest: &Guest) -> Result<()> {
    guest.write(
        "/etc/dovecot/virtual",
        "virt:{PLAIN}right-virt:1000:1000::/home/alice::\n",
    )
}

/// The databases' content. Dovecot is to read its passwords from these alone.
fn databases(guest: &Guest) -> Result<Undo<'_>> {
    password_file(guest)?;
    guest.write(
        "/etc/dovecot/sqlite.conf",
        "driver = sqlite\nconnect = /etc/dovecot/virtual.db\n\
         password_query = SELECT user, password FROM users WHERE user = '%u'\n\
         user_query = SELECT home, uid, gid FROM users WHERE user = '%u'\n",
    )?;
    guest.sh("rm -f /etc/dovecot/virtual.db
         sqlite3 /etc/dovecot/virtual.db \"
             CREATE TABLE users (user, password, home, uid INT, gid INT);
             INSERT INTO users VALUES ('virt', '{PLAIN}right-virt', '/home/alice', 1000, 1000);\"
         sed -i 's/^!include auth-system/#&/' /etc/dovecot/conf.d/10-auth.conf")?;
    Ok(guest.undo(
        "sed -i 's/^#!include auth-system/!include auth-system/' /etc/dovecot/conf.d/10-auth.conf",
    ))
}

fn every_attempt_is_counted_once_with_pam(guest: &Guest) -> Result<()> {
    every_attempt_is_counted_once(guest, &[Pam])
}

fn every_attempt_is_counted_once_with_a_password_file(guest: &Guest) -> Result<()> {
    every_attempt_is_counted_once(guest, &[PasswdFile])
}

fn every_attempt_is_counted_once_with_sql(guest: &Guest) -> Result<()> {
    every_attempt_is_counted_once(guest, &[Sqlite])
}

fn every_attempt_is_counted_once_with_pam_and_then_a_password_file(guest: &Guest) -> Result<()> {
    every_attempt_is_counted_once(guest, &[Pam, PasswdFile])
}

fn every_attempt_is_counted_once_with_a_password_file_and_then_pam(guest: &Guest) -> Result<()> {
    every_attempt_is_counted_once(guest, &[PasswdFile, Pam])
}

/// What one client does, in one connection.
#[derive(Debug)]
enum Visit {
    /// Logs in as often as there are names and passwords.
    LogIn(Vec<(&'static str, &'static str)>),
    /// Begins to, and takes it back.
    Cancel,
    /// Connects, and goes.
    Look,
}

fn every_attempt_is_counted_once(guest: &Guest, order: &[Database]) -> Result<()> {
    let _undo = databases(guest)?;
    // What is learned from the first logins comes too late for some; here is counted, not banned.
    let _no_bans = guest.configure(
        "no-bans",
        "[jail.dovecot]\nattempts = 100\n[jail.postfix-sasl]\nattempts = 100\n",
    )?;
    for verbose in [false, true] {
        let since = guest.now()?;
        let settings: String = order.iter().map(|db| db.settings(guest.release)).collect();
        let settings = settings + if verbose { "auth_verbose = yes\n" } else { "" };
        guest.dovecot(&settings)?;
        let truth = Mutex::new(BTreeMap::new());
        at_once(
            &clients(guest, order, verbose),
            |(source, service, visit)| {
                let failures = visit_host(guest, *source, *service, visit)
                    .with_context(|| format!("{source} at {service:?}"))?;
                let mut truth = truth.lock().unwrap_or_else(PoisonError::into_inner);
                truth.insert(*source, (failures, format!("{service:?}, {visit:?}")));
                Ok(())
            },
        )?;
        let truth = truth.into_inner().unwrap_or_else(PoisonError::into_inner);
        agrees(guest, &since, &truth)
            .with_context(|| format!("{order:?}, auth_verbose = {verbose}"))?;
    }
    Ok(())
}

/// Each from an address of its own: customers first, since it is they who show which databases there are.
fn clients(guest: &Guest, order: &[Database], verbose: bool) -> Vec<(IpAddr, Service, Visit)> {
    let mut names = Vec::new();
    for database in order {
        names.push(match database {
            Pam => ("bob", "right-bob"),
            PasswdFile | Sqlite => ("virt", "right-virt"),
        });
    }
    let mut visits = Vec::new();
    for service in [Imap, Imaps, Pop3, Sieve, Submission, Smtp] {
        for (name, right) in names.clone() {
            // Customers get in more often than they mistype.
            let mut tries = vec![
                vec![(name, right)],
                vec![(name, right)],
                vec![(name, "wrong")],
                vec![(name, "wrong"), (name, "wrong")],
            ];
            // Then `imap-login` tells of no failure. A quiet database tells of nothing either, and PAM, where it is
            // asked first, of each time that it is asked for virt, right or wrong.
            let pam_tells = match order {
                [Pam, ..] => name == "bob",
                _ => order.contains(&Pam),
            };
            let nobody_tells = !verbose && !pam_tells && !matches!(service, Submission | Smtp);
            if !nobody_tells {
                tries.push(vec![(name, "wrong"), (name, right)]);
            }
            visits.extend(
                tries
                    .into_iter()
                    .map(|tries| (service, Visit::LogIn(tries))),
            );
        }
        visits.push((service, Visit::LogIn(vec![("nobody-here", "wrong")])));
        visits.push((
            service,
            Visit::LogIn(vec![("a<b>c", "wrong"), ("bob", "wrong")]),
        ));
        visits.push((service, Visit::Look));
    }
    visits.push((Smtp, Visit::Cancel));
    visits.push((Submission, Visit::Cancel));
    visits
        .into_iter()
        .map(|(service, visit)| (guest.source(), service, visit))
        .collect()
}

/// What the client does, and how many of its logins failed, as it knows.
fn visit_host(guest: &Guest, source: IpAddr, service: Service, visit: &Visit) -> Result<u32> {
    let mut session = guest.attackers.open(source, service)?;
    let mut failures = 0;
    match visit {
        Visit::LogIn(tries) => {
            for (user, password) in tries {
                // Postfix has other words for a mechanism of several steps.
                let mechanism = if service == Smtp {
                    Mechanism::Login
                } else {
                    Mechanism::Plain
                };
                match session.log_in_by(mechanism, user, password)? {
                    Answer::Refused => failures += 1,
                    Answer::Accepted if password.starts_with("right") => {}
                    answer => bail!("{user} with {password:?} was {answer:?}"),
                }
            }
            // Whoever is let in is told no more of it.
            let (user, password) = tries[tries.len() - 1];
            ensure!(
                failures < u32::try_from(tries.len())? || !password.starts_with("right"),
                "{user} was refused"
            );
        }
        Visit::Cancel => {
            session.smtp("AUTH LOGIN")?;
            let reply = session.smtp("*")?;
            ensure!(reply.starts_with("501"), "cancelling was answered: {reply}");
        }
        Visit::Look => {}
    }
    session.leave()?;
    Ok(failures)
}

/// Waits until a replay of the journal finds what the clients know: these failures, and nobody else's.
fn agrees(guest: &Guest, since: &str, truth: &BTreeMap<IpAddr, (u32, String)>) -> Result<()> {
    let mut differences: Vec<(u32, u32, String, IpAddr)> = Vec::new();
    wait_for("the journal to tell the truth", SOON, || {
        let replayed = guest.sh(&format!(
            "journalctl --sync; banjour replay --json --since '{since}'"
        ))?;
        let replayed: Value = serde_json::from_str(&replayed)?;
        let mut counted = BTreeMap::new();
        for source in replayed["sources"].as_array().into_iter().flatten() {
            let address: IpAddr = serde_json::from_value(source["source"].clone())?;
            counted.insert(
                address,
                u32::try_from(source["failures"].as_u64().unwrap_or(0))?,
            );
        }
        let strangers = counted.keys().filter(|source| !truth.contains_key(source));
        let nothing = (0, "a stranger".to_owned());
        differences = truth
            .iter()
            .chain(strangers.map(|stranger| (stranger, &nothing)))
            .map(|(source, (failures, visit))| {
                let counted = counted.get(source).copied().unwrap_or(0);
                (counted, *failures, visit.clone(), *source)
            })
            .filter(|(counted, failures, ..)| counted != failures)
            .collect();
        Ok(differences.is_empty())
    })
    .with_context(|| format!("counted, failed, doing what, from where: {differences:#?}"))
}

/// Each of them is right, and is told that the server can't tell; Postfix is told of a failure and no more. There are
/// more of them behind one address than may fail.
fn customers_are_not_counted_while_their_database_is_down(guest: &Guest) -> Result<()> {
    let _undo = databases(guest)?;
    for order in [&[Sqlite][..], &[Pam, Sqlite]] {
        let settings: String = order.iter().map(|db| db.settings(guest.release)).collect();
        guest.dovecot(&settings)?;
        let offices = [guest.source(), guest.source_v6()];
        let visits: Vec<_> = offices
            .into_iter()
            .flat_map(|office| [Imap, Submission, Pop3, Smtp].map(|service| (office, service)))
            .collect();
        let repaired = guest.undo("mv /etc/dovecot/virtual.away /etc/dovecot/virtual.db");
        guest.sh("mv /etc/dovecot/virtual.db /etc/dovecot/virtual.away")?;
        guest.restart_dovecot()?;
        for _ in 0..4 {
            at_once(&visits, |&(office, service)| {
                let answer = guest
                    .attackers
                    .log_in(office, service, "virt", "right-virt")?;
                ensure!(answer != Answer::Accepted, "virt was let in");
                Ok(())
            })?;
        }
        guest.expect_never_banned(&offices)?;
        let problems = guest.problems()?;
        ensure!(
            problems
                .iter()
                .any(|problem| problem.contains("cannot check passwords")),
            "the problems are {problems:?}"
        );
        drop(repaired);
        guest.restart_dovecot()?;
    }
    // Until then, Postfix's word is not believed.
    wait_for("the trouble to be over", TROUBLE_LASTS, || {
        Ok(guest.problems()?.is_empty())
    })?;
    let guesser = guest.source();
    guest.attackers.fail(guesser, Submission, 3)?;
    guest.expect_banned(guesser).map(drop)
}
