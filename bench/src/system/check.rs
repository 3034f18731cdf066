//! Our load client beside well-known ones, against the same server or the same kernel: what shows that
//! the client is no smaller than what it measures.
//!
//! wrk's next request goes a round of its loop after the answer, which its latencies leave out; ours goes with
//! the answer. So our client does as wrk does where the two are set beside each other, and a work of its own
//! sets both ways of it beside each other.

use std::time::Duration;

use anyhow::{Context, Result};

use super::bed::{Bed, Room, Subject};
use super::plan::{Case, Pace, Sources, Work, case};
use super::process::Process;
use super::series::{self, Found};
use super::{furnish, wrk};
use crate::busy::{self, Watch};
use crate::clock::{now, pause};
use crate::load;
use crate::machine;
use crate::row::{Config, DISTURBED, FAILED, Row, SMOKE};
use crate::tools;
use crate::topology::{CONGESTION, SERVER};

/// One work, done by our client and by another.
pub(super) struct Check {
    /// What our client does; its only subject is the server of both.
    case: Case,
    other: Other,
}

/// The client beside ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    Wrk,
    /// Ours, as it is set beside wrk.
    Rounds,
    /// Against a server of its own, in the namespace of the other one.
    Iperf {
        /// Whether the server sends.
        is_reverse: bool,
    },
}

/// The checks whose name contains `filter`.
pub(super) fn all(filter: Option<&str>) -> Vec<Check> {
    let check = |name: &str, work, connections, other| {
        let kind = if other == Other::Rounds { "client manner" } else { "client check" };
        let case = case(format!("{kind}: {name}"), work, connections);
        let in_rounds = other == Other::Wrk;
        Check { case: Case { subjects: vec![Subject::Kernel], in_rounds, ..case }, other }
    };
    let iperf = |is_reverse| Other::Iperf { is_reverse };
    let all = [
        check("HTTP keep-alive 1 KiB, 100 at once", load::Work::Get, 100, Other::Wrk),
        check("HTTP keep-alive 1 KiB, 100 at once", load::Work::Get, 100, Other::Rounds),
        check("bulk to the server, MTU 1500", load::Work::Send, 1, iperf(false)),
        check("bulk from the server, MTU 1500", load::Work::Receive, 1, iperf(true)),
    ];
    let is_wanted = |check: &Check| filter.is_none_or(|part| check.case.name.contains(part));
    all.into_iter().filter(is_wanted).collect()
}

impl Check {
    pub(super) fn name(&self) -> &str {
        &self.case.name
    }

    /// Its rows; where something is missing or went wrong, they say so.
    ///
    /// # Errors
    /// Where the end was asked for.
    pub(super) fn rows(&self, room: &Room, beds: &mut Vec<Bed>, pace: Pace) -> Result<Vec<Row>> {
        let program = self.other.program();
        let mut needed = self.other.tools().iter();
        if let Some(program) = needed.find(|name| !tools::is_there(name)) {
            let package = if *program == "taskset" { "util-linux" } else { program };
            let why = tools::missing(program, package);
            return Ok(self
                .each(|work, unit, _| Row::absent(work, OURS, self.other.program(), unit, &why)));
        }
        let taken = self.take(room, beds, pace);
        room.stop.check()?;
        Ok(match taken {
            Ok(taken) => self.each(|work, unit, at| {
                let row = taken.row(work, (program, unit), at);
                // Two ways of one client need not agree.
                let agreement = agreement(&row);
                let is_check = self.other != Other::Rounds;
                if is_check { row.with_setting("agreement", agreement) } else { row }
            }),
            Err(error) => {
                eprintln!("  failed: {error:#}");
                beds.clear();
                let how = format!("{error:#}");
                self.each(|work, unit, _| Row::failed(work, OURS, program, unit, &how))
            }
        })
    }

    /// A row for each figure: its name, its unit, and its place among them.
    fn each(&self, row: impl Fn(&str, &str, usize) -> Row) -> Vec<Row> {
        let metrics = self.case.metrics().iter().enumerate();
        let rows = metrics.map(|(at, metric)| {
            row(&format!("{}{}", self.case.name, metric.suffix), metric.unit, at)
        });
        rows.map(|row| row.with(machine::config())).collect()
    }

