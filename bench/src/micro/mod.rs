//! The micro bench: parts of the stack, and the whole of it in memory, beside peers that do the same.
//!
//! Every scene is two [`pair::Work`]s over the same input, and checks outside of the measured parts
//! that they did what the row says.

mod checksum;
mod flow;
pub mod pair;
pub mod stack;
mod wheel;
mod wire;

use anyhow::{Result, ensure};

use self::pair::Plan;
use crate::row::Row;
use crate::verdict;

/// Measures everything that the plan wants; `so_far` is given the rows whenever there are more of them.
/// A scene that did something else than it is for leaves a row that says so, and the rest goes on.
///
/// # Errors
/// When the filter leaves nothing, or `so_far` fails.
pub fn run(plan: &Plan, mut so_far: impl FnMut(&[Row]) -> Result<()>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (n, (name, scenes)) in SCENES.iter().enumerate() {
        eprintln!("micro: {name} ({} of {})", n + 1, SCENES.len());
        match scenes(plan) {
            Ok(more) => rows.extend(more),
            Err(error) => {
                eprintln!("  failed: {error:#}");
                let row = Row::failed(name, OURS, "all peers", "ns", &format!("{error:#}"));
                rows.push(row.with(plan.config.clone()));
            }
        }
        // Nothing takes no place of what a file may hold.
        if !rows.is_empty() {
            so_far(&rows)?;
        }
    }
    ensure!(!rows.is_empty(), "no work's name holds {:?}", plan.filter.as_deref().unwrap_or(""));
    Ok(rows)
}

/// What makes the rows of a plan.
type Scenes = fn(&Plan) -> Result<Vec<Row>>;

/// All of them, in the order in which they are measured.
const SCENES: [(&str, Scenes); 6] = [
    ("wire", wire::rows),
    ("checksum", checksum::rows),
    ("flow lookup", flow::rows),
    ("timers", wheel::rows),
    ("stack", stack::rows),
    ("XDP verdict", verdict::rows),
];

/// Work, subject and peer of the rows of a full run that somebody else asks for by name.
#[cfg(test)]
pub(crate) fn names() -> Vec<[String; 3]> {
    [flow::names(), wheel::names(), stack::names(), verdict::names()].concat()
}

/// How the subject is called in every row.
pub(crate) const OURS: &str = "sluice";

/// A count as the names of works have it: 1 k, 100 k, 1 M.
fn count(n: usize) -> String {
    match n {
        n if n >= 1_000_000 => format!("{} M", n / 1_000_000),
        n if n >= 1_000 => format!("{} k", n / 1_000),
        n => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_that_fits_nothing_is_an_error_and_writes_nothing() {
        let plan = Plan::smoke(Some("no such work".into()), crate::row::Config::new());
        let error = run(&plan, |_| panic!("there is nothing to write")).unwrap_err();
        assert_eq!(error.to_string(), "no work's name holds \"no such work\"");
    }

    #[test]
    fn counts_are_short() {
        let shown = [1, 999, 1_000, 100_000, 1_000_000, 10_000_000].map(count);
        assert_eq!(shown, ["1", "999", "1 k", "100 k", "1 M", "10 M"]);
    }
}
