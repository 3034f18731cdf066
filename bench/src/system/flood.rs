//! SYN floods: a server answers a paced flood from forged sources, while clients of the kernel connect,
//! exchange 1 KiB and close.
//!
//! Owns the cases, their samples and their rows. The flood is the generator's, the clients are
//! `load::visits`; both are bounded in time and end by themselves. Nothing leaves the namespaces.

mod rows;

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bed::{Bed, Room, Subject};
use super::plan::Pace;
use super::process::Process;
use crate::busy::Watch;
use crate::clock::{now, pause};
use crate::generator::{self, Kind, Mac, Prefix, READY};
use crate::load::{Report, visits};
use crate::row::Row;
use crate::serve::Service;
use crate::topology::{Between, CLIENT_END, CLIENTS, SERVER, SERVER_END, SERVER_MAC};

/// A flood of one rate, against each of the subjects in turn.
#[derive(Clone, Debug)]
pub(super) struct Flood {
    /// As the rows call the work.
    name: String,
    /// SYNs in a second.
    rate: u64,
}

/// The floods whose name contains `filter`; without one all, or the one that shows that the instrument
/// works.
pub(super) fn cases(is_smoke: bool, filter: Option<&str>) -> Vec<Flood> {
    let rates = RATES.into_iter().filter(|rate| !is_smoke || filter.is_some() || *rate == RATES[0]);
    let floods = rates.map(|rate| Flood { name: format!("syn flood, {} k/s", rate / 1_000), rate });
    floods.filter(|flood| filter.is_none_or(|part| flood.name.contains(part))).collect()
}

/// The rows of a flood.
///
/// # Errors
/// Where a server or the generator does not work, and on Ctrl-C.
pub(super) fn rows(room: &Room, flood: &Flood, pace: Pace) -> Result<Vec<Row>> {
    let mut grounds = SUBJECTS
        .into_iter()
        .map(|subject| Ground::make(room, subject))
        .collect::<Result<Vec<_>>>()?;
    let series = take(room, &mut grounds, flood, pace)?;
    Ok(rows::of(room, &grounds, flood, &series))
}

/// A server that is going to be flooded.
struct Ground {
    bed: Bed,
    /// Passes frames on to the kernel: what XDP sends to an interface without a program is lost.
    _pass: Option<Process>,
}

