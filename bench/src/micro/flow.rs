//! Looking up flows: ours beside hash tables with the same keyed hash.
//!
//! A tuple goes in, the index of its record comes out, and the whole name was compared. Singly each
//! look-up waits for the one before; in batches 64 are at hand at once, as a shard has them.

mod tables;

use std::hint::black_box;
use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use sluice::wire::FourTuple;

use self::tables::{Brown, BrownMap, Ours, Papaya, Scc, Table};
use super::pair::{Plan, Work};
use super::{OURS, count};
use crate::clock::Stopwatch;
use crate::rng::Rng;
use crate::row::Row;

/// The rows of this file.
pub fn rows(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for entries in plan.sizes(&ENTRIES) {
        let scenes = scenes(*entries, |work| plan.wants(work));
        if scenes.is_empty() {
            continue;
        }
        let mut all = Beside { plan, entries: *entries, scenes, ours: filled(*entries), rows };
        all.beside::<Brown>()?;
        all.beside::<BrownMap>()?;
        all.beside::<Papaya>()?;
        all.beside::<Scc>()?;
        rows = all.rows;
    }
    Ok(rows)
}

/// Work, subject and peer of every row of a full run.
#[cfg(test)]
pub(super) fn names() -> Vec<[String; 3]> {
    let mut works = Vec::new();
    for entries in ENTRIES {
        scenes(entries, |work| {
            works.push(work.to_string());
            false
        });
    }
    let peers = [Brown::NAME, BrownMap::NAME, Papaya::NAME, Scc::NAME];
    let rows = works.iter().flat_map(|work| peers.map(|peer| [work, OURS, peer].map(String::from)));
    rows.collect()
}

/// A work's name, whether it is done in batches, and the flows that are asked for.
type Scene = (String, bool, Vec<u32>);

/// The scenes whose names are wanted.
fn scenes(entries: usize, mut is_wanted: impl FnMut(&str) -> bool) -> Vec<Scene> {
    let mut scenes = Vec::new();
    for (found, first) in [("hit", 0), ("miss", entries as u32)] {
        for law in ["uniform", "Zipf"] {
            for (how, is_batched) in [("single", false), ("batch of 64", true)] {
                let work = format!("flow lookup, {found}, {}, {law}, {how}", count(entries));
                if is_wanted(&work) {
                    let asked = asked(entries, law).into_iter().map(|n| first + n).collect();
                    scenes.push((work, is_batched, asked));
                }
            }
        }
    }
    scenes
}

/// Which of so many flows are asked for, one after the other.
fn asked(entries: usize, law: &str) -> Vec<u32> {
    let mut rng = Rng::new(entries as u64);
    match law {
        "Zipf" => rng.zipf(entries, ASKED),
        _ => (0..ASKED).map(|_| rng.below(entries as u64) as u32).collect(),
    }
}

/// Our table, and the rows of one peer after the other beside it.
struct Beside<'a> {
    plan: &'a Plan,
    entries: usize,
    scenes: Vec<Scene>,
    ours: Ours,
    rows: Vec<Row>,
}

impl Beside<'_> {
    fn beside<T: Table>(&mut self) -> Result<()> {
        let theirs: T = filled(self.entries);
        for (work, is_batched, asked) in &self.scenes {
            let lookup = (self.entries as u32, *is_batched, &asked[..]);
            let mut subject = Lookup::new(&self.ours, lookup);
            let mut peer = Lookup::new(&theirs, lookup);
            let row = self.plan.pair(work, (OURS, &mut subject), (T::NAME, &mut peer));
            self.rows.push(row.with_setting("hash", "SipHash-1-3 of 36 bytes on both sides"));
        }
        Ok(())
    }
}

fn filled<T: Table>(entries: usize) -> T {
    let mut table = T::with_room_for(entries);
    for n in 0..entries as u32 {
        table.insert(tuple(n), n);
    }
    table
}

