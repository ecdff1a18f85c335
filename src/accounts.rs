//! Accounts that many sources guess at. A botnet tries each address once or twice, below any limit; what its addresses have
//! in common is the account. Pure.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use itertools::Itertools;
use jiff::Timestamp;
use lru::LruCache;

use crate::ban::JailName;
use crate::jail::before;
use crate::source::Source;
use crate::tried::beginning;

/// Names that are remembered, those that attackers make up among them; above that, the one goes that nobody has tried
/// for the longest time, which is none under attack.
pub const MAX_ACCOUNTS: usize = 16_384;

/// So many characters of a name tell it from others.
const MAX_NAME: usize = 64;

/// When an account is under attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// So many sources fail for it; 0: never.
    pub sources: u16,
    /// In this time.
    pub window: Duration,
}

/// The accounts that somebody failed to log in to.
#[derive(Debug)]
pub struct Accounts {
    rule: Rule,
    by_name: LruCache<String, Account>,
    /// When one last had to be forgotten that somebody had tried within the window.
    pub overflowed: Timestamp,
}

#[derive(Debug)]
struct Account {
    /// The last sources that failed, each once, with when, as many as the rule has.
    sources: VecDeque<(Timestamp, Source)>,
    /// It is known to be under attack.
    told: bool,
    /// Attempts since it was last left alone for a window, as each jail counts them.
    attempts: Vec<(JailName, u32)>,
    heard: Timestamp,
}

impl Account {
    fn count(&mut self, new: &[(JailName, u32)]) {
        for (jail, new) in new {
            let known = self.attempts.iter_mut().find(|(name, _)| name == jail);
            match known {
                Some((_, attempts)) => *attempts = attempts.saturating_add(*new),
                None => self.attempts.push((Arc::clone(jail), *new)),
            }
        }
    }

    /// What Postfix asks Dovecot, jails of both may see.
    fn attempts(&self) -> u32 {
        let attempts = self.attempts.iter().map(|(_, attempts)| *attempts);
        attempts.max().unwrap_or(0)
    }
}

impl Default for Account {
    fn default() -> Self {
        Self {
            sources: VecDeque::new(),
            told: false,
            attempts: Vec::new(),
            heard: Timestamp::MIN,
        }
    }
}

/// How an account is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Siege {
    /// No more fail than people who mistype.
    None,
    /// It has just begun, with so many sources.
    Begins(u16),
    /// It goes on.
    Lasts,
}

