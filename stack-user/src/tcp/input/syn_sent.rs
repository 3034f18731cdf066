//! SYN-SENT (RFC 9293, section 3.10.7.3).

use super::Accepted;
use crate::tcp::deadline::Deadline;
use crate::tcp::events::Note;
use crate::tcp::own::Switch;
use crate::tcp::tcb::{Ack, stamp_clock};
use crate::tcp::{Cause, CloseReason, Env, Offer, Segment, State, Tcb};
use crate::time::Instant;
use crate::wire::tcp::Flags;

impl Tcb {
    pub(super) fn on_syn_sent(
        &mut self,
        segment: &Segment<'_>,
        env: &mut Env<'_>,
        now: Instant,
    ) -> Accepted {
        // First: the ACK bit.
        let has_ack = segment.has(Flags::ACK);
        let is_acceptable =
            has_ack && segment.ack.is_after(self.snd.una) && !segment.ack.is_after(self.snd.nxt);
        if has_ack && !is_acceptable {
            return Accepted { is_refused: !segment.has(Flags::RST), ..Accepted::default() };
        }
        // Second: the RST bit. RFC 5961 3.2: only one that acknowledges our SYN counts.
        if segment.has(Flags::RST) {
            if is_acceptable {
                self.close_with(CloseReason::Refused, Cause::Reset, env);
            }
            return Accepted::default();
        }
        // Fourth: the SYN bit; fifth: without it the segment says nothing.
        if !segment.has(Flags::SYN) {
            return Accepted::default();
        }
        let offer = Offer::of(&segment.options).within(env.config);
        self.on_peer_syn(segment.seq, &offer.options(), now);
        self.snd.wnd = segment.window.into();
        self.snd.max_wnd = self.snd.wnd;
        self.snd.wl1 = segment.seq;
        if !has_ack {
            // RFC 9293 3.5 (MUST-10), CM-1.b, CM-1.j.
            // Both opened at once (RFC 9293, figure 7): our SYN goes again, with ACK.
            self.enter(State::SynReceived, Cause::Syn, env);
            self.switches.set(Switch::OwesSyn, true);
            return Accepted::default();
        }
        self.snd.wl2 = segment.ack;
        self.on_handshake_done(segment, env, now);
        // RFC 9293 3.10.7.3: the ACK goes out at once; it may carry text.
        self.owed.ack = Ack::Now;
        self.accept_contents(&segment.after_syn(), env, now)
    }

    /// Our SYN is acknowledged: ESTABLISHED.
    pub(super) fn on_handshake_done(
        &mut self,
        segment: &Segment<'_>,
        env: &mut Env<'_>,
        now: Instant,
    ) {
        self.snd.una = segment.ack;
        if self.switches.take(Switch::OwesSyn) {
            // Our SYN-ACK was not sent yet: the peer's SYN is not acknowledged (RFC 9293, figure
            // 7).
            self.owed.ack = Ack::Now;
        }
        self.timers.retransmit = Deadline::NEVER;
        self.ack_at = stamp_clock(now);
        self.delivered = 1;
        self.time_handshake(segment, now);
        // An idle time before the first text is none.
        self.rare.sent_at = stamp_clock(now);
        self.rcv.text_at = stamp_clock(now);
        self.on_progress();
        self.enter(State::Established, Cause::Ack, env);
        self.restart_keepalive(env.config, now);
        self.events.note(Note::Opened);
        if self.switches.has(Switch::ClosesWhenOpen) {
            self.shutdown_write(env);
        }
    }
}
