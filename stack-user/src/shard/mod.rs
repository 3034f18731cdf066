//! One core's stack: frames, timers and commands in; frames out.
//!
//! Owns the flow table, the connections, the records and the pools of one worker. Knows no socket,
//! no ring and no clock. `demux` takes frames apart and finds their flows, `segments` brings them
//! to connections and records, `deliver` to services; `transmit` sends what is owed. `usual` is the
//! short way of the segment that an open connection expects next.
#![forbid(unsafe_code)]

mod active;
mod config;
mod cookies;
mod deliver;
mod demux;
mod dirty;
mod discovery;
mod front;
mod handle;
mod hosts;
mod inner;
mod ipv6;
mod listen;
mod marks;
mod next_hops;
mod open;
mod orphans;
mod outside;
mod publish;
mod refusals;
mod replies;
mod segments;
mod sound;
// CM-1.l: the golden grid is among them.
#[cfg(test)]
mod tests;
mod timers;
mod transmit;
mod usual;

pub use active::{ConnId, Open, OpenError};
pub use config::{Command, Elsewhere, Limits, LocalAddr, Request, Route, Secrets, ShardConfig};
pub use front::{AHEAD, Ahead, FrontWords};

#[cfg(doc)]
use stack_ebpf::front::Record;

use std::sync::Arc;

use self::inner::Core;
use crate::counters::Counters;
use crate::service::Service;
use crate::tables::flow::FlowReader;
use crate::tables::region::Region;
use crate::tables::rss::Rss;
use crate::tcp::{HEADROOM, MAX_HEADER, State};
use crate::time::Instant;
use crate::wire::run::Run;

/// Where outgoing frames are written: the transmit half of the datapath, or a queue in a test.
pub trait Transmit {
    /// A free frame of at least [`FRAME_LEN`] bytes, with a slot on the transmit ring; the same one
    /// again until `commit`. `None` when there is no frame or no slot.
    fn reserve(&mut self) -> Option<&mut [u8]>;

    /// Sends `frame[start..start + len]` of the reserved frame.
    fn commit(&mut self, start: usize, len: usize);

    /// Room for the headers of a run of segments, [`RUN_HEAD`] bytes, the same again until `commit_run`;
    /// and how many segments it may have. `None` where runs do not leave as one packet, or not now:
    /// their segments then leave by themselves.
    fn reserve_run(&mut self) -> Option<(&mut [u8], usize)> {
        None
    }

    /// Sends the headers that begin at `start` of the reserved room, with these pieces of text behind
    /// them, cut into segments.
    fn commit_run(&mut self, _start: usize, _text: &[&[u8]], _run: Run) {
        debug_assert!(false, "room is reserved before");
    }
}

/// The least length of a frame that [`Transmit::reserve`] gives, in bytes, for an MTU of 1500: a
/// UMEM frame of 2048 bytes without the kernel's headroom. A larger MTU needs 128 bytes more than
/// itself.
pub const FRAME_LEN: usize = 1792;

/// What the longest headers of a run take, in bytes.
pub const RUN_HEAD: usize = HEADROOM + MAX_HEADER;

/// The most frames that one call of [`Shard::on_frames`] takes.
pub const BATCH: usize = 64;

/// One core's stack.
pub struct Shard {
    core: Core,
    services: Vec<Box<dyn Service>>,
    /// Text on its way from the receive buffer to a service.
    scratch: Box<[u8]>,
}

impl Shard {
    /// A shard whose listeners name `services` by index.
    ///
    /// # Panics
    /// When one of the listeners is impossible: see [`Shard::listen`].
    pub fn new(config: ShardConfig, services: Vec<Box<dyn Service>>) -> Self {
        let region = Region::on_heap(config.limits.layout());
        Self::over(region, config, services)
    }

    /// A shard whose flow table and published records lie in `region`, which nobody else writes.
    ///
    /// # Panics
    /// When one of the listeners is impossible: see [`Shard::listen`].
    pub fn over(region: Region, config: ShardConfig, services: Vec<Box<dyn Service>>) -> Self {
        let listeners = config.listeners.clone();
        let scratch = vec![0; crate::tcp::pool::CHUNK].into_boxed_slice();
        let mut shard = Self { core: Core::new(config, region), services, scratch };
        for listener in listeners {
            let listening = shard.listen(listener, Instant::ZERO);
            assert!(listening.is_ok(), "{listening:?}");
        }
        shard
    }

