//! The bench's clock. Scenes are timed by a [`Stopwatch`], which leaves out what lies between.

use std::time::{Duration, Instant};

/// Time since it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock at zero.
    #[allow(clippy::disallowed_methods, reason = "the one place of the bench that reads the clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
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
}
