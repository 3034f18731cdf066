//! The samples of a case: A B A B, and whether something disturbed them.

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context, Result};

use super::bed::{Bed, Room, Subject};
use super::plan::{Case, Pace, Sources, Work};
use super::process::Process;
use super::{both, spinners, wrk};
use crate::busy::{self, Watch};
use crate::load::{self, Report};
use crate::printer::figure;
use crate::topology::{CLIENTS, CONGESTION, LONE_CLIENT, SERVER};

/// What a client has found.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// In the order of the case's metrics.
    pub(super) figures: Vec<f64>,
    /// Connections that failed, and how the first of them did.
    pub(super) failed: u64,
    pub(super) failure: Option<String>,
    /// Connections in all.
    pub(super) opened: u64,
    /// The share of connections that used a port again.
    pub(super) reused: f64,
    /// The share of the client's core that was used.
    pub(super) core: Option<f64>,
}

impl Found {
    /// Counts the ports that `before` connections of the same address, in an earlier sample, had too: the
    /// server still holds them in TIME-WAIT.
    fn comes_after(&mut self, before: &mut u64) {
        let again = load::reused(self.opened, *before);
        self.reused = again as f64 / self.opened.max(1) as f64;
        *before = self.opened.max(*before);
    }
}

/// One sample of one subject.
pub(super) struct Sample {
    pub(super) found: Found,
    /// Cores that others used, before or during.
    others: f64,
}

/// All samples of a case.
pub(super) struct Series {
    /// One sample of each subject, in the case's order.
    pub(super) rounds: Vec<Vec<Sample>>,
    pub(super) pace: Pace,
    /// Alternations that were disturbed and done again.
    pub(super) repeated: usize,
}

impl Series {
    /// What was found of the `n`-th subject.
    pub(super) fn of(&self, n: usize) -> impl Iterator<Item = &Found> {
        self.rounds.iter().filter_map(move |round| Some(&round.get(n)?.found))
    }

    /// How many alternations that count were disturbed, and by how many cores at most.
    pub(super) fn disturbed(&self) -> Option<(usize, f64)> {
        let rounds = self.rounds.iter().map(|round| disturbance(round));
        let disturbed: Vec<f64> = rounds.filter(|others| busy::is_disturbed(*others)).collect();
        let most = disturbed.iter().copied().reduce(f64::max)?;
        Some((disturbed.len(), most))
    }

