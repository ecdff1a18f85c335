//! A jail that ends and begins again, with what was saved of it and a part of the journal.

use std::collections::BTreeMap;

use super::*;

const WINDOW: i64 = 60;
const SOURCES: [&str; 4] = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::/64"];

/// What four sources did in many windows, of whom none is ever silent for one, told by witnesses who never agree.
fn journal(seed: u64) -> Vec<(Evidence, Standing)> {
    let mut dice = seed;
    let mut roll = |below: u64| {
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((dice >> 33) % below).unwrap()
    };
    let mut said = Vec::new();
    for minute in 0..20 * WINDOW {
        let (witness, attempts) = match roll(4) {
            0 => (Witness::Back("pam_unix".into()), 1),
            1 => (Witness::Back("passwd-file".into()), 1),
            2 => (Witness::Refused, 1),
            _ => (Witness::Front, 2),
        };
        let outcome = Outcome::Failure { witness, attempts };
        let mut said_now = evidence(minute, SOURCES[roll(4)], outcome);
        said_now.password = (roll(3) == 0).then(|| format!("hash{}", roll(12)));
        said.push((said_now, Standing::ALL[roll(2)]));
    }
    said
}

fn sees(jail: &mut Jail, said: &[(Evidence, Standing)]) -> Vec<(u32, bool)> {
    said.iter()
        .map(|(evidence, standing)| {
            let (new, decision) = jail.observe(evidence, *standing);
            (new, decision.is_some())
        })
        .collect()
}

#[test]
fn it_goes_on_as_if_it_had_not_ended_wherever_that_was() {
    let mut decisions = 0;
    for seed in 0..8 {
        let journal = journal(seed);
        let mut whole = jail_with(5, WINDOW.unsigned_abs());
        let (mut saved, mut longest) = (BTreeMap::new(), 0);
        for end in 1..journal.len() {
            let (evidence, standing) = &journal[end - 1];
            whole.observe(evidence, *standing);
            for (source, standing, memory) in whole.memories(false) {
                saved.insert((source, standing), memory);
            }
            longest = longest.max(saved.len());
            if end % 37 != 0 {
                continue;
            }
            let (rule, position) = (whole.rule(), evidence.at);
            let since = before(position, rule.window + WITNESS_DELAY);
            let mut next = Jail::new(rule);
            for (key, memory) in &saved {
                next.remember(*key, memory, (since, position));
            }
            let again = journal[..end].partition_point(|(evidence, _)| evidence.at < since);
            sees(&mut next, &journal[again..end]);
            next.read_on();
            // The whole one is as it would be on its own.
            let mut unended = jail_with(5, WINDOW.unsigned_abs());
            sees(&mut unended, &journal[..end]);
            let rest = &journal[end..];
            let (seen, wanted) = (sees(&mut next, rest), sees(&mut unended, rest));
            let differ = seen
                .iter()
                .zip(&wanted)
                .position(|(seen, wanted)| seen != wanted);
            assert_eq!(differ, None, "{seed} {end}");
            decisions += wanted.iter().filter(|(_, decision)| *decision).count();
        }
        assert_eq!(longest, 2 * SOURCES.len());
    }
    assert!(decisions > 0);
}

#[test]
fn what_the_journal_tells_again_and_what_is_over_is_not_saved() {
    let mut jail = jail();
    let saved = |jail: &mut Jail| jail.memories(false).count();
    show(&mut jail, &[front(0, 1), front(5, 1)]);
    assert_eq!(saved(&mut jail), 0);
    show(&mut jail, &[front(6, 1)]);
    assert_eq!((saved(&mut jail), saved(&mut jail)), (1, 0));
    let memory = jail.memories(true).next().unwrap().2;
    assert_eq!(memory.heard, at(6));
    // A window of silence: what comes then is a new tale.
    show(&mut jail, &[front(67, 1)]);
    assert_eq!(saved(&mut jail), 0);

    let mallory = MALLORY.parse().unwrap();
    let mut next = self::jail();
    let mut remembers = |since: i64, position: i64| {
        next.remember(
            (mallory, Standing::Stranger),
            &memory,
            (at(since), at(position)),
        );
        next.remembers(mallory)
    };
    assert!(!remembers(0, 6), "the journal tells all");
    assert!(!remembers(2, 67), "it is over");
    assert!(remembers(1, 66));
}

#[test]
fn a_pardon_counts_for_who_is_still_read_again() {
    let mut jail = jail();
    show(&mut jail, &[front(0, 1), front(6, 1)]);
    let (source, standing, memory) = jail.memories(false).next().unwrap();
    let mut next = self::jail();
    next.remember((source, standing), &memory, (at(1), at(6)));
    next.settle(source, at(6));
    next.read_on();
    assert_eq!(show(&mut next, &[front(7, 2)]), [(2, false)]);
    assert_eq!(show(&mut next, &[front(8, 1)]), [(1, true)]);
}

/// Who has been silent for a window, and nobody else.
#[test]
fn who_is_silent_takes_no_memory() {
    let mut jail = jail();
    let host = |n: i64, minute| {
        let witness = Witness::Front;
        let outcome = Outcome::Failure {
            witness,
            attempts: 1,
        };
        evidence(minute, &format!("198.18.{}.{}", n / 250, n % 250), outcome)
    };
    let known = |jail: &Jail| jail.records[0].iter().count();
    let early: Vec<_> = (0..1000).map(|n| host(n, 0)).collect();
    show(&mut jail, &early);
    show(&mut jail, &[front(30, 2)]);
    assert_eq!(known(&jail), 1001);
    let late: Vec<_> = (0..600).map(|n| host(2000 + n, 61)).collect();
    show(&mut jail, &late);
    assert_eq!(known(&jail), 601);
    assert_eq!(show(&mut jail, &[front(62, 1)]), [(1, true)]);
}
