//! What is heard and pressed, and what comes of it.

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::bus::Overview;
use crate::cli::watch::feed::Request;
use crate::cli::watch::keys::{Order, press};

pub(in crate::cli::watch) const MINUTE: u64 = 60_000_000;
/// 2026-11-22 12:20:00 UTC
pub(in crate::cli::watch) const NOW: u64 = 1_795_350_000_000_000;

pub(in crate::cli::watch) fn attempt(at: u64, source: &str, user: &str) -> Event {
    Event::Happened(Happening::Attempt {
        at,
        source: source.to_owned(),
        jail: "dovecot".to_owned(),
        user: user.to_owned(),
        attempts: 1,
    })
}

pub(in crate::cli::watch) fn details(since: u64, source: &str) -> BanDetails {
    BanDetails {
        source: source.to_owned(),
        jail: "dovecot".to_owned(),
        since_usec: since,
        until_usec: since + 60 * MINUTE,
        cause: "attempts".to_owned(),
        count: 3,
        first_usec: since - 5_000_000,
        users: vec!["alice".to_owned(), "bob".to_owned()],
        previous_bans: 2,
    }
}

pub(in crate::cli::watch) fn ban(since: u64, source: &str) -> Event {
    Event::Happened(Happening::Ban(details(since, source)))
}

fn snapshot(problems: Vec<String>) -> Box<Snapshot> {
    let source = |source: &str, attempts, banned| BusySource {
        source: source.to_owned(),
        attempts,
        last_usec: NOW,
        banned,
    };
    let account = |user: &str, attempts, under_attack| BusyAccount {
        user: user.to_owned(),
        attempts,
        sources: 10,
        under_attack,
    };
    Box::new(Snapshot {
        version: "0.1.0".to_owned(),
        firewall: "nftables".to_owned(),
        in_force: 2,
        problems,
        overview: Overview {
            sources: vec![
                source("198.18.0.1", 12, true),
                source("2001:db8:1234:5678::/64", 3, false),
                source("198.18.0.3", 2, false),
            ],
            accounts: vec![account("bob", 14, true), account("日本", 3, false)],
            bans: vec![
                details(NOW - 3 * MINUTE, "198.18.0.1"),
                details(NOW - 5 * MINUTE, "198.18.0.2"),
            ],
        },
        bans_since: vec![NOW - 3 * MINUTE, NOW - 5 * MINUTE, NOW - 5 * MINUTE],
    })
}

pub(in crate::cli::watch) fn here(problems: Vec<String>) -> Event {
    Event::Here(snapshot(problems))
}

/// A window in which there is something of everything.
pub(in crate::cli::watch) fn busy() -> State {
    let mut state = State::new(NOW, TimeZone::UTC);
    state.hear(here(Vec::new()));
    state.hear(attempt(NOW - 2_000_000, "198.18.0.3", "bob"));
    state.hear(attempt(NOW - 1_999_999, "198.18.0.4", "日本"));
    state.hear(attempt(NOW - 1_999_998, "198.18.0.3", "bob"));
    state.hear(attempt(NOW - 1_000_000, "2001:db8:1234:5678::/64", ""));
    let siege = Happening::AccountUnderAttack {
        at: NOW,
        user: "bob".to_owned(),
        sources: 10,
    };
    let spared = Happening::BanIgnored {
        at: NOW,
        source: "192.0.2.9".to_owned(),
        jail: "postfix-sasl".to_owned(),
        attempts: 3,
        user: "evil\u{202e}gpj".to_owned(),
    };
    let lifted = Happening::Unban {
        at: NOW,
        source: "198.18.0.2".to_owned(),
        jail: "dovecot".to_owned(),
        reason: "unbanned".to_owned(),
    };
    for happening in [siege, spared, lifted] {
        state.hear(Event::Happened(happening));
    }
    state.hear(ban(NOW, "198.18.0.3"));
    state
}

fn keys(state: &mut State, keys: &[KeyCode]) -> Option<Order> {
    let mut order = None;
    for &key in keys {
        order = press(state, KeyEvent::from(key));
    }
    order
}

fn typed(state: &mut State, text: &str) {
    for c in text.chars() {
        assert_eq!(press(state, KeyEvent::from(KeyCode::Char(c))), None);
    }
}

fn texts(state: &State) -> Vec<String> {
    let text = |line: &&Line| format!("{} {} {}", line.kind.word(), line.source, line.text);
    state.shown().iter().map(text).collect()
}

