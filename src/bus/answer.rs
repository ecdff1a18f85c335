//! What the agent answers to who looks closer, as it is sent: structs of D-Bus. Times are µs since the epoch, 0 where there
//! is none. Names of users are as clients wrote them, cut short and without control characters.

use serde::{Deserialize, Serialize};
use zbus::zvariant::Type;

/// A ban, with why it was made.
#[derive(Clone, Debug, Serialize, Deserialize, Type)]
pub struct BanDetails {
    /// Who is kept out.
    pub source: String,
    /// The jail that decided it.
    pub jail: String,
    /// Since when.
    pub since_usec: u64,
    /// Until when.
    pub until_usec: u64,
    /// `attempts`; `network`: so many were banned in it; `order`: an administrator's.
    pub cause: String,
    /// How many attempts led to it, or how many bans.
    pub count: u32,
    /// When the first of these attempts happened.
    pub first_usec: u64,
    /// Names that were tried of late; last the one that brought the ban.
    pub users: Vec<String>,
    /// Bans of this source before, as far as they are not forgotten.
    pub previous_bans: u32,
}

/// Who and what is in sight.
#[derive(Clone, Debug, Serialize, Deserialize, Type)]
pub struct Overview {
    /// The sources that fail most often, within the jails' windows.
    pub sources: Vec<BusySource>,
    /// The accounts that strangers fail for most often.
    pub accounts: Vec<BusyAccount>,
    /// The newest bans.
    pub bans: Vec<BanDetails>,
}

/// A source that fails.
#[derive(Clone, Debug, Serialize, Deserialize, Type)]
pub struct BusySource {
    /// The source.
    pub source: String,
    /// Its attempts, since it was last silent for a window.
    pub attempts: u32,
    /// When it was last heard of.
    pub last_usec: u64,
    /// Whether it is banned, or a network around it.
    pub banned: bool,
}

/// An account that strangers fail for.
#[derive(Clone, Debug, Serialize, Deserialize, Type)]
pub struct BusyAccount {
    /// The account's name.
    pub user: String,
    /// The attempts, since nobody failed for it for `account-window`.
    pub attempts: u32,
    /// From how many sources, up to `account-sources`.
    pub sources: u32,
    /// Whether it is under attack.
    pub under_attack: bool,
}

/// What is known of a source.
#[derive(Clone, Debug, Serialize, Deserialize, Type)]
pub struct Explanation {
    /// The client that the source stands for: of IPv6, its network.
    pub client: String,
    /// Whether the firewall keeps it out, by its own word: `yes`, `no`, or `unknown` when it can't be asked.
    pub in_force: String,
    /// The bans that keep it out: its own, those of networks around it, and of a network, those in it.
    pub bans: Vec<BanDetails>,
    /// Of a banned network: who was banned in it, and when last.
    pub members: Vec<(String, u64)>,
    /// What it did, by jail.
    pub jails: Vec<Doings>,
    /// Names that it tried of late, the last one last.
    pub users: Vec<String>,
    /// Why it is never banned, if it never is.
    pub ignored: String,
    /// Who has logged in from there, and when last.
    pub customers: Vec<(String, u64)>,
    /// Bans that are not forgotten, the present one included.
    pub remembered_bans: u32,
    /// When the last of these began, …
    pub last_ban_usec: u64,
    /// … and when it ended, or will.
    pub last_ban_until_usec: u64,
}

/// What a source did in a jail's window.
#[derive(Clone, Debug, Serialize, Deserialize, Type)]
pub struct Doings {
    /// The jail.
    pub jail: String,
    /// Attempts since it was last silent for a window.
    pub attempts: u32,
    /// Those that count towards a ban; the ones before are dealt with.
    pub counting: u32,
    /// The attempt that brings a ban.
    pub limit: u32,
}
