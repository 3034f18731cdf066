//! Segments to what their flow is: a connection, a half-open entry, TIME-WAIT, a listener, nothing.

use super::Shard;
use super::demux::Arrival;
use super::inner::Core;
use crate::counters::Counter;
use crate::tables::flow::{FlowKind, FlowRef};
use crate::tcp::{HalfOpenVerdict, ListenVerdict, State, TimeWait, TimeWaitVerdict, on_listen};
use crate::time::Instant;
use crate::wire::tcp::Flags;

impl Shard {
    /// RFC 9293, 3.10.7: SEGMENT ARRIVES.
    pub(super) fn on_arrival(
        &mut self,
        flow: Option<FlowRef>,
        arrival: &Arrival<'_>,
        now: Instant,
    ) {
        self.core.counters.count(Counter::SegmentsIn);
        match flow.map(|flow| (flow.kind(), flow.index())) {
            Some((FlowKind::Tcb, index)) => self.on_connection(index, arrival, now),
            Some((FlowKind::HalfOpen, index)) => self.on_half_open(index, arrival, now),
            Some((FlowKind::TimeWait, index)) => self.on_time_wait(index, arrival, now),
            None => self.core.on_no_connection(arrival, now),
        }
    }

    pub(super) fn on_connection(&mut self, index: u32, arrival: &Arrival<'_>, now: Instant) {
        let Some((conn, mut env)) = self.core.conn_env(index) else { return };
        let accepted = conn.tcb.on_segment(&arrival.segment, &mut env, now);
        if accepted.is_refused {
            self.core.refuse(arrival.mac, arrival.tuple, &arrival.segment, now);
        }
        let text = &arrival.segment.text[accepted.text];
        self.deliver(index, (text, accepted.follows), now);
        self.core.enter_time_wait(index, arrival, now);
        self.settle(index, now);
    }

    fn on_half_open(&mut self, index: u32, arrival: &Arrival<'_>, now: Instant) {
        let Some(entry) = self.core.half_open.get(index) else { return };
        let (record, mac) = (&entry.record, entry.mac);
        match record.on_segment(&arrival.segment) {
            HalfOpenVerdict::Drop => {}
            HalfOpenVerdict::Acknowledge => {
                let bare = record.ack(now);
                self.core.counters.count(Counter::ChallengeAcks);
                self.core.reply_bare(mac, arrival.tuple, bare);
            }
            HalfOpenVerdict::Refuse => {
                self.core.refuse(mac, arrival.tuple, &arrival.segment, now);
            }
            HalfOpenVerdict::Repeat => self.core.send_syn_ack(index, now),
            HalfOpenVerdict::Remove => {
                self.core.counters.count(Counter::ResetsIn);
                self.core.remove_half_open(index);
            }
            HalfOpenVerdict::Open => {
                if let Some(index) = self.core.promote(index, now) {
                    self.on_connection(index, arrival, now);
                }
            }
        }
    }

    fn on_time_wait(&mut self, index: u32, arrival: &Arrival<'_>, now: Instant) {
        let until = self.core.time_wait_end(now);
        let Some(record) = self.core.time_waits.get(index) else { return };
        match record.on_segment(&arrival.segment) {
            TimeWaitVerdict::Drop => {}
            TimeWaitVerdict::Reuse { above } => {
                let is_open = self.core.listener_for(arrival).is_some();
                if is_open {
                    self.core.time_waits.remove(index);
                    let flow = FlowRef::new(FlowKind::TimeWait, index);
                    self.core.flows.remove(arrival.hash, flow);
                    self.core.counters.count(Counter::TimeWaitReuses);
                    self.core.open_passive(arrival, Some(above), now);
                }
            }
            verdict @ (TimeWaitVerdict::Acknowledge | TimeWaitVerdict::Restart) => {
                let bare = record.ack(now);
                if verdict == TimeWaitVerdict::Restart {
                    self.core.time_waits.restart(index, until);
                }
                self.core.reply_bare(arrival.mac, arrival.tuple, bare);
            }
        }
    }
}

impl Core {
    /// A segment that matches no connection: LISTEN or CLOSED.
    fn on_no_connection(&mut self, arrival: &Arrival<'_>, now: Instant) {
        let verdict = match self.listeners.find(arrival.tuple.local, arrival.tuple.local_port) {
            Some(_) => on_listen(&arrival.segment),
            None => ListenVerdict::Refuse,
        };
        match verdict {
            ListenVerdict::Drop => self.counters.count(Counter::DropNoSocket),
            ListenVerdict::Refuse => self.refuse(arrival.mac, arrival.tuple, &arrival.segment, now),
            ListenVerdict::Open if self.shutdown.is_some() => {
                self.counters.count(Counter::DropShutdown);
            }
            ListenVerdict::Open => self.open_passive(arrival, None, now),
        }
    }

    /// The listener that a SYN reaches, unless the shard is shutting down.
    fn listener_for(&self, arrival: &Arrival<'_>) -> Option<u16> {
        let is_syn = arrival.segment.has(Flags::SYN) && !arrival.segment.has(Flags::ACK);
        if self.shutdown.is_some() || !is_syn {
            return None;
        }
        let (local, port) = (arrival.tuple.local, arrival.tuple.local_port);
        self.listeners.find(local, port).map(|(index, _)| index)
    }

    /// A connection that reached TIME-WAIT becomes a record; its unread text stays with its service.
    fn enter_time_wait(&mut self, index: u32, arrival: &Arrival<'_>, now: Instant) {
        let until = self.time_wait_end(now);
        let Some(conn) = self.conns.get_mut(index) else { return };
        if conn.tcb.state() != State::TimeWait || conn.is_detached {
            return;
        }
        conn.is_detached = true;
        conn.tcb.stop_timers();
        let record = TimeWait::of(&conn.tcb, until);
        let bare = record.ack(now);
        let old = FlowRef::new(FlowKind::Tcb, index);
        if arrival.segment.has(Flags::FIN) {
            self.reply_bare(arrival.mac, arrival.tuple, bare);
        }
        match self.time_waits.insert(record) {
            Some(at) => {
                self.flows.replace(arrival.hash, old, FlowRef::new(FlowKind::TimeWait, at));
                self.arm_time_wait();
            }
            None => {
                self.flows.remove(arrival.hash, old);
                self.counters.count(Counter::TimeWaitOverflow);
            }
        }
    }

    fn time_wait_end(&self, now: Instant) -> Instant {
        now + self.config.tcp.time_wait
    }
}
