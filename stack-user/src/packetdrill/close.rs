//! `close` and `shutdown`.

use super::clock::Library;
use super::open::FOREVER;
use super::socket::{Phase, Role, Socket};
use super::world::World;
use super::{Answer, Errno};
use crate::shard::ConnId;
use crate::tcp::State;
use crate::time::Duration;

impl Library {
    /// `close`: whether the descriptor was one of ours.
    pub(super) fn close(&self, fd: i32) -> bool {
        let Some((socket, lingering)) = self.call(|world| world.close(fd)) else {
            return self.call(|world| world.epolls.remove(&fd).is_some());
        };
        if let Some((id, time)) = lingering {
            // RFC 9293 3.9.1.4 leaves this to the host; Linux waits whatever O_NONBLOCK says.
            self.wait(Some(time.min(FOREVER)), |world| (!world.is_lingering(id)).then_some(()));
        }
        drop(socket);
        true
    }

    /// `shutdown`.
    pub(super) fn shutdown(&self, fd: i32, how: i32) -> Answer<()> {
        self.call(|world| world.shutdown(fd, how))
    }

    /// The end of the library. The tool closes the descriptors itself, with the C library.
    pub(super) fn end(&self) {
        use std::os::fd::IntoRawFd;
        self.call(|world| {
            for (_, socket) in core::mem::take(&mut world.sockets) {
                let _ = socket.fd.into_raw_fd();
            }
            for (_, epoll) in core::mem::take(&mut world.epolls) {
                let _ = epoll.fd.into_raw_fd();
            }
        });
    }
}

impl World {
    /// Takes the socket away and closes what is behind it: the socket, and the connection to wait
    /// for and for how long, where it lingers. `None` when there is no such socket.
    fn close(&mut self, fd: i32) -> Option<(Socket, Option<(ConnId, Duration)>)> {
        let socket = self.sockets.remove(&fd)?;
        for epoll in self.epolls.values_mut() {
            epoll.forget(fd);
        }
        let now = self.now;
        match socket.role {
            Role::Fresh => {}
            Role::Listening(listener) => {
                self.shard.unlisten(listener, now);
            }
            Role::Connection { id, .. } => {
                self.with(id, |conn| conn.close());
                if let (true, seconds @ 1..) = socket.set.linger
                    && self.is_lingering(id)
                {
                    return Some((socket, Some((id, Duration::from_secs(seconds as u64)))));
                }
            }
        }
        Some((socket, None))
    }

    /// Whether our FIN is not acknowledged.
    fn is_lingering(&mut self, id: ConnId) -> bool {
        let state = self.shard.look(id, self.now, |conn| conn.info().state);
        matches!(state, Some(State::FinWait1 | State::Closing | State::LastAck))
    }

    fn shutdown(&mut self, fd: i32, how: i32) -> Answer<()> {
        let (reading, writing) = match how {
            libc::SHUT_RD => (true, false),
            libc::SHUT_WR => (false, true),
            libc::SHUT_RDWR => (true, true),
            _ => return Err(Errno(libc::EINVAL)),
        };
        let socket = self.socket_mut(fd)?;
        match socket.role {
            Role::Fresh | Role::Connection { phase: Phase::Over, .. } => {
                (socket.is_read_shut, socket.is_write_shut) =
                    (socket.is_read_shut || reading, socket.is_write_shut || writing);
                Err(Errno(libc::ENOTCONN))
            }
            // Linux stops listening, and the socket is as new but for its name.
            Role::Listening(listener) => {
                if reading {
                    socket.role = Role::Fresh;
                    let now = self.now;
                    self.shard.unlisten(listener, now);
                }
                Ok(())
            }
            Role::Connection { id, phase } => {
                let may_write = phase == Phase::Open;
                socket.is_read_shut |= reading;
                socket.is_write_shut |= writing;
                socket.reads += u64::from(reading);
                socket.writes += u64::from(writing);
                if phase == Phase::Connecting {
                    // Linux: an open that is under way is given up.
                    socket.role = Role::Fresh;
                    self.give_up(id);
                } else if writing && may_write {
                    self.with(id, |conn| conn.shutdown_write());
                }
                Ok(())
            }
        }
    }
}
