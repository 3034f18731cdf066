//! The README's figures: one table and one plot, between two markers.

use std::fmt::Write;

use anyhow::{Context, Result};

use super::page::marks;
use super::plots::{Plot, SCALING};
use crate::printer::{figure, range};
use crate::row::Row;

/// The README with the figures of these rows; `None` where none of its rows was measured.
///
/// # Errors
/// Where the markers are not there.
pub(super) fn renewed(old: &str, rows: &[Row], plots: &[Plot]) -> Result<Option<String>> {
    let missing = || format!("README.md has no line `{BEGIN}` with `{END}` behind it");
    let (before, rest) = old.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    let Some(part) = part(rows, plots) else { return Ok(None) };
    Ok(Some(format!("{before}{BEGIN}\n{part}{END}{after}")))
}

/// What stands between the markers.
fn part(rows: &[Row], plots: &[Plot]) -> Option<String> {
    let shown = HEADLINES.iter().filter_map(|headline| line(headline, rows));
    let (of, lines): (Vec<&Row>, Vec<String>) = shown.unzip();
    if lines.is_empty() {
        return None;
    }
    let mut out = String::from(TABLE);
    out.extend(lines);
    if let Some(plot) = plots.iter().find(|plot| plot.file == SCALING && plot.svg.is_ok()) {
        let _ = write!(out, "\n![{}](docs/plots/{})\n\n{}\n", plot.title, plot.file, plot.says);
    }
    // Rows of other works may come from other runs.
    let says = |key: &str| of.iter().find_map(|row| row.config.get(key)).map_or("unknown", |v| v);
    let where_ = WHERE.map(|(key, name)| format!("{name}{}", says(key)));
    let _ = writeln!(out, "\nMeasured by `cargo xtask bench report` on {}.", where_.join(", "));
    out += "All rows, and what was required of them: [docs/benchmarks.md](docs/benchmarks.md).\n";
    Some(out)
}

/// A row and the line that it makes.
fn line<'a>((what, work, peer): &(&str, &str, &str), rows: &'a [Row]) -> Option<(&'a Row, String)> {
    let row = rows.iter().find(|row| row.work == *work && row.peer.as_deref() == Some(*peer))?;
    let (own, ratio) = (row.spread()?, row.ratio_spread()?);
    let theirs = row.peer_spread().map_or_else(|| "-".into(), |spread| figure(spread.median));
    let marks = marks(row).iter().map(|mark| format!("; {mark}")).collect::<String>();
    let line = format!(
        "| {what} | {} {} | {peer}: {theirs} | {} ({}){marks} |\n",
        figure(own.median),
        row.unit,
        figure(ratio.median),
        range(ratio)
    );
    Some((row, line))
}

const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";
const TABLE: &str = "\
| Work | Sluice | Beside | Ratio, median (least..greatest) |
|---|--:|--:|---|
";
/// What is said of where it was measured.
const WHERE: [(&str, &str); 4] =
    [("machine", ""), ("cores", "cores: "), ("kernel", "Linux "), ("commit", "commit ")];
/// In words, as the rows call it, and the peer.
const HEADLINES: [(&str, &str, &str); 8] = [
    ("Connect, 1 byte, 1 byte, close; 32 at once", "connect, 32 at once", "kernel"),
    (
        "Request of 64 B, p50, one connection; busy-polling, CPUs kept awake",
        "request 64 B, 1 at once, spinners, p50",
        "kernel",
    ),
    ("The same, p99", "request 64 B, 1 at once, spinners, p99", "kernel"),
    ("Requests of 64 B, 100 connections", "request 64 B, 100 at once, rate", "kernel"),
    ("The same, p99", "request 64 B, 100 at once, p99", "kernel"),
    ("HTTP keep-alive, 100 connections", "HTTP keep-alive 1 KiB, 100 at once, rate", "nginx"),
    ("Bulk receive, MTU 1500", "bulk receive, MTU 1500", "kernel"),
    ("Bulk send, MTU 1500", "bulk send, MTU 1500", "kernel"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row::measured("connect, 32 at once", "sluice", "kernel", "conn/s", &[(30.0, 10.0)])
            .with_setting("kernel", "6.18")
    }

    #[test]
    fn what_stands_between_the_markers_is_replaced_and_nothing_else() {
        let old = format!("head\n{BEGIN}\nold figures\n{END}\ntail\n");
        let new = renewed(&old, &[row()], &[]).unwrap().unwrap();
        assert!(
            new.starts_with(&format!("head\n{BEGIN}\n| Work"))
                && new.ends_with(&format!("{END}\ntail\n"))
        );
        assert!(
            !new.contains("old figures") && new.contains("| 30.0 conn/s | kernel: 10.0 | 3.00 ")
        );
        assert!(new.contains("Linux 6.18"));
        // Whatever else was measured somewhere else.
        let other = Row::alone("wire", "sluice", "ns", &[1.0]).with_setting("kernel", "5.15");
        assert_eq!(renewed(&new, &[other, row()], &[]).unwrap().unwrap(), new);
    }

    #[test]
    fn readme_without_markers_is_refused() {
        for old in ["nothing", BEGIN, &format!("{END}{BEGIN}")] {
            assert!(renewed(old, &[row()], &[]).is_err());
        }
    }

    #[test]
    fn headlines_are_rows_that_are_made() {
        let names = crate::system::names();
        for (what, work, peer) in HEADLINES {
            let count = names.iter().filter(|[name, _, by]| name == work && by == peer).count();
            assert_eq!(count, 1, "{what}");
        }
    }

    #[test]
    fn rows_without_a_headline_change_nothing() {
        let old = format!("{BEGIN}\n{END}");
        let absent = Row::absent("connect, 32 at once", "sluice", "kernel", "conn/s", "no");
        assert_eq!(renewed(&old, &[absent], &[]).unwrap(), None);
    }

    #[test]
    fn marks_of_a_row_are_said_here_too() {
        let old = format!("{BEGIN}\n{END}");
        let row = row().with_setting("client's core", "99 % beside 99 %: client-bound");
        assert!(renewed(&old, &[row], &[]).unwrap().unwrap().contains("**client-bound**"));
    }
}
