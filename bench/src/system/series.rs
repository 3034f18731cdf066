//! The samples of a case: A B A B, and whether something disturbed them.

use std::time::Duration;

use anyhow::{Context, Result};

use super::bed::{Bed, Room};
use super::busy::{Times, Used};
use super::plan::{Case, Pace, Work};
use super::process::Process;
use crate::clock::pause;
use crate::load::{self, Report};
use crate::topology::{CLIENTS, SERVER};

/// One sample of one subject.
pub(super) struct Sample {
    pub(super) report: Report,
    /// The share of the client's core that was used.
    pub(super) core: f64,
    /// Cores that others used, before or during.
    others: f64,
}

/// All samples of a case.
pub(super) struct Series {
    /// One sample of each subject, in the case's order.
    pub(super) rounds: Vec<Vec<Sample>>,
    pub(super) pace: Pace,
    /// Alternations that were disturbed and not counted.
    pub(super) dropped: usize,
}

impl Series {
    /// The samples of the `n`-th subject.
    pub(super) fn of(&self, n: usize) -> impl Iterator<Item = &Sample> {
        self.rounds.iter().filter_map(move |round| round.get(n))
    }

    /// How many alternations that count were disturbed, and by how many cores at most.
    pub(super) fn disturbed(&self) -> Option<(usize, f64)> {
        let rounds = self.rounds.iter().map(|round| disturbance(round));
        let disturbed: Vec<f64> = rounds.filter(|others| *others > QUIET).collect();
        let most = disturbed.iter().copied().reduce(f64::max)?;
        Some((disturbed.len(), most))
    }

    /// Connections that failed, and how the first of them did.
    pub(super) fn failure(&self) -> Option<String> {
        let reports = self.rounds.iter().flatten().map(|sample| &sample.report);
        let failed: u64 = reports.clone().map(|report| report.failed).sum();
        let opened: u64 = reports.clone().map(|report| report.opened).sum();
        let why = reports.filter_map(|report| report.failure.as_deref()).next()?;
        Some(format!("{failed} of {opened} ({why})"))
    }
}

/// The most that others used in a round.
fn disturbance(round: &[Sample]) -> f64 {
    round.iter().map(|sample| sample.others).fold(0.0, f64::max)
}

/// Takes all samples of a case. Alternations that were disturbed are done again, within the bound of
/// `pace`; after that they count, and the rows say so.
pub(super) fn take(room: &Room, beds: &mut [Bed], case: &Case, pace: Pace) -> Result<Series> {
    let mut series = Series { rounds: Vec::new(), pace, dropped: 0 };
    while series.rounds.len() < pace.alternations {
        let mut round = Vec::new();
        for subject in &case.subjects {
            let bed = beds.iter_mut().find(|bed| bed.subject == *subject);
            round.push(sample(room, bed.context("every subject has its bed")?, case, pace)?);
        }
        if disturbance(&round) > QUIET && series.dropped < pace.repeats {
            series.dropped += 1;
            continue;
        }
        series.rounds.push(round);
    }
    Ok(series)
}

fn sample(room: &Room, bed: &mut Bed, case: &Case, pace: Pace) -> Result<Sample> {
    bed.start(room)?;
    let begin = Times::read()?;
    pause(BEFORE);
    let before = Times::read()?;
    let report = client(room, bed, case, pace)?;
    let after = Times::read()?;
    bed.rest();
    let client = room.places.client;
    let Used { others, core } = after.since(&before, client);
    Ok(Sample { report, core, others: others.max(before.since(&begin, client).others) })
}

/// What the client finds.
fn client(room: &Room, bed: &Bed, case: &Case, pace: Pace) -> Result<Report> {
    let Work::Load(work) = case.work else { anyhow::bail!("wrk is not started yet") };
    let options = load::Options {
        work,
        to: std::net::SocketAddrV4::new(SERVER, case.service().port()),
        connections: case.connections,
        seconds: pace.seconds,
        sources: Some(CLIENTS),
        size: 64,
        processes: 1,
        cpus: vec![room.places.client],
    };
    let mut command = bed.topology.client.command(&room.tools.bench);
    command.arg("load").args(options.arguments());
    let client = Process::start("the load client", &mut command)?;
    let patience = Duration::from_secs_f64(pace.seconds) + PATIENCE;
    let output = client.output(patience, &room.stop)?;
    let line = output.lines().last().context("the load client said nothing")?;
    serde_json::from_str(line).context("the load client's report")
}

/// Cores that others may use without disturbing a sample.
const QUIET: f64 = 0.2;
/// How long others are watched before a sample.
const BEFORE: Duration = Duration::from_millis(250);
/// Time for the client beyond that of the sample.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn series(others: &[f64]) -> Series {
        let sample =
            |others: &f64| Sample { report: Report::default(), core: 0.5, others: *others };
        let rounds = others.iter().map(|others| vec![sample(&0.0), sample(others)]).collect();
        Series { rounds, pace: Pace::SMOKE, dropped: 0 }
    }

    #[test]
    fn rounds_are_disturbed_above_a_fifth_of_a_core() {
        assert_eq!(series(&[0.0, 0.2, 0.1]).disturbed(), None);
        assert_eq!(series(&[0.21, 0.2, 0.9]).disturbed(), Some((2, 0.9)));
    }

    #[test]
    fn failures_are_summed_and_the_first_is_named() {
        let mut series = series(&[0.0, 0.0]);
        assert_eq!(series.failure(), None);
        for (round, why) in series.rounds.iter_mut().zip(["first", "second"]) {
            round[1].report =
                Report { failed: 2, opened: 10, failure: Some(why.into()), ..Report::default() };
        }
        assert_eq!(series.failure().as_deref(), Some("4 of 20 (first)"));
    }
}
