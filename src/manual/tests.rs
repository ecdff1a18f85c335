//! The pages are whole and well formed.

use std::process::{Command, Output};

use crate::{PAGES, page};

#[test]
fn everything_has_a_description() {
    let missing: Vec<String> = PAGES
        .iter()
        .flat_map(|source| page(source).unwrap().missing)
        .collect();
    assert!(missing.is_empty(), "not described:\n{}", missing.join("\n"));
}

/// Counted on another way than the page does it.
#[test]
fn nothing_is_left_out() {
    let [commands, _, settings, interfaces] =
        PAGES.each_ref().map(|source| page(source).unwrap().roff);
    for command in banjour::cli::command().get_subcommands() {
        let heading = format!("\n.SS {}\n", command.get_name());
        assert!(commands.contains(&heading), "{heading}");
    }
    let keys = include_str!("../config/banjour.toml")
        .lines()
        .filter_map(|line| {
            let (key, _) = line.split_once(" = ")?;
            (!key.starts_with('#')).then_some(key)
        });
    for key in keys {
        let term = format!("\n\\fB{}\\fR = ", key.replace('-', "\\-"));
        assert!(settings.contains(&term), "{key}");
    }
    for xml in banjour::bus::introspection() {
        let members = xml.split(['<', '>']).filter_map(|tag| {
            let (kind, rest) = tag.split_once(" name=\"")?;
            ["method", "signal", "property"]
                .contains(&kind)
                .then_some(())?;
            rest.split('"').next()
        });
        for member in members {
            assert!(
                interfaces.contains(&format!("\n.TP\n\\fB{member}\\fR")),
                "{member}"
            );
        }
    }
}

#[test]
fn programs_for_manuals_have_no_complaints() {
    let directory = tempfile::tempdir().unwrap();
    for source in &PAGES {
        let path = directory.path().join(source.file());
        std::fs::write(&path, page(source).unwrap().roff).unwrap();
        let run = |program: &str, arguments: &[&str]| {
            let output = Command::new(program)
                .args(arguments)
                .arg(&path)
                .env("LC_ALL", "C.UTF-8")
                .env("MANWIDTH", "80")
                .output()
                .unwrap_or_else(|error| panic!("{program} is installed by tests/setup: {error}"));
            said(&output)
        };
        let (shown, complaints) = run(
            "man",
            &["--warnings", "--local-file", "-E", "UTF-8", "-Tutf8"],
        );
        assert_eq!(complaints, "", "{}", source.file());
        assert!(shown.lines().count() > 40, "{shown}");
        let (lint, _) = run("mandoc", &["-T", "lint", "-W", "warning"]);
        // systemd's pages have no date either.
        let lint: Vec<_> = lint
            .lines()
            .filter(|line| !line.contains("missing date"))
            .collect();
        assert!(lint.is_empty(), "{}", lint.join("\n"));
        let (name, _) = run("lexgrog", &[]);
        assert!(
            name.contains(&format!("{} - {}", source.name, source.about)),
            "{name}"
        );
    }
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
