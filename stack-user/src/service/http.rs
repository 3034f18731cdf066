//! The HTTP service: HTTP/1.1 and 1.0 from inside the shard (RFC 9110, RFC 9112).
//!
//! Owns the connections' progress through requests and replies. The grammar of a request stands in
//! `head`, what is answered in `reply` and the files it calls. Routes: `/` (status page),
//! `/stats` (the same as JSON), `/bytes/N` (N bytes of `pattern`). Replies carry no `Date`: the
//! service has no clock (RFC 9110, 6.6.1).

use std::sync::Arc;

use slab::Slab;

use super::{Connection, Service};
use crate::tcp::CloseReason;
use crate::time::{Duration, Instant};

mod head;
mod json;
mod page;
mod pattern;
mod reply;
mod status;
#[cfg(test)]
mod tests;

use head::{Head, Outcome};
pub(super) use pattern::pattern_at;
pub use pattern::{PERIOD, pattern};
use reply::{Code, Reply, Then};
pub use status::{CounterValue, Snapshot, Status};

/// The HTTP service of one listener in one shard.
pub struct Http {
    status: Arc<dyn Status>,
    /// One entry per connection; [`Connection::user`] holds the key plus one.
    exchanges: Slab<Exchange>,
}

impl Http {
    /// A service that reports what `status` says.
    pub fn new(status: Arc<dyn Status>) -> Self {
        Self { status, exchanges: Slab::new() }
    }

    fn exchange(&mut self, user: u64) -> Option<(&mut Exchange, &dyn Status)> {
        let exchange = self.exchanges.get_mut((user as usize).checked_sub(1)?)?;
        Some((exchange, &*self.status))
    }
}

impl Service for Http {
    fn on_accept(&mut self, conn: &mut dyn Connection) {
        let mut exchange = Exchange::default();
        exchange.allow(IDLE, conn);
        *conn.user() = self.exchanges.insert(exchange) as u64 + 1;
    }

    fn on_data(&mut self, conn: &mut dyn Connection, data: &[u8]) -> usize {
        match self.exchange(*conn.user()) {
            Some((exchange, status)) => exchange.on_data(conn, data, status),
            None => data.len(),
        }
    }

    fn on_writable(&mut self, conn: &mut dyn Connection) {
        if let Some((exchange, _)) = self.exchange(*conn.user()) {
            exchange.pump(conn);
        }
    }

    fn on_peer_fin(&mut self, conn: &mut dyn Connection) {
        if let Some((exchange, _)) = self.exchange(*conn.user()) {
            exchange.on_peer_fin(conn);
        }
    }

    fn on_closed(&mut self, user: u64, _reason: CloseReason) {
        if let Some(key) = (user as usize).checked_sub(1) {
            self.exchanges.try_remove(key);
        }
    }

    fn on_timer(&mut self, conn: &mut dyn Connection) {
        if let Some((exchange, _)) = self.exchange(*conn.user()) {
            exchange.on_timer(conn);
        }
    }
}

/// Where a connection stands.
#[derive(Default)]
enum Phase {
    /// A request head is awaited or arriving.
    #[default]
    Head,
    /// The head is complete; `left` bytes of its body are thrown away before `reply` is sent.
    Body { left: u64, reply: Reply },
    /// A reply is being sent; further requests wait in the receive buffer.
    Reply(Reply),
    /// Our side is closed; what the peer still sends is thrown away, so that it is not reset
    /// before it has read the reply (RFC 9112, 9.6).
    Closing,
}

/// The requests and replies of one connection.
struct Exchange {
    phase: Phase,
    /// The part of a head that arrived in earlier segments.
    head: Vec<u8>,
    /// Whether the peer will send nothing more.
    peer_fin: bool,
    /// When the present phase has taken too long.
    deadline: Instant,
    /// When the connection's timer fires: not after `deadline`, often before.
    armed: Instant,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            phase: Phase::Head,
            head: Vec::new(),
            peer_fin: false,
            deadline: Instant::NEVER,
            armed: Instant::NEVER,
        }
    }
}

impl Exchange {
    /// Takes as many requests from `data` as can be answered now.
    fn on_data(&mut self, conn: &mut dyn Connection, data: &[u8], status: &dyn Status) -> usize {
        let mut used = 0;
        while used < data.len() {
            let rest = &data[used..];
            match &mut self.phase {
                Phase::Head => used += self.take_head(conn, rest, status),
                Phase::Body { left, .. } => {
                    let taken = (rest.len() as u64).min(*left);
                    *left -= taken;
                    used += taken as usize;
                    self.begin_reply(conn);
                }
                Phase::Reply(reply) if reply.then == Then::KeepOpen => break,
                Phase::Reply(_) | Phase::Closing => used = data.len(),
            }
        }
        used
    }

