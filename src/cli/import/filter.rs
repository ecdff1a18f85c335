//! Which of banjour's filters know what one of fail2ban's filters knows.

use std::collections::{BTreeMap, BTreeSet};

use super::quoted;

/// Words in the names of filters for mail servers and webmail that banjour has no filter for.
const WITHOUT_FILTER: [&str; 31] = [
    "amavis",
    "assp",
    "courier",
    "cyrus",
    "domino",
    "exim",
    "groupoffice",
    "haraka",
    "horde",
    "imap",
    "kerio",
    "mail",
    "milter",
    "opensmtpd",
    "oracleims",
    "perdition",
    "pop3",
    "postgrey",
    "qmail",
    "rainloop",
    "roundcube",
    "rspamd",
    "sendmail",
    "sieve",
    "smtp",
    "snappymail",
    "sogo",
    "spamassassin",
    "tine20",
    "vimbadmin",
    "zimbra",
];

/// What `filter = NAME[OPTION=VALUE,…]` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) name: String,
    pub(super) options: BTreeMap<String, String>,
}

/// What a jail for mail watches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Watched {
    /// banjour's filters for it; there may be none.
    pub(super) filters: BTreeSet<&'static str>,
    pub(super) notes: Vec<String>,
}

impl Choice {
    /// Reads a jail's `filter`.
    pub(super) fn read(text: &str) -> Self {
        let (name, options) = text.split_once('[').unwrap_or((text, ""));
        let mut choice = Self {
            name: name.trim().to_owned(),
            options: BTreeMap::new(),
        };
        let mut rest = options;
        while let Some((option, value)) = rest.split_once('=') {
            let value = value.trim_start();
            let quote = value.chars().next().filter(|c| ['"', '\''].contains(c));
            let value = value.trim_start_matches(['"', '\'']);
            let end = value.find(|c| quote.map_or([',', ']'].contains(&c), |quote| c == quote));
            let (value, after) = value.split_at(end.unwrap_or(value.len()));
            let option = option.trim_matches(|c: char| c.is_whitespace() || "[],\"'".contains(c));
            choice
                .options
                .insert(option.to_owned(), value.trim().to_owned());
            rest = after;
        }
        choice
    }

    /// What a jail with this filter watches; nothing, if that is not mail. `patterns` is the text of the filter's own
    /// file and of the jail's own patterns.
    pub(super) fn watched(&self, jail: &str, patterns: &str) -> Option<Watched> {
        let mode = self.options.get("mode").map(|mode| mode.to_lowercase());
        let mode = mode.as_deref();
        let filters: &[&str] = match (&*self.name, mode) {
            ("postfix", Some("auth")) | ("postfix-sasl" | "sasl", _) => &["postfix-sasl"],
            ("postfix", Some("ddos" | "errors")) => &["postfix-probe"],
            ("postfix", Some("extra")) => &["postfix-sasl", "postfix-reject"],
            ("postfix", Some("aggressive")) => &["postfix-sasl", "postfix-reject", "postfix-probe"],
            ("postfix" | "postfix-rbl", _) => &["postfix-reject"],
            ("dovecot", Some("aggressive")) => &["dovecot", "dovecot-probe"],
            ("dovecot", _) => &["dovecot"],
            _ => return self.own(jail, &patterns.to_lowercase()),
        };
        Some(Watched {
            filters: filters.iter().copied().collect(),
            notes: Vec::new(),
        })
    }

    /// A filter that fail2ban's mail filters do not include: judged by its patterns, and else by its name.
    fn own(&self, jail: &str, patterns: &str) -> Option<Watched> {
        let mut names = self.name.to_lowercase();
        if names.is_empty() || patterns.is_empty() {
            names = format!("{names} {}", jail.to_lowercase());
        }
        let mut filters = by_patterns(patterns);
        if filters.is_empty() {
            filters = by_name(&names);
        }
        if filters.is_empty() {
            let mail = WITHOUT_FILTER.iter().any(|word| names.contains(word));
            return mail.then(Watched::default);
        }
        let nearest = filters.iter().copied().collect::<Vec<_>>().join(", ");
        let note = format!(
            "filter {} is not one of fail2ban's own; nearest to it is {nearest}: try it with banjour replay --config FILE",
            quoted(&self.name)
        );
        Some(Watched {
            filters,
            notes: vec![note],
        })
    }
}

