//! `poll`, and what a socket is ready for.

use super::clock::Library;
use super::open::FOREVER;
use super::socket::{Phase, Role, Socket};
use super::world::World;
use crate::time::Duration;

/// One entry of `poll`: descriptor, what is asked, what came.
pub(super) struct Asked {
    pub fd: i32,
    pub events: i16,
    pub revents: i16,
}

impl Library {
    /// `poll` with a timeout in milliseconds, negative for none: how many entries are ready.
    /// `other` tells what a descriptor that is not ours is ready for.
    pub(super) fn poll(
        &self,
        asked: &mut [Asked],
        timeout: i32,
        other: &dyn Fn(i32, i16) -> i16,
    ) -> usize {
        let within = u64::try_from(timeout).map_or(FOREVER, Duration::from_millis);
        let ready = self.wait(Some(within), |world| {
            let count = world.poll(asked, other);
            (count > 0).then_some(count)
        });
        ready.unwrap_or(0)
    }
}

impl World {
    fn poll(&mut self, asked: &mut [Asked], other: &dyn Fn(i32, i16) -> i16) -> usize {
        let always = libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;
        let mut count = 0;
        for entry in asked {
            entry.revents = match self.sockets.get(&entry.fd) {
                _ if entry.fd < 0 => 0,
                Some(socket) => socket.readiness() & (entry.events | always),
                None => match self.epoll_readiness(entry.fd) {
                    Some(ready) => ready & (entry.events | always),
                    None => other(entry.fd, entry.events),
                },
            };
            count += usize::from(entry.revents != 0);
        }
        count
    }
}

impl Socket {
    /// What the socket is ready for, in the bits of `poll`, by Linux's rules.
    pub(super) fn readiness(&self) -> i16 {
        let readable = libc::POLLIN | libc::POLLRDNORM;
        let writable = libc::POLLOUT | libc::POLLWRNORM;
        let mut ready = 0;
        let phase = match self.role {
            Role::Listening(_) => return if self.view.queued > 0 { readable } else { 0 },
            Role::Fresh => Phase::Over,
            Role::Connection { phase, .. } => phase,
        };
        if phase == Phase::Over || (self.is_read_shut && self.is_write_shut) {
            ready |= libc::POLLHUP;
        }
        if self.is_read_shut {
            ready |= readable | libc::POLLRDHUP;
        }
        if phase != Phase::Connecting {
            let lowat = usize::try_from(self.set.receive_lowat).unwrap_or(0).max(1);
            if self.view.unread >= lowat {
                ready |= readable;
            }
            if self.is_write_shut || phase == Phase::Over || self.has_room() {
                ready |= writable;
            }
            if self.has_urgent() {
                ready |= libc::POLLPRI;
            }
        }
        if self.error.is_some() {
            ready |= libc::POLLERR;
        }
        ready
    }
}
