//! Any message, and any text of a client's in a daemon's line, through every filter.

#![no_main]

use std::sync::LazyLock;

use banjour::filter::{
    Entry, Filter, Finding, Looks, MAX_MESSAGE, Outcome, SHIPPED, Writer, shape, shown,
};
use banjour::source::Source;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

#[path = "lines.rs"]
#[allow(dead_code, reason = "what lines cost is measured elsewhere")]
mod lines;

use lines::Lines;
use lines::frames::FRAMES;

static LINES: LazyLock<Lines> = LazyLock::new(Lines::new);

// The first byte chooses: what follows is a client's text in one of the frames, or a whole message.
fuzz_target!(|data: &[u8]| {
    let Some((choice, text)) = data.split_first() else {
        return;
    };
    match FRAMES.get(usize::from(*choice)) {
        Some(frame) => LINES.framed(frame, text),
        None => LINES.any(text),
    }
    banjour::journal::properties::check(text);
});
