//! Churn: short connections for minutes, at four fifths of the highest rate, on one server.
//!
//! No connection may fail, and neither memory nor latency may grow: the time is cut into parts, the last of
//! which are set beside the first. The highest rate of a machine that others share is another one some minutes
//! later, so each part is paced by a sample that is taken just before it, and measured again where even that was too
//! high for what followed, as it is where others disturbed it.

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

/// What was found of a part.
struct Part {
    /// Connections a second without a pace, just before it.
    highest: f64,
    /// Connections a second.
    rate: f64,
    /// In microseconds.
    p99: f64,
    /// Bytes at its end.
    resident: f64,
    /// Cores that others used meanwhile.
    others: f64,
    /// The share of its core that the client used.
    core: Option<f64>,
    /// Seconds for which the server's threads could have run, and others had their CPU.
    wait: f64,
}

impl Part {
    /// Why it is measured again. Where fewer connections came than were due, the highest rate had become lower
    /// than the pace, and latencies say for how long.
    fn fault(&self) -> Option<String> {
        if busy::is_disturbed(self.others) {
            return Some(format!("others used {:.0} % of a core", self.others * 100.0));
        }
        let kept_pace = self.rate >= KEPT_PACE * SHARE * self.highest;
        (!kept_pace).then(|| "it did not keep its pace".into())
    }
}

/// What was found.
#[derive(Default)]
struct Parts {
    measured: Vec<Part>,
    /// Those that were measured again.
    faulty: Vec<Part>,
    /// In bytes, before the first of them.
    before: f64,
    /// Connections of all of them, and of the samples.
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
    bed.topology.client.write_sysctl(KEPT_SYSCTL.0, KEPT_SYSCTL.1)?;
    bed.start(room)?;
    let before = resident(bed.server_pid().context("the server runs")?)? as f64;
    let mut found = Parts { before, ..Parts::default() };
    let (counted, dropped) = (Counters::read(&bed.topology.client)?, bed.dropped()?);
    let (count, seconds) = length.parts();
    for part in 1..=count {
        for attempt in 1..=ATTEMPTS {
            let measured = found.measure(room, &bed, length)?;
            found.again = Counters::read(&bed.topology.client)?.since(counted);
            found.dropped = bed.dropped()?.saturating_sub(dropped);
            eprintln!("  part {part} of {count}, {seconds:.0} s each: {}", found.said(&measured));
            let Some(fault) = measured.fault().filter(|_| attempt < ATTEMPTS) else {
                found.measured.push(measured);
                break;
            };
            eprintln!("  part {part} of {count} once more: {fault}");
            found.faulty.push(measured);
        }
    }
    bed.start(room).context("the server at the end")?;
    let rows = found.rows(length).into_iter();
    Ok(rows.map(|row| row.with(rows::wire(bed.mode.as_deref()))).collect())
}

impl Parts {
    /// A sample without a pace, then the part at its own.
    fn measure(&mut self, room: &Room, bed: &Bed, length: Length) -> Result<Part> {
        let pid = bed.server_pid().context("the server runs")?;
        let sample = client(room, bed, (None, length.sample()))?;
        let highest = sample.rate();
        self.count(sample);
        let watch = Watch::begin();
        let waited = cpus::waited(pid)?;
        let report = client(room, bed, (Some(SHARE * highest), length.parts().1))?;
        let others = watch.others();
        let wait = cpus::waited(pid)?.saturating_sub(waited).as_secs_f64();
        let p99 = report.quantiles()?.context("no connection within a part")?.p99 as f64 / 1e3;
        let (rate, core, resident) = (report.rate(), report.core, resident(pid)? as f64);
        self.count(report);
        Ok(Part { highest, rate, p99, resident, others, core, wait })
    }

    fn count(&mut self, report: Report) {
        self.opened += report.opened;
        self.failed += report.failed;
        self.failure = self.failure.take().or(report.failure);
    }

    /// One figure of each part.
    fn each(&self, figure: impl Fn(&Part) -> f64) -> Vec<f64> {
        self.measured.iter().map(figure).collect()
    }

