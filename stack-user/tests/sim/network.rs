//! The event loop: two nodes, a link each way, and a clock that jumps to what happens next.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use sluice::time::{Duration, Instant};
use sluice::wire::ethernet::{ETHERTYPE_ARP, Frame};
use sluice::wire::tcp::Packet;
use sluice::wire::{PROTOCOL_TCP, ipv4};

use crate::impairment::Impairment;
use crate::link::Link;
use crate::node::Node;

/// The network. Node 0 has address 1, node 1 has address 2.
pub(crate) struct Network {
    pub(crate) nodes: [Node; 2],
    /// `links[i]` carries what node `i` sends.
    pub(crate) links: [Link; 2],
    pub(crate) now: Instant,
    /// Looks at every frame before its link does, and may drop it.
    pub(crate) filter: Filter,
    in_flight: BinaryHeap<Reverse<InFlight>>,
    serial: u64,
    /// Turns since the clock last moved.
    stuck: u32,
}

/// A scenario's own hand on the path.
pub(crate) type Filter = Box<dyn FnMut(&Sight<'_>) -> Fate>;

/// A frame on the path.
pub(crate) struct Sight<'a> {
    /// The index of the node that sent it.
    pub(crate) from: usize,
    pub(crate) at: Instant,
    pub(crate) is_arp: bool,
    pub(crate) segment: Option<Packet<'a>>,
}

/// What a [`Filter`] decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Carry,
    Drop,
}

struct InFlight {
    at: Instant,
    serial: u64,
    to: usize,
    frame: Vec<u8>,
}

impl Network {
    pub(crate) fn new(nodes: [Node; 2], impairment: Impairment, seed: u64) -> Self {
        let link = |n: u64| Link::new(impairment, seed.wrapping_mul(2).wrapping_add(n));
        Self {
            nodes,
            links: [link(0), link(1)],
            now: Instant::ZERO,
            filter: Box::new(|_| Fate::Carry),
            in_flight: BinaryHeap::new(),
            serial: 0,
            stuck: 0,
        }
    }

    /// Opens a connection from node 0 to the listener of node 1.
    pub(crate) fn connect(&mut self) {
        self.nodes[0].connect(2, crate::node::PORT, self.now);
    }

    /// Runs for this much virtual time.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until nothing is left to happen, and asserts that this comes within `bound`.
    pub(crate) fn run_to_end(&mut self, bound: Duration) {
        let end = self.now + bound;
        while self.step(end) {}
        if let Some(next) = self.next_event() {
            panic!("not at rest after {bound:?}: the next event is at {next:?}");
        }
    }

    /// Runs until `done` says so, and asserts that this comes within `bound`; returns the time that
    /// it took.
    pub(crate) fn run_until(
        &mut self,
        bound: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Duration {
        let start = self.now;
        while !done(self) {
            assert!(self.step(start + bound), "not done after {bound:?}, now {:?}", self.now);
        }
        self.now.since(start)
    }

    /// One event: everything that is due at its time. `false` if there is none up to `end`.
    fn step(&mut self, end: Instant) -> bool {
        let Some(next) = self.next_event().filter(|next| *next <= end) else { return false };
        self.stuck = if next > self.now { 0 } else { self.stuck + 1 };
        assert!(self.stuck < STUCK, "the clock stands still at {:?}", self.now);
        self.now = self.now.max(next);
        let mut arrived = [Vec::new(), Vec::new()];
        while let Some(Reverse(first)) = self.in_flight.peek()
            && first.at <= self.now
            && let Some(Reverse(first)) = self.in_flight.pop()
        {
            arrived[first.to].push(first.frame);
        }
        for (index, arrived) in arrived.iter().enumerate() {
            for frame in self.nodes[index].turn(arrived, self.now) {
                self.send(index, frame);
            }
        }
        true
    }

    fn next_event(&self) -> Option<Instant> {
        let arrival = self.in_flight.peek().map(|Reverse(first)| first.at);
        let of_node = |node: &Node| {
            if node.shard.has_work() { Some(self.now) } else { node.shard.next_deadline() }
        };
        self.nodes.iter().map(of_node).chain([arrival]).flatten().min()
    }

    fn send(&mut self, from: usize, frame: Vec<u8>) {
        if (self.filter)(&sight(from, self.now, &frame)) == Fate::Drop {
            return;
        }
        let (in_flight, serial) = (&mut self.in_flight, &mut self.serial);
        self.links[from].carry(frame, self.now, &mut |at, frame| {
            *serial += 1;
            in_flight.push(Reverse(InFlight { at, serial: *serial, to: 1 - from, frame }));
        });
    }
}

/// Takes apart a frame that a node sent, which has to be well-formed.
fn sight(from: usize, at: Instant, bytes: &[u8]) -> Sight<'_> {
    let frame = Frame::parse(bytes, None).expect("a node sends well-formed frames");
    if frame.ethertype == ETHERTYPE_ARP {
        return Sight { from, at, is_arp: true, segment: None };
    }
    let packet = ipv4::Packet::parse(frame.payload).expect("a node sends well-formed packets");
    let segment = (packet.protocol == PROTOCOL_TCP)
        .then(|| Packet::parse(packet.payload).expect("a node sends well-formed segments"));
    Sight { from, at, is_arp: false, segment }
}

/// A filter that drops the first `count` segments that `is_meant` picks.
pub(crate) fn drop_first(
    count: usize,
    is_meant: impl Fn(usize, &Packet<'_>) -> bool + 'static,
) -> Filter {
    let mut left = count;
    Box::new(move |sight| {
        let is_meant = sight.segment.is_some_and(|segment| is_meant(sight.from, &segment));
        if is_meant && left > 0 {
            left -= 1;
            return Fate::Drop;
        }
        Fate::Carry
    })
}

impl Ord for InFlight {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

impl PartialOrd for InFlight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for InFlight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for InFlight {}

/// Turns at one time after which the nodes are held to be in a loop.
const STUCK: u32 = 100_000;