    /// A view of this shard's flows for the others.
    pub fn flow_reader(&self) -> FlowReader {
        self.core.flows.reader()
    }

    /// The other shards' numbers and flows: a frame of a flow of theirs is handed over.
    pub fn set_peers(&mut self, peers: Vec<(u16, FlowReader)>) {
        self.core.peers = peers;
    }

    /// Tells how the interface spreads segments over its queues, that of this shard's number among
    /// them: ports of connections that it opens are chosen so that the answers come there.
    pub fn set_rss(&mut self, rss: Arc<Rss>) {
        self.core.rss = Some(rss);
    }

    /// Takes at most [`BATCH`] received frames, in their order. Those that other shards have to see
    /// are given to `elsewhere` with their index in `frames`.
    pub fn on_frames(
        &mut self,
        frames: &[&[u8]],
        elsewhere: &mut dyn FnMut(usize, Elsewhere),
        now: Instant,
    ) {
        self.take_frames((frames, &[]), Some(elsewhere), now);
    }

    /// As [`Shard::on_frames`], with what stands ahead of each frame, where the XDP program writes its
    /// [`Record`]. What it says is taken where it is of that very frame and of this time; else the shard
    /// sees for itself.
    pub fn on_frames_told(
        &mut self,
        frames: &[&[u8]],
        ahead: &[Ahead<'_>],
        elsewhere: &mut dyn FnMut(usize, Elsewhere),
        now: Instant,
    ) {
        self.take_frames((frames, ahead), Some(elsewhere), now);
    }

    /// Takes frames that another shard handed over: as [`Shard::on_frames`], but never passed on.
    pub fn on_handed_over(&mut self, frames: &[&[u8]], now: Instant) {
        self.take_frames((frames, &[]), None, now);
    }

    /// Carries out a command.
    pub fn on_command(&mut self, command: Command, now: Instant) {
        self.core.wheel.keep_up(now);
        match command {
            Command::Shutdown { deadline } => self.shut_down(deadline, now),
            Command::Routes(routes) => self.core.set_routes(routes),
            Command::Address(local) => self.add_address(local),
            Command::Neighbour { addr, mac: Some(mac) } => self.core.on_neighbour(addr, mac, now),
            Command::Neighbour { addr, mac: None } => self.on_unreachable(addr, now),
            // What is in a queue keeps the worker from its sleep; the turn asks the services.
            Command::Open => {}
            Command::Connect { remote, remote_port, service } => {
                self.connect((remote, remote_port), service, now);
            }
        }
    }

    /// What the control plane is asked for, oldest first.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.core.requests.pop_front()
    }

    /// Whether `drain` has something to send.
    pub fn has_work(&self) -> bool {
        let can_feed = !self.core.starved.is_empty() && self.core.pool.room_to_send() > 0;
        can_feed || !self.core.dirty.is_empty() || !self.core.replies.is_empty()
    }

    /// Whether no connection is left and nothing waits to be sent. TIME-WAIT records do not count.
    pub fn is_idle(&self) -> bool {
        self.core.conns.is_empty() && self.core.half_open.is_empty() && !self.has_work()
    }

    /// This shard's counters.
    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// How many connections, records and listeners are in each state, indexed as [`State::ALL`].
    pub fn census(&self) -> [u32; State::ALL.len()] {
        State::ALL.map(|state| {
            let records = match state {
                State::Listen => self.core.listeners.len(),
                State::SynReceived => self.core.half_open.len(),
                State::TimeWait => self.core.time_waits.len(),
                _ => 0,
            };
            self.core.census.of(state) + records as u32
        })
    }

    /// Entries of the flow table: connections and records.
    pub fn flows(&self) -> usize {
        self.core.flows.len()
    }

    /// Bytes of buffer memory in use.
    pub fn buffered(&self) -> usize {
        self.core.pool.used()
    }
}
