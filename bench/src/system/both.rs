//! `sluice client` as the client: both ends are Sluice then.
//!
//! It comes and goes with each sample, as our load client does; what it counts is its own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::bed::{Bed, Room};
use super::plan::Case;
use super::process::Process;
use super::series::Found;
use crate::load::Work;
use crate::topology::{CLIENT_END, SERVER};

/// What `sluice client` finds in so many seconds.
pub(super) fn run(
    room: &Room,
    bed: &Bed,
    case: &Case,
    (work, seconds): (Work, f64),
) -> Result<Found> {
    let bytes = match work {
        Work::Connect => "1",
        _ => "64",
    };
    let mut command = bed.topology.client.command(&room.tools.sluice);
    command.args(["client", "--iface", CLIENT_END, "--cpus", &room.places.client.to_string()]);
    command.arg("--program").arg(&room.tools.program);
    command.args(["--to", &format!("{SERVER}:{}", case.service().port())]);
    command.args(["--at-once", &case.connections.to_string(), "--during", &seconds.to_string()]);
    command.args(["--send", bytes, "--receive", bytes, "--summary", "json"]);
    command.args(["--spread", "--local-ports", PORTS]);
    if work == Work::Request {
        command.arg("--repeat");
    }
    let client = Process::start("sluice client", &mut command)?;
    let output = client.output(Duration::from_secs_f64(seconds) + PATIENCE, &room.stop)?;
    let line = output.lines().last().context("sluice client said nothing")?;
    found(work, &serde_json::from_str(line).context("the summary of sluice client")?)
}

/// The summary's figures.
fn found(work: Work, summary: &Value) -> Result<Found> {
    let number = |value: &Value| value.as_f64().context("a number is missing in the summary");
    let rate = match work {
        Work::Request => &summary["requests_per_second"],
        _ => &summary["connections_per_second"],
    };
    let rate = number(rate)?;
    ensure!(rate > 0.0, "sluice client has done nothing");
    let opened = number(&summary["connections"])? as u64;
    let done = number(&summary["outcomes"]["done"])? as u64;
    let failed = opened - done.min(opened);
    let failure = (failed > 0).then(|| summary["outcomes"].to_string());
    Ok(Found { figures: vec![rate], failed, failure, opened, ..Found::default() })
}

/// As many as a client of the kernel has for each of its addresses, and outside of the kernel's own.
const PORTS: &str = "10000-32767";
/// Time for the client to begin and to end, beyond that of the sample.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_gives_the_rate_of_the_work_and_what_failed() {
        let summary = serde_json::json!({
            "connections": 10, "connections_per_second": 5.0, "requests_per_second": 7.0,
            "outcomes": { "done": 9, "reset": 1 },
        });
        for (work, rate) in [(Work::Connect, 5.0), (Work::Request, 7.0)] {
            let found = found(work, &summary).unwrap();
            assert_eq!((found.figures[0], found.opened, found.failed), (rate, 10, 1));
            assert!(found.failure.unwrap().contains("reset"));
        }
        assert!(found(Work::Connect, &serde_json::json!({})).is_err());
    }
}
