//! How long a worker that has nothing to do looks on before it sleeps.
//!
//! A wake-up costs both sides: whoever sends makes a call into the scheduler for each, and the worker
//! begins late. Where the next frame is near, looking on is cheaper; where it is not, the time is lost.
//! Which of both holds is learnt from the last waits. Owns no clock and does not sleep itself.

use crate::time::{Duration, Instant};

/// What a worker does while there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// It never sleeps, and takes a whole core.
    BusyPoll,
    /// It looks on for at most so long, then sleeps.
    Sleep(Duration),
}

impl Default for Waiting {
    fn default() -> Self {
        Self::Sleep(SPIN)
    }
}

/// How long a worker goes on looking.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    waiting: Waiting,
    /// The present bound: it falls with each wait in vain, and is whole again after a short one.
    bound: Duration,
    /// When there was something to do last.
    worked: Instant,
}

impl Patience {
    pub(super) const fn new(waiting: Waiting) -> Self {
        let bound = match waiting {
            Waiting::Sleep(most) => most,
            Waiting::BusyPoll => Duration::ZERO,
        };
        Self { waiting, bound, worked: Instant::ZERO }
    }

    /// There was something to do.
    pub(super) fn on_work(&mut self, now: Instant) {
        if let Waiting::Sleep(most) = self.waiting
            && now.since(self.worked) <= most
        {
            self.bound = most;
        }
        self.worked = now;
    }

    /// Whether the worker has looked long enough.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        let is_over = match self.waiting {
            Waiting::BusyPoll => false,
            Waiting::Sleep(_) => now.since(self.worked) >= self.bound,
        };
        if is_over {
            self.bound = Duration::from_nanos(self.bound.as_nanos() as u64 / 2);
        }
        is_over
    }
}

/// How long a worker looks on by default: a wake-up of a sleeping virtual CPU takes about as long, so
/// that looking on costs at most twice what sleeping at once would have.
pub const SPIN: Duration = Duration::from_micros(50);

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_micros(40);

    fn at(micros: u64) -> Instant {
        Instant::ZERO + Duration::from_micros(micros)
    }

    #[test]
    fn busy_polling_never_ends() {
        let mut patience = Patience::new(Waiting::BusyPoll);
        patience.on_work(at(0));
        assert!(!patience.is_over(at(1_000_000_000)));
    }

    #[test]
    fn no_time_to_look_on_sleeps_at_once() {
        let mut patience = Patience::new(Waiting::Sleep(Duration::ZERO));
        patience.on_work(at(5));
        assert!(patience.is_over(at(5)));
    }

    #[test]
    fn waits_in_vain_become_shorter_and_a_short_one_makes_them_whole() {
        let mut patience = Patience::new(Waiting::Sleep(MOST));
        patience.on_work(at(100));
        assert!(!patience.is_over(at(139)) && patience.is_over(at(140)));
        // The next thing to do comes late: half the time is left.
        patience.on_work(at(1_000));
        assert!(!patience.is_over(at(1_019)) && patience.is_over(at(1_020)));
        patience.on_work(at(2_000));
        assert!(patience.is_over(at(2_010)));
        // It came while the worker slept, but looking on would have met it.
        patience.on_work(at(2_030));
        assert!(!patience.is_over(at(2_069)) && patience.is_over(at(2_070)));
    }
}
