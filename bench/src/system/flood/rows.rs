//! Samples of a flood as rows: each way of Sluice's beside the setting of the kernel that is like it, and
//! what an answer costs beside the kernel's better setting.

use super::super::bed::Room;
use super::cost::Costs;
use super::ground::{Ground, Side};
use super::sample::{Memory, Rate, Sample};
use super::{Course, Flood, Series, VISITS, sources};
use crate::machine;
use crate::printer::figure;
use crate::row::{Config, DISTURBED, Row, SMOKE};
use crate::spread::Spread;
use crate::topology::{CONGESTION, QUEUE};

/// A figure, with what follows the work's name, and the unit.
struct Metric {
    suffix: &'static str,
    unit: &'static str,
    of: Figure,
}

/// Where a figure comes from; `None` where nothing gave it.
#[derive(Clone, Copy)]
enum Figure {
    /// Each sample.
    Each(fn(&Sample) -> Option<f64>),
    /// The clients of all samples together: few of them fail.
    All(fn(&[&Sample]) -> f64),
}

const fn metric(suffix: &'static str, unit: &'static str, of: Figure) -> Metric {
    Metric { suffix, unit, of }
}

static METRICS: [Metric; 7] = [
    metric(", clients completed", "% completed", Figure::All(|all| share(all, None))),
    metric(", clients within 1 s", "% completed", Figure::All(|all| share(all, Some(1.0)))),
    metric(", clients within 4 s", "% completed", Figure::All(|all| share(all, Some(4.0)))),
    metric(
        ", clients refused or reset",
        "clients",
        Figure::All(|all| all.iter().map(|sample| sample.clients.refused).sum::<u64>() as f64),
    ),
    metric(", visit p50", "ms", Figure::Each(|sample| quantile(sample, |found| found.p50))),
    metric(", visit p99", "ms", Figure::Each(|sample| quantile(sample, |found| found.p99))),
    metric(", answered", "SYN/s", Figure::Each(|sample| Some(sample.answered()))),
];
/// What is reported of a course.
fn metrics(course: Course) -> &'static [Metric] {
    // Without clients nothing but the answers.
    if course == Course::OneCore { &METRICS[METRICS.len() - 1..] } else { &METRICS }
}

/// What follows the name where answers are counted by the CPU time that they took.
const EFFICIENCY: &str = ", answered by CPU time";
/// SYNs in a second of one CPU.
const PER_CORE: &str = "SYN/core/s";
/// The peer of such rows.
const BETTER: &str = "kernel, better setting";

/// Which is set beside which.
const PAIRS: [[Side; 2]; 4] = [
    [Side::Sluice("never"), Side::Kernel("1")],
    [Side::Sluice("auto"), Side::Kernel("1")],
    [Side::Sluice("always"), Side::Kernel("2")],
    [Side::Guard, Side::Kernel("1")],
];

/// The share of all clients that were served, within so many seconds, in percent.
fn share(samples: &[&Sample], seconds: Option<f64>) -> f64 {
    let opened: u64 = samples.iter().map(|sample| sample.clients.opened).sum();
    let most = seconds.map_or(u64::MAX, |seconds| (seconds * 1e9) as u64);
    let latencies = samples.iter().flat_map(|sample| &sample.clients.latencies);
    let served: u64 = latencies.filter(|(latency, _)| *latency <= most).map(|(_, n)| n).sum();
    served as f64 * 100.0 / opened.max(1) as f64
}

fn quantile(sample: &Sample, of: fn(crate::load::Quantiles) -> u64) -> Option<f64> {
    Some(of(sample.clients.quantiles().ok()??) as f64 / 1e6)
}

/// SYNs answered in a second of one CPU.
fn efficiency(sample: &Sample, costs: &Costs) -> Option<f64> {
    let cost = costs.of(sample);
    (cost > 0.0).then(|| sample.flood.syn_acks as f64 / cost)
}

