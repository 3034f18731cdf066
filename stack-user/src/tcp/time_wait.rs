//! TIME-WAIT, as a record of at most 64 bytes (RFC 9293, section 3.10.7.4; RFC 1337; RFC 6191).

use super::half_open::ANSWER_EVERY;
use super::own::Switch;
use super::tcb::stamp_clock;
use super::{Segment, SeqNum, Tcb};
use crate::time::{Duration, Instant};
use crate::wire::FourTuple;
use crate::wire::tcp::Flags;

/// What is kept of a connection while its old segments drain.
#[derive(Clone, Debug)]
pub struct TimeWait {
    /// The connection's name.
    pub tuple: FourTuple,
    /// SND.NXT.
    pub snd_nxt: SeqNum,
    /// RCV.NXT.
    pub rcv_nxt: SeqNum,
    /// TS.Recent, where timestamps were agreed.
    pub recent: u32,
    /// Whether timestamps were agreed.
    pub has_stamps: bool,
    /// When it ends.
    pub deadline: Instant,
    /// The window field of its acknowledgments.
    pub window: u16,
    /// What did not fit is answered again from then on, in milliseconds.
    pub answers_from: u32,
}

/// What a segment asks of a TIME-WAIT record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeWaitVerdict {
    /// Nothing.
    Drop,
    /// An acknowledgment, within the limit.
    Acknowledge,
    /// As that; PAWS rejects the segment.
    Stale,
    /// An acknowledgment, and 2MSL begins anew: the peer's FIN came again.
    Restart,
    /// A new connection may take the name. Its ISS has to be after `above`.
    Reuse {
        /// SND.NXT of the old connection.
        above: SeqNum,
    },
}

impl TimeWait {
    /// What remains of `tcb` for the time `whole` from now on.
    pub fn of(tcb: &Tcb, whole: Duration, now: Instant) -> Self {
        Self {
            tuple: tcb.tuple,
            snd_nxt: tcb.snd.nxt,
            rcv_nxt: tcb.rcv.nxt,
            recent: tcb.stamps.recent,
            has_stamps: tcb.switches.has(Switch::Stamps),
            deadline: now + whole,
            window: (tcb.rcv.limit >> tcb.rcv.scale).min(0xffff) as u16,
            answers_from: stamp_clock(now),
        }
    }

    /// Looks at a segment for this record. `age` is how long nothing has renewed it.
    pub fn on_segment(&self, segment: &Segment<'_>, age: Duration) -> TimeWaitVerdict {
        // CM-6.d, RFC 1337: a RST does not end TIME-WAIT. A recorded deviation from RFC 9293.
        if segment.has(Flags::RST) {
            return TimeWaitVerdict::Drop;
        }
        if segment.has(Flags::SYN) && !segment.has(Flags::ACK) {
            // A SYN with FIN opens nothing: as in LISTEN.
            return match !segment.has(Flags::FIN) && self.is_newer(segment, age) {
                true => TimeWaitVerdict::Reuse { above: self.snd_nxt },
                false => TimeWaitVerdict::Acknowledge,
            };
        }
        if self.is_stale(segment, age) {
            return TimeWaitVerdict::Stale;
        }
        if segment.has(Flags::SYN) {
            // RFC 9293 3.10.7.4, fourth.
            return TimeWaitVerdict::Acknowledge;
        }
        let is_next = segment.seq == self.rcv_nxt;
        if !segment.has(Flags::ACK) {
            // Fifth: without ACK nothing is looked at, but for the first check's answer.
            return if is_next { TimeWaitVerdict::Drop } else { TimeWaitVerdict::Acknowledge };
        }
        if segment.has(Flags::FIN) && segment.end() == self.rcv_nxt {
            // CM-6.c.
            return TimeWaitVerdict::Restart;
        }
        if is_next && segment.len() == 0 {
            return TimeWaitVerdict::Drop;
        }
        TimeWaitVerdict::Acknowledge
    }

    /// How long nothing has renewed the record, where 2MSL is `whole`.
    pub fn age(&self, whole: Duration, now: Instant) -> Duration {
        whole.saturating_sub(self.deadline.since(now))
    }

    /// Whether an answer to what does not fit may go now: one every half second. A repeated FIN
    /// does not ask.
    pub fn may_answer(&mut self, now: Instant) -> bool {
        let now = stamp_clock(now);
        let is_due = (now.wrapping_sub(self.answers_from) as i32) >= 0;
        if is_due {
            self.answers_from = now.wrapping_add(ANSWER_EVERY);
        }
        is_due
    }

    /// Whether our own open may take the name (Linux's tcp_tw_reuse): the clock of timestamps has
    /// moved on, so that the peer can tell the old connection's segments from the new one's.
    pub fn may_be_reopened(&self, age: Duration) -> bool {
        self.has_stamps && age > REOPEN_AFTER
    }

    /// RFC 6191, section 2: a later timestamp, or else a later sequence number. Where the old
    /// connection had no timestamps and the new one will, PAWS tells their segments apart.
    fn is_newer(&self, segment: &Segment<'_>, age: Duration) -> bool {
        // RFC 9293 3.6.1 (SHLD-4, MAY-2), CM-6.e.
        let later_seq = segment.seq.is_after(self.rcv_nxt);
        let Some(stamps) = segment.options.timestamps else { return later_seq };
        if !self.has_recent(age) {
            return true;
        }
        match stamps.value.wrapping_sub(self.recent) as i32 {
            1.. => true,
            0 => later_seq,
            _ => false,
        }
    }

    /// RFC 7323, 5.3, R1.
    fn is_stale(&self, segment: &Segment<'_>, age: Duration) -> bool {
        let is_older = |value: u32| (value.wrapping_sub(self.recent) as i32) < 0;
        self.has_recent(age)
            && segment.options.timestamps.is_some_and(|stamps| is_older(stamps.value))
    }

    /// RFC 7323, 5.5: a TS.Recent of 24 days is worth nothing.
    fn has_recent(&self, age: Duration) -> bool {
        self.has_stamps && age < DAYS_24
    }
}

/// More than a tick of any clock of timestamps that RFC 7323 allows (5.4: at most 1 s).
const REOPEN_AFTER: Duration = Duration::from_secs(1);
const DAYS_24: Duration = Duration::from_secs(24 * 24 * 3600);
// CM-6.b.
const _: () = assert!(size_of::<TimeWait>() <= 64);
