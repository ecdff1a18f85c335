//! One connection to a mail service: enough SMTP, IMAP, POP3 and Sieve to log in, or to fail to.

use std::io::{self, BufRead, BufReader, Write};

use anyhow::{Context, Result, bail, ensure};

use crate::client::Service;
use crate::wire::Wire;

/// How the password is handed over, where the protocol leaves a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// SASL PLAIN; IMAP's and POP3's own commands.
    Plain,
    /// SASL LOGIN over SMTP; the same as `Plain` elsewhere.
    Login,
}

/// What a server said to a name and a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Accepted,
    Refused,
    /// The connection was cut: the client got no answer, and will get none.
    Cut,
}

/// A connection to a mail service.
pub(crate) struct Session {
    service: Service,
    wire: BufReader<Wire>,
    tag: u32,
}

impl Session {
    /// Reads the greeting.
    pub(crate) fn start(service: Service, wire: Wire) -> Result<Self> {
        let mut session = Self {
            service,
            wire: BufReader::new(wire),
            tag: 0,
        };
        session.greet()?;
        Ok(session)
    }

    fn greet(&mut self) -> Result<()> {
        match self.service {
            Service::Smtp | Service::Submission | Service::Submissions => {
                self.smtp_reply()?;
                self.send("EHLO client.example\r\n")?;
                let reply = self.smtp_reply()?;
                ensure!(reply.starts_with("250"), "EHLO was answered: {reply}");
            }
            Service::Imap | Service::Imaps => drop(self.line()?),
            Service::Pop3 | Service::Pop3s => {
                ensure!(self.line()?.starts_with("+OK"), "no greeting");
            }
            Service::Sieve => ensure!(self.sieve_answer()? == Answer::Accepted, "no greeting"),
        }
        Ok(())
    }

    /// Logs in with the protocol's own or SASL PLAIN.
    pub(crate) fn log_in(&mut self, user: &str, password: &str) -> Result<Answer> {
        self.log_in_by(Mechanism::Plain, user, password)
    }

    pub(crate) fn log_in_by(
        &mut self,
        mechanism: Mechanism,
        user: &str,
        password: &str,
    ) -> Result<Answer> {
        match self.exchange(mechanism, user, password) {
            Err(error) if is_cut(&error) => Ok(Answer::Cut),
            answer => answer,
        }
    }

    fn exchange(&mut self, mechanism: Mechanism, user: &str, password: &str) -> Result<Answer> {
        let plain = base64(format!("\0{user}\0{password}").as_bytes());
        match self.service {
            Service::Smtp | Service::Submission | Service::Submissions => {
                if mechanism == Mechanism::Plain {
                    self.send(&format!("AUTH PLAIN {plain}\r\n"))?;
                } else {
                    for step in ["AUTH LOGIN", &base64(user.as_bytes())] {
                        self.send(&format!("{step}\r\n"))?;
                        let reply = self.smtp_reply()?;
                        // Some names are refused before anybody asks for a password.
                        if reply.starts_with("535") {
                            return Ok(Answer::Refused);
                        }
                        ensure!(reply.starts_with("334"), "{step} was answered: {reply}");
                    }
                    self.send(&format!("{}\r\n", base64(password.as_bytes())))?;
                }
                let reply = self.smtp_reply()?;
                match &reply[..3] {
                    "235" => Ok(Answer::Accepted),
                    "535" => Ok(Answer::Refused),
                    _ => bail!("AUTH was answered: {reply}"),
                }
            }
            Service::Imap | Service::Imaps => {
                self.tag += 1;
                let tag = format!("a{} ", self.tag);
                let (u, p) = (user.len(), password.len());
                self.send(&format!(
                    "{tag}LOGIN {{{u}+}}\r\n{user} {{{p}+}}\r\n{password}\r\n"
                ))?;
                loop {
                    let line = self.line()?;
                    match line.strip_prefix(&tag) {
                        Some(answer) if answer.starts_with("OK") => return Ok(Answer::Accepted),
                        Some(answer) if answer.starts_with("NO") => return Ok(Answer::Refused),
                        Some(answer) => bail!("LOGIN was answered: {answer}"),
                        None => ensure!(
                            line.starts_with("* ") && !line.starts_with("* BYE"),
                            "the server said: {line}"
                        ),
                    }
                }
            }
            Service::Pop3 | Service::Pop3s => {
                self.send(&format!("USER {user}\r\n"))?;
                self.line()?;
                self.send(&format!("PASS {password}\r\n"))?;
                let line = self.line()?;
                Ok(if line.starts_with("+OK") {
                    Answer::Accepted
                } else {
                    Answer::Refused
                })
            }
            Service::Sieve => {
                self.send(&format!(
                    "AUTHENTICATE \"PLAIN\" {{{}+}}\r\n{plain}\r\n",
                    plain.len()
                ))?;
                self.sieve_answer()
            }
        }
    }

    /// Says goodbye, and waits until the server has closed the connection (and, with that, has logged it).
    pub(crate) fn leave(mut self) -> Result<()> {
        let goodbye = match self.service {
            Service::Imap | Service::Imaps => "z LOGOUT\r\n",
            Service::Sieve => "LOGOUT\r\n",
            _ => "QUIT\r\n",
        };
        match self.send(goodbye) {
            Err(error) if is_cut(&error) => return Ok(()),
            sent => sent?,
        }
        loop {
            match self.wire.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(bytes) => {
                    let length = bytes.len();
                    self.wire.consume(length);
                }
                // A server that ends TLS without saying so has gone all the same.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error).context("goodbye"),
            }
        }
    }

    /// Any SMTP command, and the last line of its reply.
    pub(crate) fn smtp(&mut self, command: &str) -> Result<String> {
        self.send(&format!("{command}\r\n"))?;
        self.smtp_reply()
    }

    fn send(&mut self, text: &str) -> Result<()> {
        let wire = self.wire.get_mut();
        wire.write_all(text.as_bytes())?;
        Ok(wire.flush()?)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        self.wire.read_until(b'\n', &mut line)?;
        ensure!(!line.is_empty(), "the server closed the connection");
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// The last line of a reply: "250-" goes on, "250 " ends it.
    fn smtp_reply(&mut self) -> Result<String> {
        loop {
            let line = self.line()?;
            ensure!(
                line.len() >= 3 && line.is_char_boundary(3),
                "an answer that is none: {line}"
            );
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    }

    fn sieve_answer(&mut self) -> Result<Answer> {
        loop {
            let line = self.line()?;
            match line.split(' ').next() {
                Some("OK") => return Ok(Answer::Accepted),
                Some("NO") => return Ok(Answer::Refused),
                Some("BYE") => bail!("the server said: {line}"),
                _ => {}
            }
        }
    }
}

fn is_cut(error: &anyhow::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(kind, Some(BrokenPipe | ConnectionAborted | ConnectionReset))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, at| {
            bits << 8 | usize::from(*chunk.get(at).unwrap_or(&0))
        });
        for at in 0..4 {
            let digit = ALPHABET[bits >> (18 - 6 * at) & 63];
            text.push(if at <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}
