//! What holds for any line that no filter knows: what is remembered of it is short and readable. For tests and fuzzing.

use std::cell::RefCell;
use std::sync::Arc;

use jiff::Timestamp;

use super::overlooked::{Lookout, parse};
use crate::filter::Filters;

/// Looks at a message, and reads it as journald's own.
///
/// # Panics
/// When something does not hold.
pub fn check(message: &[u8]) {
    thread_local!(static LOOKOUT: RefCell<Lookout> =
        RefCell::new(Lookout::new(Arc::new(Filters::new()))));
    let suppressed = parse(Timestamp::UNIX_EPOCH, message);
    let overlooked = LOOKOUT.with_borrow_mut(|lookout| {
        let journalds = lookout.look(message);
        assert!(journalds || suppressed.is_none());
        lookout.note(suppressed.clone());
        lookout.take()
    });
    assert!(overlooked.suppressed.iter().eq(suppressed.as_ref()));
    assert_eq!(overlooked.lines > 0, overlooked.example.is_some());
    if let Some(example) = overlooked.example {
        let readable = example.chars().count() <= 2000 && !example.contains(char::is_control);
        assert!(readable, "{example:?}");
    }
    if let Some(suppressed) = suppressed {
        assert!(suppressed.unit.chars().count() <= 255);
    }
}
