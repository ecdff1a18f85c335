//! Any message, through every filter: no panic, no endless time, and evidence is within its bounds.

#![no_main]

use std::sync::LazyLock;

use banjour::filter::{Entry, Filter, Finding, Outcome, SHIPPED, Writer};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

static FILTERS: LazyLock<Vec<Filter>> = LazyLock::new(|| {
    SHIPPED
        .map(|(name, text)| Filter::compile(name, text).expect("shipped filters compile"))
        .into()
});

fuzz_target!(|message: &[u8]| {
    for filter in FILTERS.iter() {
        for (unit, user) in [
            ("dovecot.service", "root"),
            ("postfix@-.service", "postfix"),
            ("saslauthd.service", "root"),
        ] {
            let entry = Entry {
                unit,
                writer: Writer::User(user),
                message,
                at: Timestamp::UNIX_EPOCH,
            };
            let Some(finding) = filter.read(&entry) else {
                continue;
            };
            assert!(filter.may_match(message) && filter.admits(&entry));
            let readable = |text: &str, max| {
                text.chars().count() <= max && !text.contains(char::is_control)
            };
            let evidence = match finding {
                Finding::Evidence(evidence) => evidence,
                Finding::Trouble(trouble) => {
                    assert!(readable(&trouble.message, 200));
                    continue;
                }
            };
            let address = evidence.source.to_string();
            assert!(!address.contains('/'), "{address}");
            assert!(evidence.user.is_none_or(|user| readable(&user, 64)));
            assert!(evidence.session.is_none_or(|session| readable(&session, 40)));
            if let Outcome::Failure { attempts, .. } = evidence.outcome {
                assert!((1..=1000).contains(&attempts));
            }
        }
    }
});
