//! What a flood costs the machine, and how much of that is the generator's own.
//!
//! The generator waits for its next frame by looking at the clock, so that its CPU is never idle: it counts
//! that time itself, and it is taken off. What is left of it, frames made and handed to an interface that
//! drops them at once, is measured at the same rate in every alternation and taken off by frame.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::super::bed::Room;
use super::ground::Ground;
use super::sample::{Rate, Sample};
use crate::clock::now;
use crate::cpus::TICKS;
use crate::spread::Spread;

/// Busy time of all CPUs from a moment on.
pub(super) struct Busy {
    at: Duration,
    cpus: u64,
    /// Clock ticks of all CPUs in which nothing ran, or another guest of the hypervisor.
    idle: u64,
}

impl Busy {
    pub(super) fn begin() -> Result<Self> {
        let (cpus, idle) = read()?;
        Ok(Self { at: now(), cpus, idle })
    }

    /// Seconds of all CPUs together since then.
    pub(super) fn end(&self) -> Result<f64> {
        let (_, idle) = read()?;
        let time = (now() - self.at).as_secs_f64();
        Ok(time * self.cpus as f64 - idle.saturating_sub(self.idle) as f64 / TICKS)
    }
}

/// How many CPUs there are, and how many ticks they did not work.
fn read() -> Result<(u64, u64)> {
    parse(&fs::read_to_string("/proc/stat").context("/proc/stat")?)
        .context("/proc/stat tells nothing")
}

/// The lines `cpuN`: user nice system idle iowait irq softirq steal. What is idle is counted exactly,
/// the rest by samples.
fn parse(stat: &str) -> Option<(u64, u64)> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        words.next()?.strip_prefix("cpu")?.parse::<u32>().ok()?;
        let ticks: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        let &[_, _, _, idle, iowait, _, _, steal, ..] = &ticks[..] else { return None };
        Some(idle + iowait + steal)
    };
    let lines: Vec<u64> = stat.lines().filter_map(line).collect();
    (!lines.is_empty()).then(|| (lines.len() as u64, lines.iter().sum()))
}

/// What the generator alone costs.
#[derive(Clone, Debug)]
pub(super) struct Costs {
    /// Where it runs.
    cpu: usize,
    /// Seconds of a frame that is made, sent, and dropped by XDP_DROP, by the rate, one of each look:
    /// frames that come alone cost more than those that come together.
    looks: Vec<(Rate, Vec<f64>)>,
}

impl Costs {
    /// Nothing known of a generator on this CPU.
    pub(super) fn on(cpu: usize) -> Self {
        Self { cpu, looks: Vec::new() }
    }

    /// Has another look at what frames of these rates cost.
    pub(super) fn look(&mut self, room: &Room, ground: &mut Ground, rates: &[Rate]) -> Result<()> {
        let mut done: Vec<Rate> = Vec::new();
        for rate in rates {
            if done.contains(rate) {
                continue;
            }
            done.push(*rate);
            let sample = ground.probe(room, (*rate, self.cpu), LENGTH)?;
            ensure!(sample.flood.sent > 0, "the generator has not sent a single frame");
            let frame = (sample.busy - sample.flood.waited) / sample.flood.sent as f64;
            eprintln!(
                "  XDP_DROP: {:.0} ns a frame at {:.0} SYN/s",
                frame * 1e9,
                sample.flood.rate()
            );
            match self.looks.iter_mut().find(|(of, _)| of == rate) {
                Some((_, found)) => found.push(frame),
                None => self.looks.push((*rate, vec![frame])),
            }
        }
        Ok(())
    }

    /// Seconds of a frame by the rate: each is the median of the looks at it.
    pub(super) fn frames(&self) -> impl Iterator<Item = (Rate, f64)> {
        let median =
            |found: &Vec<f64>| Spread::of(found.iter().copied()).map_or(0.0, |of| of.median);
        self.looks.iter().map(move |(rate, found)| (*rate, median(found)))
    }

    /// CPU seconds of a sample without those of the generator.
    pub(super) fn of(&self, sample: &Sample) -> f64 {
        let frame =
            self.frames().find(|(of, _)| *of == sample.rate).map_or(0.0, |(_, frame)| frame);
        sample.busy - sample.flood.waited - sample.flood.sent as f64 * frame
    }
}

const LENGTH: Duration = Duration::from_millis(1_200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator;

    #[test]
    fn idle_ticks_of_all_cpus_are_added_and_the_sum_is_not_counted_again() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 100 5 6 7 8 0 0\n\
                    cpu1 1 2 3 200 0 6 7 0 0 0\nintr 5\n";
        assert_eq!(parse(stat), Some((2, 313)));
        assert_eq!(parse("intr 5\n"), None);
    }

    #[test]
    fn cost_is_without_waiting_and_without_what_frames_cost_anyway() {
        let flood = generator::Report { sent: 1_000_000, waited: 0.5, ..Default::default() };
        let sample = Sample { flood, busy: 1.75, rate: Rate::Paced(7), ..Sample::default() };
        // One look was disturbed.
        let looks =
            vec![(Rate::FlatOut, vec![9.0]), (Rate::Paced(7), vec![249e-9, 814e-9, 250e-9])];
        let costs = Costs { cpu: 0, looks };
        assert!((costs.of(&sample) - 1.0).abs() < 1e-9);
    }
}
