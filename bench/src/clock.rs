//! The bench's clock, and waiting. Nothing else of the bench asks the kernel for the time.
//!
//! Scenes are timed by a [`Stopwatch`], which leaves out what lies between.

use std::time::Duration;

use nix::poll::{PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};

/// Time since some fixed moment of the past, on a clock that never goes back.
#[inline]
pub fn now() -> Duration {
    // No kernel that has epoll refuses this clock.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Lets `time` pass, or less where a signal comes.
pub fn pause(time: Duration) {
    let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
    // That a signal ended it early is nothing to the callers, who look at the clock again.
    let _ = poll(&mut [], timeout);
}

/// Time since it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Duration);

impl Clock {
    /// A clock at zero.
    #[inline]
    pub fn start() -> Self {
        Self(now())
    }

    /// The time since the start.
    #[inline]
    pub fn elapsed(&self) -> Duration {
        now() - self.0
    }
}

/// Adds up the time of the parts that are measured, without what reading the clock takes.
#[derive(Debug)]
pub struct Stopwatch {
    nanos: u64,
    overhead: u64,
}

impl Stopwatch {
    /// At zero.
    pub fn new() -> Self {
        let overhead = (0..64).map(|_| lap(|| ()).1).min().unwrap_or(0);
        Self { nanos: 0, overhead }
    }

    /// Runs `part` and adds its time.
    #[inline]
    pub fn time<R>(&mut self, part: impl FnOnce() -> R) -> R {
        let (result, nanos) = lap(part);
        self.nanos += nanos.saturating_sub(self.overhead);
        result
    }

    /// The sum in nanoseconds.
    pub const fn nanos(&self) -> u64 {
        self.nanos
    }
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self::new()
    }
}

#[inline]
fn lap<R>(part: impl FnOnce() -> R) -> (R, u64) {
    let clock = Clock::start();
    let result = part();
    (result, u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stopwatch_gives_what_the_part_gives_and_never_goes_back() {
        let mut watch = Stopwatch::new();
        let before = watch.nanos();
        assert_eq!(watch.time(|| 7), 7);
        assert!(watch.nanos() >= before);
    }

    #[test]
    fn pause_lets_time_pass_and_the_clock_counts_it() {
        let (before, clock) = (now(), Clock::start());
        // A signal may end one pause early, so that more are taken if need be.
        while clock.elapsed() < Duration::from_millis(2) {
            pause(Duration::from_millis(1));
        }
        assert!(now() - before >= Duration::from_millis(2));
    }
}