/// The rows of a flood.
pub(super) fn of(
    room: &Room,
    grounds: &[Ground],
    flood: &Flood,
    (series, costs): (&Series, &Costs),
) -> Vec<Row> {
    let mut shared = shared(room, grounds, flood, series);
    shared.insert("CPU time".into(), told(costs));
    let place = |side| grounds.iter().position(|ground| ground.side == side);
    let samples = |at: usize| series.rounds.iter().filter_map(move |round| round.get(at));
    let mut rows = Vec::new();
    for pair in PAIRS {
        let [Some(ours), Some(theirs)] = pair.map(place) else { continue };
        let config = own(pair, [samples(ours).collect(), samples(theirs).collect()], costs);
        let config: Config = shared.clone().into_iter().chain(config).collect();
        for Metric { suffix, unit, of } in metrics(flood.course) {
            let pairs: Vec<(f64, f64)> = match *of {
                Figure::Each(of) => samples(ours)
                    .zip(samples(theirs))
                    .filter_map(|(ours, theirs)| Some((of(ours)?, of(theirs)?)))
                    .collect(),
                Figure::All(of) => {
                    let [ours, theirs] = [ours, theirs].map(|at| samples(at).collect::<Vec<_>>());
                    vec![(of(&ours), of(&theirs))]
                }
            };
            let work = format!("{}{suffix}", flood.name);
            let row = Row::measured(&work, pair[0].name(), pair[1].name(), unit, &pairs);
            rows.push(row.with(config.clone()));
        }
        let work = format!("{}{EFFICIENCY}", flood.name);
        let pairs: Vec<_> = samples(ours).zip(better(grounds, series, costs)).collect();
        let pairs: Vec<(f64, f64)> = pairs
            .into_iter()
            .filter_map(|(sample, theirs)| Some((efficiency(sample, costs)?, theirs?)))
            .collect();
        rows.push(Row::measured(&work, pair[0].name(), BETTER, PER_CORE, &pairs).with(config));
    }
    rows
}

/// The rows of a side that could not be made.
pub(super) fn absent(flood: &Flood, side: Side, why: &str) -> Vec<Row> {
    let of = |[ours, theirs]: [Side; 2]| {
        let metrics = metrics(flood.course).iter();
        let metrics = metrics.map(move |metric| (metric.suffix, theirs.name(), metric.unit));
        let all = metrics.chain([(EFFICIENCY, BETTER, PER_CORE)]);
        all.map(move |(suffix, peer, unit)| {
            let work = format!("{}{suffix}", flood.name);
            Row::absent(&work, ours.name(), peer, unit, why).with(machine::config())
        })
    };
    PAIRS.into_iter().filter(|[ours, _]| *ours == side).flat_map(of).collect()
}

/// What the better setting of the kernel did in each alternation.
fn better(grounds: &[Ground], series: &Series, costs: &Costs) -> Vec<Option<f64>> {
    let is_kernel = |ground: &Ground| matches!(ground.side, Side::Kernel(_));
    let best = |round: &Vec<Sample>| {
        let kernels = grounds.iter().zip(round).filter(|(ground, _)| is_kernel(ground));
        kernels.filter_map(|(_, sample)| efficiency(sample, costs)).reduce(f64::max)
    };
    series.rounds.iter().map(best).collect()
}

/// Work, subject and peer of every row.
#[cfg(test)]
pub(super) fn names(flood: &Flood) -> Vec<[String; 3]> {
    let Flood { name, course, .. } = flood;
    let of = |[ours, theirs]: [Side; 2]| {
        let metrics = metrics(*course).iter();
        let metrics = metrics.map(move |metric| (metric.suffix, theirs.name()));
        let all = metrics.chain([(EFFICIENCY, BETTER)]);
        all.map(move |(suffix, peer)| [format!("{name}{suffix}"), ours.name().into(), peer.into()])
    };
    PAIRS.into_iter().flat_map(of).collect()
}

