//! What a run of the client found: counts, times, latencies; printed as one line of JSON.

use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The outcome of one process, or the sum of several.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Connections or requests that ended as they should within the measured time.
    pub completed: u64,
    /// Connections that did not go as they should, over the whole run.
    pub failed: u64,
    /// Those among them that the server refused, reset, or closed before it had replied. Visits alone
    /// count them.
    #[serde(default)]
    pub refused: u64,
    /// How the first of them failed.
    pub failure: Option<String>,
    /// Bytes of payload within the measured time.
    pub bytes: u64,
    /// The measured time in seconds.
    pub seconds: f64,
    /// Connections that used a port which an earlier one of this run had, over the whole run.
    pub reused: u64,
    /// Connections opened over the whole run.
    pub opened: u64,
    /// The share of the busiest client's core that was used within the measured time, where the clients
    /// were kept on cores.
    pub core: Option<f64>,
    /// Latencies in nanoseconds, and how often each was met.
    pub latencies: Vec<(u64, u64)>,
}

/// The latencies that are asked of a distribution, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantiles {
    /// The median.
    pub p50: u64,
    /// 99 of 100 are no longer.
    pub p99: u64,
    /// 999 of 1000 are no longer.
    pub p999: u64,
}

impl Report {
    /// Completed connections or requests in a second.
    pub fn rate(&self) -> f64 {
        self.completed as f64 / self.seconds
    }

    /// Payload in a second, in units of 10^9 bits.
    pub fn gigabits(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.seconds / 1e9
    }

    /// The share of connections that used a port again.
    pub fn reused_share(&self) -> f64 {
        if self.opened == 0 { 0.0 } else { self.reused as f64 / self.opened as f64 }
    }

    /// Counts a connection that did not go as it should.
    pub(super) fn fail(&mut self, why: impl ToString) {
        self.failed += 1;
        self.failure.get_or_insert_with(|| why.to_string());
    }

    /// Takes the distribution of one process.
    pub(super) fn take_latencies(&mut self, histogram: &Histogram<u64>) {
        let recorded = histogram.iter_recorded();
        self.latencies =
            recorded.map(|at| (at.value_iterated_to(), at.count_since_last_iteration())).collect();
    }

    /// The quantiles of the latencies; `None` where there are none.
    ///
    /// # Errors
    /// Where a latency is out of the histogram's bounds.
    pub fn quantiles(&self) -> Result<Option<Quantiles>> {
        let mut all = histogram()?;
        for (latency, count) in &self.latencies {
            all.record_n(*latency, *count).context("a latency out of bounds")?;
        }
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|at| all.value_at_quantile(at));
        Ok((!all.is_empty()).then_some(Quantiles { p50, p99, p999 }))
    }

    /// The sum of processes that ran at the same time.
    pub fn sum(reports: impl IntoIterator<Item = Self>) -> Self {
        reports.into_iter().fold(Self::default(), |sum, one| Self {
            completed: sum.completed + one.completed,
            failed: sum.failed + one.failed,
            refused: sum.refused + one.refused,
            failure: sum.failure.or(one.failure),
            bytes: sum.bytes + one.bytes,
            seconds: sum.seconds.max(one.seconds),
            reused: sum.reused + one.reused,
            opened: sum.opened + one.opened,
            core: match (sum.core, one.core) {
                (Some(sum), Some(one)) => Some(sum.max(one)),
                (sum, one) => sum.or(one),
            },
            latencies: [sum.latencies, one.latencies].concat(),
        })
    }
}

/// An empty distribution: 1 ns to a minute, three significant digits.
pub(super) fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3).context("the histogram's bounds")
}

/// The longest latency that is told apart from longer ones.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_several_processes_are_those_of_all() {
        // Ninety short ones in one process, ten long ones in the other.
        let of = |latency, count| {
            let mut histogram = histogram().unwrap();
            histogram.record_n(latency, count).unwrap();
            let mut report = Report::default();
            report.take_latencies(&histogram);
            report
        };
        let sum = Report::sum([of(10_000, 90), of(1_000_000, 10)]);
        let found = sum.quantiles().unwrap().unwrap();
        assert!((10_000..10_020).contains(&found.p50), "{found:?}");
        assert!((1_000_000..1_002_000).contains(&found.p99), "{found:?}");
        assert_eq!(found.p99, found.p999);
    }

    #[test]
    fn report_without_latencies_has_no_quantiles() {
        assert_eq!(Report::default().quantiles().unwrap(), None);
    }

    #[test]
    fn sum_counts_all_over_the_longest_time_and_keeps_the_first_failure() {
        let mut one = Report { completed: 10, seconds: 2.0, bytes: 1_000, ..Report::default() };
        one.core = Some(0.75);
        let mut two = Report { completed: 20, seconds: 1.0, bytes: 500, ..Report::default() };
        one.fail("first");
        two.fail("second");
        two.fail("third");
        let sum = Report::sum([one, two]);
        assert_eq!((sum.rate(), sum.failed, sum.core), (15.0, 3, Some(0.75)));
        assert_eq!(sum.failure.as_deref(), Some("first"));
        assert!((sum.gigabits() - 6e-6).abs() < 1e-12);
    }

    #[test]
    fn share_of_no_connection_is_nothing() {
        assert_eq!(Report::default().reused_share(), 0.0);
        assert_eq!(Report { reused: 1, opened: 4, ..Report::default() }.reused_share(), 0.25);
    }

    #[test]
    fn json_gives_the_same_report() {
        let report = Report { latencies: vec![(5, 6)], seconds: 0.5, ..Report::default() };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
