//! What a key means: a change of what is shown, or an order.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::feed::Request;
use super::line::clean;
use super::panel::Panel;
use super::state::{Focus, State, Typing};
use crate::config::{MANUAL, span};
use crate::source::Source;

/// What is typed is a prefix, a jail and a time, or some words.
const MAX_TYPED: usize = 200;

/// What a key asks for that the state can't do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    Quit,
    /// Somebody else has drawn on the terminal.
    Redraw,
    Ask(Request),
}

/// A key was pressed.
pub(super) fn press(state: &mut State, key: KeyEvent) -> Option<Order> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Order::Quit),
            KeyCode::Char('l') => Some(Order::Redraw),
            KeyCode::Char('u') => {
                if let Some(typed) = state.typing.as_mut().map(typed) {
                    typed.clear();
                }
                None
            }
            _ => None,
        };
    }
    if state.typing.is_some() {
        in_line(state, key.code)
    } else if state.panel.is_some() {
        in_panel(state, key.code)
    } else {
        in_window(state, key.code)
    }
}

fn in_window(state: &mut State, key: KeyCode) -> Option<Order> {
    let page = isize::try_from(state.page).unwrap_or(1);
    match key {
        KeyCode::Char('q') => return Some(Order::Quit),
        KeyCode::Char('e') | KeyCode::Enter => return explain(state),
        KeyCode::Char('b') => {
            let source = state.selected_source().unwrap_or_default();
            state.typing = Some(Typing::Ban(source));
        }
        KeyCode::Char('l') => {
            let source = state.selected_source().unwrap_or_default();
            state.typing = Some(Typing::Lift(source));
        }
        KeyCode::Char('/') => state.typing = Some(Typing::Filter(state.filter.clone())),
        KeyCode::Char('p') => state.panel = Some(Panel::problems(&state.problems)),
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => state.panel = Some(Panel::help()),
        KeyCode::Char(' ') if state.frozen.is_some() => state.follow(),
        KeyCode::Char(' ') => state.freeze(),
        KeyCode::Up | KeyCode::Char('k') => state.step(-1),
        KeyCode::Down | KeyCode::Char('j') => state.step(1),
        KeyCode::PageUp => state.step(-page),
        KeyCode::PageDown => state.step(page),
        KeyCode::Home => state.step(isize::MIN),
        KeyCode::End if state.focus == Focus::Events => state.follow(),
        KeyCode::End => state.step(isize::MAX),
        KeyCode::Tab | KeyCode::Right => {
            turn(state, [Focus::Events, Focus::Sources, Focus::Accounts]);
        }
        KeyCode::BackTab | KeyCode::Left => {
            turn(state, [Focus::Events, Focus::Accounts, Focus::Sources]);
        }
        KeyCode::Esc => leave(state),
        _ => {}
    }
    None
}

/// From one part of the window to the next.
fn turn(state: &mut State, order: [Focus; 3]) {
    let at = order.iter().position(|&focus| focus == state.focus);
    let next = at.map_or(0, |at| (at + 1) % order.len());
    state.focus = order[next];
    let selected = match state.focus {
        Focus::Events => return,
        Focus::Sources => state.source.is_some(),
        Focus::Accounts => state.account.is_some(),
    };
    if !selected {
        state.step(0);
    }
}

/// One step back: the message, the selection, the filter.
fn leave(state: &mut State) {
    if state.focus != Focus::Events {
        state.focus = Focus::Events;
        (state.source, state.account) = (None, None);
    } else if state.frozen.is_some() {
        state.follow();
    } else {
        state.filter.clear();
    }
    state.message = None;
}

fn explain(state: &mut State) -> Option<Order> {
    if state.focus == Focus::Accounts {
        let account = state.account.clone()?;
        state.filter = clean(&account, MAX_TYPED).to_lowercase();
        state.focus = Focus::Events;
        state.follow();
        return None;
    }
    let Some(source) = state.selected_source() else {
        state.tell(
            "select a line with a source first, with the arrow keys",
            true,
        );
        return None;
    };
    match source.parse() {
        Ok(source) => Some(Order::Ask(Request::Why(source))),
        Err(error) => {
            state.tell(&format!("{error}"), true);
            None
        }
    }
}

fn in_panel(state: &mut State, key: KeyCode) -> Option<Order> {
    let page = isize::try_from(state.page).unwrap_or(1);
    let panel = state.panel.as_mut()?;
    match key {
        KeyCode::Up | KeyCode::Char('k') => panel.scroll(-1),
        KeyCode::Down | KeyCode::Char('j') => panel.scroll(1),
        KeyCode::PageUp => panel.scroll(-page),
        KeyCode::PageDown | KeyCode::Char(' ') => panel.scroll(page),
        KeyCode::Home => panel.scroll(isize::MIN),
        KeyCode::Char('b') if panel.source.is_some() => {
            state.typing = panel.source.clone().map(Typing::Ban);
            state.panel = None;
        }
        KeyCode::Char('l') if panel.source.is_some() => {
            state.typing = panel.source.clone().map(Typing::Lift);
            state.panel = None;
        }
        KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | 'e' | 'p' | '?' | 'h') => {
            state.panel = None;
        }
        _ => {}
    }
    None
}

fn typed(typing: &mut Typing) -> &mut String {
    match typing {
        Typing::Ban(text) | Typing::Lift(text) | Typing::Filter(text) => text,
    }
}

fn in_line(state: &mut State, key: KeyCode) -> Option<Order> {
    let typing = state.typing.as_mut()?;
    let text = typed(typing);
    match key {
        KeyCode::Char(c) if !c.is_control() && text.len() < MAX_TYPED => text.push(c),
        KeyCode::Backspace => {
            text.pop();
        }
        KeyCode::Enter => return finish(state),
        KeyCode::Esc => {
            if matches!(state.typing, Some(Typing::Filter(_))) {
                state.filter.clear();
            }
            state.typing = None;
            return None;
        }
        _ => {}
    }
    // It was about what was typed before.
    state.message = None;
    if let Some(Typing::Filter(text)) = &state.typing {
        state.filter = text.to_lowercase();
    }
    None
}

/// What was typed is wanted.
fn finish(state: &mut State) -> Option<Order> {
    let request = match state.typing.clone()? {
        Typing::Filter(_) => {
            state.typing = None;
            return None;
        }
        Typing::Ban(text) => ban(&text),
        Typing::Lift(text) => text
            .trim()
            .parse()
            .map(Request::Unban)
            .map_err(|error| format!("{error}")),
    };
    match request {
        Ok(request) => {
            state.typing = None;
            state.tell("asked …", false);
            Some(Order::Ask(request))
        }
        // What is wrong can be mended.
        Err(text) => {
            state.tell(&text, true);
            None
        }
    }
}

/// `SOURCE [JAIL] [TIME]`
fn ban(text: &str) -> Result<Request, String> {
    let mut words = text.split_whitespace();
    let source: Source = words
        .next()
        .unwrap_or_default()
        .parse()
        .map_err(|error| format!("{error}"))?;
    let (mut jail, mut time) = (None, None);
    for word in words {
        match span(word) {
            Ok(span) if time.is_none() => time = Some(span),
            Err(_) if jail.is_none() => jail = Some(word.to_owned()),
            _ => {
                return Err(format!(
                    "{word:?} is too much: ADDRESS, then a jail and a time if you like"
                ));
            }
        }
    }
    let usec = time.map_or(0, |time| {
        u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
    });
    let jail = jail.unwrap_or_else(|| MANUAL.to_owned());
    Ok(Request::Ban(source, jail, usec))
}
