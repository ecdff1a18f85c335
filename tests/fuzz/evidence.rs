//! Any message, through every filter: no panic, no endless time, and evidence is within its bounds.

#![no_main]

use std::sync::LazyLock;

use banjour::filter::{Entry, Filter, Outcome, SHIPPED, Writer};
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
            let Some(evidence) = filter.read(&entry) else {
                continue;
            };
            assert!(filter.may_match(message) && filter.admits(&entry));
            let address = evidence.source.to_string();
            assert!(!address.contains('/'), "{address}");
            assert!(
                evidence.user.is_none_or(
                    |user| user.chars().count() <= 64 && !user.contains(char::is_control)
                )
            );
            if let Outcome::Failure { attempts, .. } = evidence.outcome {
                assert!((1..=1000).contains(&attempts));
            }
        }
    }
});
