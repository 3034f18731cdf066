//! Round-trip time and the retransmission timeout (RFC 6298).

use crate::time::{Duration, Instant};

use super::SeqNum;

/// The estimator of one connection. Times are microseconds.
#[derive(Clone, Debug, Default)]
pub struct Rtt {
    srtt: u32,
    rttvar: u32,
    /// Retransmissions since the last acknowledgment of new data: the timeout doubles with each.
    backoff: u8,
    /// Of these, how many since the peer last answered at all.
    unanswered: u8,
    /// The segment being timed ends before this number, and was sent at `sent`.
    timed: Option<(SeqNum, Instant)>,
}

impl Rtt {
    /// Smoothed round-trip time; `None` before the first sample.
    pub fn smoothed(&self) -> Option<Duration> {
        (self.srtt > 0).then(|| Duration::from_micros(self.srtt.into()))
    }

    /// The timeout for a segment sent now (RFC 6298, section 2, and 5.5 for the back-off).
    pub fn timeout(&self) -> Duration {
        let base = if self.srtt == 0 {
            INITIAL
        } else {
            Duration::from_micros((self.srtt + (4 * self.rttvar).max(GRANULARITY)).into())
        };
        (base.max(MINIMUM) * (1 << self.backoff.min(10))).min(MAXIMUM)
    }

    /// Times the segment that ends before `end`, unless one is being timed already.
    pub fn on_sent(&mut self, end: SeqNum, now: Instant) {
        self.timed.get_or_insert((end, now));
    }

    /// Stops timing: with a retransmission under way a sample would be ambiguous (Karn, RFC 6298,
    /// section 3).
    pub fn on_retransmit(&mut self) {
        self.timed = None;
    }

    /// The timer fired: doubles the timeout (RFC 6298, 5.5).
    pub fn back_off(&mut self) {
        self.on_retransmit();
        self.backoff = self.backoff.saturating_add(1);
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// How often the timer fired since the peer last acknowledged new data or answered a probe.
    pub fn unanswered(&self) -> u8 {
        self.unanswered
    }

    /// Whether the timeout cannot grow any more.
    pub fn is_at_maximum(&self) -> bool {
        self.timeout() == MAXIMUM
    }

    /// New data was acknowledged up to `una`.
    pub fn on_acknowledged(&mut self, una: SeqNum, now: Instant) {
        self.on_answer();
        if let Some((end, sent)) = self.timed
            && !end.is_after(una)
        {
            self.timed = None;
            self.on_sample(now.since(sent));
        }
    }

    /// What was outstanding is settled: the timeout is the estimate again.
    pub fn on_answer(&mut self) {
        self.backoff = 0;
        self.unanswered = 0;
    }

    /// The peer answered a probe with its window still closed: it lives, and the next probe comes
    /// later still.
    pub fn on_probe_answer(&mut self) {
        self.unanswered = 0;
    }

    fn on_sample(&mut self, sample: Duration) {
        let r = u32::try_from(sample.as_micros()).unwrap_or(u32::MAX / 16).clamp(1, u32::MAX / 16);
        if self.srtt == 0 {
            (self.srtt, self.rttvar) = (r, r / 2);
        } else {
            // beta = 1/4 and alpha = 1/8, rttvar first (RFC 6298, 2.3).
            self.rttvar = (3 * self.rttvar + self.srtt.abs_diff(r)) / 4;
            self.srtt = ((7 * u64::from(self.srtt) + u64::from(r)) / 8).max(1) as u32;
        }
    }
}

/// RFC 6298, 2.1.
const INITIAL: Duration = Duration::from_secs(1);
/// Below RFC 6298's SHOULD of one second, as Linux and others do: a recorded deviation.
const MINIMUM: Duration = Duration::from_millis(200);
const MAXIMUM: Duration = Duration::from_secs(120);
/// The clock's granularity G in microseconds: the wheel's tick.
const GRANULARITY: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rtt: &mut Rtt, millis: u64) {
        rtt.on_sent(SeqNum(1), Instant::ZERO);
        rtt.on_acknowledged(SeqNum(1), Instant::from_millis(millis));
    }

    // RFC 6298 2.1 to 2.4.
    #[test]
    fn timeout_follows_the_samples_within_its_bounds() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(), INITIAL);
        sample(&mut rtt, 400);
        assert_eq!(rtt.timeout(), Duration::from_millis(400 + 4 * 200));
        for _ in 0..50 {
            sample(&mut rtt, 1);
        }
        assert_eq!(rtt.timeout(), MINIMUM);
    }

    // RFC 6298 5.5 and 2.5.
    #[test]
    fn each_timeout_doubles_up_to_the_maximum_and_new_data_ends_it() {
        let mut rtt = Rtt::default();
        rtt.back_off();
        assert_eq!(rtt.timeout(), 2 * INITIAL);
        for _ in 0..20 {
            rtt.back_off();
        }
        assert_eq!(rtt.timeout(), MAXIMUM);
        rtt.on_acknowledged(SeqNum(1), Instant::ZERO);
        assert_eq!(rtt.timeout(), INITIAL);
    }

    // RFC 6298 section 3: Karn's algorithm.
    #[test]
    fn retransmitted_segment_gives_no_sample() {
        let mut rtt = Rtt::default();
        rtt.on_sent(SeqNum(1), Instant::ZERO);
        rtt.on_retransmit();
        rtt.on_acknowledged(SeqNum(1), Instant::from_millis(5000));
        assert_eq!(rtt.smoothed(), None);
    }
}
