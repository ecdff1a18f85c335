//! Whatever a client writes into a line: the address is the true one or there is none, and no text hides an attempt.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::source::Source;
use lines::Lines;
use lines::frames::{FRAMES, PIECES};

#[path = "../../../tests/fuzz/lines.rs"]
mod lines;

thread_local!(static LINES: Lines = Lines::new());

/// Text as a client may write it: pieces of lines, whole lines, parts of them, and any bytes.
fn client_text() -> impl Strategy<Value = Vec<u8>> {
    let lines: Vec<Vec<u8>> = CORPUS
        .iter()
        .flat_map(|(_, text)| text.lines())
        .step_by(3)
        .map(|line| {
            serde_json::from_str::<Line>(line)
                .unwrap()
                .message
                .bytes()
                .to_vec()
        })
        .collect();
    let part = (select(lines), any::<Index>(), any::<Index>()).prop_map(|(line, from, to)| {
        let (from, to) = (from.index(line.len() + 1), to.index(line.len() + 1));
        line[from.min(to)..from.max(to)].to_vec()
    });
    let piece = prop_oneof![
        6 => select(&PIECES[..]).prop_map(|piece| piece.as_bytes().to_vec()),
        2 => part,
        1 => "[ -~]{0,16}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..16),
    ];
    vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_text_moves_the_address_or_hides_an_attempt(
        frame in 0..FRAMES.len(),
        text in client_text(),
        name in "[A-Za-z0-9._@-]{0,64}",
    ) {
        LINES.with(|lines| {
            lines.framed(&FRAMES[frame], &text);
            lines.framed(&FRAMES[frame], name.as_bytes());
        });
    }

    #[test]
    fn no_line_at_all_breaks_a_filter(text in client_text()) {
        LINES.with(|lines| lines.any(&text));
        crate::journal::properties::check(&text);
    }
}

/// Text that fills a message, made of what patterns look for: read like any other.
#[test]
fn a_message_full_of_pieces_is_read_like_any_other() {
    let lines = Lines::new();
    for frame in &FRAMES {
        let places = frame.line.matches("{}").count();
        let room = (MAX_MESSAGE - frame.line.len()) / places;
        for pieces in PIECES.chunks(11) {
            let text = pieces.concat().repeat(room / 100);
            lines.framed(frame, &text.as_bytes()[..room.min(text.len())]);
        }
    }
}
