//! TIME-WAIT, as a record of at most 64 bytes (RFC 9293, section 3.10.7.4; RFC 1337; RFC 6191).

use super::{Segment, SeqNum, Tcb};
use crate::time::Instant;
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
    /// Added to the clock of milliseconds for our timestamps.
    pub stamp_offset: u32,
    /// When it ends.
    pub deadline: Instant,
    /// The window field of its acknowledgments.
    pub window: u16,
}

/// What a segment asks of a TIME-WAIT record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeWaitVerdict {
    /// Nothing.
    Drop,
    /// An acknowledgment.
    Acknowledge,
    /// An acknowledgment, and 2MSL begins anew: the peer's FIN came again.
    Restart,
    /// A new connection may take the name. Its ISS has to be after `above`.
    Reuse {
        /// SND.NXT of the old connection.
        above: SeqNum,
    },
}

impl TimeWait {
    /// What remains of `tcb`, until `deadline`.
    pub fn of(tcb: &Tcb, deadline: Instant) -> Self {
        Self {
            tuple: tcb.tuple,
            snd_nxt: tcb.snd.nxt,
            rcv_nxt: tcb.rcv.nxt,
            recent: tcb.stamps.recent,
            has_stamps: tcb.stamps.is_on,
            stamp_offset: tcb.stamps.offset,
            deadline,
            window: (tcb.rcv.limit >> tcb.rcv.scale).min(0xffff) as u16,
        }
    }

    /// Looks at a segment for this record.
    pub fn on_segment(&self, segment: &Segment<'_>) -> TimeWaitVerdict {
        // RFC 1337: a RST does not end TIME-WAIT. A recorded deviation from RFC 9293.
        if segment.has(Flags::RST) {
            return TimeWaitVerdict::Drop;
        }
        if segment.has(Flags::SYN) {
            let is_open = !segment.has(Flags::ACK) && self.is_newer(segment);
            return match is_open {
                true => TimeWaitVerdict::Reuse { above: self.snd_nxt },
                false => TimeWaitVerdict::Acknowledge,
            };
        }
        if segment.has(Flags::FIN) && segment.end() == self.rcv_nxt {
            return TimeWaitVerdict::Restart;
        }
        if segment.seq == self.rcv_nxt && segment.len() == 0 {
            return TimeWaitVerdict::Drop;
        }
        TimeWaitVerdict::Acknowledge
    }

    /// RFC 6191, section 2: a later timestamp, or else a later sequence number.
    fn is_newer(&self, segment: &Segment<'_>) -> bool {
        let later_seq = segment.seq.is_after(self.rcv_nxt);
        match segment.options.timestamps {
            Some(stamps) if self.has_stamps => {
                match stamps.value.wrapping_sub(self.recent) as i32 {
                    1.. => true,
                    0 => later_seq,
                    _ => false,
                }
            }
            _ => later_seq,
        }
    }
}

const _: () = assert!(size_of::<TimeWait>() <= 64);
