//! The kernel's end of many connections at once: one thread, epoll, every byte compared.
//!
//! Owns the sockets of one [`Load`]. Works as client and as server; what each connection does is a
//! [`Course`]. Ends when all connections have ended, or when nothing happens for too long.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{SockFlag, SockType, bind, connect, setsockopt, socket, sockopt};
use sluice::datapath::Clock;
use sluice::time::Instant;

use crate::family::{FAMILY, Ip, place};
use crate::topology::{Namespace, PATIENCE};
use crate::transfer::{PERIOD, pattern};

/// What the kernel's end of each connection does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    /// What it says first, before the pattern.
    pub(crate) request: &'static [u8],
    /// Bytes of the pattern to send.
    pub(crate) send: usize,
    /// Bytes of the pattern to receive, after [`Course::head`].
    pub(crate) receive: usize,
    /// Whether an HTTP head comes before them.
    pub(crate) head: bool,
    /// Who ends it.
    pub(crate) end: End,
}

/// Who ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// We, with FIN, once all is sent and received.
    First,
    /// We, with FIN, once all is sent; the rest comes after it.
    Half,
    /// The peer; we follow.
    Second,
}

impl Default for Course {
    fn default() -> Self {
        Self { request: &[], send: 0, receive: 0, head: false, end: End::First }
    }
}

/// Where the connections come from.
pub(crate) enum Source<'a> {
    /// They are opened to an address, from these in turn, so many at once.
    Connect { to: (Ip, u16), from: &'a [Ip], at_once: usize },
    /// They are accepted.
    Accept(&'a TcpListener),
}

/// How a load went.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Connections that did all of their course.
    pub(crate) done: usize,
    /// Why the others did not: the first few.
    pub(crate) failures: Vec<String>,
    /// The most that were open at once.
    pub(crate) at_once: usize,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Outcome {
    /// Panics unless `count` connections did all of their course; prints the rate.
    pub(crate) fn assert_all(&self, what: &str, count: usize) {
        let Self { done, failures, at_once, took } = self;
        assert!(failures.is_empty() && *done == count, "{done} of {count} done: {failures:#?}");
        let seconds = took.as_secs_f64();
        let rate = count as f64 / seconds;
        note!(
            "{what}: {count} connections in {seconds:.2} s, {rate:.0}/s, at most {at_once} at once \
             (information only)"
        );
    }
}

/// Runs `count` connections of `course` in `namespace`. With `gathers` nothing is sent before all
/// are open.
pub(crate) fn run(
    namespace: &Namespace,
    source: &Source<'_>,
    course: Course,
    (count, gathers): (usize, bool),
) -> Outcome {
    namespace.inside(|| Load::new(source, course, count, gathers).run())
}

struct Load<'a> {
    source: &'a Source<'a>,
    course: Course,
    count: usize,
    gathers: bool,
    epoll: Epoll,
    open: HashMap<RawFd, Talk>,
    /// Connections that were opened or accepted.
    begun: usize,
    /// Connections whose handshake is done.
    opened: usize,
    outcome: Outcome,
    buffer: Vec<u8>,
    pattern: Vec<u8>,
}

/// One connection.
struct Talk {
    stream: TcpStream,
    is_open: bool,
    said: usize,
    sent: usize,
    received: usize,
    head: Vec<u8>,
    has_head: bool,
    is_shut: bool,
    is_over: bool,
}

