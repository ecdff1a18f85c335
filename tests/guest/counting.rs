//! What counts as one attempt: not a line, not a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};

use crate::client::Service::{self, Imap, Pop3, Sieve, Smtp, Submission};
use crate::host::{Guest, at_once};
use crate::session::Answer;
use crate::witnesses::{Database, password_file};

crate::cases![
    three_wrong_passwords_in_one_connection_ban,
    two_wrong_passwords_in_one_connection_do_not,
    a_mistake_and_then_the_right_password_is_one_attempt,
    two_customers_behind_one_address_may_each_mistype_once,
    customers_who_get_in_are_never_banned,
    customers_whom_pam_does_not_know_are_never_banned,
    a_jail_shows_what_it_counted,
    loopback_is_never_banned,
];

const SERVICES: [Service; 4] = [Imap, Pop3, Sieve, Submission];

fn three_wrong_passwords_in_one_connection_ban(guest: &Guest) -> Result<()> {
    let attackers = SERVICES.map(|service| (service, [guest.source(), guest.source_v6()]));
    at_once(&attackers, |&(service, sources)| {
        for source in sources {
            let tries = [("bob", "wrong"), ("alice", "wrong"), ("bob", "wrong")];
            in_one_connection(guest, source, service, &tries)?;
            guest.expect_banned(source)?;
        }
        Ok(())
    })
}

fn two_wrong_passwords_in_one_connection_do_not(guest: &Guest) -> Result<()> {
    at_once(&SERVICES, |&service| {
        let source = guest.source();
        in_one_connection(
            guest,
            source,
            service,
            &[("bob", "wrong"), ("bob", "wrong")],
        )?;
        guest.expect_never_banned(&[source])?;
        guest.attackers.fail(source, service, 1)?;
        guest.expect_banned(source).map(drop)
    })
}

/// Such a connection ends as a success in Dovecot's eyes, and its failure is in no line of `imap-login`.
fn a_mistake_and_then_the_right_password_is_one_attempt(guest: &Guest) -> Result<()> {
    for settings in ["", "auth_verbose = yes\n"] {
        guest.dovecot(settings)?;
        at_once(&SERVICES, |&service| {
            let source = guest.source();
            // Two, since who has logged in may mistype again.
            let bob = [("bob", "wrong"), ("bob", "right-bob")];
            let carol = [("carol", "wrong"), ("carol", "right-carol")];
            in_one_connection(guest, source, service, &bob)?;
            in_one_connection(guest, source, service, &carol)?;
            guest.expect_never_banned(&[source])?;
            guest.attackers.log_in(source, service, "alice", "wrong")?;
            guest.expect_banned(source).map(drop)
        })?;
    }
    Ok(())
}

fn two_customers_behind_one_address_may_each_mistype_once(guest: &Guest) -> Result<()> {
    guest.dovecot("auth_verbose = yes\n")?;
    let offices = [guest.source(), guest.source_v6()];
    at_once(&offices, |&office| {
        for customer in ["alice", "carol"] {
            let right = format!("right-{customer}");
            in_one_connection(
                guest,
                office,
                Imap,
                &[(customer, "worng"), (customer, &right)],
            )?;
        }
        Ok(())
    })?;
    guest.expect_never_banned(&offices)
}

fn customers_who_get_in_are_never_banned(guest: &Guest) -> Result<()> {
    let source = guest.source();
    at_once(&Service::ALL, |&service| {
        for _ in 0..3 {
            in_one_connection(guest, source, service, &[("alice", "right-alice")])?;
        }
        Ok(())
    })?;
    guest.expect_never_banned(&[source])
}

/// Dovecot asks PAM first, which writes a failure at each of their logins, and then a database that knows them.
fn customers_whom_pam_does_not_know_are_never_banned(guest: &Guest) -> Result<()> {
    password_file(guest)?;
    guest.dovecot(Database::PasswdFile.settings(guest.release))?;
    let customer = guest.source();
    for _ in 0..4 {
        let answer = guest
            .attackers
            .log_in(customer, Imap, "virt", "right-virt")?;
        ensure!(answer == Answer::Accepted, "the customer is refused");
    }
    guest.expect_never_banned(&[customer])?;
    let guesser = guest.source();
    in_one_connection(guest, guesser, Imap, &[("virt", "wrong"); 3])?;
    guest.expect_banned(guesser).map(drop)
}

fn a_jail_shows_what_it_counted(guest: &Guest) -> Result<()> {
    let jail = |name: &str| -> Result<u64> {
        let value = guest.property_of(
            "/org/banjour/Banjour1/jail/dovecot",
            "org.banjour.Banjour1.Jail",
            name,
        )?;
        Ok(value.as_u64().unwrap_or_default())
    };
    ensure!(jail("Attempts")? == 3, "the limit is {}", jail("Attempts")?);
    ensure!(
        jail("WindowUSec")? == 3_600_000_000,
        "the window is {}",
        jail("WindowUSec")?
    );
    ensure!(
        jail("BanTimeUSec")? == 3_600_000_000,
        "the ban time is {}",
        jail("BanTimeUSec")?
    );

    let counts = || {
        anyhow::Ok((
            jail("TotalFailed")?,
            jail("TotalBanned")?,
            jail("CurrentlyBanned")?,
        ))
    };
    let (failed, banned, banned_now) = counts()?;
    let source = guest.source();
    guest.attackers.fail(source, Imap, 2)?;
    guest.expect_never_banned(&[source])?;
    ensure!(
        counts()? == (failed + 2, banned, banned_now),
        "after two attempts: {:?}",
        counts()?
    );
    ensure!(jail("CurrentlyFailed")? > 0, "nobody is counted");
    guest.attackers.fail(source, Imap, 1)?;
    guest.expect_banned(source)?;
    ensure!(
        counts()? == (failed + 3, banned + 1, banned_now + 1),
        "after the third, from {:?}: {:?}",
        (failed, banned, banned_now),
        counts()?
    );
    Ok(())
}

fn loopback_is_never_banned(guest: &Guest) -> Result<()> {
    let sources: [IpAddr; 3] = [
        Ipv4Addr::LOCALHOST.into(),
        Ipv4Addr::new(127, 1, 2, 3).into(),
        Ipv6Addr::LOCALHOST.into(),
    ];
    at_once(&sources, |&source| {
        guest.inside.fail(source, Imap, 4)?;
        guest.inside.fail(source, Smtp, 4)
    })?;
    guest.expect_never_banned(&sources)?;
    for source in sources {
        let refused = guest.run(&["banjour", "ban", &source.to_string()])?;
        ensure!(
            refused.code == 1,
            "banjour ban {source} exited with {}: {}",
            refused.code,
            refused.err
        );
        guest.inside.expect_answer(source, Imap.port())?;
    }
    Ok(())
}

/// Names and passwords one after the other; an error if the server does not take the right ones, or takes others.
fn in_one_connection(
    guest: &Guest,
    source: IpAddr,
    service: Service,
    tries: &[(&str, &str)],
) -> Result<()> {
    let mut session = guest.attackers.open(source, service)?;
    for (user, password) in tries {
        let answer = session.log_in(user, password)?;
        let truth = if *password == format!("right-{user}") {
            Answer::Accepted
        } else {
            Answer::Refused
        };
        ensure!(
            answer == truth || (answer == Answer::Cut && truth == Answer::Refused),
            "{service:?}: {user} with {password} was {answer:?}"
        );
    }
    session.leave()
}
