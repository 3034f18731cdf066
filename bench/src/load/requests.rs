//! Requests that are answered, on connections that stay: one under way on each.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{MsgFlags, recv, send};

use super::report::{LONGEST, histogram};
use super::window::Window;
use super::{BODY, Options, PATIENCE, Report, Work, open};
use crate::clock::now;
use crate::poller::Poller;

/// Sends requests until the time is over, and times each.
pub(super) fn run(options: &Options) -> Result<Report> {
    let mut poller = Poller::new()?;
    let sockets = open::all(options, &mut poller)?;
    let mut run = Run {
        request: request(options),
        reply: vec![0; options.size.max(2 * BODY)],
        whole: (options.work != Work::Get).then_some(options.size),
        asks: if options.in_rounds { Asks::WhenWritable } else { Asks::AtOnce },
        window: Window::begin(options),
        latencies: histogram()?,
        report: Report { seconds: options.seconds, ..Report::default() },
    };
    run.report.opened = sockets.len() as u64;
    let mut connections: Vec<_> = sockets
        .into_iter()
        .zip(0..)
        .map(|(socket, token)| Connection {
            socket,
            token,
            got: 0,
            sent: Duration::ZERO,
            is_due: false,
        })
        .collect();
    for connection in &mut connections {
        poller.change(&connection.socket, connection.token, run.asks.flags())?;
        run.ask(connection)?;
    }
    let mut open = connections.len();
    while open > 0 {
        for (token, flags) in poller.wait(Some(TURN))? {
            let Some(connection) = connections.get_mut(token as usize) else { continue };
            match run.on_event(connection, flags, &poller) {
                Ok(Next::Waits | Next::Asks) => {}
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

/// When the next request goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// With the answer.
    AtOnce,
    /// When epoll says that the connection takes it.
    WhenWritable,
}

impl Asks {
    /// What is followed while an answer is awaited.
    fn flags(self) -> EpollFlags {
        match self {
            Self::AtOnce => EpollFlags::EPOLLIN | EpollFlags::EPOLLET,
            Self::WhenWritable => EpollFlags::EPOLLIN,
        }
    }
}

struct Connection {
    socket: OwnedFd,
    token: u64,
    /// Bytes of the answer that have come.
    got: usize,
    /// When the request was sent.
    sent: Duration,
    /// Whether the next request waits for epoll.
    is_due: bool,
}

/// What a connection does after an event.
enum Next {
    Waits,
    /// Its next request is due.
    Asks,
    /// Its last answer has come.
    Over,
}

struct Run {
    request: Vec<u8>,
    reply: Vec<u8>,
    /// Bytes of an answer, once they are known: all answers are alike.
    whole: Option<usize>,
    asks: Asks,
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

    fn on_event(
        &mut self,
        connection: &mut Connection,
        flags: EpollFlags,
        poller: &Poller,
    ) -> Result<Next> {
        if connection.is_due {
            if flags.contains(EpollFlags::EPOLLOUT) {
                connection.is_due = false;
                self.ask(connection)?;
                poller.change(&connection.socket, connection.token, self.asks.flags())?;
            }
            return Ok(Next::Waits);
        }
        match (self.on_readable(connection)?, self.asks) {
            (Next::Asks, Asks::AtOnce) => {
                self.ask(connection)?;
                Ok(Next::Waits)
            }
            (Next::Asks, Asks::WhenWritable) => {
                connection.is_due = true;
                let flags = self.asks.flags() | EpollFlags::EPOLLOUT;
                poller.change(&connection.socket, connection.token, flags)?;
                Ok(Next::Waits)
            }
            (next, _) => Ok(next),
        }
    }

    fn on_readable(&mut self, connection: &mut Connection) -> Result<Next> {
        while self.whole.is_none_or(|whole| connection.got < whole) {
            let end = self.whole.unwrap_or(self.reply.len());
            let buffer = &mut self.reply[connection.got..end];
            match recv(connection.socket.as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(0) => anyhow::bail!("closed before the reply"),
                Ok(more) => connection.got += more,
                Err(Errno::EAGAIN) => return Ok(Next::Waits),
                Err(error) => anyhow::bail!("receive: {error}"),
            }
            if self.whole.is_none() {
                self.whole = whole(&self.reply[..connection.got])?;
            }
        }
        let time = now();
        if self.window.contains(connection.sent) && self.window.contains(time) {
            self.report.completed += 1;
            self.report.bytes += connection.got as u64;
            let latency = time.saturating_sub(connection.sent).min(LONGEST);
            self.latencies.saturating_record(latency.as_nanos() as u64);
        }
        if time >= self.window.end {
            return Ok(Next::Over);
        }
        Ok(Next::Asks)
    }
}

/// What is sent over and over.
fn request(options: &Options) -> Vec<u8> {
    match options.work {
        Work::Get => {
            format!("GET /bytes/{BODY} HTTP/1.1\r\nHost: {}\r\n\r\n", options.to.ip()).into_bytes()
        }
        _ => vec![b'x'; options.size],
    }
}

/// How long the HTTP answer is that begins so; `None` before its head has come.
fn whole(answer: &[u8]) -> Result<Option<usize>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&answer[..end]);
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    anyhow::ensure!(status.starts_with("HTTP/1.1 200"), "the server said `{status}`");
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.context("an answer without its length")?;
    anyhow::ensure!(length == BODY, "{length} bytes came, and not {BODY}");
    Ok(Some(end + 4 + length))
}

/// How often the clock is looked at when nothing happens.
const TURN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_as_long_as_its_head_says() {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n");
        let answer = format!("{head}xxx");
        assert_eq!(whole(answer.as_bytes()).unwrap(), Some(head.len() + BODY));
        assert_eq!(whole(&answer.as_bytes()[..20]).unwrap(), None);
    }

    #[test]
    fn answer_that_is_not_the_body_is_refused() {
        for head in
            ["HTTP/1.1 404 Not Found\r\nContent-Length: 0", "HTTP/1.1 200 OK\r\nContent-Length: 7"]
        {
            assert!(whole(format!("{head}\r\n\r\n").as_bytes()).is_err(), "{head}");
        }
    }
}
