//! `socket`, `bind`, `listen`, `accept`, `connect`.

use core::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use super::clock::Library;
use super::socket::{Phase, Role, Set, Socket};
use super::world::World;
use super::{Answer, Errno};
use crate::shard::{ConnId, Open, OpenError};
use crate::tables::listeners::{Accepts, ListenError, Listener};
use crate::time::Duration;
use crate::wire::Addr;

impl Library {
    /// `socket`.
    pub(super) fn socket(&self, domain: i32, kind: i32, protocol: i32) -> Answer<i32> {
        let is_v6 = match domain {
            libc::AF_INET => false,
            libc::AF_INET6 => true,
            _ => return Err(Errno(libc::EAFNOSUPPORT)),
        };
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        if kind & !flags != libc::SOCK_STREAM || !matches!(protocol, 0 | libc::IPPROTO_TCP) {
            return Err(Errno(libc::EPROTONOSUPPORT));
        }
        let is_nonblocking = kind & libc::SOCK_NONBLOCK != 0;
        self.call(|world| world.add_socket(is_v6, is_nonblocking))
    }

    /// `bind`.
    pub(super) fn bind(&self, fd: i32, to: SocketAddr) -> Answer<()> {
        self.call(|world| world.bind(fd, to))
    }

    /// `listen`.
    pub(super) fn listen(&self, fd: i32, backlog: i32) -> Answer<()> {
        self.call(|world| world.listen(fd, backlog))
    }

    /// `accept`: the descriptor and the peer's address.
    pub(super) fn accept(&self, fd: i32) -> Answer<(i32, SocketAddr)> {
        let wait = self.call(|world| {
            let socket = world.socket(fd)?;
            match socket.role {
                Role::Listening(_) => Ok(socket.patience(false, socket.set.receive_timeout)),
                _ => Err(Errno(libc::EINVAL)),
            }
        })?;
        let accepted =
            self.wait(wait.or(Some(Duration::ZERO)), |world| world.accept(fd).transpose());
        accepted.unwrap_or(Err(Errno(libc::EAGAIN)))
    }

    /// `connect`; with no address it takes the socket back to where it was (AF_UNSPEC).
    pub(super) fn connect(&self, fd: i32, to: Option<SocketAddr>) -> Answer<()> {
        let Some(to) = to else { return self.call(|world| world.disconnect(fd)) };
        let wait = self.call(|world| {
            let is_new = world.begin_connect(fd, to)?;
            let socket = world.socket(fd)?;
            Ok((is_new, socket.patience(false, socket.set.send_timeout)))
        });
        let (is_new, wait) = wait?;
        let wait = wait.or(Some(Duration::ZERO));
        let pending = if is_new { libc::EINPROGRESS } else { libc::EALREADY };
        let outcome = self.wait(wait, |world| world.end_connect(fd));
        outcome.unwrap_or(Err(Errno(pending)))
    }
}

impl World {
    /// The socket behind a descriptor.
    pub(super) fn socket(&self, fd: i32) -> Answer<&Socket> {
        self.sockets.get(&fd).ok_or(Errno(libc::EBADF))
    }

    /// The socket behind a descriptor, to be changed.
    pub(super) fn socket_mut(&mut self, fd: i32) -> Answer<&mut Socket> {
        self.sockets.get_mut(&fd).ok_or(Errno(libc::EBADF))
    }

