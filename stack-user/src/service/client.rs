//! A client that loads a peer: each connection sends and receives its share, closes as told, and is
//! counted by how it ended.
//!
//! Owns the course of one connection. When connections are opened, and how many, is the business of
//! who gives the shard its commands; both meet in a [`Tally`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use slab::Slab;

use super::http::pattern_at;
use super::{Connection, Service};
use crate::tcp::CloseReason;
use crate::time::{Duration, Instant};

/// The client of one shard.
pub struct Client {
    task: Task,
    tally: Arc<Tally>,
    /// One entry per open connection; [`Connection::user`] holds the key plus one.
    exchanges: Slab<Exchange>,
}

/// What each connection does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Bytes of [`pattern`](super::http::pattern) to send.
    pub send: u64,
    /// Bytes of the pattern that the peer has to send: fewer, more or others are a failure.
    pub receive: u64,
    /// How it ends.
    pub close: Close,
    /// Time between the last byte and the close, where the close is ours.
    pub hold: Duration,
    /// How long what the peer sends is left unread: its window closes meanwhile.
    pub pause: Duration,
    /// Whether nothing is sent before [`Tally::start`].
    pub gathers: bool,
}

/// How a connection of a [`Client`] ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Close {
    /// We send FIN once all is sent and received.
    #[default]
    Active,
    /// The peer sends FIN first.
    Passive,
    /// We send FIN once all is sent, and go on receiving.
    Half,
    /// We send RST once all is sent and received.
    Reset,
}

impl Client {
    /// A client whose connections do `task` and are counted in `tally`.
    pub fn new(task: Task, tally: Arc<Tally>) -> Self {
        Self { task, tally, exchanges: Slab::new() }
    }

    /// Runs `step` for the exchange of `conn`, then whatever that allows.
    fn step(&mut self, conn: &mut dyn Connection, step: impl FnOnce(&mut Exchange)) {
        let Some(key) = (*conn.user() as usize).checked_sub(1) else { return };
        if let Some(exchange) = self.exchanges.get_mut(key) {
            step(exchange);
            exchange.advance(&self.task, &self.tally, conn);
        }
    }
}

impl Service for Client {
    fn on_connected(&mut self, conn: &mut dyn Connection) {
        self.tally.add(Event::Opened, 1);
        let reads_at = conn.now() + self.task.pause;
        let exchange = Exchange { reads_at, ..Exchange::default() };
        *conn.user() = self.exchanges.insert(exchange) as u64 + 1;
        self.step(conn, |_| {});
    }

    fn on_data(&mut self, conn: &mut dyn Connection, data: &[u8]) -> usize {
        let mut consumed = data.len();
        let now = conn.now();
        self.step(conn, |exchange| {
            if now < exchange.reads_at {
                consumed = 0;
            } else {
                exchange.take(data);
            }
        });
        self.tally.add(Event::BytesReceived, consumed as u64);
        consumed
    }

    fn on_writable(&mut self, conn: &mut dyn Connection) {
        self.step(conn, |_| {});
    }

    fn on_peer_fin(&mut self, conn: &mut dyn Connection) {
        self.step(conn, |exchange| exchange.peer_fin = true);
    }

    fn on_timer(&mut self, conn: &mut dyn Connection) {
        conn.resume();
        self.step(conn, |exchange| exchange.wakes_at = Instant::NEVER);
    }

    fn on_closed(&mut self, user: u64, reason: CloseReason) {
        let exchange =
            (user as usize).checked_sub(1).and_then(|key| self.exchanges.try_remove(key));
        let outcome = match exchange {
            Some(exchange) => exchange.outcome(&self.task, reason),
            None => {
                self.tally.add(Event::OpenFailed, 1);
                reason.into()
            }
        };
        self.tally.add(Event::Ended(outcome), 1);
    }
}