impl Accounts {
    /// Nobody has failed yet.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self {
            rule,
            // Unbounded in itself so that memory grows with use; `fail` keeps the bound.
            by_name: LruCache::unbounded(),
            overflowed: Timestamp::MIN,
        }
    }

    /// Another rule from now on; the last sources that failed stay known, as many as it has.
    pub fn set_rule(&mut self, rule: Rule) {
        self.rule = rule;
        let most = usize::from(rule.sources);
        if most == 0 {
            self.by_name.clear();
        }
        for (_, account) in &mut self.by_name {
            let surplus = account.sources.len().saturating_sub(most);
            account.sources.drain(..surplus);
        }
    }

    /// Somebody has failed to log in; what is new by it to each jail.
    pub fn fail(
        &mut self,
        user: &str,
        source: Source,
        at: Timestamp,
        new: &[(JailName, u32)],
    ) -> Siege {
        if user.is_empty() {
            return Siege::None;
        }
        let name = folded(user);
        let since = before(at, self.rule.window);
        if self.by_name.len() >= MAX_ACCOUNTS && !self.by_name.contains(&*name) {
            let forgotten = self.by_name.pop_lru();
            let last = forgotten.and_then(|(_, account)| account.sources.back().copied());
            if last.is_some_and(|(last, _)| last > since) {
                self.overflowed = at;
            }
        }
        let account = self.by_name.get_or_insert_mut_ref(&*name, Account::default);
        let since = before(at, self.rule.window);
        if account.heard <= since {
            account.attempts.clear();
        }
        account.count(new);
        account.heard = account.heard.max(at);
        let needed = usize::from(self.rule.sources);
        if needed == 0 {
            return Siege::None;
        }
        account.sources.retain(|(_, known)| *known != source);
        if account.sources.len() == needed {
            account.sources.pop_front();
        }
        account.sources.push_back((at, source));
        let first = account.sources.front().map(|(first, _)| *first);
        let besieged = account.sources.len() == needed && first.is_some_and(|first| first > since);
        let told = std::mem::replace(&mut account.told, besieged);
        match (besieged, told) {
            (false, _) => Siege::None,
            (true, false) => Siege::Begins(self.rule.sources),
            (true, true) => Siege::Lasts,
        }
    }

    /// The accounts with most attempts lately: attempts, sources (no more than the rule asks for), and whether they are
    /// under attack.
    #[must_use]
    pub fn busiest(&self, now: Timestamp, most: usize) -> Vec<(&str, u32, u32, bool)> {
        let since = before(now, self.rule.window);
        let lately = self.by_name.iter();
        let lately = lately.filter(|(_, a)| a.heard > since && a.attempts() > 0);
        let rows = lately.map(|(name, account)| {
            let sources = account.sources.iter().filter(|(at, _)| *at > since);
            let sources = u32::try_from(sources.count()).unwrap_or(u32::MAX);
            (Reverse(account.attempts()), &**name, sources, account.told)
        });
        let busiest = rows.k_smallest(most);
        busiest
            .map(|(Reverse(attempts), name, sources, told)| (name, attempts, sources, told))
            .collect()
    }

    /// Somebody who failed has logged in after all.
    pub fn forgive(&mut self, user: &str, source: Source) {
        if let Some(account) = self.by_name.peek_mut(&*folded(user)) {
            account.sources.retain(|(_, known)| *known != source);
            if account.sources.is_empty() {
                account.attempts.clear();
            }
        }
    }
}