    fn add_socket(&mut self, is_v6: bool, is_nonblocking: bool) -> Answer<i32> {
        self.follow_sysctl();
        let fd = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)
            .map_err(|error| Errno(error.raw_os_error()))?;
        let number = fd.as_raw_fd();
        let word = self.new_word();
        self.sockets.insert(number, Socket::new(fd, word, is_v6, is_nonblocking));
        Ok(number)
    }

    fn bind(&mut self, fd: i32, to: SocketAddr) -> Answer<()> {
        let socket = self.socket(fd)?;
        if socket.bound.is_some() || socket.role != Role::Fresh {
            return Err(Errno(libc::EINVAL));
        }
        let addr = match to.ip() {
            ip if ip.is_unspecified() => None,
            IpAddr::V4(v4) if v4.is_multicast() || v4.is_broadcast() => {
                return Err(Errno(libc::EADDRNOTAVAIL));
            }
            ip => Some(Addr::from(ip)),
        };
        let port = match to.port() {
            0 => self.free_port().ok_or(Errno(libc::EADDRINUSE))?,
            port => port,
        };
        let reuses = socket.set.reuse_addr;
        let is_overlap = |other: Option<Addr>| addr.is_none() || other.is_none() || addr == other;
        let is_taken = self.sockets.values().any(|other| {
            let is_listening = matches!(other.role, Role::Listening(_));
            let may_share = reuses && other.set.reuse_addr && !is_listening;
            other.bound.is_some_and(|(at, taken)| taken == port && is_overlap(at)) && !may_share
        });
        if is_taken {
            return Err(Errno(libc::EADDRINUSE));
        }
        if let Some(addr) = addr {
            self.adopt(addr);
        }
        self.socket_mut(fd)?.bound = Some((addr, port));
        Ok(())
    }

    /// A port that no socket is bound to.
    fn free_port(&self) -> Option<u16> {
        (32_768..=60_999).find(|port| {
            self.sockets.values().all(|socket| socket.bound.is_none_or(|bound| bound.1 != *port))
        })
    }

    fn listen(&mut self, fd: i32, backlog: i32) -> Answer<()> {
        let socket = self.socket(fd)?;
        let backlog = backlog.clamp(0, MOST_BACKLOG) as u32;
        match socket.role {
            Role::Fresh => {}
            // A second call changes the backlog.
            Role::Listening(id) => {
                self.shard.change_listener(id, |listener| listener.backlog = backlog);
                return Ok(());
            }
            Role::Connection { .. } => return Err(Errno(libc::EINVAL)),
        }
        let (addr, port) = match socket.bound {
            Some(bound) => bound,
            None => (None, self.free_port().ok_or(Errno(libc::EADDRINUSE))?),
        };
        let listener = Listener {
            backlog,
            accepts: Accepts::OnCall,
            defers_accept: Some(Duration::from_secs(socket.set.defer_accept as u64))
                .filter(|time| !time.is_zero()),
            settings: Arc::from(self.settings_of(fd)?),
            ..Listener::new(addr, port, SERVICE)
        };
        let now = self.now;
        let id = self.shard.listen(listener, now).map_err(|error| match error {
            ListenError::InUse => Errno(libc::EADDRINUSE),
            ListenError::NoAddress(_) => Errno(libc::EADDRNOTAVAIL),
            ListenError::Setting(_) | ListenError::NoPort => Errno(libc::EINVAL),
            _ => Errno(libc::ENOBUFS),
        })?;
        let socket = self.socket_mut(fd)?;
        (socket.role, socket.bound) = (Role::Listening(id), Some((addr, port)));
        Ok(())
    }

    /// Takes the oldest open connection.
    fn accept(&mut self, fd: i32) -> Answer<Option<(i32, SocketAddr)>> {
        let socket = self.socket(fd)?;
        let Role::Listening(listener) = socket.role else { return Err(Errno(libc::EINVAL)) };
        let (is_v6, set) = (socket.is_v6, socket.set.clone());
        let now = self.now;
        let Some(id) = self.shard.accept(listener, now) else { return Ok(None) };
        // What accept gives blocks, whatever the listener does (accept4 is not in the interface).
        let accepted = self.add_socket(is_v6, false)?;
        let word = self.socket(accepted)?.word;
        let tuple = self.with(id, |conn| {
            *conn.user() = word;
            conn.tuple()
        });
        self.shard.hold(id);
        let socket = self.socket_mut(accepted)?;
        socket.set = Set { defer_accept: 0, ..set };
        socket.role = Role::Connection { id, phase: Phase::Open };
        let Some(tuple) = tuple else {
            // It ended while it waited.
            socket.role = Role::Connection { id, phase: Phase::Over };
            socket.error = Some(Errno(libc::ECONNRESET));
            return Ok(Some((accepted, SocketAddr::from(([0, 0, 0, 0], 0)))));
        };
        socket.bound = Some((Some(tuple.local), tuple.local_port));
        socket.peer = Some((tuple.remote, tuple.remote_port));
        let shown = socket.shown((tuple.remote, tuple.remote_port));
        Ok(Some((accepted, shown)))
    }

    /// Sends the SYN of a fresh socket; whether it was one. What it says of another is Linux's.
    fn begin_connect(&mut self, fd: i32, to: SocketAddr) -> Answer<bool> {
        let socket = self.socket(fd)?;
        match socket.role {
            Role::Fresh => {}
            Role::Listening(_) => return Err(Errno(libc::EISCONN)),
            Role::Connection { .. } if socket.is_told => return Err(Errno(libc::EISCONN)),
            Role::Connection { .. } => return Ok(false),
        }
        let remote = match to.ip() {
            // Linux takes no address for this host, which is not reached here.
            ip if ip.is_unspecified() => return Err(Errno(libc::ECONNREFUSED)),
            ip => Addr::from(ip),
        };
        let (local, local_port) = socket.bound.map_or((None, None), |(addr, p)| (addr, Some(p)));
        let user = socket.word;
        let open = Open {
            local,
            local_port,
            remote,
            remote_port: to.port(),
            service: SERVICE,
            user,
            settings: self.settings_of(fd)?,
        };
        let now = self.now;
        let id = self.shard.open(&open, now).map_err(|error| match error {
            OpenError::InUse | OpenError::NoPort => Errno(libc::EADDRNOTAVAIL),
            OpenError::NoAddress => Errno(libc::EADDRNOTAVAIL),
            OpenError::NoRoute | OpenError::BadAddress(_) => Errno(libc::ENETUNREACH),
            OpenError::Setting(_) => Errno(libc::EINVAL),
            _ => Errno(libc::ENOBUFS),
        })?;
        self.shard.hold(id);
        let tuple = self.with(id, |conn| conn.tuple());
        let socket = self.socket_mut(fd)?;
        socket.role = Role::Connection { id, phase: Phase::Connecting };
        socket.bound = tuple.map(|tuple| (Some(tuple.local), tuple.local_port));
        socket.peer = Some((remote, to.port()));
        Ok(true)
    }

    /// How a connect ended, if it did.
    fn end_connect(&mut self, fd: i32) -> Option<Answer<()>> {
        let socket = match self.socket_mut(fd) {
            Ok(socket) => socket,
            Err(error) => return Some(Err(error)),
        };
        let Role::Connection { phase, .. } = socket.role else {
            return Some(Err(Errno(libc::ECONNABORTED)));
        };
        match phase {
            Phase::Connecting => None,
            Phase::Open => {
                socket.is_told = true;
                Some(Ok(()))
            }
            Phase::Over => {
                if socket.is_told {
                    return Some(Err(Errno(libc::EISCONN)));
                }
                // The socket may connect again.
                socket.role = Role::Fresh;
                Some(Err(socket.take_error().unwrap_or(Errno(libc::ECONNABORTED))))
            }
        }
    }

    /// `connect` to AF_UNSPEC: the connection is reset, and the socket is as new.
    fn disconnect(&mut self, fd: i32) -> Answer<()> {
        match self.socket(fd)?.role {
            Role::Fresh => {}
            Role::Listening(id) => {
                let now = self.now;
                self.shard.unlisten(id, now);
            }
            Role::Connection { id, .. } => self.give_up(id),
        }
        let word = self.new_word();
        let socket = self.socket_mut(fd)?;
        (socket.role, socket.peer, socket.word) = (Role::Fresh, None, word);
        (socket.is_read_shut, socket.is_write_shut) = (false, false);
        (socket.is_done, socket.is_told, socket.error) = (false, false, None);
        Ok(())
    }

    /// Resets a connection and lets go of it.
    pub(super) fn give_up(&mut self, id: ConnId) {
        self.with(id, |conn| conn.abort());
    }
}

impl Socket {
    /// How long a call may wait: `None` for not at all.
    pub(super) fn patience(&self, dont_wait: bool, timeout: Option<u64>) -> Option<Duration> {
        if dont_wait || self.is_nonblocking {
            return None;
        }
        Some(timeout.map_or(FOREVER, Duration::from_millis))
    }
}

/// The index of the world's only service.
const SERVICE: u16 = 0;
/// net.core.somaxconn.
const MOST_BACKLOG: i32 = 4096;
/// A wait without a bound.
pub(super) const FOREVER: Duration = Duration::MAX;
