//! The service of both ends: it sends a stream that can be checked, and checks the one it gets.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sluice::service::http::pattern;
use sluice::service::{Connection, Service};
use sluice::tcp::CloseReason;
use sluice::time::{Duration, Instant};

use crate::node::PORT;

/// What a [`Peer`] does on each of its connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Octets to send.
    pub(crate) send: u64,
    /// Where in the pattern the octets that are sent begin: each direction has its own.
    pub(crate) send_from: u64,
    /// Where in the pattern the octets that are received begin.
    pub(crate) receive_from: u64,
    /// When to close.
    pub(crate) close: Close,
    /// After that many received octets, consumes nothing for that long.
    pub(crate) stall: Option<(u64, Duration)>,
    /// The most that one call consumes.
    pub(crate) bite: usize,
}

/// When a [`Peer`] closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// When all is sent.
    AfterSending,
    /// When all is sent and the peer has closed.
    AfterPeer,
    /// When all is sent, for good: nothing more is read.
    ForGood,
    /// That long after the connection opened.
    After(Duration),
    /// Aborts that long after the connection opened.
    AbortAfter(Duration),
    Never,
}

/// The plans of the two ends: node 0 sends `there` octets and closes, node 1 sends `back` octets and
/// closes after it.
pub(crate) fn plans(there: u64, back: u64) -> [Plan; 2] {
    let (from_0, from_1) = (11, 40_009);
    let plan = |send, send_from, receive_from, close| Plan {
        send,
        send_from,
        receive_from,
        close,
        stall: None,
        bite: usize::MAX,
    };
    [plan(there, from_0, from_1, Close::AfterSending), plan(back, from_1, from_0, Close::AfterPeer)]
}

/// What happened on one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) opened: Instant,
    /// The port of the end that opened.
    pub(crate) port: u16,
    /// Octets that the send buffer took.
    pub(crate) sent: u64,
    /// Octets received, all as they should be.
    pub(crate) received: u64,
    /// When the last of them was consumed.
    pub(crate) last: Instant,
    /// When the peer's FIN was told.
    pub(crate) peer_fin: Option<Instant>,
    pub(crate) closed: Option<CloseReason>,
    is_stalled: bool,
    is_close_due: bool,
}

/// What happened to a [`Peer`], seen from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    conns: Vec<Seen>,
    /// Opens that failed.
    failed: Vec<CloseReason>,
}

impl Log {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connections that opened, in their order.
    pub(crate) fn conns(&self) -> Vec<Seen> {
        self.record().conns.clone()
    }

    /// The only connection that opened.
    pub(crate) fn only(&self) -> Seen {
        let conns = self.conns();
        assert_eq!(conns.len(), 1, "connections that opened");
        conns[0].clone()
    }

    /// Why opens failed.
    pub(crate) fn failed(&self) -> Vec<CloseReason> {
        self.record().failed.clone()
    }

    /// Whether there are `count` connections and all are over.
    pub(crate) fn are_over(&self, count: usize) -> bool {
        let record = self.record();
        record.conns.len() == count && record.conns.iter().all(|seen| seen.closed.is_some())
    }
}

/// The service.
pub(crate) struct Peer {
    plan: Plan,
    log: Log,
}

impl Peer {
    pub(crate) fn new(plan: Plan) -> (Self, Log) {
        let log = Log::default();
        (Self { plan, log: log.clone() }, log)
    }

    fn open(&self, conn: &mut dyn Connection) {
        let mut record = self.log.record();
        assert_eq!(*conn.user(), 0, "a connection opens once");
        let port = client_port(conn);
        record.conns.push(Seen { opened: conn.now(), port, last: conn.now(), ..Seen::default() });
        *conn.user() = record.conns.len() as u64;
        if let Close::After(time) | Close::AbortAfter(time) = self.plan.close {
            conn.set_timer(Some(time));
        }
        drop(record);
        self.pump(conn);
    }

    /// Runs `act` on what was seen of a connection, which must not be over.
    fn with<R>(&self, conn: &mut dyn Connection, act: impl FnOnce(&mut Seen) -> R) -> R {
        let index = (*conn.user() as usize).checked_sub(1).expect("a connection opens first");
        let mut record = self.log.record();
        let seen = &mut record.conns[index];
        assert_eq!(seen.closed, None, "a call after on_closed");
        act(seen)
    }

