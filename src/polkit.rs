//! Who may ask for what: polkit decides (`policy/polkit/org.banjour.Banjour1.policy`), except that root always may.

use std::collections::HashMap;
use std::fmt;

use zbus::Connection;
use zbus::fdo::{self, DBusProxy};
use zbus::message::{Flags, Header};
use zbus::names::BusName;
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

/// What polkit is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To ban a source.
    Ban,
    /// To lift bans.
    Unban,
    /// To read the configuration again.
    Reload,
    /// To see who is banned.
    Read,
    /// To see who tried what: names, attempts, customers.
    Inspect,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ban => "org.banjour.Banjour1.ban",
            Self::Unban => "org.banjour.Banjour1.unban",
            Self::Reload => "org.banjour.Banjour1.reload",
            Self::Read => "org.banjour.Banjour1.read",
            Self::Inspect => "org.banjour.Banjour1.inspect",
        })
    }
}

/// Whether the sender of the message may do this. Asks the user by a dialog if, and only if, the message allows it.
///
/// # Errors
/// `AccessDenied`; or `InteractiveAuthorizationRequired`, when a dialog would have helped.
pub async fn authorize(
    connection: &Connection,
    header: &Header<'_>,
    action: Action,
) -> fdo::Result<()> {
    let denied = |why: String| fdo::Error::AccessDenied(format!("{action}: {why}"));
    if is_root(connection, header).await? {
        return Ok(());
    }
    let interactive = header
        .primary()
        .flags()
        .contains(Flags::ALLOW_INTERACTIVE_AUTH);
    let flags = if interactive {
        CheckAuthorizationFlags::ALLOW_USER_INTERACTION
    } else {
        CheckAuthorizationFlags::empty()
    };
    let subject = Subject::new_for_message_header(header).map_err(|e| denied(e.to_string()))?;
    let authority = AuthorityProxy::new(connection).await?;
    let answer = authority
        .check_authorization(&subject, &action.to_string(), &HashMap::new(), flags, "")
        .await
        .map_err(|e| denied(format!("polkit does not answer: {e}")))?;
    match (answer.is_authorized, answer.is_challenge) {
        (true, _) => Ok(()),
        (false, true) if !interactive => Err(fdo::Error::InteractiveAuthorizationRequired(
            format!("{action}: an administrator may do this"),
        )),
        (false, _) => Err(denied("polkit does not allow it".to_owned())),
    }
}

/// Whether the sender of the message is root.
///
/// # Errors
/// When the bus does not know the sender any more.
pub async fn is_root(connection: &Connection, header: &Header<'_>) -> fdo::Result<bool> {
    let Some(sender) = header.sender() else {
        return Ok(false);
    };
    let bus = DBusProxy::new(connection).await?;
    let credentials = bus
        .get_connection_credentials(BusName::from(sender.to_owned()))
        .await?;
    Ok(credentials.unix_user_id() == Some(0))
}
