//! Segments to what their flow is: a connection, a half-open entry, TIME-WAIT, a listener, nothing.

use super::Shard;
use super::demux::Arrival;
use super::inner::{Core, Mark};
use super::open::Completion;
use crate::counters::Counter;
use crate::tables::flow::{FlowKind, FlowRef};
use crate::tables::listeners::Listening;
use crate::tcp::{
    HalfOpenVerdict, ListenVerdict, Segment, SeqNum, State, TimeWait, TimeWaitVerdict, on_listen,
};
use crate::time::Instant;
use crate::wire::tcp::Flags;

impl Shard {
    /// RFC 9293, 3.10.7: SEGMENT ARRIVES.
    #[inline]
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
            None => self.on_no_connection(arrival, now),
        }
    }

    pub(super) fn on_connection(&mut self, index: u32, arrival: &Arrival<'_>, now: Instant) {
        let Some((conn, mut env)) = self.core.conn_env(index) else { return };
        let accepted = conn.tcb.on_segment(&arrival.segment, &mut env, now);
        // Nearly always there is nothing but text, and a service that takes it all.
        let (is_plain, service) = (accepted.follows.is_empty() && conn.is_plain(), conn.service);
        if accepted.is_refused {
            self.core.refuse(arrival.mac, arrival.tuple, &arrival.segment, now);
        }
        let text = &arrival.segment.text[accepted.text];
        if !is_plain {
            self.deliver(index, (text, accepted.follows), now);
        } else if self.deliver_plain((index, service), (text, accepted.is_unseen), now) {
            return;
        }
        self.core.enter_time_wait(index, arrival, now);
        self.settle(index, now);
    }

    fn on_half_open(&mut self, index: u32, arrival: &Arrival<'_>, now: Instant) {
        let Some(entry) = self.core.half_open.get(index) else { return };
        let (verdict, listener) =
            (entry.record.on_segment(&arrival.segment), entry.record.listener);
        if verdict == HalfOpenVerdict::Acknowledge
            && self.core.answers_cookie(arrival, listener, now)
        {
            // The XDP program answered another SYN of the same name: the peer has proved to be there.
            let completion = self.core.take_cookie(arrival, listener, now);
            return self.on_completion(completion, arrival, now);
        }
        let Some(entry) = self.core.half_open.get_mut(index) else { return };
        let (record, mac) = (&mut entry.record, entry.mac);
        match verdict {
            HalfOpenVerdict::Drop => {}
            HalfOpenVerdict::Acknowledge if record.may_answer(now) => {
                let bare = record.ack(now);
                self.core.counters.count(Counter::ChallengeAcks);
                self.core.reply_bare(mac, arrival.tuple, bare);
            }
            HalfOpenVerdict::Repeat if record.may_answer(now) => {
                // As on Linux the timer begins anew with the SYN-ACK that it would have sent.
                record.on_repeated_syn(&arrival.segment);
                let timeout = record.timeout();
                self.core.repeat_syn_ack(index, now);
                self.core.put_off_half_open(index, timeout, now);
            }
            HalfOpenVerdict::Acknowledge | HalfOpenVerdict::Repeat => {
                self.core.counters.count(Counter::ChallengeAcksLimited);
            }
            HalfOpenVerdict::Refuse => {
                // It may answer a cookie that was sent before there was room for this entry.
                let completion = self.core.take_cookie(arrival, listener, now);
                self.on_completion(completion, arrival, now);
            }
            HalfOpenVerdict::Remove => {
                if arrival.segment.has(Flags::RST) {
                    self.core.counters.count(Counter::ResetsIn);
                }
                self.core.counters.count(Counter::FailedOpens);
                self.core.remove_half_open(index);
            }
            HalfOpenVerdict::Open => self.on_handshake_done(index, arrival, now),
        }
    }

    /// The acknowledgment that completes a handshake, unless the listener waits for data and it
    /// brings none.
    fn on_handshake_done(&mut self, index: u32, arrival: &Arrival<'_>, now: Instant) {
        if self.core.is_deferred(index, &arrival.segment) {
            return self.core.counters.count(Counter::AcceptsDeferred);
        }
        let completion = self.core.complete(index, arrival.hash, now);
        self.on_completion(completion, arrival, now);
    }

    fn on_completion(&mut self, completion: Completion, arrival: &Arrival<'_>, now: Instant) {
        match completion {
            Completion::Open(index) => self.on_connection(index, arrival, now),
            Completion::Refuse => {
                self.core.refuse(arrival.mac, arrival.tuple, &arrival.segment, now);
            }
            Completion::Drop => {}
        }
    }

    fn on_time_wait(&mut self, index: u32, arrival: &Arrival<'_>, now: Instant) {
        let whole = self.core.config.tcp.time_wait;
        let Some(record) = self.core.time_waits.get(index) else { return };
        let verdict = record.on_segment(&arrival.segment, record.age(whole, now));
        match verdict {
            TimeWaitVerdict::Drop => {}
            TimeWaitVerdict::Reuse { above } => {
                if let Some(listener) = self.core.listener_for(arrival) {
                    self.core.reopen(index, arrival, (listener, above), now);
                }
            }
            TimeWaitVerdict::Restart => {
                self.core.time_waits.restart(index, now + whole);
                self.core.acknowledge_old(index, arrival, now);
            }
            TimeWaitVerdict::Acknowledge | TimeWaitVerdict::Stale => {
                if verdict == TimeWaitVerdict::Stale {
                    self.core.counters.count(Counter::PawsDropped);
                }
                if self.core.time_waits.may_answer(index, now) {
                    self.core.acknowledge_old(index, arrival, now);
                } else {
                    self.core.counters.count(Counter::ChallengeAcksLimited);
                }
            }
        }
    }

    /// A segment that matches no connection: LISTEN or CLOSED.
    fn on_no_connection(&mut self, arrival: &Arrival<'_>, now: Instant) {
        let tuple = arrival.tuple;
        let Some(listener) = self.core.listeners.find(tuple.local, tuple.local_port) else {
            // CM-10.c: also what a client says whose half-open entry is gone.
            return self.core.refuse(arrival.mac, tuple, &arrival.segment, now);
        };
        match on_listen(&arrival.segment) {
            ListenVerdict::Drop => self.core.counters.count(Counter::DropNoSocket),
            ListenVerdict::Refuse => {
                let completion = self.core.take_cookie(arrival, listener, now);
                self.on_completion(completion, arrival, now);
            }
            ListenVerdict::Open if self.core.shutdown.is_some() => {
                self.core.counters.count(Counter::DropShutdown);
            }
            ListenVerdict::Open => self.core.on_syn(arrival, listener, now),
        }
    }
}

