//! The trait of an application that runs inside a shard, and what it may do to its connections.
//!
//! A service runs to completion on the worker, between two segments: it must not block. One value
//! serves all the connections of one listener in one shard; state of a single connection lives
//! behind [`Connection::user`]. The services that come with Sluice stand in the files beside this.

use crate::tcp::{CloseReason, Info};
use crate::time::{Duration, Instant};
use crate::wire::FourTuple;

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
    /// [`Connection::close`].
    fn on_peer_fin(&mut self, conn: &mut dyn Connection) {
        conn.close();
    }

    /// The connection is over; `user` is what [`Connection::user`] held, for the service to free.
    fn on_closed(&mut self, _user: u64, _reason: CloseReason) {}

    /// The timer set by [`Connection::set_timer`] fired.
    fn on_timer(&mut self, _conn: &mut dyn Connection) {}
}

/// What a service may do to one connection.
pub trait Connection {
    /// The connection's addresses and ports.
    fn tuple(&self) -> FourTuple;

    /// Appends to the send buffer; returns how many bytes were taken, 0 when the buffer is full or
    /// closed. After a short count `on_writable` follows when there is room.
    fn send(&mut self, data: &[u8]) -> usize;

    /// Bytes that [`Connection::send`] would take now.
    fn send_room(&self) -> usize;

    /// Sends FIN after all that is queued (RFC 9293, 3.10.4). Reading goes on.
    fn close(&mut self);

    /// Drops what is queued and sends RST (RFC 9293, 3.10.5).
    fn abort(&mut self);

    /// Offers unconsumed data again once the present call has returned.
    fn resume(&mut self);

    /// Calls `on_timer` after `delay`; a second call replaces the first, `None` cancels it.
    fn set_timer(&mut self, delay: Option<Duration>);

    /// What Linux's TCP_INFO would tell of the connection now.
    fn info(&self) -> Info;

    /// A word that belongs to the service; 0 at first.
    fn user(&mut self) -> &mut u64;

    /// The time of this call.
    fn now(&self) -> Instant;
}
