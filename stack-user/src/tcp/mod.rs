//! TCP: what RFC 9293 says of one connection, without IO, clock or tables.
//!
//! `input` records what a segment owes, in the RFC's order of steps; `output` alone builds segments.
//! A connection is a [`Tcb`] from ESTABLISHED (or its active open) until its close; before and after
//! it is a compact record, [`HalfOpen`] and [`TimeWait`].
#![forbid(unsafe_code)]

mod acknowledge;
mod bare;
mod burst;
mod challenge;
mod config;
pub mod congestion;
mod deadline;
mod events;
mod flight;
mod half_open;
mod info;
mod input;
mod lines;
mod network;
mod output;
mod own;
pub mod pool;
mod reason;
mod reassembly;
mod recovery;
mod repair;
mod rtt;
mod run;
mod sack;
mod segment;
mod seq;
mod settings;
mod sound;
mod stamps;
mod state;
mod summary;
mod tcb;
#[cfg(test)]
mod tests;
mod time_wait;
mod timers;
mod timing;
mod user;

pub use bare::Bare;
pub use config::{Config, SynCookies};
pub(crate) use config::{first_window, window_scale};
pub use events::Events;
pub use half_open::{HalfOpen, HalfOpenTimeout, HalfOpenVerdict, Offer};
pub use info::{CaState, Info};
pub use input::{Accepted, Gist, ListenVerdict, on_closed, on_listen};
pub use output::{HEADROOM, MAX_HEADER};
pub use reason::{CloseReason, Severity, Trouble, Unreachable};
pub use run::{MOST_PIECES, Written};
pub use segment::Segment;
pub use seq::SeqNum;
pub use settings::{ConfigError, KeepAlive, OutOfRange, Setting, SettingError};
pub use sound::{Held, Outlet};
pub use state::{Cause, Census, State};
pub use summary::Summary;
pub use tcb::{Env, Tcb};
pub use time_wait::{TimeWait, TimeWaitVerdict};
