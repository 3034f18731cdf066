//! What is common to descriptors: whose they are, `fcntl` and `ioctl`.

use super::clock::Library;
use super::socket::{Phase, Role};
use super::world::World;
use super::{Answer, Errno};

impl Library {
    /// Whether a descriptor is a socket or an epoll instance of ours.
    pub(super) fn is_ours(&self, fd: i32) -> bool {
        self.call(|world| world.sockets.contains_key(&fd) || world.epolls.contains_key(&fd))
    }

    /// `fcntl`.
    pub(super) fn fcntl(&self, fd: i32, command: i32, argument: i32) -> Answer<i32> {
        self.call(|world| {
            let socket = world.socket_mut(fd)?;
            match command {
                libc::F_GETFL if socket.is_nonblocking => Ok(libc::O_RDWR | libc::O_NONBLOCK),
                libc::F_GETFL => Ok(libc::O_RDWR),
                libc::F_SETFL => {
                    socket.is_nonblocking = argument & libc::O_NONBLOCK != 0;
                    Ok(0)
                }
                libc::F_GETFD => Ok(libc::FD_CLOEXEC),
                libc::F_SETFD => Ok(0),
                _ => Err(Errno(libc::EOPNOTSUPP)),
            }
        })
    }

    /// `ioctl`: the number to give back, for the requests that give one. `argument` reads the one
    /// that the caller passed.
    pub(super) fn ioctl(
        &self,
        fd: i32,
        request: u32,
        argument: impl FnOnce() -> i32,
    ) -> Answer<Option<i32>> {
        if u64::from(request) == libc::FIONBIO {
            let is_on = argument() != 0;
            return self.call(|world| {
                world.socket_mut(fd)?.is_nonblocking = is_on;
                Ok(None)
            });
        }
        self.call(|world| world.queue(fd, request).map(Some))
    }
}

impl World {
    /// What is queued, by SIOCINQ and its relatives.
    fn queue(&mut self, fd: i32, request: u32) -> Answer<i32> {
        let socket = self.socket(fd)?;
        let view = &socket.view;
        let octets = match request {
            // Linux counts to the urgent byte.
            SIOCINQ => match socket.urgent_distance() {
                Some(distance) if !socket.set.oob_inline => distance.min(view.unread),
                _ => view.unread,
            },
            SIOCOUTQ | SIOCOUTQNSD => match socket.role {
                Role::Connection { phase: Phase::Connecting, .. } => 0,
                _ if request == SIOCOUTQ => view.queued_out,
                _ => view.unsent,
            },
            SIOCATMARK => usize::from(socket.urgent_distance() == Some(0)),
            _ => return Err(Errno(libc::EOPNOTSUPP)),
        };
        match socket.role {
            Role::Listening(_) if request != SIOCATMARK => Err(Errno(libc::EINVAL)),
            _ => Ok(octets.min(i32::MAX as usize) as i32),
        }
    }
}

/// linux/sockios.h: FIONREAD, TIOCOUTQ, and their relatives.
const SIOCINQ: u32 = 0x541b;
const SIOCOUTQ: u32 = 0x5411;
const SIOCOUTQNSD: u32 = 0x894b;
const SIOCATMARK: u32 = 0x8905;
