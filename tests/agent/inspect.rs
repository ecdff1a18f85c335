//! What the agent tells who looks closer: why somebody is banned, who is at work, every attempt as it happens.

use std::sync::{Arc, Mutex};

use banjour::bus::{BanDetails, Explanation, PATH};
use futures_util::StreamExt;
use serde_json::{Value, json};
use zbus::{MatchRule, MessageStream, message};

use crate::command::{parsed, printed};
use crate::daemon::{Agent, raw_call};
use crate::firewalld::Firewalld;
use crate::host::{becomes, until};
use crate::journal::{Entry, now};
use crate::policy::{failure, host, login};

const HOUR: u64 = 3_600_000_000;

fn why(agent: &Agent<'_>, source: &str) -> Explanation {
    agent.run(agent.manager().why(source, 0)).unwrap()
}

fn described(agent: &Agent<'_>, jail: &str) -> Vec<BanDetails> {
    agent.run(agent.manager().describe_bans(jail, 0)).unwrap()
}

#[test]
fn a_ban_tells_why_it_was_made() {
    let host = host("");
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    agent.no_problem();
    let before = now();
    for user in ["bob", "o'\"brien", "bob"] {
        host.journal.write(&failure("198.18.0.1", user));
    }
    becomes(&1, || agent.banned().len());
    firewalld.holds(&["198.18.0.1"]);
    let known = why(&agent, "198.18.0.1");
    let [ban] = &known.bans[..] else {
        panic!("{known:?}")
    };
    assert_eq!(
        (&*ban.jail, &*ban.cause, ban.count),
        ("dovecot", "attempts", 3)
    );
    assert_eq!(ban.users, ["o'\"brien", "bob"]);
    assert!(before <= ban.first_usec && ban.first_usec <= ban.since_usec);
    assert_eq!(ban.until_usec - ban.since_usec, HOUR);
    assert_eq!((&*known.in_force, ban.previous_bans), ("yes", 0));
    assert_eq!(known.remembered_bans, 1);
    // Its neighbour is somebody else.
    let known = why(&agent, "198.18.0.2");
    assert_eq!((known.bans.len(), &*known.in_force), (0, "no"));

    // All of it outlives the agent.
    let told = serde_json::to_value(described(&agent, "")).unwrap();
    agent.kill();
    let agent = host.start();
    assert_eq!(
        serde_json::to_value(described(&agent, "dovecot")).unwrap(),
        told
    );
    assert_eq!(described(&agent, "manual").len(), 0);
    agent.unban("198.18.0.1", "").unwrap();
    assert_eq!(why(&agent, "198.18.0.1").remembered_bans, 0);
}

#[test]
fn who_came_back_was_banned_before() {
    let host = host("[jail.dovecot]\nban-time = \"1s\"\n");
    let agent = host.start();
    for times in 0..3 {
        host.attempts("198.18.0.1", 3);
        becomes(&1, || agent.banned().len());
        assert_eq!(described(&agent, "")[0].previous_bans, times);
        becomes(&0, || agent.banned().len());
    }
    let known = why(&agent, "198.18.0.1");
    assert_eq!((known.bans.len(), known.remembered_bans), (0, 3));
    assert!(known.last_ban_usec < known.last_ban_until_usec);
}

#[test]
fn of_who_is_not_banned_it_is_told_why_not() {
    let host = host("ignore = [\"198.18.9.0/24\"]\n");
    let agent = host.start();
    host.journal.write(&login("198.18.0.1", "alice"));
    host.journal.write(&failure("198.18.0.1", "alice"));
    for user in ["bob", "carol"] {
        host.journal.write(&failure("2001:db8:bad:1::7", user));
    }
    agent.catches_up();
    let known = why(&agent, "198.18.0.1");
    let customers: Vec<&str> = known.customers.iter().map(|(user, _)| &**user).collect();
    assert_eq!(customers, ["alice"]);
    // Any address of a client speaks for it.
    let known = why(&agent, "2001:db8:bad:1::8");
    assert_eq!(known.client, "2001:db8:bad:1::/64");
    assert_eq!(known.users, ["bob", "carol"]);
    let [doings] = &known.jails[..] else {
        panic!("{known:?}")
    };
    assert_eq!(
        (&*doings.jail, doings.counting, doings.limit),
        ("dovecot", 2, 3)
    );
    let known = why(&agent, "198.18.9.7");
    assert_eq!(known.ignored, "198.18.9.0/24 stands in \"ignore\"");
    // There is no firewall here that could be asked.
    assert_eq!(known.in_force, "unknown");
    let refusal = agent.run(agent.manager().why("nobody", 0)).unwrap_err();
    assert_eq!(refusal.name, "InvalidSource");
    let refusal = agent.run(agent.manager().describe_bans("nowhere", 0));
    assert_eq!(refusal.unwrap_err().name, "NoSuchJail");
    let refusal = agent.run(agent.manager().overview(1, 1)).unwrap_err();
    assert_eq!(refusal.name, "InvalidFlags");
}

