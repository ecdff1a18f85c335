//! What may stand in a filter's file.

use super::*;

#[test]
fn a_unit_matches_itself_and_a_template_its_instances() {
    let unit = |text: &str| text.parse::<Unit>().unwrap();
    let plain = unit("dovecot.service");
    assert!(plain.matches("dovecot.service"));
    for other in [
        "",
        "dovecot",
        "dovecot.socket",
        "dovecot@x.service",
        "dovecot.service.evil",
        "xdovecot.service",
        "Dovecot.service",
        "user@1000.service",
    ] {
        assert!(!plain.matches(other), "{other}");
    }
    let template = unit("postfix@*.service");
    for instance in [
        "postfix@-.service",
        "postfix@relay.service",
        "postfix@a@b.service",
    ] {
        assert!(template.matches(instance), "{instance}");
    }
    for other in [
        "",
        "postfix.service",
        "postfix@",
        "postfix@x",
        "postfix@x.socket",
        "postfix@x.service.evil",
        "postfix@x.serviceevil",
        "xpostfix@-.service",
        "postfix-out@x.service",
        "user@1000.service",
    ] {
        assert!(!template.matches(other), "{other}");
    }
}

#[test]
fn the_journal_is_asked_for_a_unit_or_for_the_slice_of_its_instances() {
    let asked = |text: &str| text.parse::<Unit>().unwrap().journal_match();
    assert_eq!(
        asked("dovecot.service"),
        ("_SYSTEMD_UNIT", "dovecot.service".to_owned())
    );
    assert_eq!(
        asked("postfix@*.service"),
        ("_SYSTEMD_SLICE", "system-postfix.slice".to_owned())
    );
    assert_eq!(
        asked("post-fix@*.service"),
        ("_SYSTEMD_SLICE", "system-post\\x2dfix.slice".to_owned())
    );
}

#[test]
fn what_is_no_unit_is_refused_and_quoted() {
    for text in [
        "",
        "dovecot",
        ".service",
        "@*.service",
        "*.service",
        "post*.service",
        "dovecot.service\n",
        "a b.service",
        "a/b.service",
        "dovecot.socket",
        &format!("{}.service", "x".repeat(250)),
    ] {
        let error = text.parse::<Unit>().unwrap_err().to_string();
        assert!(error.contains(&format!("{text:?}")), "{error}");
    }
}

#[test]
fn a_faulty_filter_is_refused_and_says_why() {
    let with = |pattern: &str| {
        format!(
            "description = \"x\"\nunits = [\"x.service\"]\nusers = [\"x\"]\n[[pattern]]\n{pattern}"
        )
    };
    let good = "name = \"n\"\nkind = \"front\"\nregex = '^(?<address>.)$'\n";
    assert!(Filter::compile("f", &with(good)).is_ok());
    for (text, why) in [
        (with(&good.replace('^', "")), "starts with"),
        (with(&good.replace("address", "source")), "(?<source>"),
        (with(&good.replace("address", "user")), "(?<address>"),
        (with(&good.replace("front", "trouble")), "(?<back>"),
        (with(&format!("{good}unsure = 1\n")), "unsure"),
        (
            with(&format!(
                "{}unsure = true\n",
                good.replace("front", "success")
            )),
            "unsure",
        ),
        (with(&format!("{good}explains = '1s'\n")), "explains"),
        (
            with(&good.replace("?<address>.", "?<address>.)(?<unknown>.")),
            "(?<unknown>",
        ),
        (with(&good.replace("front", "back")), "(?<back>"),
        (
            with(&good.replace("?<address>.", "?<address>.)(?<back>.")),
            "(?<back>",
        ),
        (with(&good.replace("(?<", "(?<<")), "\"n\""),
        (with(&good.replace("front", "witness")), "witness"),
        (with(&format!("{good}flags = 1\n")), "flags"),
        (with(good).replace("x.service", "x"), "\"x\" is not a unit"),
        (with(good).replace("users", "owners"), "owners"),
        ("what".to_owned(), ""),
    ] {
        let error = Filter::compile("f", &text).unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
    }
}

#[test]
fn parts_take_the_place_of_their_names() {
    let filter = |parts: &str| {
        let text = format!(
            "description = \"x\"\nunits = [\"x.service\"]\nusers = [\"x\"]\n[parts]\n{parts}\n\
             [[pattern]]\nname = \"n\"\nkind = \"front\"\nregex = '^a{{2}}{{who}}$'\n"
        );
        Filter::compile("f", &text)
    };
    let nested = filter("address = '(?<address>[0-9.]+)'\nwho = 'from {address}'").unwrap();
    assert_eq!(
        read_all(&[nested], "x.service", "x", b"aafrom 192.0.2.7")[0]
            .source
            .as_deref(),
        Some("192.0.2.7")
    );
    for endless in ["who = '{who}'", "who = '{a}'\na = '{who}{who}'", "a = 'x'"] {
        let error = filter(endless).unwrap_err().to_string();
        assert!(error.contains("\"n\""), "{error}");
    }
    let long = format!("who = '{}'", "x".repeat(70_000));
    let error = filter(&long).unwrap_err().to_string();
    assert!(error.contains("longer than 65536 bytes"), "{error}");
}

/// What cannot be decided quickly by any means costs a look at all of the automaton for each byte.
#[test]
fn a_pattern_that_would_take_long_is_refused() {
    let filter = |regex: &str, times: usize| {
        let pattern = format!("[[pattern]]\nname = \"n\"\nkind = \"nothing\"\nregex = '{regex}'\n");
        let text = format!(
            "description = \"x\"\nunits = []\nusers = []\n{}",
            pattern.repeat(times)
        );
        Filter::compile("f", &text)
    };
    let large = "^(?s-u).{2,3}{2,3}*?{2,3}{1000}*?{2,3}^";
    let error = filter(large, 1).unwrap_err().to_string();
    assert!(
        error.contains("\"n\"") && error.contains("size limit of 262144"),
        "{error}"
    );
    // The largest that is taken: each alone, and all together not.
    let (fits, enough) = ("^(?:a.*b){900}$", 10);
    filter(fits, 1).unwrap();
    let error = filter(fits, enough).unwrap_err().to_string();
    assert!(error.contains("all together"), "{error}");
}
