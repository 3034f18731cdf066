//! The event loop: two nodes, a link each way, and a clock that jumps to what happens next.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use sluice::time::{Duration, Instant};
use sluice::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, Frame};
use sluice::wire::tcp::Packet;
use sluice::wire::{PROTOCOL_TCP, ipv4, ipv6};

use crate::impairment::Impairment;
use crate::link::{Link, is_discovery};
use crate::node::Node;

/// The network. Node 0 has address 1, node 1 has address 2.
pub(crate) struct Network {
    pub(crate) nodes: [Node; 2],
    /// `links[i]` carries what node `i` sends.
    pub(crate) links: [Link; 2],
    pub(crate) now: Instant,
    /// Looks at every frame before its link does, and may drop it.
    pub(crate) filter: Filter,
    /// Looks after every turn whether the nodes' tables agree with each other.
    pub(crate) is_checked: bool,
    /// Frames that the nodes sent.
    pub(crate) sent: u64,
    /// Nodes that are not there any more: nothing of theirs runs, and what is sent to them is lost.
    gone: [bool; 2],
    in_flight: BinaryHeap<Reverse<InFlight>>,
    serial: u64,
    /// Turns since the clock last moved.
    stuck: u32,
    /// Prints every frame: `SLUICE_TRACE=1`.
    is_traced: bool,
}

/// A scenario's own hand on the path.
pub(crate) type Filter = Box<dyn FnMut(&Sight<'_>) -> Fate>;

/// A frame on the path.
pub(crate) struct Sight<'a> {
    /// The index of the node that sent it.
    pub(crate) from: usize,
    pub(crate) at: Instant,
    /// Whether it asks for or tells where a neighbour is.
    pub(crate) is_discovery: bool,
    pub(crate) segment: Option<Packet<'a>>,
}

/// What a [`Filter`] decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Carry,
    Drop,
    /// It is overtaken by what follows within this time.
    Late(Duration),
    /// It arrives twice.
    Twice,
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
            is_checked: false,
            sent: 0,
            gone: [false; 2],
            in_flight: BinaryHeap::new(),
            serial: 0,
            stuck: 0,
            is_traced: std::env::var_os("SLUICE_TRACE").is_some(),
        }
    }

    /// Node `index` loses everything. It comes back at once as `next`, or never.
    pub(crate) fn crash(&mut self, index: usize, next: Option<Node>) {
        self.gone[index] = next.is_none();
        if let Some(next) = next {
            self.nodes[index] = next;
        }
    }

    /// The nodes that are there.
    pub(crate) fn alive(&mut self) -> impl Iterator<Item = (usize, &mut Node)> {
        let gone = self.gone;
        self.nodes.iter_mut().enumerate().filter(move |(index, _)| !gone[*index])
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
            self.turn(index, arrived);
        }
        true
    }

    /// Gives a node a turn, for what was done to it from outside.
    pub(crate) fn poke(&mut self, index: usize) {
        self.turn(index, &[]);
    }

    fn turn(&mut self, index: usize, arrived: &[Vec<u8>]) {
        if self.gone[index] {
            return;
        }
        for frame in self.nodes[index].turn(arrived, self.now) {
            self.send(index, frame);
        }
        if self.is_checked && !self.nodes[index].shard.has_work() {
            self.nodes[index].shard.assert_sound(self.now);
        }
    }

    fn next_event(&self) -> Option<Instant> {
        let arrival = self.in_flight.peek().map(|Reverse(first)| first.at);
        let of_node = |node: &Node| {
            if node.shard.has_work() { Some(self.now) } else { node.shard.next_deadline() }
        };
        let alive = self.nodes.iter().zip(self.gone).filter(|(_, gone)| !gone);
        alive.map(|(node, _)| of_node(node)).chain([arrival]).flatten().min()
    }

    fn send(&mut self, from: usize, frame: Vec<u8>) {
        self.sent += 1;
        let sight = sight(from, self.now, &frame);
        let fate = (self.filter)(&sight);
        if self.is_traced {
            print(&sight, fate);
        }
        if fate == Fate::Drop {
            return;
        }
        let (late, copies) = match fate {
            Fate::Late(time) => (time, 1),
            Fate::Twice => (Duration::ZERO, 2),
            Fate::Carry | Fate::Drop => (Duration::ZERO, 1),
        };
        let (in_flight, serial) = (&mut self.in_flight, &mut self.serial);
        for _ in 0..copies {
            self.links[from].carry(frame.clone(), self.now, &mut |at, frame| {
                *serial += 1;
                let (at, serial) = (at + late, *serial);
                in_flight.push(Reverse(InFlight { at, serial, to: 1 - from, frame }));
            });
        }
    }
}

/// Takes apart a frame that a node sent, which has to be well-formed.
fn sight(from: usize, at: Instant, bytes: &[u8]) -> Sight<'_> {
    let frame = Frame::parse(bytes, None).expect("a node sends well-formed frames");
    let (protocol, payload) = match frame.ethertype {
        ETHERTYPE_ARP => return Sight { from, at, is_discovery: true, segment: None },
        ETHERTYPE_IPV4 => {
            let packet = ipv4::Packet::parse(frame.payload).expect("a node's packets are sound");
            (packet.protocol, packet.payload)
        }
        _ => {
            let packet = ipv6::Packet::parse(frame.payload).expect("a node's packets are sound");
            (packet.next_header, packet.payload)
        }
    };
    let segment = (protocol == PROTOCOL_TCP)
        .then(|| Packet::parse(payload).expect("a node sends well-formed segments"));
    Sight { from, at, is_discovery: is_discovery(bytes), segment }
}

/// One line for a frame, as the trace has it.
fn print(sight: &Sight<'_>, fate: Fate) {
    let mark = match fate {
        Fate::Carry => "",
        Fate::Drop => " dropped by the scenario",
        Fate::Late(_) => " made late by the scenario",
        Fate::Twice => " doubled by the scenario",
    };
    let ms = sight.at.as_nanos() as f64 / 1e6;
    let Some(s) = sight.segment else {
        return eprintln!("{ms:.3} node {} no segment{mark}", sight.from);
    };
    eprintln!(
        "{ms:.3} node {} {}>{} {:?} seq {} ack {} len {} win {} {:?}{mark}",
        sight.from,
        s.src_port,
        s.dst_port,
        s.flags,
        s.seq,
        s.ack,
        s.payload.len(),
        s.window,
        s.options,
    );
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