impl Flood {
    /// Seconds of a sample, about: the last clients are waited for.
    pub(super) fn sample_seconds(pace: Pace) -> f64 {
        pace.seconds + AROUND.as_secs_f64() + visits::PATIENCE.as_secs_f64()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Ground {
    fn make(room: &Room, subject: Subject) -> Result<Self> {
        let mut bed = Bed::make(subject, 1_500, Between::Nothing)?;
        let server = &bed.topology.server;
        // Answers to forged sources leave by the same link.
        server.ip(&format!("route add {SOURCES} via {}", CLIENTS.first))?;
        server.write_sysctl("net/ipv4/tcp_syncookies", "1")?;
        let mut pass = None;
        if subject == Subject::Kernel {
            let mut command = server.command(&room.tools.sluice);
            command.args(["pass", "--iface", SERVER_END]).arg("--program").arg(&room.tools.program);
            let mut process = Process::start("sluice pass", &mut command)?;
            let last = now() + PATIENCE;
            while !server.ip(&format!("link show dev {SERVER_END}"))?.contains("xdp") {
                room.stop.check()?;
                process.check()?;
                ensure!(now() < last, "sluice pass did not attach within {PATIENCE:?}");
                pause(Duration::from_millis(20));
            }
            pass = Some(process);
        }
        bed.start(room)?;
        Ok(Self { bed, _pass: pass })
    }

    /// Frames that the server's end of the link has received.
    fn received(&self) -> Result<u64> {
        let line = format!("-statistics -json link show dev {SERVER_END}");
        let shown: serde_json::Value = serde_json::from_str(&self.bed.topology.server.ip(&line)?)?;
        shown[0]["stats64"]["rx"]["packets"].as_u64().context("`ip` shows no count of frames")
    }
}

/// What one subject did in one alternation.
#[derive(Clone, Debug)]
struct Sample {
    /// The flood, and its answers.
    flood: generator::Report,
    /// The clients; their latencies are those of connecting.
    clients: Report,
    /// The share of the flood's frames that reached the server's end.
    delivered: f64,
    /// Cores that others used meanwhile.
    others: f64,
}

impl Sample {
    /// The share of clients that were served.
    fn completed(&self) -> f64 {
        self.clients.completed as f64 / self.clients.opened.max(1) as f64
    }

    /// SYNs answered in a second.
    fn answered(&self) -> f64 {
        self.flood.syn_acks as f64 / self.flood.seconds.max(1e-3)
    }
}

/// All samples of a flood: by alternation, then by subject.
struct Series {
    rounds: Vec<Vec<Sample>>,
    pace: Pace,
    /// Alternations that were disturbed and done again.
    repeated: usize,
}

fn take(room: &Room, grounds: &mut [Ground], flood: &Flood, pace: Pace) -> Result<Series> {
    let mut series = Series { rounds: Vec::new(), pace, repeated: 0 };
    while series.rounds.len() < pace.alternations {
        let mut round = Vec::new();
        for ground in grounds.iter_mut() {
            let name = ground.bed.subject.name();
            let sample = sample(room, ground, flood, pace);
            round.push(sample.with_context(|| format!("{} with {name}", flood.name))?);
        }
        let line = grounds
            .iter()
            .zip(&round)
            .map(|(ground, sample)| rows::line(ground.bed.subject.name(), sample));
        eprintln!("  {}", line.collect::<Vec<_>>().join("; "));
        if rows::disturbance(&round) > rows::QUIET && series.repeated < pace.repeats {
            series.repeated += 1;
            continue;
        }
        series.rounds.push(round);
    }
    Ok(series)
}

/// The flood begins, the clients come, the flood ends after them.
fn sample(room: &Room, ground: &mut Ground, flood: &Flood, pace: Pace) -> Result<Sample> {
    ground.bed.start(room)?;
    let (cpu, client) = (room.places.client, &ground.bed.topology.client);
    let floods = generator::Options {
        kind: Kind::Syn,
        iface: CLIENT_END.into(),
        to: SocketAddrV4::new(SERVER, Service::Echo.port()).into(),
        mac: Mac(SERVER_MAC),
        from: SOURCES.parse::<Prefix>()?,
        size: None,
        rate: flood.rate,
        burst: 64,
        seconds: pace.seconds + AROUND.as_secs_f64(),
        frames: flood.rate * 60,
        cpu: Some(cpu),
        seed: 1,
        i_own_this_network: None,
    };
    let visits = visits::Options {
        to: SocketAddrV4::new(SERVER, Service::Echo.port()),
        rate: VISITS,
        seconds: pace.seconds,
        size: 1_024,
        sources: CLIENTS,
        cpu: Some(cpu),
    };
    let (watch, received) = (Watch::begin(), ground.received()?);
    // It waits by looking at the clock: whoever has work on its CPU goes first.
    let mut command = client.command("nice");
    command.args(["-n", "19"]).arg(&room.tools.bench).arg("generate").args(floods.arguments());
    let mut generator = Process::start("the generator", &mut command)?;
    generator.line(READY, PATIENCE, &room.stop)?;
    pause(AROUND / 4);
    let mut command = client.command(&room.tools.bench);
    command.arg("visit").args(visits.arguments());
    let visitors = Process::start("the clients", &mut command)?;
    let time = Duration::from_secs_f64(pace.seconds) + AROUND + PATIENCE;
    let clients = visitors.output(time, &room.stop)?;
    let flood = generator.output(time, &room.stop)?;
    let flood: generator::Report = last(&flood).context("the generator's report")?;
    let clients: Report = last(&clients).context("the clients' report")?;
    let delivered = ground.received()?.saturating_sub(received) as f64;
    // The clients' own frames are among them.
    let delivered = (delivered / flood.sent.max(1) as f64).min(1.0);
    let others = watch.others();
    Ok(Sample { flood, clients, delivered, others })
}

/// The last line of what a program of ours has printed.
fn last<T: serde::de::DeserializeOwned>(output: &str) -> Result<T> {
    let line = output.lines().last().context("it said nothing")?;
    serde_json::from_str(line).with_context(|| format!("it said `{line}`"))
}

/// Whose figures are set beside whose.
const SUBJECTS: [Subject; 2] = [Subject::Sluice, Subject::Kernel];
/// SYNs in a second.
const RATES: [u64; 2] = [50_000, 200_000];
/// Clients that come in a second.
const VISITS: u32 = 200;
/// Where the flood claims to come from: addresses set apart for measurements (RFC 2544).
const SOURCES: &str = "198.18.0.0/15";
/// The time of the flood before and after the clients come.
const AROUND: Duration = Duration::from_millis(1_200);
/// Time for a program to begin or to end.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoke_is_one_flood_and_a_filter_names_others() {
        assert_eq!(cases(true, None).len(), 1);
        assert_eq!(cases(false, None).len(), RATES.len());
        assert_eq!(cases(true, Some("200")).len(), 1);
        assert!(cases(false, Some("connect")).is_empty());
        assert_eq!(cases(false, Some("syn flood")).len(), RATES.len());
    }

    #[test]
    fn shares_of_nobody_are_none() {
        let flood = generator::Report { syn_acks: 50, seconds: 0.5, ..Default::default() };
        let clients = Report { completed: 9, opened: 12, ..Report::default() };
        let sample = Sample { flood, clients, delivered: 1.0, others: 0.0 };
        assert_eq!((sample.completed(), sample.answered()), (0.75, 100.0));
        let nobody = Sample { clients: Report::default(), ..sample };
        assert_eq!(nobody.completed(), 0.0);
    }
}
