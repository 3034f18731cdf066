//! Requests that come back, on connections that stay: one under way on each.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{MsgFlags, recv, send};

use super::report::{LONGEST, histogram};
use super::window::Window;
use super::{Options, PATIENCE, Report, open};
use crate::clock::now;
use crate::poller::Poller;

/// Sends requests until the time is over, and times each.
pub(super) fn run(options: &Options) -> Result<Report> {
    let mut poller = Poller::new()?;
    let sockets = open::all(options, &mut poller)?;
    let mut run = Run {
        request: vec![b'x'; options.size],
        reply: vec![0; options.size],
        window: Window::begin(options),
        latencies: histogram()?,
        report: Report { seconds: options.seconds, ..Report::default() },
    };
    run.report.opened = sockets.len() as u64;
    let mut connections: Vec<_> = sockets
        .into_iter()
        .map(|socket| Connection { socket, got: 0, sent: Duration::ZERO })
        .collect();
    for (n, connection) in connections.iter_mut().enumerate() {
        poller.change(&connection.socket, n as u64, EpollFlags::EPOLLIN | EpollFlags::EPOLLET)?;
        run.ask(connection)?;
    }
    let mut open = connections.len();
    while open > 0 {
        for (token, _) in poller.wait(Some(TURN))? {
            let Some(connection) = connections.get_mut(token as usize) else { continue };
            match run.on_readable(connection) {
                Ok(Next::Waits) => {}
                Ok(Next::Over) => open -= 1,
                Err(why) => {
                    run.report.fail(why);
                    open -= 1;
                }
            }
        }
        let time = now();
        run.window.see(time);
        if time > run.window.end + PATIENCE {
            (0..open).for_each(|_| run.report.fail("no reply"));
            break;
        }
    }
    run.report.core = run.window.share();
    run.report.take_latencies(&run.latencies);
    Ok(run.report)
}

struct Connection {
    socket: OwnedFd,
    /// Bytes of the answer that have come.
    got: usize,
    /// When the request was sent.
    sent: Duration,
}

/// What a connection does after an event.
enum Next {
    Waits,
    /// Its last answer has come.
    Over,
}

struct Run {
    request: Vec<u8>,
    reply: Vec<u8>,
    window: Window,
    latencies: Histogram<u64>,
    report: Report,
}

impl Run {
    /// Sends a request.
    fn ask(&self, connection: &mut Connection) -> Result<()> {
        connection.got = 0;
        connection.sent = now();
        let socket = connection.socket.as_raw_fd();
        // It fits: nothing else is in the send buffer.
        let sent = send(socket, &self.request, MsgFlags::MSG_NOSIGNAL)?;
        anyhow::ensure!(sent == self.request.len(), "only {sent} bytes of a request were taken");
        Ok(())
    }

    fn on_readable(&mut self, connection: &mut Connection) -> Result<Next> {
        while connection.got < self.request.len() {
            let buffer = &mut self.reply[connection.got..];
            match recv(connection.socket.as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(0) => anyhow::bail!("closed before the reply"),
                Ok(more) => connection.got += more,
                Err(Errno::EAGAIN) => return Ok(Next::Waits),
                Err(error) => anyhow::bail!("receive: {error}"),
            }
        }
        let time = now();
        if self.window.contains(connection.sent) && self.window.contains(time) {
            self.report.completed += 1;
            self.report.bytes += self.request.len() as u64;
            let latency = time.saturating_sub(connection.sent).min(LONGEST);
            self.latencies.saturating_record(latency.as_nanos() as u64);
        }
        if time >= self.window.end {
            return Ok(Next::Over);
        }
        self.ask(connection)?;
        Ok(Next::Waits)
    }
}

/// How often the clock is looked at when nothing happens.
const TURN: Duration = Duration::from_millis(50);
