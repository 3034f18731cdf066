//! Samples as rows: the first subject beside each of the others.

use super::bed::{Bed, Room, Subject};
use super::plan::{Case, Metric};
use super::series::{Found, Series};
use crate::machine;
use crate::row::{Config, DISTURBED, FAILED, Row, SMOKE};
use crate::spread::Spread;
use crate::topology::{CONGESTION, Offloads, QUEUE};

/// The rows of a case.
pub(super) fn of(room: &Room, beds: &[Bed], case: &Case, series: &Series) -> Vec<Row> {
    let shared = config(room, beds, case, series);
    let mut rows = Vec::new();
    let Some((subject, peers)) = case.subjects.split_first() else { return rows };
    for (at, metric) in case.metrics().iter().enumerate() {
        for (n, peer) in peers.iter().enumerate() {
            let pairs = pairs(at, series, n + 1);
            let work = format!("{}{}", case.name, metric.suffix);
            let row = measured(&work, [*subject, *peer], metric, (&pairs, failure(case, series)));
            let row = row.with(shared.clone()).with(beside(case, *peer, (series, n + 1)));
            rows.push(row);
        }
    }
    rows
}

/// How connections failed, and whose.
fn failure(case: &Case, series: &Series) -> Option<String> {
    let names: Vec<&str> = case.subjects.iter().map(|subject| subject.name()).collect();
    series.failure(&names)
}

/// The row of pairs; where one side had no connection that went well, a failure and no figure of zero.
fn measured(
    work: &str,
    [subject, peer]: [Subject; 2],
    metric: &Metric,
    (pairs, failure): (&[(f64, f64)], Option<String>),
) -> Row {
    let (subject, peer, unit) = (subject.name(), peer.name(), metric.unit);
    let is_nothing = pairs.iter().all(|(subject, peer)| *subject == 0.0 || *peer == 0.0);
    match failure {
        Some(how) if is_nothing => Row::failed(work, subject, peer, unit, &how),
        _ => Row::measured(work, subject, peer, unit, pairs),
    }
}

/// The rows of a case whose peer is not there.
pub(super) fn absent(case: &Case, [subject, peer]: [Subject; 2], why: &str) -> Vec<Row> {
    let row = |metric: &Metric| {
        let work = format!("{}{}", case.name, metric.suffix);
        Row::absent(&work, subject.name(), peer.name(), metric.unit, why).with(machine::config())
    };
    case.metrics().iter().map(row).collect()
}

/// The rows of a case that went wrong in the way that `how` tells.
pub(super) fn failed(case: &Case, how: &str) -> Vec<Row> {
    let Some((subject, peers)) = case.subjects.split_first() else { return Vec::new() };
    let rows = peers.iter().flat_map(|peer| {
        case.metrics().iter().map(move |metric| {
            let work = format!("{}{}", case.name, metric.suffix);
            Row::failed(&work, subject.name(), peer.name(), metric.unit, how)
        })
    });
    rows.map(|row| row.with(machine::config())).collect()
}

/// The `at`-th figures of the subject and of the `peer`-th, by alternation.
fn pairs(at: usize, series: &Series, peer: usize) -> Vec<(f64, f64)> {
    let both = series.of(0).zip(series.of(peer));
    both.filter_map(|(subject, peer)| Some((*subject.figures.get(at)?, *peer.figures.get(at)?)))
        .collect()
}

/// What rows that are no case's say of the link and of TCP. `mode` is how Sluice works, as it says.
pub(super) fn wire(mode: Option<&str>) -> Config {
    let pairs = [
        ("driver mode", format!("veth, {}", mode.unwrap_or("unknown"))),
        ("mtu", "1500".into()),
        ("offloads", format!("both: {}", Offloads::Off.describe())),
        ("congestion control", format!("{CONGESTION} on both ends")),
        ("queueing", format!("pfifo, {QUEUE} frames, on both ends")),
    ];
    pairs.map(|(key, value)| (key.into(), value)).into()
}

