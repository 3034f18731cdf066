//! Loss recovery of a connection: what is lost, and what becomes of the window meanwhile.
//!
//! RFC 6675 over the records of `flight`: every segment in flight is known by itself, so that the
//! scoreboard counts segments where the RFC counts octets, and its HighRxt is a mark on each.
//! Without SACK duplicate ACKs stand for SACKed segments (RFC 6582). How fast recovery sends is
//! Proportional Rate Reduction (RFC 6937); what it sends is in `repair`. None of this exists while
//! nothing is amiss.

use super::flight::Marks;
use super::info::CaState;
use super::own::Switch;
use super::{Env, SeqNum, Tcb};
use crate::counters::Counter;
use crate::time::{Duration, Instant};

/// The state of a connection that has something missing.
#[derive(Debug)]
pub(super) struct Recovery {
    pub phase: CaState,
    /// Segments in flight that the peer has by SACK, or duplicate ACKs that stand for them.
    pub sacked: u32,
    /// Segments in flight that are held to be lost.
    pub lost: u32,
    /// Retransmissions that are held to be under way.
    pub resent: u32,
    /// Of the lost, how many have not been sent again.
    pub waiting: u32,
    /// RecoveryPoint: the phase ends when all before this is acknowledged.
    pub end: SeqNum,
    /// The number after the highest SACKed octet.
    pub high_sacked: SeqNum,
    /// RescueRxt (RFC 6675, 4, NextSeg rule 4), and one: a rescue waits for SND.UNA to be after it.
    pub rescue: SeqNum,
    /// The first segment that may wait for its retransmission: none before it does.
    pub hint: Option<u32>,
    pub rate: Reduction,
}

/// Proportional Rate Reduction (RFC 6937, section 3), in segments.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reduction {
    /// RecoverFS: the window when recovery began.
    pub prior: u32,
    /// Delivered since then.
    pub delivered: u32,
    /// Sent since then.
    pub out: u32,
}

/// What an acknowledgment told of the flight.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Segments that the cumulative acknowledgment took out of the flight.
    pub acked: u32,
    /// Segments that are known to have reached the peer, and were not before.
    pub delivered: u32,
    /// Of these, how many by SACK.
    pub sacked: u32,
    /// SND.UNA moved.
    pub is_progress: bool,
    /// A duplicate ACK in the sense of RFC 5681, section 2.
    pub is_duplicate: bool,
    /// It carries a D-SACK (RFC 2883).
    pub is_dsack: bool,
    /// Segments newly held to be lost.
    pub lost: u32,
    pub timing: Timing,
}

/// What an acknowledgment says of the round trip, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Timing {
    /// Since the first of the acknowledged segments was sent that was sent once.
    pub acked: Option<u32>,
    /// The same for SACKed ones.
    pub sacked: Option<u32>,
    /// Since the last retransmission of the acknowledged ones, where there was any.
    pub resent: Option<u32>,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            phase: CaState::Open,
            sacked: 0,
            lost: 0,
            resent: 0,
            waiting: 0,
            end: SeqNum(0),
            high_sacked: SeqNum(0),
            rescue: SeqNum(0),
            hint: None,
            rate: Reduction::default(),
        }
    }
}

impl Recovery {
    /// Whether the window follows the recovery.
    fn is_reducing(&self) -> bool {
        matches!(self.phase, CaState::Recovery | CaState::Cwr)
    }

    /// A segment leaves the flight, or changes its marks: the counts lose it.
    pub fn uncount(&mut self, marks: Marks) {
        let is = |mark| u32::from(marks.has(mark));
        self.sacked -= is(Marks::SACKED);
        self.lost -= is(Marks::LOST);
        self.resent -= is(Marks::RESENT);
        self.waiting -= u32::from(is_waiting(marks));
    }

    /// Without SACK a duplicate stands for a segment that is out, and never for a hole: there are
    /// not more of them than there can be of those. `out` segments are.
    pub fn limit_duplicates(&mut self, out: u32) {
        self.sacked = self.sacked.min(self.most_duplicates(out));
    }

    fn most_duplicates(&self, out: u32) -> u32 {
        out.saturating_sub(self.lost.max(1))
    }

    /// The counts gain a segment with these marks.
    pub fn count(&mut self, marks: Marks) {
        let is = |mark| u32::from(marks.has(mark));
        self.sacked += is(Marks::SACKED);
        self.lost += is(Marks::LOST);
        self.resent += is(Marks::RESENT);
        self.waiting += u32::from(is_waiting(marks));
    }
}

/// Whether a segment waits for its retransmission (RFC 6675, 4, NextSeg rule 1).
pub(super) fn is_waiting(marks: Marks) -> bool {
    marks.has(Marks::LOST) && !marks.has_any(Marks::RESENT | Marks::SACKED)
}

