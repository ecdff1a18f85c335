//! Who keeps banned sources out: firewalld, or the helper with nftables or with iptables.

use crate::daemon::Agent;
use crate::firewalld::Firewalld;
use crate::helper::Helper;
use crate::helper::Kind::{Iptables, Nftables};
use crate::host::{Host, becomes, until};
use crate::journal::now;

const HOUR: u64 = 3_600_000_000;

#[track_caller]
fn firewall_is(agent: &Agent<'_>, name: &str) {
    becomes(name, || agent.run(agent.manager().firewall()).unwrap());
}

#[test]
fn without_firewalld_it_is_nftables_and_without_that_iptables() {
    let host = Host::new();
    let agent = host.start();
    agent.one_problem("there is no firewall");
    assert_eq!(agent.run(agent.manager().firewall()).unwrap(), "");
    host.helper.install(Iptables, true);
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    host.helper.holds(Iptables, &["198.18.0.1"]);
    firewall_is(&agent, "iptables");
    agent.no_problem();
    drop(agent);

    host.helper.install(Nftables, true);
    let agent = host.start();
    host.helper.holds(Nftables, &["198.18.0.1"]);
    firewall_is(&agent, "nftables");
    // Whoever held bans before holds none any more.
    host.helper.holds(Iptables, &[]);
    assert_eq!(host.helper.rules(Iptables), None);
    assert_eq!(agent.run(agent.manager().in_force()), Ok(1));
}

#[test]
fn firewalld_is_followed_as_it_comes_and_goes() {
    let host = Host::new();
    host.helper.install(Nftables, true);
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    let signals = host.listen();
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    firewalld.holds(&["198.18.0.1"]);
    host.helper.holds(Nftables, &[]);
    firewall_is(&agent, "firewalld");

    firewalld.stop();
    host.helper.holds(Nftables, &["198.18.0.1"]);
    firewall_is(&agent, "nftables");
    signals.hear("PropertiesChanged Firewall");
    agent.no_problem();
    agent.ban("198.18.0.2", "", HOUR).unwrap();
    host.helper.holds(Nftables, &["198.18.0.1", "198.18.0.2"]);

    let firewalld = Firewalld::start(&host.bus);
    firewalld.holds(&["198.18.0.1", "198.18.0.2"]);
    host.helper.holds(Nftables, &[]);
    firewall_is(&agent, "firewalld");
    agent.no_problem();
}

#[test]
fn the_admin_may_choose_and_change_his_mind() {
    let host = Host::new();
    host.helper.install(Nftables, true);
    host.helper.install(Iptables, true);
    let firewalld = Firewalld::start(&host.bus);
    host.configure("firewall = \"iptables\"\n");
    let agent = host.start();
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    host.helper.holds(Iptables, &["198.18.0.1"]);
    assert_eq!(host.helper.rules(Iptables), Some((false, false)));
    for (setting, name) in [
        ("nftables", "nftables"),
        ("auto", "firewalld"),
        ("iptables", "iptables"),
        ("firewalld", "firewalld"),
    ] {
        host.configure(&format!("firewall = \"{setting}\"\n"));
        agent.reload().unwrap();
        firewall_is(&agent, name);
        let one_of = |holds: bool| if holds { &["198.18.0.1"][..] } else { &[] };
        firewalld.holds(one_of(name == "firewalld"));
        host.helper.holds(Nftables, one_of(name == "nftables"));
        host.helper.holds(Iptables, one_of(name == "iptables"));
    }
    agent.no_problem();
}

#[test]
fn a_backend_that_was_asked_for_and_is_not_there_is_a_problem() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    host.configure("firewall = \"nftables\"\n");
    let agent = host.start();
    agent.one_problem("nftables cannot be used");
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    host.helper.install(Nftables, true);
    host.helper.holds(Nftables, &["198.18.0.1"]);
    agent.no_problem();
    firewalld.holds(&[]);
}

#[test]
fn what_a_ban_closes_is_the_admins_choice_where_firewalld_does_not_say() {
    let host = Host::new();
    host.helper.install(Nftables, true);
    host.configure("ports = \"all\"\nreject = true\n");
    let agent = host.start();
    becomes(&Some((true, true)), || host.helper.rules(Nftables));
    host.configure("");
    agent.reload().unwrap();
    becomes(&Some((false, false)), || host.helper.rules(Nftables));
    agent.no_problem();
    host.configure("reject = true\n");
    agent.reload().unwrap();
    let _firewalld = Firewalld::start(&host.bus);
    agent.one_problem("firewalld's policy");
    host.configure("");
    agent.reload().unwrap();
    agent.no_problem();
}

#[test]
fn a_source_that_is_refused_is_told_and_keeps_no_other_from_being_kept_out() {
    let host = Host::new();
    host.helper.install(Nftables, true);
    let agent = host.start();
    for source in ["198.18.0.1", Helper::OWN, "198.18.0.2"] {
        agent.ban(source, "", HOUR).unwrap();
    }
    host.helper.holds(Nftables, &["198.18.0.1", "198.18.0.2"]);
    agent.one_problem("\"198.18.255.1\" is an address of this host");
    // The connections of the others are ended.
    host.helper.hears(&["198.18.0.1", "198.18.0.2"]);
    agent.unban(Helper::OWN, "").unwrap();
    agent.no_problem();
    agent.ban("198.18.0.3", "", HOUR).unwrap();
    host.helper
        .holds(Nftables, &["198.18.0.1", "198.18.0.2", "198.18.0.3"]);
}

