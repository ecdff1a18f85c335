//! Who an id is on this host. journald tells `_UID` alone.

use std::collections::HashMap;

use nix::unistd::{Uid, User};

/// User names remembered by id; only mail programs' ids occur, so this is never reached in earnest.
const MAX_USERS: usize = 1024;

/// This host's user names, by id.
#[derive(Default)]
pub(super) struct Users(HashMap<u32, Option<String>>);

impl Users {
    pub(super) fn name(&mut self, uid: u32) -> Option<&str> {
        if self.0.len() >= MAX_USERS {
            self.0.clear();
        }
        let look_up = || Some(User::from_uid(Uid::from_raw(uid)).ok()??.name);
        self.0.entry(uid).or_insert_with(look_up).as_deref()
    }
}