#[test]
fn what_was_known_before_comes_first_and_no_ban_twice() {
    let mut state = busy();
    let lines = texts(&state);
    assert!(
        lines[0].starts_with("BAN 198.18.0.2 1h, 3 attempts, bob"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("BAN 198.18.0.1"), "{lines:?}");
    assert_eq!(lines.len(), 9);
    // The agent's restart: all of it is told again, and one ban that was made meanwhile.
    state.hear(Event::Gone("the agent has stopped".to_owned()));
    state.hear(Event::Gone("the agent does not run".to_owned()));
    assert_eq!(state.gone.as_ref().unwrap().1, "the agent does not run");
    let mut again = snapshot(Vec::new());
    again
        .overview
        .bans
        .insert(0, details(NOW - 1, "198.18.0.7"));
    again.bans_since.push(NOW - 1);
    state.hear(Event::Here(again));
    state.hear(ban(NOW - 1, "198.18.0.7"));
    assert_eq!(state.gone, None);
    let lines = texts(&state);
    assert_eq!(
        lines[9..],
        [
            "PROBLEM  the agent has stopped",
            "solved  the agent is back",
            "BAN 198.18.0.7 1h, 3 attempts, bob"
        ]
    );
    assert_eq!(state.bans.last(6), [2, 0, 1, 0, 1, 1]);
}

#[test]
fn problems_are_told_when_they_begin_and_end() {
    let mut state = busy();
    state.hear(Event::Refreshed(snapshot(vec!["it burns".to_owned()])));
    state.hear(Event::Refreshed(snapshot(vec!["it burns".to_owned()])));
    state.hear(Event::Refreshed(snapshot(Vec::new())));
    assert_eq!(
        texts(&state)[9..],
        ["PROBLEM  it burns", "solved  it burns"]
    );
}

#[test]
fn alike_attempts_of_a_second_are_one_line() {
    let mut state = State::new(NOW, TimeZone::UTC);
    for n in 0..1000 {
        state.hear(attempt(
            NOW + n,
            if n % 2 == 0 {
                "198.18.0.1"
            } else {
                "198.18.0.2"
            },
            "bob",
        ));
    }
    state.hear(attempt(NOW + 1_000_000, "198.18.0.1", "bob"));
    let attempts: Vec<_> = state.shown().iter().map(|line| line.attempts).collect();
    assert_eq!(attempts, [500, 500, 1]);
    assert_eq!(state.attempts.last(1), [1001]);
}

/// Bounds hold and time does not run away, whatever comes in. A hundred thousand events a second are what must be borne.
#[test]
fn a_flood_is_bounded() {
    let mut state = State::new(NOW, TimeZone::UTC);
    state.hear(attempt(NOW, "198.18.0.1", "bob"));
    keys(&mut state, &[KeyCode::Up]);
    let begun = Instant::now();
    for n in 0..100_000_u64 {
        let source = format!("198.18.{}.{}", n / 250 % 250, n % 250);
        state.hear(attempt(NOW + n * 10, &source, &"x".repeat(300)));
    }
    let took = begun.elapsed();
    // Without optimisation, on a busy machine.
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(texts(&state), ["attempt 198.18.0.1 bob"], "it stands still");
    assert_eq!(state.frozen.as_ref().unwrap().missed, 100_000);
    keys(&mut state, &[KeyCode::End]);
    assert_eq!(state.shown().len(), MAX_LINES);
    assert!(state.lines.capacity() <= 2 * MAX_LINES);
    assert!(
        state
            .shown()
            .iter()
            .all(|line| line.text.chars().count() <= 100)
    );
    for n in 0..10_000 {
        state.hear(ban(NOW + n, "198.18.0.1"));
    }
    assert_eq!(state.known.0.len(), MAX_KNOWN.get());
}

#[test]
fn a_source_is_explained_banned_and_lifted() {
    let mut state = busy();
    let source = |text: &str| text.parse().unwrap();
    assert_eq!(keys(&mut state, &[KeyCode::Enter]), None);
    assert!(
        state.message.as_ref().unwrap().is_error,
        "nothing is selected"
    );
    let order = keys(&mut state, &[KeyCode::Up, KeyCode::Enter]);
    assert_eq!(order, Some(Order::Ask(Request::Why(source("198.18.0.3")))));
    let order = keys(&mut state, &[KeyCode::Char('l'), KeyCode::Enter]);
    assert_eq!(
        order,
        Some(Order::Ask(Request::Unban(source("198.18.0.3"))))
    );
    // From the sources' box.
    let order = keys(
        &mut state,
        &[KeyCode::Tab, KeyCode::Down, KeyCode::Char('e')],
    );
    let ipv6 = source("2001:db8:1234:5678::/64");
    assert_eq!(order, Some(Order::Ask(Request::Why(ipv6))));
    // By hand.
    keys(
        &mut state,
        &[KeyCode::Esc, KeyCode::Esc, KeyCode::Char('b')],
    );
    typed(&mut state, "198.51.100.0/24 2h dovecot");
    let order = keys(&mut state, &[KeyCode::Enter]);
    let request = Request::Ban(
        source("198.51.100.0/24"),
        "dovecot".to_owned(),
        120 * MINUTE,
    );
    assert_eq!(order, Some(Order::Ask(request)));
    keys(&mut state, &[KeyCode::Char('b')]);
    typed(&mut state, "198.51.100.7");
    let order = keys(&mut state, &[KeyCode::Enter]);
    let request = Request::Ban(source("198.51.100.7"), "manual".to_owned(), 0);
    assert_eq!(order, Some(Order::Ask(request)));
}

#[test]
fn what_is_typed_wrong_can_be_mended() {
    for (text, part) in [
        ("", "is not an address"),
        ("bob", "is not an address"),
        ("192.0.2.7 dovecot 2h more", "is too much"),
    ] {
        let mut state = busy();
        keys(&mut state, &[KeyCode::Char('b')]);
        typed(&mut state, text);
        assert_eq!(keys(&mut state, &[KeyCode::Enter]), None);
        assert_eq!(state.typing, Some(Typing::Ban(text.to_owned())));
        let message = state.message.as_ref().unwrap();
        assert!(
            message.is_error && message.text.contains(part),
            "{message:?}"
        );
        keys(&mut state, &[KeyCode::Char('x')]);
        assert!(state.message.is_none(), "it gives way to what is typed");
        keys(&mut state, &[KeyCode::Esc]);
        assert_eq!(state.typing, None);
    }
}

#[test]
fn a_filter_shows_some_lines() {
    let mut state = busy();
    keys(&mut state, &[KeyCode::Char('/')]);
    typed(&mut state, "BAN 0.3");
    assert_eq!(texts(&state), ["BAN 198.18.0.3 1h, 3 attempts, bob"]);
    keys(&mut state, &[KeyCode::Enter]);
    assert_eq!((&state.typing, state.shown().len()), (&None, 1));
    keys(&mut state, &[KeyCode::Esc]);
    assert_eq!(state.shown().len(), 9);
    // An account's.
    keys(
        &mut state,
        &[KeyCode::BackTab, KeyCode::Down, KeyCode::Enter],
    );
    assert_eq!(texts(&state), ["attempt 198.18.0.4 日本"]);
}

#[test]
fn lines_stand_still_while_one_reads() {
    let mut state = busy();
    keys(&mut state, &[KeyCode::Char(' ')]);
    state.hear(ban(NOW + 1, "198.18.0.8"));
    assert_eq!(state.shown().len(), 9);
    assert_eq!(state.frozen.as_ref().unwrap().missed, 1);
    keys(&mut state, &[KeyCode::Char(' ')]);
    assert_eq!(state.shown().len(), 10);
    keys(&mut state, &[KeyCode::Up, KeyCode::Home]);
    assert_eq!(state.line, Some(0));
    keys(
        &mut state,
        &[KeyCode::PageDown, KeyCode::PageUp, KeyCode::Down],
    );
    assert_eq!(state.line, Some(1));
    keys(&mut state, &[KeyCode::Esc]);
    assert_eq!((state.line, state.frozen.is_none()), (None, true));
}

#[test]
fn messages_go_by_themselves() {
    let mut state = busy();
    state.hear(Event::Answered(Err("not allowed".to_owned())));
    state.advance(NOW + 7_000_000);
    assert!(state.message.is_some());
    state.advance(NOW + 9_000_000);
    assert!(state.message.is_none());
}

#[test]
fn control_c_quits_wherever_one_is() {
    for before in [
        KeyCode::Char('x'),
        KeyCode::Char('b'),
        KeyCode::Char('?'),
        KeyCode::Char('/'),
    ] {
        let mut state = busy();
        keys(&mut state, &[before]);
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(press(&mut state, key), Some(Order::Quit));
    }
    assert_eq!(keys(&mut busy(), &[KeyCode::Char('q')]), Some(Order::Quit));
}