/// What all rows of a case say of where and how.
fn config(room: &Room, beds: &[Bed], case: &Case, series: &Series) -> Config {
    let mut config = machine::config();
    let mut say = |key: &str, value: String| config.insert(key.into(), value);
    let mode = beds.iter().find_map(|bed| bed.mode.clone()).unwrap_or_else(|| "unknown".into());
    say("driver mode", format!("veth, {mode}"));
    say("mtu", case.mtu.to_string());
    say("queueing", format!("pfifo, {QUEUE} frames, on both ends"));
    let places = room.places;
    say("placement", format!("server on CPU {}, client on CPU {}", places.server, places.client));
    let pace = series.pace;
    say("samples", format!("{} alternations of {} s", pace.alternations, pace.seconds));
    if pace.is_smoke() {
        say(SMOKE, "short samples that measure nothing".into());
    }
    if let Some(path) = case.path {
        say("path", path.describe());
    }
    if case.has_spinners {
        say("spinners", "idle priority, on both CPUs".into());
    }
    if let Some(failure) = failure(case, series) {
        say(FAILED, failure);
    }
    if let Some((rounds, most)) = series.disturbed() {
        let percent = most * 100.0;
        let again = series.repeated;
        say(
            DISTURBED,
            format!(
                "{rounds} of {} alternations, others used up to {percent:.0} % of a core, {again} repeated",
                series.rounds.len()
            ),
        );
    }
    config
}

/// What a row says of its peer.
fn beside(case: &Case, peer: Subject, at: (&Series, usize)) -> Config {
    let (series, n) = at;
    let mut config = Config::new();
    let mut say = |key: &str, value: String| config.insert(key.into(), value);
    if let Some(subject) = case.subjects.first() {
        let ends = [*subject, peer].map(|one| one.link(case.mtu).offloads.describe());
        let [ours, theirs] = ends;
        let text = if ours == theirs {
            format!("both: {ours}")
        } else {
            format!("{}: {ours}; {}: {theirs}", subject.name(), peer.name())
        };
        say("offloads", text);
        say("congestion control", congestion(*subject, peer));
        let [ours, theirs] = [*subject, peer].map(|one| (one.name(), one.options()));
        say("servers", format!("{}: {}; {}: {}", ours.0, ours.1, theirs.0, theirs.1));
    }
    let of = |figure: fn(&Found) -> Option<f64>| {
        [0, n].map(|n| Spread::of(series.of(n).filter_map(figure)))
    };
    if case.has_single_source()
        && let [Some(ours), Some(theirs)] = of(|found| Some(found.reused))
    {
        let [ours, theirs] = [ours, theirs].map(|spread| spread.median * 100.0);
        say("ports used again", format!("{ours:.0} % of connections beside {theirs:.0} %"));
    }
    let [ours, theirs] = of(|found| found.core);
    if let (Some(ours), Some(theirs)) = (ours, theirs) {
        say("client's core", core(ours.median, theirs.median));
    }
    config
}

/// The congestion control of a subject's connections and of its peer's.
fn congestion(subject: Subject, peer: Subject) -> String {
    match [subject, peer].map(Subject::congestion) {
        [ours, theirs] if ours == theirs => format!("{ours} on both ends"),
        [ours, theirs] => {
            let [subject, peer] = [subject, peer].map(Subject::name);
            format!("{subject}: {ours} on both ends; {peer}: {theirs} on both ends")
        }
    }
}

/// How busy the client's core was, in the subject's runs and in the peer's.
fn core(subject: f64, peer: f64) -> String {
    let bound = match (subject > FULL, peer > FULL) {
        (true, true) => ": client-bound",
        (true, false) => ": subject is client-bound",
        (false, true) => ": peer is client-bound",
        (false, false) => "",
    };
    format!("{:.0} % beside {:.0} %{bound}", subject * 100.0, peer * 100.0)
}

/// From this share on the client's core is what bounds a figure.
const FULL: f64 = 0.95;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_of_connections_that_all_failed_has_no_figure() {
        let metric = Metric { suffix: "", unit: "conn/s" };
        let row = |pairs: &[(f64, f64)], failure: Option<&str>| {
            let failure = failure.map(String::from);
            measured("connect", [Subject::Sluice, Subject::Kernel], &metric, (pairs, failure))
        };
        assert_eq!(row(&[(0.0, 0.0); 2], Some("9 of 9")).median, None);
        assert_eq!(row(&[(0.0, 5.0), (4.0, 2.0)], Some("1 of 9")).median, Some(2.0));
        assert_eq!(row(&[(4.0, 2.0)], None).ratio, Some(2.0));
    }

    #[test]
    fn congestion_control_is_named_for_each_where_they_differ() {
        assert_eq!(congestion(Subject::Sluice, Subject::KernelTso), "cubic on both ends");
        let said = "sluice: cubic on both ends; kernel with bbr: bbr on both ends";
        assert_eq!(congestion(Subject::Sluice, Subject::KernelBbr), said);
    }

    #[test]
    fn client_is_the_bound_above_95_percent() {
        assert_eq!(core(0.951, 0.95), "95 % beside 95 %: subject is client-bound");
        assert_eq!(core(0.5, 0.6), "50 % beside 60 %");
        assert_eq!(core(1.0, 1.0), "100 % beside 100 %: client-bound");
    }
}