#[test]
fn each_source_is_kept_out_as_long_as_its_longest_ban() {
    let host = Host::new();
    host.helper.install(Nftables, true);
    let agent = host.start();
    let lasts = |hours: u64| {
        until("the time", || {
            let until = host.helper.until(Nftables, "198.18.0.1")?;
            let (least, most) = (now() + (hours - 1) * HOUR, now() + hours * HOUR);
            (least..=most).contains(&until).then_some(())
        });
    };
    agent.ban("198.18.0.1", "", 2 * HOUR).unwrap();
    lasts(2);
    agent.ban("198.18.0.1", "dovecot", 5 * HOUR).unwrap();
    lasts(5);
    agent.ban("198.18.0.1", "postfix-sasl", HOUR).unwrap();
    lasts(5);
    agent.unban("198.18.0.1", "dovecot").unwrap();
    lasts(2);
    assert_eq!(agent.run(agent.manager().in_force()), Ok(1));
    agent.no_problem();
}

/// The kernel's own timeout has done it already.
#[test]
fn a_ban_that_ends_by_itself_needs_no_call() {
    let host = Host::new();
    host.helper.install(Nftables, true);
    let agent = host.start();
    agent.ban("198.18.0.1", "", 1_500_000).unwrap();
    host.helper.holds(Nftables, &["198.18.0.1"]);
    // What it does at its start.
    until("what is held is read back", || {
        let calls = host.helper.take_calls(Nftables);
        calls.iter().any(|call| call == "list").then_some(())
    });
    becomes(&[""; 0][..], || agent.banned());
    becomes(&Ok(0), || agent.run(agent.manager().in_force()));
    assert_eq!(host.helper.take_calls(Nftables), [""; 0]);
}

/// Nobody tells of changes to iptables: it is read back each second as long as bans come in.
#[test]
fn what_somebody_changes_is_put_right_and_told() {
    let host = Host::new();
    host.helper.install(Iptables, true);
    let agent = host.start();
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    host.helper.holds(Iptables, &["198.18.0.1"]);
    host.helper.flush(Iptables);
    agent.one_problem("somebody has changed what iptables holds");
    host.helper.holds(Iptables, &["198.18.0.1"]);
    host.helper.put(Iptables, "198.18.0.9", now() + HOUR);
    host.helper.holds(Iptables, &["198.18.0.1"]);
    agent.one_problem("1 were kept out that are not banned");
    // A time that is another one, as after the clock was set, is put right without a word.
    agent.no_problem();
    host.helper.put(Iptables, "198.18.0.1", now() + HOUR / 2);
    until("the right time", || {
        let until = host.helper.until(Iptables, "198.18.0.1")?;
        (until > now() + HOUR / 2 + HOUR / 4).then_some(())
    });
    agent.no_problem();
}

#[test]
fn an_entry_that_somebody_takes_out_of_firewallds_set_is_put_back() {
    let host = Host::new();
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    agent.ban("198.18.0.2", "", HOUR).unwrap();
    firewalld.holds(&["198.18.0.1", "198.18.0.2"]);
    firewalld.remove("banjour-ipv4", "198.18.0.1");
    agent.one_problem("1 of 2 sources were not kept out");
    firewalld.holds(&["198.18.0.1", "198.18.0.2"]);
    agent.no_problem();
}

#[test]
fn a_helper_that_fails_is_told_and_tried_again() {
    let host = Host::new();
    host.helper.install(Nftables, true);
    let agent = host.start();
    agent.no_problem();
    host.helper.set_fault(Some("it is dark in here"));
    agent.ban("198.18.0.1", "", HOUR).unwrap();
    agent.one_problem("nftables refuses, so that new bans are not in force: it is dark in here");
    host.helper.set_fault(None);
    host.helper.holds(Nftables, &["198.18.0.1"]);
    agent.no_problem();
}

#[test]
fn ipv6_is_banned_by_the_network_that_a_client_has() {
    let host = Host::new();
    host.helper.install(Nftables, true);
    let agent = host.start();
    host.attempts("2001:db8:bad:1::1", 1);
    host.attempts("2001:db8:bad:1::2", 1);
    host.attempts("2001:db8:bad:1:ffff::3", 1);
    host.attempts("2001:db8:bad:2::1", 2);
    host.helper.holds(Nftables, &["2001:db8:bad:1::/64"]);
    assert_eq!(agent.banned(), ["2001:db8:bad:1::/64 dovecot"]);
    // The customer on the phone knows an address.
    assert_eq!(agent.unban("2001:db8:bad:1::2", ""), Ok(1));
    host.helper.holds(Nftables, &[]);
    host.configure("ipv6-prefix = 128\nipv4-prefix = 24\n");
    agent.reload().unwrap();
    host.attempts("2001:db8:bad:3::1", 3);
    for host_number in 1..=3 {
        host.attempts(&format!("198.18.0.{host_number}"), 1);
    }
    host.helper
        .holds(Nftables, &["198.18.0.0/24", "2001:db8:bad:3::1"]);
}
