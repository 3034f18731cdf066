use super::*;
use crate::tables::sync::Ordering;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

fn records(count: usize) -> Records {
    Records::new(Words::zeroed(words_for(count)))
}

/// A record all of whose fields follow from `n`.
fn record(n: u32) -> Record {
    Record {
        tuple: FourTuple {
            local: IpAddr::from(Ipv6Addr::from(u128::from(n) << 64 | u128::from(!n))).into(),
            remote: Ipv4Addr::from(n).into(),
            local_port: n as u16,
            remote_port: !n as u16,
        },
        service: (n >> 8) as u16,
        summary: Summary {
            state: State::ALL[n as usize % State::ALL.len()],
            unread: n,
            queued: !n,
            cwnd: n.rotate_left(8),
            srtt: n.rotate_left(16),
            retransmits: n.rotate_left(24),
        },
    }
}

#[test]
fn record_is_one_cache_line() {
    assert_eq!(words_for(1) * 8, 64);
    assert_eq!(records(10).reader().places(), 10);
}

#[test]
fn free_place_and_place_beyond_the_end_hold_nothing() {
    let mut records = records(2);
    let reader = records.reader();
    records.put(2, &record(7));
    assert_eq!(
        (reader.get(0), reader.get(2), reader.get(u32::MAX)),
        (Look::Free, Look::Free, Look::Free)
    );
}

#[test]
fn write_that_never_ends_is_torn_and_left_out() {
    let mut records = records(2);
    records.put(0, &record(1));
    records.put(1, &record(2));
    records.words.as_ref()[0].fetch_add(1, Ordering::Relaxed);
    let reader = records.reader();
    assert_eq!(reader.get(0), Look::Torn);
    assert_eq!(reader.iter(u32::MAX).collect::<Vec<_>>(), [(1, record(2))]);
}

#[test]
fn unknown_state_of_a_newer_writer_reads_as_free() {
    let records = records(1);
    records.words.as_ref()[0].store(200 << 32, Ordering::Relaxed);
    assert_eq!(records.reader().get(0), Look::Free);
}

#[test]
fn reader_beside_a_writer_sees_whole_records_alone() {
    let mut records = records(4);
    let reader = records.reader();
    let stop = AtomicBool::new(false);
    let (mut looks, mut seen, mut mixed) = (0, BTreeSet::new(), None);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0u32;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                n = n.wrapping_add(0x9e37_79b9);
                match n % 5 {
                    0 => records.clear(n % 4),
                    _ => records.put(n % 4, &record(n)),
                }
            }
        });
        while mixed.is_none() && (looks < 100_000 || seen.len() < 1000) {
            for (index, found) in reader.iter(4) {
                let n = found.summary.unread;
                mixed = mixed.or((found != record(n) || n % 4 != index).then_some(found));
                seen.insert(n % 5000);
            }
            looks += 1;
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(mixed, None);
}

proptest! {
    #[test]
    fn any_sequence_reads_as_that_of_a_map(
        ops in prop::collection::vec((0u32..8, prop::option::of(any::<u32>())), 0..200),
    ) {
        let mut records = records(8);
        let reader = records.reader();
        let mut model = BTreeMap::new();
        for (index, op) in ops {
            match op {
                Some(n) => {
                    records.put(index, &record(n));
                    model.insert(index, record(n));
                }
                None => {
                    records.clear(index);
                    model.remove(&index);
                }
            }
            prop_assert_eq!(reader.iter(u32::MAX).collect::<BTreeMap<_, _>>(), model.clone());
        }
    }
}
