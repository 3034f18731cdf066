//! Short connections: so many at once, each opened again as soon as it has ended.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{MsgFlags, recv, send};

use super::open::{begin, error_of};
use super::pace::Pace;
use super::report::{LONGEST, histogram};
use super::sources::{From, reused};
use super::window::Window;
use super::{Options, PATIENCE, Report, Work};
use crate::clock::now;
use crate::poller::Poller;

/// Opens and ends connections until the time is over.
pub(super) fn run(options: &Options) -> Result<Report> {
    let exchange = match options.work {
        Work::Fetch => Exchange { request: FETCH, ends: Ends::WithPeer },
        _ => Exchange { request: b"x", ends: Ends::AfterOneByte },
    };
    let mut run = Run {
        options,
        exchange,
        poller: Poller::new()?,
        slots: (0..options.connections).map(|_| None).collect(),
        free: (0..options.connections).rev().collect(),
        pace: Pace::new(options, now()),
        latencies: histogram()?,
        report: Report { seconds: options.seconds, ..Report::default() },
    };
    run.go()?;
    if options.rate.is_some() {
        run.report.take_latencies(&run.latencies);
    }
    if let From::Single(_) = options.from() {
        run.report.reused = reused(run.report.opened, 0);
    }
    Ok(run.report)
}

/// What is said on each connection.
#[derive(Clone, Copy)]
struct Exchange {
    request: &'static [u8],
    ends: Ends,
}

/// When the client closes.
#[derive(Clone, Copy)]
enum Ends {
    AfterOneByte,
    /// Once the peer has closed.
    WithPeer,
}

/// One of the connections at once.
struct Slot {
    socket: OwnedFd,
    step: Step,
    /// When it was begun or, at a rate, was due.
    begin: Duration,
}

enum Step {
    Opening,
    /// The request was sent, so many bytes came back.
    Waiting(usize),
}

/// What an event made of a connection.
enum Outcome {
    Goes,
    Done,
}

struct Run<'a> {
    options: &'a Options,
    exchange: Exchange,
    poller: Poller,
    slots: Vec<Option<Slot>>,
    /// Slots that have no connection.
    free: Vec<usize>,
    pace: Pace,
    /// From the begin to the end, of connections at a rate.
    latencies: Histogram<u64>,
    report: Report,
}

impl Run<'_> {
    fn go(&mut self) -> Result<()> {
        let mut window = Window::begin(self.options);
        let mut time = now();
        self.open_due(time, window.end)?;
        while self.is_open() || (time < window.end && self.goes_on()) {
            if time > window.end + PATIENCE {
                self.give_up();
                break;
            }
            let batch = self.poller.wait(Some(self.pace.turn()))?;
            time = now();
            window.see(time);
            for (token, flags) in batch {
                let index = token as usize;
                let Some(ended) = self.on_event(index, flags) else { continue };
                self.free.push(index);
                match ended {
                    Ok(begin) if window.contains(time) => self.count(time.saturating_sub(begin)),
                    Ok(_) => {}
                    Err(error) => self.report.fail(error),
                }
                self.open_due(time, window.end)?;
            }
            self.open_due(time, window.end)?;
        }
        self.report.core = window.share();
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.free.len() < self.slots.len()
    }

    /// Whether connections may begin though none has ended.
    fn goes_on(&self) -> bool {
        self.report.failed < MOST_FAILURES && self.pace.goes_on(self.report.opened)
    }

    fn count(&mut self, latency: Duration) {
        self.report.completed += 1;
        if self.options.rate.is_some() {
            self.latencies.saturating_record(latency.min(LONGEST).as_nanos() as u64);
        }
    }

    /// Begins what may begin, in slots that are free.
    fn open_due(&mut self, time: Duration, end: Duration) -> Result<()> {
        while time < end
            && self.report.failed < MOST_FAILURES
            && self.pace.allows(self.report.opened, time)
            && let Some(index) = self.free.pop()
        {
            self.open(index, time)?;
        }
        Ok(())
    }

    /// Begins a connection in a slot that is free. One that cannot be begun has failed.
    fn open(&mut self, index: usize, time: Duration) -> Result<()> {
        let n = self.report.opened;
        self.report.opened += 1;
        match begin(self.options, n) {
            Ok(socket) => {
                let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
                self.poller.add(&socket, index as u64, flags)?;
                let begin = self.pace.due(n).unwrap_or(time);
                self.slots[index] = Some(Slot { socket, step: Step::Opening, begin });
            }
            Err(error) => {
                self.report.fail(format_args!("connect: {error}"));
                self.free.push(index);
            }
        }
        Ok(())
    }

    /// `None` while the connection goes on; else when it began or how it failed, with its slot free.
    fn on_event(&mut self, index: usize, flags: EpollFlags) -> Option<Result<Duration, String>> {
        let slot = self.slots.get_mut(index)?.as_mut()?;
        let ended = match slot.on_event(self.exchange, flags) {
            Ok(Outcome::Goes) => return None,
            Ok(Outcome::Done) => Ok(slot.begin),
            Err(why) => Err(why),
        };
        self.slots[index] = None;
        Some(ended)
    }

    /// Whatever is still open long after the end has failed.
    fn give_up(&mut self) {
        for slot in self.slots.iter_mut().filter_map(Option::take) {
            match slot.step {
                Step::Opening => self.report.fail("connect: no answer"),
                Step::Waiting(_) => self.report.fail("no reply"),
            }
        }
    }
}

impl Slot {
    fn on_event(&mut self, exchange: Exchange, flags: EpollFlags) -> Result<Outcome, String> {
        match self.step {
            Step::Opening if flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP) => {
                Err(format!("connect: {}", error_of(&self.socket)))
            }
            Step::Opening if flags.contains(EpollFlags::EPOLLOUT) => {
                let sent = send(self.socket.as_raw_fd(), exchange.request, MsgFlags::MSG_NOSIGNAL);
                if sent != Ok(exchange.request.len()) {
                    return Err(format!("send: {sent:?}"));
                }
                self.step = Step::Waiting(0);
                Ok(Outcome::Goes)
            }
            Step::Opening => Ok(Outcome::Goes),
            Step::Waiting(got) => self.receive(got, exchange.ends),
        }
    }

    fn receive(&mut self, mut got: usize, ends: Ends) -> Result<Outcome, String> {
        let mut buffer = [0; 512];
        loop {
            match (recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()), ends) {
                (Ok(0), Ends::WithPeer) if got > 0 => return Ok(Outcome::Done),
                (Ok(0), _) => return Err("closed before the reply".into()),
                (Ok(1..), Ends::AfterOneByte) => return Ok(Outcome::Done),
                (Ok(more), Ends::WithPeer) => got += more,
                (Err(Errno::EAGAIN), _) => break,
                (Err(error), _) => return Err(format!("receive: {error}")),
            }
        }
        self.step = Step::Waiting(got);
        Ok(Outcome::Goes)
    }
}

/// The request of a connection that the server ends.
const FETCH: &[u8] = b"GET /bytes/1 HTTP/1.0\r\n\r\n";
/// After so many failures no more connections are opened.
const MOST_FAILURES: u64 = 100;
