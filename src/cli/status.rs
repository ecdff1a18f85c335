//! `banjour status`

use std::cmp::Reverse;

use jiff::Timestamp;
use serde_json::{Value, json};
use zbus::Connection;

use super::{Failure, jail_proxy, list, text};
use crate::bus::{BanRow, BusyAccount, BusySource, ManagerProxy, Overview};

/// Rows of a table on a screen that shows several.
const MOST: u32 = 5;
/// Bans of one jail that are shown, the newest; all of them are what `banjour list` is for.
const MOST_OF_JAIL: usize = 20;

const EXAMPLES: &str = "\
Examples:
  banjour status          # all jails, who is at work, and the newest bans
  banjour status dovecot  # one jail
  banjour status --json   # for programs";

/// Arguments of `banjour status`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Show one jail and whom it has banned
    jail: Option<String>,
    /// Answer with a JSON object
    #[arg(long)]
    json: bool,
}

struct Jail {
    name: String,
    filters: Vec<String>,
    attempts: u32,
    window_usec: u64,
    ban_time_usec: u64,
    currently_failed: u32,
    total_failed: u64,
    currently_banned: u32,
    total_banned: u64,
}

pub(super) async fn run(
    connection: &Connection,
    manager: &ManagerProxy<'_>,
    arguments: &Arguments,
) -> Result<(), Failure> {
    match &arguments.jail {
        Some(jail) => one_jail(connection, manager, jail, arguments.json).await,
        None => overview(connection, manager, arguments.json).await,
    }
}

async fn overview(
    connection: &Connection,
    manager: &ManagerProxy<'_>,
    json: bool,
) -> Result<(), Failure> {
    let (version, firewall) = (manager.version().await?, manager.firewall().await?);
    let problems = manager.problems().await?;
    let mut jails = Vec::new();
    for name in manager.jails().await? {
        jails.push(Jail::fetch(connection, &name).await?);
    }
    // Names are for who may read the journal; the rest is for everybody, who is not to be asked for a password.
    let top = manager.inner().call("Overview", &(MOST, 0_u64)).await;
    let top: Option<Overview> = match top.map_err(Failure::from) {
        Ok(top) => Some(top),
        Err(Failure::NotAllowed(_)) => None,
        Err(error) => return Err(error),
    };
    let banned = manager.currently_banned().await?;
    let in_force = manager.in_force().await?;
    // Who can't tell, for whatever reason, is a problem elsewhere.
    let dropped = manager.dropped().await.ok();
    let dropped = dropped.and_then(|(counted, packets, bytes)| counted.then_some((packets, bytes)));
    if json {
        return text::print_json(&json!({
            "version": version,
            "firewall": firewall,
            "in_force": in_force,
            "dropped": dropped.map(|(packets, bytes)| json!({"packets": packets, "bytes": bytes})),
            "problems": problems,
            "jails": jails.iter().map(Jail::json).collect::<Vec<_>>(),
            "currently_banned": banned,
            "top": top,
        }));
    }
    let shown = if firewall.is_empty() {
        "none"
    } else {
        &firewall
    };
    let mut out = format!("banjour {version}, firewall: {shown}\n");
    if problems.is_empty() {
        out += &(text::styled(text::CALM, "protecting; no problems") + "\n");
    }
    let problem =
        |problem: &String| format!("{} {problem}\n", text::styled(text::ALARM, "PROBLEM:"));
    out.extend(problems.iter().map(problem));
    let dropped = match dropped {
        Some((packets, bytes)) => format!("{packets} ({bytes} bytes)"),
        None => "not counted".to_owned(),
    };
    let kept_out = format!("sources kept out: {in_force}; packets dropped: {dropped}\n");
    out += &kept_out;
    let rows: Vec<_> = jails.iter().map(Jail::row).collect();
    out += "\n";
    out += &text::table(
        [
            "JAIL",
            "FAILING NOW",
            "FAILED",
            "BANNED NOW",
            "BANNED",
            "RULE",
        ],
        &rows,
    );
    out += &match &top {
        Some(top) => top_tables(top, banned),
        None => {
            ban_table(manager.list_bans().await?)
                + "\nwho fails, and under which names, is shown to root\n"
        }
    };
    text::print(&out)
}

