use std::fs;
use std::time::Duration;

use super::*;

fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn load(files: &[(&str, &str)]) -> Result<Config, String> {
    let root = root(files);
    let prefix = format!("{}/", root.path().display());
    Config::load(root.path()).map_err(|error| error.to_string().replace(&prefix, ""))
}

fn ignored(config: &Config) -> Vec<String> {
    let entries = config.ignore.entries.iter();
    entries.map(ToString::to_string).collect()
}

#[test]
fn defaults_are_what_mail_admins_know() {
    let config = load(&[]).unwrap();
    assert_eq!(
        config.jails.keys().map(|name| &**name).collect::<Vec<_>>(),
        ["dovecot", "manual", "postfix-sasl"]
    );
    let hour = Duration::from_hours(1);
    for (name, jail) in &config.jails {
        assert_eq!(
            (
                jail.rule.attempts.get(),
                jail.rule.window,
                jail.rule.ban_time
            ),
            (3, hour, hour),
            "{name}"
        );
    }
    assert_eq!(ignored(&config), ["127.0.0.0/8", "::1"]);
    assert!(!config.ignore.private);
    assert_eq!(
        config
            .filters
            .keys()
            .map(|name| &**name)
            .collect::<Vec<_>>(),
        ["dovecot", "postfix-sasl"]
    );
}

#[test]
fn drop_ins_are_laid_over_in_order_of_name_and_etc_hides_usr() {
    let config = load(&[
        (
            "usr/lib/banjour/banjour.toml",
            "[jail.dovecot]\nattempts = 9",
        ),
        (
            "etc/banjour/banjour.toml",
            "ignore = [\"192.0.2.0/24\", \"/etc/x\", \"office.example\"]\n[jail.dovecot]\nwindow = \"2h\"",
        ),
        (
            "usr/lib/banjour/banjour.toml.d/20-b.toml",
            "[jail.dovecot]\nattempts = 7\nban-time = \"1d\"",
        ),
        (
            "run/banjour/banjour.toml.d/10-a.toml",
            "ignore-private = true\n[jail.dovecot]\nattempts = 5\n[jail.postfix-sasl]\nenabled = false",
        ),
        ("usr/lib/banjour/banjour.toml.d/30-masked.toml", "nonsense"),
        ("etc/banjour/banjour.toml.d/30-masked.toml", ""),
    ])
    .unwrap();
    let rule = config.jails["dovecot"].rule;
    assert_eq!(
        (
            rule.attempts.get(),
            rule.window.as_secs(),
            rule.ban_time.as_secs()
        ),
        (7, 7200, 86400)
    );
    assert!(
        !config.jails.contains_key("postfix-sasl") && !config.filters.contains_key("postfix-sasl")
    );
    assert_eq!(
        ignored(&config),
        ["192.0.2.0/24", "/etc/x", "office.example"]
    );
    assert!(config.ignore.private);
}

