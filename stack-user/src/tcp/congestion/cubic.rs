//! CUBIC (RFC 9438; RFC 9293 3.8.2: MAY-18): the window is a cubic function of the time since the
//! last loss.

use super::{Control, Moment, Window};
use crate::time::{Duration, Instant};

/// What CUBIC remembers. An epoch is a stage of congestion avoidance; there is none before the first
/// loss, and a connection that never loses carries two words.
#[derive(Debug, Default)]
pub(super) struct Cubic {
    /// W_max in segments, 0 when there is none (RFC 9438, 4.1.2).
    w_max: u32,
    /// cwnd_prior in segments: the window at the last loss (RFC 9438, 4.1.2).
    prior: u32,
    epoch: Option<Box<Epoch>>,
}

#[derive(Debug)]
struct Epoch {
    /// When the epoch began; idle time moves it forward.
    start: Instant,
    /// K in seconds (RFC 9438, 4.2).
    k: f64,
    /// The window at the plateau, in segments.
    origin: u32,
    /// W_est in segments (RFC 9438, 4.3), and what is delivered towards its next.
    estimate: f64,
    /// How many segments must be delivered for the window to grow by one.
    step: u32,
    /// For which window `step` was computed, and when.
    computed: (u32, Instant),
}

impl Control for Cubic {
    /// RFC 9438 4.6: beta = 0.7, and 4.7: fast convergence, which gives way to a newcomer when the
    /// window did not reach what it was.
    fn threshold(&mut self, cwnd: u32) -> u32 {
        self.epoch = None;
        self.prior = cwnd;
        let is_giving_way = cwnd < self.w_max;
        self.w_max = if is_giving_way { scaled(cwnd, (1.0 + BETA) / 2.0) } else { cwnd };
        scaled(cwnd, BETA).max(2)
    }

    fn avoid(&mut self, window: &mut Window, acked: u32, at: Moment) {
        let (w_max, prior) = (self.w_max, self.prior);
        let epoch = self.epoch.get_or_insert_with(|| Box::new(Epoch::new(w_max, window, at)));
        epoch.estimate += epoch.alpha(prior) * f64::from(acked) / f64::from(window.cwnd);
        epoch.compute(w_max, window.cwnd, at);
        window.grow_by_one_each(epoch.step, acked);
    }

    /// RFC 9438 4.8: what was learned is worth nothing; the next stage begins at its own window.
    fn on_timeout(&mut self) {
        *self = Self { prior: self.prior, ..Self::default() };
    }

    /// RFC 9438 4.2: the function's time does not run while nothing is sent.
    fn on_resumed(&mut self, idle: Duration) {
        if let Some(epoch) = &mut self.epoch {
            epoch.start = epoch.start + idle;
        }
    }
}

impl Epoch {
    fn new(w_max: u32, window: &Window, at: Moment) -> Self {
        let cwnd = window.cwnd;
        let below = f64::from(w_max.saturating_sub(cwnd));
        Self {
            start: at.now,
            k: (below / C).cbrt(),
            origin: cwnd.max(w_max),
            estimate: f64::from(cwnd),
            step: u32::MAX,
            computed: (0, at.now),
        }
    }

    /// RFC 9438 4.3: slower than Reno by as much as its smaller decrease gains, until the window is
    /// what it was before the loss.
    fn alpha(&self, prior: u32) -> f64 {
        if self.estimate < f64::from(prior) { ALPHA } else { 1.0 }
    }

    /// The step towards the larger of the cubic function one round trip ahead (RFC 9438, 4.2, 4.4
    /// and 4.5) and the estimate of Reno's window (4.3). It is taken anew when the window grew, and
    /// 32 times a second.
    fn compute(&mut self, w_max: u32, cwnd: u32, at: Moment) {
        let (of_window, when) = self.computed;
        if of_window == cwnd && at.now.since(when) < INTERVAL {
            return;
        }
        self.computed = (cwnd, at.now);
        let ahead = (at.now.since(self.start) + at.least_rtt).as_secs_f64() - self.k;
        let target = f64::from(self.origin) + (C * ahead.powi(3)).trunc();
        let cubic = steps_to(target, cwnd).unwrap_or(100 * cwnd);
        // With no W_max known there is no plateau to keep to: one segment for each twenty.
        let cubic = if w_max == 0 { cubic.min(20) } else { cubic };
        let reno = steps_to(self.estimate.trunc(), cwnd).unwrap_or(u32::MAX);
        // RFC 9438 4.4: the target is at most one and a half windows.
        self.step = cubic.min(reno).max(2);
    }
}

/// How many segments are delivered for each by which the window grows, to be at `target` after one
/// window; `None` if it is there.
fn steps_to(target: f64, cwnd: u32) -> Option<u32> {
    let gap = target - f64::from(cwnd);
    (gap >= 1.0).then(|| (f64::from(cwnd) / gap) as u32)
}

/// A share of a window, rounded down as with Linux's fractions of 1024.
fn scaled(cwnd: u32, share: f64) -> u32 {
    ((f64::from(cwnd) * share) + 1e-9) as u32
}

