//! Next hops: which one a connection has, what is known of it, and who waits for that.

use super::inner::{Core, Hop, Mark, TimerKey};
use super::replies::Body;
use super::{Request, Shard};
use crate::counters::Counter;
use crate::tables::neighbours::Reach;
use crate::tables::slab::TcbId;
use crate::time::{Duration, Instant};
use crate::wire::arp::{Op, Packet};
use crate::wire::{Addr, MacAddr};

impl Core {
    /// What the kernel knows of a next hop.
    pub(super) fn on_neighbour(&mut self, addr: Addr, mac: MacAddr, now: Instant) {
        self.learn((addr, mac), false, now);
    }

    /// Takes what was learnt of a neighbour. One that nobody asked for enters the table only if it
    /// `is_wanted`.
    pub(super) fn learn(&mut self, (addr, mac): (Addr, MacAddr), is_wanted: bool, now: Instant) {
        let waiting = self.neighbours.learn(addr, mac, is_wanted, now);
        self.wake(waiting);
    }

    /// The sender of a segment that completed a handshake is the way back to it: `next_hop`, which the
    /// connection at `index` has from then on.
    pub(super) fn learn_from_segment(
        &mut self,
        index: u32,
        (next_hop, mac): (Addr, MacAddr),
        now: Instant,
    ) {
        let Some(hop) = self.neighbours.intern(next_hop) else {
            return self.counters.count(Counter::NeighboursFull);
        };
        if let Some(conn) = self.conns.get_mut(index)
            && conn.next_hop.is_none()
        {
            conn.next_hop = Some(Hop::new(hop));
            self.neighbours.at(hop).users += 1;
        }
        if self.neighbours.at(hop).mac.is_none() {
            self.learn((next_hop, mac), true, now);
        }
    }

    /// A connection gets no answers: its next hop is asked whether it is still there, before the next
    /// segment goes (RFC 9293 3.8.3, MUST-20: negative advice at R1).
    pub(super) fn doubt_next_hop(&mut self, index: u32) {
        if let Some(hop) = self.conns.get(index).and_then(|conn| conn.next_hop) {
            self.neighbours.at(hop.index()).suspect();
        }
    }

    pub(super) fn wake(&mut self, waiting: Vec<TcbId>) {
        for id in waiting {
            if let Some(conn) = self.conns.get_mut_by_id(id) {
                conn.marks.set(Mark::Waiting, false);
                self.mark_dirty(id.index);
            }
        }
    }

    /// Where a connection's segments go next, once that is found in the table.
    fn hop_of(&mut self, index: u32) -> Option<u32> {
        let conn = self.conns.get(index)?;
        if let Some(hop) = conn.next_hop {
            return Some(hop.index());
        }
        let addr = self.next_hop(conn.tcb.tuple().remote)?;
        let hop = self.neighbours.intern(addr);
        match hop {
            Some(hop) => self.neighbours.at(hop).users += 1,
            None => self.counters.count(Counter::NeighboursFull),
        }
        self.conns.get_mut(index)?.next_hop = hop.map(Hop::new);
        hop
    }

    /// A connection no longer sends there.
    pub(super) fn release_hop(&mut self, hop: Option<u32>) {
        if let Some(hop) = hop {
            self.neighbours.at(hop).users -= 1;
        }
    }

    /// Makes a connection wait for its next hop. Those that are gone make room before the list grows.
    fn wait_for(&mut self, hop: u32, index: u32) {
        let Some(id) = self.conns.id(index) else { return };
        let conns = &self.conns;
        let waiting = &mut self.neighbours.at(hop).waiting;
        if waiting.len() == waiting.capacity() {
            waiting.retain(|id| {
                conns.get_by_id(*id).is_some_and(|conn| conn.marks.has(Mark::Waiting))
            });
        }
        waiting.push(id);
        if let Some(conn) = self.conns.get_mut(index) {
            conn.marks.set(Mark::Waiting, true);
        }
    }

    /// The link-layer address for a connection's segments. Where it is not known it is asked for,
    /// and the connection waits.
    pub(super) fn resolve(&mut self, index: u32, now: Instant) -> Option<MacAddr> {
        let hop = self.hop_of(index)?;
        let entry = self.neighbours.at(hop);
        let (mac, is_doubtful) = (entry.mac, entry.ask_at <= now);
        if mac.is_none() {
            self.wait_for(hop, index);
        }
        if is_doubtful {
            let local = self.conns.get(index)?.tcb.tuple().local;
            self.look_after(hop, local, now);
        }
        mac
    }

