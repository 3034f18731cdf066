//! The congestion window: slow start, and whether the sender uses it.

use super::MAX_WINDOW;
use crate::tcp::SeqNum;
use crate::time::{Duration, Instant};

/// A congestion window in segments, and how much of it is used.
#[derive(Clone, Debug)]
pub struct Window {
    pub(super) cwnd: u32,
    pub(super) ssthresh: u32,
    /// Segments delivered in avoidance since the window last grew.
    pub(super) counted: u32,
    /// The most segments that were out in this window's worth of data, which ends at `usage_end`;
    /// `FULL` if the window was what held the sender back.
    most_out: u32,
    usage_end: SeqNum,
    /// The most segments that were out since the window was last full, at `full_at` milliseconds.
    used: u32,
    full_at: u32,
}

/// How much of the window is used, after something was sent.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Segments sent and not acknowledged.
    pub out: u32,
    /// Whether as many are in flight as the window lets.
    pub is_full: bool,
    /// SND.UNA and SND.NXT.
    pub una: SeqNum,
    /// SND.NXT.
    pub nxt: SeqNum,
    /// The retransmission timeout.
    pub rto: Duration,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            cwnd: INITIAL_WINDOW,
            ssthresh: u32::MAX,
            counted: 0,
            most_out: 0,
            usage_end: SeqNum(0),
            used: 0,
            full_at: 0,
        }
    }
}

#[cfg(test)]
impl Window {
    pub(super) fn of(cwnd: u32, ssthresh: u32) -> Self {
        Self { cwnd, ssthresh, ..Self::default() }
    }
}

impl Window {
    /// Segments that may be in flight.
    pub fn cwnd(&self) -> u32 {
        self.cwnd
    }

    /// The slow start threshold in segments; `None` before the first loss.
    pub fn ssthresh(&self) -> Option<u32> {
        (self.ssthresh < u32::MAX).then_some(self.ssthresh)
    }

    /// Whether the window is below its threshold.
    pub fn is_in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// Whether the window limits the sender, so that delivery says something of the path (RFC 7661,
    /// section 4). In slow start a flight of more than half of the window is enough: it could be
    /// the whole of it next.
    pub fn is_limiting(&self) -> bool {
        self.most_out == FULL || (self.is_in_slow_start() && self.cwnd < 2 * self.most_out)
    }

    /// Grows by the segments delivered, up to the threshold; returns how many are left.
    ///
    /// RFC 5681 3.1 lets a window grow by one segment for each ACK; here it grows by as many as the
    /// ACK delivered, so that a receiver that acknowledges rarely is no slower (RFC 3465's reason,
    /// with Linux's limit).
    pub(super) fn slow_start(&mut self, delivered: u32) -> u32 {
        if !self.is_in_slow_start() {
            return delivered;
        }
        let grown = self.cwnd.saturating_add(delivered).min(self.ssthresh);
        let left = delivered - (grown - self.cwnd);
        self.cwnd = grown.min(MAX_WINDOW);
        left
    }

    /// Grows by one segment for each `step` segments delivered.
    pub(super) fn grow_by_one_each(&mut self, step: u32, delivered: u32) {
        if self.counted >= step {
            // The step became smaller since it was counted towards.
            self.counted = 0;
            self.cwnd += 1;
        }
        self.counted += delivered;
        if self.counted >= step {
            self.cwnd += self.counted / step;
            self.counted %= step;
        }
        self.cwnd = self.cwnd.min(MAX_WINDOW);
    }

    /// After something was sent: notes how much of the window is used. A window that was not full
    /// for a timeout goes half of the way to what was used (RFC 2861, section 3.2).
    pub(super) fn on_sent(&mut self, usage: Usage, now: Instant) {
        let is_new_window = !usage.una.is_before(self.usage_end);
        if is_new_window || usage.is_full || usage.out > self.most_out {
            self.most_out = if usage.is_full { FULL } else { usage.out };
            self.usage_end = usage.nxt;
        }
        let millis = now.as_millis() as u32;
        if self.is_limiting() {
            self.used = 0;
            self.full_at = millis;
            return;
        }
        self.used = self.used.max(usage.out);
        if u128::from(millis.wrapping_sub(self.full_at)) >= usage.rto.as_millis() {
            self.validate();
            self.full_at = millis;
        }
    }