impl Tcb {
    /// What the sender is doing about loss.
    pub(super) fn ca_state(&self) -> CaState {
        self.recovery.as_ref().map_or(CaState::Open, |recovery| recovery.phase)
    }

    /// Segments in flight: RFC 6675's Pipe (SetPipe, section 4).
    pub(super) fn pipe(&self) -> u32 {
        let out = self.flight.len();
        let Some(recovery) = &self.recovery else { return out };
        (out + recovery.resent).saturating_sub(recovery.sacked + recovery.lost)
    }

    /// How many more segments the window lets out.
    pub(super) fn window_left(&self) -> u32 {
        self.cc.window().cwnd().saturating_sub(self.pipe())
    }

    /// After an acknowledgment was applied to the flight: decides what is lost, and what becomes of
    /// the window.
    #[inline(always)]
    pub(super) fn on_report(&mut self, report: &mut Report, env: &mut Env<'_>, now: Instant) {
        let is_dubious = report.is_duplicate || report.sacked > 0;
        if self.recovery.is_some() || is_dubious {
            self.recovery.get_or_insert_default();
            self.judge(report, env);
        }
        self.follow_window(report, now);
        if let Some(recovery) = &self.recovery
            && recovery.phase == CaState::Open
            && recovery.sacked + recovery.lost + recovery.resent == 0
        {
            self.recovery = None;
        }
    }

    /// The phases, and the ways between them.
    #[inline(never)]
    fn judge(&mut self, report: &mut Report, env: &mut Env<'_>) {
        let before = self.recovery.as_ref().map_or(0, |recovery| recovery.lost);
        self.count_duplicates(report);
        self.end_phase();
        match self.ca_state() {
            CaState::Open | CaState::Disorder => {
                if self.is_loss_certain() {
                    self.enter_recovery(env);
                } else {
                    self.keep_open();
                }
            }
            CaState::Cwr | CaState::Recovery | CaState::Loss => {}
        }
        if matches!(self.ca_state(), CaState::Recovery | CaState::Loss) {
            self.mark_lost(report, env);
        }
        let after = self.recovery.as_ref().map_or(0, |recovery| recovery.lost);
        report.lost = after.saturating_sub(before);
    }

    /// Without SACK a duplicate ACK says that one segment more arrived, and nothing of which (RFC
    /// 6582, section 3.2); those of segments sent before a timeout say nothing (section 4).
    fn count_duplicates(&mut self, report: &mut Report) {
        let (out, nxt) = (self.flight.len(), self.snd.nxt);
        if self.switches.has(Switch::Sack) {
            return;
        }
        let Some(recovery) = &mut self.recovery else { return };
        if report.is_progress {
            // One of the acknowledged filled the hole; the others are the duplicates' segments.
            let known = report.acked.saturating_sub(1).min(recovery.sacked);
            report.delivered = report.acked.saturating_sub(recovery.sacked).max(1);
            recovery.sacked -= known;
            if recovery.phase != CaState::Recovery {
                recovery.sacked = 0;
            }
        }
        let is_repeat = recovery.phase == CaState::Loss && !nxt.is_after(recovery.end);
        if report.is_duplicate && !is_repeat && recovery.sacked < recovery.most_duplicates(out) {
            recovery.sacked += 1;
            report.delivered += 1;
        }
        recovery.limit_duplicates(out);
    }

    /// RFC 6675 5 (A) and RFC 6582 3.2 step 3: a phase ends when all that was sent at its begin is
    /// acknowledged. Without SACK, the one after it would begin with duplicates of what this one
    /// sent, so that it ends only with the next acknowledgment (RFC 6582, section 4).
    fn end_phase(&mut self) {
        let (una, has_sack) = (self.snd.una, self.switches.has(Switch::Sack));
        let Some(recovery) = &mut self.recovery else { return };
        if !matches!(recovery.phase, CaState::Recovery | CaState::Loss | CaState::Cwr)
            || una.is_before(recovery.end)
        {
            return;
        }
        if !has_sack {
            recovery.sacked = 0;
            if una == recovery.end && !self.flight.is_empty() {
                return;
            }
        }
        if recovery.is_reducing() {
            self.cc.on_recovered();
        }
        recovery.phase = CaState::Open;
    }

    /// Whether a loss is certain: RFC 6675 5 (1) to (3), and RFC 5681 3.2. Three segments above the
    /// first hole are its IsLost; that they are counted and not their octets is what it allows a
    /// sender that knows its segments.
    fn is_loss_certain(&self) -> bool {
        self.recovery.as_ref().is_some_and(|recovery| {
            recovery.lost > 0 || (recovery.sacked >= DUPLICATES && !self.flight.is_empty())
        })
    }

