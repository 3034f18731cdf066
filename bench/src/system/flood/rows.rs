//! Samples of a flood as rows: the first subject beside the other.

use super::super::bed::Room;
use super::{Flood, Ground, SOURCES, Sample, Series, VISITS};
use crate::machine;
use crate::printer::figure;
use crate::row::{Config, Row, SMOKE};
use crate::spread::Spread;
use crate::topology::{CONGESTION, QUEUE};

/// A figure of a sample; `None` where nothing gave it.
type Figure = fn(&Sample) -> Option<f64>;

/// What follows the work's name, the unit, and the figure.
const METRICS: [(&str, &str, Figure); 4] = [
    (", clients completed", "% completed", |sample| Some(sample.completed() * 100.0)),
    (", connect p50", "ms", |sample| quantile(sample, |found| found.p50)),
    (", connect p99", "ms", |sample| quantile(sample, |found| found.p99)),
    (", answered", "SYN/s", |sample| Some(sample.answered())),
];

fn quantile(sample: &Sample, of: fn(crate::load::Quantiles) -> u64) -> Option<f64> {
    Some(of(sample.clients.quantiles().ok()??) as f64 / 1e6)
}

/// The rows of a flood.
pub(super) fn of(room: &Room, grounds: &[Ground], flood: &Flood, series: &Series) -> Vec<Row> {
    let [subject, peer] = grounds else { return Vec::new() };
    let shared = config(room, grounds, flood, series);
    let row = |(suffix, unit, of): (&str, &str, Figure)| {
        let pairs: Vec<_> = series
            .rounds
            .iter()
            .filter_map(|round| Some((of(round.first()?)?, of(round.get(1)?)?)))
            .collect();
        let work = format!("{}{suffix}", flood.name);
        let [ours, theirs] = [subject, peer].map(|ground| ground.bed.subject.name());
        Row::measured(&work, ours, theirs, unit, &pairs).with(shared.clone())
    };
    METRICS.into_iter().map(row).collect()
}

fn config(room: &Room, grounds: &[Ground], flood: &Flood, series: &Series) -> Config {
    let mut config = machine::config();
    let mut say = |key: &str, value: String| config.insert(key.into(), value);
    let mode = grounds.iter().find_map(|ground| ground.bed.mode.clone());
    say("driver mode", format!("veth, {}", mode.unwrap_or_else(|| "unknown".into())));
    say("mtu", "1500".into());
    say("offloads", "both: tx checksum off, tso off on both ends".into());
    say("congestion control", format!("{CONGESTION} on both ends"));
    say("queueing", format!("pfifo, {QUEUE} frames, on both ends"));
    let places = room.places;
    let placement = format!(
        "server on CPU {}, clients and generator (nice 19) on CPU {}",
        places.server, places.client
    );
    say("placement", placement);
    say("servers", "sluice: --cpus, SYN cookies when full; kernel: tcp_syncookies=1, backlog 4096, XDP_PASS on its interface".into());
    let pace = series.pace;
    say("samples", format!("{} alternations of {} s", pace.alternations, pace.seconds));
    say("clients", format!("{VISITS} a second, 1 KiB each way, 4 s for the last to end"));
    if pace.is_smoke() {
        say(SMOKE, "short samples that measure nothing".into());
    }
    let rate = flood.rate / 1_000;
    say("flood", format!("live frames, SYNs from {SOURCES}, {rate} k/s asked"));
    for (key, of) in SAID {
        let shown = grounds.iter().enumerate().filter_map(|(n, ground)| {
            let samples = series.rounds.iter().filter_map(|round| Some(of(round.get(n)?)));
            let median = Spread::of(samples)?.median;
            Some(format!("{} {}", ground.bed.subject.name(), figure(median)))
        });
        say(key, shown.collect::<Vec<_>>().join(", "));
    }
    if let Some(failure) = failure(series) {
        say("clients that failed", failure);
    }
    let disturbed = series.rounds.iter().map(|round| disturbance(round)).filter(|by| *by > QUIET);
    let disturbed: Vec<f64> = disturbed.collect();
    if let Some(most) = disturbed.iter().copied().reduce(f64::max) {
        let (count, all, again) = (disturbed.len(), series.rounds.len(), series.repeated);
        say(
            "disturbed",
            format!(
                "{count} of {all} alternations, others used up to {:.0} % of a core, {again} repeated",
                most * 100.0
            ),
        );
    }
    config
}

/// What a sample says of its flood.
type Setting = fn(&Sample) -> f64;

/// What the rows say of each subject's flood, as the median of its samples.
const SAID: [(&str, Setting); 2] = [
    ("flood sent, SYN/s", |sample| sample.flood.rate()),
    ("flood that reached the server, %", |sample| sample.delivered * 100.0),
];

/// How many clients failed with whom, and how the first of them did. During a flood that is a figure,
/// not a fault of the run.
fn failure(series: &Series) -> Option<String> {
    let samples = || series.rounds.iter().flatten();
    let failed: u64 = samples().map(|sample| sample.clients.failed).sum();
    let why = samples().find_map(|sample| sample.clients.failure.clone())?;
    Some(format!("{failed} of all ({why})"))
}

/// The most that others used in a round.
pub(super) fn disturbance(round: &[Sample]) -> f64 {
    round.iter().map(|sample| sample.others).fold(0.0, f64::max)
}

/// A sample for whoever waits for the rows.
pub(super) fn line(name: &str, sample: &Sample) -> String {
    let figures = METRICS
        .into_iter()
        .filter_map(|(_, unit, of)| Some(format!("{} {unit}", figure(of(sample)?))));
    let figures: Vec<_> = figures.collect();
    format!("{name}: {} of {} SYN/s", figures.join(", "), figure(sample.flood.rate()))
}

/// Cores that others may use without disturbing a sample.
pub(super) const QUIET: f64 = 0.2;