    /// Takes bytes of a request head and, when it is whole, decides on the answer. Returns how many
    /// bytes of `data` belong to it, at least one.
    fn take_head(&mut self, conn: &mut dyn Connection, data: &[u8], status: &dyn Status) -> usize {
        let earlier = self.head.len();
        let new = &data[..data.len().min(HEAD_LIMIT - earlier)];
        let is_full = earlier + new.len() == HEAD_LIMIT;
        // Most heads come in one segment and are never copied.
        let outcome = if earlier == 0 {
            head::parse(new)
        } else {
            self.head.extend_from_slice(new);
            // A head ends with a line: one parse per line, however small the segments are.
            if new.contains(&b'\n') || is_full { head::parse(&self.head) } else { Outcome::Partial }
        };
        let (used, left, reply) = match outcome {
            Outcome::Partial if !is_full => {
                if earlier == 0 {
                    self.head.extend_from_slice(new);
                }
                return new.len();
            }
            Outcome::Partial => (data.len(), 0, Reply::refusal(Code::HeadTooLarge)),
            Outcome::Bad(code) => (data.len(), 0, Reply::refusal(code)),
            Outcome::Complete(len, head) => {
                let reply = Reply::to(&head, status);
                (len - earlier, body_to_skip(&head, &reply), reply)
            }
        };
        self.head = Vec::new();
        self.phase = Phase::Body { left, reply };
        self.begin_reply(conn);
        used
    }

    /// Starts the reply once the request's body is over.
    fn begin_reply(&mut self, conn: &mut dyn Connection) {
        if matches!(self.phase, Phase::Body { left: 0, .. })
            && let Phase::Body { reply, .. } = std::mem::take(&mut self.phase)
        {
            self.phase = Phase::Reply(reply);
            self.pump(conn);
        }
    }

    /// Sends as much of the reply as the send buffer takes; `on_writable` comes back here.
    fn pump(&mut self, conn: &mut dyn Connection) {
        let Phase::Reply(reply) = &mut self.phase else { return };
        let mut progress = 0;
        while let Some(part) = reply.next_part() {
            let taken = conn.send(part);
            let is_short = taken < part.len();
            reply.advance(taken);
            progress += taken;
            if is_short {
                if progress > 0 {
                    self.allow(IDLE, conn);
                }
                return;
            }
        }
        if reply.then == Then::Close || self.peer_fin {
            self.close(conn);
        } else {
            self.phase = Phase::Head;
            self.allow(IDLE, conn);
        }
    }

    fn on_peer_fin(&mut self, conn: &mut dyn Connection) {
        self.peer_fin = true;
        match self.phase {
            // The answer to a request that came whole is still sent (RFC 9112, 9.6).
            Phase::Reply(_) => {}
            Phase::Head | Phase::Body { .. } | Phase::Closing => self.close(conn),
        }
    }

    /// Ends our side. Until the peer has ended its own, what it sends is read and thrown away:
    /// closing for good would answer it with a reset, which may overtake the reply.
    fn close(&mut self, conn: &mut dyn Connection) {
        self.phase = Phase::Closing;
        if self.peer_fin {
            return conn.close();
        }
        self.allow(LINGER, conn);
        conn.shutdown_write();
    }

    fn on_timer(&mut self, conn: &mut dyn Connection) {
        self.armed = Instant::NEVER;
        if conn.now() < self.deadline {
            let rest = self.deadline.since(conn.now());
            return self.allow(rest, conn);
        }
        match &self.phase {
            Phase::Head if self.head.is_empty() => self.close(conn),
            Phase::Head | Phase::Body { .. } => {
                let reply = Reply::refusal(Code::RequestTimeout);
                self.head = Vec::new();
                self.phase = Phase::Body { left: 0, reply };
                self.allow(IDLE, conn);
                self.begin_reply(conn);
            }
            Phase::Reply(_) | Phase::Closing => conn.abort(),
        }
    }

    /// Gives the present phase `time` from now. The timer itself is set again only when it would
    /// be late: a busy connection moves its deadline with every batch.
    fn allow(&mut self, time: Duration, conn: &mut dyn Connection) {
        self.deadline = conn.now() + time;
        if self.deadline < self.armed {
            self.armed = self.deadline;
            conn.set_timer(Some(time));
        }
    }
}

/// The bytes of a body that are read before the reply: none when the connection closes after it.
fn body_to_skip(head: &Head<'_>, reply: &Reply) -> u64 {
    if reply.then == Then::Close && (head.fault.is_some() || head.expects_continue) {
        0
    } else {
        head.body
    }
}

/// The longest request head, in bytes.
pub const HEAD_LIMIT: usize = 8 * 1024;
/// The longest request body that is read (and thrown away), in bytes.
pub const BODY_LIMIT: u64 = 1024 * 1024;
/// How long a whole request may take to arrive, and a reply may make no progress.
pub const IDLE: Duration = Duration::from_secs(60);
/// How long a closed connection waits for the peer to close too.
pub const LINGER: Duration = Duration::from_secs(5);
