//! The only clock of the process: `CLOCK_MONOTONIC` since an origin taken once.
//!
//! Everything else is given `now`.

use nix::time::{ClockId, clock_gettime};

use crate::time::Instant;

/// Reads the time since the moment at which it was made; copies share that origin.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock that starts at zero.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn start() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    /// The kernel's monotonic clock, in ns, at this clock's zero: a little late rather than early.
    ///
    /// # Errors
    /// When the kernel has no such clock.
    pub fn origin(&self) -> nix::Result<u64> {
        let since = self.now().as_nanos();
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
        let now = now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64;
        Ok(now.saturating_sub(since))
    }

    /// The time since the start.
    #[inline]
    pub fn now(&self) -> Instant {
        let nanos = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Instant::from_nanos(nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_read_twice_does_not_go_back() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(clock.now() >= first);
    }

    #[test]
    fn origin_is_never_before_the_zero_and_hardly_behind_it() {
        let clock = Clock::start();
        let (first, later) = (clock.origin().unwrap(), clock.origin().unwrap());
        assert!(first.abs_diff(later) < 1_000_000_000);
    }
}
