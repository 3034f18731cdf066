//! Bursts: segments that leave at one instant. The last of several carries PSH, as where a sender's
//! NIC cuts them from one large packet, so that the peer's user may have them all at once.
//!
//! Linux builds such packets of at most half the congestion window and of what its pacing rate sends
//! in a millisecond; nothing is held back for them here.

use super::{Config, Env, Tcb};
use crate::time::Instant;

impl Tcb {
    /// Counts the new segment that goes now to its burst; whether it is the last of several. Behind
    /// it are `unsent` octets, of which `usable` fit the peer's window.
    pub(super) fn ends_burst(
        &mut self,
        (usable, unsent): (u32, u32),
        env: &Env<'_>,
        now: Instant,
    ) -> bool {
        let last = self.flight.last().map(|last| env.pool.records.at(last));
        let has_begun = last.is_some_and(|last| last.sent_at.age(now) == 0);
        let is_first = !has_begun || self.rare.burst == 0;
        if is_first {
            self.rare.burst = self.longest_burst(env.config);
        }
        self.rare.burst -= 1;
        let most = self.max_text_now();
        let next = usable.min(most);
        if next == 0 || self.window_left() == 1 || !self.is_worth_sending(next, unsent, most) {
            self.rare.burst = 0;
        }
        self.rare.burst == 0 && !is_first
    }

    /// The segments of a burst that begins now: one at least.
    fn longest_burst(&self, config: &Config) -> u8 {
        let paced = self.paced_segments().max(config.min_burst.into());
        let half = (self.cc.window().cwnd() / 2).min(self.window_left());
        half.min(paced).clamp(1, u8::MAX.into()) as u8
    }

    /// What Linux's pacing rate lets out in a millisecond, and more where the path is short, in
    /// segments.
    fn paced_segments(&self) -> u32 {
        let (Some(round), Some(least)) = (self.rtt.smoothed(), self.rtt.least()) else {
            return u32::MAX;
        };
        let window = self.cc.window();
        let percent = match window.ssthresh() {
            Some(ssthresh) if window.cwnd() >= ssthresh / 2 => 120,
            _ => 200,
        };
        let mss = u64::from(self.max_text());
        let in_flight = mss * u64::from(window.cwnd().max(self.flight.len()));
        let rate = in_flight * 1_000_000 * percent / 100 / round.as_micros().max(1) as u64;
        let near = u32::try_from(least.as_micros() >> 9).unwrap_or(u32::MAX);
        let bonus = LARGEST_PACKET.checked_shr(near).unwrap_or(0);
        u32::try_from(((rate >> 10) + u64::from(bonus)) / mss).unwrap_or(u32::MAX)
    }
}

/// Linux's gso_max_size in octets.
const LARGEST_PACKET: u32 = 65_536;