    fn keep_open(&mut self) {
        let nxt = self.snd.nxt;
        let Some(recovery) = &mut self.recovery else { return };
        let is_whole = recovery.sacked + recovery.lost + recovery.resent == 0;
        let phase = if is_whole { CaState::Open } else { CaState::Disorder };
        if phase != recovery.phase {
            recovery.phase = phase;
            recovery.end = nxt;
        }
    }

    fn enter_recovery(&mut self, env: &mut Env<'_>) {
        let prior = self.cc.window().cwnd();
        self.cc.on_loss();
        let nxt = self.snd.nxt;
        let recovery = self.recovery.get_or_insert_default();
        recovery.phase = CaState::Recovery;
        recovery.end = nxt;
        recovery.rate = Reduction { prior, ..Reduction::default() };
        env.counters.count(Counter::FastRetransmits);
        // RFC 6675 5 (4.3): no rescue before the first hole is filled.
        let first = self.flight.first().map(|first| env.pool.records.at(first).end());
        recovery.rescue = first.unwrap_or(nxt);
        // RFC 5681 3.2: the first hole is lost, whatever the others are.
        self.mark_first_lost(env);
    }

    fn mark_lost(&mut self, report: &Report, env: &mut Env<'_>) {
        if self.switches.has(Switch::Sack) {
            self.mark_lost_below_sacked(env);
        } else if report.is_progress && self.ca_state() == CaState::Recovery {
            // RFC 6582 3.2 step 3: a partial acknowledgment names the next hole.
            self.mark_first_lost(env);
        }
    }

    /// RFC 6675 4, IsLost: a segment is lost when three above it were SACKed.
    fn mark_lost_below_sacked(&mut self, env: &mut Env<'_>) {
        let reach = DUPLICATES * self.max_text();
        let Some(recovery) = &mut self.recovery else { return };
        let records = &mut env.pool.records;
        if recovery.sacked < DUPLICATES {
            // A partial acknowledgment, and data far beyond it has arrived.
            let is_far = recovery.high_sacked.is_after(self.snd.una + reach);
            if recovery.phase == CaState::Recovery && is_far {
                self.mark_first_lost(env);
            }
            return;
        }
        let mut above = recovery.sacked;
        let mut at = self.flight.first();
        while let Some(index) = at
            && above >= DUPLICATES
        {
            let sent = records.at_mut(index);
            if sent.marks.has(Marks::SACKED) {
                above -= 1;
            } else if !sent.marks.has(Marks::LOST) {
                recovery.uncount(sent.marks);
                sent.marks |= Marks::LOST;
                recovery.count(sent.marks);
                recovery.hint = None;
            }
            at = self.flight.after(records, index);
        }
    }

    /// Holds the first segment for lost, unless the peer has it.
    pub(super) fn mark_first_lost(&mut self, env: &mut Env<'_>) {
        let Some(index) = self.flight.first() else { return };
        let Some(recovery) = &mut self.recovery else { return };
        let sent = env.pool.records.at_mut(index);
        if sent.marks.has_any(Marks::SACKED | Marks::LOST) {
            return;
        }
        recovery.uncount(sent.marks);
        sent.marks |= Marks::LOST;
        recovery.count(sent.marks);
        recovery.hint = None;
    }

    /// While a recovery lasts, the window is what is in flight and what this acknowledgment lets out
    /// (RFC 6937, section 3.1); else it grows by what was delivered.
    #[inline(always)]
    fn follow_window(&mut self, report: &Report, now: Instant) {
        let pipe = self.pipe();
        let at = self.moment(now);
        if let Some(recovery) = &mut self.recovery
            && recovery.is_reducing()
        {
            if report.delivered == 0 {
                return;
            }
            let ssthresh = self.cc.window().ssthresh().unwrap_or(u32::MAX);
            let let_out = recovery.rate.on_delivered(report, ssthresh, pipe);
            // RFC 6582 3.2 step 3: the hole that a partial acknowledgment names goes at once.
            let is_partial = !self.switches.has(Switch::Sack) && report.is_progress;
            self.cc.set_window(pipe + let_out.max(u32::from(is_partial)));
        } else if report.is_progress {
            self.cc.on_delivered(report.delivered, at);
        }
    }