    /// What is wrong with parts that were measured as often as they may be.
    fn disturbed(&self) -> Option<String> {
        let faults: Vec<_> = self.measured.iter().filter_map(Part::fault).collect();
        let (count, all) = (faults.len(), self.measured.len());
        (count > 0).then(|| format!("{count} of {all} parts: {}", faults.join("; ")))
    }

    /// A part for whoever waits.
    fn said(&self, part: &Part) -> String {
        format!(
            "{} of {} conn/s, p99 {} µs, {} MiB resident, {} failed, {} SYNs sent again",
            figure(part.rate),
            figure(part.highest),
            figure(part.p99),
            mib(part.resident),
            self.failed,
            self.again.syns_again
        )
    }

    fn rows(&self, length: Length) -> Vec<Row> {
        let config = self.config(length);
        let alone = |work: &str, unit: &str, values: &[f64]| {
            Row::alone(&format!("churn, {work}"), OURS, unit, values)
        };
        let (p99s, resident) = (self.each(|part| part.p99), self.each(|part| part.resident));
        let last = p99s.len() - 1;
        let rows = [
            alone("rate", "conn/s", &self.each(|part| part.rate)),
            alone("failed", "connections", &[self.failed as f64]),
            alone("p99, all parts", "µs", &p99s),
            beside("p99, middle part", "µs", (&p99s, p99s.len() / 2)),
            beside("p99, last part", "µs", (&p99s, last)),
            beside("resident memory, last part", "B", (&resident, last)),
            alone("SYNs sent again", "SYNs", &[self.again.syns_again as f64]),
            alone("frames dropped before the server", "frames", &[self.dropped as f64]),
        ];
        rows.into_iter().map(|row| row.with(config.clone())).collect()
    }

