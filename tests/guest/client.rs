//! A mail client that logs in, or tries to: plain sockets, made in a network namespace of choice and bound to any address
//! there. What the server answers is the truth that the agent's counts are compared with.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Socket, Type};

use crate::session::{Answer, Session};
use crate::wire::Wire;

/// A packet takes well under a millisecond here: who has not answered by then was dropped.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(400);
/// Where an answer is due, a busy machine may take its time.
const PATIENCE: Duration = Duration::from_secs(10);
/// The kernel refuses by itself, without any program.
const REFUSE_TIMEOUT: Duration = Duration::from_millis(20);
/// An open port answers a good deal sooner.
const KNOCK_TIMEOUT: Duration = Duration::from_millis(10);
/// Dovecot lets a client wait up to 17 s for a refusal when it comes again and again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

/// The mail services of a host, each on a port of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Smtp,
    Submission,
    Submissions,
    Imap,
    Imaps,
    Pop3,
    Pop3s,
    Sieve,
}

impl Service {
    pub(crate) const ALL: [Self; 8] = [
        Self::Smtp,
        Self::Submission,
        Self::Submissions,
        Self::Imap,
        Self::Imaps,
        Self::Pop3,
        Self::Pop3s,
        Self::Sieve,
    ];

    pub(crate) const fn port(self) -> u16 {
        match self {
            Self::Smtp => 25,
            Self::Submission => 587,
            Self::Submissions => 465,
            Self::Imap => 143,
            Self::Imaps => 993,
            Self::Pop3 => 110,
            Self::Pop3s => 995,
            Self::Sieve => 4190,
        }
    }

    const fn tls(self) -> bool {
        matches!(self, Self::Submissions | Self::Imaps | Self::Pop3s)
    }

    /// The jail that counts failures of this service.
    pub(crate) const fn jail(self) -> &'static str {
        match self {
            Self::Smtp | Self::Submission | Self::Submissions => "postfix-sasl",
            _ => "dovecot",
        }
    }
}

/// Where connections come from: a network namespace, and the host's addresses as seen from there.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) namespace: PathBuf,
    pub(crate) host_v4: Ipv4Addr,
    pub(crate) host_v6: Ipv6Addr,
}

impl Origin {
    fn host(&self, source: IpAddr, port: u16) -> SocketAddr {
        match source {
            IpAddr::V4(_) => (self.host_v4, port).into(),
            IpAddr::V6(_) => (self.host_v6, port).into(),
        }
    }

    /// A socket stays in the namespace that it was made in, so a thread that goes there and ends is all it takes.
    fn connect(
        &self,
        source: IpAddr,
        port: u16,
        patience: Duration,
    ) -> Result<io::Result<TcpStream>> {
        let host = self.host(source, port);
        let namespace = File::open(&self.namespace)
            .with_context(|| format!("open {}", self.namespace.display()))?;
        std::thread::scope(|scope| {
            let connecting = scope.spawn(|| {
                setns(&namespace, CloneFlags::CLONE_NEWNET)
                    .context("enter the network namespace (this needs root)")?;
                let socket = Socket::new(Domain::for_address(host), Type::STREAM, None)?;
                socket
                    .bind(&SocketAddr::new(source, 0).into())
                    .with_context(|| format!("bind {source}"))?;
                Ok(socket
                    .connect_timeout(&host.into(), patience)
                    .map(|()| TcpStream::from(socket)))
            });
            connecting.join().expect("connecting does not panic")
        })
    }

    /// Whether a connection to the port is answered. A firewall that drops leaves the client waiting; anything else than
    /// that or an open port (a refusal, no route) is an error.
    pub(crate) fn reachable(&self, source: IpAddr, port: u16) -> Result<bool> {
        self.answers(source, port, CONNECT_TIMEOUT)
    }

    /// The same, asked in a hurry: who wants to find a moment in which a port is open must try often.
    pub(crate) fn knock(&self, source: IpAddr, port: u16) -> Result<bool> {
        self.answers(source, port, KNOCK_TIMEOUT)
    }

    /// Fails unless a connection to the port is answered, however busy the machine is.
    pub(crate) fn expect_answer(&self, source: IpAddr, port: u16) -> Result<()> {
        let answered = self.answers(source, port, PATIENCE)?;
        ensure!(answered, "port {port} does not answer {source}");
        Ok(())
    }

    fn answers(&self, source: IpAddr, port: u16, patience: Duration) -> Result<bool> {
        match self.connect(source, port, patience)? {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
            // A ban came in the midst of the answer.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error).context(format!("connect from {source} to port {port}")),
        }
    }

    /// Whether the host refuses connections to a port where nobody listens, in a few milliseconds.
    pub(crate) fn refused(&self, source: IpAddr, port: u16) -> Result<bool> {
        match self.connect(source, port, REFUSE_TIMEOUT)? {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
            Err(error) => Err(error).context(format!("connect from {source} to port {port}")),
            Ok(_) => Ok(false),
        }
    }

    /// The mail ports that answer this source.
    pub(crate) fn open_ports(&self, source: IpAddr) -> Result<Vec<u16>> {
        std::thread::scope(|scope| {
            let ports = Service::ALL.map(Service::port);
            let checks = ports.map(|port| scope.spawn(move || self.reachable(source, port)));
            let mut open = Vec::new();
            for (port, check) in ports.into_iter().zip(checks) {
                if check.join().expect("checking does not panic")? {
                    open.push(port);
                }
            }
            Ok(open)
        })
    }

    /// Opens a connection and reads the greeting.
    pub(crate) fn open(&self, source: IpAddr, service: Service) -> Result<Session> {
        let stream = self
            .connect(source, service.port(), PATIENCE)?
            .with_context(|| format!("connect from {source} to {service:?}"))?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_nodelay(true)?;
        let wire = if service.tls() {
            Wire::tls(stream, self.host(source, 0).ip())?
        } else {
            Wire::Plain(stream)
        };
        Session::start(service, wire)
            .with_context(|| format!("the greeting of {service:?} to {source}"))
    }

    /// One log-in in a connection of its own.
    pub(crate) fn log_in(
        &self,
        source: IpAddr,
        service: Service,
        user: &str,
        password: &str,
    ) -> Result<Answer> {
        let mut session = self.open(source, service)?;
        let answer = session.log_in(user, password)?;
        session.leave()?;
        Ok(answer)
    }

    /// Wrong passwords, one connection each; an error if the server takes one.
    pub(crate) fn fail(&self, source: IpAddr, service: Service, times: usize) -> Result<()> {
        for time in 1..=times {
            let answer = self
                .log_in(source, service, "bob", "wrong")
                .with_context(|| format!("attempt {time}"))?;
            ensure!(
                answer != Answer::Accepted,
                "{service:?} accepted a wrong password"
            );
        }
        Ok(())
    }
}
