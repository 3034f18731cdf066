//! docs/benchmarks.md: what was required, what was measured, where, and how to measure it again.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::plots::Plot;
use super::{required, works};
use crate::printer::{common_of, figure, in_short, note, range};
use crate::row::{Config, DISTURBED, FAILED, Row, SMOKE};

/// The whole page.
pub(super) fn page(rows: &[Row], plots: &[Plot]) -> String {
    let mut out = String::from(HEAD);
    if rows.iter().any(|row| row.config.contains_key(SMOKE)) {
        out += "\n**Rows of a smoke run are among these: they show that the bench works, and measure \
                nothing.**\n";
    }
    out += "\n## Where\n\n| | |\n|---|---|\n";
    for key in WHERE {
        let _ = writeln!(out, "| {key} | {} |", cell(&values(rows, key)));
    }
    out += &required_table(rows);
    out += "\n## Plots\n";
    for plot in plots {
        out += &match &plot.svg {
            Ok(_) => format!("\n![{}]({}/{})\n\n{}\n", plot.title, PLOTS, plot.file, plot.says),
            Err(why) => format!("\n{}: {why}\n", plot.title),
        };
    }
    out += "\n## All rows\n";
    for (group, rows) in groups(rows) {
        out += &section(group, &rows);
    }
    out
}

/// The required figures beside the measured ones.
fn required_table(rows: &[Row]) -> String {
    let mut out = String::from(REQUIRED);
    for line in required::lines(rows) {
        let cells = [&line.what, &line.required, &line.measured].map(|text| cell(text));
        let _ = writeln!(out, "| {} | {} |", cells.join(" | "), line.met);
    }
    out
}

/// The rows by their groups, in the order of the page.
fn groups(rows: &[Row]) -> Vec<(&str, Vec<&Row>)> {
    let mut groups: Vec<(&str, Vec<&Row>)> = Vec::new();
    for row in rows {
        let name = works::group(&row.work);
        match groups.iter_mut().find(|(group, _)| *group == name) {
            Some((_, members)) => members.push(row),
            None => groups.push((name, vec![row])),
        }
    }
    groups.sort_by_key(|(group, _)| works::place(group));
    groups
}

/// A group of rows with what it measures, and what its rows say alike.
fn section(group: &str, rows: &[&Row]) -> String {
    let mut out = format!("\n### {group}\n\n");
    if let Some(known) = works::known(group) {
        out = out + known.says + "\n";
    }
    if let Some(first) = rows.first() {
        let _ = writeln!(out, "Again: `{}`\n", works::command(group, first));
    }
    let common = common_of(rows);
    let alike = common.iter().filter(|(key, _)| !SAID.contains(&key.as_str()));
    let alike: Vec<String> = alike.map(|(key, value)| format!("{key}: {value}")).collect();
    if !alike.is_empty() {
        let _ = writeln!(out, "{}.\n", alike.join("; "));
    }
    out += TABLE;
    let mut notes = Vec::new();
    for row in rows {
        out = out + &line(row, &common, &mut notes) + "\n";
    }
    for (at, note) in notes.iter().enumerate() {
        let _ = write!(out, "{}[{}] {note}", if at == 0 { "\n" } else { "<br>\n" }, at + 1);
    }
    if notes.is_empty() { out } else { out + "\n" }
}

/// A row of a table. `notes` holds the settings that not all of its group share.
fn line(row: &Row, common: &Config, notes: &mut Vec<String>) -> String {
    let none = || "-".to_string();
    // What the marks say already is not noted once more.
    let mut said = common.clone();
    said.extend([DISTURBED, FAILED].map(|key| (key.to_string(), String::new())));
    let note = note(row, &said).map(|text| {
        let at = notes.iter().position(|note| *note == text).unwrap_or(notes.len());
        if at == notes.len() {
            notes.push(text);
        }
        format!("[{}]", at + 1)
    });
    let own = row.spread();
    let ratio = row.ratio_spread();
    let work = row.work.split_once(',').map_or("-", |(_, rest)| rest.trim());
    let marks: Vec<String> = marks(row).into_iter().chain(note).collect();
    let cells = [
        work.to_string(),
        row.subject.clone(),
        row.peer.clone().unwrap_or_else(none),
        row.unit.clone(),
        own.map_or_else(none, |spread| figure(spread.median)),
        own.map_or_else(none, |spread| figure(spread.min)),
        own.map_or_else(none, |spread| figure(spread.max)),
        row.peer_spread().map_or_else(none, |spread| figure(spread.median)),
        ratio.map_or_else(none, |spread| figure(spread.median)),
        ratio.map_or_else(none, range),
        marks.join("; "),
    ];
    format!("| {} |", cells.map(|text| cell(&text)).join(" | "))
}

