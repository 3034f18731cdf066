//! Churn: short connections for minutes, at four fifths of the highest rate, on one server.
//!
//! No connection may fail, and neither memory nor latency may grow: the time is cut into parts, the last of
//! which are set beside the first. The highest rate of a machine that others share is another one some minutes
//! later, so each part is paced by a sample that is taken just before it.

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context, Result};

use super::bed::{Bed, Room, Subject};
use super::counters::Counters;
use super::memory::resident;
use super::process::Process;
use super::rows;
use crate::busy::{self, Watch};
use crate::clock::now;
use crate::cpus;
use crate::load::{self, Report};
use crate::machine;
use crate::printer::figure;
use crate::row::{Config, DISTURBED, FAILED, Row, SMOKE};
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
        let (count, seconds) = self.parts();
        5.0 + count as f64 * 1.1 * (self.sample() + seconds)
    }

    /// How many parts there are, and the seconds of each: minutes, or thirds where those are too few for a
    /// first, a middle and a last one.
    fn parts(self) -> (usize, f64) {
        let count = self.minutes.max(3);
        (count, self.minutes as f64 * self.seconds / count as f64)
    }
}

/// What was found of each part.
#[derive(Default)]
struct Parts {
    /// The highest rates, without a pace, just before each.
    highest: Vec<f64>,
    rates: Vec<f64>,
    /// In microseconds.
    p99s: Vec<f64>,
    /// Resident bytes at its end.
    resident: Vec<f64>,
    /// Cores that others used meanwhile.
    others: Vec<f64>,
    /// The share of its core that the client used.
    cores: Vec<f64>,
    /// Seconds for which the server's threads could have run, and others had their CPU.
    waits: Vec<f64>,
    opened: u64,
    failed: u64,
    failure: Option<String>,
    /// What the client's kernel has sent again.
    again: Counters,
    /// Frames for which there was no room on the way to the server.
    dropped: u64,
}

/// Runs it; the rows say what failed.
pub(super) fn rows(room: &Room, length: Length) -> Result<Vec<Row>> {
    let mut bed = Bed::make(Subject::Sluice, 1_500, Between::Nothing)?;
    bed.topology.client.write_sysctl(KEPT.0, KEPT.1)?;
    bed.start(room)?;
    let pid = bed.server_pid().context("the server runs")?;
    let before = resident(pid)? as f64;
    let (counted, dropped) = (Counters::read(&bed.topology.client)?, bed.dropped()?);
    let mut found = Parts::default();
    let (count, seconds) = length.parts();
    for part in 1..=count {
        let sample = client(room, &bed, (None, length.sample()))?;
        let rate = sample.rate() * SHARE;
        found.take_sample(sample);
        let watch = Watch::begin();
        let waited = cpus::waited(pid)?;
        let report = client(room, &bed, (Some(rate), seconds))?;
        found.others.push(watch.others());
        found.waits.push(cpus::waited(pid)?.saturating_sub(waited).as_secs_f64());
        let p99 = report.quantiles()?.context("no connection within a part")?.p99 as f64 / 1e3;
        found.take_part(report, (p99, resident(pid)? as f64));
        found.again = Counters::read(&bed.topology.client)?.since(counted);
        found.dropped = bed.dropped()?.saturating_sub(dropped);
        eprintln!("  part {part} of {count}, {seconds:.0} s each: {}", found.last());
    }
    bed.start(room).context("the server at the end")?;
    let rows = found.rows(before, length).into_iter();
    Ok(rows.map(|row| row.with(rows::wire(bed.mode.as_deref()))).collect())
}

impl Parts {
    fn take_sample(&mut self, report: Report) {
        self.highest.push(report.rate());
        self.count(report);
    }

    fn take_part(&mut self, report: Report, (p99, resident): (f64, f64)) {
        self.rates.push(report.rate());
        self.p99s.push(p99);
        self.resident.push(resident);
        self.cores.extend(report.core);
        self.count(report);
    }

    fn count(&mut self, report: Report) {
        self.opened += report.opened;
        self.failed += report.failed;
        self.failure = self.failure.take().or(report.failure);
    }

    /// How many parts others disturbed: none of them can be done again.
    fn disturbed(&self) -> Option<String> {
        let disturbed = self.others.iter().copied().filter(|others| busy::is_disturbed(*others));
        let most = disturbed.clone().reduce(f64::max)? * 100.0;
        let (count, all) = (disturbed.count(), self.others.len());
        Some(format!("{count} of {all} parts, others used up to {most:.0} % of a core"))
    }

