//! What daemons write around a client's text, and what a client may find useful to write there.

use std::borrow::Cow;

/// A line of a daemon with `{}` in the place, or places, of the client's text; the client is 192.0.2.7.
pub(crate) struct Frame {
    pub(crate) unit: &'static str,
    pub(crate) user: &'static str,
    pub(crate) line: &'static str,
    /// Who hears of the attempt whatever the text is, if the text doesn't hide it.
    pub(crate) filter: &'static str,
    /// What the daemon lets through in this place.
    passes: Passes,
}

#[derive(Clone, Copy, PartialEq)]
enum Passes {
    /// Any text: the attempt must be seen.
    Anything,
    /// 80 bytes, which is where Dovecot's login processes cut a name: the attempt must be seen.
    LoginName,
    /// Upper case only: Dovecot writes the method so. An attempt with a method of one word must be seen.
    Method,
    /// 64 bytes, which is where Dovecot's auth service cuts a name. It lets through the characters of
    /// `auth_username_chars`, and others only where an admin allows more: an attempt with the former must be seen.
    UserNames,
    /// The address must be right, more is not asked.
    Whatever,
}

impl Frame {
    /// The line with a client's text in it, as far as the daemon lets that through.
    pub(crate) fn fill(&self, text: &[u8]) -> Vec<u8> {
        let text = self.passed(text);
        let pieces: Vec<_> = self.line.split("{}").map(str::as_bytes).collect();
        pieces.join(&*text)
    }

    /// Whether a client's text is such that the attempt must be seen all the same.
    pub(crate) fn must_be_seen(&self, text: &[u8]) -> bool {
        let text = self.passed(text);
        match self.passes {
            Passes::Anything | Passes::LoginName => true,
            Passes::Method => !text.contains(&b' '),
            Passes::UserNames => text
                .iter()
                .all(|c| c.is_ascii_alphanumeric() || b"-_.@".contains(c)),
            Passes::Whatever => false,
        }
    }

    fn passed<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        match self.passes {
            Passes::LoginName => text[..text.len().min(80)].into(),
            Passes::UserNames => text[..text.len().min(64)].into(),
            Passes::Method => text.to_ascii_uppercase().into(),
            Passes::Anything | Passes::Whatever => text.into(),
        }
    }
}

const fn dovecot(passes: Passes, line: &'static str) -> Frame {
    Frame {
        unit: "dovecot.service",
        user: "root",
        line,
        filter: "dovecot",
        passes,
    }
}

const fn postfix(filter: &'static str, passes: Passes, line: &'static str) -> Frame {
    Frame {
        unit: "postfix@-.service",
        user: "postfix",
        line,
        filter,
        passes,
    }
}

