//! Sixth: the URG bit (RFC 9293, 3.10.7.4 and 3.8.5). Urgent data stays in line (RFC 6093).

use crate::tcp::events::Note;
use crate::tcp::{Segment, SeqNum, Tcb};
use crate::wire::tcp::Flags;

impl Tcb {
    pub(super) fn check_urgent(&mut self, segment: &Segment<'_>) {
        // RFC 9293 3.8.5 (MUST-30), CM-9.a.
        if !segment.has(Flags::URG) || !self.state().is_receiving() {
            return;
        }
        // RFC 9293 3.8.5 (MUST-62): the pointer names the octet after the last urgent one.
        let up = segment.seq + u32::from(segment.urgent);
        self.forget_mark();
        let old = self.own.as_ref().and_then(|own| own.rcv_up);
        if up.is_after(self.read_mark()) && old.is_none_or(|old| up.is_after(old)) {
            self.own_mut().rcv_up = Some(up);
            // RFC 9293 3.8.5 (MUST-32): the user is told of each advance.
            self.events.note(Note::Urgent);
        }
    }

    /// The number of the octet that the user reads next.
    fn read_mark(&self) -> SeqNum {
        self.rcv.nxt - self.unread() as u32
    }

    /// The user has read past the mark: it is of no use any more, and must not be taken for one that
    /// is ahead when numbers have wrapped.
    pub(super) fn forget_mark(&mut self) {
        let at = self.read_mark();
        if let Some(own) = &mut self.own {
            own.rcv_up = own.rcv_up.filter(|up| !up.is_before(at));
        }
    }

    /// The peer has acknowledged all that was urgent.
    pub(super) fn forget_urgent(&mut self) {
        let una = self.snd.una;
        if let Some(own) = &mut self.own {
            own.snd_up = own.snd_up.filter(|up| up.is_after(una));
        }
    }
}
