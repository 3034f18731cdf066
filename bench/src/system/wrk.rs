//! wrk as the client of the HTTP rows, and what its report says.

use std::time::Duration;

use anyhow::{Context, Result};

use super::bed::{Bed, Room};
use super::plan::{Case, Pace};
use super::process::Process;
use super::series::Found;
use crate::cpus::Core;
use crate::load::BODY;
use crate::topology::SERVER;

/// Runs wrk with the case's connections. It takes whole seconds.
pub(super) fn run(room: &Room, bed: &Bed, case: &Case, pace: Pace) -> Result<Found> {
    let seconds = pace.seconds.ceil();
    let cpu = room.places.client;
    let mut command = bed.topology.client.command("taskset");
    command.args(["--cpu-list", &cpu.to_string(), "wrk", "--threads", "1", "--latency"]);
    command.args(["--connections", &case.connections.to_string()]);
    command.args(["--duration", &format!("{seconds}s")]);
    command.arg(format!("http://{SERVER}/bytes/{BODY}"));
    let core = Core::begin(cpu);
    let wrk = Process::start("wrk", &mut command)?;
    let text = wrk.output(Duration::from_secs_f64(seconds) + PATIENCE, &room.stop)?;
    let share = core.and_then(|core| core.share());
    let found = parse(&text).with_context(|| format!("wrk said `{}`", text.trim()))?;
    Ok(Found { core: share, opened: case.connections as u64, ..found })
}

/// Reads what wrk prints: requests per second, p50 and p99 in microseconds, and what went wrong.
fn parse(text: &str) -> Option<Found> {
    let after = |label: &str| {
        text.lines().find_map(|line| Some(line.trim().strip_prefix(label)?.trim().to_string()))
    };
    let rate: f64 = after("Requests/sec:")?.parse().ok()?;
    let [p50, p99] = ["50%", "99%"].map(|label| microseconds(&after(label)?));
    let errors = after("Socket errors:").map(|errors| {
        let numbers = errors.split(|c: char| !c.is_ascii_digit());
        let failed = numbers.filter_map(|number| number.parse::<u64>().ok()).sum();
        (failed, format!("socket errors: {errors}"))
    });
    let others = after("Non-2xx or 3xx responses:")
        .and_then(|count| Some((count.parse().ok()?, "replies other than 200".to_string())));
    let (failed, failure) = errors.or(others).unzip();
    let figures = vec![rate, p50?, p99?];
    Some(Found { figures, failed: failed.unwrap_or(0), failure, ..Found::default() })
}

/// A time as wrk writes it: a number with us, ms, s or m behind it.
fn microseconds(text: &str) -> Option<f64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// Time beyond that of the sample.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Running 1s test @ http://10.77.0.1/bytes/1024
  1 threads and 100 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.37ms  409.58us  12.61ms   92.34%
    Req/Sec    73.04k     5.25k   79.69k    70.00%
  Latency Distribution
     50%  850.00us
     75%    1.42ms
     90%    1.63ms
     99%    2.51ms
  72658 requests in 1.00s, 77.47MB read
Requests/sec:  72600.18
Transfer/sec:     77.41MB
";

    #[test]
    fn figures_are_read_in_their_units() {
        let found = parse(TEXT).unwrap();
        assert_eq!(found.figures, [72_600.18, 850.0, 2_510.0]);
        assert_eq!((found.failed, found.failure), (0, None));
    }

    #[test]
    fn errors_are_counted_and_named() {
        let text = format!("{TEXT}  Socket errors: connect 1, read 20, write 0, timeout 3\n");
        let found = parse(&text).unwrap();
        assert_eq!(found.failed, 24);
        assert!(found.failure.unwrap().contains("read 20"));
        let found = parse(&format!("{TEXT}  Non-2xx or 3xx responses: 7\n")).unwrap();
        assert_eq!(found.failed, 7);
    }

    #[test]
    fn what_is_no_report_gives_nothing() {
        assert!(parse("unable to connect to 10.77.0.1:80").is_none());
        assert_eq!(microseconds("3.5h"), None);
    }
}
