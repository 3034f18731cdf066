//! What holds of a connection between any two calls, for the tests that try everything.
//!
//! Changes nothing, and nothing but tests and fuzzing calls it.

use super::own::Switch;
use super::pool::Pool;
use super::recovery::Recovery;
use super::tcb::{Ack, Fin};
use super::{SeqNum, State, Tcb};

/// Chunks of the pool that one connection holds, and where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Chunks that are the senders'.
    pub sending: usize,
    /// All others.
    pub receiving: usize,
    /// SND.UNA.
    pub una: SeqNum,
}

/// What output could do since the last call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlet {
    /// Send everything.
    Open,
    /// Nothing: no way leads to the peer.
    NoWay,
    /// It has not had its turn.
    Waiting,
}

impl Tcb {
    /// Asserts what must be true of the connection between two calls, and returns what it holds.
    ///
    /// # Panics
    /// When something is wrong with it.
    #[doc(hidden)]
    pub fn assert_sound(&self, pool: &Pool, outlet: Outlet) -> Held {
        let state = self.state();
        if state == State::Closed {
            assert!(self.snd.buffer.is_empty() && self.rcv.early.is_empty(), "buffers in CLOSED");
        } else {
            self.assert_sending_sound(pool);
            self.assert_receiving_sound();
        }
        if outlet != Outlet::Waiting && state != State::Closed {
            self.assert_timed();
        }
        if outlet == Outlet::Open && state != State::Closed {
            self.assert_sent();
        }
        Held {
            sending: self.snd.buffer.chunks(pool),
            receiving: self.rcv.unread.chunks(pool) + self.rcv.early.chunks(pool),
            una: self.snd.una,
        }
    }

    /// SND.UNA =< SND.NXT =< the end of what is queued, and the flight is what lies between.
    fn assert_sending_sound(&self, pool: &Pool) {
        let snd = &self.snd;
        let state = self.state();
        assert!(!snd.una.is_after(snd.nxt), "{snd:?}");
        if state.is_synchronized() {
            assert!(!snd.nxt.is_after(self.send_end()), "sent more than there is: {self:?}");
            self.assert_flight_sound(pool);
        }
        let has_closed = matches!(
            state,
            State::FinWait1 | State::FinWait2 | State::Closing | State::LastAck | State::TimeWait
        );
        assert_eq!(snd.fin != Fin::None, has_closed, "{:?} in {state:?}", snd.fin);
        if matches!(state, State::FinWait2 | State::TimeWait) {
            assert_eq!(snd.fin, Fin::Acknowledged, "in {state:?}");
        }
    }

    /// The records join each other from SND.UNA to SND.NXT, and the counts are theirs.
    fn assert_flight_sound(&self, pool: &Pool) {
        let mut counts = Recovery::default();
        let mut next = self.snd.una;
        let mut len = 0;
        let mut at = self.flight.first();
        while let Some(index) = at {
            let sent = pool.records.at(index);
            assert_eq!(sent.seq, next, "a gap in the flight: {self:?}");
            counts.count(sent.marks);
            next = sent.end();
            len += 1;
            at = self.flight.after(&pool.records, index);
        }
        assert_eq!((next, len), (self.snd.nxt, self.flight.len()), "{self:?}");
        let none = Recovery::default();
        let kept = self.recovery.as_deref().unwrap_or(&none);
        assert_eq!(
            (counts.lost, counts.resent, counts.waiting),
            (kept.lost, kept.resent, kept.waiting),
            "{self:?}"
        );
        // Without SACK duplicates are counted that no record carries.
        assert!(
            counts.sacked == kept.sacked || !self.switches.has(Switch::Sack),
            "{counts:?} {self:?}"
        );
        assert!(kept.sacked + kept.lost <= len, "{self:?}");
    }

    /// The window is what was offered of the buffer, and what came early lies in it.
    fn assert_receiving_sound(&self) {
        let rcv = &self.rcv;
        if !self.state().is_synchronized() {
            return;
        }
        assert!(!rcv.edge.is_before(rcv.nxt) && !rcv.acked.is_after(rcv.nxt), "{rcv:?}");
        self.rcv.early.assert_sound(rcv.nxt);
    }

    /// Whatever is expected of the peer has its timer.
    fn assert_timed(&self) {
        let is_out = self.snd.nxt != self.snd.una;
        if is_out || (self.state().is_synchronized() && self.has_unsent()) {
            assert!(self.timers.retransmit.is_armed(), "nothing will be sent: {self:?}");
        }
        if self.owed.ack == Ack::Delayed {
            assert!(self.timers.delayed_ack.is_armed(), "{self:?}");
        }
    }

    /// What the peer is owed now was sent.
    fn assert_sent(&self) {
        assert_ne!(self.owed.ack, Ack::Now, "an acknowledgment was not sent: {self:?}");
        assert_eq!(self.owed.extra_acks, 0, "acknowledgments were not sent: {self:?}");
        assert!(
            !self.switches.has(Switch::OwesSyn) && !self.switches.has(Switch::OwesRst),
            "a SYN or RST was not sent: {self:?}"
        );
    }
}
