//! Opening connections that a peer asks for: its SYN, and the completion of its handshake. Our own
//! SYN is `active`'s.

use stack_ebpf::flow::{Offsets, stamp_clock};

use super::demux::Arrival;
use super::inner::{Admission, Conn, Core, HalfOpenEntry, Hop, Mark, Marks};
use crate::counters::Counter;
use crate::tables::flow::{FlowKind, FlowRef};
use crate::tables::listeners::{Accepts, Listening};
use crate::tcp::{
    Env, HalfOpen, Offer, SeqNum, State, SynCookies, Tcb, first_window, window_scale,
};
use crate::time::{Duration, Instant};
use crate::wire::usual::Start;
use crate::wire::{FourTuple, MacAddr};

/// What became of the acknowledgment that completes a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completion {
    /// A connection, at this index; the segment is its first.
    Open(u32),
    /// It is dropped: the peer tries again.
    Drop,
    /// It is to be answered as in CLOSED.
    Refuse,
}

impl Core {
    /// A SYN for a listener: a half-open entry and a SYN-ACK (RFC 9293, 3.10.7.2, third), or a
    /// cookie, or nothing. Text on the SYN comes again.
    pub(super) fn on_syn(&mut self, arrival: &Arrival<'_>, listener: u16, now: Instant) {
        let Some(listening) = self.listeners.at(listener) else { return };
        let (is_queue_full, is_overflowing) =
            (listening.is_syn_queue_full(), listening.is_accept_queue_full());
        let is_table_full = self.half_open.is_full();
        if is_queue_full || is_table_full {
            self.counters.count(Counter::SynQueueFull);
        }
        if is_table_full {
            self.counters.count(Counter::HalfOpenFull);
        }
        if is_overflowing {
            // CM-3.b. Linux: with nobody to accept them, further handshakes are not begun.
            return self.counters.count(Counter::AcceptQueueFull);
        }
        let is_full = is_queue_full || is_table_full;
        match self.config.tcp.syn_cookies {
            SynCookies::Always => self.send_cookie(arrival, listener, now),
            SynCookies::WhenFull if is_full => self.send_cookie(arrival, listener, now),
            SynCookies::Never if is_full => {}
            _ => self.open_passive(arrival, (listener, None), now),
        }
        self.mind_gate(listener);
    }

    /// A half-open entry, and a SYN-ACK whose ISS is after `above`, where the name was used before.
    /// Whether the SYN queue has room is the caller's to ask.
    pub(super) fn open_passive(
        &mut self,
        arrival: &Arrival<'_>,
        (listener, above): (u16, Option<SeqNum>),
        now: Instant,
    ) {
        // CM-1.h: its text is not acknowledged, and comes again.
        let offsets = self.offsets(arrival.hash);
        let record = HalfOpen {
            iss: Self::isn_above(offsets, above, now),
            ..self.half_open_for(arrival, (listener, offsets), now)
        };
        let first_timeout = record.timeout();
        let entry = HalfOpenEntry { record, mac: arrival.mac, due: now + first_timeout };
        let Some(id) = self.half_open.insert(entry) else {
            return self.counters.count(Counter::HalfOpenFull);
        };
        let flow = FlowRef::new(FlowKind::HalfOpen, id.index);
        if self.flows.insert(arrival.hash, flow).is_err() {
            self.half_open.remove(id.index);
            return self.counters.count(Counter::TableFull);
        }
        if let Some(listening) = self.listeners.at_mut(listener) {
            listening.half_open += 1;
        }
        self.counters.count(Counter::PassiveOpens);
        self.arm_half_open(id.index);
        self.send_syn_ack(id.index, now);
    }

    /// What a SYN says, and what our SYN-ACK will, but for its ISS.
    pub(super) fn half_open_for(
        &self,
        arrival: &Arrival<'_>,
        (listener, offsets): (u16, Offsets),
        now: Instant,
    ) -> HalfOpen {
        let asked = self.listeners.at(listener).and_then(|listening| listening.receive_buffer);
        let window = asked.unwrap_or(self.config.tcp.receive_window);
        let offer = Offer::of(&arrival.segment.options).within(&self.config.tcp);
        let asked_mss = self.listeners.at(listener).and_then(|listening| listening.max_segment);
        let mss = self.mss_for(&arrival.tuple.remote).min(asked_mss.unwrap_or(u16::MAX));
        let text = u32::from(mss) - if offer.stamp.is_some() { 12 } else { 0 };
        HalfOpen {
            tuple: arrival.tuple,
            iss: SeqNum(0),
            irs: arrival.segment.seq,
            offer,
            stamp_offset: offsets.stamp(),
            window: first_window(window, text).min(0xffff) as u16,
            scale: asked.map_or(self.config.tcp.window_scale(), window_scale),
            listener,
            timeouts: 0,
            is_acknowledged: false,
            is_repeated: false,
            sent_at: now,
            answers_from: stamp_clock(now.as_nanos()),
        }
    }

    /// The SYN-ACK of a half-open entry is looked at after this time, and not before.
    pub(super) fn put_off_half_open(&mut self, index: u32, after: Duration, now: Instant) {
        if let Some(entry) = self.half_open.get_mut(index) {
            entry.due = now + after;
            self.arm_half_open(index);
        }
    }

    /// Queues the SYN-ACK of a half-open entry.
    pub(super) fn send_syn_ack(&mut self, index: u32, now: Instant) {
        let Some(entry) = self.half_open.get(index) else { return };
        let record = &entry.record;
        let bare = record.syn_ack(self.mss_of(record), &self.config.tcp, now);
        self.reply_bare(entry.mac, record.tuple, bare);
    }

