//! Round-trip time and the retransmission timeout: RFC 6298, with the deviation counted as Linux
//! counts it.
//!
//! RFC 6298 smooths the deviation with every sample; with many samples in a round trip it would
//! forget within one what the last taught. Here the largest deviation of a round trip counts, it
//! falls by a quarter of the difference per round trip, and it never falls below the least timeout:
//! RTO = SRTT + max(4 RTTVAR, 200 ms).

use crate::time::{Duration, Instant};

use super::SeqNum;

/// The estimator of one connection. Times are microseconds.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Rtt {
    /// Eight times SRTT; 0 before the first sample.
    srtt8: u32,
    /// Four times the smoothed deviation.
    deviation4: u32,
    /// The largest `deviation4` of this round trip.
    most4: u32,
    /// What the timeout adds to SRTT: four times RTTVAR.
    variance4: u32,
    /// Where this round trip ends.
    round_end: SeqNum,
    /// The least sample of the last minutes; 0 before the first.
    min: u32,
    /// The second in which that was taken; before it, the microsecond in which the SYN was sent.
    min_at: u32,
    /// Timeouts since the last sample: the timeout doubles with each (RFC 6298, 5.5), and only a
    /// sample of a segment sent once takes that back (section 3).
    backoff: u8,
    /// Timeouts since the peer last answered at all.
    unanswered: u8,
}

impl Rtt {
    /// Smoothed round-trip time; `None` before the first sample.
    pub fn smoothed(&self) -> Option<Duration> {
        self.smoothed_micros().map(|micros| Duration::from_micros(micros.into()))
    }

    /// As [`Rtt::smoothed`], in microseconds.
    #[inline]
    pub fn smoothed_micros(&self) -> Option<u32> {
        (self.srtt8 > 0).then_some(self.srtt8 / 8)
    }

    /// The smoothed mean deviation, as TCP_INFO has it.
    pub fn deviation(&self) -> Duration {
        Duration::from_micros((self.deviation4 / 4).into())
    }

    /// The least sample of the last five minutes.
    pub fn least(&self) -> Option<Duration> {
        (self.min > 0).then(|| Duration::from_micros(self.min.into()))
    }

    /// The timeout for a segment sent now (RFC 6298, section 2, and 5.5 for the back-off).
    pub fn timeout(&self) -> Duration {
        Duration::from_micros(self.timeout_micros())
    }

    /// The same in microseconds.
    #[inline]
    pub fn timeout_micros(&self) -> u64 {
        // RFC 9293 3.8.1 (MUST-18): as RFC 6298 says.
        // In whole microseconds: this is asked for several times for every segment with text.
        let base = match (self.srtt8, self.variance4) {
            (0, 0) => INITIAL.as_micros() as u64,
            (srtt8, variance4) => u64::from(srtt8 / 8) + u64::from(variance4),
        };
        let backed_off = base.max(MINIMUM.as_micros() as u64) << self.backoff.min(10);
        backed_off.min(MAXIMUM.as_micros() as u64)
    }

    /// How often the timeout has doubled.
    pub fn backoff(&self) -> u8 {
        self.backoff
    }

    /// The SYN was sent.
    pub fn on_syn_sent(&mut self, now: Instant) {
        self.min_at = now.as_micros() as u32;
    }

    /// Microseconds since the SYN was last sent, before the first sample.
    pub fn syn_age(&self, now: Instant) -> u32 {
        (now.as_micros() as u32).wrapping_sub(self.min_at)
    }

