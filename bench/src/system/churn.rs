//! Churn: short connections for minutes, at four fifths of the highest rate, on one server.
//!
//! No connection may fail, and neither memory nor latency may grow.

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bed::{Bed, Room, Subject};
use super::memory::resident;
use super::process::Process;
use super::rows;
use crate::busy::{self, Watch};
use crate::clock::now;
use crate::load::{self, Report};
use crate::machine;
use crate::printer::figure;
use crate::row::{DISTURBED, FAILED, Row, SMOKE};
use crate::serve::Service;
use crate::spread::Spread;
use crate::topology::{Between, CLIENTS, SERVER};

/// How long churn lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    pub(super) minutes: usize,
    /// Seconds of one of them: fewer in a run that only shows that it works.
    pub(super) seconds: f64,
}

impl Length {
    /// Seconds of a sample without a pace.
    pub(super) fn sample(self) -> f64 {
        (self.seconds / 6.0).max(1.0)
    }

    /// Seconds that it takes, about.
    pub(super) fn estimate(self) -> f64 {
        5.0 + 3.3 * self.sample() + self.minutes as f64 * 1.1 * self.seconds
    }
}

/// What was found of each minute.
#[derive(Default)]
struct Minutes {
    rates: Vec<f64>,
    /// In microseconds.
    p99s: Vec<f64>,
    /// Resident bytes at its end.
    resident: Vec<f64>,
    /// Cores that others used meanwhile.
    others: Vec<f64>,
    opened: u64,
    failed: u64,
    failure: Option<String>,
}

/// Runs it; the rows say what failed.
pub(super) fn rows(room: &Room, length: Length) -> Result<Vec<Row>> {
    let mut bed = Bed::make(Subject::Sluice, 1_500, Between::Nothing)?;
    bed.start(room)?;
    let highest = highest(room, &bed, length)?;
    let rate = highest * SHARE;
    eprintln!("  highest rate {} conn/s, from now on {} conn/s", figure(highest), figure(rate));
    let pid = bed.server_pid().context("the server runs")?;
    let before = resident(pid)? as f64;
    let mut found = Minutes::default();
    for minute in 1..=length.minutes {
        let watch = Watch::begin();
        let report = client(room, &bed, (Some(rate), length.seconds))?;
        found.others.push(watch.others());
        let p99 = report.quantiles()?.context("no connection within a minute")?.p99 as f64 / 1e3;
        found.take(report, (p99, resident(pid)? as f64));
        eprintln!("  minute {minute} of {}: {}", length.minutes, found.last());
    }
    bed.start(room).context("the server at the end")?;
    let rows = found.rows((highest, before), length).into_iter();
    Ok(rows.map(|row| row.with(rows::wire(bed.mode.as_deref()))).collect())
}

impl Minutes {
    fn take(&mut self, report: Report, (p99, resident): (f64, f64)) {
        self.rates.push(report.rate());
        self.p99s.push(p99);
        self.resident.push(resident);
        self.opened += report.opened;
        self.failed += report.failed;
        self.failure = self.failure.take().or(report.failure);
    }

    /// How many minutes others disturbed: none of them can be done again.
    fn disturbed(&self) -> Option<String> {
        let disturbed = self.others.iter().copied().filter(|others| busy::is_disturbed(*others));
        let most = disturbed.clone().reduce(f64::max)? * 100.0;
        let (count, all) = (disturbed.count(), self.others.len());
        Some(format!("{count} of {all} minutes, others used up to {most:.0} % of a core"))
    }

    /// The last minute for whoever waits.
    fn last(&self) -> String {
        let last = |all: &[f64]| all.last().copied().map_or_else(String::new, figure);
        let mib = self.resident.last().map_or(0.0, |bytes| bytes / f64::from(1 << 20));
        format!(
            "{} conn/s, p99 {} µs, {mib:.1} MiB resident, {} failed",
            last(&self.rates),
            last(&self.p99s),
            self.failed
        )
    }

