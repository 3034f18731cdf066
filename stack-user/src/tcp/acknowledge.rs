//! The bare acknowledgment with timestamps alone: the most frequent of all segments that are sent, in
//! one piece.
//!
//! `output` would write the same, octet for octet, after it has looked for everything else that a
//! segment can carry; a property test compares both.

use super::own::Switch;
use super::{Env, Tcb};
use crate::counters::{Counter, Counters};
use crate::time::Instant;
use crate::wire::tcp::{Flags, Header, Timestamps, emit_stamped};

impl Tcb {
    /// Whether what is owed is an acknowledgment that carries nothing but timestamps.
    #[inline(always)]
    pub fn owes_stamped_ack(&self) -> bool {
        self.owes_ack_alone()
            && self.switches.has(Switch::Stamps)
            && !self.switches.has(Switch::OwesTimeout)
            && self.is_bare()
            && self.rcv.duplicate.0 == self.rcv.duplicate.1
    }

    /// Writes it with its checksum; returns its length.
    #[inline]
    pub(super) fn write_ack(&mut self, out: &mut [u8], env: &mut Env<'_>, now: Instant) -> usize {
        // One of several is one of those that are each sent.
        self.owed.extra_acks = self.owed.extra_acks.saturating_sub(1);
        let (header, stamps) = self.take_ack_offering(self.window_room(), env.counters, now);
        emit_stamped(&header, stamps, (&self.tuple.local, &self.tuple.remote), out)
    }

    /// Its header and timestamps, for a caller who writes it with the headers before it and who has
    /// asked whether it is owed, and whether nothing is unread; it counts as sent.
    #[inline(always)]
    pub fn take_ack(&mut self, counters: &mut Counters, now: Instant) -> (Header, Timestamps) {
        debug_assert!(!self.has_unread(), "the window has not all of its room");
        self.take_ack_offering(self.rcv.limit, counters, now)
    }

    #[inline(always)]
    fn take_ack_offering(
        &mut self,
        room: u32,
        counters: &mut Counters,
        now: Instant,
    ) -> (Header, Timestamps) {
        let stamps = Timestamps { value: self.stamps.value(now), echo: self.stamps.recent };
        let window = self.offer_room(room);
        let header = Header {
            src_port: self.tuple.local_port,
            dst_port: self.tuple.remote_port,
            seq: self.acceptable_seq().0,
            ack: self.rcv.nxt.0,
            flags: Flags::ACK,
            window,
            checksum: 0,
            urgent: 0,
        };
        counters.count(Counter::SegmentsOut);
        self.on_acknowledged();
        (header, stamps)
    }
}
