//! Selective acknowledgment: what the peer's blocks say of the flight (RFC 2018, RFC 6675, RFC
//! 2883), and the blocks that we send.
//!
//! What is SACKed stays in the send buffer until it is acknowledged (RFC 2018, section 8: the
//! receiver may drop it). The scoreboard is the flight itself: its records are bounded, and a block
//! of the peer's can only mark what was sent.

use super::flight::Marks;
use super::own::Switch;
use super::recovery::Report;
use super::{Env, Segment, SeqNum, Tcb};
use crate::counters::Counter;
use crate::time::Instant;
use crate::wire::tcp::SackBlocks;

/// A block of sequence numbers: the first, and the one after the last.
type Block = (SeqNum, SeqNum);

impl Tcb {
    /// Marks what the segment's blocks report. `una` is SND.UNA before the segment.
    pub(super) fn take_sack(
        &mut self,
        segment: &Segment<'_>,
        report: &mut Report,
        env: &mut Env<'_>,
        now: Instant,
    ) {
        let blocks = segment.options.sack.as_slice();
        if !self.switches.has(Switch::Sack) || blocks.is_empty() {
            return;
        }
        let mut known = [(SeqNum(0), SeqNum(0)); 4];
        let mut count = 0;
        for (place, (left, right)) in blocks.iter().enumerate() {
            let block = (SeqNum(*left), SeqNum(*right));
            let is_duplicate = place == 0 && is_dsack(segment);
            if is_duplicate && self.is_plausible_dsack(block) {
                report.is_dsack = true;
                self.rare.dsacks = self.rare.dsacks.saturating_add(1);
                env.counters.count(Counter::DsacksIn);
            } else if !is_duplicate && self.is_plausible_sack(block) {
                known[count] = block;
                count += 1;
            } else {
                env.counters.count(Counter::SackBlocksIgnored);
            }
        }
        if count > 0 {
            self.mark_sacked(&known[..count], report, env, now);
        }
    }

    /// A block has to report something that was sent and is not acknowledged, and never the first of
    /// that: it would have been acknowledged.
    fn is_plausible_sack(&self, (left, right): Block) -> bool {
        left.is_before(right) && left.is_after(self.snd.una) && !right.is_after(self.snd.nxt)
    }

    /// RFC 2883 4: a duplicate may be old, but it was sent, and not before the largest window.
    fn is_plausible_dsack(&self, (left, right): Block) -> bool {
        let oldest = self.snd.una - self.snd.max_wnd.max(1);
        left.is_before(right)
            && !right.is_after(self.snd.nxt)
            && !left.is_before(oldest)
            && !left.is_before(self.rare.iss + 1)
    }

    fn mark_sacked(
        &mut self,
        blocks: &[Block],
        report: &mut Report,
        env: &mut Env<'_>,
        now: Instant,
    ) {
        // (CM-4.c): SACK blocks received.
        let recovery = self.recovery.get_or_insert_default();
        let highest = blocks.iter().fold(self.snd.una, |high, block| high.max(block.1));
        let records = &mut env.pool.records;
        let mut at = self.flight.first();
        while let Some(index) = at {
            let sent = records.at_mut(index);
            if !sent.seq.is_before(highest) {
                break;
            }
            let (start, end) = (sent.seq, sent.end());
            let is_inside = |block: &Block| !start.is_before(block.0) && !end.is_after(block.1);
            if !sent.marks.has(Marks::SACKED) && blocks.iter().any(is_inside) {
                recovery.uncount(sent.marks);
                if !sent.marks.has(Marks::AMBIGUOUS) {
                    report.timing.sacked.get_or_insert(sent.sent_at.age(now));
                }
                sent.marks = sent.marks.without(Marks::LOST | Marks::RESENT) | Marks::SACKED;
                recovery.count(sent.marks);
                recovery.high_sacked = match recovery.sacked {
                    1 => end,
                    _ => recovery.high_sacked.max(end),
                };
                report.sacked += 1;
                report.delivered += 1;
            }
            at = self.flight.after(records, index);
        }
    }

    /// Takes what is acknowledged out of the flight.
    #[inline(always)]
    pub(super) fn take_acknowledged(
        &mut self,
        una: SeqNum,
        report: &mut Report,
        env: &mut Env<'_>,
        now: Instant,
    ) {
        let records = &mut env.pool.records;
        while let Some(sent) = self.flight.pop_before(records, una) {
            let age = sent.sent_at.age(now);
            report.acked += 1;
            if !sent.marks.has(Marks::SACKED) {
                report.delivered += 1;
            }
            if sent.marks.has(Marks::AMBIGUOUS) {
                let least = report.timing.resent.map_or(age, |least| least.min(age));
                report.timing.resent = Some(least);
            } else if !sent.marks.has(Marks::SACKED) {
                report.timing.acked.get_or_insert(age);
            }
            if let Some(recovery) = &mut self.recovery {
                recovery.uncount(sent.marks);
                recovery.hint = None;
            }
        }
    }

    /// Remembers a duplicate that arrived, for the next acknowledgment to report (RFC 2883).
    // CM-4.d.
    pub(super) fn note_duplicate(&mut self, left: SeqNum, right: SeqNum, env: &mut Env<'_>) {
        // (CM-4.d): D-SACK sent.
        let left = left.max(self.rare.irs + 1);
        if self.switches.has(Switch::Sack) && left.is_before(right) {
            env.counters.count(Counter::DsacksOut);
            self.rcv.duplicate = (left, right);
        }
    }

    /// The SACK blocks owed and the octets of their option: a duplicate first (RFC 2883, section 4),
    /// then what is held out of order (RFC 2018, section 3).
    // CM-4.c.
    pub(super) fn sack_blocks(&self) -> (SackBlocks, usize) {
        let mut sack = SackBlocks::NONE;
        let (left, right) = self.rcv.duplicate;
        if !self.switches.has(Switch::Sack) || (self.rcv.early.is_empty() && left == right) {
            return (sack, 0);
        }
        // (CM-4.c): SACK blocks sent, (CM-4.d): a duplicate before them.
        if left != right {
            sack.push(left.0, right.0);
        }
        let mut blocks = [(0, 0); 4];
        let most = if self.switches.has(Switch::Stamps) { 3 } else { 4 };
        let room = most - sack.len();
        let count = self.rcv.early.sack_blocks(&mut blocks[..room]);
        for (left, right) in &blocks[..count] {
            sack.push(*left, *right);
        }
        let len = 4 + 8 * sack.len();
        (sack, len)
    }
}

/// RFC 2883 4: the first block reports a duplicate when the acknowledgment covers it, or the second
/// block does.
fn is_dsack(segment: &Segment<'_>) -> bool {
    match segment.options.sack.as_slice() {
        [] => false,
        [(left, _), rest @ ..] if !SeqNum(*left).is_before(segment.ack) => {
            let right = SeqNum(segment.options.sack.as_slice()[0].1);
            rest.first().is_some_and(|(outer_left, outer_right)| {
                !SeqNum(*left).is_before(SeqNum(*outer_left))
                    && !right.is_after(SeqNum(*outer_right))
            })
        }
        _ => true,
    }
}
