//! Eighth: the FIN bit (RFC 9293, 3.10.7.4).

use crate::tcp::deadline::Deadline;
use crate::tcp::events::Note;
use crate::tcp::tcb::{Ack, Fin};
use crate::tcp::{Cause, Env, Segment, State, Tcb};
use crate::wire::tcp::Flags;

impl Tcb {
    /// Takes the FIN of this segment, or one that came early, once everything before it is here.
    pub(super) fn check_fin(&mut self, segment: &Segment<'_>, env: &mut Env<'_>) {
        // CM-1.e: the FIN stands behind the text of its segment.
        let is_here = segment.has(Flags::FIN) && segment.end() - 1 == self.rcv.nxt;
        if segment.has(Flags::FIN) && segment.end() - 1 != self.rcv.nxt && segment.text.is_empty() {
            self.keep_early_fin(segment);
        }
        if !self.state().is_receiving() || !(is_here || self.peer_fin() == Some(self.rcv.nxt)) {
            return;
        }
        self.set_peer_fin(self.rcv.nxt);
        self.rcv.advance(1);
        self.rcv.edge = self.rcv.edge.max(self.rcv.nxt);
        self.owed.ack = Ack::Now;
        self.events.note(Note::Fin);
        // What was kept from beyond the end belongs to nothing.
        self.rcv.early.clear(env.pool);
        match self.state() {
            State::Established => self.enter(State::CloseWait, Cause::Fin, env),
            State::FinWait1 if self.snd.fin == Fin::Acknowledged => {
                self.enter(State::TimeWait, Cause::Fin, env);
            }
            // CM-1.c: both closed at once.
            State::FinWait1 => self.enter(State::Closing, Cause::Fin, env),
            State::FinWait2 => {
                self.timers.idle = Deadline::NEVER;
                self.enter(State::TimeWait, Cause::Fin, env);
            }
            _ => {}
        }
    }

    fn keep_early_fin(&mut self, segment: &Segment<'_>) {
        if segment.seq.is_after(self.rcv.nxt) && self.peer_fin().is_none() {
            self.set_peer_fin(segment.seq);
        }
        self.owe_extra_ack();
    }
}