    /// Queues the SYN-ACK of a half-open entry once more.
    pub(super) fn repeat_syn_ack(&mut self, index: u32, now: Instant) {
        if let Some(entry) = self.half_open.get_mut(index) {
            entry.record.is_repeated = true;
        }
        self.counters.count(Counter::SynAckRetransmits);
        self.send_syn_ack(index, now);
    }

    /// The most text that the peer of a passive open may send us in a segment.
    pub(super) fn mss_of(&self, record: &HalfOpen) -> u16 {
        let asked = self.listeners.at(record.listener).and_then(|listening| listening.max_segment);
        self.mss_for(&record.tuple.remote).min(asked.unwrap_or(u16::MAX))
    }

    /// Forgets a half-open entry.
    pub(super) fn remove_half_open(&mut self, index: u32) -> Option<HalfOpenEntry> {
        let entry = self.take_half_open(index)?;
        let hash = self.hasher.hash(&entry.record.tuple);
        self.flows.remove(hash, FlowRef::new(FlowKind::HalfOpen, index));
        Some(entry)
    }

    /// Takes a half-open entry out of its table, but not out of the flow table.
    fn take_half_open(&mut self, index: u32) -> Option<HalfOpenEntry> {
        let entry = self.half_open.remove(index)?;
        if let Some(listening) = self.listeners.at_mut(entry.record.listener) {
            listening.half_open -= 1;
        }
        Some(entry)
    }

    /// The handshake of a half-open entry is complete: it becomes a connection. Without room for
    /// one the entry stays, and its SYN-ACK is sent again. `hash` is that of its name.
    pub(super) fn complete(&mut self, index: u32, hash: u64, now: Instant) -> Completion {
        let Some(entry) = self.half_open.get_mut(index) else { return Completion::Drop };
        entry.record.is_acknowledged = true;
        let listener = entry.record.listener;
        if !self.has_room_for_conn(listener) {
            // CM-3.c, CM-3.d: the peer tries again, or is told.
            if self.config.tcp.abort_on_overflow {
                self.remove_half_open(index);
                return Completion::Refuse;
            }
            return Completion::Drop;
        }
        let Some(HalfOpenEntry { record, mac, .. }) = self.take_half_open(index) else {
            return Completion::Drop;
        };
        let Some(at) = self.establish(&record, now) else { return Completion::Drop };
        let old = FlowRef::new(FlowKind::HalfOpen, index);
        self.flows.replace(hash, old, FlowRef::new(FlowKind::Tcb, at));
        self.learn_way_back(at, (&record.tuple, mac), now);
        Completion::Open(at)
    }

    /// Whether one more connection of a listener finds a place; counts when it does not.
    pub(super) fn has_room_for_conn(&mut self, listener: u16) -> bool {
        let is_overflowing =
            self.listeners.at(listener).is_none_or(Listening::is_accept_queue_full);
        if is_overflowing {
            self.counters.count(Counter::AcceptQueueFull);
        } else if self.conns.is_full() {
            self.counters.count(Counter::TableFull);
        }
        !is_overflowing && !self.conns.is_full()
    }

    /// Makes the connection of a handshake that is complete; its index. The flow table is the
    /// caller's to change, and the segment the connection's to see.
    pub(super) fn establish(&mut self, record: &HalfOpen, now: Instant) -> Option<u32> {
        let mss = self.mss_of(record);
        let Self { conns, listeners, pool, counters, census, config, start, .. } = self;
        let listening = listeners.at_mut(record.listener)?;
        let listener = &listening.listener;
        let mut env = Env { pool, counters, census, config: &config.tcp };
        let admission = match listener.accepts {
            Accepts::AtOnce => Admission::Admitted,
            // CM-3.e: what comes meanwhile is kept.
            Accepts::OnCall => Admission::Queued,
        };
        // Made in its place: it is large to be moved.
        let id = conns.insert_with(|_| {
            let tcb = Tcb::accept(record, mss, &mut env, now);
            Conn { admission, ..Conn::new(tcb, (listener.service, false), start) }
        })?;
        let begun = conns.get_mut(id.index)?.tcb.begin_with(&listener.settings, &mut env, now);
        debug_assert_eq!(begun, Ok(()), "a listener's settings were checked");
        if admission == Admission::Queued {
            listening.queue.push_back(id);
        }
        Some(id.index)
    }

    /// What brought the peer's segments takes ours: no ARP is needed before the first.
    pub(super) fn learn_way_back(
        &mut self,
        index: u32,
        (tuple, mac): (&FourTuple, MacAddr),
        now: Instant,
    ) {
        if self.local(tuple.local).is_some_and(|local| local.is_owned)
            && let Some(next_hop) = self.next_hop(tuple.remote)
        {
            self.learn_from_segment(index, (next_hop, mac), now);
        }
    }
}

impl Core {
    /// Takes a connection out of its table, with all that it buffers.
    pub(super) fn forget(&mut self, index: u32) {
        let Some((conn, mut env)) = self.conn_env(index) else { return };
        conn.tcb.release(&mut env);
        let (orphan, hop) = ((conn.marks.has(Mark::Orphan), conn.stuck), conn.next_hop);
        self.unpublish(index);
        self.conns.discard(index);
        self.forget_orphan(orphan);
        self.release_hop(hop.map(Hop::index));
    }
}

impl Conn {
    #[inline]
    pub(super) fn new(tcb: Tcb, (service, is_active): (u16, bool), start: &Start) -> Self {
        let mut marks = Marks::default();
        marks.set(Mark::Active, is_active);
        marks.set(Mark::V4, tcb.tuple().local.is_v4());
        let ip_checksum = start.checksum_of(tcb.tuple());
        Self {
            tcb,
            service,
            user: 0,
            next_hop: None,
            stuck: 0,
            marks,
            admission: Admission::Admitted,
            published: State::Closed,
            ip_checksum,
        }
    }
}
