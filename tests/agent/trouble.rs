//! The mail server's own trouble.

use crate::firewalld::Firewalld;
use crate::host::{Host, becomes, until};
use crate::journal::{Entry, now};

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;

const LDAP: &str = "auth: Error: ldap(ldap://10.0.0.2): Can't connect to server: ldap://10.0.0.2";
const SQL: &str = "auth-worker(283): Error: conn unix:auth-worker (pid=282,uid=102): auth-worker<1>: \
                   sql(bob,198.18.0.1): Password query failed: no such table: users";

fn dovecot(message: &str) -> Entry {
    Entry::of("dovecot.service", 0, message)
}

fn smtpd(source: &str) -> Entry {
    Entry::smtpd("postfix.service", source)
}

/// Dovecot's LDAP server is down, and Postfix, which asks Dovecot, says of everybody that the password was wrong.
#[test]
fn nobody_is_counted_at_postfix_while_dovecots_database_is_down() {
    let host = Host::new();
    let _firewalld = Firewalld::start(&host.bus);
    let start = now() - 30 * MINUTE;
    for minute in 0..10 {
        let at = start + minute * MINUTE;
        host.journal.write_at(at, &dovecot(LDAP));
        for second in 1..5 {
            host.journal
                .write_at(at + second * SECOND, &smtpd("198.18.0.1"));
        }
    }
    for minute in [20, 21] {
        host.journal
            .write_at(start + minute * MINUTE, &smtpd("198.18.0.1"));
    }
    let agent = host.start();
    agent.catches_up();
    assert_eq!(agent.banned(), [""; 0]);
    host.journal.write(&smtpd("198.18.0.1"));
    agent.catches_up();
    assert_eq!(agent.banned(), ["198.18.0.1 postfix-sasl"]);
    assert_eq!(agent.problems(), [""; 0], "that was long ago");
}

#[test]
fn a_password_that_could_not_be_checked_excuses_its_owner_and_nobody_else() {
    let host = Host::new();
    let _firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    for _ in 0..4 {
        host.journal.write(&dovecot(SQL));
        host.journal.write(&smtpd("198.18.0.1"));
        host.journal.write(&smtpd("198.18.0.2"));
    }
    agent.catches_up();
    assert_eq!(agent.banned(), ["198.18.0.2 postfix-sasl"]);
}

#[test]
fn trouble_is_a_problem_until_a_minute_has_passed_without() {
    let host = Host::new();
    let _firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    host.journal.write_at(now() - 55 * SECOND, &dovecot(LDAP));
    let problem = until("the problem is told", || agent.problems().pop());
    assert!(
        problem.contains("cannot check passwords") && problem.contains("10.0.0.2"),
        "{problem}"
    );
    until("STATUS= tells", || {
        host.status().contains(&problem).then_some(())
    });
    becomes(&[""; 0][..], || agent.problems());
}
