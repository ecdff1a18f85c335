//! The shipped filters over the corpus: lines of real daemons, and what each must yield.

mod files;
mod properties;

use super::*;
use crate::tally::Witness;

/// Every file of `tests/corpus`, a theme each.
const CORPUS: [(&str, &str); 8] = [
    (
        "postfix.jsonl",
        include_str!("../../tests/corpus/postfix.jsonl"),
    ),
    (
        "dovecot-2.2.jsonl",
        include_str!("../../tests/corpus/dovecot-2.2.jsonl"),
    ),
    (
        "dovecot-2.3.jsonl",
        include_str!("../../tests/corpus/dovecot-2.3.jsonl"),
    ),
    (
        "dovecot-2.4.jsonl",
        include_str!("../../tests/corpus/dovecot-2.4.jsonl"),
    ),
    (
        "optional.jsonl",
        include_str!("../../tests/corpus/optional.jsonl"),
    ),
    (
        "hostile.jsonl",
        include_str!("../../tests/corpus/hostile.jsonl"),
    ),
    (
        "trouble.jsonl",
        include_str!("../../tests/corpus/trouble.jsonl"),
    ),
    (
        "not-attempts.jsonl",
        include_str!("../../tests/corpus/not-attempts.jsonl"),
    ),
];

/// One line of the corpus.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    unit: String,
    user: String,
    message: Message,
    /// The source where the wording stands, if the line was not recorded from a daemon.
    #[serde(rename = "from", default)]
    _from: Option<String>,
    expect: Expect,
}

/// `null`, one piece of evidence, or several: one for each filter that reads the line.
#[derive(Deserialize)]
#[serde(untagged)]
enum Expect {
    Nothing(()),
    One(Expected),
    Several(Vec<Expected>),
}

impl Expect {
    fn all(&self) -> &[Expected] {
        match self {
            Self::Nothing(()) => &[],
            Self::One(expected) => std::slice::from_ref(expected),
            Self::Several(several) => several,
        }
    }
}

/// As `journalctl -o json` writes it: bytes where it is not UTF-8.
#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Text(String),
    Bytes(Vec<u8>),
}

/// A finding: evidence, or trouble (`source` is then `null` where it is everybody's). A witness is `front`, `unsure front`,
/// `refused` or a back's name, with ` unknown` where it does not know the user.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    filter: String,
    source: Option<String>,
    user: Option<String>,
    session: Option<String>,
    password: Option<String>,
    outcome: String,
    witness: Option<String>,
    attempts: Option<u32>,
}