/// What all rows say.
fn shared(room: &Room, grounds: &[Ground], flood: &Flood, series: &Series) -> Config {
    let mut config = common(room, grounds.iter().find_map(|ground| ground.bed.mode.clone()));
    let mut say = |key: &str, value: String| config.insert(key.into(), value);
    let pace = series.pace;
    say("samples", format!("{} alternations of {} s", series.alternations, pace.seconds));
    say(
        "clients",
        match flood.course {
            Course::OneCore => "none".into(),
            _ => format!("{VISITS} a second, 1 KiB each way, 4 s for the last to end"),
        },
    );
    if flood.course == Course::OneCore {
        say("placement", format!("server, generator and counter on CPU {}", room.places.server));
    }
    let rate = match flood.course {
        Course::Fixed(rate) => format!("{} k/s asked", rate / 1_000),
        Course::Highest => "the highest rate at which the interface drops under 0.1 %".into(),
        Course::FlatOut | Course::OneCore | Course::Soak => "as many as go".into(),
    };
    let from = sources(flood.family);
    say("flood", format!("live frames, SYNs from {from}, {rate}"));
    if pace.is_smoke() {
        say(SMOKE, "short samples that measure nothing".into());
    }
    if let Some(how) = disturbed(series) {
        say(DISTURBED, how);
    }
    config
}

/// What all works of floods say.
pub(super) fn common(room: &Room, mode: Option<String>) -> Config {
    let mut config = machine::config();
    let mut say = |key: &str, value: String| config.insert(key.into(), value);
    say("driver mode", format!("veth, {}", mode.unwrap_or_else(|| "unknown".into())));
    say("mtu", "1500".into());
    say("offloads", "both: tx checksum off, tso off on both ends".into());
    say("congestion control", format!("{CONGESTION} on both ends"));
    say("queueing", format!("pfifo, {QUEUE} frames, on both ends"));
    let places = room.places;
    let placement =
        format!("server and clients on CPU {}, generator on CPU {}", places.server, places.client);
    say("placement", placement);
    say(
        "servers",
        "sluice: --cpus, --syn-cookies; kernel: tcp_syncookies, backlog 4096, XDP_PASS on its interface, \
         or `sluice guard` and tcp_syncookies 1"
            .into(),
    );
    config
}

/// What the rows of one pair say of both.
fn own(pair: [Side; 2], samples: [Vec<&Sample>; 2], costs: &Costs) -> Config {
    let both = |of: &dyn Fn(&Sample) -> f64| {
        let shown = pair.iter().zip(&samples).filter_map(|(side, samples)| {
            let median = Spread::of(samples.iter().map(|sample| of(sample)))?.median;
            Some(format!("{} {}", side.name(), figure(median)))
        });
        shown.collect::<Vec<_>>().join("; ")
    };
    let mut config = Config::new();
    let mut say = |key: &str, value: String| config.insert(key.into(), value);
    say("flood sent, SYN/s", both(&|sample| sample.flood.rate()));
    say("dropped by the interface, %", both(&|sample| sample.lost() * 100.0));
    say("CPU time, cores", both(&|sample| costs.of(sample) / sample.flood.seconds.max(1e-3)));
    let memory = pair.iter().zip(&samples).filter_map(|(side, samples)| {
        let (first, last) = (samples.first()?, samples.last()?);
        let [before, after] = [first.memory[0], last.memory[1]].map(kept);
        Some(format!("{} {before} before, {after} after", side.name()))
    });
    say("memory, MB", memory.collect::<Vec<_>>().join("; "));
    for (side, samples) in pair.iter().zip(&samples) {
        if let Some(failure) = failure(samples) {
            say(&format!("clients that failed with {}", side.name()), failure);
        }
    }
    config
}

/// Memory for people.
pub(super) fn kept(memory: Memory) -> String {
    let [process, maps, slabs] =
        [memory.process, memory.maps, memory.slabs].map(|bytes| bytes as f64 / 1e6);
    match (memory.process, memory.slabs) {
        (_, 0) => format!("{process:.2} and maps {maps:.2}"),
        (0, _) => format!("slabs {slabs:.2}"),
        _ => format!("guard {process:.2}, its maps {maps:.2} and slabs {slabs:.2}"),
    }
}