    /// The last part for whoever waits.
    fn last(&self) -> String {
        let last = |all: &[f64]| all.last().copied().map_or_else(String::new, figure);
        let mib = self.resident.last().map_or(0.0, |bytes| bytes / f64::from(1 << 20));
        format!(
            "{} of {} conn/s, p99 {} µs, {mib:.1} MiB resident, {} failed, {} SYNs sent again",
            last(&self.rates),
            last(&self.highest),
            last(&self.p99s),
            self.failed,
            self.again.syns_again
        )
    }

    fn rows(&self, before: f64, length: Length) -> Vec<Row> {
        let config = self.config(before, length);
        let alone = |work: &str, unit: &str, values: &[f64]| {
            Row::alone(&format!("churn, {work}"), OURS, unit, values)
        };
        let rows = [
            alone("rate", "conn/s", &self.rates),
            alone("failed", "connections", &[self.failed as f64]),
            alone("p99, all parts", "µs", &self.p99s),
            beside("p99, middle part", "µs", (&self.p99s, self.p99s.len() / 2)),
            beside("p99, last part", "µs", (&self.p99s, self.p99s.len() - 1)),
            beside("resident memory, last part", "B", (&self.resident, self.resident.len() - 1)),
            alone("SYNs sent again", "SYNs", &[self.again.syns_again as f64]),
            alone("frames dropped before the server", "frames", &[self.dropped as f64]),
        ];
        rows.into_iter().map(|row| row.with(config.clone())).collect()
    }

    /// What all rows say; before the first part so many bytes were resident.
    fn config(&self, before: f64, length: Length) -> Config {
        let mib = |bytes: &f64| format!("{:.1}", bytes / f64::from(1 << 20));
        let all = |values: &[f64]| values.iter().map(|value| figure(*value)).collect::<Vec<_>>();
        let memory: Vec<_> = self.resident.iter().map(mib).collect();
        let (count, seconds) = length.parts();
        let pace = format!(
            "{SHARE} of the highest, of which {:.0} s are taken before each part: {} conn/s",
            length.sample(),
            all(&self.highest).join(", ")
        );
        let mut config = machine::config();
        let mut say = |key: &str, value: String| config.insert(key.into(), value);
        say("parts", format!("{count} of {seconds:.0} s"));
        say("pace", pace);
        say(
            "at once",
            format!("{AT_ONCE} at most; those that wait are late from when they are due"),
        );
        say("connections", format!("{}, {} failed", self.opened, self.failed));
        say("segments sent again by the client", self.again.segments_again.to_string());
        if let Some(core) = Spread::of(self.cores.iter().copied()) {
            say("client's core", format!("{:.0} %", core.median * 100.0));
        }
        say("client's kernel", format!("{}={}: no TIME-WAIT", KEPT.0.replace('/', "."), KEPT.1));
        let waits: Vec<_> = self.waits.iter().map(|wait| wait * 1e3).collect();
        say("server's wait for its CPU by part, in ms", all(&waits).join(", "));
        say("p99 by part, in µs", all(&self.p99s).join(", "));
        say("MiB by part", format!("{}, {}", mib(&before), memory.join(", ")));
        if self.failed > 0 {
            let why = self.failure.as_deref().unwrap_or("no reason");
            say(FAILED, format!("{} of {} ({why})", self.failed, self.opened));
        }
        if let Some(how) = self.disturbed() {
            say(DISTURBED, how);
        }
        if length.seconds < MINUTE {
            say(SMOKE, "short minutes, that measure nothing".into());
        }
        config
    }
}

/// Work, subject and peer of every row.
#[cfg(test)]
pub(super) fn names() -> Vec<[String; 3]> {
    let found = Parts { p99s: vec![0.0], resident: vec![0.0], ..Parts::default() };
    let rows = found.rows(0.0, Length { minutes: 1, seconds: MINUTE }).into_iter();
    rows.map(|row| [row.work, row.subject, row.peer.unwrap_or_default()]).collect()
}

/// One of the parts beside the first.
fn beside(work: &str, unit: &str, (values, at): (&[f64], usize)) -> Row {
    let first = values.first().copied();
    let pair = first.zip(values.get(at).copied()).map(|(first, of)| (of, first));
    Row::measured(&format!("churn, {work}"), OURS, FIRST, unit, pair.as_slice())
}