    fn validate(&mut self) {
        let used = self.used.max(INITIAL_WINDOW);
        if used < self.cwnd {
            self.remember();
            self.cwnd = self.cwnd.midpoint(used);
        }
        self.used = 0;
    }

    /// RFC 2861 3.1: the threshold remembers three quarters of a window that is given up unused.
    fn remember(&mut self) {
        self.ssthresh = match self.ssthresh() {
            Some(ssthresh) => ssthresh.max(self.cwnd / 2 + self.cwnd / 4),
            None => u32::MAX,
        };
    }

    /// RFC 2861 3.1, which is milder than RFC 5681 4.1 and comes to the same after some timeouts:
    /// the window halves with each timeout of silence, down to the initial one.
    pub(super) fn on_resumed(&mut self, idle: Duration, rto: Duration) {
        if idle <= rto {
            return;
        }
        self.remember();
        let floor = self.cwnd.min(INITIAL_WINDOW);
        let mut left = idle.saturating_sub(rto);
        while !left.is_zero() && self.cwnd > floor {
            self.cwnd /= 2;
            left = left.saturating_sub(rto);
        }
        self.cwnd = self.cwnd.max(floor);
        self.used = 0;
    }
}

const FULL: u32 = u32::MAX;
/// RFC 6928, section 2.
pub(super) const INITIAL_WINDOW: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const RTO: Duration = Duration::from_millis(300);

    fn sent(window: &mut Window, out: u32, nxt: u32, millis: u64) {
        let is_full = out >= window.cwnd;
        let usage = Usage { out, is_full, una: SeqNum(nxt - out), nxt: SeqNum(nxt), rto: RTO };
        window.on_sent(usage, Instant::from_millis(millis));
    }

    // RFC 7661 4.1, by Linux's rule: a flight of more than half of the window lets it grow, in slow
    // start; above only a full window does.
    #[test]
    fn window_that_is_not_used_does_not_limit() {
        let mut window = Window::default();
        sent(&mut window, 5, 5, 0);
        assert!(!window.is_limiting());
        sent(&mut window, 6, 6, 0);
        assert!(window.is_limiting());
        window.cwnd = 12;
        assert!(!window.is_limiting());
        window.ssthresh = 5;
        sent(&mut window, 11, 100, 0);
        assert!(!window.is_limiting());
        sent(&mut window, 12, 101, 0);
        assert!(window.is_limiting());
    }

    // RFC 9293 3.8.2 (MUST-19): a stretch ACK counts for all that it delivered; what passes the threshold is left over.
    #[test]
    fn slow_start_grows_by_what_was_delivered_up_to_the_threshold() {
        let mut window = Window::default();
        assert_eq!((window.slow_start(4), window.cwnd), (0, 14));
        window.ssthresh = 16;
        assert_eq!((window.slow_start(5), window.cwnd), (3, 16));
        assert_eq!(window.slow_start(5), 5);
    }

    #[test]
    fn growth_by_steps_counts_every_segment() {
        let mut window = Window::default();
        for _ in 0..10 {
            window.grow_by_one_each(10, 1);
        }
        assert_eq!((window.cwnd, window.counted), (11, 0));
        window.grow_by_one_each(4, 9);
        assert_eq!((window.cwnd, window.counted), (13, 1));
    }

    // RFC 2861 3.1 and RFC 5681 4.1.
    #[test]
    fn idle_time_halves_the_window_for_each_timeout_down_to_the_initial_one() {
        let mut window = Window { cwnd: 100, ssthresh: 50, ..Window::default() };
        window.on_resumed(RTO, RTO);
        assert_eq!(window.cwnd, 100);
        window.on_resumed(2 * RTO, RTO);
        assert_eq!((window.cwnd, window.ssthresh), (50, 75));
        window.on_resumed(60 * RTO, RTO);
        assert_eq!(window.cwnd, INITIAL_WINDOW);
        window.cwnd = 3;
        window.on_resumed(60 * RTO, RTO);
        assert_eq!(window.cwnd, 3);
    }

    // RFC 2861 3.2.
    #[test]
    fn window_that_was_not_full_for_a_timeout_shrinks_towards_its_use() {
        let mut window = Window { cwnd: 100, ssthresh: 50, ..Window::default() };
        sent(&mut window, 20, 20, 300);
        assert_eq!(window.cwnd, 60);
        sent(&mut window, 20, 40, 400);
        assert_eq!(window.cwnd, 60);
    }
}
