//! Every interleaving of an owner and readers of a small flow table, by loom.
//!
//! What a look says while the owner writes has to be right, or nothing: a reader's repeated looks
//! would hide a wrong one, so single looks are tested.

use super::reader::look;
use super::*;
use loom::thread;

/// A hash whose home is the first or the second bucket, of two or three.
const fn hash(home: u64, print: u64) -> u64 {
    home * (u64::MAX / 5 * 3) >> 32 << 32 | print
}

fn tcb(index: u32) -> FlowRef {
    FlowRef::new(FlowKind::Tcb, index)
}

/// A table of so many buckets with flows of the first one, numbered from 1, of which those beyond the
/// seventh lie elsewhere, then flows of the second one, numbered from 21.
fn table(buckets: usize, [first, second]: [u64; 2]) -> FlowTable {
    let mut table = FlowTable::new(Words::zeroed(buckets * WORDS));
    for n in 1..=first {
        table.insert(hash(0, n), tcb(n as u32)).unwrap();
    }
    for n in 21..21 + second {
        table.insert(hash(1, n), tcb(n as u32)).unwrap();
    }
    table
}

/// Runs every interleaving of `owner` and of two looks at each of `flows_read` (home and
/// fingerprint), one reader for each; the answers, in the order of the looks, are given to `check`.
fn explore(
    made: fn() -> FlowTable,
    flows_read: &'static [(u64, u64)],
    owner: fn(&mut FlowTable),
    check: fn(u64, [Option<bool>; 2]),
) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.max_branches = 10_000;
    model.check(move || {
        let mut table = made();
        let hashes = || flows_read.iter().map(|(home, print)| hash(*home, *print));
        let readers: Vec<_> = hashes()
            .map(|hash| {
                let words = table.words.clone();
                thread::spawn(move || {
                    let buckets = Buckets::of(words.as_ref());
                    [look(buckets, hash), look(buckets, hash)]
                })
            })
            .collect();
        owner(&mut table);
        for (hash, reader) in hashes().zip(readers) {
            check(hash, reader.join().unwrap());
        }
        // What was written is seen once the owner is done.
        let reader = table.reader();
        for hash in hashes() {
            assert_eq!(reader.contains(hash), table.find(hash, |_| true).is_some());
        }
    });
}

/// The flow stays: no look misses it.
fn never_missed(hash: u64, looks: [Option<bool>; 2]) {
    assert!(!looks.contains(&Some(false)), "{hash:x} missed: {looks:?}");
}

/// The flow comes: no look finds it and a later one does not.
fn comes(hash: u64, looks: [Option<bool>; 2]) {
    assert_ne!(looks, [Some(true), Some(false)], "{hash:x}");
}

/// The flow goes: no look misses it and a later one finds it.
fn goes(hash: u64, looks: [Option<bool>; 2]) {
    assert_ne!(looks, [Some(false), Some(true)], "{hash:x}");
}

#[test]
fn flow_that_comes_back_from_another_bucket_is_never_missed() {
    // The eighth flow lies away from home; removal of the first brings it back.
    let owner = |table: &mut FlowTable| assert!(table.remove(hash(0, 1), tcb(1)));
    explore(|| table(2, [8, 0]), &[(0, 8), (0, 2)], owner, never_missed);
}

#[test]
fn flow_that_is_evicted_by_a_host_is_never_missed() {
    // The guest leaves the second bucket, which that bucket's own flows fill, for the third.
    let owner = |table: &mut FlowTable| {
        table.insert(hash(1, 30), tcb(30)).unwrap();
        assert!(table.find(hash(0, 8), |_| true).is_some());
    };
    explore(|| table(3, [8, 6]), &[(0, 8)], owner, never_missed);
}

#[test]
fn flow_that_is_replaced_is_never_missed() {
    let owner = |table: &mut FlowTable| {
        let record = FlowRef::new(FlowKind::TimeWait, 9);
        assert!(table.replace(hash(0, 1), tcb(1), record));
        assert!(table.replace(hash(0, 1), record, tcb(3)));
    };
    explore(|| table(2, [2, 0]), &[(0, 1), (0, 2)], owner, never_missed);
}

#[test]
fn flow_that_comes_is_not_found_and_then_missed() {
    let owner = |table: &mut FlowTable| table.insert(hash(0, 30), tcb(30)).unwrap();
    explore(|| table(2, [7, 0]), &[(0, 30)], owner, comes);
    explore(|| table(2, [1, 0]), &[(0, 30)], owner, comes);
}

#[test]
fn flow_that_goes_is_not_missed_and_then_found() {
    let away = |table: &mut FlowTable| assert!(table.remove(hash(0, 8), tcb(8)));
    explore(|| table(2, [8, 0]), &[(0, 8)], away, goes);
    let home = |table: &mut FlowTable| assert!(table.remove(hash(0, 2), tcb(2)));
    explore(|| table(2, [8, 0]), &[(0, 2)], home, goes);
}