/// How many clients failed, and how the first of them did. During a flood that is a figure, not a fault
/// of the run.
fn failure(samples: &[&Sample]) -> Option<String> {
    let failed: u64 = samples.iter().map(|sample| sample.clients.failed).sum();
    let why = samples.iter().find_map(|sample| sample.clients.failure.clone())?;
    Some(format!("{failed} of all ({why})"))
}

fn disturbed(series: &Series) -> Option<String> {
    let disturbed = series.rounds.iter().map(|round| disturbance(round)).filter(|by| *by > QUIET);
    let disturbed: Vec<f64> = disturbed.collect();
    let most = disturbed.iter().copied().reduce(f64::max)?;
    Some(format!(
        "{} of {} alternations, others used up to {:.0} % of a core, {} repeated",
        disturbed.len(),
        series.rounds.len(),
        most * 100.0,
        series.repeated
    ))
}

/// The most that others used in a round.
pub(super) fn disturbance(round: &[Sample]) -> f64 {
    round.iter().map(|sample| sample.others).fold(0.0, f64::max)
}

/// A sample for whoever waits for the rows.
pub(super) fn line(name: &str, sample: &Sample) -> String {
    let figures = METRICS.iter().filter_map(|Metric { suffix, unit, of }| {
        let found = match *of {
            Figure::Each(of) => of(sample)?,
            Figure::All(of) => of(&[sample]),
        };
        let what = suffix.trim_start_matches(", ");
        Some(format!("{what} {} {unit}", figure(found)))
    });
    let figures: Vec<_> = figures.collect();
    format!(
        "{name}: {}; of {} SYN/s {:.3} % dropped; memory {} B more",
        figures.join(", "),
        figure(sample.flood.rate()),
        sample.lost() * 100.0,
        sample.memory[1].total().cast_signed() - sample.memory[0].total().cast_signed(),
    )
}

/// What was taken off the CPU time.
fn told(costs: &Costs) -> String {
    let frames = costs.frames().map(|(rate, seconds)| {
        let rate = match rate {
            Rate::Paced(rate) => format!("at {} k/s", rate / 1_000),
            Rate::FlatOut => "flat out".into(),
        };
        format!("{} ns {rate}", figure(seconds * 1e9))
    });
    format!(
        "all CPUs, clients' too, without the time in which the generator only waits, which it counts, and \
         without what its frames take into XDP_DROP: {}",
        frames.collect::<Vec<_>>().join(", ")
    )
}

/// Cores that others may use without disturbing a sample.
pub(super) const QUIET: f64 = 0.2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Report;
    use crate::topology::Family;

    #[test]
    fn side_that_is_not_there_has_a_row_for_each_of_its_own() {
        let flood =
            Flood { name: "syn flood, x".into(), course: Course::FlatOut, family: Family::V4 };
        let rows = absent(&flood, Side::Guard, "an old kernel");
        let found = rows.iter().map(|row| {
            assert_eq!((row.median, row.absent.as_deref()), (None, Some("an old kernel")));
            assert!(
                ["machine", "kernel", "commit"].iter().all(|key| row.config.contains_key(*key))
            );
            [row.work.clone(), row.subject.clone(), row.peer.clone().unwrap_or_default()]
        });
        let wanted = names(&flood).into_iter();
        let wanted = wanted.filter(|[_, subject, _]| subject == Side::Guard.name());
        assert!(found.eq(wanted));
    }

    #[test]
    fn share_is_of_all_clients_and_by_time() {
        let clients = |latencies: &[(u64, u64)], opened| Sample {
            clients: Report { latencies: latencies.to_vec(), opened, ..Report::default() },
            ..Sample::default()
        };
        let samples =
            [clients(&[(1_000_000, 6), (2_000_000_000, 1)], 8), clients(&[(5_000_000_000, 1)], 2)];
        let all: Vec<&Sample> = samples.iter().collect();
        let found = [None, Some(4.0), Some(1.0)].map(|most| share(&all, most));
        assert_eq!(found, [80.0, 70.0, 60.0]);
        assert_eq!(share(&[], None), 0.0);
    }
}
