//! What a shard has besides its services, and the parts of it that every room uses.

use core::num::NonZeroU32;
use std::collections::VecDeque;
use std::sync::Arc;

use stack_ebpf::flow::{Offsets, sequence_clock};
use stack_ebpf::siphash::Key;

use super::config::{LocalAddr, Request, Route, Secrets, ShardConfig};
use super::cookies::Cookies;
use super::dirty::Dirty;
use super::front::ShardFront;
pub(super) use super::marks::{Mark, Marks};
use super::orphans::Orphans;
use super::publish::Publisher;
use super::replies::{Budget, Reply};
use crate::counters::Counters;
use crate::tables::flow::{FlowHasher, FlowKind, FlowReader, FlowRef, FlowTable};
use crate::tables::listeners::Listeners;
use crate::tables::neighbours::Neighbours;
use crate::tables::ports::Ports;
use crate::tables::region::Region;
use crate::tables::rss::Rss;
use crate::tables::slab::Slab;
use crate::tables::time_waits::TimeWaits;
use crate::tcp::pool::Pool;
use crate::tcp::{Census, Env, HalfOpen, SeqNum, State, Tcb};
use crate::time::{Duration, Instant};
use crate::wheel::{Alarms, Wheel};
use crate::wire::usual::{IpChecksum, Start};
use crate::wire::{Addr, FourTuple, MacAddr};

/// A shard's tables, pools and queues.
pub(super) struct Core {
    pub config: ShardConfig,
    /// What bare acknowledgments over IPv4 begin with.
    pub start: Start,
    pub hasher: FlowHasher,
    pub flows: FlowTable,
    /// The connection that a lone segment was last the next of; it may be gone.
    pub last: u32,
    pub peers: Vec<(u16, FlowReader)>,
    pub conns: Slab<Conn>,
    pub half_open: Slab<HalfOpenEntry>,
    pub time_waits: TimeWaits,
    pub listeners: Listeners,
    pub neighbours: Neighbours,
    pub ports: Ports,
    /// How the interface spreads segments over its queues, where that is known.
    pub rss: Option<Arc<Rss>>,
    pub wheel: Wheel,
    /// The wheel's entries for each place of a connection, of a half-open entry, and of a next hop.
    pub alarms: Alarms,
    pub half_open_alarms: Alarms,
    pub neighbour_alarms: Alarms,
    pub pool: Pool,
    pub counters: Counters,
    pub census: Census,
    /// Connections that output has to look at, each once.
    pub dirty: Dirty,
    /// Connections whose service waits for room in the pool, each once.
    pub starved: VecDeque<u32>,
    pub replies: VecDeque<Reply>,
    pub publisher: Publisher,
    pub requests: VecDeque<Request>,
    pub orphans: Orphans,
    /// How far the shutdown is, once it has begun.
    pub shutdown: Option<Shutdown>,
    /// The generation of the newest wheel entry.
    pub generation: u32,
    /// Whether the wheel has an entry for the head of the TIME-WAIT queue.
    pub is_time_wait_armed: bool,
    /// RSTs, and ICMP errors, sent in this second.
    pub resets: Budget,
    pub icmp_errors: Budget,
    pub cookies: Cookies,
    /// The XDP program's part, where there is one.
    pub front: Option<ShardFront>,
}

/// How far a shutdown is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shutdown {
    /// What is left at this time is reset.
    Until(Instant),
    /// Everything is reset. A RST may still wait for its next hop.
    Over,
}

impl Shutdown {
    pub(super) fn is_due(self, now: Instant) -> bool {
        matches!(self, Self::Until(deadline) if deadline <= now)
    }
}

/// A next hop by its index. One that is not known takes no more room.
#[derive(Clone, Copy)]
pub(super) struct Hop(NonZeroU32);

impl Hop {
    pub(super) const fn new(index: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(index))
    }

    pub(super) const fn index(self) -> u32 {
        self.0.get() - 1
    }
}

/// A connection in its shard. In this order in memory: what a segment touches lies together.
#[repr(C)]
pub(super) struct Conn {
    /// The service's word.
    pub user: u64,
    /// The next hop, once it is known.
    pub next_hop: Option<Hop>,
    /// Which entry of the queue of stuck connections is its own; zero for none.
    pub stuck: u32,
    pub service: u16,
    pub marks: Marks,
    pub admission: Admission,
    /// The state that its published record shows; CLOSED while it has none.
    pub published: State,
    /// IPv4's checksum in what it sends without text; over IPv6 of no meaning.
    pub ip_checksum: IpChecksum,
    pub tcb: Tcb,
}