    /// Sends what the send buffer takes, and closes when the time has come.
    fn pump(&self, conn: &mut dyn Connection) {
        let (mut sent, stream) = self.with(conn, |seen| (seen.sent, u64::from(seen.port)));
        let mut piece = [0; PIECE];
        while sent < self.plan.send {
            let len = (self.plan.send - sent).min(PIECE as u64) as usize;
            pattern(self.plan.send_from + stream + sent, &mut piece[..len]);
            let taken = conn.send(&piece[..len]);
            sent += taken as u64;
            if taken < len {
                break;
            }
        }
        let is_sent = sent == self.plan.send;
        let closes = self.with(conn, |seen| {
            seen.sent = sent;
            match self.plan.close {
                Close::AfterSending | Close::ForGood => is_sent,
                Close::AfterPeer => is_sent && seen.peer_fin.is_some(),
                Close::After(_) => is_sent && seen.is_close_due,
                Close::AbortAfter(_) | Close::Never => false,
            }
        });
        if closes {
            match self.plan.close {
                Close::ForGood => conn.close(),
                _ => conn.shutdown_write(),
            }
        }
    }

    /// Whether the connection consumes nothing now; sets the timer when that begins.
    fn is_stalled(&self, conn: &mut dyn Connection) -> bool {
        let Some((after, time)) = self.plan.stall else { return false };
        let (was, is) = self.with(conn, |seen| {
            let was = seen.is_stalled;
            seen.is_stalled |= seen.received >= after && !seen.is_close_due;
            (was, seen.is_stalled)
        });
        if is && !was {
            conn.set_timer(Some(time));
        }
        is
    }
}

impl Service for Peer {
    fn on_accept(&mut self, conn: &mut dyn Connection) {
        self.open(conn);
    }

    fn on_connected(&mut self, conn: &mut dyn Connection) {
        self.open(conn);
    }

    fn on_data(&mut self, conn: &mut dyn Connection, data: &[u8]) -> usize {
        assert!(!data.is_empty(), "data without octets");
        if self.is_stalled(conn) {
            return 0;
        }
        let now = conn.now();
        let data = &data[..data.len().min(self.plan.bite)];
        self.with(conn, |seen| {
            assert_eq!(seen.peer_fin, None, "data after the peer's FIN");
            let mut expected = vec![0; data.len()];
            let stream = u64::from(seen.port);
            pattern(self.plan.receive_from + stream + seen.received, &mut expected);
            assert!(data == expected, "wrong octets from {} on", seen.received);
            seen.received += data.len() as u64;
            seen.last = now;
        });
        conn.resume();
        data.len()
    }

    fn on_writable(&mut self, conn: &mut dyn Connection) {
        self.pump(conn);
    }

    fn on_peer_fin(&mut self, conn: &mut dyn Connection) {
        let now = conn.now();
        self.with(conn, |seen| {
            assert_eq!(seen.peer_fin, None, "the peer's FIN twice");
            seen.peer_fin = Some(now);
        });
        self.pump(conn);
    }

    fn on_closed(&mut self, user: u64, reason: CloseReason) {
        let mut record = self.log.record();
        match (user as usize).checked_sub(1) {
            Some(index) => {
                let before = record.conns[index].closed.replace(reason);
                assert_eq!(before, None, "on_closed twice");
            }
            None => record.failed.push(reason),
        }
    }

    fn on_timer(&mut self, conn: &mut dyn Connection) {
        self.with(conn, |seen| {
            seen.is_close_due = true;
            seen.is_stalled = false;
        });
        if let Close::AbortAfter(_) = self.plan.close {
            return conn.abort();
        }
        conn.resume();
        self.pump(conn);
    }
}

/// The port of the end that opened: each connection sends a stream of its own.
fn client_port(conn: &dyn Connection) -> u16 {
    let tuple = conn.tuple();
    if tuple.remote_port == PORT { tuple.local_port } else { tuple.remote_port }
}

const PIECE: usize = 8 * 1024;
