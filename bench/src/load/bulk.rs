//! Streams without pause, in one direction.

use std::net::Shutdown as Direction;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, setsockopt, shutdown, sockopt};

use super::{Options, PATIENCE, Report, open};
use crate::clock::now;
use crate::cpus::Core;
use crate::poller::Poller;

/// Receives until the time is over. The time counts from the last connection's open.
pub(super) fn receive(options: &Options) -> Result<Report> {
    let mut run = Run::open(options, EpollFlags::EPOLLIN)?;
    run.until(options.measured(), Direction::Read)?;
    Ok(run.report)
}

/// Sends until the time is over, then waits until the server has everything, which its FIN says: what
/// lies in buffers is not counted as sent. The time counts until then.
pub(super) fn send_stream(options: &Options) -> Result<Report> {
    let mut run = Run::open(options, EpollFlags::EPOLLOUT)?;
    run.until(options.measured(), Direction::Write)?;
    if options.acknowledged {
        return run.acknowledged();
    }
    for (n, socket) in run.sockets.iter().enumerate() {
        shutdown(socket.as_raw_fd(), Shutdown::Write)?;
        run.poller.change(socket, n as u64, EpollFlags::EPOLLIN | EpollFlags::EPOLLET)?;
    }
    let last = now() + PATIENCE;
    let mut open = run.sockets.len();
    while open > 0 && now() < last {
        for (token, _) in run.poller.wait(Some(TURN))? {
            let Some(socket) = run.sockets.get(token as usize) else { continue };
            match recv(socket.as_raw_fd(), &mut run.buffer, MsgFlags::empty()) {
                Ok(0) => open -= 1,
                Ok(_) => run.report.fail("data from a server that discards"),
                Err(Errno::EAGAIN) => {}
                Err(error) => bail!("after the last byte: {error}"),
            }
        }
    }
    (0..open).for_each(|_| run.report.fail("the server did not close"));
    run.report.seconds = (now() - run.begin).as_secs_f64();
    Ok(run.report)
}

struct Run {
    poller: Poller,
    sockets: Vec<OwnedFd>,
    buffer: Vec<u8>,
    begin: Duration,
    cpu: Option<usize>,
    report: Report,
}

impl Run {
    fn open(options: &Options, flags: EpollFlags) -> Result<Self> {
        let mut poller = Poller::new()?;
        let sockets = open::all(options, &mut poller)?;
        for (n, socket) in sockets.iter().enumerate() {
            if let Some(name) = &options.congestion {
                setsockopt(socket, sockopt::TcpCongestion, &name.into())?;
            }
            poller.change(socket, n as u64, flags)?;
        }
        let report = Report { opened: sockets.len() as u64, ..Report::default() };
        let cpu = options.cpus.first().copied();
        Ok(Self { cpu, poller, sockets, buffer: vec![b'x'; PIECE], begin: now(), report })
    }

    /// Counts what the server has acknowledged, which the kernel tells as what is left.
    fn acknowledged(mut self) -> Result<Report> {
        for socket in &self.sockets {
            let mut left = 0;
            // SAFETY: the descriptor is open, and the call writes one int to a live one.
            unsafe { outgoing(socket.as_raw_fd(), &raw mut left) }?;
            self.report.bytes = self.report.bytes.saturating_sub(u64::try_from(left)?);
        }
        Ok(self.report)
    }

    /// Moves bytes for so long.
    fn until(&mut self, time: Duration, direction: Direction) -> Result<()> {
        let core = self.cpu.and_then(Core::begin);
        self.begin = now();
        let end = self.begin + time;
        while now() < end {
            for (token, _) in self.poller.wait(Some(TURN))? {
                let Some(socket) = self.sockets.get(token as usize) else { continue };
                self.report.bytes += turn(socket, &mut self.buffer, direction)?;
            }
        }
        self.report.seconds = (now() - self.begin).as_secs_f64();
        self.report.core = core.and_then(|core| core.share());
        Ok(())
    }
}

/// Moves what goes at once, within a bound so that no connection starves the others.
fn turn(socket: &OwnedFd, buffer: &mut [u8], direction: Direction) -> Result<u64> {
    let mut moved = 0;
    for _ in 0..PIECES {
        let done = match direction {
            Direction::Write => send(socket.as_raw_fd(), buffer, MsgFlags::MSG_NOSIGNAL),
            _ => recv(socket.as_raw_fd(), buffer, MsgFlags::empty()),
        };
        match done {
            Ok(0) => bail!("the server closed"),
            Ok(bytes) => moved += bytes as u64,
            Err(Errno::EAGAIN) => break,
            Err(error) => bail!("{error}"),
        }
    }
    Ok(moved)
}

// Bytes of a socket's send buffer that are not acknowledged: SIOCOUTQ.
nix::ioctl_read_bad!(outgoing, nix::libc::TIOCOUTQ, nix::libc::c_int);

/// Bytes of one call.
const PIECE: usize = 256 << 10;
/// The most calls in a row for one connection.
const PIECES: usize = 8;
/// How often the clock is looked at when nothing happens.
const TURN: Duration = Duration::from_millis(50);
