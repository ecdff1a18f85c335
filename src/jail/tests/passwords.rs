//! Where the server tells hashes of the passwords that were tried.

use super::*;

/// A phone with a stale password, where Dovecot tells the hash of it; the front tells of each attempt later.
#[test]
fn the_same_wrong_password_again_counts_once() {
    let mut jail = jail_with(3, 600);
    let tried = |minute: i64, user: &str, password: &str| Evidence {
        user: Some(user.to_owned()),
        password: Some(password.to_owned()),
        ..failure(minute, Witness::Back("sql".into()), 1)
    };
    let story: Vec<Evidence> = (0..20)
        .flat_map(|n| [tried(2 * n, "bob", "011c94"), front(2 * n + 1, 1)])
        .collect();
    let shown = show(&mut jail, &story);
    assert_eq!(shown.iter().map(|(new, _)| new).sum::<u32>(), 1);
    // Others are guesses, and so is the same one for somebody else.
    let more = [
        tried(50, "bob", "aaaaaa"),
        tried(51, "bob", "011c94"),
        tried(52, "alice", "011c94"),
    ];
    assert_eq!(show(&mut jail, &more), [(1, false), (0, false), (1, true)]);
}