    /// RFC 6298 5.4 to 5.6 and RFC 5681 3.1: the timer fired with something in flight. All that the
    /// peer does not have is lost; it goes again as slow start allows, the first segment now.
    // RFC 9293 3.8.6 (SHLD-16, SHLD-17, MAY-7): what is out goes again, wherever the window's edge
    // is by now.
    pub(super) fn on_retransmission_timeout(&mut self, env: &mut Env<'_>) {
        let is_repeated = self.rtt.unanswered() > 1;
        let nxt = self.snd.nxt;
        let una = self.snd.una;
        env.counters.count(Counter::RetransmitTimeouts);
        self.forget_reneged(env);
        let recovery = self.recovery.get_or_insert_default();
        // RFC 5681 3.1: the threshold falls once for a flight.
        let is_new = match recovery.phase {
            CaState::Open | CaState::Disorder => true,
            CaState::Loss if !is_repeated => true,
            _ => !recovery.end.is_after(una),
        };
        if !self.switches.has(Switch::Sack) {
            recovery.sacked = 0;
        }
        let mut at = self.flight.first();
        while let Some(index) = at {
            let sent = env.pool.records.at_mut(index);
            if !sent.marks.has(Marks::SACKED) {
                recovery.uncount(sent.marks);
                sent.marks = sent.marks.without(Marks::RESENT) | Marks::LOST;
                recovery.count(sent.marks);
            }
            at = self.flight.after(&env.pool.records, index);
        }
        recovery.phase = CaState::Loss;
        recovery.end = nxt;
        recovery.hint = None;
        let pipe = self.pipe();
        self.cc.on_timeout(pipe, is_new);
    }

    /// What is out and longer than a segment may be now did not arrive, and goes again; the window
    /// stays, for this is no congestion (RFC 1191, section 6.4).
    pub(super) fn resend_longer_than(&mut self, most: u32, env: &mut Env<'_>) {
        let recovery = self.recovery.get_or_insert_default();
        let mut at = self.flight.first();
        while let Some(index) = at {
            let sent = env.pool.records.at_mut(index);
            if u32::from(sent.len) > most && !sent.marks.has(Marks::SACKED) {
                recovery.uncount(sent.marks);
                sent.marks = sent.marks.without(Marks::RESENT) | Marks::LOST;
                recovery.count(sent.marks);
            }
            at = self.flight.after(&env.pool.records, index);
        }
        recovery.hint = None;
        if !self.switches.has(Switch::Sack) {
            recovery.limit_duplicates(self.flight.len());
        }
        if recovery.waiting > 0 && recovery.phase != CaState::Loss {
            recovery.phase = CaState::Loss;
            recovery.end = self.snd.nxt;
        }
    }

    /// RFC 2018 8: a receiver may drop what it has SACKed. It did if it has the first segment and
    /// does not acknowledge it: then its SACKs are worth nothing.
    fn forget_reneged(&mut self, env: &mut Env<'_>) {
        let records = &mut env.pool.records;
        let first = self.flight.first();
        let is_reneged = first.is_some_and(|first| records.at(first).marks.has(Marks::SACKED));
        let Some(recovery) = &mut self.recovery else { return };
        if !is_reneged {
            return;
        }
        env.counters.count(Counter::SackReneges);
        let mut at = first;
        while let Some(index) = at {
            let sent = records.at_mut(index);
            recovery.uncount(sent.marks);
            sent.marks = sent.marks.without(Marks::SACKED);
            recovery.count(sent.marks);
            at = self.flight.after(records, index);
        }
    }

    /// Whether the first segment in flight is one that the peer reported by SACK: the cumulative
    /// acknowledgment should have passed it.
    pub(super) fn is_renege_suspected(&self, env: &Env<'_>) -> bool {
        self.recovery.is_some()
            && self
                .flight
                .first()
                .is_some_and(|first| env.pool.records.at(first).marks.has(Marks::SACKED))
    }

    /// How long a receiver has to undo what looks like reneging: it may be an ACK on its way.
    pub(super) fn renege_grace(&self) -> Duration {
        (self.rtt.smoothed().unwrap_or_default() / 2).max(Duration::from_millis(10))
    }
}

impl Reduction {
    /// How many segments this acknowledgment lets out; `pipe` are in flight.
    fn on_delivered(&mut self, report: &Report, ssthresh: u32, pipe: u32) -> u32 {
        self.delivered += report.delivered;
        let let_out = if pipe > ssthresh {
            // Proportional: the window arrives at the threshold when the flight has been delivered.
            let due = u64::from(self.delivered) * u64::from(ssthresh);
            (due.div_ceil(self.prior.max(1).into()) as u32).saturating_sub(self.out)
        } else {
            // Slow start, bounded by what was delivered; one more when a retransmission is known to
            // have filled a hole and nothing else was lost.
            let bound = self.delivered.saturating_sub(self.out).max(report.delivered);
            let is_sound = report.is_progress && report.lost == 0;
            (bound + u32::from(is_sound)).min(ssthresh - pipe)
        };
        // The first retransmission goes whatever the sums say.
        let_out.max(u32::from(self.out == 0))
    }
}

/// DupThresh (RFC 6675, section 2).
pub(super) const DUPLICATES: u32 = 3;
