//! SEGMENT ARRIVES (RFC 9293, section 3.10.7): the RFC's checks in the RFC's order, a file for
//! each.
//!
//! | state | section | file |
//! | --- | --- | --- |
//! | CLOSED | 3.10.7.1 | `closed` |
//! | LISTEN | 3.10.7.2 | `listen` |
//! | SYN-SENT | 3.10.7.3 | `syn_sent` |
//! | other: first | 3.10.7.4 | `sequence` |
//! | other: second | 3.10.7.4 | `reset` |
//! | other: fourth | 3.10.7.4 | `syn` |
//! | other: fifth | 3.10.7.4 | `ack` |
//! | other: sixth | 3.10.7.4 | `urgent` |
//! | other: seventh | 3.10.7.4 | `text` |
//! | other: eighth | 3.10.7.4 | `fin` |
//!
//! `predicted` spares the checks to a segment in which they could find nothing. The third check,
//! security and compartment, has nothing to do: those options are not used
//! (RFC 9293, 3.10.7.4 and A.1).

mod ack;
mod closed;
mod fin;
mod listen;
mod predicted;
mod reset;
mod sequence;
mod syn;
mod syn_sent;
mod text;
mod urgent;

use core::ops::Range;

pub use closed::on_closed;
pub use listen::{ListenVerdict, on_listen};
pub use predicted::Gist;

use super::pool::Chain;
use super::{Cause, CloseReason, Env, Segment, State, Tcb};
use crate::counters::Counter;
use crate::time::Instant;

/// What a segment brought.
#[derive(Debug, Default)]
pub struct Accepted {
    /// The part of the segment's text that is next in order: an index range of it.
    pub text: Range<usize>,
    /// Text kept earlier that follows at once.
    pub follows: Chain,
    /// The segment is to be answered with a RST, as in CLOSED (RFC 9293, 3.10.7.1).
    pub is_refused: bool,
    /// Nothing changed that a published record shows, as far as this says.
    pub is_unseen: bool,
}

/// Whether the next check sees the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Continue,
    Drop,
    /// Drop, and answer with a RST.
    Refuse,
}

impl Tcb {
    /// Handles a segment of this connection whose checksum is right.
    pub fn on_segment(
        &mut self,
        segment: &Segment<'_>,
        env: &mut Env<'_>,
        now: Instant,
    ) -> Accepted {
        match self.state() {
            State::Closed | State::Listen => Accepted { is_refused: true, ..Accepted::default() },
            State::SynSent => self.on_syn_sent(segment, env, now),
            _ => match segment.gist() {
                Some(gist) if self.predicts(&gist, env) => {
                    let is_unseen = self.on_predicted(&gist, env, now);
                    Accepted { text: 0..gist.len, is_unseen, ..Accepted::default() }
                }
                _ => self.on_other_states(segment, env, now),
            },
        }
    }

    /// RFC 9293, 3.10.7.4.
    pub(super) fn on_other_states(
        &mut self,
        segment: &Segment<'_>,
        env: &mut Env<'_>,
        now: Instant,
    ) -> Accepted {
        let stripped = self.strip_crossing_syn(segment);
        let segment = stripped.as_ref().unwrap_or(segment);
        // CM-1.k, CM-7.l: the checks in the RFC's order.
        let mut step = self.check_sequence(segment, env, now);
        if step == Step::Continue {
            step = self.check_reset(segment, env, now);
        }
        if step == Step::Continue {
            step = self.check_syn(segment, env, now);
        }
        if step == Step::Continue {
            step = self.check_ack(segment, env, now);
        }
        match step {
            Step::Continue => self.accept_contents(segment, env, now),
            Step::Drop => Accepted::default(),
            Step::Refuse => Accepted { is_refused: true, ..Accepted::default() },
        }
    }

    /// Whether a segment has text that the peer had not sent before.
    fn brings_text(&self, segment: &Segment<'_>) -> bool {
        let end = segment.seq + segment.text.len() as u32;
        self.state().is_receiving() && !segment.text.is_empty() && end.is_after(self.rcv.nxt)
    }

    /// The sixth to the eighth check.
    fn accept_contents(
        &mut self,
        segment: &Segment<'_>,
        env: &mut Env<'_>,
        now: Instant,
    ) -> Accepted {
        if let Some(value) = segment.options.user_timeout {
            self.on_peer_timeout(value);
        }
        if self.is_orphan() && self.brings_text(segment) {
            // RFC 9293 3.10.4 and RFC 1122 4.2.2.13: nobody will ever read it, and the peer must
            // know.
            env.counters.count(Counter::AbortsOnData);
            self.close_with(CloseReason::Aborted, Cause::Abort, env);
            return Accepted { is_refused: true, ..Accepted::default() };
        }
        self.check_urgent(segment);
        let (text, follows) = self.accept_text(segment, env, now);
        self.check_fin(segment, env);
        Accepted { text, follows, ..Accepted::default() }
    }
}
