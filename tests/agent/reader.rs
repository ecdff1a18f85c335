//! The journal as it is read while others write it.

use std::thread;
use std::time::Duration;

use crate::host::{Host, becomes};
use crate::journal::Entry;

/// Long enough for the agent, which looks every 2 ms while somebody guesses, to have looked.
const A_LOOK: Duration = Duration::from_millis(300);

/// libsystemd counts an entry as soon as it has its place, and does not look for it again before another comes.
#[test]
fn an_entry_that_was_looked_for_while_it_was_written_is_read_when_it_is() {
    let host = Host::new();
    let agent = host.start();
    host.attempts("198.18.0.1", 2);
    becomes(&2, || agent.totals().0);
    for n in 1..=3 {
        let entry = Entry::imap(&format!("198.18.1.{n}"), 1);
        host.journal.write_slowly(&entry, || {
            thread::sleep(A_LOOK);
            assert_eq!(agent.totals().0, 1 + n);
        });
        becomes(&(2 + n), || agent.totals().0);
    }
}
