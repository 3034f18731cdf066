//! NewReno: slow start, congestion avoidance, fast retransmit and fast recovery (RFC 5681, RFC 6582),
//! limited transmit (RFC 3042), initial window of ten segments (RFC 6928).

use crate::tcp::SeqNum;

/// The congestion state of one connection. Windows are octets.
#[derive(Clone, Debug)]
pub struct NewReno {
    cwnd: u32,
    ssthresh: u32,
    /// Octets acknowledged in congestion avoidance since `cwnd` last grew.
    counted: u32,
    /// What the window is counted in: the most payload that a segment carries.
    mss: u16,
    duplicates: u8,
    /// Where fast recovery ends, while it lasts.
    recover: Option<SeqNum>,
    /// The highest number sent before a timeout: duplicates below it are of retransmissions, and no
    /// sign of loss (RFC 6582, section 4).
    barrier: Option<SeqNum>,
}

/// What an acknowledgment asks of the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing beyond what the window allows.
    None,
    /// Send the first unacknowledged segment again.
    Retransmit,
    /// As `Retransmit`; this begins a fast recovery.
    FastRetransmit,
}

impl NewReno {
    /// The state after the handshake; `mss` is the most payload of a segment in octets.
    pub fn new(mss: u16) -> Self {
        let cwnd = INITIAL_SEGMENTS * u32::from(mss);
        Self {
            cwnd,
            ssthresh: u32::MAX,
            counted: 0,
            mss,
            duplicates: 0,
            recover: None,
            barrier: None,
        }
    }

    /// Octets that may be in flight now. The first two duplicate ACKs each let one more segment out
    /// (RFC 3042).
    pub fn window(&self) -> u32 {
        if self.recover.is_some() {
            return self.cwnd;
        }
        self.cwnd.saturating_add(u32::from(self.duplicates.min(2)) * u32::from(self.mss))
    }

    /// Whether fast recovery is under way.
    pub fn is_recovering(&self) -> bool {
        self.recover.is_some()
    }

    /// `acked` octets of new data were acknowledged up to `una`, `flight` are still out, and the
    /// window was what held the sender back if `was_limited` (RFC 7661: an idle window is no proof).
    pub fn on_ack(
        &mut self,
        una: SeqNum,
        (acked, flight): (u32, u32),
        was_limited: bool,
    ) -> Reaction {
        self.duplicates = 0;
        self.barrier = self.barrier.filter(|barrier| una.is_before(*barrier));
        let mss = u32::from(self.mss);
        match self.recover {
            Some(recover) if una.is_before(recover) => {
                // A partial ACK: the next hole follows at once (RFC 6582, 3.2 step 3).
                let deflated = self.cwnd.saturating_sub(acked);
                self.cwnd = (if acked >= mss { deflated + mss } else { deflated }).max(mss);
                Reaction::Retransmit
            }
            Some(_) => {
                self.recover = None;
                self.cwnd = self.ssthresh.min(flight.max(mss) + mss);
                Reaction::None
            }
            None => {
                if was_limited {
                    self.grow(acked);
                }
                Reaction::None
            }
        }
    }

    fn grow(&mut self, acked: u32) {
        let mss = u32::from(self.mss);
        if self.cwnd < self.ssthresh {
            self.cwnd = self.cwnd.saturating_add(acked.min(2 * mss)).min(MAX_WINDOW);
            return;
        }
        self.counted += acked;
        if self.counted >= self.cwnd {
            self.counted -= self.cwnd;
            self.cwnd = self.cwnd.saturating_add(mss).min(MAX_WINDOW);
        }
    }

    /// A duplicate ACK arrived; `flight` octets are out and `max` is the highest number sent.
    pub fn on_duplicate_ack(&mut self, flight: u32, max: SeqNum) -> Reaction {
        let mss = u32::from(self.mss);
        self.duplicates = self.duplicates.saturating_add(1);
        if self.recover.is_some() {
            self.cwnd = self.cwnd.saturating_add(mss).min(MAX_WINDOW);
            return Reaction::None;
        }
        if self.duplicates < DUPLICATES || self.barrier.is_some() {
            return Reaction::None;
        }
        self.ssthresh = (flight / 2).max(2 * mss);
        self.cwnd = self.ssthresh + u32::from(DUPLICATES) * mss;
        self.recover = Some(max);
        Reaction::FastRetransmit
    }

    /// The retransmission timer fired with `flight` octets out, the last of them before `max`;
    /// `is_first` unless it had fired for the same data before (RFC 5681, section 3.1).
    pub fn on_timeout(&mut self, flight: u32, is_first: bool, max: SeqNum) {
        let mss = u32::from(self.mss);
        if is_first {
            self.ssthresh = (flight / 2).max(2 * mss);
        }
        self.cwnd = mss;
        self.counted = 0;
        self.duplicates = 0;
        self.recover = None;
        self.barrier = Some(max);
    }

    /// Nothing was sent for longer than a retransmission timeout (RFC 5681, section 4.1).
    pub fn on_idle(&mut self) {
        self.cwnd = self.cwnd.min(INITIAL_SEGMENTS * u32::from(self.mss));
    }
}

const INITIAL_SEGMENTS: u32 = 10;
const DUPLICATES: u8 = 3;
/// Far above any receive window; keeps the sums away from the end of their type.
const MAX_WINDOW: u32 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    // RFC 6928: ten segments. RFC 5681 3.1: slow start doubles, avoidance adds one each round trip.
    #[test]
    fn window_doubles_below_and_adds_one_segment_above_the_threshold() {
        let mut cc = NewReno::new(MSS as u16);
        assert_eq!(cc.window(), 10 * MSS);
        for _ in 0..10 {
            cc.on_ack(SeqNum(0), (MSS, 0), true);
        }
        assert_eq!(cc.window(), 20 * MSS);
        cc.on_timeout(20 * MSS, true, SeqNum(0));
        assert_eq!(cc.window(), MSS);
        for _ in 0..9 {
            cc.on_ack(SeqNum(0), (MSS, 0), true);
        }
        assert_eq!(cc.window(), 10 * MSS);
        for _ in 0..10 {
            cc.on_ack(SeqNum(0), (MSS, 0), true);
        }
        assert_eq!(cc.window(), 11 * MSS);
    }

    // RFC 6582 3.2.
    #[test]
    fn third_duplicate_halves_and_partial_acks_retransmit_until_recovery_ends() {
        let mut cc = NewReno::new(MSS as u16);
        let max = SeqNum(10 * MSS);
        assert_eq!(cc.on_duplicate_ack(10 * MSS, max), Reaction::None);
        assert_eq!(cc.window(), 11 * MSS);
        assert_eq!(cc.on_duplicate_ack(10 * MSS, max), Reaction::None);
        assert_eq!(cc.on_duplicate_ack(10 * MSS, max), Reaction::FastRetransmit);
        assert_eq!(cc.window(), 8 * MSS);
        let partial = cc.on_ack(SeqNum(3 * MSS), (3 * MSS, 7 * MSS), true);
        assert_eq!(partial, Reaction::Retransmit);
        assert!(cc.is_recovering());
        assert_eq!(cc.on_ack(max, (7 * MSS, 4 * MSS), true), Reaction::None);
        assert_eq!(cc.window(), 5 * MSS);
    }
}
