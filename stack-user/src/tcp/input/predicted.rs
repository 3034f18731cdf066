//! Header prediction: the segment that is next in a connection where nothing is amiss.
//!
//! Nearly every segment is one: text behind the last, an acknowledgment of something new, or both. All
//! that the checks of RFC 9293, section 3.10.7.4, could find is excluded by comparisons with what is
//! expected; what is left to do is done by the same steps in the same order. A property test compares
//! the two ways.

use crate::counters::Counter;
use crate::tcp::own::{Switch, Switches};
use crate::tcp::{Accepted, Env, Segment, State, Tcb};
use crate::time::Instant;
use crate::wire::tcp::{Flags, Options};

impl Tcb {
    /// Whether the checks can find nothing in this segment.
    #[inline]
    pub(in crate::tcp) fn is_predicted(&self, segment: &Segment<'_>, env: &Env<'_>) -> bool {
        self.state() == State::Established
            && segment.flags.without(Flags::PSH) == Flags::ACK
            // First: it begins where the last ended, and ends in the window.
            && segment.seq == self.rcv.nxt
            && segment.text.len() as u32 <= self.rcv.edge.since(self.rcv.nxt)
            && self.are_options_predicted(&segment.options)
            // Fifth: it acknowledges something new, or nothing beside its text; the window is open
            // and stays it.
            && !segment.ack.is_before(self.snd.una)
            && !segment.ack.is_after(self.snd.nxt)
            && (segment.ack != self.snd.una || !segment.text.is_empty())
            && self.snd.wnd > 0
            && segment.window > 0
            // Nothing is missing in either direction, and nothing was asked for that few ask for.
            && self.recovery.is_none()
            && self.rcv.early.is_empty()
            && self.own.is_none()
            && !self.switches.has_any_of(UNUSUAL)
            && env.pool.has_room_to_receive()
    }

    /// Timestamps that are not old, where they are agreed, and nothing else.
    #[inline]
    fn are_options_predicted(&self, options: &Options) -> bool {
        let are_stamps_due = match options.timestamps {
            Some(stamps) => {
                self.switches.has(Switch::Stamps)
                    && stamps.value.wrapping_sub(self.stamps.recent) as i32 >= 0
            }
            None => !self.switches.has(Switch::Stamps),
        };
        are_stamps_due && options.sack.is_empty() && options.user_timeout.is_none()
    }

    /// Handles a segment that is predicted.
    #[inline]
    pub(super) fn on_predicted(
        &mut self,
        segment: &Segment<'_>,
        env: &mut Env<'_>,
        now: Instant,
    ) -> Accepted {
        self.update_recent(segment, now);
        let old_window = self.note_acknowledgment(segment, env, now);
        // What arrives and is consumed leaves all figures as they are.
        let is_unseen = segment.ack == self.snd.una;
        if !is_unseen {
            self.on_acknowledgment(segment, (old_window, env), now);
        }
        if segment.text.is_empty() {
            return Accepted::default();
        }
        let len = segment.text.len();
        self.rcv.advance(len as u32);
        env.counters.add(Counter::DataBytesIn, len as u64);
        self.owe_ack_of_text(&(0..len), false, (env, now));
        self.grow_window(len, env, now);
        Accepted { text: 0..len, is_unseen, ..Accepted::default() }
    }
}

/// What sends a segment through the checks one by one.
const UNUSUAL: Switches = Switches::NONE
    .with(Switch::KeepAlive)
    .with(Switch::Closed)
    .with(Switch::Deaf)
    .with(Switch::FinSeen)
    .with(Switch::TextLost);
