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

/// Measures everything that the plan wants.
///
/// # Errors
/// When a scene did something else than it is for, or the filter leaves nothing.
pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let all = [wire::rows, checksum::rows, flow::rows, wheel::rows, stack::rows, verdict::rows];
    for scenes in all {
        rows.extend(scenes(plan)?);
    }
    ensure!(!rows.is_empty(), "no work's name holds {:?}", plan.filter.as_deref().unwrap_or(""));
    Ok(rows)
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
    fn counts_are_short() {
        let shown = [1, 999, 1_000, 100_000, 1_000_000, 10_000_000].map(count);
        assert_eq!(shown, ["1", "999", "1 k", "100 k", "1 M", "10 M"]);
    }
}
