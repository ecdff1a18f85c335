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

const HELP: &str = "\
What you see
  The head: the firewall, how many sources it keeps out, failed logins and
    bans per minute; in red, what is wrong with protection.
  Top sources: who fails most, within the jails' windows.
  Accounts: whose names strangers try; with ! those under attack, where
    the first failure bans.
  Events: failed logins (attempt), bans, lifted bans (unban), bans that were
    not made (ignored: the source is on the list ignore), accounts that come
    under attack. x3: three in that second.

Keys
  Up, Down, PgUp, PgDn, Home   select, and stop the lines where they are
  End, Esc                     follow what comes again
  Space                        stop the lines, or let them go on
  Tab                          go to the sources, the accounts, the events
  Enter or e                   explain the selected source: why it is banned,
                               or not; of an account: show its events alone
  b    ban a source: ADDRESS or PREFIX, then a jail and a time if you like,
       as in \"198.51.100.0/24 dovecot 2h\"
  l    lift all bans of a source, and forgive what it did
  /    show only lines with these words: an address, a jail, a name, \"ban\"
  p    all problems, in full
  Ctrl-L  draw the screen again
  q    quit

banjour watch | grep bob      plain lines, for other programs
banjour watch --json          one object for each event
NO_COLOR=1 banjour watch      without colours";

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