    /// All samples, ours and theirs in turn.
    fn take(&self, room: &Room, beds: &mut Vec<Bed>, pace: Pace) -> Result<Taken> {
        furnish(beds, &self.case)?;
        let bed = beds.iter_mut().find(|bed| bed.subject == Subject::Kernel);
        let bed = bed.context("the kernel has its bed")?;
        bed.start(room)?;
        let _server = match self.other {
            Other::Iperf { .. } => Some(iperf_server(room, bed)?),
            Other::Wrk | Other::Rounds => None,
        };
        let mut taken = Taken { pace, ..Taken::default() };
        while taken.pairs.len() < pace.alternations {
            let watch = Watch::begin();
            let Work::Load(work, _) = self.case.work else {
                anyhow::bail!("no work of our client")
            };
            let ours = (work, Sources::Spread, pace.seconds);
            let ours = series::client(room, bed, &self.case, ours).context(OURS)?;
            let theirs = self.other(room, bed, pace).context(self.other.program())?;
            let others = watch.others();
            let has_failed = ours.failed + theirs.failed > 0;
            if !has_failed && busy::is_disturbed(others) && taken.repeated < pace.repeats {
                taken.repeated += 1;
                continue;
            }
            taken.others = taken.others.max(others);
            taken.pairs.push([ours, theirs]);
        }
        Ok(taken)
    }

    /// What the other client finds.
    fn other(&self, room: &Room, bed: &Bed, pace: Pace) -> Result<Found> {
        let is_reverse = match self.other {
            Other::Wrk => return wrk::run(room, bed, &self.case, pace),
            Other::Rounds => {
                let case = Case { in_rounds: true, ..self.case.clone() };
                let Work::Load(work, sources) = case.work else { anyhow::bail!("no work of ours") };
                return series::client(room, bed, &case, (work, sources, pace.seconds));
            }
            Other::Iperf { is_reverse } => is_reverse,
        };
        let mut command = bed.topology.client.command("taskset");
        command.args(["--cpu-list", &room.places.client.to_string(), "iperf3", "--json"]);
        command.args(["--client", &SERVER.to_string()]).args(is_reverse.then_some("--reverse"));
        let seconds = pace.seconds.ceil();
        command.args(["--time", &seconds.to_string()]);
        let client = Process::start("iperf3", &mut command)?;
        let text = client.output(Duration::from_secs_f64(seconds) + PATIENCE, &room.stop)?;
        let gigabits = received(&text).context("what iperf3 says")?;
        Ok(Found { figures: vec![gigabits], opened: 1, ..Found::default() })
    }
}

impl Other {
    fn program(self) -> &'static str {
        match self {
            Self::Wrk => "wrk",
            Self::Rounds => "load client, in rounds as wrk",
            Self::Iperf { .. } => "iperf3",
        }
    }

    /// The programs that it needs.
    fn tools(self) -> &'static [&'static str] {
        match self {
            Self::Wrk => &["wrk", "taskset"],
            Self::Rounds => &[],
            Self::Iperf { .. } => &["iperf3", "taskset"],
        }
    }
}

/// iperf3's server, on the CPU of ours.
fn iperf_server(room: &Room, bed: &Bed) -> Result<Process> {
    let mut command = bed.topology.server.command("taskset");
    command.args(["--cpu-list", &room.places.server.to_string(), "iperf3", "--server"]);
    let mut server = Process::start("iperf3's server", &mut command)?;
    let last = now() + PATIENCE;
    while bed.topology.server.run("ss -Hltn sport = :5201")?.trim().is_empty() {
        room.stop.check()?;
        server.check()?;
        anyhow::ensure!(now() < last, "iperf3 did not listen within {PATIENCE:?}");
        pause(Duration::from_millis(20));
    }
    Ok(server)
}