impl Core {
    /// Whether this acknowledgment opens nothing, because its listener waits for data first
    /// (Linux's TCP_DEFER_ACCEPT). FIN is as good as data.
    fn is_deferred(&mut self, index: u32, segment: &Segment<'_>) -> bool {
        let Some(entry) = self.half_open.get_mut(index) else { return false };
        let record = &mut entry.record;
        let listening = self.listeners.at(record.listener);
        let timeouts = listening.map_or(0, |listening| listening.deferred_timeouts);
        let is_deferred = record.timeouts < timeouts && segment.len() == 0;
        record.is_acknowledged |= is_deferred;
        is_deferred
    }

    /// A new connection takes the name of one in TIME-WAIT (RFC 6191). As on Linux neither the SYN
    /// queue nor a cookie stands between: the peer has proved to be one.
    fn reopen(
        &mut self,
        index: u32,
        arrival: &Arrival<'_>,
        (listener, above): (u16, SeqNum),
        now: Instant,
    ) {
        let is_overflowing =
            self.listeners.at(listener).is_none_or(Listening::is_accept_queue_full);
        if is_overflowing {
            return self.counters.count(Counter::AcceptQueueFull);
        }
        if self.half_open.is_full() {
            return self.counters.count(Counter::HalfOpenFull);
        }
        self.end_time_wait(index);
        self.counters.count(Counter::TimeWaitReuses);
        self.open_passive(arrival, (listener, Some(above)), now);
    }

    /// Forgets a TIME-WAIT record before its time.
    pub(super) fn end_time_wait(&mut self, index: u32) {
        if let Some(record) = self.time_waits.remove(index) {
            let hash = self.hasher.hash(&record.tuple);
            self.flows.remove(hash, FlowRef::new(FlowKind::TimeWait, index));
        }
    }

    fn acknowledge_old(&mut self, index: u32, arrival: &Arrival<'_>, now: Instant) {
        let offset = self.stamp_offset(arrival.hash);
        let Some(record) = self.time_waits.get(index) else { return };
        let bare = record.ack(offset, now);
        self.reply_bare(arrival.mac, arrival.tuple, bare);
    }

    /// The listener that a SYN reaches, unless the shard is shutting down.
    fn listener_for(&self, arrival: &Arrival<'_>) -> Option<u16> {
        let is_syn = arrival.segment.has(Flags::SYN) && !arrival.segment.has(Flags::ACK);
        if self.shutdown.is_some() || !is_syn {
            return None;
        }
        let (local, port) = (arrival.tuple.local, arrival.tuple.local_port);
        self.listeners.find(local, port)
    }

    /// A connection that reached TIME-WAIT becomes a record; its unread text stays with its
    /// service.
    fn enter_time_wait(&mut self, index: u32, arrival: &Arrival<'_>, now: Instant) {
        let whole = self.config.tcp.time_wait;
        let Some(conn) = self.conns.get_mut(index) else { return };
        if conn.tcb.state() != State::TimeWait || conn.marks.has(Mark::Detached) {
            return;
        }
        conn.marks.set(Mark::Detached, true);
        conn.tcb.stop_timers();
        let is_owed = conn.tcb.owes_ack();
        // RFC 9293 3.6.1 (MUST-13), CM-6.b.
        let record = TimeWait::of(&conn.tcb, whole, now);
        let bare = record.ack(conn.tcb.stamp_offset(), now);
        let old = FlowRef::new(FlowKind::Tcb, index);
        // From CLOSING: the FIN may have come earlier in this batch and not be acknowledged yet.
        if arrival.segment.has(Flags::FIN) || is_owed {
            self.reply_bare(arrival.mac, arrival.tuple, bare);
        }
        match self.time_waits.insert(record) {
            Some(at) => {
                self.flows.replace(arrival.hash, old, FlowRef::new(FlowKind::TimeWait, at));
                self.arm_time_wait();
            }
            // CM-6.g: the table's bound.
            None => {
                self.flows.remove(arrival.hash, old);
                // CM-6.g: it ends at once.
                self.counters.count(Counter::TimeWaitOverflow);
            }
        }
    }
}