/// RFC 9438 4.6.
const BETA: f64 = 0.7;
/// RFC 9438 5.1, in segments per cubic second.
const C: f64 = 0.4;
/// RFC 9438 4.3: alpha = 3 (1 - beta) / (1 + beta).
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
const INTERVAL: Duration = Duration::from_micros(31_250);

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: u64 = 100;

    fn at(millis: u64) -> Moment {
        Moment { now: Instant::from_millis(millis), least_rtt: Duration::from_millis(RTT) }
    }

    /// Runs avoidance at one window per round trip; the windows at the end of each.
    fn run(cubic: &mut Cubic, window: &mut Window, from: u64, rounds: u64) -> Vec<u32> {
        let mut all = Vec::new();
        for round in 0..rounds {
            for _ in 0..window.cwnd {
                cubic.avoid(window, 1, at(from + round * RTT));
            }
            all.push(window.cwnd);
        }
        all
    }

    fn after_loss(cwnd: u32) -> (Cubic, Window) {
        let mut cubic = Cubic::default();
        let ssthresh = cubic.threshold(cwnd);
        (cubic, Window::of(ssthresh, ssthresh))
    }

    // RFC 9438 4.6 and 4.7.
    #[test]
    fn loss_falls_to_seven_tenths_and_gives_way_when_the_window_did_not_come_back() {
        let mut cubic = Cubic::default();
        assert_eq!((cubic.threshold(10), cubic.w_max), (7, 10));
        assert_eq!((cubic.threshold(1000), cubic.w_max), (700, 1000));
        assert_eq!((cubic.threshold(800), cubic.w_max), (560, 680));
        assert_eq!(cubic.threshold(1), 2);
    }

    // RFC 9293 3.8.2 (MAY-18): RFC 9438. RFC 9438 4.2: concave up to W_max, which is reached after
    // K, flat there, and convex beyond.
    #[test]
    fn window_is_at_its_old_height_after_k_and_grows_slowest_there() {
        let (mut cubic, mut window) = after_loss(1000);
        // K = cbrt(300 / 0.4) = 9.09 s.
        let windows = run(&mut cubic, &mut window, 0, 160);
        assert!((985..=1005).contains(&windows[90]), "{}", windows[90]);
        let growth = |round: usize| windows[round + 5] - windows[round];
        assert!(growth(5) > 4 * growth(88), "concave: {} {}", growth(5), growth(88));
        assert!(growth(150) > 4 * growth(88), "convex: {} {}", growth(150), growth(88));
        // At 16 s the function is 1000 + 0.4 * 7^3 = 1137.
        assert!((1120..=1150).contains(&windows[159]), "{}", windows[159]);
    }

    // RFC 9438 4.3: a small window on a short path grows as Reno's does: 0.53 segments each round
    // trip until it is what it was, and one beyond.
    #[test]
    fn small_window_grows_as_renos() {
        let (mut cubic, mut window) = after_loss(20);
        let short =
            |round| Moment { least_rtt: Duration::from_millis(32), ..at(32 * u64::from(round)) };
        let mut rounds = 0u32;
        while window.cwnd < 20 {
            for _ in 0..window.cwnd {
                cubic.avoid(&mut window, 1, short(rounds));
            }
            rounds += 1;
        }
        // Six segments at 0.53 each: 11.3 round trips, where the cubic function alone needs seconds.
        assert!((10..=14).contains(&rounds), "{rounds}");
        for _ in 0..10 {
            for _ in 0..window.cwnd {
                cubic.avoid(&mut window, 1, short(rounds));
            }
            rounds += 1;
        }
        assert!((28..=31).contains(&window.cwnd), "{}", window.cwnd);
    }

    // RFC 9438 4.4: at most half a window each round trip.
    #[test]
    fn window_far_below_its_old_height_grows_by_a_half_at_most() {
        let (mut cubic, mut window) = after_loss(100_000);
        window.cwnd = 10;
        let windows = run(&mut cubic, &mut window, 0, 3);
        assert!(windows[0] <= 16 && windows[1] <= 25 && windows[2] <= 38, "{windows:?}");
    }

    // RFC 9438 4.8: after a timeout K is 0 and the plateau is the window itself.
    #[test]
    fn timeout_forgets_the_old_height() {
        let (mut cubic, mut window) = after_loss(1000);
        run(&mut cubic, &mut window, 0, 3);
        cubic.on_timeout();
        (window.cwnd, window.counted) = (7, 0);
        // One segment for each twenty, as nothing is known of the path.
        for _ in 0..19 {
            cubic.avoid(&mut window, 1, at(2_000));
        }
        assert_eq!(window.cwnd, 7);
        cubic.avoid(&mut window, 1, at(2_000));
        assert_eq!(window.cwnd, 8);
    }

    // RFC 9438 4.2: an idle time gives no credit.
    #[test]
    fn idle_time_does_not_count() {
        let (mut cubic, mut window) = after_loss(1000);
        let before = run(&mut cubic, &mut window, 0, 95)[94];
        cubic.on_resumed(Duration::from_secs(60));
        let after = run(&mut cubic, &mut window, 9_500 + 60_000, 3)[2];
        assert!(after - before < 5, "{before} {after}");
    }

    // RFC 9438 4.3: once W_est is no less than cwnd_prior, alpha is one.
    #[test]
    fn estimate_at_the_old_window_grows_as_fast_as_reno() {
        let epoch = Epoch::new(20, &Window::of(20, 14), at(0));
        assert_eq!([20, 21].map(|prior| epoch.alpha(prior)), [1.0, ALPHA]);
    }
}