    /// Connections that failed, and how the first of them did, by the names of the subjects.
    pub(super) fn failure(&self, names: &[&str]) -> Option<String> {
        let of = |(n, name): (usize, &&str)| {
            let failed: u64 = self.of(n).map(|found| found.failed).sum();
            let opened: u64 = self.of(n).map(|found| found.opened).sum();
            let why = self.of(n).find_map(|found| found.failure.as_deref())?;
            Some(format!("{name}: {failed} of {opened} ({why})"))
        };
        let all: Vec<String> = names.iter().enumerate().filter_map(of).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// The most that others used in a round.
fn disturbance(round: &[Sample]) -> f64 {
    round.iter().map(|sample| sample.others).fold(0.0, f64::max)
}

/// Takes all samples of a case. Alternations that were disturbed are done again, within the bound of
/// `pace`; after that they count, and the rows say so. A round in which a connection failed counts in
/// any case.
pub(super) fn take(room: &Room, beds: &mut [Bed], case: &Case, pace: Pace) -> Result<Series> {
    let mut series = Series { rounds: Vec::new(), pace, repeated: 0 };
    let mut before = vec![0; case.subjects.len()];
    let _spinners = case.has_spinners.then(|| spinners::start(room)).transpose()?;
    while series.rounds.len() < pace.alternations {
        let mut round = Vec::new();
        for (subject, before) in case.subjects.iter().zip(&mut before) {
            let bed = beds.iter_mut().find(|bed| bed.subject == *subject);
            let bed = bed.context("every subject has its bed")?;
            // Both subjects meet the same losses in an alternation, as far as they send alike.
            let seed = (series.rounds.len() + series.repeated) as u64;
            let mut sample = sample(room, bed, case, (pace, seed))?;
            if case.has_single_source() {
                sample.found.comes_after(before);
            }
            round.push(sample);
        }
        eprintln!("  {}", line(case, &round));
        let has_failed = round.iter().any(|sample| sample.found.failed > 0);
        let is_disturbed = busy::is_disturbed(disturbance(&round));
        if !has_failed && is_disturbed && series.repeated < pace.repeats {
            series.repeated += 1;
            continue;
        }
        series.rounds.push(round);
    }
    Ok(series)
}

/// A round for whoever waits for the rows.
fn line(case: &Case, round: &[Sample]) -> String {
    let mut line = String::new();
    for (subject, sample) in case.subjects.iter().zip(round) {
        let figures = case.metrics().iter().zip(&sample.found.figures);
        let figures = figures.map(|(metric, value)| format!("{} {}", figure(*value), metric.unit));
        line += &format!("{}: {}; ", subject.name(), figures.collect::<Vec<_>>().join(", "));
    }
    line + &format!("others used {:.0} % of a core", disturbance(round) * 100.0)
}

fn sample(room: &Room, bed: &mut Bed, case: &Case, (pace, seed): (Pace, u64)) -> Result<Sample> {
    bed.start(room)?;
    if let Some(path) = case.path {
        bed.lead(path, seed)?;
    }
    let watch = Watch::begin();
    let found = match case.work {
        Work::Load(work, _) if bed.subject == Subject::SluiceBoth => {
            both::run(room, bed, case, (work, pace.seconds))
        }
        Work::Load(work, sources) => client(room, bed, case, (work, sources, pace.seconds)),
        Work::Wrk => wrk::run(room, bed, case, pace),
    };
    if found.is_err() {
        // A server that has ended says why better than its client does.
        bed.start(room)?;
    }
    let found = found.with_context(|| format!("{} with {}", case.name, bed.subject.name()))?;
    let others = watch.others();
    bed.rest();
    Ok(Sample { found, others })
}

/// What our load client finds.
pub(super) fn client(
    room: &Room,
    bed: &Bed,
    case: &Case,
    (work, sources, seconds): (load::Work, Sources, f64),
) -> Result<Found> {
    let options = load::Options {
        connections: case.connections,
        seconds,
        sources: Some(match sources {
            Sources::Spread => CLIENTS,
            Sources::Single => LONE_CLIENT,
        }),
        congestion: case.path.map(|_| CONGESTION.into()),
        acknowledged: case.path.is_some(),
        in_rounds: case.in_rounds,
        cpus: vec![room.places.client],
        ..load::Options::new(work, SocketAddrV4::new(SERVER, case.service().port()))
    };
    let mut command = bed.topology.client.command(&room.tools.bench);
    command.arg("load").args(options.arguments());
    let client = Process::start("the load client", &mut command)?;
    let output = client.output(Duration::from_secs_f64(seconds) + PATIENCE, &room.stop)?;
    let line = output.lines().last().context("the load client said nothing")?;
    let report: Report = serde_json::from_str(line).context("the load client's report")?;
    Ok(Found {
        figures: case.figures(&report)?,
        failed: report.failed,
        opened: report.opened,
        reused: report.reused_share(),
        core: report.core,
        failure: report.failure,
    })
}

/// Time for the client beyond that of the sample.
const PATIENCE: Duration = Duration::from_secs(40);

#[cfg(test)]
mod tests {
    use super::*;

    fn series(others: &[f64]) -> Series {
        let sample = |others: &f64| Sample { found: Found::default(), others: *others };
        let rounds = others.iter().map(|others| vec![sample(&0.0), sample(others)]).collect();
        Series { rounds, pace: Pace::SMOKE, repeated: 0 }
    }

    #[test]
    fn rounds_are_disturbed_above_a_fifth_of_a_core() {
        assert_eq!(series(&[0.0, 0.2, 0.1]).disturbed(), None);
        assert_eq!(series(&[0.21, 0.2, 0.9]).disturbed(), Some((2, 0.9)));
    }

    #[test]
    fn later_samples_of_one_address_meet_the_ports_of_earlier_ones() {
        let mut before = 0;
        let shares = [1_000, 500, 2_000].map(|opened| {
            let mut found = Found { opened, ..Found::default() };
            found.comes_after(&mut before);
            found.reused
        });
        assert_eq!((shares, before), ([0.0, 1.0, 0.5], 2_000));
    }

    #[test]
    fn failures_are_summed_by_subject_and_the_first_is_named() {
        let mut series = series(&[0.0, 0.0]);
        let names = ["sluice", "kernel"];
        assert_eq!(series.failure(&names), None);
        for (round, why) in series.rounds.iter_mut().zip(["first", "second"]) {
            let failure = Some(why.into());
            round[1].found = Found { failed: 2, opened: 10, failure, ..Found::default() };
        }
        assert_eq!(series.failure(&names).as_deref(), Some("kernel: 4 of 20 (first)"));
        series.rounds[1][0].found =
            Found { failed: 1, opened: 5, ..series.rounds[0][1].found.clone() };
        let both = "sluice: 1 of 5 (first); kernel: 4 of 20 (first)";
        assert_eq!(series.failure(&names).as_deref(), Some(both));
    }
}
