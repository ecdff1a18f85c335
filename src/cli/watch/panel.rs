//! A panel over the window: an explanation, the problems, the help. One can scroll in it.

/// A panel.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) lines: Vec<String>,
    /// Whom it is about, so that keys can ban and lift.
    pub(super) source: Option<String>,
    /// The first line that is shown.
    pub(super) first: usize,
}

/// Fits into 80x24.
const HELP: &str = "\
Up Down PgUp PgDn Home   select a line, which stops them; End: go on
Space                    stop the lines, or let them go on
Tab                      to the next box: sources, accounts, events
Enter, e                 why the selected source is banned, or is not;
                         of an account: show its events alone
b                        ban: ADDRESS or PREFIX [JAIL] [TIME]
l                        lift a source's bans, and forgive what it did
/                        show only lines with these words
p                        all problems in full
Esc                      one step back
Ctrl-L                   draw it all again
q                        quit

Top sources: who fails most, within the jails' windows. Accounts with !
are under attack: the first failure as one of them bans.
Events: attempt, a failed login (x3: three in that second); BAN; unban;
ignored, no ban since the source is on the list \"ignore\"; ATTACK, many
sources fail for one account.

For other programs: banjour watch | grep bob; banjour watch --json";

impl Panel {
    pub(super) fn new(title: String, lines: Vec<String>, source: Option<String>) -> Self {
        Self {
            title,
            lines,
            source,
            first: 0,
        }
    }

    pub(super) fn help() -> Self {
        let lines = HELP.lines().map(str::to_owned).collect();
        Self::new("Help".to_owned(), lines, None)
    }

    pub(super) fn problems(problems: &[String]) -> Self {
        let mut lines = Vec::new();
        for problem in problems {
            lines.extend([problem.clone(), String::new()]);
        }
        if lines.is_empty() {
            lines.push("There is no problem.".to_owned());
        }
        Self::new("Problems".to_owned(), lines, None)
    }

    /// Moves so many lines down, or up.
    pub(super) fn scroll(&mut self, by: isize) {
        let last = self.lines.len().saturating_sub(1);
        self.first = self.first.saturating_add_signed(by).min(last);
    }
}