/// A name as it is compared. Servers make capitals small.
fn folded(user: &str) -> Cow<'_, str> {
    let name = beginning(user, MAX_NAME);
    if name
        .bytes()
        .all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())
    {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(name.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        sources: 3,
        window: Duration::from_hours(1),
    };

    fn second(n: i64) -> Timestamp {
        Timestamp::from_second(n).unwrap()
    }

    fn host(n: usize) -> Source {
        format!("198.18.{}.{}", n / 256, n % 256).parse().unwrap()
    }

    #[test]
    fn many_sources_are_an_attack_and_one_that_fails_often_is_not() {
        let mut accounts = Accounts::new(RULE);
        for at in 0..20 {
            assert_eq!(
                accounts.fail("bob", host(at % 2), second(0), &[]),
                Siege::None
            );
        }
        assert_eq!(
            accounts.fail("Bob", host(2), second(1), &[]),
            Siege::Begins(3)
        );
        assert_eq!(accounts.fail("bob", host(3), second(2), &[]), Siege::Lasts);
        assert_eq!(accounts.fail("bob", host(0), second(3), &[]), Siege::Lasts);
        assert_eq!(accounts.fail("alice", host(3), second(3), &[]), Siege::None);
    }

    #[test]
    fn the_busiest_come_first_and_an_attempt_that_two_jails_see_is_one() {
        let mut accounts = Accounts::new(RULE);
        let both = [("dovecot".into(), 1), ("postfix-sasl".into(), 1)];
        for n in 0..4 {
            accounts.fail("bob", host(n), second(0), &both);
        }
        accounts.fail("alice", host(1), second(0), &both[..1]);
        let busiest = [("bob", 4, 3, true), ("alice", 1, 1, false)];
        assert_eq!(accounts.busiest(second(1), 9), busiest);
        assert_eq!(accounts.busiest(second(1), 1), busiest[..1]);
        assert_eq!(accounts.busiest(second(3600), 9), []);
        // Who gets in after all leaves nothing.
        accounts.fail("carol", host(1), second(1), &both);
        accounts.forgive("carol", host(1));
        assert_eq!(accounts.busiest(second(1), 9), busiest);
        accounts.fail("bob", host(1), second(3600), &both);
        assert_eq!(accounts.busiest(second(3600), 9), [("bob", 1, 1, false)]);
    }

    #[test]
    fn who_gets_in_after_all_is_no_attacker() {
        let mut accounts = Accounts::new(RULE);
        for n in 0..9 {
            assert_eq!(accounts.fail("bob", host(n), second(0), &[]), Siege::None);
            accounts.forgive("Bob", host(n));
        }
    }

    #[test]
    fn it_ends_when_fewer_come_and_may_begin_again() {
        let mut accounts = Accounts::new(RULE);
        for n in 0..3 {
            accounts.fail("bob", host(n), second(0), &[]);
        }
        assert_eq!(
            accounts.fail("bob", host(4), second(3599), &[]),
            Siege::Lasts
        );
        assert_eq!(
            accounts.fail("bob", host(5), second(3600), &[]),
            Siege::None
        );
        assert_eq!(
            accounts.fail("bob", host(6), second(3700), &[]),
            Siege::Begins(3)
        );
    }

    #[test]
    fn names_that_are_made_up_are_bounded_and_push_out_none_under_attack() {
        let mut accounts = Accounts::new(RULE);
        for n in 0..3 {
            accounts.fail("bob", host(n), second(0), &[]);
        }
        for n in 0..2 * MAX_ACCOUNTS {
            accounts.fail(&format!("{n}{}", "x".repeat(9000)), host(1), second(1), &[]);
            if n % 1000 == 0 {
                assert_eq!(accounts.fail("bob", host(n), second(1), &[]), Siege::Lasts);
            }
        }
        assert_eq!(accounts.by_name.len(), MAX_ACCOUNTS);
        assert_eq!(accounts.overflowed, second(1));
        assert_eq!(accounts.fail("", host(1), second(1), &[]), Siege::None);
    }

    #[test]
    fn names_that_nobody_has_tried_for_long_are_no_loss() {
        let mut accounts = Accounts::new(RULE);
        for n in 0..3 * MAX_ACCOUNTS {
            let at = i64::try_from(n / MAX_ACCOUNTS * 3600).unwrap();
            accounts.fail(&n.to_string(), host(1), second(at), &[]);
        }
        assert_eq!(accounts.overflowed, Timestamp::MIN);
    }

    #[test]
    fn another_rule_applies_to_what_is_known() {
        let mut accounts = Accounts::new(RULE);
        accounts.fail("bob", host(0), second(0), &[]);
        accounts.fail("bob", host(1), second(1), &[]);
        let rule = |sources| Rule { sources, ..RULE };
        accounts.set_rule(rule(4));
        assert_eq!(accounts.fail("bob", host(2), second(2), &[]), Siege::None);
        assert_eq!(
            accounts.fail("bob", host(3), second(3), &[]),
            Siege::Begins(4)
        );
        accounts.set_rule(rule(2));
        assert_eq!(accounts.fail("bob", host(4), second(4), &[]), Siege::Lasts);
        // The last two, of whom one was long ago by then.
        assert_eq!(
            accounts.fail("bob", host(5), second(3604), &[]),
            Siege::None
        );
        accounts.set_rule(rule(0));
        accounts.set_rule(RULE);
        accounts.fail("bob", host(6), second(3605), &[]);
        assert_eq!(
            accounts.fail("bob", host(7), second(3606), &[]),
            Siege::None
        );
    }

    #[test]
    fn nothing_is_an_attack_where_the_rule_says_so() {
        let mut accounts = Accounts::new(Rule { sources: 0, ..RULE });
        for n in 0..100 {
            assert_eq!(accounts.fail("bob", host(n), second(0), &[]), Siege::None);
        }
    }
}