/// Who is at work, and whom that got banned.
fn top_tables(top: &Overview, banned: u32) -> String {
    let now = Timestamp::now();
    let mut out = String::new();
    if !top.sources.is_empty() {
        let row = |source: &BusySource| {
            let banned = if source.banned { "banned" } else { "" };
            let last = text::since(source.last_usec, now);
            let attempts = source.attempts.to_string();
            [source.source.clone(), attempts, last, banned.to_owned()]
        };
        let rows: Vec<_> = top.sources.iter().map(row).collect();
        out += "\n";
        out += &text::table(["SOURCE", "ATTEMPTS", "LAST", "NOW"], &rows);
    }
    if !top.accounts.is_empty() {
        let row = |account: &BusyAccount| {
            let state = if account.under_attack {
                "under attack"
            } else {
                ""
            };
            [
                format!("{:?}", account.user),
                account.attempts.to_string(),
                account.sources.to_string(),
                state.to_owned(),
            ]
        };
        let rows: Vec<_> = top.accounts.iter().map(row).collect();
        out += "\n";
        out += &text::table(["ACCOUNT", "ATTEMPTS", "SOURCES", "NOW"], &rows);
    }
    if top.bans.is_empty() {
        return out + "\nnobody is banned\n";
    }
    out += "\n";
    out += &list::table(&top.bans);
    let shown = u32::try_from(top.bans.len()).unwrap_or(u32::MAX);
    out + &more(banned.saturating_sub(shown))
}

/// Bans that have no row.
fn more(bans: u32) -> String {
    match bans {
        0 => String::new(),
        n => format!("and {n} more: banjour list\n"),
    }
}

async fn one_jail(
    connection: &Connection,
    manager: &ManagerProxy<'_>,
    name: &str,
    json: bool,
) -> Result<(), Failure> {
    let known = manager.jails().await?;
    if !known.iter().any(|jail| jail == name) {
        return Err(Failure::Refused(format!(
            "there is no jail {name:?}; there are: {}",
            known.join(", ")
        )));
    }
    let jail = Jail::fetch(connection, name).await?;
    let bans = jail_proxy(connection, name).await?.list_bans().await?;
    let bans: Vec<BanRow> = bans
        .into_iter()
        .map(|(source, since, until)| (source, name.to_owned(), since, until))
        .collect();
    if json {
        let mut value = jail.json();
        value["bans"] = bans.iter().map(ban_json).collect();
        return text::print_json(&value);
    }
    let filters = if jail.filters.is_empty() {
        "none (takes bans made by hand)".to_owned()
    } else {
        jail.filters.join(", ")
    };
    let out = format!(
        "jail {name}\n  filters       {filters}\n  rule          {}\n  failing now   {} (sources with attempts in the window)\n  \
         failed        {} in all\n  banned now    {}\n  banned        {} in all\n",
        jail.rule(),
        jail.currently_failed,
        jail.total_failed,
        jail.currently_banned,
        jail.total_banned,
    );
    text::print(&(out + &ban_table(bans)))
}

impl Jail {
    async fn fetch(connection: &Connection, name: &str) -> Result<Self, Failure> {
        let jail = jail_proxy(connection, name).await?;
        Ok(Self {
            name: name.to_owned(),
            filters: jail.filters().await?,
            attempts: jail.attempts().await?,
            window_usec: jail.window_usec().await?,
            ban_time_usec: jail.ban_time_usec().await?,
            currently_failed: jail.currently_failed().await?,
            total_failed: jail.total_failed().await?,
            currently_banned: jail.currently_banned().await?,
            total_banned: jail.total_banned().await?,
        })
    }

    fn rule(&self) -> String {
        let ban_time = text::span(self.ban_time_usec);
        if self.filters.is_empty() {
            return format!("bans for {ban_time}");
        }
        format!(
            "{} attempts in {} → {ban_time}",
            self.attempts,
            text::span(self.window_usec)
        )
    }

    fn row(&self) -> [String; 6] {
        let numbers = [
            u64::from(self.currently_failed),
            self.total_failed,
            u64::from(self.currently_banned),
            self.total_banned,
        ];
        let [failing_now, failed, banned_now, banned] = numbers.map(|n| n.to_string());
        [
            self.name.clone(),
            failing_now,
            failed,
            banned_now,
            banned,
            self.rule(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "filters": self.filters,
            "attempts": self.attempts,
            "window_usec": self.window_usec,
            "ban_time_usec": self.ban_time_usec,
            "currently_failed": self.currently_failed,
            "total_failed": self.total_failed,
            "currently_banned": self.currently_banned,
            "total_banned": self.total_banned,
        })
    }
}

fn ban_json((source, jail, since, until): &BanRow) -> Value {
    json!({ "source": source, "jail": jail, "since_usec": since, "until_usec": until })
}

/// The newest bans.
fn ban_table(mut bans: Vec<BanRow>) -> String {
    bans.sort_by_key(|(.., since, _)| Reverse(*since));
    if bans.is_empty() {
        return "\nnobody is banned\n".to_owned();
    }
    let now = Timestamp::now();
    let row = |(source, jail, since, until): &BanRow| {
        [
            source.clone(),
            jail.clone(),
            text::time(*since),
            text::time(*until),
            text::ahead(*until, now),
        ]
    };
    let rows: Vec<_> = bans.iter().take(MOST_OF_JAIL).map(row).collect();
    let left = bans.len() - rows.len();
    format!(
        "\n{}{}",
        text::table(["BANNED", "JAIL", "SINCE", "UNTIL", "ENDS"], &rows),
        more(u32::try_from(left).unwrap_or(u32::MAX))
    )
}