/// What the receiver got, in 10^9 bits a second, of what iperf3 prints.
fn received(text: &str) -> Result<f64> {
    let said: serde_json::Value = serde_json::from_str(text).context("no JSON")?;
    let bits = said.pointer("/end/sum_received/bits_per_second").and_then(|bits| bits.as_f64());
    Ok(bits.with_context(|| format!("no rate, but {}", said["error"]))? / 1e9)
}

/// All samples of a check.
#[derive(Default)]
struct Taken {
    /// Ours and theirs.
    pairs: Vec<[Found; 2]>,
    repeated: usize,
    /// The most cores that others used.
    others: f64,
    pace: Pace,
}

impl Taken {
    /// The row of the `at`-th figure.
    fn row(&self, work: &str, (program, unit): (&str, &str), at: usize) -> Row {
        let figure = |found: &Found| found.figures.get(at).copied();
        let pairs: Vec<(f64, f64)> =
            self.pairs.iter().filter_map(|[a, b]| Some((figure(a)?, figure(b)?))).collect();
        Row::measured(work, OURS, program, unit, &pairs).with(self.config())
    }

    fn config(&self) -> Config {
        let pace = self.pace;
        let mut config = Config::new();
        let mut say = |key: &str, value: String| config.insert(key.into(), value);
        say("driver mode", "veth, the kernel's TCP on both ends".into());
        say("offloads", format!("both: {}", crate::topology::Offloads::Off.describe()));
        say("congestion control", format!("{CONGESTION} on both ends"));
        say("samples", format!("{} alternations of {} s", pace.alternations, pace.seconds));
        if pace.is_smoke() {
            say(SMOKE, "short samples that measure nothing".into());
        }
        if busy::is_disturbed(self.others) {
            let percent = self.others * 100.0;
            let again = self.repeated;
            say(DISTURBED, format!("others used up to {percent:.0} % of a core, {again} repeated"));
        }
        if let Some(how) = self.pairs.iter().flatten().find_map(|found| found.failure.clone()) {
            say(FAILED, how);
        }
        config
    }
}

/// Whether the two agree within their spread, and by how much they differ where not.
fn agreement(row: &Row) -> String {
    let (Some(ratio), Some(ours), Some(theirs)) =
        (row.ratio_spread(), row.spread(), row.peer_spread())
    else {
        return "unknown".into();
    };
    let overlap = ours.min <= theirs.max && theirs.min <= ours.max;
    match ratio.holds(1.0) || overlap {
        true => "within their spread".into(),
        false => {
            format!("beyond their spread, by {:+.0} % in the median", (ratio.median - 1.0) * 100.0)
        }
    }
}

/// How the rows call our client.
const OURS: &str = "load client";
/// Time beyond that of a sample.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pairs: &[(f64, f64)]) -> Row {
        Row::measured("client check: x", OURS, "wrk", "req/s", pairs)
    }

    #[test]
    fn clients_agree_where_their_spreads_meet() {
        assert_eq!(agreement(&row(&[(9.0, 10.0), (11.0, 10.0)])), "within their spread");
        assert_eq!(agreement(&row(&[(10.0, 11.0), (12.0, 13.0)])), "within their spread");
        let apart = agreement(&row(&[(20.0, 10.0), (22.0, 11.0)]));
        assert_eq!(apart, "beyond their spread, by +100 % in the median");
        assert_eq!(agreement(&row(&[])), "unknown");
    }

    #[test]
    fn rate_is_what_the_receiver_got() {
        let text = r#"{"end":{"sum_sent":{"bits_per_second":9e9},"sum_received":{"bits_per_second":7.5e9}}}"#;
        assert_eq!(received(text).unwrap(), 7.5);
        let error = received(r#"{"error":"unable to connect"}"#).unwrap_err();
        assert!(error.to_string().contains("unable to connect"));
    }

    #[test]
    fn names_begin_alike_and_are_filtered() {
        assert!(all(None).iter().all(|check| check.name().starts_with("client ")));
        assert_eq!(all(Some("check: bulk")).len(), 2);
        assert!(all(Some("connect,")).is_empty());
    }
}
