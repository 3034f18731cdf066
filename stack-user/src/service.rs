//! The trait of an application that runs inside a shard, and what it may do to its connections.
//!
//! A service runs to completion on the worker, between two segments: it must not block. One value
//! serves all the connections of one listener in one shard; state of a single connection lives
//! behind [`Connection::user`]. The services that come with Sluice stand in the files beside this.

use crate::tcp::{CloseReason, Info, Setting, SettingError, Trouble, Unreachable};
use crate::time::{Duration, Instant};
use crate::wire::{Addr, FourTuple};

mod chargen;
pub mod client;
mod discard;
mod echo;
#[cfg(test)]
mod fake;
pub mod http;

pub use chargen::Chargen;
pub use client::Client;
pub use discard::Discard;
pub use echo::Echo;
pub use http::Http;

/// An application inside a shard.
///
/// Calls for one connection come in this order: `on_accept` or `on_connected`, then any of the
/// others, then `on_closed` exactly once and nothing after it. A connection whose open failed gets
/// `on_closed` alone.
pub trait Service: Send {
    /// A peer's connection reached ESTABLISHED.
    fn on_accept(&mut self, _conn: &mut dyn Connection) {}

    /// A connection that this service opened reached ESTABLISHED.
    fn on_connected(&mut self, _conn: &mut dyn Connection) {}

    /// `data` is the next of the byte stream, in order. Returns how many bytes of it were consumed,
    /// at most `data.len()`; the rest stays in the receive buffer, closes the window, and is offered
    /// again after `on_writable`, with the next segment, or after [`Connection::resume`].
    fn on_data(&mut self, conn: &mut dyn Connection, data: &[u8]) -> usize;

    /// The send buffer has room again after a [`Connection::send`] that took less than it was given.
    fn on_writable(&mut self, _conn: &mut dyn Connection) {}

    /// The peer sent FIN and every byte before it has been consumed. Sending goes on until
    /// [`Connection::shutdown_write`] or [`Connection::close`].
    fn on_peer_fin(&mut self, conn: &mut dyn Connection) {
        conn.close();
    }

    /// The connection is over; `user` is what [`Connection::user`] held, for the service to free.
    fn on_closed(&mut self, _user: u64, _reason: CloseReason) {}

    /// The timer set by [`Connection::set_timer`] fired.
    fn on_timer(&mut self, _conn: &mut dyn Connection) {}

    /// A connection that the service wants to open now; asked before each turn, until it says `None`.
    fn poll_open(&mut self) -> Option<Peer> {
        None
    }

    /// Something is wrong, and the connection goes on; it may be one that is not open yet. Whoever does
    /// not care leaves this as it is (RFC 9293, 3.9.1.8: SHLD-20).
    fn on_trouble(&mut self, _conn: &mut dyn Connection, _trouble: Trouble) {}

    /// The peer has marked data as urgent, or moved the mark: see [`Connection::urgent_ahead`]. The
    /// data itself comes in its place in the stream (RFC 9293, 3.8.5; RFC 6093).
    fn on_urgent(&mut self, _conn: &mut dyn Connection) {}
}

/// Where a service wants to open a connection to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Our address; one of the shard's where it is `None`.
    pub local: Option<Addr>,
    /// The peer's address.
    pub addr: Addr,
    /// The peer's port.
    pub port: u16,
}

/// What a service may do to one connection.
pub trait Connection {
    /// The connection's addresses and ports.
    fn tuple(&self) -> FourTuple;

    /// Appends to the send buffer; returns how many bytes were taken, 0 when the buffer is full or
    /// closed. After a short count `on_writable` follows when there is room.
    fn send(&mut self, data: &[u8]) -> usize;

    /// As [`Connection::send`], of bytes that live as long as the process. They are not copied, so
    /// they are for text that is always the same.
    fn send_static(&mut self, data: &'static [u8]) -> usize {
        self.send(data)
    }

    /// As [`Connection::send`], and more follows soon (Linux's MSG_MORE): a short segment at the end
    /// waits for it, but no longer than until something arrives or a timeout passes, and carries no
    /// PSH.
    fn send_more(&mut self, data: &[u8]) -> usize;

    /// As [`Connection::send`]; the last byte that was taken is the end of urgent data (RFC 9293,
    /// 3.8.5). New protocols should do without (RFC 6093;
    /// RFC 9293 3.8.5: SHLD-13).
    fn send_urgent(&mut self, data: &[u8]) -> usize;

    /// Bytes that [`Connection::send`] would take now.
    fn send_room(&self) -> usize;

    /// Bytes that were queued and never sent (Linux's SIOCOUTQNSD).
    fn unsent(&self) -> usize;

    /// Bytes that were queued and are not acknowledged (Linux's SIOCOUTQ).
    fn unacknowledged(&self) -> usize;

    /// Bytes in the receive buffer: those that `on_data` left (SIOCINQ). While it runs, what it looks
    /// at does not count.
    fn unread(&self) -> usize;

    /// Takes bytes from the receive buffer; returns how many.
    fn read(&mut self, out: &mut [u8]) -> usize;

    /// As [`Connection::read`], and leaves them there.
    fn peek(&self, out: &mut [u8]) -> usize;

    /// How many bytes are left to the end of the peer's urgent data, zero when the next byte to read
    /// is the first after it (SIOCATMARK); `None` where none is ahead (RFC 9293, 3.8.5: MUST-33).
    fn urgent_ahead(&self) -> Option<u32>;

    /// Sends FIN after all that is queued (CLOSE of RFC 9293, 3.10.4). Reading goes on, for as long
    /// as the peer sends.
    fn shutdown_write(&mut self);

    /// Drops what is unread and what still arrives. The peer is not told; its FIN is still heard.
    fn shutdown_read(&mut self);

    /// Closes both directions for good, as close(2) does. What is queued goes out in background,
    /// followed by FIN; data that is unread, or arrives later, is answered with RST. Nothing follows
    /// but `on_closed`: when the connection is over, or earlier by [`Setting::Linger`].
    fn close(&mut self);

    /// Drops what is queued and sends RST (RFC 9293, 3.10.5).
    fn abort(&mut self);

    /// Changes a setting of this connection.
    ///
    /// # Errors
    /// [`SettingError`], with the bound where a value is impossible; nothing was changed.
    fn configure(&mut self, setting: Setting) -> Result<(), SettingError>;

    /// What the network last reported about the peer, while the peer itself says nothing (RFC 9293,
    /// 3.9.2.2: SHLD-25).
    fn soft_error(&self) -> Option<Unreachable>;

    /// Offers unconsumed data again once the present call has returned.
    fn resume(&mut self);

    /// Calls `on_timer` after `delay`, after 24 days where it is longer; a second call replaces the
    /// first, `None` cancels it.
    fn set_timer(&mut self, delay: Option<Duration>);

    /// What Linux's TCP_INFO would tell of the connection now.
    fn info(&self) -> Info;

    /// A word that belongs to the service; 0 at first.
    fn user(&mut self) -> &mut u64;

    /// The time of this call.
    fn now(&self) -> Instant;
}