    /// The timer fired: doubles the timeout (RFC 6298, 5.5).
    pub fn back_off(&mut self) {
        // RFC 9293 3.8.2 (MUST-19): exponential back-off.
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

    /// The peer acknowledged something new, or answered a probe: it lives. The back-off stays until
    /// there is a sample.
    pub fn on_answer(&mut self) {
        self.unanswered = 0;
    }

    /// The window opened after probes: the next timeout is the estimate again.
    pub fn on_window_opened(&mut self) {
        self.backoff = 0;
        self.unanswered = 0;
    }

    /// The handshake gave no sample, because the SYN went more than once.
    ///
    /// RFC 6298 5.7: the timeout is three seconds until there is a sample.
    pub fn on_handshake_untimed(&mut self) {
        if self.srtt8 == 0 {
            let fallback = FALLBACK.as_micros() as u32;
            (self.deviation4, self.most4, self.variance4) = (fallback, fallback, fallback);
        }
        self.backoff = 0;
    }

    /// A round trip took `micros`. `una` and `nxt` are SND.UNA and SND.NXT after what brought it.
    pub fn on_sample(&mut self, micros: u32, (una, nxt): (SeqNum, SeqNum), now: Instant) {
        let sample = micros.clamp(1, MOST_MICROS);
        self.backoff = 0;
        self.note_least(sample, now);
        if self.srtt8 == 0 {
            // RFC 6298 2.2: SRTT = R, RTTVAR = R/2.
            self.srtt8 = sample * 8;
            self.deviation4 = sample * 2;
            self.variance4 = self.deviation4.max(FLOOR);
            self.most4 = self.variance4;
            self.round_end = nxt;
            return;
        }
        // RFC 6298 2.3: alpha = 1/8, beta = 1/4.
        let difference = sample as i32 - (self.srtt8 / 8) as i32;
        self.srtt8 = self.srtt8.wrapping_add_signed(difference).max(1);
        let mut change = difference.unsigned_abs() as i32 - (self.deviation4 / 4) as i32;
        if difference < 0 && change > 0 {
            // A round trip that became shorter is no reason to wait longer.
            change /= 8;
        }
        self.deviation4 = self.deviation4.saturating_add_signed(change);
        self.most4 = self.most4.max(self.deviation4);
        self.variance4 = self.variance4.max(self.most4);
        if una.is_after(self.round_end) {
            self.variance4 -= (self.variance4 - self.most4) / 4;
            self.round_end = nxt;
            self.most4 = FLOOR;
        }
    }

    fn note_least(&mut self, sample: u32, now: Instant) {
        let second = (now.as_millis() / 1000) as u32;
        if self.min == 0 || sample <= self.min || second.wrapping_sub(self.min_at) > LEAST_SECONDS {
            (self.min, self.min_at) = (sample, second);
        }
    }
}

/// RFC 6298, 2.1.
const INITIAL: Duration = Duration::from_secs(1);
/// RFC 6298, 5.7.
const FALLBACK: Duration = Duration::from_secs(3);
/// Below RFC 6298's SHOULD of one second, as Linux and others do: a recorded deviation.
const MINIMUM: Duration = Duration::from_millis(200);
const MAXIMUM: Duration = Duration::from_secs(120);
/// The least that the timeout adds to SRTT, in microseconds.
const FLOOR: u32 = 200_000;
/// The longest sample, which keeps eight times it inside its type.
const MOST_MICROS: u32 = 250_000_000;
/// How long a least round trip counts.
const LEAST_SECONDS: u32 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rtt: &mut Rtt, millis: u32, at: u32) {
        rtt.on_sample(millis * 1000, (SeqNum(at), SeqNum(at + 10)), Instant::ZERO);
    }

    fn millis(rtt: &Rtt) -> u64 {
        rtt.timeout().as_millis() as u64
    }

    // RFC 9293 3.8.1 (MUST-18); RFC 6298 2.1 to 2.4: before, after the first sample, and at the lower bound.
    #[test]
    fn timeout_follows_the_samples_within_its_bounds() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(), INITIAL);
        sample(&mut rtt, 400, 0);
        assert_eq!(millis(&rtt), 400 + 4 * 200);
        for round in 1..60 {
            sample(&mut rtt, 1, 20 * round);
        }
        assert_eq!(rtt.smoothed().map(|srtt| srtt.as_millis()), Some(1));
        assert!((201..=202).contains(&millis(&rtt)), "{rtt:?}");
    }

    // The figures of Linux for an RTT of 100 ms: 300 ms after the first sample, and 300 ms for ever,
    // since the floor of 200 ms takes over.
    #[test]
    fn timeout_of_a_steady_path_is_its_round_trip_and_200_ms() {
        let mut rtt = Rtt::default();
        for round in 0..50 {
            sample(&mut rtt, 100, 20 * round);
            assert_eq!(millis(&rtt), 300);
        }
    }

    // The deviation of a round trip is its largest, and falls slowly.
    #[test]
    fn timeout_remembers_the_largest_deviation_of_a_round_trip() {
        let mut rtt = Rtt::default();
        sample(&mut rtt, 100, 0);
        sample(&mut rtt, 500, 20);
        let high = millis(&rtt);
        assert!(high > 500, "{high}");
        for _ in 0..20 {
            // All of one round trip: RFC 6298's own rule would be near 300 ms by now.
            sample(&mut rtt, 100, 25);
        }
        assert!(millis(&rtt) > high / 2, "{} of {high}", millis(&rtt));
        for round in 2..40 {
            sample(&mut rtt, 100, 20 * round);
        }
        assert!(millis(&rtt) < 320, "{rtt:?}");
    }

    // A path that became faster does not make the timeout longer.
    #[test]
    fn shorter_round_trip_raises_the_deviation_by_little() {
        let (mut up, mut down) = (Rtt::default(), Rtt::default());
        for rtt in [&mut up, &mut down] {
            for round in 0..40 {
                sample(rtt, 1000, 20 * round);
            }
        }
        sample(&mut up, 1900, 20_000);
        sample(&mut down, 100, 20_000);
        assert!(up.deviation4 > 2 * down.deviation4, "{up:?} {down:?}");
    }

    // RFC 9293 3.8.2 (MUST-19); RFC 6298 5.5 and section 3: acknowledged data alone does not take the back-off back.
    #[test]
    fn each_timeout_doubles_up_to_the_maximum_and_a_sample_ends_it() {
        let mut rtt = Rtt::default();
        rtt.back_off();
        assert_eq!(rtt.timeout(), 2 * INITIAL);
        for _ in 0..20 {
            rtt.back_off();
        }
        assert_eq!(rtt.timeout(), MAXIMUM);
        rtt.on_answer();
        assert_eq!((rtt.timeout(), rtt.unanswered()), (MAXIMUM, 0));
        sample(&mut rtt, 100, 0);
        assert_eq!(millis(&rtt), 300);
    }

    // RFC 6298 5.7.
    #[test]
    fn untimed_handshake_leaves_three_seconds_until_a_sample() {
        let mut rtt = Rtt::default();
        rtt.back_off();
        rtt.on_handshake_untimed();
        assert_eq!(rtt.timeout(), FALLBACK);
        sample(&mut rtt, 100, 0);
        assert_eq!(millis(&rtt), 300);
    }

    #[test]
    fn least_round_trip_is_forgotten_after_five_minutes() {
        let mut rtt = Rtt::default();
        let place = (SeqNum(0), SeqNum(1));
        rtt.on_sample(10_000, place, Instant::ZERO);
        rtt.on_sample(20_000, place, Instant::from_millis(299_000));
        assert_eq!(rtt.least(), Some(Duration::from_millis(10)));
        rtt.on_sample(20_000, place, Instant::from_millis(301_000));
        assert_eq!(rtt.least(), Some(Duration::from_millis(20)));
    }

    // A sample that no path has does not overflow.
    #[test]
    fn absurd_sample_is_bounded() {
        let mut rtt = Rtt::default();
        sample(&mut rtt, 1, 0);
        rtt.on_sample(u32::MAX, (SeqNum(50), SeqNum(60)), Instant::ZERO);
        rtt.on_sample(1, (SeqNum(70), SeqNum(80)), Instant::ZERO);
        assert!(rtt.timeout() <= MAXIMUM);
    }
}
