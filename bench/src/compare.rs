//! Two runs beside each other: what moved beyond its spread.
//!
//! Rows are matched by name. A row with a peer is judged by its ratio, because both were measured on
//! the same machine at the same time; a row alone by its figures, and so is one that has no ratio in one of
//! the runs, its peer's figure being zero. Something moved when each median lies outside of the other run's
//! least and greatest.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Result, bail};

use crate::printer::figure;
use crate::row::{Config, DISTURBED, PEER, Row, SMOKE};
use crate::spread::Spread;

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Within the spread of one run or the other.
    Steady,
    /// Moved; `factor` is the new median over the old.
    Moved {
        /// The new median over the old.
        factor: f64,
        /// Whether that is for the better.
        verdict: Verdict,
    },
    /// Had figures, and has none now.
    Lost,
    /// Had none, and has some now.
    Found,
    /// Has none in either.
    Absent,
}

/// How a move is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// For the better.
    Better,
    /// For the worse.
    Worse,
}

/// What moved from `old` to `new`, as text for people.
///
/// # Errors
/// When two rows of a run have the same name.
pub fn report(old: &[Row], new: &[Row]) -> Result<String> {
    let (old, new) = (by_name(old)?, by_name(new)?);
    let mut out = String::new();
    for (key, before, after) in settings_changed(&old, &new) {
        let _ = writeln!(out, "{key}: {before} -> {after}");
    }
    if old.values().chain(new.values()).any(|row| row.config.contains_key(SMOKE)) {
        out += "rows of a smoke run are among these: what moved there has not been measured\n";
    }
    let mut counts = [0; 3];
    for (name, after) in &new {
        let Some(before) = old.get(name) else {
            let _ = writeln!(out, "new       {}", shown(after));
            continue;
        };
        let change = change(before, after);
        match change {
            Change::Moved { verdict: Verdict::Better, .. } => counts[0] += 1,
            Change::Moved { verdict: Verdict::Worse, .. } => counts[1] += 1,
            Change::Steady => counts[2] += 1,
            Change::Lost | Change::Found | Change::Absent => {}
        }
        if let Some(line) = sentence(change, before, after) {
            let _ = writeln!(out, "{line}");
        }
    }
    for (_, before) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
        let _ = writeln!(out, "gone      {}", shown(before));
    }
    let [better, worse, steady] = counts;
    let _ = writeln!(out, "{better} better, {worse} worse, {steady} within their spread");
    Ok(out)
}

/// What became of one row.
pub fn change(before: &Row, after: &Row) -> Change {
    let judged = judged(before, after);
    let (old, new) = match (judged(before), judged(after)) {
        (Some(old), Some(new)) => (old, new),
        (Some(_), None) => return Change::Lost,
        (None, Some(_)) => return Change::Found,
        (None, None) => return Change::Absent,
    };
    if old.holds(new.median) || new.holds(old.median) {
        return Change::Steady;
    }
    let is_better = (new.median > old.median) == is_rate(&after.unit);
    let verdict = if is_better { Verdict::Better } else { Verdict::Worse };
    Change::Moved { factor: new.median / old.median, verdict }
}

/// What two rows are judged by.
fn judged(before: &Row, after: &Row) -> fn(&Row) -> Option<Spread> {
    if has_ratios(before, after) { Row::ratio_spread } else { Row::spread }
}

fn has_ratios(before: &Row, after: &Row) -> bool {
    [before, after].iter().all(|row| row.ratio.is_some())
}

/// Whether more is better.
fn is_rate(unit: &str) -> bool {
    unit.ends_with("/s") || unit.ends_with("pps") || unit == "% completed"
}

fn by_name(rows: &[Row]) -> Result<BTreeMap<[&str; 4], &Row>> {
    let mut named = BTreeMap::new();
    for row in rows {
        if named.insert(row.name(), row).is_some() {
            bail!("two rows of one run are called {}", shown(row));
        }
    }
    Ok(named)
}

