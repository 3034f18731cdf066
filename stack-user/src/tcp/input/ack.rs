//! Fifth: the ACK field (RFC 9293, 3.10.7.4; RFC 5961, section 5; RFC 5681).

use super::Step;
use crate::counters::Counter;
use crate::tcp::deadline::Deadline;
use crate::tcp::own::More;
use crate::tcp::recovery::Report;
use crate::tcp::tcb::{Fin, stamp_clock};
use crate::tcp::{Cause, CloseReason, Env, Segment, SeqNum, State, Tcb};
use crate::time::Instant;
use crate::wire::tcp::{Flags, Timestamps};

impl Tcb {
    pub(super) fn check_ack(
        &mut self,
        segment: &Segment<'_>,
        env: &mut Env<'_>,
        now: Instant,
    ) -> Step {
        if !segment.has(Flags::ACK) {
            return Step::Drop;
        }
        if self.state() == State::SynReceived {
            if !segment.ack.is_after(self.snd.una) || segment.ack.is_after(self.snd.nxt) {
                return Step::Refuse;
            }
            self.snd.wnd = self.scaled(segment.window);
            self.snd.max_wnd = self.snd.wnd;
            (self.snd.wl1, self.snd.wl2) = (segment.seq, segment.ack);
            self.on_handshake_done(segment, env, now);
            return Step::Continue;
        }
        // RFC 9293 3.10.7.4 (MAY-12), CM-7.c, CM-7.f, CM-7.h.
        // RFC 5961 5.2: SND.UNA - MAX.SND.WND =< SEG.ACK =< SND.NXT, else a challenge.
        let is_old = segment.ack.is_before(self.snd.una - self.snd.max_wnd);
        if is_old || segment.ack.is_after(self.snd.nxt) {
            self.owe_challenge(env, now);
            return Step::Drop;
        }
        let fields = (segment.seq, segment.ack, segment.window);
        let old_window = self.note_acknowledgment(fields, env, now);
        self.on_acknowledgment(segment, (old_window, env), now);
        self.after_ack(env, now)
    }

    /// The peer lives, and offers a window; returns the one before. Of the segment it takes SEG.SEQ,
    /// SEG.ACK and SEG.WND.
    #[inline(always)]
    pub(super) fn note_acknowledgment(
        &mut self,
        fields: (SeqNum, SeqNum, u16),
        env: &Env<'_>,
        now: Instant,
    ) -> u32 {
        self.on_heard(env.config, now);
        let old_window = self.snd.wnd;
        self.ack_at = stamp_clock(now);
        if self.more() == More::Held {
            self.set_more(More::Announced);
        }
        self.update_window(fields);
        old_window
    }

    fn scaled(&self, window: u16) -> u32 {
        u32::from(window) << self.snd.scale
    }

    /// SND.WND follows the newest segment only. An older acknowledgment must not change it. What
    /// acknowledges more is newer, whatever its number, as on Linux: text that came early has a larger
    /// one, and its window may not be taken from the SND.UNA of later segments.
    #[inline(always)]
    pub(super) fn update_window(&mut self, (seq, ack, window): (SeqNum, SeqNum, u16)) {
        let is_newer = ack.is_after(self.snd.una)
            || self.snd.wl1.is_before(seq)
            || (self.snd.wl1 == seq && !ack.is_before(self.snd.wl2));
        if ack.is_before(self.snd.una) || !is_newer {
            return;
        }
        // RFC 9293 3.8.6 (MUST-34, MUST-35): it may shrink, below what is out and to zero.
        self.snd.wnd = self.scaled(window);
        if self.snd.wnd > self.snd.max_wnd {
            self.snd.max_wnd = self.snd.wnd;
        }
        (self.snd.wl1, self.snd.wl2) = (seq, ack);
    }

    /// As [`Tcb::on_acknowledgment`], for a predicted segment that acknowledges something new: there is
    /// no SACK block, and nothing is known to be missing.
    #[inline]
    pub(super) fn on_progress_alone(
        &mut self,
        ack: SeqNum,
        stamps: Option<Timestamps>,
        env: &mut Env<'_>,
        now: Instant,
    ) {
        self.advance_una(ack, env);
        let mut report = Report { is_progress: true, ..Report::default() };
        self.take_acknowledged(ack, &mut report, env, now);
        self.on_una_moved(stamps, &report, env, now);
        self.on_report(&mut report, env, now);
        self.delivered = self.delivered.wrapping_add(report.delivered);
        self.tell_of_room(env);
    }

