//! The time of macro runs, and waiting.

use std::time::Duration;

use nix::poll::{PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};

/// Time since some fixed moment of the past, on a clock that never goes back.
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
