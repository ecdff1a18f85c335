//! What callers on the bus ask of the agent.

use jiff::Timestamp;

use super::Agent;
use crate::bus::{Error, Order};
use crate::source::{NotASource, Source};

impl Agent {
    /// A caller that does not wait for its answer any more is none of our business.
    pub(super) fn obey(&mut self, order: Order) {
        let keeper = &mut self.keeper;
        match order {
            Order::Ban(source, jail, duration_usec, reply) => {
                let done = parse(&source)
                    .and_then(|source| keeper.order_ban(source, &jail, duration_usec));
                let _ = reply.send(done.map(|()| ((), keeper.when_saved())));
            }
            Order::Unban(source, jail, reply) => {
                let done = parse(&source).and_then(|source| keeper.order_unban(source, &jail));
                let _ = reply.send(done.map(|lifted| (lifted, keeper.when_saved())));
            }
            Order::ListBans(jail, reply) => drop(reply.send(keeper.list(jail.as_deref()))),
            Order::DescribeBans(jail, reply) => {
                let known = jail.is_empty() || keeper.config().jails.contains_key(&*jail);
                let jail = Some(&*jail).filter(|jail| !jail.is_empty());
                let bans = known.then(|| keeper.describe(jail));
                let no_such = || {
                    Error::NoSuchJail(format!("there is no jail {:?}", jail.unwrap_or_default()))
                };
                let _ = reply.send(bans.ok_or_else(no_such));
            }
            Order::Overview(most, reply) => {
                let _ = reply.send(keeper.overview(most, Timestamp::now()));
            }
            Order::Why(source, reply) => {
                let source = parse(&source);
                let _ = reply.send(source.map(|source| keeper.explain(source, Timestamp::now())));
            }
            Order::Status(reply) => drop(reply.send(keeper.status(self.problems.texts()))),
            Order::Jail(name, reply) => {
                if let Some(status) = keeper.jail_status(&name, Timestamp::now()) {
                    let _ = reply.send(status);
                }
            }
            Order::Reload(reply) => drop(reply.send(self.reload())),
        }
    }
}

fn parse(source: &str) -> Result<Source, Error> {
    source
        .parse()
        .map_err(|e: NotASource| Error::InvalidSource(e.to_string()))
}