impl Message {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl From<Finding> for Expected {
    fn from(finding: Finding) -> Self {
        match finding {
            Finding::Trouble(trouble) => Self {
                filter: trouble.filter.to_string(),
                outcome: "trouble".to_owned(),
                source: trouble
                    .client
                    .as_ref()
                    .map(|client| client.source.to_string()),
                witness: trouble
                    .client
                    .as_ref()
                    .map(|client| client.back.to_string()),
                ..Self::default()
            },
            Finding::Evidence(evidence) => {
                let (outcome, witness, attempts) = match evidence.outcome {
                    Outcome::Success => ("success", None, None),
                    Outcome::Failure { witness, attempts } => {
                        ("failure", Some(name(&witness)), Some(attempts))
                    }
                };
                Self {
                    filter: evidence.filter.to_string(),
                    source: Some(evidence.source.to_string()),
                    user: evidence.user,
                    session: evidence.session,
                    password: evidence.password,
                    outcome: outcome.to_owned(),
                    witness,
                    attempts,
                }
            }
        }
    }
}

fn name(witness: &Witness) -> String {
    match witness {
        Witness::Front => "front".to_owned(),
        Witness::UnsureFront => "unsure front".to_owned(),
        Witness::Refused => "refused".to_owned(),
        Witness::Back(name) => name.to_string(),
        Witness::Unknown(name) => format!("{name} unknown"),
    }
}

fn shipped() -> Vec<Filter> {
    SHIPPED
        .iter()
        .map(|(name, text)| Filter::compile(name, text).unwrap())
        .collect()
}

fn read_all(filters: &[Filter], unit: &str, user: &str, message: &[u8]) -> Vec<Expected> {
    let entry = Entry {
        unit,
        writer: Writer::User(user),
        message,
        at: Timestamp::UNIX_EPOCH,
    };
    let read = |filter: &Filter| {
        let finding = filter.read(&entry);
        assert!(
            finding.is_none() || filter.understand(message).is_some(),
            "{message:?}"
        );
        finding
    };
    filters
        .iter()
        .filter_map(read)
        .map(Expected::from)
        .collect()
}

#[test]
fn every_line_of_the_corpus_yields_what_it_must() {
    let filters = shipped();
    let mut wrong = Vec::new();
    for (file, text) in CORPUS {
        for (number, line) in (1..).zip(text.lines()) {
            let line: Line = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{file}:{number}: {error}"));
            let found = read_all(&filters, &line.unit, &line.user, line.message.bytes());
            if found != line.expect.all() {
                let message = String::from_utf8_lossy(line.message.bytes());
                wrong.push(format!(
                    "{file}:{number}: {} as {}: {message:?}\n  must yield {:?}\n  yields     {found:?}",
                    line.unit,
                    line.user,
                    line.expect.all()
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} lines\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Whatever a client calls itself, whole lines of any daemon too: the address is the true one, or there is no evidence.
#[test]
fn no_name_moves_the_address() {
    let filters = shipped();
    let lines: Vec<Line> = CORPUS
        .iter()
        .flat_map(|(_, text)| text.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // Where a daemon writes the name, with what comes before and after it; one of each kind of line.
    let frames: BTreeMap<String, (String, &Line)> = lines
        .iter()
        .filter_map(|line| {
            let (Message::Text(text), [_, ..]) = (&line.message, line.expect.all()) else {
                return None;
            };
            let text = text.replace("  user=bob", "");
            // A frame with a hostile name in it is no frame.
            if text.matches("user=<").count() > 1 {
                return None;
            }
            let places = ["<bob>", "=bob", "(bob,"];
            let place = places
                .into_iter()
                .find(|place| text.matches(place).count() == 1)?;
            let kind: String = text
                .split("session=")
                .next()?
                .chars()
                .filter(|c| !c.is_ascii_digit() && !"abcdef:.".contains(*c))
                .take(100)
                .collect();
            let frame = text.replace(place, &place.replace("bob", "NAME"));
            Some((kind, (frame, line)))
        })
        .collect();
    assert!(frames.len() > 30, "{}", frames.len());
    let mut understood = 0;
    for donor in lines.iter().step_by(7) {
        let name = donor.message.bytes();
        for (frame, line) in frames.values() {
            let (head, tail) = frame.split_once("NAME").unwrap();
            for name in [name, &name[..name.len() / 2]] {
                // Dovecot's login processes cut it.
                let longest = if head.contains("-login: ") {
                    80
                } else {
                    MAX_MESSAGE
                };
                let name = &name[..name.len().min(longest)];
                let message = [head.as_bytes(), name, tail.as_bytes()].concat();
                let source = line.expect.all().first().map(|expected| &expected.source);
                for found in read_all(&filters, &line.unit, &line.user, &message) {
                    let text = String::from_utf8_lossy(&message);
                    assert_eq!(Some(&found.source), source, "{text}");
                    understood += 1;
                }
            }
        }
    }
    assert!(understood > 10_000, "{understood}");
}

/// A name of any length: what fits into a message is read, and never names another address; what does not is no line.
#[test]
fn a_name_may_be_as_long_as_a_message() {
    let filters = shipped();
    let line = |length: usize| {
        let name = ", rip=198.51.100.1, lip=192.0.2.2".repeat(length / 33 + 1);
        format!(
            "pam_unix(dovecot:auth): authentication failure; logname= uid=0 euid=0 tty=dovecot ruser={} rhost=192.0.2.7",
            &name[..length]
        )
    };
    let frame = line(0).len();
    for (length, seen) in [
        (1000, true),
        (MAX_MESSAGE - frame, true),
        (MAX_MESSAGE - frame + 1, false),
        (10 * MAX_MESSAGE, false),
    ] {
        let found = read_all(&filters, "dovecot.service", "root", line(length).as_bytes());
        let sources: Vec<_> = found.iter().map(|found| found.source.as_deref()).collect();
        assert_eq!(
            sources,
            [Some("192.0.2.7")][..usize::from(seen)],
            "{length}"
        );
        for user in found.iter().filter_map(|found| found.user.as_ref()) {
            assert_eq!(user.chars().count(), 64);
        }
    }
}
