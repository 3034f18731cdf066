//! TCP: what RFC 9293 says of one connection, without IO, clock or tables.
//!
//! `input` records what a segment owes, in the RFC's order of steps; `output` alone builds segments.
//! A connection is a [`Tcb`] from ESTABLISHED (or its active open) until its close; before and after
//! it is a compact record, [`HalfOpen`] and [`TimeWait`].
#![forbid(unsafe_code)]

mod config;
pub mod congestion;
mod flight;
mod half_open;
mod info;
mod input;
mod output;
pub mod pool;
mod reassembly;
mod recovery;
mod rtt;
mod sack;
mod segment;
mod seq;
mod settings;
mod sound;
mod state;
mod summary;
mod tcb;
#[cfg(test)]
mod tests;
mod time_wait;
mod timers;
mod timing;
mod user;

pub use config::{Config, SynCookies};
pub use half_open::{HalfOpen, HalfOpenTimeout, HalfOpenVerdict, Offer};
pub use info::{CaState, Info};
pub use input::{Accepted, ListenVerdict, on_closed, on_listen};
pub use output::{Bare, HEADROOM, MAX_HEADER};
pub use segment::Segment;
pub use seq::SeqNum;
pub use settings::{ConfigError, KeepAlive, OutOfRange, Setting, SettingError};
pub use sound::Held;
pub use state::{Cause, Census, State};
pub use summary::Summary;
pub use tcb::{Env, Events, Tcb};
pub use time_wait::{TimeWait, TimeWaitVerdict};

/// Why a connection ended, as its user is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Both sides sent FIN and both were acknowledged.
    Closed,
    /// We aborted it (RFC 9293, 3.10.5).
    Aborted,
    /// The peer sent RST.
    Reset,
    /// The peer answered our SYN with RST.
    Refused,
    /// The peer stopped answering (RFC 9293, 3.8.3: R2).
    TimedOut,
    /// The next hop or the host cannot be reached.
    Unreachable,
    /// A table or a pool of ours was full.
    NoResources,
}
