//! Fourth: the SYN bit (RFC 9293, 3.10.7.4; RFC 5961, section 4).

use super::Step;
use crate::tcp::own::Switch;
use crate::tcp::{Env, Segment, State, Tcb};
use crate::time::Instant;
use crate::wire::tcp::Flags;

impl Tcb {
    pub(super) fn check_syn(
        &mut self,
        segment: &Segment<'_>,
        env: &mut Env<'_>,
        now: Instant,
    ) -> Step {
        // CM-7.a.
        if !segment.has(Flags::SYN) {
            return Step::Continue;
        }
        if self.state() == State::SynReceived && segment.seq == self.rare.irs {
            // The peer of a simultaneous open repeats its SYN: our SYN-ACK was lost.
            self.switches.set(Switch::OwesSyn, true);
        } else {
            self.owe_challenge(env, now);
        }
        Step::Drop
    }
}
