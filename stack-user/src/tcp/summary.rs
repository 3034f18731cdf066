//! The figures of a connection that its shard publishes.

use super::{State, Tcb};

/// A connection's state and figures, as others see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The state.
    pub state: State,
    /// Octets received in order that the user has not consumed.
    pub unread: u32,
    /// Octets that the user sent and the peer has not acknowledged, sent or not.
    pub queued: u32,
    /// The congestion window in octets.
    pub cwnd: u32,
    /// The smoothed round-trip time in microseconds; 0 before the first sample.
    pub srtt: u32,
    /// Timeouts since the peer last answered.
    pub retransmits: u32,
}

impl Tcb {
    /// The connection's state and figures.
    pub fn summary(&self) -> Summary {
        let srtt = self.rtt.smoothed().map_or(0, |srtt| srtt.as_micros());
        Summary {
            state: self.state(),
            unread: self.rcv.unread.len() as u32,
            queued: self.snd.buffer.len() as u32,
            cwnd: self.cc.window().cwnd().saturating_mul(self.max_text()),
            srtt: u32::try_from(srtt).unwrap_or(u32::MAX),
            retransmits: self.rtt.unanswered().into(),
        }
    }
}