    /// What all rows say.
    fn config(&self, length: Length) -> Config {
        let all = |values: Vec<f64>| values.into_iter().map(figure).collect::<Vec<_>>().join(", ");
        let memory: Vec<_> = self.each(|part| part.resident).into_iter().map(mib).collect();
        let (count, seconds) = length.parts();
        let pace = format!(
            "{SHARE} of the highest, of which {:.0} s are taken before each part: {} conn/s",
            length.sample(),
            all(self.each(|part| part.highest))
        );
        let mut config = machine::config();
        let mut say = |key: &str, value: String| config.insert(key.into(), value);
        say("parts", format!("{count} of {seconds:.0} s"));
        say("pace", pace);
        let faults = self.faulty.iter().filter_map(|part| {
            let (rate, highest, p99) = (figure(part.rate), figure(part.highest), figure(part.p99));
            Some(format!("{rate} of {highest} conn/s, p99 {p99} µs: {}", part.fault()?))
        });
        let faults: Vec<_> = faults.collect();
        if !faults.is_empty() {
            say("parts that were measured again", faults.join("; "));
        }
        say(
            "at once",
            format!("{AT_ONCE} at most; those that wait are late from when they are due"),
        );
        say("connections", format!("{}, {} failed", self.opened, self.failed));
        say("segments sent again by the client", self.again.segments_again.to_string());
        if let Some(core) = Spread::of(self.measured.iter().filter_map(|part| part.core)) {
            say("client's core", format!("{:.0} %", core.median * 100.0));
        }
        let (key, value) = KEPT_SYSCTL;
        say("client's kernel", format!("{}={value}: no TIME-WAIT", key.replace('/', ".")));
        say("server's wait for its CPU by part, in ms", all(self.each(|part| part.wait * 1e3)));
        say("p99 by part, in µs", all(self.each(|part| part.p99)));
        say("MiB by part", format!("{}, {}", mib(self.before), memory.join(", ")));
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
    let part = Part {
        highest: 0.0,
        rate: 0.0,
        p99: 0.0,
        resident: 0.0,
        others: 0.0,
        core: None,
        wait: 0.0,
    };
    let found = Parts { measured: vec![part], ..Parts::default() };
    let rows = found.rows(Length { minutes: 1, seconds: MINUTE }).into_iter();
    rows.map(|row| [row.work, row.subject, row.peer.unwrap_or_default()]).collect()
}

fn mib(bytes: f64) -> String {
    format!("{:.1}", bytes / f64::from(1 << 20))
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
/// Of its pace: what a part has to reach, so that at its end it is less than a second late.
const KEPT_PACE: f64 = 0.99;
/// How often a part is measured at most.
const ATTEMPTS: usize = 3;
/// The client's kernel keeps no TIME-WAIT. At most 131,072 by default, all of which begin within the same
/// seconds, it would else end together once a minute, on the CPU of either end, for tens of milliseconds.
const KEPT_SYSCTL: (&str, &str) = ("net/ipv4/tcp_max_tw_buckets", "0");
/// Seconds.
pub(super) const MINUTE: f64 = 60.0;
/// Time for the client beyond its own.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    /// A part at its pace.
    fn part(p99: f64) -> Part {
        let (highest, rate, resident) = (100.0, 80.0, 4_194_304.0);
        Part { highest, rate, p99, resident, others: 0.1, core: Some(0.5), wait: 0.25 }
    }

    /// Three of them, and nothing else.
    fn parts(p99s: [f64; 3]) -> Parts {
        let measured = p99s.into_iter().map(part).collect();
        Parts { measured, before: 1_048_576.0, ..Parts::default() }
    }

    #[test]
    fn rows_say_how_it_was_measured() {
        let rows = parts([1.0, 3.0, 2.0]).rows(Length { minutes: 3, seconds: MINUTE });
        let config = &rows[0].config;
        let pace = "0.8 of the highest, of which 10 s are taken before each part: ";
        let wanted = [
            ("pace", format!("{pace}100, 100, 100 conn/s")),
            ("client's kernel", "net.ipv4.tcp_max_tw_buckets=0: no TIME-WAIT".into()),
            ("client's core", "50 %".into()),
            ("server's wait for its CPU by part, in ms", "250, 250, 250".into()),
            ("p99 by part, in µs", "1.00, 3.00, 2.00".into()),
            ("MiB by part", "1.0, 4.0, 4.0, 4.0".into()),
        ];
        for (key, value) in wanted {
            assert_eq!(config[key], value);
        }
        let other = [SMOKE, FAILED, DISTURBED].iter().any(|key| config.contains_key(*key));
        assert!(!other && !config.keys().any(|key| key.contains("measured again")), "{config:?}");
    }

    #[test]
    fn failures_are_summed_and_the_first_is_kept() {
        let mut found = parts([1.0; 3]);
        for (n, failed) in [0, 2, 1].into_iter().enumerate() {
            let failure = (failed > 0).then(|| format!("how in part {n}"));
            found.count(Report { opened: 20, failed, failure, ..Report::default() });
        }
        let rows = found.rows(Length { minutes: 3, seconds: MINUTE });
        assert!(rows.iter().all(|row| row.config["connections"] == "60, 3 failed"));
        assert!(rows.iter().all(|row| row.config[FAILED] == "3 of 60 (how in part 1)"));
    }

    #[test]
    fn parts_that_were_disturbed_or_did_not_keep_their_pace_are_told_apart() {
        let slow = || Part { rate: 79.0, ..part(9.0) };
        let disturbed = || Part { others: 0.5, ..part(8.0) };
        let faults = [part(1.0), slow(), disturbed()].map(|part| part.fault());
        let [pace, others] = ["it did not keep its pace", "others used 50 % of a core"];
        assert_eq!(faults.each_ref().map(Option::as_deref), [None, Some(pace), Some(others)]);
        let mut found = parts([1.0; 3]);
        assert_eq!(found.disturbed(), None);
        found.faulty = vec![slow(), disturbed()];
        let rows = found.rows(Length { minutes: 3, seconds: MINUTE });
        let said = &rows[0].config["parts that were measured again"];
        let one = format!("79.0 of 100 conn/s, p99 9.00 µs: {pace}");
        let other = format!("80.0 of 100 conn/s, p99 8.00 µs: {others}");
        assert_eq!(*said, format!("{one}; {other}"));
        assert_eq!((found.disturbed(), rows[2].max), (None, Some(1.0)));
        found.measured[1] = slow();
        found.measured[2] = disturbed();
        let said = format!("2 of 3 parts: {pace}; {others}");
        assert_eq!(found.disturbed(), Some(said));
    }

    #[test]
    fn later_parts_stand_beside_the_first() {
        let rows = parts([10.0, 20.0, 30.0]).rows(Length { minutes: 3, seconds: 1.0 });
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
