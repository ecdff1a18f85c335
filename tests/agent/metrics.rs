//! `banjour metrics`, and what reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;

use regex::Regex;
use saphyr::{LoadableYamlNode, Yaml};
use serde_json::Value;

use crate::command::printed;
use crate::host::{Host, becomes};

const ZABBIX: &str = include_str!("../../units/monitoring/zabbix-template.yaml");
const GRAFANA: &str = include_str!("../../units/monitoring/grafana-dashboard.json");

/// Values by name and label.
type Samples = BTreeMap<String, u64>;

/// Reads either format, and panics at what is not allowed there.
#[track_caller]
fn parsed(text: &str, openmetrics: bool) -> Samples {
    let body = text.strip_suffix("# EOF\n");
    assert_eq!(body.is_some(), openmetrics, "an end: {text}");
    let sample =
        Regex::new(r#"^([a-z_]+)(?:\{[a-z]+="(?:[^"\\\n]|\\[\\"n])*"\})? [0-9]+$"#).unwrap();
    let (mut samples, mut families) = (Samples::new(), BTreeSet::new());
    let (mut family, mut described) = (String::new(), Vec::new());
    for line in body.unwrap_or(text).lines() {
        if let Some(said) = line.strip_prefix("# ") {
            let words: Vec<_> = said.splitn(3, ' ').collect();
            let [keyword, name, what] = words[..] else {
                panic!("{line}")
            };
            if keyword == "HELP" {
                assert!(families.insert(name.to_owned()), "{name} comes twice");
                (family, described) = (name.to_owned(), Vec::new());
            }
            assert_eq!(name, family, "{line}");
            match keyword {
                "HELP" => assert!(what.ends_with('.'), "{line}"),
                "TYPE" => assert!(["counter", "gauge"].contains(&what), "{line}"),
                "UNIT" => assert!(openmetrics && name.ends_with(&format!("_{what}")), "{line}"),
                _ => panic!("{line}"),
            }
            described.push(format!("{keyword} {what}"));
            continue;
        }
        let name = &sample.captures(line).unwrap_or_else(|| panic!("{line}"))[1];
        let counter = described.iter().any(|said| said == "TYPE counter");
        assert_eq!(counter, name.ends_with("_total"), "{line}");
        let expected = if counter && openmetrics {
            format!("{family}_total")
        } else {
            family.clone()
        };
        assert_eq!(name, expected);
        let (name, value) = line.rsplit_once(' ').unwrap();
        let known = samples.insert(name.to_owned(), value.parse().unwrap());
        assert_eq!(known, None, "{name} comes twice");
    }
    samples
}

#[test]
fn the_agents_numbers_are_told_in_both_formats() {
    let host = Host::new();
    let agent = host.start();
    host.attempts("198.18.0.1", 3);
    host.attempts("198.18.0.2", 1);
    becomes(&4, || agent.totals().0);
    let openmetrics = parsed(&printed(&host.banjour(&["metrics"]), 0), true);
    for (name, value) in [
        ("banjour_up", 1),
        ("banjour_problems", agent.problems().len() as u64),
        ("banjour_current_bans", 1),
        ("banjour_bans_total", 1),
        ("banjour_jail_attempts_total{jail=\"dovecot\"}", 4),
        ("banjour_jail_bans_total{jail=\"dovecot\"}", 1),
        ("banjour_jail_current_bans{jail=\"dovecot\"}", 1),
        ("banjour_jail_failing_sources{jail=\"dovecot\"}", 1),
        ("banjour_jail_attempts_total{jail=\"postfix-sasl\"}", 0),
        ("banjour_jail_bans_total{jail=\"manual\"}", 0),
        (
            concat!(
                "banjour_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"}"
            ),
            1,
        ),
    ] {
        assert_eq!(
            openmetrics.get(name),
            Some(&value),
            "{name}: {openmetrics:?}"
        );
    }
    let older = host.banjour(&["metrics", "--format", "prometheus"]);
    assert_eq!(parsed(&printed(&older, 0), false), openmetrics);
}