/// The `n`-th of many clients of one port.
#[inline]
fn tuple(n: u32) -> FourTuple {
    FourTuple {
        local: Ipv4Addr::new(10, 0, 0, 1).into(),
        remote: Ipv4Addr::from(0x0a01_0000 + (n >> 14)).into(),
        local_port: 80,
        remote_port: 40_000 + (n & 0x3fff) as u16,
    }
}

/// Looks flows up in a table.
struct Lookup<'a, T> {
    table: &'a T,
    /// Flows below this are in the table.
    entries: u32,
    is_batched: bool,
    asked: &'a [u32],
    next: usize,
}

impl<'a, T: Table> Lookup<'a, T> {
    fn new(table: &'a T, (entries, is_batched, asked): (u32, bool, &'a [u32])) -> Self {
        Self { table, entries, is_batched, asked, next: 0 }
    }

    /// The next look-ups, one after the other; how many came out right.
    fn single(&self, asked: &[u32]) -> usize {
        let (mut right, mut at) = (0, 0);
        while let Some(n) = asked.get(at) {
            let found = self.table.find(&tuple(*n));
            let wanted = (*n < self.entries).then_some(*n);
            // The next place depends on what was found, so that no look-up begins before the last one
            // has ended. A wrong one leaves the count short.
            at += 1 + usize::from(black_box(found != wanted));
            right += usize::from(found == wanted);
        }
        right
    }

    /// The next look-ups in batches; how many came out right.
    fn batched(&self, asked: &[u32]) -> usize {
        let mut right = 0;
        for batch in asked.as_chunks::<BATCH>().0 {
            let tuples = batch.map(tuple);
            let found = self.table.find_batch(&tuples);
            for (found, n) in found.iter().zip(batch) {
                right += usize::from(*found == (*n < self.entries).then_some(*n));
            }
        }
        right
    }
}

impl<T: Table> Work for Lookup<'_, T> {
    fn round(&mut self, watch: &mut Stopwatch) -> Result<u64> {
        let asked = &self.asked[self.next..self.next + ROUND];
        self.next = (self.next + ROUND) % self.asked.len();
        let right = match self.is_batched {
            true => watch.time(|| self.batched(asked)),
            false => watch.time(|| self.single(asked)),
        };
        ensure!(right == ROUND, "{} of {ROUND} look-ups came out wrong", ROUND - right);
        Ok(ROUND as u64)
    }
}

/// How many look-ups are prepared, so that a sample does not ask for the same few again.
const ASKED: usize = 1 << 20;
const ROUND: usize = 4_096;
/// How many flows the tables hold.
const ENTRIES: [usize; 3] = [1_000, 100_000, 1_000_000];
/// As many as a shard takes at once.
const BATCH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn finds_what_is_there<T: Table>() {
        let table: T = filled(1_000);
        for (_, is_batched, asked) in scenes(1_000, |_| true) {
            let asked = &asked[..2 * ROUND];
            let mut lookup = Lookup::new(&table, (1_000, is_batched, asked));
            assert_eq!(lookup.round(&mut Stopwatch::new()).unwrap(), ROUND as u64);
        }
        // Of a table that holds less than it should, it is noticed.
        let asked: Vec<u32> = (0..ROUND as u32).collect();
        for is_batched in [false, true] {
            let mut lookup = Lookup::new(&table, (1_001, is_batched, &asked));
            assert!(lookup.round(&mut Stopwatch::new()).is_err());
        }
    }

    #[test]
    fn every_table_finds_what_is_there_and_nothing_else() {
        finds_what_is_there::<Ours>();
        finds_what_is_there::<Brown>();
        finds_what_is_there::<BrownMap>();
        finds_what_is_there::<Papaya>();
        finds_what_is_there::<Scc>();
    }

    #[test]
    fn names_of_scenes_differ() {
        let mut names: Vec<String> =
            scenes(1_000, |_| true).into_iter().map(|scene| scene.0).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 8);
    }
}
