//! Opening connections without waiting for each.

use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{SockaddrIn, connect, getsockopt, setsockopt, sockopt};

use super::Options;
use crate::clock::{now, pause};
use crate::poller::Poller;

/// Begins the `n`-th connection; its socket is writable once it is open.
pub(super) fn begin(options: &Options, n: u64) -> nix::Result<OwnedFd> {
    let socket = options.from().socket(n)?;
    match connect(socket.as_raw_fd(), &SockaddrIn::from(options.to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// What went wrong with `socket`.
pub(super) fn error_of(socket: &OwnedFd) -> Errno {
    let pending =
        getsockopt(socket, sockopt::SocketError).map_or_else(|error| error, Errno::from_raw);
    // Without an error of its own the peer has hung up.
    if pending == Errno::UnknownErrno { Errno::ECONNRESET } else { pending }
}

/// Opens all connections of a run in which they stay; short segments go out at once on them. Their
/// index is their token.
///
/// # Errors
/// Where one of them cannot be opened.
pub(super) fn all(options: &Options, poller: &mut Poller) -> Result<Vec<OwnedFd>> {
    let mut sockets = Vec::with_capacity(options.connections);
    let mut opened = 0;
    for n in 0..options.connections as u64 {
        let socket = begin(options, n).with_context(|| format!("connection {n}"))?;
        setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
        poller.add(&socket, n, EpollFlags::EPOLLOUT | EpollFlags::EPOLLET)?;
        sockets.push(socket);
        // No faster than the server accepts: the backlog is not what is measured here.
        while sockets.len() - opened > AT_ONCE {
            opened += settle(poller, &sockets)?;
        }
    }
    let last = now() + PATIENCE;
    while opened < sockets.len() {
        opened += settle(poller, &sockets)?;
        if now() > last {
            bail!("{} of {} connections were not opened", sockets.len() - opened, sockets.len());
        }
    }
    // Handshakes that the server has still to accept.
    pause(SETTLING);
    Ok(sockets)
}

/// How many were opened since.
fn settle(poller: &mut Poller, sockets: &[OwnedFd]) -> Result<usize> {
    let mut opened = 0;
    for (token, flags) in poller.wait(Some(PATIENCE))? {
        if flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP) {
            let socket = sockets.get(token as usize).context("a token of ours")?;
            bail!("connection {token} failed: {}", error_of(socket));
        }
        opened += 1;
    }
    if opened == 0 {
        bail!("no connection was opened within {PATIENCE:?}");
    }
    Ok(opened)
}

/// The most connections that are being opened at the same time.
const AT_ONCE: usize = 64;
/// How long an open may take: on a link with loss, three SYNs may be lost.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
/// A pause between the last open and the work.
const SETTLING: std::time::Duration = std::time::Duration::from_millis(20);