impl<'a> Load<'a> {
    fn new(source: &'a Source<'a>, course: Course, count: usize, gathers: bool) -> Self {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll is there");
        if let Source::Accept(listener) = source {
            listener.set_nonblocking(true).unwrap();
            let event = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER);
            epoll.add(listener, event).unwrap();
        }
        Self {
            source,
            course,
            count,
            gathers,
            epoll,
            open: HashMap::new(),
            begun: 0,
            opened: 0,
            outcome: Outcome::default(),
            buffer: vec![0; 1 << 17],
            pattern: pattern(2 * PERIOD),
        }
    }

    fn run(mut self) -> Outcome {
        let clock = Clock::start();
        let mut events = vec![EpollEvent::empty(); 1024];
        let timeout = EpollTimeout::try_from(self.patience()).expect("some minutes");
        while self.outcome.done + self.outcome.failures.len() < self.count {
            self.begin();
            if self.open.is_empty() && self.outcome.failures.len() == self.count {
                break;
            }
            self.outcome.at_once = self.outcome.at_once.max(self.open.len());
            let ready = match self.epoll.wait(&mut events, timeout) {
                Err(Errno::EINTR) => continue,
                ready => ready.expect("epoll goes on"),
            };
            let failed = self.outcome.failures.len();
            if ready == 0 || failed > MOST_FAILURES {
                let stuck: Vec<_> = self.open.values().take(3).map(Talk::describe).collect();
                let text = format!("{} connections are stuck, such as {stuck:?}", self.open.len());
                self.outcome.failures.push(text);
                break;
            }
            for event in &events[..ready] {
                match event.data() {
                    LISTENER => self.accept(),
                    fd => self.attend(fd as RawFd),
                }
            }
            if self.gathers && self.opened >= self.count {
                self.gathers = false;
                let all: Vec<RawFd> = self.open.keys().copied().collect();
                all.into_iter().for_each(|fd| self.attend(fd));
            }
        }
        self.outcome.took = clock.now().since(Instant::ZERO);
        self.outcome
    }

    /// How long nothing at all may happen. Where thousands share a link, those that lost a segment
    /// again and again wait for their timers when all others are done: half a minute, then one.
    fn patience(&self) -> Duration {
        if self.count > 1000 { PATIENCE * 3 } else { PATIENCE }
    }

    /// Opens as many as may be open.
    fn begin(&mut self) {
        let Source::Connect { to, from, at_once } = self.source else { return };
        while self.begun < self.count && self.open.len() < *at_once {
            let source = from[self.begun % from.len()];
            self.begun += 1;
            match begin_connect(source, *to) {
                Ok(fd) => self.watch(fd.into(), false),
                Err(errno) => self.outcome.failures.push(format!("connect: {errno}")),
            }
            if self.outcome.failures.len() > MOST_FAILURES {
                return;
            }
        }
    }

    fn accept(&mut self) {
        let Source::Accept(listener) = self.source else { return };
        while let Ok((stream, _)) = listener.accept() {
            self.begun += 1;
            self.opened += 1;
            stream.set_nonblocking(true).unwrap();
            self.watch(stream, true);
        }
    }

    fn watch(&mut self, stream: TcpStream, is_open: bool) {
        let fd = stream.as_raw_fd();
        let interest = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLET;
        self.epoll.add(stream.as_fd(), EpollEvent::new(interest, fd as u64)).unwrap();
        let talk = Talk {
            stream,
            is_open,
            said: 0,
            sent: 0,
            received: 0,
            head: Vec::new(),
            has_head: !self.course.head,
            is_shut: false,
            is_over: false,
        };
        self.open.insert(fd, talk);
    }

    fn attend(&mut self, fd: RawFd) {
        let Some(talk) = self.open.get_mut(&fd) else { return };
        let result = match talk.opens() {
            Ok(false) => return,
            Ok(true) => {
                self.opened += usize::from(!std::mem::replace(&mut talk.is_open, true));
                if self.gathers {
                    return;
                }
                talk.go_on(&self.course, &self.pattern, &mut self.buffer)
            }
            Err(error) => Err(format!("open: {error}")),
        };
        match result {
            Ok(false) => return,
            Ok(true) => self.outcome.done += 1,
            Err(what) => {
                let text = format!("{what}: {}", talk.describe());
                self.outcome.failures.push(text);
            }
        }
        // Closing it takes it out of epoll.
        self.open.remove(&fd);
    }
}

