//! A client that loads a peer: each connection sends and receives its share, closes as told, and is
//! counted by how it ended.
//!
//! Owns the course of one connection, and how many there are at once. How many are opened in all, and
//! when, is the business of who holds the [`Tally`].

use std::sync::Arc;

use slab::Slab;

use super::http::pattern_at;
use super::{Connection, Peer, Service};
use crate::tcp::CloseReason;
use crate::time::{Duration, Instant};
use crate::wire::Addr;

mod tally;
#[cfg(test)]
mod tests;

use tally::Event;
pub use tally::{Outcome, Tally};

/// The client of one shard.
pub struct Client {
    task: Task,
    target: Target,
    tally: Arc<Tally>,
    /// Connections that are open or opening, and those that were ever opened.
    open: usize,
    begun: usize,
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
    /// How often it sends and receives, one after the other; the pattern begins anew each time.
    pub requests: Requests,
    /// Whether nothing is sent before [`Tally::start`].
    pub gathers: bool,
}

/// Whom the client of one shard opens connections to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The peer's address.
    pub addr: Addr,
    /// The peer's port.
    pub port: u16,
    /// Our addresses, which are used in turn; the shard's first where there are none.
    pub from: Vec<Addr>,
    /// The most connections at once.
    pub at_once: usize,
}

/// How often a connection sends and receives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Requests {
    /// Once.
    #[default]
    One,
    /// Until [`Tally::end`].
    Many,
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
    /// A client whose connections go to `target`, do `task` and are counted in `tally`.
    pub fn new(task: Task, target: Target, tally: Arc<Tally>) -> Self {
        Self { task, target, tally, open: 0, begun: 0, exchanges: Slab::new() }
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
    fn poll_open(&mut self) -> Option<Peer> {
        if self.open >= self.target.at_once || !self.tally.ask() {
            return None;
        }
        let Target { addr, port, ref from, .. } = self.target;
        let local = from.get(self.begun % from.len().max(1)).copied();
        self.open += 1;
        self.begun += 1;
        Some(Peer { local, addr, port })
    }

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
        self.open = self.open.saturating_sub(1);
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
        let is_answered = task.requests == Requests::Many && self.received == task.receive;
        if is_answered && !tally.is_over() && !self.peer_fin {
            tally.add(Event::Answered, 1);
            (self.sent, self.received) = (0, 0);
            return self.send(task, tally, conn);
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

/// How often a connection that gathers looks whether it may begin.
const GATHERING: Duration = Duration::from_millis(200);