/// Where one connection stands.
#[derive(Debug)]
struct Exchange {
    sent: u64,
    received: u64,
    is_wrong: bool,
    peer_fin: bool,
    is_closed: bool,
    /// Before this the peer's bytes are left unread.
    reads_at: Instant,
    /// When all was sent and received.
    held_since: Option<Instant>,
    /// When the connection's timer fires.
    wakes_at: Instant,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            sent: 0,
            received: 0,
            is_wrong: false,
            peer_fin: false,
            is_closed: false,
            reads_at: Instant::ZERO,
            held_since: None,
            wakes_at: Instant::NEVER,
        }
    }
}

impl Exchange {
    /// Compares what came with the pattern.
    fn take(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let wanted = pattern_at(self.received);
            let len = wanted.len().min(data.len());
            self.is_wrong |= data[..len] != wanted[..len];
            self.received += len as u64;
            data = &data[len..];
        }
    }

    /// Sends what there is room for, then closes when its time has come.
    fn advance(&mut self, task: &Task, tally: &Tally, conn: &mut dyn Connection) {
        if task.gathers && !tally.is_started() {
            return self.wake_at(conn.now() + GATHERING, conn);
        }
        let now = conn.now();
        if now < self.reads_at {
            self.wake_at(self.reads_at, conn);
        }
        self.send(task, tally, conn);
        if self.is_closed || self.sent < task.send {
            return;
        }
        let is_received = self.received >= task.receive;
        let is_time = match task.close {
            Close::Half => true,
            Close::Passive => self.peer_fin,
            Close::Active | Close::Reset if self.peer_fin => true,
            Close::Active | Close::Reset => is_received && self.is_held(task, conn),
        };
        if !is_time {
            return;
        }
        self.is_closed = true;
        match task.close {
            Close::Reset => conn.abort(),
            Close::Half => conn.shutdown_write(),
            // For good, as close(2) does: there is nothing left to read.
            Close::Active | Close::Passive => conn.close(),
        }
    }

    fn send(&mut self, task: &Task, tally: &Tally, conn: &mut dyn Connection) {
        let before = self.sent;
        while self.sent < task.send {
            let part = pattern_at(self.sent);
            let left = task.send - self.sent;
            let part = &part[..part.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            let taken = conn.send(part);
            self.sent += taken as u64;
            if taken < part.len() {
                break;
            }
        }
        if self.sent > before {
            tally.add(Event::BytesSent, self.sent - before);
        }
    }

    /// Whether the time between the last byte and the close is over; sees to it that somebody looks
    /// again where it is not.
    fn is_held(&mut self, task: &Task, conn: &mut dyn Connection) -> bool {
        let now = conn.now();
        let until = *self.held_since.get_or_insert(now) + task.hold;
        if now < until {
            self.wake_at(until, conn);
        }
        now >= until
    }

    fn wake_at(&mut self, at: Instant, conn: &mut dyn Connection) {
        if at < self.wakes_at {
            self.wakes_at = at;
            conn.set_timer(Some(at.since(conn.now())));
        }
    }

    fn outcome(&self, task: &Task, reason: CloseReason) -> Outcome {
        let wanted = match task.close {
            Close::Reset => CloseReason::Aborted,
            Close::Active | Close::Passive | Close::Half => CloseReason::Closed,
        };
        match reason {
            _ if self.is_wrong => Outcome::Wrong,
            reason if reason != wanted => reason.into(),
            _ if self.sent != task.send || self.received != task.receive => Outcome::Short,
            _ => Outcome::Done,
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Outcome {
    /// As the task says.
    Done,
    /// Bytes came that are not the pattern's.
    Wrong,
    /// It closed in order, but with fewer or more bytes than the task says.
    Short,
    /// Nobody had told it to close: both FINs where RST was the task.
    Closed,
    /// We gave it up ourselves.
    Aborted,
    /// The peer reset it.
    Reset,
    /// The peer refused it.
    Refused,
    /// The peer did not answer.
    TimedOut,
    /// Our close waited for the peer's acknowledgment as long as it was told to, in vain.
    Lingering,
    /// The network said that the peer cannot be reached.
    Unreachable,
    /// No port, table entry or buffer was left here.
    NoResources,
}

impl Outcome {
    /// Every outcome, in the order of its index.
    pub const ALL: [Self; 11] = [
        Self::Done,
        Self::Wrong,
        Self::Short,
        Self::Closed,
        Self::Aborted,
        Self::Reset,
        Self::Refused,
        Self::TimedOut,
        Self::Lingering,
        Self::Unreachable,
        Self::NoResources,
    ];

    /// Its name in `snake_case`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Wrong => "wrong",
            Self::Short => "short",
            Self::Closed => "closed",
            Self::Aborted => "aborted",
            Self::Reset => "reset",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Lingering => "lingering",
            Self::Unreachable => "unreachable",
            Self::NoResources => "no_resources",
        }
    }
}

impl From<CloseReason> for Outcome {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Closed => Self::Closed,
            CloseReason::Aborted => Self::Aborted,
            CloseReason::Reset => Self::Reset,
            CloseReason::Refused => Self::Refused,
            CloseReason::TimedOut => Self::TimedOut,
            CloseReason::Lingering => Self::Lingering,
            CloseReason::Unreachable(_) => Self::Unreachable,
            CloseReason::NoResources => Self::NoResources,
        }
    }
}