impl Conn {
    /// Whether the connection is its service's.
    pub(super) fn is_admitted(&self) -> bool {
        self.admission == Admission::Admitted
    }

    /// Reads a word of each cache line that a segment needs, so that they are there when it comes to
    /// that; what comes back is of no use.
    #[inline]
    pub(super) fn touch(&self) -> u64 {
        self.tcb.touch() + u64::from(self.stuck)
    }

    /// Whether its service is to hear of something.
    #[inline]
    pub(super) fn wants_call(&self) -> bool {
        let has_read = self.marks.has(Mark::FinPending) && !self.tcb.has_unread();
        self.is_admitted() && (self.tcb.has_events() || self.marks.has(Mark::Resumed) || has_read)
    }

    /// Whether its service has everything, and neither side has closed.
    #[inline]
    pub(super) fn is_at_rest(&self) -> bool {
        !(self.marks.has_any_of(UNSERVED) || self.tcb.has_unread() || self.tcb.is_forsaken())
    }

    /// Whether it is open, its service has everything, and there is nothing else to tell: what a segment
    /// of the usual kind finds, and leaves.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        self.tcb.state() == State::Established && !self.tcb.is_forsaken() && self.is_served()
    }

    /// Whether its service has everything, as long as it has not closed.
    #[inline(always)]
    pub(super) fn is_served(&self) -> bool {
        self.is_admitted()
            && !self.marks.has_any_of(UNSERVED)
            && !self.tcb.has_unread()
            && !self.tcb.has_events()
    }

    /// Whether an acknowledgment with timestamps, over IPv4, is all that a plain connection has to send.
    #[inline(always)]
    pub(super) fn owes_ack_alone(&self) -> bool {
        self.tcb.owes_stamped_ack() && !self.tcb.owes_several() && self.marks.has(Mark::V4)
    }

    /// Whether something other than output has to be done for it.
    pub(super) fn is_unsettled(&self) -> bool {
        match self.is_admitted() {
            true => self.tcb.is_over() || self.tcb.has_events(),
            false => self.tcb.is_silent() && !self.marks.has(Mark::Detached),
        }
    }
}

/// Where a connection that has changed is written down.
pub(super) struct Lists<'a> {
    pub dirty: &'a mut Dirty,
    pub publisher: &'a mut Publisher,
}

/// Whether a connection is its service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is, from its opening on.
    Admitted,
    /// It waits in the accept queue; what happens to it is told once it is accepted.
    Queued,
    /// It waited in the accept queue of a listener that is gone: nobody ever hears of it.
    Refused,
}

/// A half-open entry in its shard.
pub(super) struct HalfOpenEntry {
    pub record: HalfOpen,
    /// Where the SYN came from, and its answer goes.
    pub mac: MacAddr,
    /// When its SYN-ACK is looked at.
    pub due: Instant,
}

/// What a wheel entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimerKey {
    Flow(FlowRef),
    Neighbour(u32),
}

impl TimerKey {
    pub(super) fn pack(self) -> u32 {
        let flow = |kind: u32, flow: FlowRef| kind << 30 | flow.index();
        match self {
            Self::Neighbour(index) => index,
            Self::Flow(f) if f.kind() == FlowKind::Tcb => flow(1, f),
            Self::Flow(f) if f.kind() == FlowKind::HalfOpen => flow(2, f),
            Self::Flow(f) => flow(3, f),
        }
    }

    pub(super) fn unpack(key: u32) -> Self {
        let index = key & ((1 << 30) - 1);
        match key >> 30 {
            0 => Self::Neighbour(index),
            1 => Self::Flow(FlowRef::new(FlowKind::Tcb, index)),
            2 => Self::Flow(FlowRef::new(FlowKind::HalfOpen, index)),
            _ => Self::Flow(FlowRef::new(FlowKind::TimeWait, index)),
        }
    }
}

