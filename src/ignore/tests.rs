use super::*;

#[test]
fn an_entry_is_an_address_a_prefix_a_file_or_a_name() {
    for (text, shown) in [
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("/etc/banjour/office", "/etc/banjour/office"),
        ("Office.Example.", "office.example"),
        ("xn--bro-hoa.example", "xn--bro-hoa.example"),
        ("a_b.dyn-7.example", "a_b.dyn-7.example"),
    ] {
        assert_eq!(text.parse::<Entry>().unwrap().to_string(), shown);
    }
}

#[test]
fn what_is_no_entry_is_refused_and_quoted() {
    for text in [
        "",
        "/",
        "/etc/..",
        "/etc/a\0b",
        "etc/list",
        "office",
        "192.0.2.300",
        "192.0.2.0/33",
        "192.0.2",
        "-a.example",
        "a-.example",
        "a..example",
        ".example",
        "office.example:25",
        "büro.example",
        "*.example",
        "a b.example",
        &format!("{}.example", "a".repeat(64)),
        &"a.".repeat(200),
    ] {
        let error = text.parse::<Entry>().unwrap_err().to_string();
        assert!(error.len() < 400 && !error.contains('\n'), "{error}");
    }
}

fn seen(entries: &[&str], private: bool) -> Seen {
    let entries = entries.iter().map(|text| text.parse().unwrap()).collect();
    Seen::new(Settings { entries, private }, Answers::new())
}

#[test]
fn the_list_says_why() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("list"), "\n203.0.113.0/24\noffice.example").unwrap();
    let mut seen = seen(&["198.51.100.0/24", "/list"], true);
    seen.files.read(root.path(), seen.settings.files());
    seen.own = ["192.0.2.2", "10.0.0.2"]
        .map(|text| text.parse().unwrap())
        .into();
    let office = Name::new("office.example").unwrap();
    assert_eq!(seen.names(), [office.clone()].into());
    seen.answers = [(office, ["192.0.2.9".parse().unwrap()].into())].into();
    let list = seen.list();
    let why = |text: &str| {
        let ignored = list.overlap(text.parse().unwrap());
        ignored.map(ToString::to_string).unwrap_or_default()
    };
    for (source, reason) in [
        ("127.1.2.3", "127.0.0.0/8 is loopback"),
        ("::1", "::1 is loopback"),
        ("192.0.2.2", "192.0.2.2 is an address of this host"),
        ("198.51.0.0/16", "198.51.100.0/24 stands in \"ignore\""),
        ("203.0.113.7", "203.0.113.0/24 stands in /list:2"),
        (
            "192.0.2.9",
            "192.0.2.9 is office.example, which stands in \"ignore\"",
        ),
        (
            "172.31.0.1",
            "172.16.0.0/12 is private, and \"ignore-private\" is set",
        ),
        ("100.64.0.1", ""),
        ("192.0.2.3", ""),
    ] {
        assert_eq!(why(source), reason);
    }
}

#[test]
fn every_fixed_network_can_be_read() {
    let all = seen(&[], true).list();
    for text in LOOPBACK.iter().chain(&PRIVATE) {
        let source: Source = text.parse().unwrap();
        assert_eq!(
            all.overlap(source).map(|ignored| ignored.source),
            Some(source)
        );
    }
    let without = seen(&[], false).list();
    assert_eq!(without.overlap("10.0.0.1".parse().unwrap()), None);
}

#[test]
fn who_does_not_follow_the_list_is_told_what_is_missing_in_it() {
    let root = tempfile::tempdir().unwrap();
    let text = "{\"office.example\": [\"192.0.2.9\"], \"unlisted.example\": [\"192.0.2.10\"]}";
    std::fs::write(root.path().join("names.json"), text).unwrap();
    let entries = ["office.example", "other.example", "/list"];
    let settings = seen(&entries, false).settings;
    let (list, missing) = now(settings, root.path(), root.path(), false);
    assert!(list.overlap("192.0.2.9".parse().unwrap()).is_some());
    assert!(list.overlap("192.0.2.10".parse().unwrap()).is_none());
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(missing[0].contains("/list: ") && missing[1].contains("other.example is left out"));
}

/// An address that is listed, thousands of times: a decision asks once, an attempt up to 64 times.
#[test]
fn a_long_list_is_quick() {
    let entry = |n: u32| {
        Entry::Source(
            IpAddr::from(std::net::Ipv6Addr::from_bits(
                (0x2001_0db8 << 96) | (u128::from(n) << 16),
            ))
            .into(),
        )
    };
    let settings = Settings {
        entries: (0..100_000).map(entry).collect(),
        private: true,
    };
    let list = Seen::new(settings, Answers::new()).list();
    let address: Source = "2001:db8::1:1".parse().unwrap();
    let start = std::time::Instant::now();
    for _ in 0..1000 {
        assert_eq!(
            list.client(address, crate::source::Prefixes::default())
                .to_string(),
            "2001:db8::1:1"
        );
    }
    assert!(start.elapsed().as_secs() < 2, "{:?}", start.elapsed());
}
