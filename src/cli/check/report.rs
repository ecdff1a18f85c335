//! What was found, and how it is shown: groups, a line for each, marked; what to do below it.

use anstyle::Style;
use serde_json::{Value, json};

use super::text::{self, styled};

/// Longest line; some problems quote what programs complain of.
const MAX_LINE: usize = 500;

/// Where the terminal does not tell its width.
const WIDTH: usize = 80;
/// A narrower one wraps by itself.
const MIN_WIDTH: usize = 40;

/// What a line is about. In the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    Agent,
    Journal,
    Mail,
    Firewall,
    Clock,
}

impl Group {
    const ALL: [Self; 5] = [
        Self::Agent,
        Self::Journal,
        Self::Mail,
        Self::Firewall,
        Self::Clock,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Journal => "journal",
            Self::Mail => "mail servers",
            Self::Firewall => "firewall",
            Self::Clock => "clock",
        }
    }
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Fine,
    /// Something is to be done.
    ToDo,
    /// It could be better.
    Advice,
    /// It could not be asked.
    Unknown,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::ToDo => "to-do",
            Self::Advice => "advice",
            Self::Unknown => "unknown",
        }
    }

    /// Before the line.
    fn mark(self) -> (&'static str, Style) {
        match self {
            Self::Fine => ("✓", text::CALM),
            Self::ToDo => ("✗", text::ALARM),
            Self::Advice => ("•", text::HINT),
            Self::Unknown => ("?", text::HINT),
        }
    }
}

struct Finding {
    group: Group,
    level: Level,
    what: String,
    /// What to do.
    action: Option<String>,
}

/// All that was found.
#[derive(Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    pub(super) fn fine(&mut self, group: Group, what: impl Into<String>) {
        self.add(group, Level::Fine, &what.into(), None);
    }

    pub(super) fn do_this(
        &mut self,
        group: Group,
        what: impl Into<String>,
        action: impl Into<String>,
    ) {
        self.add(group, Level::ToDo, &what.into(), Some(action.into()));
    }

    /// A problem whose text says what to do.
    pub(super) fn problem(&mut self, group: Group, what: impl Into<String>) {
        self.add(group, Level::ToDo, &what.into(), None);
    }

    pub(super) fn advise(
        &mut self,
        group: Group,
        what: impl Into<String>,
        action: impl Into<String>,
    ) {
        self.add(group, Level::Advice, &what.into(), Some(action.into()));
    }

    pub(super) fn unknown(
        &mut self,
        group: Group,
        what: impl Into<String>,
        action: impl Into<String>,
    ) {
        self.add(group, Level::Unknown, &what.into(), Some(action.into()));
    }

    fn add(&mut self, group: Group, level: Level, what: &str, action: Option<String>) {
        self.0.push(Finding {
            group,
            level,
            what: one_line(what),
            action,
        });
    }

    /// How many things are to be done.
    pub(super) fn to_do(&self) -> usize {
        self.count(Level::ToDo)
    }

    fn count(&self, level: Level) -> usize {
        let of_level = |finding: &&Finding| finding.level == level;
        self.0.iter().filter(of_level).count()
    }

    pub(super) fn as_json(&self) -> Value {
        let findings = self.0.iter().map(|finding| {
            json!({
                "group": finding.group.name(),
                "level": finding.level.name(),
                "what": finding.what,
                "action": finding.action,
            })
        });
        json!({
            "to_do": self.to_do(),
            "advice": self.count(Level::Advice),
            "unknown": self.count(Level::Unknown),
            "findings": findings.collect::<Vec<_>>(),
        })
    }

    pub(super) fn as_text(&self) -> String {
        if !text::on_terminal() {
            return self.as_lines();
        }
        let width = terminal_size::terminal_size().map_or(WIDTH, |(width, _)| usize::from(width.0));
        self.as_groups(width)
    }

    /// For programs.
    fn as_lines(&self) -> String {
        let line = |finding: &Finding| {
            let cells = [
                finding.level.name(),
                finding.group.name(),
                &finding.what,
                finding.action.as_deref().unwrap_or_default(),
            ];
            cells.join("\t") + "\n"
        };
        self.0.iter().map(line).collect()
    }

    /// For people.
    fn as_groups(&self, width: usize) -> String {
        let mut out = match self.to_do() {
            0 => styled(text::CALM, "this host is protected"),
            1 => styled(text::ALARM, "1 thing is to be done"),
            n => styled(text::ALARM, &format!("{n} things are to be done")),
        };
        for (level, one, several) in [
            (Level::Advice, "piece of advice", "pieces of advice"),
            (
                Level::Unknown,
                "thing could not be asked",
                "things could not be asked",
            ),
        ] {
            match self.count(level) {
                0 => {}
                1 => out.extend([", 1 ", one]),
                n => out.extend([&*format!(", {n} "), several]),
            }
        }
        out += "\n";
        for group in Group::ALL {
            let findings = self.0.iter().filter(|finding| finding.group == group);
            let mut findings = findings.peekable();
            if findings.peek().is_some() {
                out.extend(["\n", &styled(text::STRONG, group.name()), "\n"]);
            }
            for finding in findings {
                let (mark, style) = finding.level.mark();
                let what = wrapped(&finding.what, width.saturating_sub(4));
                out.extend(["  ", &styled(style, mark), " ", &what, "\n"]);
                if let Some(action) = &finding.action {
                    out.extend(["    ", &styled(style, "→"), " ", action, "\n"]);
                }
            }
        }
        out
    }
}