fn by_patterns(patterns: &str) -> BTreeSet<&'static str> {
    let any = |words: &[&str]| words.iter().any(|word| patterns.contains(word));
    let mut filters = BTreeSet::new();
    let postfix = any(&["postfix", "smtpd", "noqueue", "postscreen"]);
    let dovecot = any(&[
        "dovecot",
        "imap-login",
        "pop3-login",
        "managesieve-login",
        "rip=",
    ]);
    let mut add = |matches: bool, filter| matches.then(|| filters.insert(filter));
    add(any(&["saslauthd", "do_auth"]), "saslauthd");
    add(
        any(&["sasl"]) && !any(&["saslauthd"]) && (postfix || any(&["warning"])),
        "postfix-sasl",
    );
    add(any(&["noqueue", "reject"]) && postfix, "postfix-reject");
    let probes = [
        "lost connection",
        "timeout after",
        "pregreet",
        "hangup",
        "too many errors",
        "pipelining",
        "non-smtp",
    ];
    add(any(&probes) && postfix, "postfix-probe");
    let probes = [
        "no auth attempts",
        "didn't finish",
        "disconnected before auth",
        "tls handshak",
    ];
    add(any(&probes) && dovecot, "dovecot-probe");
    let failures = [
        "auth failed",
        "authentication failure",
        "mismatch",
        "unknown user",
        "pam_authenticate",
    ];
    add(any(&failures) && dovecot, "dovecot");
    filters
}

fn by_name(names: &str) -> BTreeSet<&'static str> {
    let any = |words: &[&str]| words.iter().any(|word| names.contains(word));
    let filter = if any(&["saslauthd"]) {
        "saslauthd"
    } else if any(&["sasl"]) || any(&["postfix"]) && any(&["auth", "login"]) {
        "postfix-sasl"
    } else if any(&["postfix", "postscreen"])
        && any(&["ddos", "error", "probe", "postscreen", "connection"])
    {
        "postfix-probe"
    } else if any(&["postfix"]) {
        "postfix-reject"
    } else if any(&["dovecot"]) {
        "dovecot"
    } else {
        return BTreeSet::new();
    };
    BTreeSet::from([filter])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(choice: &str, jail: &str, patterns: &str) -> String {
        match Choice::read(choice).watched(jail, patterns) {
            None => "-".to_owned(),
            Some(watched) => watched.filters.into_iter().collect::<Vec<_>>().join(" "),
        }
    }

    #[test]
    fn modes_choose_the_filters() {
        for (choice, expected) in [
            ("postfix", "postfix-reject"),
            ("postfix[mode=more]", "postfix-reject"),
            ("postfix[mode=auth]", "postfix-sasl"),
            (
                "postfix[logtype=journal, mode=\"extra\"]",
                "postfix-reject postfix-sasl",
            ),
            (
                "postfix[a='x,y'][mode=aggressive]",
                "postfix-probe postfix-reject postfix-sasl",
            ),
            ("postfix[mode=ddos]", "postfix-probe"),
            ("postfix[mode=errors]", "postfix-probe"),
            ("postfix[mode=rbl]", "postfix-reject"),
            ("dovecot[mode=normal]", "dovecot"),
            ("dovecot[mode=aggressive]\n", "dovecot dovecot-probe"),
            ("postfix-sasl[mode=normal]", "postfix-sasl"),
            ("sasl", "postfix-sasl"),
            ("sieve[mode=normal]", ""),
            ("cyrus-imap", ""),
            ("exim-spam", ""),
            ("roundcube-auth", ""),
            ("sshd[mode=aggressive]", "-"),
            ("recidive", "-"),
            ("", "-"),
        ] {
            assert_eq!(filters(choice, "jail", ""), expected, "{choice}");
        }
    }

    #[test]
    fn hand_written_filters_are_judged_by_patterns_and_then_by_name() {
        for (choice, jail, patterns, expected) in [
            (
                "mine",
                "mine",
                r"lost connection after AUTH from .*\[<HOST>\]  _daemon = postfix/smtpd",
                "postfix-probe",
            ),
            (
                "mine",
                "mine",
                r"warning: \S+\[<HOST>\]: SASL \w+ authentication failed",
                "postfix-sasl",
            ),
            (
                "postfix-auth",
                "postfix-auth",
                r"postfix/smtpd: too many errors after AUTH",
                "postfix-probe",
            ),
            ("postfix-auth", "postfix-auth", "", "postfix-sasl"),
            (
                "mine",
                "spam",
                r"NOQUEUE: reject: RCPT from \S+\[<HOST>\]: 550",
                "postfix-reject",
            ),
            (
                "mine",
                "mine",
                r"imap-login: .* \(auth failed, .* rip=<HOST>",
                "dovecot",
            ),
            (
                "mine",
                "mine",
                r"pop3-login: .* \(no auth attempts .* rip=<HOST>",
                "dovecot-probe",
            ),
            ("dovecot-pop3imap", "dovecot-pop3imap", "", "dovecot"),
            ("saslauthd", "saslauthd", "", "saslauthd"),
            ("mine", "my-dovecot", "", "dovecot"),
            ("webmail", "webmail", r"login failed from <HOST>", ""),
            ("", "my-smtp", r"login failed from <HOST>", ""),
            ("sshd", "mail-ssh", r"login failed from <HOST>", "-"),
            ("mine", "shop", r"login failed from <HOST>", "-"),
            ("nginx", "nginx", "limiting requests, reject <HOST>", "-"),
        ] {
            assert_eq!(
                filters(choice, jail, patterns),
                expected,
                "{choice} {patterns}"
            );
        }
    }
}