#[test]
fn an_error_is_one_line_with_file_key_value_and_what_is_allowed() {
    for (text, expected) in [
        (
            "firewall = \"ufw\"",
            "etc/banjour/banjour.toml:1: firewall: unknown variant `ufw`, expected one of `auto`, `firewalld`, \
             `nftables`, `iptables`",
        ),
        (
            "ipv6-prefix = 60",
            "etc/banjour/banjour.toml:1: ipv6-prefix: 60 is not one of 128, 64, 56, 48",
        ),
        (
            "network-sources = -1",
            "etc/banjour/banjour.toml:1: network-sources: -1 is not a whole number from 0 to 1000",
        ),
        (
            "[jail.dovecot]\nban-time-factor = 1.5",
            "etc/banjour/banjour.toml:2: jail.dovecot.ban-time-factor: invalid type: floating point `1.5`, expected i64",
        ),
        (
            "[jail.dovecot]\nmax-sources = 5",
            "etc/banjour/banjour.toml:2: jail.dovecot.max-sources: 5 is not a whole number from 1000 to 2000000",
        ),
        (
            "ports = \"25\"",
            "etc/banjour/banjour.toml:1: ports: unknown variant `25`, expected `mail` or `all`",
        ),
        (
            "ignore = [\"::1\", \"localhost\"]",
            "etc/banjour/banjour.toml:1: ignore[1]: \"localhost\" is not an address such as \"192.0.2.7\" or \
             \"2001:db8::7\", nor a prefix such as \"192.0.2.0/24\", a file such as \"/etc/banjour/office\", or a host name \
             such as \"office.example\"",
        ),
        (
            "[jail.dovecot]\nattempts = 0",
            "etc/banjour/banjour.toml:2: jail.dovecot.attempts: 0 is not a whole number from 1 to 1000",
        ),
        (
            "[jail.dovecot]\n\nattempts = \"3\"",
            "etc/banjour/banjour.toml:3: jail.dovecot.attempts: invalid type: string \"3\", expected i64",
        ),
        (
            "[jail.dovecot]\nwindow = \"0s\"",
            "etc/banjour/banjour.toml:2: jail.dovecot.window: \"0s\" is not a time from one second to ten years, such as \
             \"90s\", \"60min\", \"2h\" or \"1d\"",
        ),
        (
            "[jail.dovecot]\nfindtime = 600",
            "etc/banjour/banjour.toml:2: jail.dovecot.findtime: unknown field `findtime`, expected one of `enabled`, \
             `filters`, `mode`, `attempts`, `customer-attempts`, `window`, `ban-time`, `ban-time-factor`, `ban-time-max`, \
             `ban-time-decay`, `max-sources`",
        ),
        (
            "[jail.dovecot]\nfilters = [\"dovecoat\"]",
            "etc/banjour/banjour.toml: jail.dovecot.filters: there is no filter \"dovecoat\"; there are: dovecot, \
             dovecot-probe, postfix-probe, postfix-reject, postfix-sasl, saslauthd",
        ),
        (
            "[jail.dovecot",
            "etc/banjour/banjour.toml:1: unclosed table, expected `]`",
        ),
    ] {
        assert_eq!(
            load(&[("etc/banjour/banjour.toml", text)]).unwrap_err(),
            expected
        );
    }
    let unknown = load(&[("etc/banjour/banjour.toml", "\nignor = 1")]).unwrap_err();
    let start =
        "etc/banjour/banjour.toml:2: ignor: unknown field `ignor`, expected one of `ignore`, ";
    assert!(unknown.starts_with(start), "{unknown}");
    let broken = load(&[("etc/banjour/banjour.toml", "\"a\\nb\" = 1")]).unwrap_err();
    let start = "etc/banjour/banjour.toml:1: a\\nb: unknown field `a\\nb`, expected one of ";
    assert!(broken.starts_with(start), "{broken}");
    let name = load(&[("etc/banjour/banjour.toml", "[jail.\"a b\"]\nattempts = 1")]).unwrap_err();
    assert!(name.contains("\"a b\" is not a jail's name"), "{name}");
}

#[test]
fn an_admins_filter_takes_the_place_of_a_shipped_one_and_its_faults_are_told() {
    let filter = |regex: &str| {
        format!(
            "description = \"x\"\nunits = [\"x.service\"]\nusers = [\"root\"]\n\
             [[pattern]]\nname = \"p\"\nkind = \"front\"\nregex = '''{regex}'''\n"
        )
    };
    let jail = ("etc/banjour/banjour.toml", "[jail.x]\nfilters = [\"x\"]");
    let load = |text: &str| load(&[jail, ("etc/banjour/filters/x.toml", text)]);
    assert!(load(&filter("^from (?<address>[0-9.]+)$")).is_ok());
    for (text, expected) in [
        (
            filter("from (?<address>[0-9.]+)$"),
            "pattern \"p\": a pattern starts with \"^\"",
        ),
        (
            filter("^from [0-9.]+$"),
            "pattern \"p\": there is no capture (?<address>…)",
        ),
        (
            filter("^(?<address>"),
            "etc/banjour/filters/x.toml: pattern \"p\": unclosed group",
        ),
        (
            filter("^(?<address>.)(?<back>.)"),
            "belongs to kind \"back\" or \"trouble\"",
        ),
        (
            filter("^(?<address>.)").replace("x.service", "x"),
            "etc/banjour/filters/x.toml:2: \"x\" is not a unit",
        ),
        (
            filter("^(?<address>.)").replace("front", "side"),
            "etc/banjour/filters/x.toml:6: unknown variant `side`",
        ),
    ] {
        let error = load(&text).unwrap_err();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
}
