//! Short visits at a steady pace: connect, send some bytes, receive them back, close. A visit begins
//! when it is time for it, whatever became of the ones before, so that a server that refuses is not
//! spared.
//!
//! It is a hidden command of the bench, so that it can run inside of a namespace; its last line on
//! standard output is a [`Report`] as JSON, whose latencies are those of whole visits.

use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn6, SockaddrStorage, bind, connect, recv,
    send, socket,
};

use super::open::error_of;
use super::report::{LONGEST, histogram};
use super::sources::From;
use super::{Report, Sources, pin};
use crate::clock::now;
use crate::poller::Poller;
use crate::topology::beside;

/// The options of a visitor.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The server.
    #[arg(long, value_name = "ADDR:PORT")]
    pub to: SocketAddr,
    /// Visits that begin in a second.
    #[arg(long, value_name = "N", default_value = "200")]
    pub rate: u32,
    /// The time in which they begin, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "2")]
    pub seconds: f64,
    /// Bytes each way.
    #[arg(long, value_name = "BYTES", default_value = "1024")]
    pub size: usize,
    /// Addresses that they come from in turn; to an IPv6 server from those of its /96 that end so.
    #[arg(long, value_name = "FIRST+COUNT")]
    pub sources: Sources,
    /// The CPU.
    #[arg(long, value_name = "CPU")]
    pub cpu: Option<usize>,
}

impl Options {
    /// The options as the command line has them.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = [
            ("--to", self.to.to_string()),
            ("--rate", self.rate.to_string()),
            ("--seconds", self.seconds.to_string()),
            ("--size", self.size.to_string()),
            ("--sources", self.sources.to_string()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_string(), value])
        .collect();
        arguments.extend(self.cpu.iter().flat_map(|cpu| ["--cpu".into(), cpu.to_string()]));
        arguments
    }

    /// When the `n`-th visit begins, from the first on.
    fn due(&self, n: u64) -> Duration {
        Duration::from_secs_f64(n as f64 / f64::from(self.rate))
    }

    /// The socket of the `n`-th visit, on its way to the server.
    fn connect(&self, n: u64) -> nix::Result<OwnedFd> {
        let socket = match self.to {
            SocketAddr::V4(_) => From::Spread(self.sources).socket(n)?,
            SocketAddr::V6(to) => {
                let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
                let made = socket(AddressFamily::Inet6, SockType::Stream, flags, None)?;
                let from = SocketAddrV6::new(beside(*to.ip(), self.sources.nth(n)), 0, 0, 0);
                bind(made.as_raw_fd(), &SockaddrIn6::from(from))?;
                made
            }
        };
        match connect(socket.as_raw_fd(), &SockaddrStorage::from(self.to)) {
            Ok(()) | Err(Errno::EINPROGRESS) => Ok(socket),
            Err(error) => Err(error),
        }
    }

    /// How many begin.
    fn count(&self) -> u64 {
        (f64::from(self.rate) * self.seconds) as u64
    }
}

/// Makes the visits, and prints what became of them.
///
/// # Errors
/// Where the options make no sense, or the kernel refuses what the visitor itself needs; visits that
/// fail are counted in the report.
pub fn run(options: &Options) -> Result<()> {
    ensure!((1..=100_000).contains(&options.rate), "1 to 100,000 visits in a second");
    ensure!(options.seconds > 0.0 && options.seconds <= 600.0, "0 to 600 seconds");
    ensure!((1..=65_536).contains(&options.size), "1 B to 64 KiB each way");
    if let Some(cpu) = options.cpu {
        pin(cpu)?;
    }
    let mut visitor = Visitor {
        options,
        poller: Poller::new()?,
        visits: Vec::new(),
        open: 0,
        latencies: histogram()?,
        report: Report { seconds: options.seconds, ..Report::default() },
    };
    visitor.go()?;
    println!("{}", serde_json::to_string(&visitor.report)?);
    Ok(())
}

/// A visit under way.
struct Visit {
    socket: OwnedFd,
    begin: Duration,
    /// Bytes that came back; `None` until it is connected.
    got: Option<usize>,
}

struct Visitor<'a> {
    options: &'a Options,
    poller: Poller,
    /// By number; `None` once it is over.
    visits: Vec<Option<Visit>>,
    /// How many are under way.
    open: usize,
    latencies: Histogram<u64>,
    report: Report,
}

