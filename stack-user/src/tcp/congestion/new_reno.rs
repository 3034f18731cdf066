//! NewReno's growth: one segment for each window delivered, and half after a loss (RFC 5681).

use super::{Control, Moment, Window};

/// The algorithm has no state but the window.
#[derive(Clone, Debug, Default)]
pub(super) struct NewReno;

impl Control for NewReno {
    /// RFC 5681 3.1 (4). The window stands for the flight: it is kept near what is used.
    fn threshold(&mut self, cwnd: u32) -> u32 {
        (cwnd / 2).max(2)
    }

    fn avoid(&mut self, window: &mut Window, acked: u32, _at: Moment) {
        window.grow_by_one_each(window.cwnd, acked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Duration, Instant};

    // RFC 9293 3.8.2 (MUST-19); RFC 5681 3.1 (3) and (4).
    #[test]
    fn avoidance_adds_one_segment_each_window_and_a_loss_halves() {
        let mut window = Window::of(10, 10);
        let at = Moment { now: Instant::ZERO, least_rtt: Duration::from_millis(10) };
        let mut reno = NewReno;
        for _ in 0..9 {
            reno.avoid(&mut window, 1, at);
        }
        assert_eq!(window.cwnd, 10);
        reno.avoid(&mut window, 1, at);
        assert_eq!(window.cwnd, 11);
        assert_eq!((reno.threshold(11), reno.threshold(1)), (5, 2));
    }
}