/// The settings that all rows of a run share and in which the runs differ: another machine or kernel
/// explains a good deal.
fn settings_changed(
    old: &BTreeMap<[&str; 4], &Row>,
    new: &BTreeMap<[&str; 4], &Row>,
) -> Vec<(String, String, String)> {
    let shared = |rows: &BTreeMap<[&str; 4], &Row>| -> Config {
        let Some(first) = rows.values().next() else { return Config::new() };
        let mut config = first.config.clone();
        config.retain(|key, value| rows.values().all(|row| row.config.get(key) == Some(value)));
        // A figure is no setting.
        config.retain(|key, _| !PEER.contains(&key.as_str()));
        config
    };
    let (old, new) = (shared(old), shared(new));
    let pairs = old.into_iter().filter_map(|(key, before)| {
        let after = new.get(&key)?.clone();
        (before != after).then_some((key, before, after))
    });
    pairs.collect()
}

fn sentence(change: Change, before: &Row, after: &Row) -> Option<String> {
    let (word, factor) = match change {
        Change::Steady | Change::Absent => return None,
        Change::Lost => {
            let why = after.absent.as_deref().unwrap_or("no figure");
            return Some(format!("lost      {}: {why}", shown(after)));
        }
        Change::Found => return Some(format!("found     {}", shown(after))),
        Change::Moved { factor, verdict: Verdict::Better } => ("better", factor),
        Change::Moved { factor, verdict: Verdict::Worse } => ("worse", factor),
    };
    let judged = judged(before, after);
    let (old, new) = (judged(before)?, judged(after)?);
    let what = if has_ratios(before, after) { "ratio" } else { &after.unit };
    // From nothing there is no share of what was.
    let percent = match factor.is_finite() {
        true => format!(", {:+.0} %", (factor - 1.0) * 100.0),
        false => String::new(),
    };
    let marks = [("old", before), ("new", after)].map(|(run, row)| {
        let is_disturbed = row.config.contains_key(DISTURBED);
        if is_disturbed { format!("; the {run} run was disturbed") } else { String::new() }
    });
    let show = |s: Spread| format!("{} ({}..{})", figure(s.median), figure(s.min), figure(s.max));
    Some(format!(
        "{word:<9} {}: {what} {} -> {}{percent}{}",
        shown(after),
        show(old),
        show(new),
        marks.concat()
    ))
}

