//! banjour keeps password guessers away from Postfix and Dovecot mail servers.
//!
//! The modules, in the order in which data flows:

pub mod agent; // the one owner of all state, and the loop that runs it
pub mod ban; // the bans in force, by source and by end
pub mod bus; // D-Bus: what others see and ask for
pub mod cli;
pub mod config; // what the admin wrote → checked settings
pub mod filter; // entry → evidence: what one line says
pub mod firewall; // bans → the firewall, held equal to what is wanted
pub mod jail; // attempts in a window → the decision to ban
pub mod journal; // journald → entries (the only user of libsystemd)
pub mod log; // our own journal entries
pub mod polkit; // who may ask for it
pub mod replay; // what a configuration would have done with a journal
pub mod source; // an address or a prefix that attempts come from
pub mod state; // bans, counters and the journal's cursor on disk
pub mod tally; // evidence → attempts: each real one counted once // the command `banjour`, a client of `bus`
