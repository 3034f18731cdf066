//! Sixth: the URG bit (RFC 9293, 3.10.7.4 and 3.8.5). Urgent data stays in line (RFC 6093).

use crate::tcp::{Segment, Tcb};
use crate::wire::tcp::Flags;

impl Tcb {
    pub(super) fn check_urgent(&mut self, segment: &Segment<'_>) {
        if !segment.has(Flags::URG) || !self.state().is_receiving() {
            return;
        }
        // RFC 9293 3.8.5 (MUST-62): the pointer names the octet after the last urgent one.
        let up = segment.seq + u32::from(segment.urgent);
        if up.is_after(self.rcv.nxt) && self.rcv.up.is_none_or(|old| up.is_after(old)) {
            self.rcv.up = Some(up);
        }
    }
}