/// A row's name for people.
fn shown(row: &Row) -> String {
    let peer = row.peer.as_ref().map(|peer| format!(" beside {peer}")).unwrap_or_default();
    format!("{}, {}{peer}, {}", row.work, row.subject, row.unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratios(unit: &str, samples: &[f64]) -> Row {
        let pairs: Vec<(f64, f64)> = samples.iter().map(|ratio| (ratio * 50.0, 50.0)).collect();
        Row::measured("w", "ours", "theirs", unit, &pairs)
    }

    #[test]
    fn ratio_beyond_both_spreads_has_moved() {
        let (old, new) = (ratios("ns", &[0.9, 1.0, 1.1]), ratios("ns", &[1.4, 1.5, 1.6]));
        assert_eq!(change(&old, &new), Change::Moved { factor: 1.5, verdict: Verdict::Worse });
        let Change::Moved { verdict, .. } = change(&new, &old) else { panic!("it moved") };
        assert_eq!(verdict, Verdict::Better);
    }

    #[test]
    fn greater_rate_is_better() {
        let (old, new) = (ratios("conn/s", &[1.0]), ratios("conn/s", &[2.0]));
        assert_eq!(change(&old, &new), Change::Moved { factor: 2.0, verdict: Verdict::Better });
    }

    #[test]
    fn median_within_either_spread_is_steady() {
        let (narrow, wide) = (ratios("ns", &[1.0, 1.0, 1.0]), ratios("ns", &[0.9, 1.2, 1.3]));
        assert_eq!(change(&narrow, &wide), Change::Steady);
        assert_eq!(change(&wide, &narrow), Change::Steady);
    }

    #[test]
    fn machine_that_is_slower_for_both_moves_nothing() {
        let old = Row::measured("w", "ours", "theirs", "ns", &[(10.0, 20.0)]);
        let new = Row::measured("w", "ours", "theirs", "ns", &[(30.0, 60.0)]);
        assert_eq!(change(&old, &new), Change::Steady);
    }

    #[test]
    fn row_alone_is_judged_by_its_figures() {
        let (old, new) = (Row::alone("m", "o", "B", &[400.0]), Row::alone("m", "o", "B", &[500.0]));
        assert_eq!(change(&old, &new), Change::Moved { factor: 1.25, verdict: Verdict::Worse });
    }

    #[test]
    fn row_whose_peer_has_zero_is_judged_by_its_own_figures() {
        let refused =
            |ours, theirs| Row::measured("w", "ours", "theirs", "clients", &[(ours, theirs)]);
        let moved = |before: &Row, after: &Row| match change(before, after) {
            Change::Moved { verdict, .. } => Some(verdict),
            _ => None,
        };
        let (none, some) = (refused(0.0, 0.0), refused(50.0, 0.0));
        assert_eq!(moved(&none, &some), Some(Verdict::Worse));
        assert_eq!(moved(&some, &none), Some(Verdict::Better));
        assert_eq!(moved(&refused(50.0, 5.0), &refused(90.0, 0.0)), Some(Verdict::Worse));
        assert_eq!(change(&none, &none), Change::Steady);
        let text = report(&[none], &[some]).unwrap();
        let want =
            "worse     w, ours beside theirs, clients: clients 0 (0..0) -> 50.0 (50.0..50.0)";
        assert_eq!(text.lines().next(), Some(want));
    }

    #[test]
    fn move_in_a_run_that_was_disturbed_says_so() {
        let old = ratios("ns", &[1.0]);
        let new = ratios("ns", &[2.0]).with_setting(DISTURBED, "others used 50 % of a core");
        let text = report(&[old], &[new]).unwrap();
        assert!(text.contains("+100 %; the new run was disturbed\n"), "{text}");
    }

    #[test]
    fn figures_that_come_and_go_are_neither_better_nor_worse() {
        let (there, away) =
            (ratios("ns", &[1.0]), Row::absent("w", "ours", "theirs", "ns", "gone"));
        assert_eq!(change(&there, &away), Change::Lost);
        assert_eq!(change(&away, &there), Change::Found);
        assert_eq!(change(&away, &away), Change::Absent);
    }

    #[test]
    fn report_names_what_moved_what_came_and_what_went() {
        let steady = Row::alone("steady", "ours", "ns", &[5.0]);
        let old = [ratios("ns", &[1.0]), steady.clone(), Row::alone("a", "ours", "ns", &[1.0])];
        let new = [ratios("ns", &[0.5]), steady, Row::alone("b", "ours", "ns", &[1.0])];
        let text = report(&old, &new).unwrap();
        let want = [
            "new       b, ours, ns",
            "better    w, ours beside theirs, ns: ratio 1.00 (1.00..1.00) -> 0.50 (0.50..0.50), -50 %",
            "gone      a, ours, ns",
            "1 better, 0 worse, 1 within their spread",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), want);
    }

    #[test]
    fn another_kernel_is_said_first() {
        let at = |kernel: &str| [ratios("ns", &[1.0]).with_setting("kernel", kernel)];
        let text = report(&at("6.1"), &at("6.18")).unwrap();
        assert!(text.starts_with("kernel: 6.1 -> 6.18\n"), "{text}");
    }

    #[test]
    fn rows_of_a_smoke_run_are_warned_of() {
        let (real, smoke) = (ratios("ns", &[1.0]), ratios("ns", &[2.0]).with_setting(SMOKE, "yes"));
        assert!(report(std::slice::from_ref(&real), &[smoke]).unwrap().contains("smoke run"));
        assert!(
            !report(std::slice::from_ref(&real), std::slice::from_ref(&real))
                .unwrap()
                .contains("smoke run")
        );
    }

    #[test]
    fn two_rows_of_one_name_are_refused() {
        let twice = [ratios("ns", &[1.0]), ratios("ns", &[2.0])];
        assert!(report(&twice, &twice).is_err());
    }
}