    /// What the acknowledgment says of the flight. One that is older than another may still bring
    /// SACK blocks that no other has.
    pub(super) fn on_acknowledgment(
        &mut self,
        segment: &Segment<'_>,
        (old_window, env): (u32, &mut Env<'_>),
        now: Instant,
    ) {
        let mut report = Report::default();
        if segment.ack.is_after(self.snd.una) {
            self.advance_una(segment.ack, env);
            report.is_progress = true;
        } else if segment.ack == self.snd.una {
            report.is_duplicate = self.is_duplicate(segment, (old_window, env), now);
        }
        self.take_sack(segment, &mut report, env, now);
        if report.is_progress {
            self.take_acknowledged(self.snd.una, &mut report, env, now);
            self.on_una_moved(segment.options.timestamps, &report, env, now);
        }
        self.on_report(&mut report, env, now);
        self.delivered = self.delivered.wrapping_add(report.delivered);
        if report.is_progress {
            self.tell_of_room(env);
        }
    }

    #[inline(always)]
    fn advance_una(&mut self, ack: SeqNum, env: &mut Env<'_>) {
        let acked = ack.since(self.snd.una);
        let text = acked.min(self.snd.buffer.len() as u32);
        self.snd.buffer.consume(env.pool, text as usize);
        if text < acked {
            self.snd.fin = Fin::Acknowledged;
        }
        self.rare.wraps += u16::from(ack.0 < self.snd.una.0);
        self.snd.una = ack;
        // It stays near, or after two gibibytes it would seem to lie ahead.
        self.rare.short = self.rare.short.max(ack);
        self.on_progress();
        self.note_proven(text);
        self.forget_urgent();
    }

    /// SND.UNA moved: the round trip, and the retransmission timer (RFC 6298, 5.2 and 5.3).
    #[inline(always)]
    fn on_una_moved(
        &mut self,
        stamps: Option<Timestamps>,
        report: &Report,
        env: &mut Env<'_>,
        now: Instant,
    ) {
        self.rtt.on_answer();
        self.time_round_trip(stamps, &report.timing, now);
        self.timers.retransmit = if self.flight.is_empty() {
            Deadline::NEVER
        } else if self.is_renege_suspected(env) {
            Deadline::after(self.renege_grace(), now)
        } else {
            Deadline::after_micros(self.rtt.timeout_micros(), now)
        };
    }

    /// The acknowledgment repeats the last one. Whether it is a duplicate in the sense of RFC 5681,
    /// section 2, rather than a window update or the answer to a probe.
    fn is_duplicate(
        &mut self,
        segment: &Segment<'_>,
        (old_window, env): (u32, &mut Env<'_>),
        now: Instant,
    ) -> bool {
        if self.snd.wnd == 0 || (old_window == 0 && self.flight.is_empty()) {
            // RFC 9293 3.8.6.1 (MUST-37): a peer that answers probes stays connected.
            self.on_probe_answered(now);
        }
        let is_duplicate =
            !self.flight.is_empty() && segment.len() == 0 && self.snd.wnd == old_window;
        if is_duplicate {
            env.counters.count(Counter::DuplicateAcksIn);
        }
        is_duplicate
    }

    fn on_probe_answered(&mut self, now: Instant) {
        if self.snd.wnd > 0 {
            self.rtt.on_window_opened();
            self.on_progress();
            self.timers.retransmit = Deadline::NEVER;
            return;
        }
        self.rtt.on_answer();
        if !self.timers.retransmit.is_armed() && self.has_unsent() {
            self.timers.retransmit = Deadline::after_micros(self.rtt.timeout_micros(), now);
        }
    }

    /// What the acknowledgment of our FIN means in each state.
    fn after_ack(&mut self, env: &mut Env<'_>, now: Instant) -> Step {
        if self.snd.fin != Fin::Acknowledged {
            return Step::Continue;
        }
        match self.state() {
            State::FinWait1 => {
                self.enter(State::FinWait2, Cause::Ack, env);
                // A user that still reads may do so for as long as the peer sends.
                if self.is_orphan() {
                    self.timers.idle = Deadline::after(self.fin_wait_2(env.config), now);
                    self.release_lingering(env.config);
                }
            }
            State::Closing => {
                self.release_lingering(env.config);
                self.enter(State::TimeWait, Cause::Ack, env);
                return Step::Drop;
            }
            State::LastAck => {
                self.close_with(CloseReason::Closed, Cause::Ack, env);
                return Step::Drop;
            }
            _ => {}
        }
        Step::Continue
    }
}
