//! Fifth: the ACK field (RFC 9293, 3.10.7.4; RFC 5961, section 5; RFC 5681).

use super::Step;
use crate::counters::Counter;
use crate::tcp::congestion::Reaction;
use crate::tcp::tcb::Fin;
use crate::tcp::{Cause, CloseReason, Env, Segment, State, Tcb};
use crate::time::Instant;
use crate::wire::tcp::Flags;

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
            if !segment.ack.is_after(self.snd.una) || segment.ack.is_after(self.snd.max) {
                return Step::Refuse;
            }
            self.snd.wnd = self.scaled(segment.window);
            self.snd.max_wnd = self.snd.wnd;
            (self.snd.wl1, self.snd.wl2) = (segment.seq, segment.ack);
            self.on_handshake_done(segment.ack, env, now);
            return Step::Continue;
        }
        // RFC 5961 5.2: SND.UNA - MAX.SND.WND =< SEG.ACK =< SND.NXT, else a challenge.
        let is_old = segment.ack.is_before(self.snd.una - self.snd.max_wnd);
        if is_old || segment.ack.is_after(self.snd.max) {
            self.owe_challenge(env, now);
            return Step::Drop;
        }
        self.on_heard(env.config, now);
        let old_window = self.snd.wnd;
        self.update_window(segment);
        if segment.ack.is_after(self.snd.una) {
            self.on_acknowledged(segment, env, now);
        } else if segment.ack == self.snd.una {
            self.on_nothing_acknowledged(segment, (old_window, env), now);
        }
        self.after_ack(env, now)
    }

    fn scaled(&self, window: u16) -> u32 {
        u32::from(window) << self.snd.scale
    }

    /// SND.WND follows the newest segment only. An older acknowledgment must not change it.
    fn update_window(&mut self, segment: &Segment<'_>) {
        let is_newer = self.snd.wl1.is_before(segment.seq)
            || (self.snd.wl1 == segment.seq && !segment.ack.is_before(self.snd.wl2));
        if segment.ack.is_before(self.snd.una) || !is_newer {
            return;
        }
        self.snd.wnd = self.scaled(segment.window);
        self.snd.max_wnd = self.snd.max_wnd.max(self.snd.wnd);
        (self.snd.wl1, self.snd.wl2) = (segment.seq, segment.ack);
    }

    fn on_acknowledged(&mut self, segment: &Segment<'_>, env: &mut Env<'_>, now: Instant) {
        let acked = segment.ack.since(self.snd.una);
        let was_limited = self.snd.max.since(self.snd.una) + self.max_text() >= self.cc.window();
        let text = acked.min(self.snd.buffer.len() as u32);
        self.snd.buffer.consume(env.pool, text as usize);
        if text < acked {
            self.snd.fin = Fin::Acknowledged;
        }
        self.snd.una = segment.ack;
        self.snd.nxt = self.snd.nxt.max(self.snd.una);
        self.snd.is_probing = false;
        self.on_progress();
        self.note_proven(text);
        self.forget_urgent();
        self.rtt.on_acknowledged(self.snd.una, now);
        let flight = self.snd.max.since(self.snd.una);
        let reaction = self.cc.on_ack(self.snd.una, (acked, flight), was_limited);
        self.owed.retransmit = reaction != Reaction::None && flight > 0;
        // RFC 6298 5.2 and 5.3.
        let is_out = flight > 0;
        self.timers.retransmit = if is_out { now + self.rtt.timeout() } else { Instant::NEVER };
        let room = self.send_room(env.pool, env.config) as u32;
        if self.snd.is_starved && room >= self.send_limit(env.pool, env.config) / 3 {
            self.snd.is_starved = false;
            self.events.writable = true;
        }
    }

    /// The acknowledgment repeats the last one: a duplicate, a window update, or the answer to a
    /// probe.
    fn on_nothing_acknowledged(
        &mut self,
        segment: &Segment<'_>,
        (old_window, env): (u32, &mut Env<'_>),
        now: Instant,
    ) {
        if self.snd.wnd == 0 || self.snd.is_probing {
            // RFC 9293 3.8.6.1 (MUST-37): a peer that answers probes stays connected.
            self.on_probe_answered(now);
            return;
        }
        let is_duplicate =
            self.snd.max != self.snd.una && segment.len() == 0 && self.snd.wnd == old_window;
        if !is_duplicate {
            return;
        }
        env.counters.count(Counter::DuplicateAcksIn);
        let flight = self.snd.max.since(self.snd.una);
        if self.cc.on_duplicate_ack(flight, self.snd.max) == Reaction::FastRetransmit {
            env.counters.count(Counter::FastRetransmits);
            self.owed.retransmit = true;
        }
    }

    fn on_probe_answered(&mut self, now: Instant) {
        if self.snd.wnd > 0 {
            // The window opened and the probe's octet was not taken: everything goes from UNA.
            self.rtt.on_answer();
            self.on_progress();
            self.snd.nxt = self.snd.una;
            self.snd.is_probing = false;
            self.timers.retransmit = Instant::NEVER;
        } else {
            self.rtt.on_probe_answer();
            if self.timers.retransmit == Instant::NEVER && self.has_unsent() {
                self.timers.retransmit = now + self.rtt.timeout();
            }
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
                    self.timers.idle = now + self.fin_wait_2(env.config);
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
