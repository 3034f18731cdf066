//! CLOSED: what answers a segment that matches nothing (RFC 9293, section 3.10.7.1).

use crate::tcp::{Bare, Segment, SeqNum};
use crate::wire::tcp::Flags;

/// The RST that answers `segment`; `None` when it carries RST itself.
pub fn on_closed(segment: &Segment<'_>) -> Option<Bare> {
    // CM-7.e, CM-7.g.
    if segment.has(Flags::RST) {
        return None;
    }
    Some(if segment.has(Flags::ACK) {
        // <SEQ=SEG.ACK><CTL=RST>
        Bare { seq: segment.ack, ack: SeqNum(0), flags: Flags::RST, ..Bare::default() }
    } else {
        // <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>
        let flags = Flags::RST.union(Flags::ACK);
        Bare { seq: SeqNum(0), ack: segment.end(), flags, ..Bare::default() }
    })
}
