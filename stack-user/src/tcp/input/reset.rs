//! Second: the RST bit (RFC 9293, 3.10.7.4; RFC 5961, section 3).

use super::Step;
use crate::counters::Counter;
use crate::tcp::{Cause, CloseReason, Env, Segment, Tcb};
use crate::time::Instant;
use crate::wire::tcp::Flags;

impl Tcb {
    pub(super) fn check_reset(
        &mut self,
        segment: &Segment<'_>,
        env: &mut Env<'_>,
        now: Instant,
    ) -> Step {
        if !segment.has(Flags::RST) {
            return Step::Continue;
        }
        env.counters.count(Counter::ResetsIn);
        // CM-7.b.
        if segment.seq == self.rcv.nxt {
            // RFC 9293 3.5 (MUST-11): in SYN-RECEIVED a TCB has been opened by us, and its user
            // learns that it was refused. 3.5.3 (SHLD-2): text on a RST changes nothing.
            let reason = match self.state().is_synchronized() {
                true => CloseReason::Reset,
                false => CloseReason::Refused,
            };
            self.close_with(reason, Cause::Reset, env);
            self.rcv.unread.clear(env.pool);
        } else {
            // In the window but not exact: a blind guess, or a peer that has to say it again.
            self.owe_challenge(env, now);
        }
        Step::Drop
    }
}