impl Core {
    pub(super) fn new(config: ShardConfig, region: Region) -> Self {
        let limits = config.limits;
        let (conns, half_open) = (Slab::new(limits.connections), Slab::new(limits.half_open));
        Self {
            hasher: FlowHasher::new(config.secrets.flow),
            flows: region.flow_table(),
            last: 0,
            peers: Vec::new(),
            alarms: Alarms::new(conns.capacity()),
            half_open_alarms: Alarms::new(half_open.capacity()),
            neighbour_alarms: Alarms::new(limits.neighbours),
            conns,
            half_open,
            time_waits: TimeWaits::new(limits.time_wait),
            listeners: Listeners::default(),
            neighbours: Neighbours::new(limits.neighbours, random(&config.secrets)),
            ports: Ports::new(config.local_ports.clone()),
            rss: None,
            wheel: Wheel::new(Duration::from_millis(1), Instant::ZERO),
            pool: Pool::new(limits.buffers),
            counters: Counters::default(),
            census: Census::default(),
            dirty: Dirty::default(),
            starved: VecDeque::new(),
            replies: VecDeque::with_capacity(limits.replies),
            publisher: Publisher::new(region),
            requests: VecDeque::new(),
            orphans: Orphans::default(),
            shutdown: None,
            generation: 0,
            is_time_wait_armed: false,
            resets: Budget::default(),
            icmp_errors: Budget::default(),
            cookies: Cookies::new(&config.secrets),
            front: None,
            start: Start::new(config.mac, config.tcp.delivery()),
            config,
        }
    }

    /// The connection at `index` and what it needs to handle something.
    #[inline]
    pub(super) fn conn_env(&mut self, index: u32) -> Option<(&mut Conn, Env<'_>)> {
        self.conn_parts(index).map(|(conn, env, _)| (conn, env))
    }

    /// As [`Core::conn_env`], with what a connection is settled with.
    #[inline(always)]
    pub(super) fn conn_parts(&mut self, index: u32) -> Option<(&mut Conn, Env<'_>, Lists<'_>)> {
        let conn = self.conns.get_mut(index)?;
        let env = Env {
            pool: &mut self.pool,
            counters: &mut self.counters,
            census: &mut self.census,
            config: &self.config.tcp,
        };
        Some((conn, env, Lists { dirty: &mut self.dirty, publisher: &mut self.publisher }))
    }

    /// Puts a connection on the dirty list, once.
    #[inline]
    pub(super) fn mark_dirty(&mut self, index: u32) {
        if let Some(conn) = self.conns.get_mut(index)
            && !conn.marks.has(Mark::Dirty)
            && !conn.marks.has(Mark::Waiting)
        {
            conn.marks.set(Mark::Dirty, true);
            self.dirty.push(index);
        }
    }

