//! iptables and ipset.

use ipnet::IpNet;

use super::source::Timed;
use super::{Error, Held, Rules, Traffic};

pub(super) async fn replace(_rules: Rules, _sources: &[Timed]) -> Result<String, Error> {
    Err(Error::Unsupported("not yet".to_owned()))
}

pub(super) async fn apply(_removed: &[IpNet], _added: &[Timed]) -> Result<(), Error> {
    Err(Error::Unsupported("not yet".to_owned()))
}

pub(super) async fn list() -> Result<Held, Error> {
    Err(Error::Unsupported("not yet".to_owned()))
}

pub(super) async fn dropped() -> Result<Traffic, Error> {
    Err(Error::Unsupported("not yet".to_owned()))
}

pub(super) async fn clear() -> Result<(), Error> {
    Err(Error::Unsupported("not yet".to_owned()))
}
