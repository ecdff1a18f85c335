//! The window, drawn from the state.

mod dialog;

use jiff::tz::TimeZone;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Row, Span};
use ratatui::widgets::{Block, Paragraph, Sparkline};
use unicode_width::UnicodeWidthStr;

use super::line::{Kind, Line, clean};
use super::look::Look;
use super::state::{Focus, State};
use crate::cli::text::timestamp;

/// Below this nothing of use fits.
const MIN_WIDTH: u16 = 60;
const MIN_HEIGHT: u16 = 12;

/// Columns of a line's source: of an address of IPv4 at least, of one of IPv6 at the most.
const SOURCE_WIDTH: (usize, usize) = (15, 39);
/// Columns of a line's jail, at the most.
const JAIL_WIDTH: usize = 14;
/// Columns that are left for what a line says, whatever the rest wants.
const SAID_WIDTH: usize = 12;

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, look: Look) {
    let area = frame.area();
    if area.width < MIN_WIDTH || area.height < MIN_HEIGHT {
        let text = format!(
            "{}x{} is too small for banjour's window:\nmake it {MIN_WIDTH}x{MIN_HEIGHT} or larger, or press q",
            area.width, area.height
        );
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let said = u16::from(state.typing.is_some() || state.message.is_some());
    let [head, problem, upper, events, line, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length((area.height / 3).clamp(4, 14)),
        Constraint::Min(3),
        Constraint::Length(said),
        Constraint::Length(1),
    ])
    .areas(area);
    let painter = Painter { state, look };
    painter.head(frame, head);
    painter.problem(frame, problem);
    let [sources, accounts, bans] = Layout::horizontal([
        Constraint::Percentage(47),
        Constraint::Percentage(30),
        Constraint::Percentage(23),
    ])
    .areas(upper);
    painter.sources(frame, sources);
    painter.accounts(frame, accounts);
    painter.bans(frame, bans);
    painter.events(frame, events);
    painter.typing(frame, line);
    painter.keys(frame, keys);
    if let Some(panel) = &state.panel {
        painter.panel(frame, panel, area);
    }
}

/// How many lines the events have on a screen so high: what a page is.
pub(super) fn page(height: u16) -> usize {
    let upper = (height / 3).clamp(4, 14);
    usize::from(height.saturating_sub(upper + 5)).max(1)
}

struct Painter<'a> {
    state: &'a State,
    look: Look,
}

