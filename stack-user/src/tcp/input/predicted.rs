//! Header prediction: the segment that is next in a connection where nothing is amiss.
//!
//! Nearly every segment is one: text behind the last, an acknowledgment of something new, or both. All
//! that the checks of RFC 9293, section 3.10.7.4, could find is excluded by comparisons with what is
//! expected; what is left to do is done by the same steps in the same order. A property test compares
//! the two ways.

use crate::counters::Counter;
use crate::tcp::own::{ASKS, Switch, Switches};
use crate::tcp::tcb::{Ack, stamp_clock};
use crate::tcp::{Env, Segment, SeqNum, State, Tcb};
use crate::time::Instant;
use crate::wire::tcp::{Flags, Options, Timestamps};

/// What prediction looks at of a segment that has ACK, perhaps PSH, and no options but timestamps.
#[derive(Clone, Copy, Debug)]
pub struct Gist {
    /// SEG.SEQ.
    pub seq: SeqNum,
    /// SEG.ACK.
    pub ack: SeqNum,
    /// SEG.WND, not scaled.
    pub window: u16,
    /// The timestamps.
    pub stamps: Option<Timestamps>,
    /// Octets of text.
    pub len: usize,
}

impl Segment<'_> {
    /// What prediction looks at, if that is all that there is.
    #[inline]
    pub(in crate::tcp) fn gist(&self) -> Option<Gist> {
        let Options { timestamps, sack, user_timeout, .. } = &self.options;
        let is_all = Gist::may_have(self.flags) && sack.is_empty() && user_timeout.is_none();
        let Self { seq, ack, window, .. } = *self;
        is_all.then_some(Gist { seq, ack, window, stamps: *timestamps, len: self.text.len() })
    }
}

impl Gist {
    /// Whether a segment with these flags has one.
    #[inline]
    pub fn may_have(flags: Flags) -> bool {
        flags.without(Flags::PSH) == Flags::ACK
    }
}

impl Tcb {
    /// Whether the checks can find nothing in this segment.
    #[cfg(test)]
    pub(in crate::tcp) fn is_predicted(&self, segment: &Segment<'_>, env: &Env<'_>) -> bool {
        segment.gist().is_some_and(|gist| self.predicts(&gist, env))
    }

    /// Whether the checks can find nothing in a segment with this gist.
    #[inline(always)]
    pub fn predicts(&self, gist: &Gist, env: &Env<'_>) -> bool {
        self.state() == State::Established
            // First: it begins where the last ended, and ends in the window.
            && gist.seq == self.rcv.nxt
            && !(self.rcv.nxt + gist.len as u32).is_after(self.rcv.edge)
            && self.are_stamps_predicted(gist.stamps)
            // Fifth: it acknowledges something new, or nothing beside its text; the window is open
            // and stays it.
            && !gist.ack.is_before(self.snd.una)
            && !gist.ack.is_after(self.snd.nxt)
            && gist.ack.since(self.snd.una) | gist.len as u32 > 0
            && self.snd.wnd > 0
            && gist.window > 0
            // Nothing is missing in either direction, and nothing was asked for that few ask for.
            && self.is_bare()
            && env.pool.has_room_to_receive()
    }

    /// Nothing is unusual, and timestamps are there where they are agreed, and not old.
    #[inline(always)]
    fn are_stamps_predicted(&self, stamps: Option<Timestamps>) -> bool {
        let looked_at = self.switches.among(UNUSUAL.with(Switch::Stamps));
        match stamps {
            Some(stamps) => {
                looked_at == Switches::NONE.with(Switch::Stamps)
                    && stamps.value.wrapping_sub(self.stamps.recent) as i32 >= 0
            }
            None => looked_at == Switches::NONE,
        }
    }

    /// Whether an acknowledgment with timestamps is all that is owed after a predicted segment that has
    /// them, and acknowledged nothing: as [`Tcb::owes_stamped_ack`], but for what prediction has seen.
    #[inline(always)]
    pub fn owes_predicted_ack(&self) -> bool {
        let owes = self.owed.ack == Ack::Now
            && !self.has_unsent()
            && self.rcv.duplicate.0 == self.rcv.duplicate.1;
        debug_assert_eq!(owes, self.owes_stamped_ack(), "prediction has not seen to it");
        owes
    }

    /// Handles a segment that is predicted: all of its text is in order. Whether nothing changed that a
    /// published record shows.
    #[inline(always)]
    pub fn on_predicted(&mut self, gist: &Gist, env: &mut Env<'_>, now: Instant) -> bool {
        // First of all, for the clock is read for it in any case. No keepalive is to be put off, and nobody
        // has said that more follows: prediction has seen to it.
        self.ack_at = stamp_clock(now);
        self.update_recent((gist.seq, gist.stamps), now);
        let is_unseen = gist.ack == self.snd.una;
        self.update_window((gist.seq, gist.ack, gist.window));
        // What arrives and is consumed leaves all figures as they are.
        if !is_unseen {
            // By a copy, or the parts of the other would have to lie in memory for every segment.
            self.on_progress_alone(gist.ack, gist.stamps, &mut env.again(), now);
        }
        if gist.len > 0 {
            self.rcv.advance(gist.len as u32);
            self.owe_ack_of_text(&(0..gist.len), false, (env, now));
            self.grow_window(gist.len, env, now);
        }
        // Last of all, or what was read before would have to be read again.
        env.counters.add(Counter::DataBytesIn, gist.len as u64);
        is_unseen
    }
}

/// What sends a segment through the checks one by one.
const UNUSUAL: Switches = ASKS
    .with(Switch::OwesTimeout)
    .with(Switch::KeepAlive)
    .with(Switch::Closed)
    .with(Switch::Deaf)
    .with(Switch::FinSeen)
    .with(Switch::TextLost);