/// What the clients of all shards count, for the thread that opens their connections.
#[derive(Debug, Default)]
pub struct Tally {
    opened: AtomicU64,
    open_failed: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    ended: [AtomicU64; Outcome::ALL.len()],
    is_started: AtomicBool,
}

/// What a client tells its [`Tally`].
#[derive(Clone, Copy)]
enum Event {
    Opened,
    OpenFailed,
    BytesSent,
    BytesReceived,
    Ended(Outcome),
}

impl Tally {
    fn add(&self, event: Event, n: u64) {
        let value = match event {
            Event::Opened => &self.opened,
            Event::OpenFailed => &self.open_failed,
            Event::BytesSent => &self.bytes_sent,
            Event::BytesReceived => &self.bytes_received,
            Event::Ended(outcome) => &self.ended[outcome as usize],
        };
        value.fetch_add(n, Ordering::Relaxed);
    }

    /// Lets connections that gather begin.
    pub fn start(&self) {
        self.is_started.store(true, Ordering::Relaxed);
    }

    fn is_started(&self) -> bool {
        self.is_started.load(Ordering::Relaxed)
    }

    /// Connections that reached ESTABLISHED.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Connections that ended before they reached ESTABLISHED.
    pub fn open_failed(&self) -> u64 {
        self.open_failed.load(Ordering::Relaxed)
    }

    /// Connections that ended as `outcome` says.
    pub fn ended_as(&self, outcome: Outcome) -> u64 {
        self.ended[outcome as usize].load(Ordering::Relaxed)
    }

    /// Connections that ended, opens that failed included.
    pub fn ended(&self) -> u64 {
        Outcome::ALL.iter().map(|outcome| self.ended_as(*outcome)).sum()
    }

    /// Bytes given to connections and taken from them.
    pub fn bytes(&self) -> (u64, u64) {
        (self.bytes_sent.load(Ordering::Relaxed), self.bytes_received.load(Ordering::Relaxed))
    }
}