/// What keeps a row from being taken at its face value.
pub(super) fn marks(row: &Row) -> Vec<String> {
    let says = |key: &str| row.config.get(key);
    let mut marks = Vec::new();
    if let Some(why) = &row.absent {
        let why = in_short(why);
        let is_said = why.starts_with("failed: ");
        marks.push(if is_said { format!("**{why}**") } else { format!("**absent**: {why}") });
    } else if let Some(how) = says(FAILED) {
        marks.push(format!("**failed**: {how}"));
    }
    if let Some(how) = says(DISTURBED) {
        marks.push(format!("**disturbed**: {how}"));
    }
    if let Some((_, bound)) = says("client's core").and_then(|core| core.split_once(": ")) {
        marks.push(format!("**{bound}**"));
    }
    if says(SMOKE).is_some() {
        marks.push("**smoke**".into());
    }
    marks
}

/// Everything that the rows say for a key.
fn values(rows: &[Row], key: &str) -> String {
    let values: BTreeSet<&str> =
        rows.iter().filter_map(|row| Some(row.config.get(key)?.as_str())).collect();
    if values.is_empty() { "unknown".into() } else { Vec::from_iter(values).join("; or ") }
}

/// Text that breaks no table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// Where plots lie, seen from the page.
const PLOTS: &str = "plots";
/// What stands at the head of the page.
const WHERE: [&str; 7] =
    ["machine", "cores", "kernel", "commit", "driver mode", "offloads", "congestion control"];
/// What is not said again of each group, the head or the marks having it.
const SAID: [&str; 7] = ["machine", "cores", "kernel", "commit", SMOKE, DISTURBED, FAILED];
const HEAD: &str = "# Benchmarks

Written by `cargo xtask bench report`, which measures everything and takes up to an hour; a change by
hand is lost with the next run. `cargo xtask bench report docs/benchmarks.json NEW.json` takes newer rows into
it, `cargo xtask bench compare docs/benchmarks.json NEW.json` says what they moved. What the marks of a row mean
stands in [testing.md](testing.md).

Median, least and greatest are the subject's. A ratio is subject over peer, each taken within one
alternation of the two, so that a machine that changes its pace does not move it: below 1 is better for
times and memory, above 1 for what ends in `/s`.
";
const REQUIRED: &str = "
## Required and measured

Judged by the median; the range stands behind it.

| What | Required | Measured | Met? |
|---|---|---|---|
";
const TABLE: &str = "\
| Work | Subject | Peer | Unit | Median | Min | Max | Peer's median | Ratio | Ratio's range | Marks |
|---|---|---|---|--:|--:|--:|--:|--:|--:|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        vec![
            Row::measured("new work, 1 at once", "sluice", "kernel", "x/s", &[(3.0, 1.0)])
                .with_setting("kernel", "6.18")
                .with_setting("mtu", 1500)
                .with_setting("only here", "yes"),
            Row::absent("new work, 2 at once", "sluice", "kernel", "x/s", "a | b is missing")
                .with_setting("kernel", "6.18")
                .with_setting("mtu", 1500),
            Row::alone("connect, 1 at once", "sluice", "conn/s", &[5.0])
                .with_setting("kernel", "6.18")
                .with_setting("client's core", "97 % beside 50 %: subject is client-bound"),
        ]
    }

    #[test]
    fn every_row_stands_in_its_group_and_unknown_works_come_last() {
        let page = page(&rows(), &[]);
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text} in\n{page}"));
        assert!(at("### connect") < at("### new work"));
        assert!(at("| kernel | 6.18 |") < at("## Required"));
        let head = at("### new work");
        assert!(page[head..].contains("mtu: 1500.\n"), "{page}");
        assert!(page[head..].contains("cargo xtask bench macro 'new work'"), "{page}");
        let line = "| 1 at once | sluice | kernel | x/s | 3.00 | 3.00 | 3.00 | 1.00 | 3.00 | \
                    3.00..3.00 | [1] |";
        assert!(page.contains(line), "{page}");
        assert!(page.contains("[1] only here: yes"), "{page}");
    }

    #[test]
    fn absent_row_has_no_figure_and_breaks_no_table() {
        let page = page(&rows(), &[]);
        let line = "| 2 at once | sluice | kernel | x/s | - | - | - | - | - | - | **absent**: a \\| b \
                    is missing |";
        assert!(page.contains(line), "{page}");
    }

    #[test]
    fn marks_are_taken_from_what_the_row_says() {
        let row = &rows()[2];
        assert_eq!(marks(row), ["**subject is client-bound**"]);
        let row = row.clone().with_setting(DISTURBED, "5 of 5").with_setting(FAILED, "2 of 9");
        assert_eq!(marks(&row).len(), 3);
        let row = Row::failed("w", "o", "p", "ns", "it broke");
        assert_eq!(marks(&row), ["**failed: it broke**"]);
    }

    #[test]
    fn smoke_is_said_above_all() {
        let rows = [rows()[0].clone().with_setting(SMOKE, "yes")];
        assert!(page(&rows, &[]).contains("**Rows of a smoke run"));
    }

    #[test]
    fn plot_that_cannot_be_drawn_leaves_a_sentence() {
        let plot =
            Plot { title: "A title", file: "a.svg", says: "Says.", svg: Err("no rows".into()) };
        let page = page(&rows(), &[plot]);
        assert!(page.contains("A title: no rows") && !page.contains("a.svg"));
    }
}
