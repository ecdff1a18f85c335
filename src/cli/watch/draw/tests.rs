//! The window as it looks, at two sizes, and what may never be on it.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;

use super::super::keys::press;
use super::super::state::tests::{MINUTE, NOW, attempt, ban, busy, here};
use super::*;
use crate::cli::watch::feed::{Answer, Event};
use crate::cli::watch::state::State;

fn drawn(state: &State, (width, height): (u16, u16), look: Look) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, look)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let rows = buffer.content.chunks(width).map(|row| {
        let mut text = String::new();
        let mut cells = row.iter();
        while let Some(cell) = cells.next() {
            text += cell.symbol();
            // A wide character has the next cell too.
            for _ in 1..cell.symbol().width() {
                cells.next();
            }
        }
        text.trim_end().to_owned() + "\n"
    });
    rows.collect()
}

#[track_caller]
fn looks(state: &State, size: (u16, u16), look: Look, expected: &str) {
    let seen = text(&drawn(state, size, look));
    assert!(seen == expected, "this is not what it looked like:\n{seen}");
}

#[test]
fn at_80x24() {
    looks(&busy(), (80, 24), Look::COLOURED, include_str!("80x24.txt"));
}

#[test]
fn at_120x40_where_something_is_wrong() {
    let mut state = busy();
    let problem = "the firewall refuses, so that new bans are not in force: it says no".to_owned();
    state.hear(here(vec![problem, "another".to_owned()]));
    looks(
        &state,
        (120, 40),
        Look::COLOURED,
        include_str!("120x40.txt"),
    );
}

#[test]
fn at_80x24_in_ascii_with_an_explanation() {
    let mut state = busy();
    let explanation = Box::new(super::super::explain::tests::explanation());
    let answer = Answer::Why("198.18.0.1".to_owned(), explanation);
    state.hear(Event::Answered(Ok(answer)));
    looks(
        &state,
        (80, 24),
        Look::PLAIN,
        include_str!("80x24-ascii.txt"),
    );
}

#[test]
fn without_colours_there_are_none_and_ascii_is_ascii() {
    let mut state = busy();
    state.hear(Event::Gone("the agent has stopped".to_owned()));
    let buffer = drawn(&state, (80, 24), Look::PLAIN);
    for cell in &buffer.content {
        assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{cell:?}");
        assert!(cell.symbol().is_ascii(), "{cell:?}");
    }
    assert!(
        text(&buffer).contains("AGENT GONE since"),
        "{}",
        text(&buffer)
    );
    let coloured = drawn(&state, (80, 24), Look::COLOURED);
    assert!(coloured.content.iter().any(|cell| cell.bg == Color::Red));
}

#[test]
fn what_attackers_write_stays_in_its_place() {
    let mut state = busy();
    let before = drawn(&state, (80, 24), Look::COLOURED);
    let names = [
        "\u{202e}live".to_owned(),
        "\x1b[2J\x1b]0;owned\x07".to_owned(),
        "\u{9b}31m".to_owned(),
        "日本".repeat(100),
        "e\u{301}".repeat(100),
        "👩\u{200d}👩\u{200d}👧".to_owned(),
        "\t\n\r\0".to_owned(),
    ];
    for (n, name) in names.iter().enumerate() {
        state.hear(attempt(NOW + n as u64, "198.18.0.9", name));
        state.accounts[0].user.clone_from(name);
        state.filter.clone_from(name);
        state.filter.clear();
        let after = drawn(&state, (80, 24), Look::COLOURED);
        for (cell, was) in after.content.iter().zip(&before.content) {
            let symbol = cell.symbol();
            assert!(
                symbol.chars().all(crate::cli::text::is_printable),
                "{symbol:?}"
            );
            assert!(symbol.width() <= 2, "{symbol:?}");
            if was.symbol() == "│" {
                assert_eq!(
                    symbol,
                    "│",
                    "a box is broken by {name:?}:\n{}",
                    text(&after)
                );
            }
        }
    }
}

#[test]
fn every_size_can_be_drawn() {
    let mut state = busy();
    state.hear(attempt(
        NOW,
        "2001:db8:1234:5678:9abc:def0:1234:5678",
        "bob",
    ));
    for width in (1..140).step_by(13) {
        for height in (1..50).step_by(3) {
            drawn(&state, (width, height), Look::COLOURED);
            for key in [
                KeyCode::Char('?'),
                KeyCode::Esc,
                KeyCode::Up,
                KeyCode::Char('b'),
            ] {
                press(&mut state, KeyEvent::from(key));
                drawn(&state, (width, height), Look::PLAIN);
            }
            press(&mut state, KeyEvent::from(KeyCode::Esc));
        }
    }
}

#[test]
fn the_selected_line_is_always_on_the_screen() {
    let mut state = busy();
    for n in 0..500_u64 {
        state.hear(ban(NOW - MINUTE + n, &format!("198.18.3.{}", n % 250)));
    }
    for _ in 0..600 {
        press(&mut state, KeyEvent::from(KeyCode::Up));
        let buffer = drawn(&state, (80, 24), Look::COLOURED);
        // Of the events alone: the head and the last line are inverted too.
        let events = &buffer.content[80 * 11..80 * 22];
        let inverted = events
            .iter()
            .any(|cell| cell.modifier.contains(Modifier::REVERSED));
        assert!(inverted, "{}", text(&buffer));
    }
}

#[test]
fn the_help_fits() {
    let mut state = busy();
    press(&mut state, KeyEvent::from(KeyCode::Char('?')));
    let seen = text(&drawn(&state, (80, 24), Look::COLOURED));
    for part in ["Up Down PgUp", "quit", "watch --json"] {
        assert!(seen.contains(part), "{seen}");
    }
}
