//! A botnet wakes up: 200,000 lines at once, from 65,000 addresses. Whoever tries often enough is banned, nobody else is, and
//! all of it counts once.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::before::{Before, Journal};
use crate::client::Service::Imap;
use crate::host::Guest;
use crate::load::{Crowd, Dice, Ledger, Pen, room_for_all};

crate::cases![two_hundred_thousand_lines_from_a_whole_botnet_count_once];

const LINES: usize = 200_000;
const ADDRESSES: u32 = 65_000;
/// So many attempts are handed to the writer at once.
const HANDFUL: usize = 500;

fn two_hundred_thousand_lines_from_a_whole_botnet_count_once(guest: &Guest) -> Result<()> {
    let mut dice = Dice::new(guest)?;
    let _room = room_for_all(guest)?;
    // Nobody's case is about these bans.
    let _forget = guest.undo(
        "systemctl stop banjour; rm /var/lib/banjour/banjour.db*; journalctl -q --rotate --vacuum-time=1s
         /usr/libexec/banjour/banjour-netfilter clear; systemctl start banjour",
    );
    let before = Before::of(guest)?;
    let (crowd, mut ledger) = (Crowd::of(ADDRESSES), Ledger::default());
    let mut pen = Pen::new(guest)?;
    let start = Instant::now();
    while ledger.lines < LINES {
        let handful = (0..HANDFUL).map(|_| crowd.all_and_then_any(&mut dice, &mut ledger));
        pen.write(&handful.collect::<String>())?;
    }
    pen.finish(&ledger)?;
    let written = start.elapsed();
    let longest = before.wait_until_counted(guest, ledger.total())?;
    let counted = start.elapsed();
    let after = before.expect_after(guest, &ledger, Journal::Whole)?;
    eprintln!(
        "{guest}: {} lines of {} sources in {written:.1?}, counted after {counted:.1?}, the longest answer in {longest:.1?}: {after}",
        ledger.lines,
        ledger.attempts.len()
    );
    let guesser = guest.source();
    guest.attackers.fail(guesser, Imap, 3)?;
    guest.expect_banned(guesser).context("after the storm")?;
    Ok(())
}