impl Painter<'_> {
    fn head(&self, frame: &mut Frame<'_>, area: Rect) {
        let state = self.state;
        let firewall = match state.firewall.as_str() {
            "" => "no firewall",
            name => name,
        };
        let left = format!(
            " banjour · {firewall} · {} kept out · {} failed/min · {} banned/min",
            state.in_force,
            state.attempts.rate(),
            state.bans.rate(),
        );
        let clock = self.clock(state.now);
        let right = format!(" {clock} ");
        let (left, right) = (self.look.text(&left), self.look.text(&right));
        let [of_left, of_right] =
            Layout::horizontal([Constraint::Min(0), Constraint::Length(columns(&right))])
                .areas(area);
        let bar = Look::bar();
        frame.render_widget(Paragraph::new(left).style(bar), of_left);
        frame.render_widget(Paragraph::new(right).style(bar), of_right);
    }

    fn problem(&self, frame: &mut Frame<'_>, area: Rect) {
        let state = self.state;
        let text = match (&state.gone, state.problems.as_slice()) {
            (Some((since, why)), _) => {
                format!(
                    " AGENT GONE since {}: {why}; waiting for it ",
                    self.clock(*since)
                )
            }
            (None, [problem]) => format!(" PROBLEM (p: all of it): {problem}"),
            (None, [first, more @ ..]) => {
                format!(" PROBLEM (p: {} more): {first}", more.len())
            }
            (None, []) => {
                let text = if state.version.is_empty() {
                    " asking the agent …".to_owned()
                } else if state.firewall.is_empty() {
                    " the agent looks for a firewall …".to_owned()
                } else {
                    format!(
                        " protecting; no problems · version {}",
                        clean(&state.version, 20)
                    )
                };
                let style = self.look.style(Color::Green, Modifier::empty());
                let text = Paragraph::new(self.look.text(&text)).style(style);
                return frame.render_widget(text, area);
            }
        };
        let text = self.look.text(&clean(&text, area.width.into()));
        frame.render_widget(Paragraph::new(text).style(self.look.alarm()), area);
    }

    fn sources(&self, frame: &mut Frame<'_>, area: Rect) {
        let state = self.state;
        let inner = self.boxed(
            frame,
            area,
            "Top sources, failed logins",
            Some(Focus::Sources),
        );
        if state.sources.is_empty() {
            return Self::nothing(frame, inner, "nobody fails");
        }
        let selected = |source: &str| state.source.as_deref() == Some(source);
        let at = state.sources.iter().position(|of| selected(&of.source));
        let first = first_shown(state.sources.len(), at, inner.height.into());
        let rows = state.sources.iter().skip(first).take(inner.height.into());
        let width = usize::from(inner.width);
        let rows = rows.map(|of| {
            let (mark, style) = if of.banned {
                ("banned", self.look.style(Color::Red, Modifier::empty()))
            } else {
                ("", Style::new())
            };
            let name = fit(&of.source, width.saturating_sub(13));
            let text = format!(" {name}{:>5} {mark:<6}", of.attempts);
            let focus = state.focus == Focus::Sources && selected(&of.source);
            self.row(&text, style, focus)
        });
        frame.render_widget(Paragraph::new(rows.collect::<Vec<_>>()), inner);
    }

    fn accounts(&self, frame: &mut Frame<'_>, area: Rect) {
        let state = self.state;
        let inner = self.boxed(frame, area, "Accounts tried", Some(Focus::Accounts));
        if state.accounts.is_empty() {
            return Self::nothing(frame, inner, "none is tried");
        }
        let selected = |user: &str| state.account.as_deref() == Some(user);
        let at = state.accounts.iter().position(|of| selected(&of.user));
        let first = first_shown(state.accounts.len(), at, inner.height.into());
        let rows = state.accounts.iter().skip(first).take(inner.height.into());
        let width = usize::from(inner.width);
        let rows = rows.map(|of| {
            let (mark, style) = if of.under_attack {
                ('!', self.look.style(Color::Magenta, Modifier::BOLD))
            } else {
                (' ', Style::new())
            };
            let name = fit(&of.user, width.saturating_sub(6));
            let text = format!("{mark}{name}{:>5}", of.attempts);
            let focus = state.focus == Focus::Accounts && selected(&of.user);
            self.row(&text, style, focus)
        });
        frame.render_widget(Paragraph::new(rows.collect::<Vec<_>>()), inner);
    }

    fn bans(&self, frame: &mut Frame<'_>, area: Rect) {
        let inner = self.boxed(frame, area, "Bans/min", None);
        let [chart, legend] =
            Layout::vertical([Constraint::Min(1), Constraint::Length(1)]).areas(inner);
        let minutes = usize::from(chart.width);
        let counts = self.state.bans.last(minutes);
        let most = counts.iter().max().copied().unwrap_or_default();
        let bars = Sparkline::default()
            .data(&counts)
            .max(most.max(1))
            .bar_set(self.look.bars())
            .style(self.look.style(Color::Yellow, Modifier::empty()));
        frame.render_widget(bars, chart);
        let (ago, max) = (format!("-{minutes}min"), format!("max {most}"));
        let text = format!("{ago}{max:>0$}", minutes.saturating_sub(ago.width()));
        frame.render_widget(Paragraph::new(text).style(Look::faint()), legend);
    }

    fn events(&self, frame: &mut Frame<'_>, area: Rect) {
        let state = self.state;
        let mut title = "Events".to_owned();
        if !state.filter.is_empty() {
            title = format!("{title} with \"{}\"", clean(&state.filter, 30));
        }
        if let Some(frozen) = &state.frozen {
            title = format!(
                "{title} · STOPPED, {} more since; End: follow",
                frozen.missed
            );
        }
        let inner = self.boxed(frame, area, &title, Some(Focus::Events));
        let shown = state.shown();
        if shown.is_empty() {
            let text = if state.filter.is_empty() {
                "Nothing has happened yet. Failed logins stand here as they come."
            } else {
                "No event has these words. Esc: show all."
            };
            return Self::nothing(frame, inner, text);
        }
        let height = usize::from(inner.height);
        let at = shown.iter().position(|line| Some(line.id) == state.line);
        let first = first_shown(shown.len(), at.or(Some(shown.len() - 1)), height);
        let shown = &shown[first..shown.len().min(first + height)];
        let width = |of: fn(&Line) -> &str| shown.iter().map(|line| of(line).width()).max();
        let jail = width(|line| &line.jail).unwrap_or_default().min(JAIL_WIDTH);
        let room = usize::from(inner.width).saturating_sub(20 + jail + SAID_WIDTH);
        let source = width(|line| &line.source).unwrap_or_default();
        let source = source
            .clamp(SOURCE_WIDTH.0, SOURCE_WIDTH.1)
            .min(room.max(SOURCE_WIDTH.0));
        let rows = shown
            .iter()
            .map(|line| self.event(line, (source, jail), inner.width.into()));
        frame.render_widget(Paragraph::new(rows.collect::<Vec<_>>()), inner);
    }

    fn event(&self, line: &Line, (source, jail): (usize, usize), width: usize) -> Row<'static> {
        let kind = match line.kind {
            Kind::Attempt => Style::new(),
            Kind::Ban | Kind::Problem => self.look.style(Color::Red, Modifier::BOLD),
            Kind::Unban | Kind::Solved => self.look.style(Color::Green, Modifier::empty()),
            Kind::Ignored => self.look.style(Color::Cyan, Modifier::empty()),
            Kind::Account => self.look.style(Color::Magenta, Modifier::BOLD),
        };
        let mut said = line.text.clone();
        if line.attempts > 1 {
            said = format!("×{} {said}", line.attempts);
        }
        let said = if line.source.is_empty() {
            fit(&said, width.saturating_sub(18))
        } else {
            let (of, jailed) = (fit(&line.source, source), fit(&line.jail, jail));
            format!(
                "{of} {jailed} {}",
                fit(&said, width.saturating_sub(20 + source + jail))
            )
        };
        let selected = Some(line.id) == self.state.line && self.state.focus == Focus::Events;
        let invert = |style: Style| if selected { style.reversed() } else { style };
        let spans = [
            (format!(" {} ", self.clock(line.at)), Look::faint()),
            (format!("{:<7} ", line.kind.word()), kind),
            (
                said,
                if line.kind == Kind::Attempt {
                    Style::new()
                } else {
                    kind
                },
            ),
        ];
        let spans = spans.map(|(text, style)| Span::styled(self.look.text(&text), invert(style)));
        Row::from(spans.to_vec())
    }

    /// A box with a title; that which has the keys is told from the others.
    fn boxed(&self, frame: &mut Frame<'_>, area: Rect, title: &str, focus: Option<Focus>) -> Rect {
        let has_keys = focus.is_none_or(|focus| focus == self.state.focus);
        let style = if has_keys && focus.is_some() && self.state.panel.is_none() {
            self.look.style(Color::Yellow, Modifier::BOLD)
        } else {
            Style::new()
        };
        let title = self
            .look
            .text(&clean(title, usize::from(area.width).saturating_sub(4)));
        let block = Block::bordered()
            .border_set(self.look.border())
            .border_style(self.look.frame())
            .title(Span::styled(format!(" {title} "), style));
        let inner = block.inner(area);
        frame.render_widget(block, area);
        inner
    }

    fn nothing(frame: &mut Frame<'_>, area: Rect, text: &str) {
        let text = Paragraph::new(text.to_owned())
            .style(Look::faint())
            .alignment(Alignment::Center);
        frame.render_widget(text, area);
    }

    fn row(&self, text: &str, style: Style, selected: bool) -> Row<'static> {
        let style = if selected { style.reversed() } else { style };
        Row::styled(self.look.text(text), style)
    }

    fn clock(&self, usec: u64) -> String {
        clock(usec, &self.state.zone)
    }
}

fn clock(usec: u64, zone: &TimeZone) -> String {
    let zoned = timestamp(usec).to_zoned(zone.clone());
    zoned.strftime("%H:%M:%S").to_string()
}

/// The first of so many rows to show, so that the selected one is seen.
fn first_shown(rows: usize, selected: Option<usize>, height: usize) -> usize {
    let selected = selected.unwrap_or_default();
    let last = rows.saturating_sub(height);
    selected.saturating_sub(height / 2).min(last)
}

/// Anybody's text in so many columns, no more and no fewer.
fn fit(text: &str, columns: usize) -> String {
    let text = clean(text, columns.max(1));
    let missing = columns.saturating_sub(text.width());
    text + &" ".repeat(missing)
}

fn columns(text: &str) -> u16 {
    u16::try_from(text.width()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