    /// Sees that the wheel looks at a connection by its deadline. The alarm, which lies apart, is not
    /// looked at where there is none and was none.
    #[inline]
    pub(super) fn arm(&mut self, index: u32, now: Instant) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        conn.marks.set(Mark::Unarmed, false);
        let deadline = conn.tcb.next_deadline(now);
        if deadline == Instant::NEVER && !conn.marks.has(Mark::Armed) {
            return;
        }
        conn.marks.set(Mark::Armed, deadline != Instant::NEVER);
        let key = TimerKey::Flow(FlowRef::new(FlowKind::Tcb, index)).pack();
        self.wheel.ensure(key, self.alarms.at(index), deadline);
    }

    /// Output does not come to the rest of the dirty list in this turn: the wheel hears of it now.
    #[cold]
    pub(super) fn arm_rest(&mut self, now: Instant) {
        for index in self.dirty.take_unarmed() {
            if self.conns.get(index).is_some_and(|conn| conn.marks.has(Mark::Unarmed)) {
                self.arm(index, now);
            }
        }
    }

    /// Hears an entry of the wheel that fired for a connection: whether it is due.
    pub(super) fn heed(&mut self, index: u32, generation: u32) -> bool {
        let key = TimerKey::Flow(FlowRef::new(FlowKind::Tcb, index)).pack();
        self.wheel.heed(key, self.alarms.at(index), generation)
    }

    /// The same for a half-open entry.
    pub(super) fn heed_half_open(&mut self, index: u32, generation: u32) -> bool {
        let key = TimerKey::Flow(FlowRef::new(FlowKind::HalfOpen, index)).pack();
        self.wheel.heed(key, self.half_open_alarms.at(index), generation)
    }

    /// The same for a next hop.
    pub(super) fn heed_neighbour(&mut self, hop: u32, generation: u32) -> bool {
        let key = TimerKey::Neighbour(hop).pack();
        self.wheel.heed(key, self.neighbour_alarms.at(hop), generation)
    }

    /// Sees that the wheel looks at a half-open entry when it is due.
    pub(super) fn arm_half_open(&mut self, index: u32) {
        let Some(entry) = self.half_open.get(index) else { return };
        let key = TimerKey::Flow(FlowRef::new(FlowKind::HalfOpen, index)).pack();
        self.wheel.ensure(key, self.half_open_alarms.at(index), entry.due);
    }

    /// Arms the wheel anew for something that has no earlier entry; returns the generation.
    pub(super) fn arm_new(&mut self, key: TimerKey, deadline: Instant) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.wheel.arm(key.pack(), self.generation, deadline);
        self.generation
    }

    /// The address of ours that a packet to `addr` names.
    pub(super) fn local(&self, addr: Addr) -> Option<LocalAddr> {
        self.config.addrs.iter().find(|local| local.addr == addr).copied()
    }

    /// The initial sequence number of a connection: ISN = M + F(tuple, secret), M a clock of 3.8 µs
    /// (RFC 6528, section 3; RFC 9293, 3.4.1: MUST-8, SHLD-1).
    pub(super) fn isn(offsets: Offsets, now: Instant) -> SeqNum {
        // RFC 9293 3.4.1 (MUST-8, MUST-9, SHLD-1), CM-2.h: a clock of 4 µs, and a hash of the name
        // under a key that never leaves the process.
        SeqNum(offsets.sequence()) + sequence_clock(now.as_nanos()) as u32
    }

    /// As [`Core::isn`], but after `above`, where the name was used before (RFC 6191, 2, and RFC
    /// 9293, 3.10.7.4: larger than the largest number used before). Linux's step.
    pub(super) fn isn_above(offsets: Offsets, above: Option<SeqNum>, now: Instant) -> SeqNum {
        let isn = Self::isn(offsets, now);
        match above {
            Some(above) if !isn.is_after(above) => above + 0x1_0001,
            _ => isn,
        }
    }

    /// The timestamp offset of a connection: the same for the same name, so that PAWS holds across
    /// its lives (RFC 7323, section 5.4). The XDP program has the same function (CM-3.i).
    pub(super) fn stamp_offset(&self, hash: u64) -> u32 {
        // CM-3.i: as the XDP program computes it.
        self.offsets(hash).stamp()
    }

    /// What the name with this hash adds to both clocks.
    pub(super) fn offsets(&self, hash: u64) -> Offsets {
        Offsets::new(hash, &Key::new(self.config.secrets.isn))
    }

    /// The most text that a peer of this family may send us in a segment (RFC 9293, 3.7.1).
    pub(super) fn mss_for(&self, addr: &Addr) -> u16 {
        // RFC 9293 3.7.1 and 3.7.3 (MUST-67, SHLD-5, SHLD-6, MAY-3), CM-4.a: what the interface
        // takes, said in every SYN.
        self.config.mtu.saturating_sub(if addr.is_v4() { 40 } else { 60 })
    }

    /// The next hop for `addr`: its route's, or itself where no route says otherwise.
    pub(super) fn next_hop(&self, addr: Addr) -> Option<Addr> {
        self.config.routes.iter().find_map(|route| route.next_hop(addr))
    }

    pub(super) fn set_routes(&mut self, routes: Arc<[Route]>) {
        self.config.routes = routes;
        let indexes: Vec<u32> = self.conns.iter().map(|(id, _)| id.index).collect();
        for index in indexes {
            let hop =
                self.conns.get_mut(index).and_then(|conn| conn.next_hop.take()).map(Hop::index);
            self.release_hop(hop);
        }
    }
}

/// Its service has not had everything.
const UNSERVED: Marks = Marks::NONE.with(Mark::Resumed).with(Mark::FinPending).with(Mark::Detached);

// With 4 bytes of generation, 16 of its alarm, 64 of its published record, 11 of the flow table, and 12
// for an entry of the wheel, an idle connection stays below 480 bytes.
const _: () = assert!(size_of::<Conn>() <= 368);

/// A number that is another for each process.
fn random(secrets: &Secrets) -> u64 {
    let unspecified = Addr::UNSPECIFIED;
    let nobody =
        FourTuple { local: unspecified, remote: unspecified, local_port: 0, remote_port: 0 };
    keyed_hash(&secrets.port, &nobody)
}

/// A keyed hash of a connection's name.
pub(super) fn keyed_hash(key: &[u8; 16], tuple: &FourTuple) -> u64 {
    FlowHasher::new(*key).hash(tuple)
}