/// A text in lines of a terminal's width, where that is enough to read. What to do is not: it is to be copied.
fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width.max(MIN_WIDTH) {
            out += "\n    ";
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out += word;
        column += length;
    }
    out
}

/// A text that others may have had a hand in, as it may be shown.
fn one_line(text: &str) -> String {
    let plain = text.replace(char::is_control, " ");
    let mut words = plain.split_whitespace();
    let mut line: String = words.next().unwrap_or_default().to_owned();
    for word in words {
        line.extend([" ", word]);
    }
    if line.chars().count() > MAX_LINE {
        line = line.chars().take(MAX_LINE).chain(['…']).collect();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Report {
        let mut report = Report::default();
        report.fine(Group::Clock, "it goes");
        report.do_this(Group::Agent, "it does not run", "start it");
        report.advise(Group::Mail, "it is old", "upgrade it");
        report
    }

    #[test]
    fn people_get_groups_with_marks() {
        let coloured = some().as_groups(80);
        assert!(coloured.contains(&styled(text::ALARM, "✗")));
        let text = anstream::adapter::strip_str(&coloured).to_string();
        let expected = "1 thing is to be done, 1 piece of advice\n\nagent\n  ✗ it does not run\n    → start it\n\n\
                        mail servers\n  • it is old\n    → upgrade it\n\nclock\n  ✓ it goes\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_line_is_one_and_has_no_control_characters() {
        let line = one_line("a\tb\n\n\x1b[31mc\u{9b}d");
        assert_eq!(line, "a b [31mc d");
        let long = one_line(&"x".repeat(10_000));
        assert_eq!(long.chars().count(), MAX_LINE + 1);
    }

    #[test]
    fn long_lines_are_wrapped_between_words() {
        let text = "word ".repeat(20);
        let wrapped = wrapped(text.trim(), 44);
        let widths: Vec<_> = wrapped.lines().map(|line| line.trim().len()).collect();
        assert_eq!(widths, [44, 44, 9]);
        assert!(wrapped.contains("\n    word"));
    }

    #[test]
    fn programs_get_cells() {
        let lines = some().as_lines();
        assert!(lines.contains("to-do\tagent\tit does not run\tstart it\n"));
        assert!(lines.contains("fine\tclock\tit goes\t\n"));
    }
}
