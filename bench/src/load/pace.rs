//! When short connections may begin: as fast as others end, or evenly at a rate.

use std::time::Duration;

use super::Options;

/// Says how many may have begun by now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    begin: Duration,
    /// Time between two; `None` for as fast as they end.
    step: Option<Duration>,
    most: u64,
}

impl Pace {
    /// Time counts from `begin` on.
    pub(super) fn new(options: &Options, begin: Duration) -> Self {
        let step = options.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        Self { begin, step, most: options.most.unwrap_or(u64::MAX) }
    }

    /// Whether the `n`-th, counted from zero, may begin by `time`.
    pub(super) fn allows(&self, n: u64, time: Duration) -> bool {
        n < self.most && self.due(n).is_none_or(|due| due <= time)
    }

    /// When the `n`-th is due; `None` where no rate was asked for.
    pub(super) fn due(&self, n: u64) -> Option<Duration> {
        let nanos = u64::try_from(self.step?.as_nanos()).unwrap_or(u64::MAX);
        Some(self.begin + Duration::from_nanos(nanos.saturating_mul(n)))
    }

    /// Whether there may be more though none is open.
    pub(super) fn goes_on(&self, n: u64) -> bool {
        self.step.is_some() && n < self.most
    }

    /// How long to wait for events.
    pub(super) fn turn(&self) -> Duration {
        if self.step.is_some() { SHORT } else { TURN }
    }
}

/// How often the clock is looked at when nothing happens.
const TURN: Duration = Duration::from_millis(50);
/// The same where something is due: the least that epoll knows.
const SHORT: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Work;

    fn pace(rate: Option<f64>, most: Option<u64>) -> Pace {
        let to = "10.0.0.1:7".parse().unwrap();
        let options = Options { rate, most, ..Options::new(Work::Connect, to) };
        Pace::new(&options, Duration::from_secs(5))
    }

    #[test]
    fn connections_of_a_rate_are_due_evenly() {
        let pace = pace(Some(1_000.0), None);
        let at = |millis: u64| Duration::from_millis(5_000 + millis);
        assert!(pace.allows(0, at(0)) && !pace.allows(1, at(0)));
        assert!(pace.allows(20, at(20)) && !pace.allows(21, at(20)));
        assert!(pace.goes_on(1 << 40));
    }

    #[test]
    fn without_a_rate_all_may_begin_up_to_the_most() {
        let pace = pace(None, Some(3));
        assert!(pace.allows(2, Duration::ZERO) && !pace.allows(3, Duration::MAX));
        assert!(!pace.goes_on(0));
    }
}
