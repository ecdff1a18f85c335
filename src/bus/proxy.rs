//! The same interfaces from the client's side.

#![allow(missing_docs, reason = "see manager.rs and jail.rs")]

use super::{BanDetails, BanRow, Explanation, Overview};

#[zbus::proxy(
    interface = "org.banjour.Banjour1.Manager",
    default_service = "org.banjour.Banjour1",
    default_path = "/org/banjour/Banjour1"
)]
pub trait Manager {
    #[zbus(allow_interactive_auth)]
    fn ban(&self, source: &str, jail: &str, duration_usec: u64, flags: u64) -> zbus::Result<()>;
    #[zbus(allow_interactive_auth)]
    fn unban(&self, source: &str, jail: &str, flags: u64) -> zbus::Result<u32>;
    fn list_bans(&self) -> zbus::Result<Vec<BanRow>>;
    #[zbus(allow_interactive_auth)]
    fn describe_bans(&self, jail: &str, flags: u64) -> zbus::Result<Vec<BanDetails>>;
    #[zbus(allow_interactive_auth)]
    fn overview(&self, most: u32, flags: u64) -> zbus::Result<Overview>;
    #[zbus(allow_interactive_auth)]
    fn why(&self, source: &str, flags: u64) -> zbus::Result<Explanation>;
    #[zbus(allow_interactive_auth)]
    fn subscribe(&self, flags: u64) -> zbus::Result<()>;
    fn dropped(&self) -> zbus::Result<(bool, u64, u64)>;
    #[zbus(allow_interactive_auth)]
    fn reload(&self) -> zbus::Result<()>;

    #[zbus(signal)]
    fn ban_new(&self, source: String, jail: String, until_usec: u64) -> zbus::Result<()>;
    #[zbus(signal)]
    fn ban_described(&self, ban: BanDetails) -> zbus::Result<()>;
    #[zbus(signal)]
    fn ban_removed(&self, source: String, jail: String, reason: String) -> zbus::Result<()>;
    #[zbus(signal)]
    fn ban_ignored(
        &self,
        source: String,
        jail: String,
        attempts: u32,
        user: String,
    ) -> zbus::Result<()>;
    #[zbus(signal)]
    fn account_under_attack(&self, user: String, sources: u32) -> zbus::Result<()>;
    #[zbus(signal)]
    fn attempt(
        &self,
        source: String,
        jail: String,
        user: String,
        attempts: u32,
        at_usec: u64,
    ) -> zbus::Result<()>;

    #[zbus(property)]
    fn version(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn firewall(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn in_force(&self) -> zbus::Result<u32>;
    #[zbus(property(emits_changed_signal = "false"), name = "LoadedUSec")]
    fn loaded_usec(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn jails(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property)]
    fn problems(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property)]
    fn currently_banned(&self) -> zbus::Result<u32>;
    #[zbus(property)]
    fn total_banned(&self) -> zbus::Result<u64>;
}

#[zbus::proxy(
    interface = "org.banjour.Banjour1.Jail",
    default_service = "org.banjour.Banjour1",
    assume_defaults = false
)]
pub trait Jail {
    fn list_bans(&self) -> zbus::Result<Vec<(String, u64, u64)>>;

    #[zbus(property)]
    fn name(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn filters(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property)]
    fn attempts(&self) -> zbus::Result<u32>;
    #[zbus(property, name = "WindowUSec")]
    fn window_usec(&self) -> zbus::Result<u64>;
    #[zbus(property, name = "BanTimeUSec")]
    fn ban_time_usec(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn currently_failed(&self) -> zbus::Result<u32>;
    #[zbus(property)]
    fn total_failed(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn currently_banned(&self) -> zbus::Result<u32>;
    #[zbus(property)]
    fn total_banned(&self) -> zbus::Result<u64>;
}
