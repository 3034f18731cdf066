//! The plots of the page: which there are, and which rows each is drawn from.
//!
//! How lines and bars look is [`canvas`]'s business.

mod bars;
mod canvas;
mod data;

use self::bars::Bar;
use self::canvas::{Dash, Key, Line, Mark, Panel};
use self::data::Sample;
use super::works;
use crate::row::Row;

/// One file of the page.
pub(super) struct Plot {
    pub(super) title: &'static str,
    /// Its name in the folder of plots.
    pub(super) file: &'static str,
    /// What it shows, in words.
    pub(super) says: &'static str,
    /// The picture, or why there is none.
    pub(super) svg: Result<String, String>,
}

/// The file that the README shows too.
pub(super) const SCALING: &str = "scaling.svg";

/// All plots that these rows give.
pub(super) fn all(rows: &[Row]) -> Vec<Plot> {
    let samples = data::samples(rows);
    vec![
        Plot {
            title: "Latency of requests by connections at once",
            file: "latency.svg",
            says: "Time from a request of 64 bytes to its answer; 50, 99 and 99.9 of 100 are no longer. \
                   Medians over the alternations. Both axes are logarithmic.",
            svg: latency(&samples),
        },
        Plot {
            title: "Rates by connections at once",
            file: SCALING,
            says: "Connections per second and requests per second. Points are medians over the \
                   alternations, bars reach from the least to the greatest.",
            svg: scaling(&samples),
        },
        Plot {
            title: "Flood survival",
            file: "flood.svg",
            says: "Clients that were served within a second during a flood of SYNs, and SYNs answered by \
                   CPU time, without the generator's. Bars end at the median, whiskers reach from the least \
                   to the greatest.",
            svg: flood(rows),
        },
    ]
}

/// A panel for each way of running (with spinners, busy-polling), a colour for each subject, a kind of
/// line for each quantile.
fn latency(samples: &[Sample]) -> Result<String, String> {
    let timed: Vec<&Sample> = samples
        .iter()
        .filter(|one| one.head.starts_with("request") && quantile(&one.metric).is_some())
        .collect();
    if timed.is_empty() {
        return Err("left out, since no row of this run has the latency of requests.".into());
    }
    let whos = data::distinct(timed.iter().map(|one| one.who.as_str()));
    let mut panels = Vec::new();
    for scene in data::distinct(timed.iter().map(|one| one.scene.as_str())) {
        let mut lines = Vec::new();
        for who in &whos {
            for (metric, dash, mark) in QUANTILES {
                let points = timed
                    .iter()
                    .filter(|one| one.scene == scene && one.who == *who && one.metric == metric);
                let points = data::points(points.copied());
                let colour = data::colour(who, &whos);
                lines.push(Line { colour, dash, mark, points, has_bars: false });
            }
        }
        let title = if scene.is_empty() { "as it comes" } else { scene };
        panels.push(Panel { title: title.into(), y: "latency in µs".into(), is_log: true, lines });
    }
    let mut keys: Vec<Key> =
        whos.iter().map(|who| Key::plain(who, data::colour(who, &whos))).collect();
    let kinds = QUANTILES.map(|(metric, dash, mark)| Key::kind(metric, (dash, mark)));
    keys.extend(kinds);
    canvas::draw(&panels, &keys)
}

/// Connections per second and requests per second.
fn scaling(samples: &[Sample]) -> Result<String, String> {
    let rates: Vec<&Sample> = samples
        .iter()
        .filter(|one| match one.head.as_str() {
            "connect" => one.metric.is_empty(),
            head => head.starts_with("request") && one.metric == "rate",
        })
        .collect();
    if rates.is_empty() {
        return Err("left out, since no row of this run has a rate by connections at once.".into());
    }
    let names: Vec<String> = rates.iter().map(|one| one.name()).collect();
    let whos = data::distinct(rates.iter().map(|one| one.who.as_str()));
    let mut panels = Vec::new();
    let mut keys: Vec<Key> = Vec::new();
    for head in data::distinct(rates.iter().map(|one| one.head.as_str())) {
        let mut lines = Vec::new();
        for name in data::distinct(names.iter().map(String::as_str)) {
            let of = rates.iter().filter(|one| one.head == head && one.name() == name);
            let of: Vec<&Sample> = of.copied().collect();
            let Some(first) = of.first() else { continue };
            let kind = match first.scene.as_str() {
                "" => (Dash::Solid, Mark::Dot),
                "spinners" => (Dash::Long, Mark::Triangle),
                _ => (Dash::Short, Mark::Cross),
            };
            let colour = data::colour(&first.who, &whos);
            if !keys.iter().any(|key| key.text == name) {
                keys.push(Key { text: name.into(), colour, dash: kind.0, mark: kind.1 });
            }
            let points = data::points(of.iter().copied());
            lines.push(Line { colour, dash: kind.0, mark: kind.1, points, has_bars: true });
        }
        let (title, y) = match head {
            "connect" => ("connect, 1 byte, 1 byte, close".into(), "connections per second".into()),
            _ => (head.into(), "requests per second".into()),
        };
        panels.push(Panel { title, y, is_log: false, lines });
    }
    canvas::draw(&panels, &keys)
}