/// How often a connection that gathers looks whether it may begin.
const GATHERING: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fake::Rig;
    use crate::service::http::pattern;

    fn rig(task: Task) -> (Rig<Client>, Arc<Tally>) {
        let tally = Arc::new(Tally::default());
        (Rig::new(Client::new(task, Arc::clone(&tally)), 1000), tally)
    }

    fn bytes(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        pattern(0, &mut bytes);
        bytes
    }

    #[test]
    fn established_all_sent_and_received_closes_first() {
        let (mut rig, tally) = rig(Task { send: 5000, receive: 5000, ..Task::default() });
        rig.connect();
        assert_eq!(rig.read_all(), bytes(5000));
        assert!(!rig.is_closed());
        rig.deliver(&bytes(5000));
        assert!(rig.is_closed());
        rig.end(CloseReason::Closed);
        assert_eq!((tally.opened(), tally.ended_as(Outcome::Done)), (1, 1));
        assert_eq!(tally.bytes(), (5000, 5000));
    }

    #[test]
    fn established_passive_waits_for_the_peer() {
        let (mut rig, tally) = rig(Task { receive: 10, close: Close::Passive, ..Task::default() });
        rig.connect();
        rig.deliver(&bytes(10));
        assert!(!rig.is_closed());
        rig.fin();
        assert!(rig.is_closed());
        rig.end(CloseReason::Closed);
        assert_eq!(tally.ended_as(Outcome::Done), 1);
    }

    #[test]
    fn established_half_closes_and_goes_on_receiving() {
        let half = Task { send: 3, receive: 10, close: Close::Half, ..Task::default() };
        let (mut rig, tally) = rig(half);
        rig.connect();
        assert!(rig.is_closed());
        rig.deliver(&bytes(10));
        rig.fin();
        rig.end(CloseReason::Closed);
        assert_eq!(tally.ended_as(Outcome::Done), 1);
    }

    #[test]
    fn established_reset_aborts_after_the_hold() {
        let hold = Duration::from_secs(1);
        let (mut rig, tally) = rig(Task { close: Close::Reset, hold, ..Task::default() });
        rig.connect();
        assert!(!rig.conn.aborted);
        rig.advance(hold);
        assert!(rig.conn.aborted);
        rig.end(CloseReason::Aborted);
        assert_eq!(tally.ended_as(Outcome::Done), 1);
    }

    #[test]
    fn established_gathering_sends_nothing_before_the_start() {
        let (mut rig, tally) = rig(Task { send: 10, gathers: true, ..Task::default() });
        rig.connect();
        rig.advance(Duration::from_secs(1));
        assert!(rig.read_all().is_empty());
        tally.start();
        rig.advance(GATHERING);
        assert_eq!(rig.read_all(), bytes(10));
    }

    #[test]
    fn established_pausing_leaves_text_unread_until_its_time() {
        let pause = Duration::from_secs(1);
        let (mut rig, tally) = rig(Task { receive: 10, pause, ..Task::default() });
        rig.connect();
        rig.deliver(&bytes(10));
        assert_eq!(rig.unconsumed(), 10);
        rig.advance(pause);
        assert_eq!(rig.unconsumed(), 0);
        assert_eq!(tally.bytes(), (0, 10));
    }

    #[test]
    fn closed_with_other_bytes_or_fewer_or_by_reset_is_no_success() {
        for (given, reason, outcome) in [
            (&[0xee; 10][..], CloseReason::Closed, Outcome::Wrong),
            (&bytes(9), CloseReason::Closed, Outcome::Short),
            (&bytes(11), CloseReason::Closed, Outcome::Short),
            (&bytes(10), CloseReason::Reset, Outcome::Reset),
        ] {
            let (mut rig, tally) = rig(Task { receive: 10, ..Task::default() });
            rig.connect();
            rig.deliver(given);
            rig.fin();
            rig.end(reason);
            assert_eq!((tally.ended_as(outcome), tally.ended()), (1, 1), "{outcome:?}");
        }
    }

    #[test]
    fn syn_sent_refused_is_counted_without_an_exchange() {
        let (mut rig, tally) = rig(Task::default());
        rig.end(CloseReason::Refused);
        assert_eq!((tally.opened(), tally.open_failed()), (0, 1));
        assert_eq!(tally.ended_as(Outcome::Refused), 1);
    }
}