#[test]
fn a_file_is_replaced_as_a_whole_and_for_all_to_read() {
    let host = Host::new();
    let _agent = host.start();
    let file = host.path("made/for/it/banjour.prom");
    let arguments = ["metrics", "--output", file.to_str().unwrap()];
    assert_eq!(printed(&host.banjour(&arguments), 0), "");
    let first = fs::File::open(&file).unwrap();
    assert_eq!(printed(&host.banjour(&arguments), 0), "");
    // Who had it open has it still, and another one stands in its place.
    assert_eq!(
        first.metadata().unwrap().permissions().mode() & 0o777,
        0o644
    );
    assert_eq!(
        parsed(&std::io::read_to_string(first).unwrap(), false)["banjour_up"],
        1
    );
    assert_eq!(
        parsed(&fs::read_to_string(&file).unwrap(), false)["banjour_up"],
        1
    );
    let names: Vec<_> = fs::read_dir(file.parent().unwrap()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let nowhere = ["metrics", "--output", "/proc/nowhere/banjour.prom"];
    let error = printed(&host.banjour(&nowhere), 1);
    assert!(
        error.contains("cannot write /proc/nowhere/banjour.prom: "),
        "{error}"
    );
}

/// Whoever reads the file must see it.
#[test]
fn an_agent_that_does_not_run_is_told_of_and_no_error() {
    let host = Host::new();
    let file = host.path("banjour.prom");
    for (arguments, openmetrics) in [
        (&["metrics"][..], true),
        (&["metrics", "--output", file.to_str().unwrap()], false),
    ] {
        let out = host.banjour(arguments);
        let error = String::from_utf8(out.stderr).unwrap();
        assert!(
            out.status.success() && error.contains("does not run"),
            "{error}"
        );
        let text = if openmetrics {
            String::from_utf8(out.stdout).unwrap()
        } else {
            fs::read_to_string(&file).unwrap()
        };
        let samples = parsed(&text, openmetrics);
        assert_eq!(samples, Samples::from([("banjour_up".to_owned(), 0)]));
    }
}

/// What Zabbix and Grafana ask for by name is there to be had.
#[test]
fn templates_and_dashboards_name_metrics_that_exist() {
    let host = Host::new();
    let _agent = host.start();
    let samples = parsed(&printed(&host.banjour(&["metrics"]), 0), true);
    let mut known: BTreeSet<&str> = samples
        .keys()
        .map(|name| name.split('{').next().unwrap())
        .collect();
    // There is no firewall here, and what it counts is seen in a guest.
    known.extend([
        "banjour_firewall_info",
        "banjour_dropped_packets_total",
        "banjour_dropped_bytes_total",
    ]);
    let name = Regex::new("banjour_[a-z_]+").unwrap();
    for (file, text) in [("zabbix", ZABBIX), ("grafana", GRAFANA)] {
        let named: BTreeSet<&str> = name.find_iter(text).map(|found| found.as_str()).collect();
        assert!(named.len() >= 9, "{file}: {named:?}");
        assert!(
            named.is_subset(&known),
            "{file}: {:?}",
            named.difference(&known)
        );
    }
    let zabbix = Yaml::load_from_str(ZABBIX).unwrap();
    let template = &zabbix[0]["zabbix_export"]["templates"][0];
    let items = template["items"].as_vec().unwrap();
    let triggers = items
        .iter()
        .filter(|item| item.as_mapping_get("triggers").is_some());
    assert_eq!((items.len(), triggers.count()), (11, 3));
    // No two things are the same to Zabbix.
    let uuid = Regex::new("uuid: ([0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15})\n").unwrap();
    let uuids: BTreeSet<_> = uuid
        .captures_iter(ZABBIX)
        .map(|found| found[1].to_owned())
        .collect();
    assert_eq!(uuids.len(), ZABBIX.matches("uuid: ").count());
    let grafana: Value = serde_json::from_str(GRAFANA).unwrap();
    let panels = grafana["panels"].as_array().unwrap();
    assert!(
        panels
            .iter()
            .all(|panel| panel["targets"][0]["expr"].is_string())
    );
}