fn client(room: &Room, bed: &Bed, (rate, seconds): (Option<f64>, f64)) -> Result<Report> {
    let to = SocketAddrV4::new(SERVER, Service::Echo.port());
    let options = load::Options {
        // At a rate these are the most. With more of them a server that has fallen behind would be slower
        // than in the samples that the rate comes from, and would stay behind.
        connections: AT_ONCE,
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

/// How the rows call who is measured, and the part that others are set beside.
const OURS: &str = "sluice";
const FIRST: &str = "sluice, first part";
/// The most connections at once, with a pace and without.
const AT_ONCE: usize = 32;
/// Of the highest rate.
const SHARE: f64 = 0.8;
/// The client's kernel keeps no TIME-WAIT. At most 131,072 by default, all of which begin within the same
/// seconds, it would else end together once a minute, on the CPU of either end, for tens of milliseconds.
const KEPT: (&str, &str) = ("net/ipv4/tcp_max_tw_buckets", "0");
/// Seconds.
pub(super) const MINUTE: f64 = 60.0;
/// Time for the client beyond its own.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    /// Resident bytes before it.
    const BEFORE: f64 = 5.0 * 1_048_576.0;

    /// Three parts.
    fn parts(failed: [u64; 3], p99s: [f64; 3]) -> Parts {
        let mut found = Parts::default();
        for (n, (failed, p99)) in failed.into_iter().zip(p99s).enumerate() {
            let failure = (failed > 0).then(|| format!("how in part {n}"));
            let report = Report { failed, failure, opened: 10, seconds: 1.0, ..Report::default() };
            let sample = Report { completed: 10, opened: 10, seconds: 0.1, ..Report::default() };
            found.take_sample(sample);
            found.take_part(report, (p99, 4.0));
        }
        found
    }

    #[test]
    fn failures_of_all_parts_are_summed_and_the_first_is_kept() {
        let mut found = parts([0, 2, 1], [1.0; 3]);
        let rows = found.rows(BEFORE, Length { minutes: 3, seconds: MINUTE });
        let pace = "0.8 of the highest, of which 10 s are taken before each part: ";
        let pace = format!("{pace}100, 100, 100 conn/s");
        assert!(rows.iter().all(|row| row.config["pace"] == pace), "{:?}", rows[0].config);
        assert!(rows.iter().all(|row| row.config["connections"] == "60, 3 failed"));
        assert!(rows.iter().all(|row| !row.config.contains_key(SMOKE)));
        assert!(rows.iter().all(|row| row.config[FAILED] == "3 of 60 (how in part 1)"));
        assert!(rows.iter().all(|row| !row.config.contains_key(DISTURBED)));
        let kept = "net.ipv4.tcp_max_tw_buckets=0: no TIME-WAIT";
        assert!(rows.iter().all(|row| row.config["client's kernel"] == kept));
        (found.others, found.waits) = (vec![0.1, 0.5, 0.3], vec![0.25, 0.5, 0.125]);
        let rows = found.rows(BEFORE, Length { minutes: 3, seconds: MINUTE });
        let waits = &rows[0].config["server's wait for its CPU by part, in ms"];
        assert_eq!(waits, "250, 500, 125");
        let said = "2 of 3 parts, others used up to 50 % of a core";
        assert_eq!(found.disturbed().as_deref(), Some(said));
    }

    #[test]
    fn later_parts_stand_beside_the_first() {
        let rows =
            parts([0; 3], [10.0, 20.0, 30.0]).rows(BEFORE, Length { minutes: 3, seconds: 1.0 });
        let of = |work: &str| rows.iter().find(|row| row.work.ends_with(work)).unwrap();
        assert_eq!((of("middle part").median, of("middle part").ratio), (Some(20.0), Some(2.0)));
        assert_eq!(of("p99, last part").ratio, Some(3.0));
        assert_eq!(of("memory, last part").ratio, Some(1.0));
        assert_eq!((of("failed").median, of("p99, all parts").max), (Some(0.0), Some(30.0)));
        assert!(rows.iter().all(|row| row.config.contains_key(SMOKE)));
    }

    #[test]
    fn short_runs_have_three_parts_too() {
        let parts = |minutes| Length { minutes, seconds: MINUTE }.parts();
        assert_eq!([parts(1), parts(2), parts(10)], [(3, 20.0), (3, 40.0), (10, 60.0)]);
    }
}