impl Talk {
    fn describe(&self) -> String {
        let Self { is_open, said, sent, received, is_shut, is_over, .. } = self;
        let from = self.stream.local_addr().map_or(0, |addr| addr.port());
        format!(
            "port {from}: open {is_open}, said {said}, sent {sent}, received {received}, shut \
             {is_shut}, over {is_over}"
        )
    }

    /// Whether the handshake is done.
    fn opens(&self) -> std::io::Result<bool> {
        if self.is_open {
            return Ok(true);
        }
        match self.stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(self.stream.peer_addr().is_ok()),
        }
    }

    /// Sends and reads what it can; whether the course is done.
    fn go_on(
        &mut self,
        course: &Course,
        pattern: &[u8],
        buffer: &mut [u8],
    ) -> Result<bool, String> {
        self.write(course, pattern)?;
        self.read(course, pattern, buffer)?;
        let is_sent = self.said == course.request.len() && self.sent == course.send;
        let is_received = self.received == course.receive && self.has_head;
        let shuts = match course.end {
            End::First => is_sent && is_received,
            End::Half => is_sent,
            End::Second => is_sent && self.is_over,
        };
        if shuts && !self.is_shut {
            self.is_shut = true;
            self.stream.shutdown(Shutdown::Write).map_err(|error| format!("shutdown: {error}"))?;
        }
        if self.is_over && !(is_received && is_sent) && course.end != End::Second {
            return Err("the end came early".into());
        }
        if self.is_over && course.end == End::Second && !is_received {
            return Err("the end came early".into());
        }
        Ok(self.is_over && self.is_shut)
    }

    fn write(&mut self, course: &Course, pattern: &[u8]) -> Result<(), String> {
        use std::io::Write;
        loop {
            let rest = match course.request.get(self.said..) {
                Some(rest) if !rest.is_empty() => rest,
                _ => {
                    let at = self.sent % PERIOD;
                    &pattern[at..pattern.len().min(at + course.send - self.sent)]
                }
            };
            if rest.is_empty() {
                return Ok(());
            }
            match self.stream.write(rest) {
                Ok(n) if self.said < course.request.len() => self.said += n,
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("write: {error}")),
            }
        }
    }

    fn read(&mut self, course: &Course, pattern: &[u8], buffer: &mut [u8]) -> Result<(), String> {
        use std::io::Read;
        while !self.is_over {
            let len = match self.stream.read(buffer) {
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("read: {error}")),
            };
            self.is_over = len == 0;
            let mut rest = &buffer[..len];
            if !self.has_head {
                // Heads are short and come first.
                self.head.extend_from_slice(rest);
                let end = self.head.windows(4).position(|window| window == b"\r\n\r\n");
                let Some(end) = end else { continue };
                self.has_head = true;
                rest = &rest[end + 4 + rest.len() - self.head.len()..];
            }
            while !rest.is_empty() {
                let wanted = &pattern[self.received % PERIOD..];
                let n = wanted.len().min(rest.len());
                if rest[..n] != wanted[..n] || self.received + n > course.receive {
                    return Err("wrong bytes".into());
                }
                self.received += n;
                rest = &rest[n..];
            }
        }
        Ok(())
    }
}

fn begin_connect(from: Ip, to: (Ip, u16)) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(FAMILY, SockType::Stream, flags, None)?;
    // Otherwise a port would be taken already here, from half of them.
    setsockopt(&fd, sockopt::IpBindAddressNoPort, &true)?;
    bind(fd.as_raw_fd(), &place(from, 0))?;
    let to = place(to.0, to.1);
    match connect(fd.as_raw_fd(), &to) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(fd),
        Err(errno) => Err(errno),
    }
}

/// The listener's word in epoll: no descriptor has it.
const LISTENER: u64 = u64::MAX;
/// Failures after which a load ends.
const MOST_FAILURES: usize = 8;
