//! Connections that a banned source has open already.

use crate::firewalld::{Fault, Firewalld};
use crate::helper::Helper;
use crate::host::{Host, becomes, until};

#[test]
fn a_ban_ends_the_connections_of_its_source() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    host.attempts("198.18.0.1", 3);
    firewalld.holds(&["198.18.0.1"]);
    host.helper.hears(&["198.18.0.1"]);
    host.attempts("2001:db8:bad::1", 3);
    host.helper.hears(&["198.18.0.1", "2001:db8:bad::/64"]);
    assert_eq!(agent.problems(), [""; 0]);
}

/// Whoever is cut off before the door is closed comes back at once.
#[test]
fn connections_end_when_the_ban_is_in_force_and_not_before() {
    let host = Host::new();
    let firewalld = Firewalld::start_with(&host.bus, Fault::RefusesChanges("COMMAND_FAILED"));
    let agent = host.start();
    host.attempts("198.18.0.1", 3);
    until("the problem is told", || agent.problems().pop());
    host.helper.hears(&[]);
    firewalld.set_fault(Fault::None);
    firewalld.reloaded();
    host.helper.hears(&["198.18.0.1"]);
}

#[test]
fn connections_that_do_not_end_are_a_problem() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    host.helper.set_fault(Some("it is dark in here"));
    let agent = host.start();
    host.attempts("198.18.0.1", 3);
    firewalld.holds(&["198.18.0.1"]);
    let problem = until("the problem is told", || agent.problems().pop());
    assert!(
        problem.contains("connections") && problem.contains("it is dark in here"),
        "{problem}"
    );
    host.helper.set_fault(None);
    host.attempts("198.18.0.2", 3);
    host.helper.hears(&["198.18.0.2"]);
    becomes(&[""; 0][..], || agent.problems());
}

/// The helper takes a call as a whole.
#[test]
fn a_source_that_the_helper_refuses_keeps_no_other_connected() {
    let host = Host::new();
    let firewalld = Firewalld::start_with(&host.bus, Fault::Busy);
    let agent = host.start();
    for source in ["198.18.0.1", Helper::OWN, "198.18.255.2"] {
        host.attempts(source, 3);
    }
    agent.catches_up();
    firewalld.set_fault(Fault::None);
    host.helper.hears(&["198.18.0.1", "198.18.255.2"]);
}
