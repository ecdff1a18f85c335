//! A report as one HTML page that needs nothing else: no script, no font, no picture from anywhere. What attackers wrote is
//! text in it and can't be anything else, since `maud` escapes all that is not written here.

use jiff::tz::TimeZone;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart;
use super::words::{headline, len, minute, number, percent, period, remarks, shown, some, span};
use crate::report::{LENGTHS, Report};

const STYLE: &str = include_str!("page.css");

/// Even if something got through: the browser runs nothing and fetches nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// Rows of a table, …
const ROWS: usize = 10;
/// … and of bars.
const BARS: usize = 8;

pub(super) fn show(report: &Report, zone: &TimeZone) -> String {
    let host = report.host.as_deref().map(shown).unwrap_or_default();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                title { "banjour report " (host) " " (period(report, zone)) }
                // Else a browser asks for one.
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p { "banjour report · " (period(report, zone)) }
                    h1 { (headline(report)) }
                    ul { @for remark in remarks(report, zone) { li { (remark) } } }
                }
                @if report.entries > 0 { (body(report, zone)) }
                footer {
                    "Read from the journal by banjour " (env!("CARGO_PKG_VERSION")) ". Each attempt counts once, however many \
                     lines tell of it; services and mechanisms are told by the programs that talk to clients. \
                     Networks are /24 of IPv4 and /48 of IPv6."
                }
            }
        }
    };
    page.into_string()
}

fn body(report: &Report, zone: &TimeZone) -> Markup {
    let bans = &report.bans;
    let longest = bans.lengths.iter().rposition(|bans| *bans > 0);
    let lengths: Vec<(String, u64)> = LENGTHS
        .iter()
        .zip(bans.lengths)
        .take(longest.map_or(0, |longest| longest + 1))
        .map(|((_, name), bans)| ((*name).to_owned(), bans))
        .collect();
    let names = ["once", "twice", "3 times", "4 times", "more often"];
    let times: Vec<(String, u64)> = names
        .iter()
        .zip(bans.times())
        .map(|(name, sources)| ((*name).to_owned(), sources))
        .collect();
    html! {
        (cards(report))
        main {
            @if !report.logins.is_empty() { (logins(report, zone)) }
            section.full { (chart::over_time(&report.axis, zone)) }
            section { (chart::hours(&report.hours)) }
            section {
                (shares("Attempts by service", &report.services))
                @if !report.mechanisms.is_empty() { (shares("By mechanism", &report.mechanisms)) }
            }
            @if bans.made > 0 {
                section { (chart::across("bans", "How long bans last", &lengths, true)) }
                section { (chart::across("bans", "Sources, by how often they were banned", &times, true)) }
            }
            (accounts(report))
            (networks(report))
            (sources(report, zone))
            (returners(report, zone))
        }
    }
}

fn cards(report: &Report) -> Markup {
    let bans = &report.bans;
    let (banned, back) = (bans.by_source.len() as u64, len(&bans.returners()));
    let cards = [
        ("attempts to guess a password", number(report.attempts)),
        ("sources that tried", number(len(&report.guessers))),
        ("accounts tried", number(report.account_count as u64)),
        (
            "accounts found under attack by many sources",
            number(bans.besieged.len() as u64),
        ),
        ("bans", number(bans.made)),
        ("of those who were banned came back", percent(back, banned)),
    ];
    html! {
        dl.cards {
            @for (what, how_many) in cards { div { dt { (what) } dd { (how_many) } } }
        }
    }
}

fn shares(title: &str, shares: &[(String, u64)]) -> Markup {
    let mut rows: Vec<(String, u64)> = shares
        .iter()
        .take(BARS)
        .map(|(name, attempts)| (shown(name), *attempts))
        .collect();
    let others: u64 = shares.iter().skip(BARS).map(|(_, attempts)| attempts).sum();
    if others > 0 {
        rows.push(("others".to_owned(), others));
    }
    html! {
        @if rows.is_empty() {
            h2 { (title) }
            p.none { "No program that talks to clients has told." }
        } @else {
            (chart::across("attempts", title, &rows, true))
        }
    }
}

fn more(all: usize, one: &str, many: &str) -> Markup {
    let more = all.saturating_sub(ROWS) as u64;
    html! { @if more > 0 { p.more { "and " (some(more, &format!("more {one}"), &format!("more {many}"))) } } }
}

