//! A connection without TCP, for the tests of services: byte queues that behave as the shard's do.

use std::collections::VecDeque;

use super::{Connection, Service};
use crate::tcp::{CloseReason, Info, Setting, SettingError, Unreachable};
use crate::time::{Duration, Instant};
use crate::wire::{Addr, FourTuple};

/// The connection as its service sees it.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    sent: VecDeque<u8>,
    capacity: usize,
    was_short: bool,
    resume: bool,
    /// Our FIN was sent.
    pub(crate) closed: bool,
    /// Closed for good: the service is called no more.
    pub(crate) forsaken: bool,
    pub(crate) aborted: bool,
    timer: Option<Instant>,
    user: u64,
    now: Instant,
}

impl Connection for Fake {
    fn tuple(&self) -> FourTuple {
        let addr = Addr::UNSPECIFIED;
        FourTuple { local: addr, remote: addr, local_port: 80, remote_port: 40_000 }
    }

    fn send(&mut self, data: &[u8]) -> usize {
        let taken = data.len().min(self.send_room());
        self.sent.extend(&data[..taken]);
        self.was_short |= taken < data.len();
        taken
    }

    fn send_room(&self) -> usize {
        if self.closed || self.aborted { 0 } else { self.capacity - self.sent.len() }
    }

    fn send_more(&mut self, data: &[u8]) -> usize {
        self.send(data)
    }

    fn send_urgent(&mut self, _data: &[u8]) -> usize {
        panic!("no service of ours sends urgent data (RFC 9293 3.8.5: SHLD-13)");
    }

    fn unsent(&self) -> usize {
        self.sent.len()
    }

    fn unacknowledged(&self) -> usize {
        self.sent.len()
    }

    fn unread(&self) -> usize {
        0
    }

    fn read(&mut self, _out: &mut [u8]) -> usize {
        0
    }

    fn peek(&self, _out: &mut [u8]) -> usize {
        0
    }

    fn urgent_ahead(&self) -> Option<u32> {
        None
    }

    fn shutdown_write(&mut self) {
        self.closed = true;
    }

    fn shutdown_read(&mut self) {}

    fn close(&mut self) {
        (self.closed, self.forsaken) = (true, true);
    }

    fn configure(&mut self, _setting: Setting) -> Result<(), SettingError> {
        Ok(())
    }

    fn soft_error(&self) -> Option<Unreachable> {
        None
    }

    fn abort(&mut self) {
        self.aborted = true;
        self.sent.clear();
    }

    fn resume(&mut self) {
        self.resume = true;
    }

    fn set_timer(&mut self, delay: Option<Duration>) {
        self.timer = delay.map(|delay| self.now + delay);
    }

    fn info(&self) -> Info {
        Info::default()
    }

    fn user(&mut self) -> &mut u64 {
        &mut self.user
    }

    fn now(&self) -> Instant {
        self.now
    }
}

/// A service and one connection, driven as the shard drives them.
pub(crate) struct Rig<S> {
    pub(crate) service: S,
    pub(crate) conn: Fake,
    input: Vec<u8>,
    peer_fin: bool,
    fin_given: bool,
}

impl<S: Service> Rig<S> {
    /// A connection whose send buffer holds `capacity` bytes.
    pub(crate) fn new(service: S, capacity: usize) -> Self {
        let conn = Fake { capacity, ..Fake::default() };
        Self { service, conn, input: Vec::new(), peer_fin: false, fin_given: false }
    }

    pub(crate) fn accept(&mut self) {
        self.service.on_accept(&mut self.conn);
    }

    pub(crate) fn connect(&mut self) {
        self.service.on_connected(&mut self.conn);
    }

    /// The peer's bytes arrive as one segment.
    pub(crate) fn deliver(&mut self, data: &[u8]) {
        self.input.extend_from_slice(data);
        self.offer();
    }

    /// The peer's FIN arrives.
    pub(crate) fn fin(&mut self) {
        self.peer_fin = true;
        self.offer();
    }

    /// The peer reads at most `len` bytes, which frees that much of the send buffer.
    pub(crate) fn read(&mut self, len: usize) -> Vec<u8> {
        let len = len.min(self.conn.sent.len());
        let bytes: Vec<u8> = self.conn.sent.drain(..len).collect();
        if len > 0 && std::mem::take(&mut self.conn.was_short) {
            self.service.on_writable(&mut self.conn);
            self.offer();
        }
        bytes
    }

    /// The peer reads until nothing more comes.
    pub(crate) fn read_all(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let bytes = self.read(usize::MAX);
            if bytes.is_empty() {
                return all;
            }
            all.extend(bytes);
        }
    }

    /// Time passes; the service's timer fires as often as it is due.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.conn.now + by;
        while let Some(due) = self.conn.timer.filter(|due| *due <= end) {
            self.conn.now = due;
            self.conn.timer = None;
            self.service.on_timer(&mut self.conn);
            if std::mem::take(&mut self.conn.resume) {
                self.offer();
            }
        }
        self.conn.now = end;
    }

    /// The connection ends.
    pub(crate) fn end(&mut self, reason: CloseReason) {
        self.service.on_closed(self.conn.user, reason);
    }

    pub(crate) fn unconsumed(&self) -> usize {
        self.input.len()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.conn.closed
    }

    fn offer(&mut self) {
        while !self.input.is_empty() && !self.conn.forsaken {
            self.conn.resume = false;
            let consumed = self.service.on_data(&mut self.conn, &self.input);
            self.input.drain(..consumed);
            if !self.conn.resume {
                break;
            }
        }
        let wants_fin = !self.fin_given && !self.conn.forsaken;
        if self.input.is_empty() && self.peer_fin && wants_fin {
            self.fin_given = true;
            self.service.on_peer_fin(&mut self.conn);
        }
    }
}
