//! `epoll_create`, `epoll_ctl` and `epoll_wait`, over our sockets.

use std::os::fd::{AsRawFd, OwnedFd};

use super::clock::Library;
use super::open::FOREVER;
use super::socket::Socket;
use super::world::World;
use super::{Answer, Errno};
use crate::time::Duration;

/// An epoll instance.
pub(super) struct Epoll {
    /// Its descriptor: an eventfd of which nothing is ever read.
    pub fd: OwnedFd,
    /// What it watches; those that were reported last stand last, as on Linux.
    watched: Vec<Watch>,
}

struct Watch {
    fd: i32,
    /// What is asked, with EPOLLET and EPOLLONESHOT.
    events: u32,
    data: u64,
    /// What was reported, and the socket's counts of then, for edges.
    seen: (u32, u64, u64),
    /// EPOLLONESHOT reported once.
    is_spent: bool,
}

impl Library {
    /// `epoll_create`.
    pub(super) fn epoll_create(&self, size: i32) -> Answer<i32> {
        if size <= 0 {
            return Err(Errno(libc::EINVAL));
        }
        self.call(|world| {
            let fd = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)
                .map_err(|error| Errno(error.raw_os_error()))?;
            let number = fd.as_raw_fd();
            world.epolls.insert(number, Epoll { fd, watched: Vec::new() });
            Ok(number)
        })
    }

    /// `epoll_ctl`; `event` is what is asked and the data to give back.
    pub(super) fn epoll_ctl(
        &self,
        epoll: i32,
        op: i32,
        fd: i32,
        event: Option<(u32, u64)>,
    ) -> Answer<()> {
        self.call(|world| world.epoll_ctl(epoll, op, fd, event))
    }

    /// `epoll_wait`: at most `most` events with their data.
    pub(super) fn epoll_wait(
        &self,
        epoll: i32,
        most: i32,
        timeout: i32,
    ) -> Answer<Vec<(u32, u64)>> {
        let most = usize::try_from(most).unwrap_or(0);
        if most == 0 {
            return Err(Errno(libc::EINVAL));
        }
        let within = u64::try_from(timeout).map_or(FOREVER, Duration::from_millis);
        let found = self.wait(Some(within), |world| match world.epoll_collect(epoll, most) {
            Ok(found) if found.is_empty() => None,
            answer => Some(answer),
        });
        found.unwrap_or(Ok(Vec::new()))
    }
}

impl World {
    fn epoll_ctl(&mut self, epoll: i32, op: i32, fd: i32, event: Option<(u32, u64)>) -> Answer<()> {
        let is_socket = self.sockets.contains_key(&fd);
        let Some(instance) = self.epolls.get_mut(&epoll) else {
            return Err(Errno(if is_socket { libc::EINVAL } else { libc::EBADF }));
        };
        if !is_socket {
            return Err(Errno(if epoll == fd { libc::EINVAL } else { libc::EPERM }));
        }
        let at = instance.watched.iter().position(|watch| watch.fd == fd);
        match (op, at) {
            (libc::EPOLL_CTL_ADD, Some(_)) => return Err(Errno(libc::EEXIST)),
            (libc::EPOLL_CTL_MOD | libc::EPOLL_CTL_DEL, None) => {
                return Err(Errno(libc::ENOENT));
            }
            (libc::EPOLL_CTL_DEL, Some(at)) => {
                instance.watched.remove(at);
                return Ok(());
            }
            _ => {}
        }
        let (events, data) = event.ok_or(Errno(libc::EFAULT))?;
        let is_exclusive = events & libc::EPOLLEXCLUSIVE as u32 != 0;
        let watch = Watch { fd, events, data, seen: (0, 0, 0), is_spent: false };
        match (op, at) {
            (libc::EPOLL_CTL_ADD, None) => {
                if is_exclusive && events & !EXCLUSIVE_WITH != 0 {
                    return Err(Errno(libc::EINVAL));
                }
                instance.watched.push(watch);
            }
            (libc::EPOLL_CTL_MOD, Some(at)) => {
                let was_exclusive = instance.watched[at].events & libc::EPOLLEXCLUSIVE as u32 != 0;
                if is_exclusive || was_exclusive {
                    return Err(Errno(libc::EINVAL));
                }
                instance.watched[at] = watch;
            }
            _ => return Err(Errno(libc::EINVAL)),
        }
        Ok(())
    }

    fn epoll_collect(&mut self, epoll: i32, most: usize) -> Answer<Vec<(u32, u64)>> {
        let is_socket = self.sockets.contains_key(&epoll);
        let Some(instance) = self.epolls.get_mut(&epoll) else {
            return Err(Errno(if is_socket { libc::EINVAL } else { libc::EBADF }));
        };
        let (mut found, mut reported) = (Vec::new(), Vec::new());
        for (at, watch) in instance.watched.iter_mut().enumerate() {
            let Some(socket) = self.sockets.get(&watch.fd) else { continue };
            let events = watch.due(socket);
            if events != 0 && found.len() < most {
                watch.seen = (events, socket.reads, socket.writes);
                watch.is_spent = watch.events & libc::EPOLLONESHOT as u32 != 0;
                found.push((events, watch.data));
                reported.push(at);
            }
        }
        for at in reported.into_iter().rev() {
            let watch = instance.watched.remove(at);
            instance.watched.push(watch);
        }
        Ok(found)
    }

    /// What an epoll instance is ready for itself; `None` when it is none.
    pub(super) fn epoll_readiness(&self, fd: i32) -> Option<i16> {
        let instance = self.epolls.get(&fd)?;
        let is_due = |watch: &Watch| {
            self.sockets.get(&watch.fd).is_some_and(|socket| watch.due(socket) != 0)
        };
        let ready = libc::POLLIN | libc::POLLRDNORM;
        Some(if instance.watched.iter().any(is_due) { ready } else { 0 })
    }
}

impl Watch {
    /// What would be reported now.
    fn due(&self, socket: &Socket) -> u32 {
        if self.is_spent {
            return 0;
        }
        let always = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
        // The bits of poll and epoll are the same numbers.
        let ready = socket.readiness() as u16 as u32 & (self.events | always);
        if self.events & libc::EPOLLET as u32 == 0 {
            return ready;
        }
        let (seen, reads, writes) = self.seen;
        let has_moved = socket.reads != reads || socket.writes != writes;
        if has_moved || ready & !seen != 0 { ready } else { 0 }
    }
}

impl Epoll {
    /// A descriptor was closed.
    pub(super) fn forget(&mut self, fd: i32) {
        self.watched.retain(|watch| watch.fd != fd);
    }
}

/// What EPOLLEXCLUSIVE may be asked together with.
const EXCLUSIVE_WITH: u32 = (libc::EPOLLIN
    | libc::EPOLLOUT
    | libc::EPOLLERR
    | libc::EPOLLHUP
    | libc::EPOLLWAKEUP
    | libc::EPOLLET
    | libc::EPOLLEXCLUSIVE) as u32;