pub(crate) const FRAMES: [Frame; 37] = {
    use Passes::{Anything, LoginName, Method, UserNames, Whatever};
    [
        dovecot(
            LoginName,
            "imap-login: Aborted login (auth failed, 1 attempts in 2 secs): user=<{}>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.2, TLS, session=<b0Xyz91gY9LGEgAE>",
        ),
        dovecot(
            LoginName,
            "pop3-login: Disconnected: Connection closed (auth failed, 3 attempts in 19 secs): user=<{}>, rip=192.0.2.7, lip=192.0.2.2",
        ),
        dovecot(
            LoginName,
            "imap-login: Login aborted: Logged out (auth failed, 1 attempts in 4 secs) (auth_failed): user=<{}>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.2, session=<b0Xyz91gY9LGEgAE>",
        ),
        dovecot(
            LoginName,
            "imap-login: Login aborted: Logged out (client didn't finish SASL auth, 2 attempts in 4 secs) (auth_waiting_client): user=<{}>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.2, session=<b0Xyz91gY9LGEgAE>",
        ),
        dovecot(
            Method,
            "imap-login: Aborted login (auth failed, 1 attempts in 2 secs): user=<bob>, method={}, rip=192.0.2.7, lip=192.0.2.2, session=<b0Xyz91gY9LGEgAE>",
        ),
        dovecot(
            Anything,
            "imap-login: Aborted login (auth failed, 1 attempts in 2 secs): user=<bob>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.2, TLS: Received invalid SSL certificate: self-signed certificate: /CN={} (check ssl_ca setting?), session=<b0Xyz91gY9LGEgAE>",
        ),
        dovecot(
            Anything,
            "imap-login: Aborted login (auth failed, 1 attempts in 2 secs): user=<>, rip=192.0.2.7, lip=192.0.2.2, TLS: Received invalid SSL certificate: certificate revoked: {}",
        ),
        dovecot(
            UserNames,
            "imap-login: proxy({}): Login failed to 10.0.0.2:143: Authentication failed.: user=<{}>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.2",
        ),
        dovecot(
            Whatever,
            "imap-login: proxy({}): Login failed to 10.0.0.2:143: [UNAVAILABLE] Temporary authentication failure.: user=<{}>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.2",
        ),
        dovecot(
            Anything,
            "pam_unix(dovecot:auth): authentication failure; logname= uid=0 euid=0 tty=dovecot ruser={} rhost=192.0.2.7",
        ),
        dovecot(
            UserNames,
            "pam_sss(dovecot:auth): authentication failure; logname= uid=0 euid=0 tty=dovecot ruser={} rhost=192.0.2.7 user={}",
        ),
        dovecot(
            Anything,
            "auth: plain(?,192.0.2.7,<b0Xyz91gY9LGEgAE>): Username character disallowed by auth_username_chars: 0x3c (username: {})",
        ),
        dovecot(
            Anything,
            "auth(?,192.0.2.7,sasl:plain)<b0Xyz91gY9LGEgAE>: plain: Username character disallowed by auth_username_chars: 0x3c (username: {})",
        ),
        dovecot(
            UserNames,
            "auth-worker(585): pam({},192.0.2.7): pam_authenticate() failed: Authentication failure (password mismatch?)",
        ),
        dovecot(
            UserNames,
            "auth-worker(585): conn unix:auth-worker (pid=584,uid=102): auth-worker<30>: pam({},192.0.2.7,<b0Xyz91gY9LGEgAE>): pam_authenticate() failed: Authentication failure (Password mismatch?)",
        ),
        dovecot(
            UserNames,
            "auth: passwd-file({},192.0.2.7,<b0Xyz91gY9LGEgAE>): Password mismatch",
        ),
        dovecot(
            Whatever,
            "auth: passwd-file(bob,192.0.2.7,<b0Xyz91gY9LGEgAE>): Password mismatch (given password: {})",
        ),
        dovecot(
            Whatever,
            "auth: passwd-file({},192.0.2.7): unknown user (given password: {})",
        ),
        dovecot(
            UserNames,
            "auth-worker({},192.0.2.7)<584><b0Xyz91gY9LGEgAE>: request [1]: pam: pam_authenticate() failed: Authentication failure (Password mismatch?)",
        ),
        dovecot(
            UserNames,
            "auth({},192.0.2.7,sasl:plain)<b0Xyz91gY9LGEgAE>: passwd-file: unknown user",
        ),
        dovecot(
            Whatever,
            "auth({},192.0.2.7,sasl:plain)<b0Xyz91gY9LGEgAE>: passwd-file: Password mismatch (given password: {})",
        ),
        dovecot(
            Whatever,
            "auth-worker(585): Error: conn unix:auth-worker (pid=584,uid=102): auth-worker<1>: sql({},192.0.2.7,<b0Xyz91gY9LGEgAE>): Password query failed: {}",
        ),
        dovecot(
            Whatever,
            "auth-worker({},192.0.2.7)<585><b0Xyz91gY9LGEgAE>: request [2]: Error: sql: Password query failed: {}",
        ),
        // These tell of everybody's trouble, if they do: no client may bring that about.
        dovecot(
            Whatever,
            "pam_sss(dovecot:auth): received for user {}: 7 (Authentication failure)",
        ),
        dovecot(
            Whatever,
            "auth: Error: auth worker: Aborted PASSV request for {}: Lookup timed out",
        ),
        postfix(
            "postfix-sasl",
            Anything,
            "warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: (reason unavailable), sasl_username={}",
        ),
        postfix(
            "postfix-sasl",
            Anything,
            "warning: host.example[192.0.2.7]:41234: SASL PLAIN authentication failed: authentication failure, sasl_username={}",
        ),
        postfix(
            "postfix-sasl",
            Whatever,
            "warning: unknown[192.0.2.7]: SASL {} authentication failed: Invalid authentication mechanism, sasl_username={}",
        ),
        postfix(
            "postfix-sasl",
            Whatever,
            "3F2A1: client=unknown[192.0.2.7], sasl_method=PLAIN, sasl_username={}, sasl_sender={}",
        ),
        postfix(
            "postfix-reject",
            Anything,
            "NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 554 5.7.1 <{}>: Relay access denied; from=<{}> to=<{}> proto=ESMTP helo=<{}>",
        ),
        postfix(
            "postfix-reject",
            Anything,
            "NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 450 4.7.1 <{}>: Helo command rejected: Host not found; from=<{}> to=<{}> proto=ESMTP helo=<{}>",
        ),
        postfix(
            "postfix-reject",
            Anything,
            "NOQUEUE: reject: RCPT from [192.0.2.7]:41234: 550 5.7.1 Service unavailable; client [192.0.2.7] blocked using rbl.example; from=<{}>, to=<{}>, proto=ESMTP, helo=<{}>",
        ),
        postfix(
            "postfix-probe",
            Anything,
            "PREGREET 14 after 0.5 from [192.0.2.7]:41234: {}",
        ),
        postfix(
            "postfix-probe",
            Anything,
            "warning: non-SMTP command from unknown[192.0.2.7]: {}",
        ),
        postfix(
            "postfix-probe",
            Anything,
            "improper command pipelining after EHLO from unknown[192.0.2.7]: {}",
        ),
        Frame {
            unit: "saslauthd.service",
            user: "root",
            line: "pam_unix(smtp:auth): authentication failure; logname= uid=0 euid=0 tty= ruser= rhost=192.0.2.7  user={}",
            filter: "saslauthd",
            passes: Anything,
        },
        // No address at all: any in the text is the client's.
        Frame {
            unit: "saslauthd.service",
            user: "root",
            line: "do_auth         : auth failure: [user={}] [service=smtp] [realm={}] [mech=pam] [reason=PAM auth error]",
            filter: "saslauthd",
            passes: Whatever,
        },
    ]
};