    /// Somebody sends to a next hop of which too little is known (RFC 4861, 7.3.3).
    fn look_after(&mut self, hop: u32, local: Addr, now: Instant) {
        let is_owned = self.local(local).is_some_and(|local| local.is_owned);
        let entry = self.neighbours.at(hop);
        entry.local = local;
        match entry.reach {
            // Of a shared address's neighbours the kernel knows by itself whether they are there.
            Reach::Reachable | Reach::Stale if is_owned => entry.delay(now + DELAY),
            _ => self.ask(hop, now),
        }
        self.arm_neighbour(hop);
    }

    /// Asks for a next hop once more, on the link or through the kernel.
    fn ask(&mut self, hop: u32, now: Instant) {
        let entry = self.neighbours.at(hop);
        entry.asked(now + ASK_AGAIN);
        let (addr, known, local) = (entry.addr, entry.mac, entry.local);
        if !self.local(local).is_some_and(|local| local.is_owned) {
            match self.requests.len() < self.config.limits.replies {
                true => self.requests.push_back(Request::Resolve(addr)),
                false => self.counters.count(Counter::RequestsDropped),
            }
            return;
        }
        match (local.as_v4(), addr.as_v4()) {
            (Some(sender_ip), Some(target_ip)) => {
                self.counters.count(Counter::ArpRequests);
                let question = Packet {
                    op: Op::Request,
                    sender_mac: self.config.mac,
                    sender_ip,
                    target_mac: known.unwrap_or_default(),
                    target_ip,
                };
                // RFC 1122 2.3.2.1: one that is known is asked itself.
                self.reply(known.unwrap_or(MacAddr::BROADCAST), Body::Arp(question));
            }
            _ => self.solicit((addr, known), local),
        }
    }

    fn arm_neighbour(&mut self, hop: u32) {
        let key = TimerKey::Neighbour(hop).pack();
        let due = self.neighbours.at(hop).due;
        self.wheel.ensure(key, self.neighbour_alarms.at(hop), due);
    }
}

impl Shard {
    /// A next hop was sent to or asked for, and has not shown itself.
    pub(super) fn on_neighbour_timer(&mut self, hop: u32, generation: u32, now: Instant) {
        if !self.core.heed_neighbour(hop, generation) {
            return;
        }
        let conns = &self.core.conns;
        let entry = self.core.neighbours.at(hop);
        if entry.due <= now {
            entry.due = Instant::NEVER;
            entry.waiting.retain(|id| conns.contains(*id));
            match entry.reach {
                Reach::Reachable | Reach::Stale => {}
                Reach::Incomplete if entry.waiting.is_empty() => entry.forget(),
                Reach::Incomplete | Reach::Probe if entry.tries >= TRIES => {
                    let addr = entry.addr;
                    self.on_unreachable(addr, now);
                }
                _ => self.core.ask(hop, now),
            }
        }
        self.core.arm_neighbour(hop);
    }

    /// A next hop cannot be resolved, or no longer answers: whoever waits for it is told. The next
    /// that sends there asks anew (RFC 4861, 7.3.3).
    pub(super) fn on_unreachable(&mut self, addr: Addr, now: Instant) {
        let Some(hop) = self.core.neighbours.intern(addr) else { return };
        let entry = self.core.neighbours.at(hop);
        entry.forget();
        let waiting = core::mem::take(&mut entry.waiting);
        if !waiting.is_empty() {
            self.core.counters.count(Counter::NeighbourFailed);
        }
        for id in waiting {
            if !self.core.conns.contains(id) {
                continue;
            }
            if let Some((conn, mut env)) = self.core.conn_env(id.index) {
                conn.marks.set(Mark::Waiting, false);
                conn.tcb.on_no_next_hop(&mut env, now);
            }
            self.settle(id.index, now);
        }
    }
}

/// Between two questions for a next hop (RFC 1122, 2.3.2.1: at most one a second; RFC 4861, 10:
/// RETRANS_TIMER).
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Questions without an answer (RFC 4861, 10: MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT).
const TRIES: u8 = 3;
/// How long what was sent may show that a neighbour is there (RFC 4861, 10:
/// DELAY_FIRST_PROBE_TIME).
const DELAY: Duration = Duration::from_secs(5);
