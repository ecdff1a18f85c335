//! Three attempts ban, two do not: every service, both families, Dovecot quiet and verbose.

use std::net::IpAddr;

use anyhow::{Result, ensure};

use crate::agent::client;
use crate::client::Service::{
    self, Imap, Imaps, Pop3, Pop3s, Sieve, Smtp, Submission, Submissions,
};
use crate::host::{Guest, NO_DELAYS, at_once};
use crate::session::{Answer, Mechanism};

crate::cases![EVERYWHERE:
    three_smtp_attempts_ban_and_two_do_not,
    three_imap_attempts_ban_and_two_do_not,
];

crate::cases![
    three_attempts_ban_with_the_servers_own_delays,
    three_pop3_attempts_ban_and_two_do_not,
    three_sieve_attempts_ban_and_two_do_not,
    three_smtp_attempts_ban_and_two_do_not_with_auth_verbose,
    three_imap_attempts_ban_and_two_do_not_with_auth_verbose,
    three_pop3_attempts_ban_and_two_do_not_with_auth_verbose,
    three_sieve_attempts_ban_and_two_do_not_with_auth_verbose,
    three_sasl_login_attempts_ban_and_two_do_not,
    three_attempts_with_unknown_users_ban_and_two_do_not,
    attempts_over_several_services_add_up_within_a_jail,
];

const QUIET: &str = "";
const VERBOSE: &str = "auth_verbose = yes\n";

const SMTP: [Service; 3] = [Smtp, Submission, Submissions];
const IMAP: [Service; 2] = [Imap, Imaps];
const POP3: [Service; 2] = [Pop3, Pop3s];
const SIEVE: [Service; 1] = [Sieve];

/// As Debian ships it: seconds between an attempt's first line and its last.
fn three_attempts_ban_with_the_servers_own_delays(guest: &Guest) -> Result<()> {
    let _no_delays = guest.undo(format!("{NO_DELAYS}\nsystemctl restart dovecot"));
    guest.sh(
        "sed -i 's/ nodelay//' /etc/pam.d/common-auth; rm /etc/dovecot/conf.d/99-no-delays.conf",
    )?;
    guest.restart_dovecot()?;
    three_attempts(guest, &[Submission, Imap, Pop3s, Sieve], wrong_password)
}

fn three_smtp_attempts_ban_and_two_do_not(guest: &Guest) -> Result<()> {
    guest.dovecot(QUIET)?;
    three_attempts(guest, &SMTP, wrong_password)
}

fn three_imap_attempts_ban_and_two_do_not(guest: &Guest) -> Result<()> {
    guest.dovecot(QUIET)?;
    three_attempts(guest, &IMAP, wrong_password)
}

fn three_pop3_attempts_ban_and_two_do_not(guest: &Guest) -> Result<()> {
    guest.dovecot(QUIET)?;
    three_attempts(guest, &POP3, wrong_password)
}

fn three_sieve_attempts_ban_and_two_do_not(guest: &Guest) -> Result<()> {
    guest.dovecot(QUIET)?;
    three_attempts(guest, &SIEVE, wrong_password)
}

fn three_smtp_attempts_ban_and_two_do_not_with_auth_verbose(guest: &Guest) -> Result<()> {
    guest.dovecot(VERBOSE)?;
    three_attempts(guest, &SMTP, wrong_password)
}

fn three_imap_attempts_ban_and_two_do_not_with_auth_verbose(guest: &Guest) -> Result<()> {
    guest.dovecot(VERBOSE)?;
    three_attempts(guest, &IMAP, wrong_password)
}

fn three_pop3_attempts_ban_and_two_do_not_with_auth_verbose(guest: &Guest) -> Result<()> {
    guest.dovecot(VERBOSE)?;
    three_attempts(guest, &POP3, wrong_password)
}

fn three_sieve_attempts_ban_and_two_do_not_with_auth_verbose(guest: &Guest) -> Result<()> {
    guest.dovecot(VERBOSE)?;
    three_attempts(guest, &SIEVE, wrong_password)
}

fn three_sasl_login_attempts_ban_and_two_do_not(guest: &Guest) -> Result<()> {
    three_attempts(guest, &SMTP, |guest, source, service| {
        let mut session = guest.attackers.open(source, service)?;
        let answer = session.log_in_by(Mechanism::Login, "bob", "wrong")?;
        ensure!(answer != Answer::Accepted, "a wrong password was accepted");
        session.leave()
    })
}

/// Nobody checks a password where there is no such user, and other lines are written.
fn three_attempts_with_unknown_users_ban_and_two_do_not(guest: &Guest) -> Result<()> {
    guest.dovecot(VERBOSE)?;
    three_attempts(guest, &[Smtp, Imap, Pop3], |guest, source, service| {
        let answer = guest
            .attackers
            .log_in(source, service, "nobody-here", "wrong")?;
        ensure!(answer != Answer::Accepted, "an unknown user was let in");
        Ok(())
    })
}

fn attempts_over_several_services_add_up_within_a_jail(guest: &Guest) -> Result<()> {
    let jails = [[Imap, Pop3, Sieve], [Smtp, Submissions, Submission]];
    at_once(&jails, |services| {
        let source = guest.source();
        guest.attackers.fail(source, services[0], 1)?;
        guest.attackers.fail(source, services[1], 1)?;
        guest.expect_never_banned(&[source])?;
        guest.attackers.fail(source, services[2], 1)?;
        guest.expect_banned(source).map(drop)
    })
}

fn wrong_password(guest: &Guest, source: IpAddr, service: Service) -> Result<()> {
    guest.attackers.fail(source, service, 1)
}

/// Two attempts at each service from two addresses, IPv4 and IPv6, ban nobody; one more from each bans them all, in the
/// service's jail, and nobody else.
fn three_attempts(
    guest: &Guest,
    services: &[Service],
    attempt: fn(&Guest, IpAddr, Service) -> Result<()>,
) -> Result<()> {
    let before = guest.bans()?;
    let attackers: Vec<(IpAddr, Service)> = services
        .iter()
        .flat_map(|&service| [(guest.source(), service), (guest.source_v6(), service)])
        .collect();
    let sources: Vec<IpAddr> = attackers.iter().map(|&(source, _)| source).collect();

    at_once(&attackers, |&(source, service)| {
        attempt(guest, source, service)?;
        attempt(guest, source, service)
    })?;
    guest.expect_never_banned(&sources)?;
    at_once(&sources, |&source| guest.expect_open(source))?;

    at_once(&attackers, |&(source, service)| {
        attempt(guest, source, service)?;
        guest.expect_banned_in(source, service.jail()).map(drop)
    })?;
    let others: Vec<_> = guest
        .bans()?
        .into_iter()
        .filter(|ban| !before.contains(ban))
        .filter(|ban| !sources.iter().any(|&source| client(source) == ban.source))
        .collect();
    ensure!(others.is_empty(), "others are banned: {others:?}");
    Ok(())
}
