//! The kernel's side of a comparison: a server over the kernel's sockets with the services of Sluice.
//!
//! One thread, edge-triggered epoll, as good as such a server gets without tricks. It is a hidden
//! command of the bench, so that it can run inside of a namespace; it ends when its standard input
//! does, which is when whoever started it is gone.

mod connection;
mod http;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use crate::load::pin;
use crate::poller::Poller;
use connection::{Connection, Next};

/// What a listener does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Service {
    /// Every byte goes back.
    Echo,
    /// Every byte is thrown away.
    Discard,
    /// Bytes without end.
    Chargen,
    /// `GET /bytes/N`.
    Http,
}

impl Service {
    /// Its port, the same on every server.
    pub fn port(self) -> u16 {
        match self {
            Self::Echo => 7,
            Self::Discard => 9,
            Self::Chargen => 19,
            Self::Http => 80,
        }
    }
}

/// The options of the server.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The CPU it runs on.
    #[arg(long, value_name = "CPU")]
    pub cpu: Option<usize>,
    /// The congestion control of its connections; without it the route's.
    #[arg(long, value_name = "NAME")]
    pub congestion: Option<String>,
    /// The most connections that wait to be accepted, and of handshakes that are under way.
    #[arg(long, value_name = "N", default_value_t = BACKLOG)]
    pub backlog: i32,
    /// Shares its ports with other processes that do so too.
    #[arg(long)]
    pub shared: bool,
    /// Listens on the addresses of IPv6, those of IPv4 among them.
    #[arg(long)]
    pub ipv6: bool,
}

/// Serves all services on every address until standard input ends.
///
/// # Errors
/// Where a port is taken or the kernel refuses what the server needs.
pub fn run(options: &Options) -> Result<()> {
    if let Some(cpu) = options.cpu {
        pin(cpu)?;
    }
    let mut server = Server::new(options)?;
    println!("{READY}");
    server.serve()
}

/// The line that says that all ports are open.
pub const READY: &str = "ready";

struct Server {
    poller: Poller,
    listeners: Vec<(OwnedFd, Service)>,
    /// By descriptor.
    connections: Vec<Option<Connection>>,
    buffer: Vec<u8>,
}

impl Server {
    fn new(options: &Options) -> Result<Self> {
        let poller = Poller::new()?;
        let mut listeners = Vec::new();
        for service in Service::value_variants() {
            let listener = listener(service.port(), options)?;
            poller.add(&listener, token(&listener), EpollFlags::EPOLLIN)?;
            listeners.push((listener, *service));
        }
        poller.add(std::io::stdin(), STDIN, EpollFlags::EPOLLIN)?;
        Ok(Self { poller, listeners, connections: Vec::new(), buffer: vec![0; BUFFER] })
    }

    fn serve(&mut self) -> Result<()> {
        loop {
            for (token, _) in self.poller.wait(None)? {
                if token == STDIN {
                    return Ok(());
                }
                match self.listeners.iter().position(|(fd, _)| self::token(fd) == token) {
                    Some(at) => self.accept(at)?,
                    None => self.on_event(token as usize),
                }
            }
        }
    }

    /// Takes all that wait, within a bound so that connections that are open go on.
    fn accept(&mut self, listener: usize) -> Result<()> {
        let (listener, service) = &self.listeners[listener];
        for _ in 0..ACCEPTS {
            let socket = match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => break,
                // The client has given up in the meantime.
                Err(Errno::CONNABORTED) => continue,
                Err(error) => return Err(error).context("accept"),
            };
            let index = socket.as_raw_fd() as usize;
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
            self.poller.add(&socket, index as u64, flags)?;
            if self.connections.len() <= index {
                self.connections.resize_with(index + 1, || None);
            }
            self.connections[index] = Some(Connection::new(socket, *service));
        }
        Ok(())
    }

    fn on_event(&mut self, index: usize) {
        let Some(Some(connection)) = self.connections.get_mut(index) else { return };
        // A peer that resets is no matter of the server.
        if !matches!(connection.turn(&mut self.buffer), Ok(Next::Waits)) {
            self.connections[index] = None;
        }
    }
}

/// A listener on every address.
fn listener(port: u16, options: &Options) -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let (family, every) = match options.ipv6 {
        false => (AddressFamily::Inet, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        true => (AddressFamily::Inet6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    };
    let made = socket(family, SockType::Stream, flags, None)?;
    setsockopt(&made, sockopt::ReuseAddr, &true)?;
    if options.shared {
        setsockopt(&made, sockopt::ReusePort, &true)?;
    }
    if let Some(name) = &options.congestion {
        // Accepted connections inherit it.
        setsockopt(&made, sockopt::TcpCongestion, &name.into())
            .with_context(|| format!("congestion control {name}"))?;
    }
    let at = SockaddrStorage::from(SocketAddr::new(every, port));
    bind(made.as_raw_fd(), &at).with_context(|| format!("port {port}"))?;
    // nix knows no more than the default.
    rustix::net::listen(&made, options.backlog)?;
    Ok(made)
}

fn token(fd: &OwnedFd) -> u64 {
    fd.as_raw_fd() as u64
}

/// The token of standard input.
const STDIN: u64 = u64::MAX;
/// The kernel's default of net.core.somaxconn, which bounds it.
const BACKLOG: i32 = 4_096;
/// The most connections that are accepted in a row.
const ACCEPTS: usize = 64;
/// Bytes of one read.
const BUFFER: usize = 256 << 10;
