//! banjour keeps password guessers away from Postfix and Dovecot mail servers.
//!
//! The modules, in the order in which data flows:

pub mod config; // what the admin wrote → checked settings
pub mod usec; // a time, as tables keep it
pub mod source; // an address or a prefix that attempts come from
pub mod oldest; // which row of a full table is the oldest
pub mod ignore; // who is never banned
pub mod journal; // journald → entries (the only user of libsystemd)
pub mod filter; // entry → evidence: what one line says
pub mod tally; // evidence → attempts: each real one counted once
pub mod jail; // attempts in a window → the decision to ban
pub mod trust; // who has logged in from where: a stale password is no guess
pub mod accounts; // accounts that many sources guess at
pub mod history; // who was banned before: longer bans, and whole networks
pub mod tried; // which names each source has tried
pub mod policy; // all of these together: evidence → sentences
pub mod ban; // the bans in force, by source and by end
pub mod units; // the mail units, as systemd has them
pub mod agent; // the one owner of all state, and the loop that runs it
pub mod firewall; // bans → the firewall, held equal to what is wanted
pub mod netfilter; // what needs rights: the helper, which shares nothing with the agent
pub mod state; // bans, counters and the journal's cursor on disk
pub mod log; // our own journal entries
pub mod bus; // D-Bus: what others see and ask for
pub mod polkit; // who may ask for it
pub mod replay; // what a configuration would have done with a journal
pub mod report; // what a journal tells of attempts and bans, summed up
pub mod cli; // the command `banjour`, a client of `bus`
