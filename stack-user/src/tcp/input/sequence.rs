//! First: the sequence number, and PAWS before it (RFC 9293, 3.10.7.4; RFC 7323, section 5.3).

use super::Step;
use crate::counters::Counter;
use crate::tcp::own::Switch;
use crate::tcp::tcb::stamp_clock;
use crate::tcp::{Env, Segment, SeqNum, State, Tcb};
use crate::time::Instant;
use crate::wire::tcp::{Flags, Timestamps};

impl Tcb {
    /// In SYN-RECEIVED the peer's SYN may come again, with ACK when both opened at once (figure 7):
    /// it lies before the window, so its SYN is taken off before the checks.
    pub(super) fn strip_crossing_syn<'a>(&self, segment: &Segment<'a>) -> Option<Segment<'a>> {
        let is_crossing = self.state() == State::SynReceived
            && segment.has(Flags::SYN.union(Flags::ACK))
            && segment.seq == self.rare.irs;
        is_crossing.then(|| segment.after_syn())
    }

    pub(super) fn check_sequence(
        &mut self,
        segment: &Segment<'_>,
        env: &mut Env<'_>,
        now: Instant,
    ) -> Step {
        if self.switches.has(Switch::Stamps)
            && !segment.has(Flags::RST)
            && !self.passes_paws(segment, now)
        {
            env.counters.count(Counter::PawsDropped);
            self.owe_out_of_window_ack(segment, env, now);
            return Step::Drop;
        }
        if !self.is_acceptable(segment) {
            env.counters.count(Counter::OutOfWindow);
            if !segment.has(Flags::RST) {
                self.owe_out_of_window_ack(segment, env, now);
            }
            return Step::Drop;
        }
        self.update_recent((segment.seq, segment.options.timestamps), now);
        Step::Continue
    }

    /// RFC 7323 5.3 R1, and 5.5: a TS.Recent of 24 days is worth nothing. A segment without
    /// timestamps passes, as on Linux (RFC 7323, 3.2, would drop it).
    fn passes_paws(&self, segment: &Segment<'_>, now: Instant) -> bool {
        // CM-4.e, CM-4.f.
        let Some(stamps) = segment.options.timestamps else { return true };
        let is_older = (stamps.value.wrapping_sub(self.stamps.recent) as i32) < 0;
        let age = stamp_clock(now).wrapping_sub(self.stamps.recent_at);
        !is_older || age > PAWS_DAYS_24
    }

    /// RFC 7323 4.3: TS.Recent follows the segment that spans the last acknowledgment sent.
    #[inline]
    pub(super) fn update_recent(
        &mut self,
        (seq, stamps): (SeqNum, Option<Timestamps>),
        now: Instant,
    ) {
        if let Some(stamps) = stamps
            && self.switches.has(Switch::Stamps)
            && !seq.is_after(self.rcv.acked)
        {
            self.stamps.recent = stamps.value;
            self.stamps.recent_at = stamp_clock(now);
        }
    }

    /// The four cases of RFC 9293's table 6. A closed window still takes the number it waits for,
    /// so that ACK, URG and RST of a probe are seen (3.10.7.4: "special allowance"); its text is
    /// not.
    fn is_acceptable(&self, segment: &Segment<'_>) -> bool {
        let window = self.rcv.edge.since(self.rcv.nxt);
        if segment.seq == self.rcv.nxt {
            return true;
        }
        let len = segment.len();
        segment.seq.is_within(self.rcv.nxt, window)
            || (len > 0 && (segment.end() - 1).is_within(self.rcv.nxt, window))
    }

    /// An ACK for what lay outside the window, so that a peer that lost its place finds it again.
    /// Those without text are limited: two ends that disagree would answer each other for ever
    /// (RFC 5961, section 10), and so are SYNs, whatever their numbers (RFC 5961, section 4.2).
    fn owe_out_of_window_ack(&mut self, segment: &Segment<'_>, env: &mut Env<'_>, now: Instant) {
        if segment.len() > 0 && !segment.has(Flags::SYN) {
            let end = segment.end().min(self.rcv.nxt);
            self.note_duplicate(segment.seq, end, env);
            self.owe_extra_ack();
        } else {
            self.owe_challenge(env, now);
        }
    }
}

/// 24 days in milliseconds.
const PAWS_DAYS_24: u32 = 24 * 24 * 3600 * 1000;
