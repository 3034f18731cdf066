//! How far a run has come, and how long the rest will take: what was estimated, corrected by what the
//! part that is done has really taken.

use std::time::Duration;

use crate::clock::now;

/// Of a run whose parts are estimated beforehand.
pub(super) struct Progress {
    begin: Duration,
    /// Seconds of all parts, as estimated.
    whole: f64,
    /// Of those that are done.
    done: f64,
    parts: usize,
    at: usize,
}

impl Progress {
    /// Of parts that take about so many seconds each.
    pub(super) fn of(estimates: &[f64]) -> Self {
        let (whole, parts) = (estimates.iter().sum(), estimates.len());
        Self { begin: now(), whole, done: 0.0, parts, at: 0 }
    }

    /// Says that the next part begins, which was estimated so.
    pub(super) fn next(&mut self, name: &str, estimate: f64) {
        self.at += 1;
        let minutes = rest(self.whole, self.done, (now() - self.begin).as_secs_f64()) / 60.0;
        eprintln!("[{} of {}, about {minutes:.0} min left] {name}", self.at, self.parts);
        self.done += estimate;
    }
}

/// Seconds of the rest.
fn rest(whole: f64, done: f64, took: f64) -> f64 {
    // The first part alone says little of the others.
    let factor = if done > whole / 50.0 { took / done } else { 1.0 };
    (whole - done).max(0.0) * factor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_follows_what_the_done_part_took() {
        assert_eq!(rest(100.0, 0.0, 0.0), 100.0);
        assert_eq!(rest(100.0, 50.0, 100.0), 100.0);
        assert_eq!(rest(100.0, 100.0, 70.0), 0.0);
    }
}
