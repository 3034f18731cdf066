//! A deadline in 32 bits: what a connection keeps for each of its timers.
//!
//! Milliseconds that wrap, so that it is known only together with a present time less than 24 days
//! away. A millisecond is the wheel's tick: rounded up, a deadline is due when the wheel would look
//! at it, no sooner and no later.

use crate::time::{Duration, Instant};

/// A point in time, or [`Deadline::NEVER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline(u32);

impl Deadline {
    /// Of a timer that is not armed.
    pub const NEVER: Self = Self(u32::MAX);

    /// `wait` after `now`, and at most [`FURTHEST`].
    pub fn after(wait: Duration, now: Instant) -> Self {
        Self::after_nanos(wait.min(FURTHEST).as_nanos() as u64, now)
    }

    /// The same for microseconds: this is asked for with every acknowledgment, and a `Duration` of seconds
    /// and nanoseconds has to be taken apart again.
    #[inline]
    pub fn after_micros(wait: u64, now: Instant) -> Self {
        Self::after_nanos(wait.min(FURTHEST.as_micros() as u64) * 1_000, now)
    }

    #[inline]
    fn after_nanos(wait: u64, now: Instant) -> Self {
        let deadline = now.as_nanos().saturating_add(wait);
        match deadline.div_ceil(NANOS_PER_MILLI) as u32 {
            // The number that means never: a millisecond later.
            u32::MAX => Self(0),
            millis => Self(millis),
        }
    }

    /// The earliest of several, seen from `now`.
    pub fn earliest<const N: usize>(all: [Self; N], now: Instant) -> Self {
        // Counted from `FURTHEST` before now those that are overdue come first, and NEVER last.
        let from = (now.as_millis() as u32).wrapping_sub(FURTHEST.as_millis() as u32);
        let key = |deadline: Self| match deadline.is_armed() {
            true => deadline.0.wrapping_sub(from),
            false => u32::MAX,
        };
        let first = all.into_iter().map(key).min().unwrap_or(u32::MAX);
        match first {
            u32::MAX => Self::NEVER,
            first => Self(first.wrapping_add(from)),
        }
    }

    /// Whether one of four timers is armed: in one look, for this is asked for every segment.
    #[inline]
    pub fn is_any_armed([a, b, c, d]: [Self; 4]) -> bool {
        a.0 & b.0 & c.0 & d.0 != Self::NEVER.0
    }

    /// Whether the timer is armed.
    pub fn is_armed(self) -> bool {
        self != Self::NEVER
    }

    /// Whether it has passed.
    pub fn is_due(self, now: Instant) -> bool {
        self.is_armed() && self.ahead(now) <= 0
    }

    /// The time that it names, seen from `now`.
    pub fn instant(self, now: Instant) -> Instant {
        if !self.is_armed() {
            return Instant::NEVER;
        }
        Instant::from_millis(now.as_millis().saturating_add_signed(self.ahead(now).into()))
    }

    /// Milliseconds from `now` to it.
    fn ahead(self, now: Instant) -> i32 {
        self.0.wrapping_sub(now.as_millis() as u32) as i32
    }
}

/// The furthest deadline; a timer that is armed for longer is due then. Short of half of what 32 bits
/// of milliseconds hold by as long as a process may be stopped.
const FURTHEST: Duration = Duration::from_secs(24 * 86_400);
const NANOS_PER_MILLI: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn any_armed_is_seen_beside_others_that_are_not() {
        let (never, first) = (Deadline::NEVER, Deadline::after(Duration::ZERO, Instant::ZERO));
        assert!(!Deadline::is_any_armed([never; 4]));
        for place in 0..4 {
            let mut all = [never; 4];
            all[place] = first;
            assert!(Deadline::is_any_armed(all));
        }
    }

    #[test]
    fn unarmed_is_never_due() {
        assert!(!Deadline::NEVER.is_due(Instant::from_nanos(u64::MAX - 1)));
        assert_eq!(Deadline::NEVER.instant(Instant::ZERO), Instant::NEVER);
    }

    #[test]
    fn time_of_the_number_that_means_never_is_a_millisecond_later() {
        let now = Instant::from_millis(u64::from(u32::MAX) - 10);
        let deadline = Deadline::after(Duration::from_millis(10), now);
        assert_eq!(deadline.instant(now), Instant::from_millis(1 << 32));
    }

    #[test]
    fn wait_beyond_the_furthest_ends_there() {
        let deadline = Deadline::after(Duration::MAX, Instant::ZERO);
        assert_eq!(deadline.instant(Instant::ZERO), Instant::ZERO + FURTHEST);
        // Also for one that looks later than it should.
        let late = Instant::ZERO + FURTHEST + Duration::from_secs(86_400 / 2);
        assert!(deadline.is_due(late));
    }

    proptest! {
        // Never early, and by less than a tick late: but for one number, by less than two.
        #[test]
        fn any_wait_is_due_at_its_tick(
            start in any::<u64>().prop_map(|nanos| nanos >> 1), wait in 0u64..1 << 50, past in 0u64..1 << 40,
        ) {
            let (now, wait) = (Instant::from_nanos(start), Duration::from_nanos(wait));
            let deadline = Deadline::after(wait, now);
            let exact = (now + wait).as_nanos();
            let at = deadline.instant(now).as_nanos();
            prop_assert!(at >= exact && at < exact + 2 * NANOS_PER_MILLI);
            prop_assert!(deadline.is_due(Instant::from_nanos(at)));
            prop_assert!(!deadline.is_due(Instant::from_nanos(at - 1)) || at <= start);
            // It stays the same, from wherever it is looked at.
            let later = Instant::from_nanos(at + past);
            prop_assert_eq!(deadline.instant(later).as_nanos(), at);
            prop_assert!(deadline.is_due(later));
        }
    }
}
