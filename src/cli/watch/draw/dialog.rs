//! Where one types, which keys there are, and the panels over the window.

use ratatui::Frame;
use ratatui::layout::{Margin, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Row, Span};
use ratatui::widgets::{Clear, Paragraph, Wrap};
use unicode_width::UnicodeWidthStr;

use super::super::line::clean;
use super::super::look::Look;
use super::super::panel::Panel;
use super::super::state::Typing;
use super::{Painter, columns};

impl Painter<'_> {
    pub(super) fn typing(&self, frame: &mut Frame<'_>, area: Rect) {
        let state = self.state;
        if let Some(message) = &state.message
            && (state.typing.is_none() || message.is_error)
        {
            let style = if message.is_error {
                self.look.style(Color::Red, Modifier::BOLD)
            } else {
                self.look.style(Color::Green, Modifier::BOLD)
            };
            let text = clean(&message.text, usize::from(area.width).saturating_sub(2));
            let row = Row::styled(format!(" {}", self.look.text(&text)), style);
            frame.render_widget(row, area);
            if state.typing.is_none() {
                return;
            }
        }
        let (label, typed) = match &state.typing {
            Some(Typing::Ban(typed)) => (" Ban: ", typed),
            Some(Typing::Lift(typed)) => (" Lift the bans of: ", typed),
            Some(Typing::Filter(typed)) => (" Show only lines with: ", typed),
            None => return,
        };
        // Of a long text, the end is where one types.
        let room = usize::from(area.width).saturating_sub(label.width() + 2);
        let mut shown = clean(typed, usize::MAX);
        while shown.width() > room {
            shown.remove(0);
        }
        if state
            .message
            .as_ref()
            .is_none_or(|message| !message.is_error)
        {
            let row = Row::from(vec![
                Span::styled(label, Style::new().bold()),
                Span::raw(self.look.text(&shown)),
            ]);
            frame.render_widget(row, area);
            frame.set_cursor_position((area.x + columns(label) + columns(&shown), area.y));
        }
    }

    pub(super) fn keys(&self, frame: &mut Frame<'_>, area: Rect) {
        let state = self.state;
        let text = match (&state.typing, &state.panel) {
            (Some(Typing::Ban(_)), _) => {
                " Enter: ban   Esc: don't   ADDRESS [JAIL] [TIME], as in 192.0.2.7 dovecot 2h"
            }
            (Some(Typing::Lift(_)), _) => " Enter: lift, and forgive   Esc: don't",
            (Some(Typing::Filter(_)), _) => " Enter: keep it   Esc: show all lines",
            (None, Some(panel)) if panel.source.is_some() => {
                " Esc back   b ban   l lift   ↑↓ scroll"
            }
            (None, Some(_)) => " Esc back   ↑↓ scroll",
            (None, None) if area.width < 110 => {
                " q quit  ? help  ↑↓ select  Enter explain  b ban  l lift  / filter  Space stop"
            }
            (None, None) => {
                " q quit   ? help   ↑↓ select   Tab next box   Enter explain   b ban   l lift   / filter   Space stop   p problems"
            }
        };
        let text = self.look.text(&clean(text, area.width.into()));
        frame.render_widget(Paragraph::new(text).style(Look::bar()), area);
    }

    pub(super) fn panel(&self, frame: &mut Frame<'_>, panel: &Panel, area: Rect) {
        let width = area.width.saturating_sub(4).min(90);
        let lines: Vec<_> = panel
            .lines
            .iter()
            .map(|line| self.look.text(&clean(line, 1000)))
            .collect();
        let inside = usize::from(width.saturating_sub(4)).max(1);
        let high: usize = lines
            .iter()
            .map(|line| line.width().div_ceil(inside).max(1))
            .sum();
        let height = u16::try_from(high + 2)
            .unwrap_or(u16::MAX)
            .min(area.height.saturating_sub(2));
        let place = Rect {
            x: area.x + (area.width - width) / 2,
            y: area.y + (area.height - 1 - height) / 2,
            width,
            height,
        };
        frame.render_widget(Clear, place);
        let inner = self.boxed(frame, place, &panel.title, None);
        let inner = inner.inner(Margin::new(1, 0));
        let last = high.saturating_sub(inner.height.into());
        let first = u16::try_from(panel.first.min(last)).unwrap_or(u16::MAX);
        let text: Vec<Row<'_>> = lines.into_iter().map(Row::from).collect();
        let text = Paragraph::new(text)
            .wrap(Wrap { trim: false })
            .scroll((first, 0));
        frame.render_widget(text, inner);
    }
}