/// An attacker's text: whatever its writing direction, it stays where it is.
fn name(name: &str) -> Markup {
    html! { bdi { (shown(name)) } }
}

fn accounts(report: &Report) -> Markup {
    let rows = report.accounts.iter().take(ROWS);
    let most = report
        .accounts
        .first()
        .map_or(0, |(_, first)| first.attempts);
    html! {
        section {
            h2 { "Accounts most attacked" }
            @if report.accounts.is_empty() { p.none { "No names are known." } } @else {
                table {
                    tr { th { "account" } th.n { "attempts" } th {} th.n { "sources" } }
                    @for (user, account) in rows {
                        tr {
                            td.who { (name(user)) @if account.besieged { " " span.mark { "under attack" } } }
                            td.n { (number(account.attempts)) }
                            td.bar { (chart::cell(account.attempts, most)) }
                            td.n { (number(account.sources)) }
                        }
                    }
                }
                (more(report.accounts.len(), "account", "accounts"))
            }
        }
    }
}

fn networks(report: &Report) -> Markup {
    let rows = report.networks.iter().take(ROWS);
    let most = report
        .networks
        .first()
        .map_or(0, |(_, first)| first.attempts);
    html! {
        section {
            h2 { "Networks" }
            table {
                tr { th { "network" } th.n { "attempts" } th {} th.n { "sources" } th.n { "bans" } }
                @for (network, sum) in rows {
                    tr {
                        td.address { (network) }
                        td.n { (number(sum.attempts)) }
                        td.bar { (chart::cell(sum.attempts, most)) }
                        td.n { (number(sum.sources)) }
                        td.n { (number(sum.bans)) }
                    }
                }
            }
            (more(report.networks.len(), "network", "networks"))
        }
    }
}

fn sources(report: &Report, zone: &TimeZone) -> Markup {
    let rows = report.guessers.iter().take(ROWS);
    let most = report.guessers.first().map_or(0, |first| first.attempts);
    let bans = |source| {
        let banned = report.bans.by_source.get(source);
        banned.map_or(0, |banned| banned.bans)
    };
    html! {
        section.full {
            h2 { "Sources" }
            table {
                tr { th { "source" } th.n { "attempts" } th {} th.n { "names" } th.n { "bans" } th.n { "first" } th.n { "last" } }
                @for guesser in rows {
                    tr {
                        td.address { (guesser.source) }
                        td.n { (number(guesser.attempts)) }
                        td.bar { (chart::cell(guesser.attempts, most)) }
                        td.n { (number(guesser.names)) }
                        td.n { (number(bans(&guesser.source))) }
                        td.n { (minute(guesser.first, zone)) }
                        td.n { (minute(guesser.last, zone)) }
                    }
                }
            }
            (more(report.guessers.len(), "source", "sources"))
        }
    }
}

fn returners(report: &Report, zone: &TimeZone) -> Markup {
    let returners = report.bans.returners();
    html! {
        @if !returners.is_empty() {
            section.full {
                h2 { "Who comes back " small { "after a ban; each lasts longer than the one before" } }
                table {
                    tr { th { "source" } th.n { "bans" } th.n { "first" } th.n { "last" } th.n { "the last one for" } }
                    @for (source, banned) in returners.iter().take(ROWS) {
                        tr {
                            td.address { (source) }
                            td.n { (number(banned.bans)) }
                            td.n { (minute(banned.first, zone)) }
                            td.n { (minute(banned.last, zone)) }
                            td.n { (span(banned.last, banned.until)) }
                        }
                    }
                }
                (more(returners.len(), "source", "sources"))
            }
        }
    }
}

fn logins(report: &Report, zone: &TimeZone) -> Markup {
    html! {
        section.full.alarm {
            h2 { "Logins from sources that were banned " small { "a customer after too many mistakes, or a guess that was right" } }
            table {
                tr { th { "source" } th { "account" } th.n { "logins" } th.n { "last" } }
                @for login in report.logins.iter().take(ROWS) {
                    tr {
                        td.address { (login.source) }
                        td.who { (name(&login.user)) }
                        td.n { (number(login.logins)) }
                        td.n { (minute(login.last, zone)) }
                    }
                }
            }
            (more(report.logins.len(), "account", "accounts"))
        }
    }
}
