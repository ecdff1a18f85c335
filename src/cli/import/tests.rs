use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::read::Import;
use crate::config::Config;
use crate::history::Growth;

/// A directory with these files, as fail2ban's configuration.
pub(super) fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

/// In the style of the package's own file: every jail is there, none is enabled.
const JAIL_CONF: &str = "\
[INCLUDES]
before = paths.conf

[DEFAULT]
bantime = 10m
findtime = 10m
maxretry = 5
enabled = false
mode = normal
filter = %(__name__)s[mode=%(mode)s]
banaction = iptables-multiport
action_ = %(banaction)s[port=\"%(port)s\"]
action_mail = %(action_)s
              sendmail-whois[dest=\"%(destemail)s\"]
action = %(action_)s
destemail = root@localhost
port = 0:65535

[sshd]
port = ssh
[postfix]
mode = more
port = smtp,465,submission
logpath = %(mail_log)s
[postfix-sasl]
filter = postfix[mode=auth]
port = smtp,465,submission
[dovecot]
port = imap,imaps
[roundcube-auth]
port = http,https
";

fn import(files: &[(&str, &str)]) -> Result<Import, String> {
    let paths = "[DEFAULT]\nmail_log = /var/log/mail.log\n";
    let directory =
        directory(&[&[("jail.conf", JAIL_CONF), ("paths.conf", paths)], files].concat());
    let prefix = format!("{}/", directory.path().display());
    Import::read(directory.path()).map_err(|error| error.to_string().replace(&prefix, ""))
}

/// What banjour's own code makes of settings; all jails in short, and the sources that are ignored.
fn accepted(toml: &str) -> (Vec<String>, Vec<String>) {
    let directory = directory(&[("fail2ban.toml", toml)]);
    let config = Config::try_file(directory.path(), &directory.path().join("fail2ban.toml"));
    let config = config.unwrap_or_else(|error| panic!("{error}\n{toml}"));
    let jails = config.jails.iter().filter(|(name, _)| &***name != "manual");
    let short = jails.map(|(name, jail)| {
        let filters: Vec<_> = jail.filters.iter().map(String::as_str).collect();
        let (rule, filters) = (jail.rule, filters.join("+"));
        let growth = jail.growth;
        let growth = match (growth.factor, growth.longest == Growth::default().longest) {
            (1, _) => String::new(),
            (factor, true) => format!(" x{factor}"),
            (factor, false) => format!(" x{factor} up to {}", growth.longest.as_secs()),
        };
        format!(
            "{name} {filters} {} {} {}{growth}",
            rule.attempts,
            rule.window.as_secs(),
            rule.ban_time.as_secs()
        )
    });
    let ignore = config.ignore.entries.iter().map(ToString::to_string);
    (short.collect(), ignore.collect())
}

const UNTOUCHED: [&str; 2] = [
    "dovecot dovecot 3 3600 3600 x2",
    "postfix-sasl postfix-sasl 3 3600 3600 x2",
];

#[test]
fn where_no_mail_jail_is_enabled_banjours_own_stay_as_they_are() {
    let toml = import(&[("jail.d/debian.conf", "[sshd]\nenabled = true\n")])
        .unwrap()
        .as_toml();
    assert_eq!(accepted(&toml).0, UNTOUCHED);
    for part in [
        "there is nothing to take over",
        "leave them to fail2ban: sshd",
        "has no jail dovecot enabled",
        "# [jail.postfix-sasl]\n# enabled = false\n",
    ] {
        assert!(toml.contains(part), "{part}: {toml}");
    }
}

#[test]
fn a_howtos_jails_become_banjours() {
    let local = "\
[DEFAULT]
ignoreip = 127.0.0.1/8 ::1 198.51.100.0/24, 203.0.113.0/255.255.255.128 office.example
bantime = 1d   ; a day
action = %(action_mail)s
[sshd]
enabled = true
[postfix]
enabled = true
mode = aggressive
maxretry = 2000
[postfix-sasl]
enabled = yes
maxretry = 4
bantime = -1
[dovecot]
enabled = true
mode = aggressive
findtime = 1d12h
bantime.increment = true
bantime.maxtime = 5w
bantime.factor = 4
[roundcube-auth]
enabled = true
[manual]
enabled = true
filter = dovecot
ignoreip = 192.0.2.9
ignorecommand = /usr/local/bin/known <ip>
failregex = ^<HOST>$
[my jail]
enabled = true
filter = dovecot
action = %(action_)s
         cloudflare[token=\"]\"]
";
    let import = import(&[("jail.local", local)]).unwrap();
    let toml = import.as_toml();
    let (jails, ignore) = accepted(&toml);
    assert_eq!(
        jails,
        [
            "dovecot dovecot+dovecot-probe 5 129600 86400 x2 up to 3024000",
            "manual-2 dovecot 5 600 86400",
            "my-jail dovecot 5 600 86400",
            "postfix postfix-probe+postfix-reject+postfix-sasl 1000 600 86400",
            "postfix-sasl postfix-sasl 4 600 315360000",
        ]
    );
    for source in [
        "198.51.100.0/24",
        "203.0.113.0/25",
        "192.0.2.9",
        "127.0.0.0/8",
        "office.example",
    ] {
        assert!(ignore.contains(&source.to_owned()), "{source}: {ignore:?}");
    }
    let flat = toml.replace("\n# ", " ");
    for part in [
        "maxretry = 2000: attempts are 1 to 1000",
        "bantime = -1 is for ever",
        "bantime.factor: there is no equivalent",
        "192.0.2.9 was for manual alone",
        "ignorecommand",
        "failregex: patterns of your own",
        "action sendmail-whois: banjour sends no mail",
        "action cloudflare: banjour does nothing but ban",
        "fail2ban's name for it is \"my jail\"",
        "no filter for them: roundcube-auth.",
        "leave them to fail2ban: sshd.",
        "a maxretry that was raised because of that can go back down",
        "#   [my jail]\n#   enabled = false",
    ] {
        assert!(flat.contains(part) || toml.contains(part), "{part}: {toml}");
    }
    assert_eq!(toml.matches("logpath").count(), 1, "not noise: {toml}");
}

/// Debian and Fedora ship these beside the file that both have from upstream.
#[test]
fn what_distributions_lay_over_is_read() {
    let common = "[DEFAULT]\nsyslog_mail_warn = /var/log/warn\ndovecot_log = %(syslog_mail_warn)s\n\
                  default_backend = auto\ndovecot_backend = %(default_backend)s\n";
    let fedora = "[INCLUDES]\nbefore = paths-common.conf\nafter = paths-overrides.local\n\
                  [DEFAULT]\nsyslog_mail_warn = /var/log/maillog\n";
    let jails = JAIL_CONF
        .replace("before = paths.conf", "before = paths-fedora.conf")
        .replace(
            "[dovecot]\n",
            "[dovecot]\nlogpath = %(dovecot_log)s\nbackend = %(dovecot_backend)s\n",
        )
        .replace("%(mail_log)s", "%(syslog_mail_warn)s");
    let firewalld = "# Written by the package\n[DEFAULT]\nbanaction = firewallcmd-rich-rules[actiontype=<multiport>]\n\
                     banaction_allports = firewallcmd-rich-rules[actiontype=<allports>]\n";
    let local = "[DEFAULT]\nbantime = 1h\nbantime.increment = true\nfindtime = 1h\nmaxretry = 4\n\
                 [sshd]\nenabled = true\n[dovecot]\nenabled = true\n[postfix-sasl]\nenabled = true\n";
    let fedora = [
        ("jail.conf", &*jails),
        ("paths-common.conf", common),
        ("paths-fedora.conf", fedora),
        ("jail.d/00-firewalld.conf", firewalld),
        ("jail.d/00-systemd.conf", "[DEFAULT]\nbackend=systemd\n"),
        ("jail.local", local),
    ];
    let debian = [
        (
            "jail.d/defaults-debian.conf",
            "[DEFAULT]\nbanaction = nftables\nbanaction_allports = nftables[type=allports]\nbackend = systemd\n\n\
             [sshd]\nenabled = true\n",
        ),
        ("jail.local", local),
    ];
    for files in [&fedora[..], &debian] {
        let import = import(files).unwrap();
        let toml = import.as_toml();
        assert_eq!(
            accepted(&toml).0,
            [
                "dovecot dovecot 4 3600 3600 x2",
                "postfix-sasl postfix-sasl 4 3600 3600 x2"
            ]
        );
        assert_eq!(import.others, ["sshd"]);
        let notes = import.jails.iter().flat_map(|jail| &jail.notes);
        assert_eq!(notes.chain(&import.notes).count(), 0, "{toml}");
    }
}

#[test]
fn a_jail_that_counts_logins_too_is_told_to_stand_beside_banjours_own() {
    let local = "[postfix]\nenabled = true\nmode = extra\n";
    let toml = import(&[("jail.local", local)]).unwrap().as_toml();
    let (jails, _) = accepted(&toml);
    assert!(
        jails.contains(&"postfix postfix-reject+postfix-sasl 5 600 600".to_owned()),
        "{jails:?}"
    );
    assert!(
        UNTOUCHED
            .iter()
            .all(|jail| jails.contains(&(*jail).to_owned())),
        "{jails:?}"
    );
    assert!(
        toml.contains("postfix has filter postfix-sasl too"),
        "{toml}"
    );
}

#[test]
fn a_filter_of_ones_own_is_judged_by_its_file() {
    let filter = "[Definition]\n_daemon = postfix/smtpd\nfailregex = lost connection after AUTH from \\S+\\[<HOST>\\]\n";
    let local = "[DEFAULT]\nenabled = false\n[auth]\nenabled = true\nfilter = auth\n[dovecot]\nenabled = true\n";
    let files = [
        ("filter.d/auth.conf", filter),
        ("filter.d/dovecot.local", filter),
        ("jail.local", local),
    ];
    let import = import(&files).unwrap();
    let filters: Vec<_> = import
        .jails
        .iter()
        .map(|jail| jail.filters.first().copied())
        .collect();
    assert_eq!(filters, [Some("postfix-probe"), Some("dovecot")]);
    assert!(import.jails[0].notes[0].contains("nearest to it is postfix-probe"));
    assert!(import.jails[1].notes[0].starts_with("filter.d/dovecot.local: patterns of your own"));
}

#[test]
fn what_fail2ban_cannot_use_either_is_refused_in_one_line() {
    for (local, expected) in [
        (
            "[dovecot]\nenabled = true\nbantime = soon\n",
            "jail.local:3: [dovecot] bantime: \"soon\" is not a time such as \"600\", \"10m\", \"1h\" or \"1d\"",
        ),
        (
            "[dovecot]\nenabled = true\nmaxretry = 3 # three\n",
            "jail.local:3: [dovecot] maxretry: \"3 # three\" is not a whole number",
        ),
        (
            "[DEFAULT]\nmaxretry = %(attempts)s\nattempts = %(maxretry)s\n[dovecot]\nenabled = true\n",
            "jail.local:2: [dovecot] maxretry: leads back to itself, or more than 10 levels deep",
        ),
        (
            "enabled = true\n",
            "jail.local:1: \"enabled = true\" stands before the first [section]",
        ),
    ] {
        assert_eq!(import(&[("jail.local", local)]).unwrap_err(), expected);
    }
    let error = Import::read(Path::new("/nonexistent"))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("/nonexistent: there is no jail.conf"),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_stands_there_ends_in_settings_that_are_accepted(
        jail in "[^\r\n]{1,80}",
        filter in "(postfix|dovecot)(\\[mode=(auth|extra|aggressive)\\])?|[^\r\n%;]{0,40}",
        ignore in "([0-9a-f.:/]{1,20} ?){0,5}|[^\r\n%;]{0,200}",
        maxretry: i64,
        findtime in -1e12..1e12f64,
        bantime in "-?[0-9]{1,15}[smhdwy]?",
        action in "[^\r\n%;]{0,60}",
    ) {
        let local = format!(
            "[{jail}]\nenabled = true\nfilter = {filter}\nignoreip = {ignore}\nmaxretry = {maxretry}\n\
             findtime = {findtime:.0}\nbantime = {bantime}\naction = {action}\nfailregex = dovecot imap-login\n"
        );
        match import(&[("jail.local", &local)]) {
            Ok(import) => drop(accepted(&import.as_toml())),
            Err(error) => prop_assert_eq!(error.lines().count(), 1),
        }
    }

    #[test]
    fn no_bytes_are_too_much(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        text in "(\\[[a-z]{1,3}\\]|[a-z]{1,3} ?[=:] ?(%\\([a-z/]{1,5}\\)s|true|[#;%]|[a-z])*|[ \t]|\n|\r){0,60}",
    ) {
        for bytes in [bytes, text.into_bytes()] {
            let directory = directory(&[("jail.conf", JAIL_CONF), ("paths.conf", "")]);
            fs::write(directory.path().join("jail.local"), bytes).unwrap();
            match Import::read(directory.path()) {
                Ok(import) => drop(accepted(&import.as_toml())),
                Err(error) => prop_assert_eq!(error.to_string().lines().count(), 1),
            }
        }
    }
}
