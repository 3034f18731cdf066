//! Rows as points: who reached what with how many connections at once.

use plotters::style::RGBColor;

use crate::row::Row;
use crate::spread::Spread;

/// One figure of one subject or peer, taken from a name like `request 64 B, 32 at once, spinners, p99`.
#[derive(Debug, PartialEq)]
pub(super) struct Sample {
    /// Up to the first comma.
    pub(super) head: String,
    /// Connections at once.
    pub(super) at_once: u32,
    /// What stands between them and the figure: how it was run; empty where nothing does.
    pub(super) scene: String,
    /// Which figure; empty where there is but one.
    pub(super) metric: String,
    pub(super) who: String,
    pub(super) value: Spread,
}

impl Sample {
    /// Who, and how it was run.
    pub(super) fn name(&self) -> String {
        // `sluice at both ends` says `both ends` already.
        if self.scene.is_empty() || self.who.replace('-', " ").ends_with(&self.scene) {
            self.who.clone()
        } else {
            format!("{}, {}", self.who, self.scene)
        }
    }
}

/// A point of a line: connections at once, and the figure.
pub(super) type Point = (f64, Spread);

/// All samples of these rows, each once: a subject stands in a row for each of its peers.
pub(super) fn samples(rows: &[Row]) -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::new();
    for row in rows {
        for (who, value) in
            [(Some(&row.subject), row.spread()), (row.peer.as_ref(), row.peer_spread())]
        {
            let (Some(who), Some(value)) = (who, value) else { continue };
            let Some(sample) = sample(&row.work, who, value) else { continue };
            let is_same = |one: &Sample| {
                (one.at_once, &one.head, &one.scene, &one.metric, &one.who)
                    == (sample.at_once, &sample.head, &sample.scene, &sample.metric, &sample.who)
            };
            if !samples.iter().any(is_same) {
                samples.push(sample);
            }
        }
    }
    samples
}

fn sample(work: &str, who: &str, value: Spread) -> Option<Sample> {
    let mut parts = work.split(", ");
    let head = parts.next()?.to_string();
    let at_once = parts.next()?.strip_suffix(" at once")?.replace(' ', "").parse().ok()?;
    let mut rest: Vec<&str> = parts.collect();
    let is_metric = |part: &&str| METRICS.contains(part);
    let metric = rest.last().copied().filter(is_metric).unwrap_or_default().to_string();
    if !metric.is_empty() {
        rest.pop();
    }
    Some(Sample { head, at_once, scene: rest.join(", "), metric, who: who.into(), value })
}

/// The points of a line, from few connections to many.
pub(super) fn points<'a>(samples: impl Iterator<Item = &'a Sample>) -> Vec<Point> {
    let mut points: Vec<Point> = samples.map(|one| (f64::from(one.at_once), one.value)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// Each once, in the order of their first appearance.
pub(super) fn distinct<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

/// The colour of a subject, the same in every plot; others take what is left, in their order.
pub(super) fn colour(who: &str, all: &[&str]) -> RGBColor {
    let named =
        |name: &str| NAMED.iter().find(|(known, _)| *known == name).map(|(_, colour)| *colour);
    let others = all.iter().filter(|name| named(name).is_none());
    let place = others.clone().position(|name| *name == who).unwrap_or(0);
    named(who).unwrap_or(OTHERS[place % OTHERS.len()])
}

/// The last part of a work's name, where it has several figures.
const METRICS: [&str; 4] = ["rate", "p50", "p99", "p99.9"];
/// Colours that most people tell apart, after Okabe and Ito.
const NAMED: [(&str, RGBColor); 11] = [
    ("sluice", RGBColor(0, 114, 178)),
    ("kernel", RGBColor(213, 94, 0)),
    ("smoltcp", RGBColor(0, 158, 115)),
    ("sluice busy-polling", RGBColor(130, 60, 160)),
    ("nginx", RGBColor(110, 110, 110)),
    ("sluice, cookies never", RGBColor(86, 160, 210)),
    ("sluice, cookies auto", RGBColor(0, 114, 178)),
    ("sluice, cookies always", RGBColor(0, 70, 120)),
    ("kernel, syncookies 1", RGBColor(213, 94, 0)),
    ("kernel, syncookies 2", RGBColor(170, 70, 0)),
    ("kernel, better setting", RGBColor(213, 94, 0)),
];
const OTHERS: [RGBColor; 4] =
    [RGBColor(0, 0, 0), RGBColor(204, 121, 167), RGBColor(180, 140, 0), RGBColor(86, 160, 210)];

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE: Spread = Spread { median: 5.0, min: 5.0, max: 5.0 };

    #[test]
    fn name_of_a_work_is_taken_apart() {
        let found = sample("request 64 B, 32 at once, spinners, p99.9", "kernel", FIVE).unwrap();
        assert_eq!((found.at_once, &*found.scene, &*found.metric), (32, "spinners", "p99.9"));
        assert_eq!(found.name(), "kernel, spinners");
        let found = sample("connect, 1 at once, both ends", "sluice at both ends", FIVE).unwrap();
        assert_eq!(found.name(), "sluice at both ends");
        let found = sample("connect, 1 000 at once", "kernel", FIVE).unwrap();
        assert_eq!((found.at_once, &*found.scene, &*found.metric), (1_000, "", ""));
        assert_eq!(sample("bulk send, MTU 1500", "kernel", FIVE), None);
    }

    #[test]
    fn subject_of_two_peers_is_one_line_with_both_of_them() {
        let row =
            |peer| Row::measured("connect, 1 at once", "sluice", peer, "conn/s", &[(5.0, 4.0)]);
        let samples = samples(&[row("kernel"), row("smoltcp")]);
        let whos: Vec<&str> = samples.iter().map(|one| one.who.as_str()).collect();
        assert_eq!(whos, ["sluice", "kernel", "smoltcp"]);
    }

    #[test]
    fn points_go_from_few_to_many() {
        let at = |n| sample(&format!("connect, {n} at once"), "kernel", FIVE).unwrap();
        let all = [at(100), at(1), at(32)];
        let found: Vec<f64> = points(all.iter()).iter().map(|point| point.0).collect();
        assert_eq!(found, [1.0, 32.0, 100.0]);
    }

    #[test]
    fn others_have_colours_of_their_own() {
        let all = ["kernel", "a", "b"];
        assert_ne!(colour("a", &all), colour("b", &all));
        assert_eq!(colour("kernel", &all), colour("kernel", &[]));
    }
}
