//! LISTEN (RFC 9293, section 3.10.7.2).

use crate::tcp::Segment;
use crate::wire::tcp::Flags;

/// What a listener does with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenVerdict {
    /// Drops it.
    Drop,
    /// Answers as in CLOSED.
    Refuse,
    /// Opens a half-open entry and answers with SYN and ACK.
    Open,
}

/// Looks at a segment for a listener.
pub fn on_listen(segment: &Segment<'_>) -> ListenVerdict {
    if segment.has(Flags::RST) {
        // First: nothing was sent that it could answer.
        ListenVerdict::Drop
    } else if segment.has(Flags::ACK) {
        // Second: any acknowledgment is bad.
        ListenVerdict::Refuse
    } else if segment.has(Flags::SYN) && !segment.has(Flags::FIN) {
        // Third. SYN with FIN is no open that anybody means: dropped, a recorded deviation.
        ListenVerdict::Open
    } else {
        // Fourth: other text or control.
        ListenVerdict::Drop
    }
}
