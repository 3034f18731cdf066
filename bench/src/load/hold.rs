//! Connections that stay open and do nothing, for as long as standard input is open.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{MsgFlags, recv, send};

use super::{HELD, Options, Report, open};
use crate::clock::now;
use crate::poller::Poller;

/// Opens them, has a request of each answered, says so, and holds them.
pub(super) fn run(options: &Options) -> Result<Report> {
    let mut poller = Poller::new()?;
    let sockets = open::all(options, &mut poller)?;
    let (request, mut reply) = (vec![b'x'; options.size], vec![0; options.size]);
    // One after another: what is asked for is memory afterwards, not speed.
    for (n, socket) in sockets.iter().enumerate() {
        poller.change(socket, n as u64, EpollFlags::EPOLLIN)?;
        let sent = send(socket.as_raw_fd(), &request, MsgFlags::MSG_NOSIGNAL)?;
        ensure!(sent == request.len(), "only {sent} bytes of a request were taken");
        let (mut got, last) = (0, now() + PATIENCE);
        while got < request.len() {
            ensure!(now() < last, "connection {n} was not answered");
            if poller.wait(Some(TURN))?.any(|(token, _)| token == n as u64) {
                let more = recv(socket.as_raw_fd(), &mut reply, MsgFlags::empty())?;
                ensure!(more > 0, "connection {n} was closed");
                got += more;
            }
        }
    }
    println!("{HELD}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(Report { opened: sockets.len() as u64, ..Report::default() })
}

/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the clock is looked at when nothing happens.
const TURN: Duration = Duration::from_millis(50);
