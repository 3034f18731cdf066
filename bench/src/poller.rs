//! epoll with a batch of events, as client and server use it.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// An epoll descriptor and room for the events of one call.
pub(crate) struct Poller {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

impl Poller {
    pub(crate) fn new() -> nix::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); BATCH] })
    }

    /// Follows `socket`, whose events bear `token`.
    pub(crate) fn add(&self, socket: impl AsFd, token: u64, flags: EpollFlags) -> nix::Result<()> {
        self.epoll.add(socket, EpollEvent::new(flags, token))
    }

    /// Follows other events of `socket`.
    pub(crate) fn change(
        &self,
        socket: impl AsFd,
        token: u64,
        flags: EpollFlags,
    ) -> nix::Result<()> {
        self.epoll.modify(socket, &mut EpollEvent::new(flags, token))
    }

    /// The next events: token and flags; none where `timeout` passes or a signal comes. Without a
    /// timeout it waits for ever.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
    ) -> nix::Result<impl Iterator<Item = (u64, EpollFlags)> + use<>> {
        let timeout = match timeout {
            Some(time) => EpollTimeout::try_from(time).unwrap_or(EpollTimeout::MAX),
            None => EpollTimeout::NONE,
        };
        let count = match self.epoll.wait(&mut self.events, timeout) {
            Err(Errno::EINTR) => 0,
            found => found?,
        };
        // A copy, so that the caller may change what is followed while it goes through them.
        let mut batch = [(0, EpollFlags::empty()); BATCH];
        for (to, event) in batch.iter_mut().zip(&self.events[..count]) {
            *to = (event.data(), event.events());
        }
        Ok(batch.into_iter().take(count))
    }
}

/// The most events of one call.
const BATCH: usize = 64;
