//! One core's stack: frames, timers and commands in; frames out.
//!
//! Owns the flow table, the connections, the records and the pools of one worker. Knows no socket,
//! no ring and no clock.
#![forbid(unsafe_code)]

use crate::counters::Counters;
use crate::time::Instant;
use crate::wire::{Addr, MacAddr};

/// Where outgoing frames are written: the transmit half of the datapath, or a queue in a test.
pub trait Transmit {
    /// A free frame of at least [`FRAME_LEN`] bytes, with a slot on the transmit ring; the same one
    /// again until `commit`. `None` when there is no frame or no slot.
    fn reserve(&mut self) -> Option<&mut [u8]>;

    /// Sends `frame[start..start + len]` of the reserved frame.
    fn commit(&mut self, start: usize, len: usize);
}

/// The least length of a frame that [`Transmit::reserve`] gives, in bytes.
pub const FRAME_LEN: usize = 2048;

/// The most frames that one call of [`Shard::on_frames`] takes.
pub const BATCH: usize = 64;

/// What other threads tell a shard.
#[derive(Clone, Debug)]
pub enum Command {
    /// Takes new connections no longer, closes all with FIN, and resets what is left at `deadline`.
    Shutdown {
        /// When the rest is reset.
        deadline: Instant,
    },
    /// The routes of a shared address, longest prefix first.
    Routes(std::sync::Arc<[Route]>),
    /// What the kernel knows of a neighbour; `None` when it cannot be resolved.
    Neighbour {
        /// The next hop.
        addr: Addr,
        /// Its link-layer address.
        mac: Option<MacAddr>,
    },
}

/// A route: where frames for a prefix go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The prefix's address; IPv4 as `::ffff:a.b.c.d`.
    pub prefix: Addr,
    /// The prefix's length over the 128 bits of `prefix`: an IPv4 /24 is 120.
    pub prefix_len: u8,
    /// The gateway; `None` where the destination is on the link.
    pub gateway: Option<Addr>,
}

/// What a shard asks of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Resolve this next hop of a shared address (the answer is [`Command::Neighbour`]).
    Resolve(Addr),
}

/// A frame that is not this shard's, found in the batch by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// The flow belongs to this shard.
    Owner(u16),
    /// Every shard has to see it (ARP for an address of our own).
    Every,
}

/// One core's stack.
pub struct Shard {
    counters: Counters,
}

impl Shard {
    /// Takes at most [`BATCH`] received frames, in their order. Those that other shards have to see
    /// are given to `elsewhere` with their index in `frames`.
    pub fn on_frames(
        &mut self,
        _frames: &[&[u8]],
        _elsewhere: &mut dyn FnMut(usize, Elsewhere),
        _now: Instant,
    ) {
    }

    /// Takes frames that another shard handed over: as [`Shard::on_frames`], but never passed on.
    pub fn on_handed_over(&mut self, _frames: &[&[u8]], _now: Instant) {}

    /// Runs timers that are due, at most a bounded number of them.
    pub fn on_timers(&mut self, _now: Instant) {}

    /// Carries out a command.
    pub fn on_command(&mut self, _command: Command, _now: Instant) {}

    /// Sends what is owed until all is sent or `tx` has no more frames.
    pub fn drain(&mut self, _tx: &mut dyn Transmit, _now: Instant) {}

    /// What the control plane is asked for, oldest first.
    pub fn poll_request(&mut self) -> Option<Request> {
        None
    }

    /// Whether `drain` has something to send.
    pub fn has_work(&self) -> bool {
        false
    }

    /// Whether no connection is left.
    pub fn is_idle(&self) -> bool {
        true
    }

    /// A lower bound of when `on_timers` has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// This shard's counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