#[test]
fn a_networks_ban_tells_of_who_was_banned_in_it() {
    let host = host("network-sources = 3\n");
    let agent = host.start();
    for n in 1..=3 {
        host.attempts(&format!("198.18.0.{n}"), 3);
    }
    becomes(&["198.18.0.0/24 dovecot"][..], || agent.banned());
    let known = why(&agent, "198.18.0.99");
    let [ban] = &known.bans[..] else {
        panic!("{known:?}")
    };
    assert_eq!(
        (&*ban.source, &*ban.cause, ban.count),
        ("198.18.0.0/24", "network", 3)
    );
    let members: Vec<&str> = known.members.iter().map(|(source, _)| &**source).collect();
    assert_eq!(members, ["198.18.0.1", "198.18.0.2", "198.18.0.3"]);
    let text = printed(&host.banjour(&["why", "198.18.0.99"]), 0);
    for part in [
        "198.18.0.99 may not log in",
        "as part of 198.18.0.0/24",
        "  198.18.0.2\n",
        "unban 198.18.0.0/24",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn the_overview_shows_who_is_at_work() {
    let host = host("account-sources = 3\n");
    let agent = host.start();
    for (source, user, count) in [
        ("198.18.0.1", "bob", 1),
        ("198.18.0.2", "bob", 2),
        ("198.18.0.3", "Bob", 1),
        ("198.18.0.4", "alice", 1),
    ] {
        for _ in 0..count {
            host.journal.write(&failure(source, user));
        }
    }
    // A fifth fails for an account that is under attack.
    host.journal.write(&failure("198.18.0.5", "bob"));
    becomes(&["198.18.0.5 dovecot"][..], || agent.banned());
    let top = agent.run(agent.manager().overview(2, 0)).unwrap();
    let sources: Vec<_> = top
        .sources
        .iter()
        .map(|s| (&*s.source, s.attempts, s.banned))
        .collect();
    assert_eq!(sources, [("198.18.0.2", 2, false), ("198.18.0.5", 1, true)]);
    let accounts: Vec<_> = top
        .accounts
        .iter()
        .map(|a| (&*a.user, a.attempts, a.sources, a.under_attack))
        .collect();
    assert_eq!(accounts, [("bob", 5, 3, true), ("alice", 1, 1, false)]);
    assert_eq!(top.bans.len(), 1);
    assert!(
        agent
            .run(agent.manager().overview(0, 0))
            .unwrap()
            .bans
            .is_empty()
    );
    let text = printed(&host.banjour(&["status"]), 0);
    for part in ["\"bob\"\t5\t3\tunder attack\n", "198.18.0.5\t1\t"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn bans_are_listed() {
    let host = host("");
    let agent = host.start();
    assert_eq!(printed(&host.banjour(&["list"]), 0), "nobody is banned\n");
    agent.ban("198.18.7.0/24", "manual", HOUR).unwrap();
    host.attempts("198.18.0.1", 4);
    becomes(&2, || agent.banned().len());
    let text = printed(&host.banjour(&["list"]), 0);
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    assert_eq!(
        rows[0],
        ["BANNED", "JAIL", "SINCE", "UNTIL", "WHY", "BEFORE", "TRIED"]
    );
    assert_eq!(
        (rows[1][0], rows[1][4], rows[1][6]),
        ("198.18.7.0/24", "by hand", "-")
    );
    assert_eq!((rows[2][0], rows[2][4]), ("198.18.0.1", "3 attempts"));
    let list = parsed(&host.banjour(&["list", "--jail", "dovecot", "--json"]));
    assert_eq!(list["bans"], json!(described(&agent, "dovecot")));
    let error = printed(&host.banjour(&["list", "--jail", "nowhere"]), 1);
    assert!(error.contains("nowhere"), "{error}");
}

#[test]
fn the_command_answers_a_support_call() {
    let host = host("");
    let firewalld = Firewalld::start(&host.bus);
    let agent = host.start();
    agent.no_problem();
    let text = printed(&host.banjour(&["why", "198.18.0.1"]), 0);
    assert!(
        text.starts_with("198.18.0.1 may log in: it is not banned\n"),
        "{text}"
    );
    host.journal.write(&failure("198.18.0.1", "bob"));
    host.journal
        .write(&failure("198.18.0.1", "alice\u{1b}[2J\u{202e}"));
    host.journal.write(&failure("198.18.0.1", "bob"));
    becomes(&1, || agent.banned().len());
    firewalld.holds(&["198.18.0.1"]);
    let text = printed(&host.banjour(&["why", "198.18.0.1"]), 0);
    for part in [
        "198.18.0.1 may not log in: it is banned, and firewalld drops what it sends\n",
        "\nBanned in jail dovecot\n",
        "3 failed logins since ",
        "the last as \"bob\"\n",
        "\nTo let it in: banjour unban 198.18.0.1\n",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    firewalld.remove("banjour-ipv4", "198.18.0.1");
    let known: Value = parsed(&host.banjour(&["why", "198.18.0.1", "--json"]));
    assert_eq!(
        (&known["firewall"], &known["bans"][0]["count"]),
        (&json!("firewalld"), &json!(3))
    );
}

/// A customer on the phone knows a name, and no address.
#[test]
fn a_name_is_a_question_too() {
    let host = host("");
    let agent = host.start();
    for user in ["alice@a.example", "x", "bob"] {
        host.journal.write(&failure("198.18.0.1", user));
    }
    becomes(&1, || agent.banned().len());
    let text = printed(&host.banjour(&["why", "Alice"]), 0);
    assert!(text.contains("\n198.18.0.1\tdovecot\t"), "{text}");
    let answer = parsed(&host.banjour(&["why", "alice@a.example", "--json"]));
    assert_eq!(answer["bans"][0]["source"], "198.18.0.1");
    let text = printed(&host.banjour(&["why", "carol"]), 0);
    assert!(
        text.starts_with("nobody who is banned has tried \"carol\""),
        "{text}"
    );
    for mistake in ["192.0.2.7/33", "192.0.2", "fe80:/", ""] {
        let output = host.banjour(&["why", mistake]);
        assert_eq!(output.status.code(), Some(2), "{mistake}");
    }
}

#[test]
fn who_subscribes_hears_of_every_attempt_and_nobody_else_does() {
    let host = host("");
    let _agent = host.start();
    // Not subscribed, but listening to all signals.
    let others = host.listen();
    let connection = host.bus.run(host.bus.builder().build()).unwrap();
    let rule = MatchRule::builder()
        .msg_type(message::Type::Signal)
        .path_namespace(PATH)
        .build()
        .unwrap();
    let mut stream = host
        .bus
        .run(MessageStream::for_match_rule(rule, &connection, None))
        .unwrap();
    let heard = Arc::<Mutex<Vec<(String, String, String, u32)>>>::default();
    let inside = Arc::clone(&heard);
    host.bus.spawn(async move {
        while let Some(Ok(message)) = stream.next().await {
            if message
                .header()
                .member()
                .is_some_and(|name| name == "Attempt")
            {
                let (source, jail, user, attempts, _): (String, String, String, u32, u64) =
                    message.body().deserialize().unwrap();
                inside.lock().unwrap().push((source, jail, user, attempts));
            }
        }
    });
    let manager = "org.banjour.Banjour1.Manager";
    let call = |method, flags: u64| {
        let call = connection.call_method(
            Some(banjour::bus::NAME),
            PATH,
            Some(manager),
            method,
            &flags,
        );
        host.bus.run(call).map(drop)
    };
    assert!(call("Subscribe", 1).is_err());
    call("Subscribe", 0).unwrap();
    call("Subscribe", 0).unwrap();
    host.journal.write(&failure("198.18.0.1", "bob"));
    host.journal.write(&Entry::imap("198.18.0.2", 2));
    until("two attempts", || {
        (heard.lock().unwrap().len() == 2).then_some(())
    });
    assert_eq!(
        heard.lock().unwrap()[0],
        (
            "198.18.0.1".to_owned(),
            "dovecot".to_owned(),
            "bob".to_owned(),
            1
        )
    );
    assert_eq!(heard.lock().unwrap()[1].3, 2);
    call("Unsubscribe", 0).unwrap();
    host.attempts("198.18.0.3", 3);
    others.hear("BanNew 198.18.0.3 dovecot");
    assert_eq!(heard.lock().unwrap().len(), 2);
    let others = others.0.lock().unwrap();
    assert!(
        !others.iter().any(|signal| signal.starts_with("Attempt")),
        "{others:?}"
    );
}

#[test]
fn subscribers_are_few_and_go_with_their_connection() {
    let host = host("");
    let agent = host.start();
    let subscribe = || {
        let connection = host.bus.run(host.bus.builder().build()).unwrap();
        let manager = "org.banjour.Banjour1.Manager";
        let call = connection.call_method(
            Some(banjour::bus::NAME),
            PATH,
            Some(manager),
            "Subscribe",
            &0_u64,
        );
        let answer = host.bus.run(call).map(drop);
        (connection, answer)
    };
    let mut connections = Vec::new();
    for _ in 0..16 {
        let (connection, answer) = subscribe();
        answer.unwrap();
        connections.push(connection);
    }
    assert!(subscribe().1.is_err());
    host.bus.run(connections.remove(0).close()).unwrap();
    until("a place", || subscribe().1.ok());
    raw_call(
        &host,
        PATH,
        "org.banjour.Banjour1.Manager",
        "Unsubscribe",
        &0_u64,
    )
    .unwrap();
    agent.catches_up();
}
