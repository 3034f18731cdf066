//! One flood of one side: begun, visited, ended, and what it has left.

use std::time::Duration;

use anyhow::{Context, Result};

use super::super::bed::Room;
use super::super::plan::Pace;
use super::super::process::Process;
use super::cost::Busy;
use super::ground::Ground;
use super::{AROUND, PATIENCE, VISITS, sources};
use crate::busy::Watch;
use crate::clock::pause;
use crate::generator::{self, Kind, Mac, Prefix, READY};
use crate::load::{Report, visits};
use crate::topology::{CLIENT_END, CLIENTS, Family, SERVER_MAC};

/// How fast a flood is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Rate {
    /// SYNs in a second.
    Paced(u64),
    /// As many as go.
    #[default]
    FlatOut,
}

impl Rate {
    /// SYNs in a second, more than any for all that go.
    pub(super) fn asked(self) -> u64 {
        match self {
            Self::Paced(rate) => rate,
            Self::FlatOut => 20_000_000,
        }
    }
}

/// Bytes that a server keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Resident memory of Sluice.
    pub(super) process: u64,
    /// The BPF maps that it holds.
    pub(super) maps: u64,
    /// All slab caches of the kernel, where the kernel is the server.
    pub(super) slabs: u64,
}

impl Memory {
    pub(super) fn total(self) -> u64 {
        self.process + self.maps + self.slabs
    }
}

/// What one side did in one alternation.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// How fast the flood was to be.
    pub(super) rate: Rate,
    /// The flood, and its answers.
    pub(super) flood: generator::Report,
    /// The clients; their latencies are those of whole visits.
    pub(super) clients: Report,
    /// Frames of the flood that the server's end of the link had no room for.
    pub(super) dropped: u64,
    /// Seconds of all CPUs together, the generator's included.
    pub(super) busy: f64,
    /// What the server kept before and after.
    pub(super) memory: [Memory; 2],
    /// Cores that others used meanwhile.
    pub(super) others: f64,
}

impl Sample {
    /// The share of frames that the server's end of the link had no room for.
    pub(super) fn lost(&self) -> f64 {
        self.dropped as f64 / self.flood.sent.max(1) as f64
    }

    /// SYNs answered in a second.
    pub(super) fn answered(&self) -> f64 {
        self.flood.syn_acks as f64 / self.flood.seconds.max(1e-3)
    }
}

/// What is sent.
pub(super) struct Volley {
    pub(super) rate: Rate,
    /// The most SYNs.
    pub(super) frames: u64,
    /// The longest time.
    pub(super) time: Duration,
    /// Where the generator runs.
    pub(super) cpu: usize,
}

impl Ground {
    /// The flood begins, the clients come, the flood ends after them. The clients share the server's CPU:
    /// beside the generator they would hold up the interface's work, which is done on its CPU, for longer
    /// than a veth's ring of 256 frames lasts.
    pub(super) fn sample(&mut self, room: &Room, rate: Rate, pace: Pace) -> Result<Sample> {
        let time = Duration::from_secs_f64(pace.seconds) + visits::PATIENCE + 4 * AROUND;
        let volley = Volley { rate, frames: u64::MAX, time, cpu: room.places.client };
        self.flood(room, &volley, |ground| {
            pause(AROUND);
            let visitors = ground.visitors(room, pace.seconds)?;
            let output = visitors.output(time + PATIENCE, &room.stop)?;
            last(&output).context("the clients' report")
        })
    }

    /// A flood for so long, with clients of whom nobody asks what became of them.
    pub(super) fn visited(&mut self, room: &Room, rate: Rate, time: Duration) -> Result<Sample> {
        let cpu = room.places.client;
        let volley = Volley { rate, frames: u64::MAX, time: time + AROUND, cpu };
        self.flood(room, &volley, |ground| {
            let _visitors = ground.visitors(room, time.as_secs_f64())?;
            pause(time);
            Ok(Report::default())
        })
    }

    /// Clients that come for so many seconds.
    fn visitors(&self, room: &Room, seconds: f64) -> Result<Process> {
        let options = visits::Options {
            to: Self::address(self.family),
            rate: VISITS,
            seconds,
            size: 1_024,
            sources: CLIENTS,
            cpu: Some(room.places.server),
        };
        let mut command = self.bed.topology.client.command(&room.tools.bench);
        Process::start("the clients", command.arg("visit").args(options.arguments()))
    }

    /// A flood without clients, from a CPU, for so long.
    pub(super) fn probe(
        &mut self,
        room: &Room,
        (rate, cpu): (Rate, usize),
        time: Duration,
    ) -> Result<Sample> {
        let volley = Volley { rate, frames: u64::MAX, time: time + AROUND, cpu };
        self.flood(room, &volley, |_| {
            pause(time);
            Ok(Report::default())
        })
    }

    /// A flood while something else is done, which gives what became of the clients.
    pub(super) fn flood(
        &mut self,
        room: &Room,
        volley: &Volley,
        meanwhile: impl FnOnce(&Self) -> Result<Report>,
    ) -> Result<Sample> {
        self.start(room)?;
        let options = options(volley, self.family)?;
        let (watch, dropped, memory) = (Watch::begin(), self.bed.dropped()?, self.memory()?);
        let mut command = self.bed.topology.client.command(&room.tools.bench);
        command.arg("generate").args(options.arguments());
        let mut generator = Process::start("the generator", &mut command)?;
        generator.line(READY, PATIENCE, &room.stop)?;
        let busy = Busy::begin()?;
        let clients = meanwhile(self)?;
        generator.ask_to_end();
        let flood = generator.output(volley.time + PATIENCE, &room.stop)?;
        let busy = busy.end()?;
        let flood: generator::Report = last(&flood).context("the generator's report")?;
        let dropped = self.bed.dropped()?.saturating_sub(dropped);
        let memory = [memory, self.memory()?];
        let others = watch.others();
        Ok(Sample { rate: volley.rate, flood, clients, dropped, busy, memory, others })
    }
}

/// The options of the generator.
fn options(volley: &Volley, family: Family) -> Result<generator::Options> {
    let seconds = volley.time.as_secs_f64();
    let most = (volley.rate.asked() as f64 * seconds) as u64;
    Ok(generator::Options {
        kind: Kind::Syn,
        iface: CLIENT_END.into(),
        to: Ground::address(family),
        mac: Mac(SERVER_MAC),
        from: sources(family).parse::<Prefix>()?,
        size: None,
        rate: match volley.rate {
            Rate::Paced(rate) => rate,
            Rate::FlatOut => 0,
        },
        burst: 64,
        seconds,
        frames: most.min(volley.frames),
        cpu: Some(volley.cpu),
        seed: 1,
        i_own_this_network: None,
    })
}

/// The last line of what a program of ours has printed.
fn last<T: serde::de::DeserializeOwned>(output: &str) -> Result<T> {
    let line = output.lines().last().context("it said nothing")?;
    serde_json::from_str(line).with_context(|| format!("it said `{line}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_nothing_are_none() {
        let sample = Sample::default();
        assert_eq!((sample.lost(), sample.answered()), (0.0, 0.0));
        let flood =
            generator::Report { syn_acks: 50, sent: 200, seconds: 0.5, ..Default::default() };
        let sample = Sample { flood, dropped: 1, ..sample };
        assert_eq!((sample.lost(), sample.answered()), (0.005, 100.0));
    }
}