/// What lines are made of, and other things that a client may find useful to write.
pub(crate) const PIECES: [&str; 47] = [
    "user=<",
    ">, ",
    ": ",
    "): ",
    " (",
    ")",
    "]",
    "[",
    "<",
    ">",
    ",",
    " ",
    "\n",
    "\r",
    "\u{1b}[31m",
    "?",
    "bob",
    "method=PLAIN, ",
    "rip=198.51.100.1, ",
    "lip=192.0.2.2",
    ", session=<abc>",
    "198.51.100.1",
    ",198.51.100.1",
    "x[198.51.100.1]",
    "[198.51.100.1]:25",
    "(bob,198.51.100.1,<s>): ",
    "(bob,198.51.100.1,sasl:plain)<s>: ",
    ",master",
    "rhost=198.51.100.1",
    "  user=root",
    " ruser=",
    "unknown user",
    "Password mismatch",
    "pam_authenticate() failed: Authentication failure",
    " - trying the next passdb",
    ": SASL LOGIN authentication failed: ",
    "Connection lost to authentication server",
    ", sasl_username=",
    ", sasl_sender=",
    "(auth failed, 9 attempts in 1 secs)",
    "Login failed to 10.0.0.2:143: [UNAVAILABLE] ",
    "Started proxying to ",
    "[remote=198.51.100.1] [mech=pam] [reason=",
    "Username character disallowed by auth_username_chars: 0x3c (username: ",
    "Error: ldap(ldap://10.0.0.2): Can't connect to server: ",
    "Not connected to database",
    "received for user x: 9 (Authentication service cannot retrieve authentication info)",
];
