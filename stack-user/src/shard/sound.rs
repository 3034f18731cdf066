//! What holds of a whole shard between any two turns, for the tests that try everything.
//!
//! Changes nothing, and nothing but tests and fuzzing calls it.

use super::Shard;
use super::inner::{Conn, Core, Mark};
use super::replies::Body;
use crate::tables::flow::{FlowKind, FlowRef};
use crate::tcp::{Outlet, State};
use crate::time::Instant;
use crate::wire::FourTuple;

impl Shard {
    /// Asserts that tables, queues, counts, pool and wheel agree with each other. For the time after
    /// [`Shard::drain`] had frames for everything.
    ///
    /// # Panics
    /// When they do not.
    #[doc(hidden)]
    pub fn assert_sound(&self, now: Instant) {
        self.core.assert_flows();
        self.core.assert_connections(now);
        self.core.assert_queues();
    }

    /// Entries of the timer wheel, those that nobody wants any more included.
    #[doc(hidden)]
    pub fn timers(&self) -> usize {
        self.core.wheel.len()
    }
}

impl Core {
    /// Each record is in the flow table once, and nothing else is.
    fn assert_flows(&self) {
        let attached = || self.conns.iter().filter(|(_, conn)| !conn.marks.has(Mark::Detached));
        for (id, conn) in attached() {
            self.assert_found(conn.tcb.tuple(), FlowRef::new(FlowKind::Tcb, id.index));
        }
        for (id, entry) in self.half_open.iter() {
            self.assert_found(&entry.record.tuple, FlowRef::new(FlowKind::HalfOpen, id.index));
        }
        let records = self.half_open.len() + self.time_waits.len();
        assert_eq!(self.flows.len(), attached().count() + records, "entries of the flow table");
    }

    fn assert_found(&self, tuple: &FourTuple, flow: FlowRef) {
        assert_eq!(self.find(self.hasher.hash(tuple), tuple), Some(flow), "{tuple:?}");
    }

    fn assert_connections(&self, now: Instant) {
        let mut census = [0; State::ALL.len()];
        let (mut sending, mut receiving) = (0, 0);
        for (id, conn) in self.conns.iter() {
            let is_waiting = conn.marks.has(Mark::Dirty)
                || conn.marks.has(Mark::Waiting)
                || conn.marks.has(Mark::Detached);
            let outlet = match conn.next_hop {
                _ if is_waiting => Outlet::Waiting,
                Some(_) => Outlet::Open,
                None => Outlet::NoWay,
            };
            let held = conn.tcb.assert_sound(&self.pool, outlet);
            sending += held.sending;
            receiving += held.receiving;
            if !conn.marks.has(Mark::Detached) || conn.tcb.state() == State::TimeWait {
                census[conn.tcb.state() as usize] += 1;
            }
            let is_told = !conn.is_admitted() || !conn.tcb.has_events();
            assert!(is_told, "events were not told: {:?}", conn.tcb);
            self.assert_armed(id.index, conn, now);
            assert!(
                !conn.marks.has(Mark::Dirty) || self.dirty.contains(id.index),
                "dirty and not listed"
            );
            assert!(
                !conn.marks.has(Mark::AckAlone)
                    || (conn.marks.has(Mark::Dirty) && conn.is_plain() && conn.owes_ack_alone()),
                "an acknowledgment is not all that is owed: {:?}",
                conn.tcb
            );
        }
        for state in State::ALL.into_iter().filter(|state| *state != State::Closed) {
            assert_eq!(self.census.of(state), census[state as usize], "{}", state.name());
        }
        for reply in &self.replies {
            if let Body::Icmp { back, .. } = &reply.body {
                receiving += back.chunks(&self.pool);
            }
        }
        assert_eq!(self.pool.chunks(), (sending, receiving), "chunks of the pool");
    }

    /// The wheel looks at a connection no later than it wants.
    fn assert_armed(&self, index: u32, conn: &Conn, now: Instant) {
        let deadline = conn.tcb.next_deadline(now);
        let alarm = self.alarms.get(index);
        let next = self.wheel.due_of(alarm);
        let is_armed = next.is_some_and(|next| next <= self.wheel.round(deadline));
        let is_armed = conn.marks.has(Mark::Dirty) || deadline == Instant::NEVER || is_armed;
        assert!(is_armed, "nobody will look at it: {:?}", conn.tcb);
    }

    /// No queue holds more than it may, and the wheel little that nobody wants.
    fn assert_queues(&self) {
        assert!(self.replies.len() <= self.config.limits.replies);
        assert!(self.requests.len() <= self.config.limits.replies);
        assert!(self.dirty.len() <= 2 * self.config.limits.connections);
        assert!(self.starved.len() <= self.config.limits.connections);
        // A place has three at most, and rarely one that was forgotten.
        let places = self.conns.places() + self.half_open.places() + self.config.limits.neighbours;
        assert!(self.wheel.len() <= 16 + 4 * places, "{} timers for {places}", self.wheel.len());
    }
}
