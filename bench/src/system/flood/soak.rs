//! A long flood: what a server and its maps keep in memory is the same after very many SYNs.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::super::bed::Room;
use super::super::plan::Pace;
use super::ground::{Ground, Side};
use super::rows::{common, kept};
use super::sample::{Memory, Rate, Sample, Volley};
use super::{AROUND, Flood, sources};
use crate::clock::{now, pause};
use crate::load::Report;
use crate::printer::figure;
use crate::row::{Row, SMOKE};
use crate::topology::Family;

/// A long flood of each of [`SIDES`].
pub(super) struct Soak {
    name: String,
    family: Family,
    syns: u64,
    is_smoke: bool,
}

impl Soak {
    pub(super) fn of(flood: &Flood, pace: Pace) -> Self {
        let syns = if pace.is_smoke() { SYNS / 100 } else { SYNS };
        let Flood { name, family, .. } = flood.clone();
        Self { name, family, syns, is_smoke: pace.is_smoke() }
    }
}

/// The rows: how much memory grew.
///
/// # Errors
/// Where a server or the generator does not work, and on Ctrl-C.
pub(super) fn rows(room: &Room, soak: &Soak) -> Result<Vec<Row>> {
    SIDES.into_iter().map(|side| row(room, soak, side)).collect()
}

fn row(room: &Room, soak: &Soak, side: Side) -> Result<Row> {
    let mut ground = Ground::make(room, side, soak.family)?;
    let start = ground.memory()?;
    // What is touched by the first SYNs, the entries of an open gate among them, stays touched.
    take(room, &mut ground, FIRST.min(soak.syns))?;
    let sample = take(room, &mut ground, soak.syns)?;
    let [before, after] = sample.memory;
    let grown = after.total().cast_signed() - before.total().cast_signed();
    eprintln!("  {}: {} before, {} after", side.name(), kept(before), kept(after));
    let from = sources(soak.family);
    let row = Row::alone(&work(&soak.name), side.name(), UNIT, &[grown as f64])
        .with(common(room, ground.bed.mode.clone()))
        .with_setting("flood", format!("live frames, SYNs from {from}, {} k/s", RATE / 1_000))
        .with_setting(
            "SYNs",
            format!("{} sent, {} answered", sample.flood.sent, sample.flood.syn_acks),
        )
        .with_setting("dropped by the interface, %", figure(sample.lost() * 100.0))
        .with_setting("clients", "none")
        .with_setting("samples", "1")
        .with_setting("memory, MB", told([start, before, after]));
    let smoke = "few SYNs, that measure nothing";
    Ok(if soak.is_smoke { row.with_setting(SMOKE, smoke) } else { row })
}

fn told(memory: [Memory; 3]) -> String {
    let [start, before, after] = memory.map(kept);
    format!("{start} at the start; {before} after the first {FIRST} SYNs; {after} after all")
}

/// So many SYNs, and no client.
fn take(room: &Room, ground: &mut Ground, syns: u64) -> Result<Sample> {
    let time = Duration::from_secs_f64(2.0 * syns as f64 / RATE as f64) + 10 * AROUND;
    let cpu = room.places.client;
    let volley = Volley { rate: Rate::Paced(RATE), frames: syns, time, cpu };
    let due = Duration::from_secs_f64(1.05 * syns as f64 / RATE as f64) + AROUND;
    let sample = ground.flood(room, &volley, |_| {
        let end = now() + due;
        while now() < end {
            room.stop.check()?;
            pause(AROUND);
        }
        Ok(Report::default())
    })?;
    let sent = sample.flood.sent;
    ensure!(sent >= syns / 10 * 9, "only {sent} of {syns} SYNs were sent within {due:?}");
    Ok(sample)
}

fn work(flood: &str) -> String {
    format!("{flood}, memory grown")
}

/// Work, subject and peer of every row.
#[cfg(test)]
pub(super) fn names(flood: &str) -> Vec<[String; 3]> {
    SIDES.map(|side| [work(flood), side.name().into(), String::new()]).into()
}

/// Seconds that it takes, about.
pub(super) fn estimate(pace: Pace) -> f64 {
    let syns = if pace.is_smoke() { SYNS / 100 } else { SYNS };
    SIDES.len() as f64 * (1.1 * (syns + FIRST) as f64 / RATE as f64 + 3.0)
}

/// Those that answer whatever comes.
const SIDES: [Side; 2] = [Side::Sluice("auto"), Side::Sluice("always")];
/// How many.
pub(super) const SYNS: u64 = 10_000_000;
/// How many go before memory is looked at.
const FIRST: u64 = 100_000;
/// In a second.
const RATE: u64 = 400_000;
const UNIT: &str = "B";
