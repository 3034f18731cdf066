//! Opening connections that a peer asks for: its SYN, and the completion of its handshake. Our own
//! SYN is `active`'s.

use super::demux::Arrival;
use super::inner::{Conn, Core, HalfOpenEntry, TimerKey};
use crate::counters::Counter;
use crate::tables::flow::{FlowKind, FlowRef};
use crate::tcp::{HalfOpen, Offer, SeqNum, Tcb};
use crate::time::{Duration, Instant};

impl Core {
    /// A SYN for a listener: a half-open entry, and a SYN-ACK (RFC 9293, 3.10.7.2, third). The ISS
    /// is after `above`, where the name was used before. Text on the SYN comes again.
    pub(super) fn open_passive(
        &mut self,
        arrival: &Arrival<'_>,
        above: Option<SeqNum>,
        now: Instant,
    ) {
        let tuple = arrival.tuple;
        let Some((listener, _)) = self.listeners.find(tuple.local, tuple.local_port) else {
            return;
        };
        let mut iss = self.isn(&tuple, now);
        if let Some(above) = above
            && !iss.is_after(above)
        {
            // RFC 6191 2, and RFC 9293 3.10.7.4: larger than the largest number used before.
            iss = above + 0x1_0001;
        }
        let record = HalfOpen {
            tuple,
            iss,
            irs: arrival.segment.seq,
            offer: Offer::of(&arrival.segment.options),
            stamp_offset: self.stamp_offset(&tuple),
            window: self.config.tcp.receive_window.min(0xffff) as u16,
            listener,
            retransmits: 0,
            sent_at: now,
        };
        let first_timeout = record.timeout();
        let entry = HalfOpenEntry { record, mac: arrival.mac, generation: 0 };
        let Some(id) = self.half_open.insert(entry) else {
            self.counters.count(Counter::SynQueueFull);
            return;
        };
        let flow = FlowRef::new(FlowKind::HalfOpen, id.index);
        if self.flows.insert(arrival.hash, flow).is_err() {
            self.half_open.remove(id.index);
            self.counters.count(Counter::TableFull);
            return;
        }
        self.counters.count(Counter::PassiveOpens);
        self.arm_half_open(id.index, first_timeout, now);
        self.send_syn_ack(id.index, now);
    }

    /// Arms the wheel for the SYN-ACK of a half-open entry; the entry before is void.
    pub(super) fn arm_half_open(&mut self, index: u32, after: Duration, now: Instant) {
        let key = TimerKey::Flow(FlowRef::new(FlowKind::HalfOpen, index));
        let generation = self.arm_new(key, now + after);
        if let Some(entry) = self.half_open.get_mut(index) {
            entry.generation = generation;
        }
    }

    /// Queues the SYN-ACK of a half-open entry.
    pub(super) fn send_syn_ack(&mut self, index: u32, now: Instant) {
        let Some(entry) = self.half_open.get(index) else { return };
        let record = &entry.record;
        let bare = record.syn_ack(self.mss_for(&record.tuple.remote), &self.config.tcp, now);
        self.reply_bare(entry.mac, record.tuple, bare);
    }

    /// Forgets a half-open entry.
    pub(super) fn remove_half_open(&mut self, index: u32) -> Option<HalfOpenEntry> {
        let entry = self.half_open.remove(index)?;
        let hash = self.hasher.hash(&entry.record.tuple);
        self.flows.remove(hash, FlowRef::new(FlowKind::HalfOpen, index));
        Some(entry)
    }

    /// The handshake of a half-open entry is complete: it becomes a connection. With no room for one
    /// the ACK is dropped, and the peer tries again.
    pub(super) fn promote(&mut self, index: u32, now: Instant) -> Option<u32> {
        let entry = self.half_open.get(index)?;
        let (tuple, mac) = (entry.record.tuple, entry.mac);
        let service = self.listeners.at(entry.record.listener)?.service;
        if self.conns.is_full() {
            self.counters.count(Counter::AcceptQueueFull);
            return None;
        }
        let record = self.half_open.remove(index)?.record;
        let mss = self.mss_for(&tuple.remote);
        let tcb = Tcb::accept(&record, mss, &mut self.env(), now);
        let at = self.conns.insert(Conn::new(tcb, service, false))?.index;
        let old = FlowRef::new(FlowKind::HalfOpen, index);
        self.flows.replace(self.hasher.hash(&tuple), old, FlowRef::new(FlowKind::Tcb, at));
        if self.local(tuple.local).is_some_and(|local| local.is_owned)
            && let Some(next_hop) = self.next_hop(tuple.remote)
        {
            // What brought the peer's segments takes ours: no ARP is needed before the first.
            self.learn_from_segment(next_hop, mac, now);
        }
        Some(at)
    }
}

impl Core {
    /// Takes a connection out of its table, with all that it buffers.
    pub(super) fn forget(&mut self, index: u32) -> Option<Conn> {
        if let Some((conn, mut env)) = self.conn_env(index) {
            conn.tcb.release(&mut env);
        }
        let conn = self.conns.remove(index)?;
        self.forget_orphan((conn.is_orphan, conn.stuck));
        Some(conn)
    }
}

impl Conn {
    pub(super) fn new(tcb: Tcb, service: u16, is_active: bool) -> Self {
        Self {
            tcb,
            service,
            user: 0,
            next_hop: None,
            armed: (Instant::NEVER, 0),
            stuck: 0,
            is_orphan: false,
            is_dirty: false,
            is_waiting: false,
            is_starved: false,
            is_resumed: false,
            is_active,
            is_known: false,
            is_fin_pending: false,
            is_detached: false,
        }
    }
}
