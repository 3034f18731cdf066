//! Seventh: the segment text (RFC 9293, 3.10.7.4).

use crate::tcp::deadline::Deadline;
use core::ops::Range;

use crate::counters::Counter;
use crate::tcp::own::Switch;
use crate::tcp::pool::Chain;
use crate::tcp::reassembly::Insert;
use crate::tcp::tcb::{Ack, stamp_clock};
use crate::tcp::{Env, Segment, Tcb};
use crate::time::Instant;
use crate::wire::tcp::Flags;

impl Tcb {
    /// Returns the range of the text that is next in order, and what reassembly adds behind it.
    pub(super) fn accept_text(
        &mut self,
        segment: &Segment<'_>,
        env: &mut Env<'_>,
        now: Instant,
    ) -> (Range<usize>, Chain) {
        let nothing = (0..0, Chain::default());
        if segment.text.is_empty() {
            return nothing;
        }
        // CM-1.g: half-closed, we still read.
        if !self.state().is_receiving() {
            // After the peer's FIN there is no text: it is acknowledged, not taken.
            self.owe_extra_ack();
            return nothing;
        }
        let window = self.within_window(segment);
        if window.is_empty() {
            self.owe_extra_ack();
            return nothing;
        }
        if !env.pool.has_room_to_receive() {
            env.counters.count(Counter::PoolExhausted);
            self.owe_extra_ack();
            return nothing;
        }
        // RFC 9293 3.10.7.4 (SHLD-31, MAY-13): kept, and acknowledged at once.
        if segment.seq.is_after(self.rcv.nxt) {
            self.keep_early(segment, window, env);
            return nothing;
        }
        self.note_overlap(segment, &window, env);
        let mut follows = self.advance(&window, env);
        self.owe_ack_of_text(&window, !follows.is_empty(), (env, now));
        self.grow_window(window.len() + follows.len(), env, now);
        if self.switches.has(Switch::Deaf) {
            follows.clear(env.pool);
            return nothing;
        }
        (window, follows)
    }

    /// The part of the text that is new and inside the window.
    fn within_window(&self, segment: &Segment<'_>) -> Range<usize> {
        let old = self.rcv.nxt.since(segment.seq) as usize;
        let end = self.rcv.edge.since(segment.seq) as usize;
        let end = end.min(segment.text.len());
        old.min(end)..end
    }

    fn keep_early(&mut self, segment: &Segment<'_>, window: Range<usize>, env: &mut Env<'_>) {
        // RFC 5681 4.2: at once, so that the sender learns of the gap.
        self.owe_extra_ack();
        if segment.has(Flags::FIN) && window.end == segment.text.len() {
            self.set_peer_fin(segment.end() - 1);
        }
        let (start, end) = (segment.seq, segment.seq + window.end as u32);
        if let Some((left, right)) = self.rcv.early.overlap(start, end) {
            self.note_duplicate(left, right, env);
        }
        if !env.pool.has_room_for_early() {
            return env.counters.count(Counter::OutOfOrderDropped);
        }
        match self.rcv.early.insert(env.pool, segment.seq, &segment.text[window]) {
            Insert::Kept => env.counters.count(Counter::OutOfOrderIn),
            Insert::NoRoom => env.counters.count(Counter::OutOfOrderDropped),
        }
    }

    /// RFC 2883 4.2: text that came before, in order or early, is reported once more.
    fn note_overlap(&mut self, segment: &Segment<'_>, text: &Range<usize>, env: &mut Env<'_>) {
        let nxt = self.rcv.nxt;
        if segment.seq.is_before(nxt) {
            self.note_duplicate(segment.seq, nxt, env);
        } else if !self.rcv.early.is_empty()
            && let Some((left, right)) = self.rcv.early.overlap(nxt, nxt + text.len() as u32)
        {
            self.note_duplicate(left, right, env);
        }
    }

    /// RCV.NXT moves over the text and over what reassembly has behind it.
    fn advance(&mut self, text: &Range<usize>, env: &mut Env<'_>) -> Chain {
        self.forget_mark();
        self.rcv.advance(text.len() as u32);
        let mut follows = Chain::default();
        if !self.rcv.early.is_empty() {
            follows = self.rcv.early.take_from(env.pool, self.rcv.nxt);
            self.rcv.advance(follows.len() as u32);
        }
        env.counters.add(Counter::DataBytesIn, (text.len() + follows.len()) as u64);
        follows
    }

    /// RFC 9293 3.8.6.3 (MUST-58, MUST-59, SHLD-18, SHLD-19): every second full-sized segment at
    /// the latest, at once while a gap is open or was just filled, and at once at the start, where
    /// the peer's window opens with each acknowledgment.
    #[inline(always)]
    pub(super) fn owe_ack_of_text(
        &mut self,
        text: &Range<usize>,
        filled: bool,
        (env, now): (&Env<'_>, Instant),
    ) {
        self.rcv.text_at = stamp_clock(now);
        // Few are longer than all before: a comparison is all that the others cost.
        if text.len() > usize::from(self.rcv.full) {
            self.rcv.full = text.len().min(usize::from(u16::MAX)) as u16;
        }
        let waiting = self.rcv.nxt.since(self.rcv.acked);
        let is_due = waiting > u32::from(self.rcv.full) || env.config.delayed_ack.is_zero();
        if is_due || filled || !self.rcv.early.is_empty() {
            self.owed.ack = Ack::Now;
        } else if self.rcv.quick > 0 {
            self.rcv.quick -= 1;
            self.owed.ack = Ack::Now;
        } else if self.owed.ack == Ack::None {
            self.owed.ack = Ack::Delayed;
            self.timers.delayed_ack = Deadline::after(env.config.delayed_ack, now);
        }
    }

    /// The window grows to four times what arrives in a round trip and is consumed, so that it never is what
    /// limits a peer whose data is: in slow start that is twice what comes until the next look.
    #[inline(always)]
    pub(super) fn grow_window(&mut self, received: usize, env: &Env<'_>, now: Instant) {
        self.rcv.measured = self.rcv.measured.saturating_add(received as u32);
        let round = self.rtt.smoothed_micros().unwrap_or(DEFAULT_ROUND);
        if self.rcv.measured_at.age(now) < round {
            return;
        }
        // What nobody reads takes no more memory than the first window.
        let consumed = self.rcv.measured.saturating_sub(self.rcv.unread.len() as u32);
        let wanted = consumed.saturating_mul(4);
        let is_fixed = self.switches.has(Switch::FixedWindow);
        if wanted > self.rcv.limit && !is_fixed && !env.pool.is_under_pressure() {
            self.rcv.limit = wanted.min(env.config.max_receive_window);
        }
        self.rcv.measured = 0;
        self.rcv.measured_at = now.into();
    }
}

/// Where no round trip was measured yet, in microseconds.
const DEFAULT_ROUND: u32 = 10_000;