impl Visitor<'_> {
    fn go(&mut self) -> Result<()> {
        let begin = now();
        let (count, last) =
            (self.options.count(), self.options.due(self.options.count()) + PATIENCE);
        loop {
            let time = now() - begin;
            while self.report.opened < count && self.options.due(self.report.opened) <= time {
                self.open()?;
            }
            let is_last = self.report.opened == count;
            if (is_last && self.open == 0) || time > last {
                break;
            }
            let next = if is_last { TURN } else { self.options.due(self.report.opened) - time };
            // epoll waits whole milliseconds, and a look without a wait would take the CPU from whoever
            // sends the flood: a visit may begin a millisecond late.
            let next = next.clamp(Duration::from_millis(1), TURN);
            for (token, flags) in self.poller.wait(Some(next))? {
                self.on_event(token as usize, flags);
            }
        }
        for visit in self.visits.iter().flatten() {
            self.report.fail(match visit.got {
                None => "connect: no answer",
                Some(_) => "no reply",
            });
        }
        self.report.take_latencies(&self.latencies);
        Ok(())
    }

    fn open(&mut self) -> Result<()> {
        let n = self.report.opened;
        self.report.opened += 1;
        let begin = now();
        let socket = match self.options.connect(n) {
            Ok(socket) => socket,
            Err(error) => {
                self.report.fail(format_args!("connect: {error}"));
                self.visits.push(None);
                return Ok(());
            }
        };
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        self.poller.add(&socket, n, flags)?;
        self.visits.push(Some(Visit { socket, begin, got: None }));
        self.open += 1;
        Ok(())
    }

    fn on_event(&mut self, index: usize, flags: EpollFlags) {
        let Some(Some(visit)) = self.visits.get_mut(index) else { return };
        match visit.on_event(self.options.size, flags) {
            Ok(false) => return,
            Ok(true) => {
                let time = (now() - visit.begin).min(LONGEST);
                self.latencies.saturating_record(time.as_nanos() as u64);
                self.report.completed += 1;
                self.report.bytes += self.options.size as u64;
            }
            Err(why) => {
                self.report.refused += u64::from(is_refusal(&why));
                self.report.fail(why);
            }
        }
        self.visits[index] = None;
        self.open -= 1;
    }
}

impl Visit {
    /// Whether it is done.
    fn on_event(&mut self, size: usize, flags: EpollFlags) -> Result<bool, String> {
        if self.got.is_none() {
            if flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP) {
                return Err(format!("connect: {}", error_of(&self.socket)));
            }
            if !flags.contains(EpollFlags::EPOLLOUT) {
                return Ok(false);
            }
            let sent = send(self.socket.as_raw_fd(), &vec![b'x'; size], MsgFlags::MSG_NOSIGNAL);
            self.got = Some(0);
            if sent != Ok(size) {
                return Err(format!("send: {sent:?}"));
            }
        }
        let mut buffer = [0; 4096];
        loop {
            let got = self.got.unwrap_or(0);
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(0) => return Err(EARLY.into()),
                Ok(more) if got + more >= size => return Ok(true),
                Ok(more) => self.got = Some(got + more),
                Err(Errno::EAGAIN) => return Ok(false),
                Err(error) => return Err(format!("receive: {error}")),
            }
        }
    }
}

/// Whether the server said no.
fn is_refusal(why: &str) -> bool {
    ["ECONNREFUSED", "ECONNRESET", "EPIPE", EARLY].iter().any(|word| why.contains(word))
}

/// How a visit fails whose connection the server ends too early.
const EARLY: &str = "closed before the reply";
/// How long a visit may take after the last has begun: a SYN that is lost twice comes after 3 s.
pub(crate) const PATIENCE: Duration = Duration::from_secs(4);
/// How often the clock is looked at when nothing happens.
const TURN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket,
    };

    use super::*;

    fn options(to: SocketAddr) -> Options {
        let sources = "127.0.0.2+2".parse().unwrap();
        Options { to, rate: 500, seconds: 0.1, size: 100, sources, cpu: None }
    }

    fn visit(options: &Options) -> Report {
        let mut visitor = Visitor {
            options,
            poller: Poller::new().unwrap(),
            visits: Vec::new(),
            open: 0,
            latencies: histogram().unwrap(),
            report: Report::default(),
        };
        visitor.go().unwrap();
        visitor.report
    }

    #[test]
    fn visits_to_a_server_that_echoes_complete_and_are_timed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let options = options(listener.local_addr().unwrap());
        let count = options.count();
        assert_eq!(count, 50);
        let server = std::thread::spawn(move || {
            for _ in 0..count {
                let mut data = [0; 100];
                let (mut socket, _) = listener.accept().unwrap();
                socket.read_exact(&mut data).unwrap();
                socket.write_all(&data).unwrap();
            }
        });
        let report = visit(&options);
        server.join().unwrap();
        assert_eq!((report.opened, report.completed, report.failed), (count, count, 0));
        assert_eq!(report.refused, 0);
        assert_eq!(report.latencies.iter().map(|(_, n)| n).sum::<u64>(), count);
    }

    #[test]
    fn visits_over_ipv6_come_from_the_servers_network() {
        // The loopback interface has one address: the last 32 bits of the source are its own.
        let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let sources = "0.0.0.1+1".parse().unwrap();
        let options = Options { sources, ..options(listener.local_addr().unwrap()) };
        let _begun = options.connect(0).unwrap();
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), Ipv6Addr::LOCALHOST);
    }

    #[test]
    fn visits_to_nobody_fail_and_say_so() {
        // Held, so that nobody else is given the port, but not listened on.
        let held = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
        bind(held.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
        let place: SockaddrIn = getsockname(held.as_raw_fd()).unwrap();
        let report = visit(&options(SocketAddr::V4(place.into())));
        assert_eq!((report.completed, report.failed, report.refused), (0, 50, 50));
        assert!(report.failure.unwrap().contains("ECONNREFUSED"));
    }
}
