//! What the terminal can show: colours or none, and which characters.

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::{bar, border};
use unicode_width::UnicodeWidthChar;

/// Terminals with neither colours nor characters beyond ASCII, or none that can be relied on.
const OLD: [&str; 5] = ["vt100", "vt102", "vt220", "vt320", "ansi-m"];

const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

const ASCII_BAR: bar::Set<'static> = bar::Set {
    full: "#",
    seven_eighths: "#",
    three_quarters: "#",
    five_eighths: "=",
    half: "=",
    three_eighths: "-",
    one_quarter: "-",
    one_eighth: "_",
    empty: " ",
};

/// How the window is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    colour: bool,
    characters: Characters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Characters {
    All,
    /// The Linux console has lines, and of the blocks three.
    Few,
    Ascii,
}

impl Look {
    /// By the environment's variables; none if the terminal has no cursor that can be placed.
    pub(super) fn of(variable: impl Fn(&str) -> String) -> Option<Self> {
        let term = variable("TERM");
        if ["", "dumb", "unknown"].contains(&term.as_str()) {
            return None;
        }
        // As setlocale(3) looks for them.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(&variable);
        let locale = locale.iter().find(|locale| !locale.is_empty());
        let utf8 = locale.is_some_and(|locale| {
            let locale = locale.to_lowercase();
            locale.ends_with("utf-8") || locale.ends_with("utf8")
        });
        let old = OLD.iter().any(|old| term.starts_with(old));
        let characters = match term.as_str() {
            _ if old || !utf8 => Characters::Ascii,
            "linux" => Characters::Few,
            _ => Characters::All,
        };
        let colour = !old && !term.ends_with("-mono") && variable("NO_COLOR").is_empty();
        Some(Self { colour, characters })
    }

    pub(super) fn style(self, colour: Color, modifier: Modifier) -> Style {
        let style = Style::new().add_modifier(modifier);
        if self.colour { style.fg(colour) } else { style }
    }

    /// What matters less.
    pub(super) fn faint() -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Lines around boxes. Some people's dark grey can't be read, so that no text has it.
    pub(super) fn frame(self) -> Style {
        self.style(Color::DarkGray, Modifier::empty())
    }

    /// What is wrong, as a bar.
    pub(super) fn alarm(self) -> Style {
        if self.colour {
            Style::new().fg(Color::White).bg(Color::Red).bold()
        } else {
            Style::new().reversed().bold()
        }
    }

    /// The head and the last line.
    pub(super) fn bar() -> Style {
        Style::new().reversed()
    }

    pub(super) fn border(self) -> border::Set<'static> {
        match self.characters {
            Characters::Ascii => ASCII_BORDER,
            _ => border::PLAIN,
        }
    }

    pub(super) fn bars(self) -> bar::Set<'static> {
        match self.characters {
            Characters::All => bar::NINE_LEVELS,
            Characters::Few => bar::THREE_LEVELS,
            Characters::Ascii => ASCII_BAR,
        }
    }

    /// The same text in characters that the terminal has.
    pub(super) fn text(self, text: &str) -> String {
        if self.characters != Characters::Ascii {
            return text.to_owned();
        }
        let plain = |c: char| match c {
            '…' => "~".to_owned(),
            '×' => "x".to_owned(),
            '·' => "|".to_owned(),
            '↑' => "^".to_owned(),
            '↓' => "v".to_owned(),
            c if c.is_ascii() => c.to_string(),
            c => "?".repeat(c.width().unwrap_or_default()),
        };
        text.chars().map(plain).collect()
    }

    #[cfg(test)]
    pub(super) const COLOURED: Self = Self {
        colour: true,
        characters: Characters::All,
    };
    #[cfg(test)]
    pub(super) const PLAIN: Self = Self {
        colour: false,
        characters: Characters::Ascii,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_what_the_terminal_can() {
        for (variables, colour, characters) in [
            (
                &["TERM=xterm-256color", "LANG=C.UTF-8"][..],
                true,
                Characters::All,
            ),
            (
                &["TERM=xterm", "LANG=de_DE.utf8", "NO_COLOR=1"],
                false,
                Characters::All,
            ),
            (
                &["TERM=xterm", "LANG=C.UTF-8", "LC_ALL=C"],
                true,
                Characters::Ascii,
            ),
            (&["TERM=xterm"], true, Characters::Ascii),
            (&["TERM=linux", "LC_CTYPE=C.UTF-8"], true, Characters::Few),
            (&["TERM=vt100", "LANG=C.UTF-8"], false, Characters::Ascii),
            (
                &["TERM=screen", "LANG=C.UTF-8", "NO_COLOR="],
                true,
                Characters::All,
            ),
        ] {
            let variable = |name: &str| {
                let of = |set: &&str| Some(set.strip_prefix(name)?.strip_prefix('=')?.to_owned());
                variables.iter().find_map(of).unwrap_or_default()
            };
            let look = Look { colour, characters };
            assert_eq!(Look::of(variable), Some(look), "{variables:?}");
        }
        for term in ["", "dumb"] {
            assert_eq!(
                Look::of(|name| if name == "TERM" {
                    term.to_owned()
                } else {
                    String::new()
                }),
                None
            );
        }
    }
}
