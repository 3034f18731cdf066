//! What goes again, and in which order: RFC 6675's NextSeg over the records of `flight`.
//!
//! What is lost is decided in `recovery`, new text is planned in `output`.

use super::flight::{Marks, Sent};
use super::info::CaState;
use super::own::Switch;
use super::recovery::is_waiting;
use super::{Env, Tcb};
use crate::counters::Counter;
use crate::time::Instant;

/// What goes again next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Again {
    pub index: u32,
    /// It counts as one more segment under way. The rescue retransmission does not (RFC 6675, 4,
    /// NextSeg rule 4: HighRxt is not updated).
    pub is_counted: bool,
}

impl Tcb {
    /// RFC 6675 4, NextSeg rule 1: the first lost segment that has not been sent again, while the
    /// window has room. One outside of the peer's window waits, unless it is the first of all, which
    /// then probes the window.
    pub(super) fn next_lost(&mut self, env: &Env<'_>) -> Option<Again> {
        if self.recovery.as_ref()?.waiting == 0 || self.window_left() == 0 {
            return None;
        }
        let edge = self.snd.una + self.snd.wnd;
        let records = &env.pool.records;
        let recovery = self.recovery.as_deref_mut()?;
        let mut at = recovery.hint.or(self.flight.first());
        while let Some(index) = at {
            let sent = records.at(index);
            if is_waiting(sent.marks) {
                recovery.hint = Some(index);
                // RFC 9293 3.8.6 (MUST-34, SHLD-16): what lies within a window that shrank goes
                // again as usual; (SHLD-17) what lies beyond waits, and the first of all goes on
                // asking, (MUST-35) also when the window is closed.
                let fits = sent.seq.is_before(edge) || sent.seq == self.snd.una;
                return fits.then_some(Again { index, is_counted: true });
            }
            at = self.flight.after(records, index);
        }
        None
    }

    /// RFC 6675 4, NextSeg rules 3 and 4, where there is nothing lost and nothing new to send: the
    /// first hole below what was SACKed, and once in a recovery the last hole of all. The rescue is
    /// for a tail that was lost: one whose acknowledgment is not due yet needs none.
    pub(super) fn next_doubtful(&mut self, env: &Env<'_>, now: Instant) -> Option<Again> {
        let phase = self.recovery.as_ref()?.phase;
        if phase != CaState::Recovery || self.window_left() == 0 || !self.switches.has(Switch::Sack)
        {
            return None;
        }
        let edge = self.snd.una + self.snd.wnd;
        let records = &env.pool.records;
        let recovery = self.recovery.as_deref_mut()?;
        let is_hole = |sent: &Sent| {
            !sent.marks.has_any(Marks::SACKED | Marks::RESENT) && sent.seq.is_before(edge)
        };
        let mut last = None;
        let mut at = self.flight.first();
        while let Some(index) = at {
            let sent = records.at(index);
            if is_hole(sent) && sent.seq.is_before(recovery.high_sacked) {
                return Some(Again { index, is_counted: true });
            }
            if !sent.marks.has(Marks::SACKED) {
                last = Some(index);
            }
            at = self.flight.after(records, index);
        }
        if !self.snd.una.is_after(recovery.rescue) {
            return None;
        }
        let round = self.rtt.smoothed().unwrap_or_default();
        let due = (round + round / 4).as_micros();
        let is_late = |sent: &Sent| u128::from(sent.sent_at.age(now)) > due;
        let last = last.filter(|last| {
            let sent = records.at(*last);
            is_hole(sent) && is_late(sent)
        })?;
        recovery.rescue = recovery.end;
        Some(Again { index: last, is_counted: false })
    }

    /// The segment at `again`, cut or joined to what a segment may be now: `most` octets of text, and
    /// not beyond the peer's window.
    pub(super) fn fit_again(&mut self, again: Again, most: u32, env: &mut Env<'_>) -> Option<Sent> {
        let records = &mut env.pool.records;
        let first = *records.at(again.index);
        let edge = self.snd.una + self.snd.wnd;
        let inside = if first.seq.is_before(edge) { edge.since(first.seq) } else { u32::MAX };
        let most = most.min(inside) as u16;
        if first.len > most {
            if !self.flight.split(records, again.index, most) {
                env.counters.count(Counter::FlightRecordsFull);
                return None;
            }
            if let Some(recovery) = &mut self.recovery {
                recovery.count(first.marks);
            }
        }
        while let Some(next) = self.flight.after(records, again.index)
            && can_join(records.at(again.index), records.at(next), most)
            && let Some(second) = self.flight.join(records, again.index)
        {
            let Some(recovery) = &mut self.recovery else { continue };
            recovery.uncount(second.marks);
            recovery.hint = None;
            if !self.switches.has(Switch::Sack) {
                recovery.limit_duplicates(self.flight.len());
            }
        }
        Some(*records.at(again.index))
    }

    /// The segment at `again` was sent again.
    pub(super) fn on_sent_again(&mut self, again: Again, env: &mut Env<'_>, now: Instant) {
        self.total_retrans = self.total_retrans.wrapping_add(1);
        env.counters.count(Counter::Retransmits);
        let sent = env.pool.records.at_mut(again.index);
        sent.sent_at = now.into();
        let old = sent.marks;
        sent.marks |= Marks::AMBIGUOUS;
        if again.is_counted {
            sent.marks |= Marks::RESENT;
        }
        let (new, is_first) = (sent.marks, self.flight.first() == Some(again.index));
        if let Some(recovery) = &mut self.recovery {
            recovery.uncount(old);
            recovery.count(new);
            recovery.rate.out += 1;
        }
        // RFC 6298 5.1 restarts nothing for a retransmission, but the timer is for the first
        // segment: it was sent now.
        if is_first {
            self.timers.retransmit = self.next_timeout(env.config, now);
        }
    }
}

/// Whether the segment after one that goes again may go with it: short ones need not be short twice
/// (RFC 9293, 3.8.6.2.1: what goes again may be packed anew).
fn can_join(first: &Sent, second: &Sent, most: u16) -> bool {
    u32::from(first.len) + u32::from(second.len) <= u32::from(most)
        && !second.marks.has_any(Marks::SACKED | Marks::RESENT)
}