    fn rows(&self, (highest, before): (f64, f64), length: Length) -> Vec<Row> {
        let mib = |bytes: &f64| format!("{:.1}", bytes / f64::from(1 << 20));
        let all = |values: &[f64]| values.iter().map(|value| figure(*value)).collect::<Vec<_>>();
        let memory: Vec<_> = self.resident.iter().map(mib).collect();
        let rows = [
            ("churn, rate", "conn/s", &self.rates),
            ("churn, p99 of each minute", "µs", &self.p99s),
            ("churn, resident memory", "B", &self.resident),
        ];
        let pace = format!(
            "{SHARE} of the highest that lasts, {}: the middle of 3 samples of {:.0} s",
            figure(highest),
            length.sample()
        );
        let row = |(work, unit, values): (&str, &str, &Vec<f64>)| {
            let row = Row::alone(work, "sluice", unit, values).with(machine::config());
            let row = row
                .with_setting("minutes", format!("{} of {} s", length.minutes, length.seconds))
                .with_setting("pace", &pace)
                .with_setting("connections", format!("{}, {} failed", self.opened, self.failed))
                .with_setting("p99 by minute, in µs", all(&self.p99s).join(", "))
                .with_setting("MiB by minute", format!("{}, {}", mib(&before), memory.join(", ")));
            let row = match (self.failed, &self.failure) {
                (0, _) => row,
                (failed, why) => {
                    let why = why.as_deref().unwrap_or("no reason");
                    row.with_setting(FAILED, format!("{failed} of {} ({why})", self.opened))
                }
            };
            let row = match self.disturbed() {
                Some(how) => row.with_setting(DISTURBED, how),
                None => row,
            };
            let smoke = "short minutes, that measure nothing";
            if length.seconds < MINUTE { row.with_setting(SMOKE, smoke) } else { row }
        };
        rows.into_iter().map(row).collect()
    }
}

/// The highest rate that lasts: the middle of three samples without a pace. They are long enough for the
/// client's kernel to hold as many in TIME-WAIT as it will hold then, which makes it slower; of short ones the
/// best is a rate that no minute keeps.
fn highest(room: &Room, bed: &Bed, length: Length) -> Result<f64> {
    let rates = (0..3).map(|_| {
        let report = client(room, bed, (None, length.sample()))?;
        let why = report.failure.clone().unwrap_or_default();
        ensure!(report.failed == 0, "{} of {} failed: {why}", report.failed, report.opened);
        Ok(report.rate())
    });
    let rates = rates.collect::<Result<Vec<f64>>>()?;
    Ok(Spread::of(rates.iter().copied()).context("there are samples")?.median)
}

fn client(room: &Room, bed: &Bed, (rate, seconds): (Option<f64>, f64)) -> Result<Report> {
    let to = SocketAddrV4::new(SERVER, Service::Echo.port());
    let options = load::Options {
        // At a rate these are the most, where the server falls behind.
        connections: if rate.is_some() { 1_000 } else { 32 },
        seconds,
        rate,
        sources: Some(CLIENTS),
        cpus: vec![room.places.client],
        ..load::Options::new(load::Work::Connect, to)
    };
    let mut command = bed.topology.client.command(&room.tools.bench);
    let begin = now();
    let client = Process::start("the load client", command.arg("load").args(options.arguments()))?;
    let output = client.output(Duration::from_secs_f64(1.2 * seconds) + PATIENCE, &room.stop)?;
    let line = output.lines().last().context("the load client said nothing")?;
    let report = serde_json::from_str(line);
    report.with_context(|| format!("the load client's report after {:?}", now() - begin))
}

/// Of the highest rate.
const SHARE: f64 = 0.8;
/// Seconds.
pub(super) const MINUTE: f64 = 60.0;
/// Time for the client beyond its own.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_all_minutes_are_summed_and_the_first_is_kept() {
        let mut found = Minutes::default();
        for (failed, failure) in [(0, None), (2, Some("first")), (1, Some("second"))] {
            let failure = failure.map(String::from);
            let report = Report { failed, failure, opened: 10, seconds: 1.0, ..Report::default() };
            found.take(report, (1.0, 2.0));
        }
        assert_eq!((found.opened, found.failed), (30, 3));
        assert_eq!(found.failure.as_deref(), Some("first"));
        let rows = found.rows((100.0, 5.0), Length { minutes: 3, seconds: MINUTE });
        assert_eq!(rows.len(), 3);
        // A sample is long enough for the client's kernel to be in the state that it stays in.
        let pace = "0.8 of the highest that lasts, 100: the middle of 3 samples of 10 s";
        assert!(rows.iter().all(|row| row.config["pace"] == pace), "{:?}", rows[0].config);
        assert!(rows.iter().all(|row| row.config["connections"] == "30, 3 failed"));
        assert!(rows.iter().all(|row| !row.config.contains_key(SMOKE)));
        assert!(rows.iter().all(|row| row.config[FAILED] == "3 of 30 (first)"));
        assert!(rows.iter().all(|row| !row.config.contains_key(DISTURBED)));
        found.others = vec![0.1, 0.5, 0.3];
        let said = "2 of 3 minutes, others used up to 50 % of a core";
        assert_eq!(found.disturbed().as_deref(), Some(said));
    }
}
