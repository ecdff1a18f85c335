//! What Postfix and Dovecot say of themselves: whether they log to the journal at all, and how they check passwords.

use super::Host;
use super::agent::AS_ROOT;
use super::report::{Group::Mail, Report};
use crate::cli::program::{self, Settings, installed, output, settings};
use crate::units::Daemon;

const DOVECONF: [&str; 2] = ["/usr/bin/doveconf", "/usr/local/bin/doveconf"];
const POSTCONF: [&str; 2] = ["/usr/sbin/postconf", "/usr/local/sbin/postconf"];

/// Where Dovecot's lines end up in the journal: what it writes to its standard error, systemd takes.
const TO_JOURNAL: [&str; 3] = ["syslog", "/dev/stderr", "/dev/stdout"];

pub(super) async fn look(report: &mut Report, host: &Host) {
    if let Some(path) = installed(&DOVECONF) {
        let names = [
            "log_path",
            "info_log_path",
            "auth_verbose",
            "auth_verbose_passwords",
        ];
        match settings(path, &names).await {
            Ok(settings) => dovecot(report, &settings),
            Err(error) => not_asked(report, Daemon::Dovecot, host, &error),
        }
    }
    if let Some(path) = installed(&POSTCONF) {
        for directory in instances(path).await {
            match Postfix::ask(path, directory.as_deref()).await {
                Ok(postfix) => postfix.tell(report),
                Err(error) => not_asked(report, Daemon::Postfix, host, &error),
            }
        }
    }
}

fn not_asked(report: &mut Report, daemon: Daemon, host: &Host, error: &str) {
    let what = format!("cannot ask {daemon} where it logs to: {error}");
    if host.is_root {
        report.do_this(Mail, what, format!("correct {daemon}'s configuration"));
    } else {
        report.unknown(Mail, what, AS_ROOT);
    }
}

fn dovecot(report: &mut Report, settings: &Settings) {
    let elsewhere = ["log_path", "info_log_path"].into_iter().find_map(|name| {
        let mut values = settings.get(name)?.iter();
        let value = values.find(|value| {
            // Without a value of its own, info goes where everything goes.
            !(TO_JOURNAL.contains(&value.as_str()) || name == "info_log_path" && value.is_empty())
        })?;
        Some((name, value))
    });
    match elsewhere {
        None => report.fine(Mail, "Dovecot logs to the journal"),
        Some((name, value)) => report.do_this(
            Mail,
            format!("Dovecot does not log to the journal, but to {value:?} ({name}): nobody who guesses there is seen"),
            "take log_path and info_log_path out of Dovecot's configuration (grep -rn log_path /etc/dovecot), then: systemctl restart dovecot",
        ),
    }
    let is = |name: &str, value: &str| {
        let mut values = settings.get(name).into_iter().flatten();
        values.any(|one| one == value)
    };
    if is("auth_verbose", "yes") {
        report.fine(
            Mail,
            "Dovecot tells of each wrong password at once (auth_verbose)",
        );
    } else {
        report.advise(
            Mail,
            "Dovecot tells of wrong passwords only when a connection ends, and not if a right one follows (auth_verbose = no)",
            "auth_verbose = yes in /etc/dovecot/conf.d/10-logging.conf, then: systemctl reload dovecot",
        );
    }
    if is("auth_verbose_passwords", "plain") {
        report.advise(
            Mail,
            "Dovecot writes passwords into the journal (auth_verbose_passwords = plain)",
            "auth_verbose_passwords = sha1 does as well, and shows banjour who repeats one",
        );
    }
}

/// The configuration directories of Postfix' instances; `None` is the usual one (postmulti(1)).
async fn instances(postconf: &str) -> Vec<Option<String>> {
    let mut all = vec![None];
    let more = output(postconf, &["-h", "multi_instance_directories"]).await;
    let more = more.unwrap_or_default();
    all.extend(
        more.split([' ', ',', '\n'])
            .filter(|d| !d.is_empty())
            .map(|d| Some(d.to_owned())),
    );
    all
}

/// One instance.
struct Postfix {
    name: String,
    log_file: String,
    /// Whether clients may log in somewhere.
    takes_logins: bool,
    sasl: String,
}

impl Postfix {
    async fn ask(postconf: &str, directory: Option<&str>) -> Result<Self, String> {
        let place: Vec<&str> = directory.into_iter().flat_map(|d| ["-c", d]).collect();
        let names = ["maillog_file", "smtpd_sasl_auth_enable", "smtpd_sasl_type"];
        let of_all = settings(postconf, &[&place[..], &names].concat()).await?;
        let first = |settings: &program::Settings, name: &str| {
            let values = settings.get(name).into_iter().flatten();
            values
                .map(String::as_str)
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        // A service of master.cf may have its own value: "submission/inet/smtpd_sasl_auth_enable = yes".
        let of_services = settings(postconf, &[&place[..], &["-P"]].concat()).await;
        let of_services = of_services.unwrap_or_default();
        let enabled = of_services
            .iter()
            .filter(|(name, _)| name.ends_with("/smtpd_sasl_auth_enable"));
        let mut values = enabled.flat_map(|(_, values)| values);
        Ok(Self {
            name: directory.map_or("Postfix".to_owned(), |d| format!("Postfix in {d}")),
            log_file: first(&of_all, "maillog_file"),
            takes_logins: first(&of_all, "smtpd_sasl_auth_enable") == "yes"
                || values.any(|value| value == "yes"),
            sasl: first(&of_all, "smtpd_sasl_type"),
        })
    }

    fn tell(&self, report: &mut Report) {
        let Self { name, log_file, .. } = self;
        if log_file.is_empty() {
            report.fine(Mail, format!("{name} logs to the journal"));
        } else {
            report.do_this(
                Mail,
                format!("{name} does not log to the journal, but to {log_file:?} (maillog_file): nobody who guesses there is seen"),
                "postconf -X maillog_file; systemctl restart postfix",
            );
        }
        if !self.takes_logins {
            report.fine(
                Mail,
                format!("{name} lets nobody log in (smtpd_sasl_auth_enable)"),
            );
        } else if self.sasl == "cyrus" {
            report.fine(
                Mail,
                format!("{name} has passwords checked by Cyrus; its own lines tell of failures, saslauthd's are not needed"),
            );
        } else {
            report.fine(
                Mail,
                format!("{name} has passwords checked by {}", capital(&self.sasl)),
            );
        }
    }
}

fn capital(word: &str) -> String {
    match word {
        "dovecot" => Daemon::Dovecot.to_string(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::new();
        for (name, value) in pairs {
            settings
                .entry((*name).to_owned())
                .or_default()
                .push((*value).to_owned());
        }
        settings
    }

    #[test]
    fn dovecot_is_blamed_for_files_only() {
        for (path, info, to_do) in [
            ("syslog", "", 0),
            ("/dev/stderr", "", 0),
            ("/var/log/dovecot.log", "", 1),
            ("syslog", "/var/log/dovecot-info.log", 1),
            ("", "syslog", 1),
        ] {
            let mut report = Report::default();
            dovecot(
                &mut report,
                &settings(&[("log_path", path), ("info_log_path", info)]),
            );
            assert_eq!(report.to_do(), to_do, "{path} {info}");
        }
    }
}
