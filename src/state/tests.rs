use std::fs;

use super::*;
use crate::ban::{Attempts, Cause};

const PAST: Past = Past {
    bans: 3,
    since: Timestamp::UNIX_EPOCH,
    until: Timestamp::UNIX_EPOCH,
};

fn memory(second: i64) -> Memory {
    Memory {
        heard: Timestamp::from_second(second).unwrap(),
        text: "what is known".to_owned(),
    }
}

fn rows<K, V>(row: (K, V)) -> Rows<K, V> {
    [row].into_iter().collect()
}

fn changes() -> Changes {
    let at = |second| Timestamp::from_second(second).unwrap();
    let key = |source: &str| (source.parse().unwrap(), JailName::from("dovecot"));
    let ban = |source: &str| {
        let (source, jail) = key(source);
        Ban {
            source,
            jail,
            since: at(1),
            until: at(2),
            cause: Cause::Attempts(Attempts {
                count: 3,
                first: at(0).into(),
                users: ["bob", "o'\"brien"].into_iter().collect(),
            }),
        }
    };
    Changes {
        position: Some(Position {
            cursor: "s=1;i=2".to_owned(),
            at: at(3),
        }),
        bans: [
            (key("192.0.2.7"), Some(ban("192.0.2.7"))),
            (key("2001:db8::/64"), Some(ban("2001:db8::/64"))),
        ]
        .into_iter()
        .collect(),
        settled: rows((key("192.0.2.7"), at(2))),
        totals: [(
            "dovecot".into(),
            Totals {
                failed: 7,
                banned: 2,
            },
        )]
        .into(),
        holder: Some(Backend::Nftables),
        customers: rows((("192.0.2.9".parse().unwrap(), "bob".into()), at(4))),
        history: rows(("192.0.2.7".parse().unwrap(), Some(PAST))),
        habits: [("dovecot".into(), "[[],[]]".to_owned())].into(),
        memories: [("192.0.2.7", 1), ("192.0.2.9", 3)]
            .into_iter()
            .map(|(source, second)| {
                let (source, jail) = key(source);
                ((source, jail, Standing::Customer), memory(second))
            })
            .collect(),
        ..Changes::default()
    }
}

#[test]
fn earlier_versions_are_read_too() {
    let parts = [SCHEMA, HOLDER, POLICY];
    for version in 1..SCHEMA_VERSION {
        let directory = tempfile::tempdir().unwrap();
        let db = Connection::open(directory.path().join(open::FILE)).unwrap();
        let had = usize::try_from(version).unwrap();
        db.execute_batch(&parts[..had].concat()).unwrap();
        db.pragma_update(None, "user_version", version).unwrap();
        db.execute_batch("INSERT INTO ban VALUES ('192.0.2.7', 'dovecot', 1, 2)")
            .unwrap();
        drop(db);
        let (mut state, saved, aside) = State::open(directory.path()).unwrap();
        assert_eq!((saved.bans.len(), saved.holder), (1, None));
        assert!(aside.is_none());
        state.save(&changes()).unwrap();
    }
}

#[test]
fn what_is_saved_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let (mut state, empty, _) = State::open(directory.path()).unwrap();
    assert_eq!(empty, Saved::default());
    let changes = changes();
    state.save(&changes).unwrap();
    state
        .save(&Changes {
            bans: rows((("2001:db8::/64".parse().unwrap(), "dovecot".into()), None)),
            ..Changes::default()
        })
        .unwrap();
    drop(state);
    let (_, saved, aside) = State::open(directory.path()).unwrap();
    assert!(aside.is_none());
    assert_eq!(saved.position, changes.position);
    assert_eq!(saved.holder, changes.holder);
    assert!(saved.customers.iter().eq(changes.customers.iter()));
    assert_eq!(saved.history, [("192.0.2.7".parse().unwrap(), PAST)]);
    assert_eq!(
        saved
            .bans
            .iter()
            .map(|ban| ban.source.to_string())
            .collect::<Vec<_>>(),
        ["192.0.2.7"]
    );
    assert_eq!(saved.settled.len(), 1);
    assert_eq!(saved.totals, changes.totals);
    assert!(saved.memories.iter().eq(changes.memories.iter()));
    assert!(saved.habits.into_iter().eq(changes.habits));
}

#[test]
fn of_too_many_rows_the_oldest_go() {
    let directory = tempfile::tempdir().unwrap();
    let (mut state, ..) = State::open(directory.path()).unwrap();
    let row = |n: u32| {
        let past = Past {
            since: Timestamp::from_second(n.into()).unwrap(),
            ..PAST
        };
        let address = std::net::IpAddr::from(std::net::Ipv4Addr::from_bits(n));
        (address.into(), Some(past))
    };
    let most = u32::try_from(crate::history::MAX_SOURCES).unwrap();
    let mut changes = Changes {
        history: (0..most).map(row).collect(),
        forget: Some(Timestamp::UNIX_EPOCH),
        ..Changes::default()
    };
    state.save(&changes).unwrap();
    assert_eq!(state.load().unwrap().history.len(), most as usize);
    changes.history = (most..most + 9).map(row).collect();
    state.save(&changes).unwrap();
    let history = state.load().unwrap().history;
    assert_eq!(history.len(), most as usize);
    let oldest = history.iter().map(|(_, past)| past.since).min().unwrap();
    assert_eq!(oldest.as_second(), 9);
}

#[test]
fn what_no_window_reaches_back_to_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let (mut state, ..) = State::open(directory.path()).unwrap();
    state.save(&changes()).unwrap();
    let mut left = |second: i64| {
        let forget = Timestamp::from_second(second).ok();
        let changes = Changes {
            forget,
            ..Changes::default()
        };
        assert!(!changes.is_empty());
        state.save(&changes).unwrap();
        let saved = state.load().unwrap();
        (saved.settled.len(), saved.memories.len(), saved.bans.len())
    };
    assert_eq!(left(1), (1, 2, 2));
    assert_eq!(left(2), (1, 1, 2));
    assert_eq!(left(4), (0, 0, 2));
}

#[test]
fn a_damaged_file_is_kept_aside() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join(open::FILE),
        "this is no database, it is 42 bytes of text".repeat(100),
    )
    .unwrap();
    let (mut state, saved, aside) = State::open(directory.path()).unwrap();
    assert_eq!(saved, Saved::default());
    assert!(
        fs::read_to_string(aside.unwrap().path.unwrap())
            .unwrap()
            .starts_with("this is no database")
    );
    state.save(&changes()).unwrap();
}
