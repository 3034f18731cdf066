//! What is due: connections, half-open entries, TIME-WAIT, next hops, the end of a shutdown.

use super::Shard;
use super::inner::{Core, Shutdown, TimerKey};
use crate::counters::Counter;
use crate::tables::flow::{FlowKind, FlowRef};
use crate::tcp::HalfOpenTimeout;
use crate::time::Instant;

impl Shard {
    /// Runs timers that are due, at most a bounded number of them.
    pub fn on_timers(&mut self, now: Instant) {
        if self.core.shutdown.is_some_and(|shutdown| shutdown.is_due(now)) {
            self.core.shutdown = Some(Shutdown::Over);
            self.abort_all(now);
        }
        self.core.publish_due(now);
        let mut fired = [(0, 0); BUDGET];
        let mut count = 0;
        self.core.wheel.expire(now, BUDGET, &mut |key, generation| {
            fired[count] = (key, generation);
            count += 1;
        });
        let fired = &fired[..count];
        // Many lie far apart: loaded here, they are not waited for one after the other.
        for (key, _) in fired {
            if let TimerKey::Flow(flow) = TimerKey::unpack(*key)
                && flow.kind() == FlowKind::Tcb
            {
                self.core.alarms.touch(flow.index());
            }
        }
        for (key, generation) in fired {
            match TimerKey::unpack(*key) {
                TimerKey::Neighbour(hop) => self.on_neighbour_timer(hop, *generation, now),
                TimerKey::Flow(flow) => match flow.kind() {
                    FlowKind::Tcb => self.on_connection_timer(flow.index(), *generation, now),
                    FlowKind::HalfOpen => {
                        self.core.on_half_open_timer(flow.index(), *generation, now);
                    }
                    FlowKind::TimeWait => self.core.on_time_wait_timer(now),
                },
            }
        }
        // What has just gone may open a gate.
        self.core.tend_front(now);
    }

    /// A lower bound of when `on_timers` has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let wheel = self.core.wheel.next_deadline().unwrap_or(Instant::NEVER);
        let publish = self.core.publisher.next_deadline().unwrap_or(Instant::NEVER);
        let first = wheel.min(publish);
        // Asked for in each turn.
        if self.core.shutdown.is_some() || self.core.front.is_some() {
            return self.earlier_deadline(first);
        }
        (first != Instant::NEVER).then_some(first)
    }

    /// When the shutdown or the gates have something to do, where that is before `first`.
    #[inline(never)]
    fn earlier_deadline(&self, mut first: Instant) -> Option<Instant> {
        first = first.min(self.core.front_due().unwrap_or(Instant::NEVER));
        if let Some(Shutdown::Until(deadline)) = self.core.shutdown
            && !self.core.conns.is_empty()
        {
            first = first.min(deadline);
        }
        (first != Instant::NEVER).then_some(first)
    }

    fn on_connection_timer(&mut self, index: u32, generation: u32, now: Instant) {
        if !self.core.heed(index, generation) {
            return;
        }
        let Some((conn, mut env)) = self.core.conn_env(index) else { return };
        if conn.tcb.next_deadline(now) <= now {
            conn.tcb.on_timer(&mut env, now);
            self.settle(index, now);
        } else {
            self.core.arm(index, now);
        }
    }

    /// Takes new connections no longer, closes all with FIN, and resets the rest at `deadline`.
    pub(super) fn shut_down(&mut self, deadline: Instant, now: Instant) {
        self.core.shutdown = Some(Shutdown::Until(deadline));
        self.refuse_all_queued(now);
        for index in self.indexes() {
            if let Some((conn, mut env)) = self.core.conn_env(index) {
                conn.tcb.shutdown_write(&mut env);
            }
            self.settle(index, now);
        }
        self.core.forget_half_open(|_| true);
    }

    fn abort_all(&mut self, now: Instant) {
        // Once: a RST may have to wait for its next hop, which has a time of its own.
        for index in self.indexes() {
            if let Some((conn, mut env)) = self.core.conn_env(index) {
                conn.tcb.abort(&mut env);
            }
            self.settle(index, now);
        }
    }

    fn indexes(&self) -> Vec<u32> {
        self.core.conns.iter().map(|(id, _)| id.index).collect()
    }
}

impl Core {
    fn on_half_open_timer(&mut self, index: u32, generation: u32, now: Instant) {
        let retries = self.config.tcp.syn_ack_retries;
        if !self.heed_half_open(index, generation) {
            return;
        }
        let Some(entry) = self.half_open.get_mut(index) else { return };
        if entry.due > now {
            return self.arm_half_open(index);
        }
        let listening = self.listeners.at(entry.record.listener);
        let deferred = listening.map_or(0, |listening| listening.deferred_timeouts);
        match entry.record.on_timeout(retries, deferred) {
            HalfOpenTimeout::Expire => {
                self.counters.count(Counter::FailedOpens);
                self.remove_half_open(index);
            }
            HalfOpenTimeout::Wait(after) => self.put_off_half_open(index, after, now),
            HalfOpenTimeout::Repeat(after) => {
                self.put_off_half_open(index, after, now);
                self.repeat_syn_ack(index, now);
            }
        }
    }

    /// One wheel entry stands for the head of the TIME-WAIT queue.
    pub(super) fn arm_time_wait(&mut self) {
        if self.is_time_wait_armed {
            return;
        }
        if let Some(deadline) = self.time_waits.next_deadline() {
            self.is_time_wait_armed = true;
            self.arm_new(TimerKey::Flow(FlowRef::new(FlowKind::TimeWait, 0)), deadline);
        }
    }

    fn on_time_wait_timer(&mut self, now: Instant) {
        self.is_time_wait_armed = false;
        for _ in 0..BUDGET {
            let Some((index, record)) = self.time_waits.expire(now) else { break };
            let hash = self.hasher.hash(&record.tuple);
            self.flows.remove(hash, FlowRef::new(FlowKind::TimeWait, index));
        }
        self.arm_time_wait();
    }
}

/// The most timers of one turn.
const BUDGET: usize = 256;