/// Bars, since what is flooded and how fast stands in the names.
fn flood(rows: &[Row]) -> Result<String, String> {
    let is_shown = |row: &&Row| {
        works::is_of(&row.work, FLOOD) && SURVIVAL.iter().any(|end| row.work.ends_with(end))
    };
    let flooded: Vec<&Row> = rows.iter().filter(is_shown).collect();
    let mut bars = Vec::new();
    for row in &flooded {
        // Over IPv6 it is another one.
        let what = row.work.trim_start_matches(FLOOD).trim_start_matches([',', ' ']);
        let found = [(Some(&row.subject), row.spread()), (row.peer.as_ref(), row.peer_spread())];
        for (who, spread) in found {
            let (Some(who), Some(spread)) = (who, spread) else { continue };
            let (what, who, unit) = (what.to_string(), who.clone(), row.unit.clone());
            let bar = Bar { what, who, unit, spread };
            if !bars.contains(&bar) {
                bars.push(bar);
            }
        }
    }
    if bars.is_empty() {
        return Err("left out, since no row of this run has figures of a flood of SYNs.".into());
    }
    bars::draw(&bars)
}

/// How the works of a flood begin.
const FLOOD: &str = "syn flood";
/// The figures that show who survives a flood.
const SURVIVAL: [&str; 2] = ["clients within 1 s", "answered by CPU time"];

fn quantile(metric: &str) -> Option<usize> {
    QUANTILES.iter().position(|(name, ..)| *name == metric)
}

/// The quantiles that rows have, and how each is drawn.
const QUANTILES: [(&str, Dash, Mark); 3] = [
    ("p50", Dash::Solid, Mark::Dot),
    ("p99", Dash::Long, Mark::Triangle),
    ("p99.9", Dash::Short, Mark::Cross),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let mut rows = Vec::new();
        for (n, at) in [1, 32, 1_000].into_iter().enumerate() {
            let pair = [(10.0 * (n + 1) as f64, 20.0)];
            for (metric, unit) in [("rate", "req/s"), ("p50", "µs"), ("p99.9", "µs")] {
                let work = format!("request 64 B, {at} at once, {metric}");
                rows.push(Row::measured(&work, "sluice", "kernel", unit, &pair));
            }
            let work = format!("connect, {at} at once");
            rows.push(Row::measured(&work, "sluice", "kernel", "conn/s", &pair));
        }
        for flood in ["syn flood", "syn flood over IPv6"] {
            let work = format!("{flood}, 100 k/s <new>, clients within 1 s");
            let (subject, peer) = ("sluice, cookies auto", "kernel, syncookies 1");
            rows.push(Row::measured(&work, subject, peer, "%", &[(5.0, 1.0)]));
        }
        rows
    }

    #[test]
    fn every_plot_has_its_ground_its_axes_and_its_subjects() {
        for plot in all(&rows()) {
            let svg = plot.svg.unwrap_or_else(|why| panic!("{}: {why}", plot.file));
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{}", plot.file);
            for text in ["#FFFFFF", "kernel", "sluice"] {
                assert!(svg.contains(text), "{}: no {text}", plot.file);
            }
        }
    }

    #[test]
    fn units_stand_at_the_axes() {
        let [latency, scaling, flood] =
            <[Plot; 3]>::try_from(all(&rows())).ok().unwrap().map(|plot| plot.svg.unwrap());
        assert!(latency.contains("latency in µs") && latency.contains("connections at once"));
        assert!(
            scaling.contains("connections per second") && scaling.contains("requests per second")
        );
        assert!(flood.contains("clients within 1 s") && flood.contains("100 k/s &lt;new&gt;"));
        assert!(flood.contains("\nover IPv6, 100 k/s &lt;new&gt;"), "{flood}");
    }

    #[test]
    fn rows_that_are_not_there_leave_a_sentence() {
        for plot in all(&[Row::absent("syn flood, 1", "sluice", "kernel", "conn/s", "no")]) {
            assert!(plot.svg.unwrap_err().starts_with("left out, since no row"));
        }
    }
}
