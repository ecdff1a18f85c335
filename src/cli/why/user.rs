//! `banjour why NAME`: a customer on the phone knows a name, and no address.

use serde_json::json;

use super::{Failure, list, text};
use crate::bus::{BanDetails, ManagerProxy};

/// Shows who is banned and has tried this name.
pub(super) async fn run(
    manager: &ManagerProxy<'_>,
    user: &str,
    as_json: bool,
) -> Result<(), Failure> {
    let mut bans = manager.describe_bans("", 0).await?;
    bans.retain(|ban| ban.users.iter().any(|tried| is_same(tried, user)));
    if as_json {
        return text::print_json(&json!({ "user": user, "bans": bans }));
    }
    text::print(&shown(user, &bans))
}

fn shown(user: &str, bans: &[BanDetails]) -> String {
    let [first, ..] = bans else {
        return format!(
            "nobody who is banned has tried {user:?}; if the name can't log in, it is for another reason\n"
        );
    };
    let verdict = format!("who has tried {user:?} and is banned:");
    format!(
        "{}\n\n{}\nMore on one of them: banjour why {}\n",
        text::styled(text::STRONG, &verdict),
        list::table(bans),
        first.source
    )
}

/// Servers make capitals small; and who logs in with a name may leave out its domain, or not.
fn is_same(tried: &str, user: &str) -> bool {
    let [tried, user] = [tried, user].map(str::to_lowercase);
    let local = |name: &str| name.split('@').next().map(str::to_owned);
    tried == user || (tried.contains('@') != user.contains('@') && local(&tried) == local(&user))
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn names_are_compared_as_servers_do() {
        for (tried, user) in [
            ("bob", "Bob"),
            ("bob@a.example", "bob"),
            ("BOB", "bob@a.example"),
        ] {
            assert!(is_same(tried, user), "{tried} {user}");
        }
        for (tried, user) in [
            ("bob@a.example", "bob@b.example"),
            ("bobby", "bob"),
            ("", "bob"),
        ] {
            assert!(!is_same(tried, user), "{tried} {user}");
        }
    }
}
