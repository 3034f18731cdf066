use super::*;
use crate::tcp::SeqNum;
use crate::wire::FourTuple;
use core::net::Ipv4Addr;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A record that is known by its port.
fn record(port: u16, deadline: u64) -> TimeWait {
    TimeWait {
        tuple: FourTuple {
            local: Ipv4Addr::new(10, 0, 0, 1).into(),
            remote: Ipv4Addr::new(10, 0, 0, 2).into(),
            local_port: 80,
            remote_port: port,
        },
        snd_nxt: SeqNum(0),
        rcv_nxt: SeqNum(0),
        recent: 0,
        has_stamps: false,
        answers_from: 0,
        deadline: Instant::from_millis(deadline),
        window: 0,
    }
}

fn ports_until(table: &mut TimeWaits, now: u64) -> Vec<u16> {
    let mut ports = Vec::new();
    while let Some((_, record)) = table.expire(Instant::from_millis(now)) {
        ports.push(record.tuple.remote_port);
    }
    ports
}

#[test]
fn full_table_takes_no_more_until_one_has_ended() {
    let mut table = TimeWaits::new(2);
    assert_eq!(table.insert(record(1, 10)), Some(0));
    assert_eq!(table.insert(record(2, 20)), Some(1));
    assert_eq!(table.insert(record(3, 30)), None);
    assert_eq!(table.len(), 2);
    assert_eq!(ports_until(&mut table, 10), [1]);
    assert_eq!(table.insert(record(3, 30)), Some(0));
    assert_eq!(ports_until(&mut table, 30), [2, 3]);
    assert!(table.is_empty() && table.next_deadline().is_none());
}

// RFC 9293 3.10.7.4: a FIN that comes again restarts the 2 MSL timeout.
#[test]
fn time_wait_restart_ends_behind_those_that_it_stood_before() {
    let mut table = TimeWaits::new(10);
    let first = table.insert(record(1, 10)).unwrap();
    let second = table.insert(record(2, 11)).unwrap();
    table.insert(record(3, 12));
    table.restart(second, Instant::from_millis(20));
    table.restart(first, Instant::from_millis(21));
    table.restart(first, Instant::from_millis(22));
    assert_eq!(table.next_deadline(), Some(Instant::from_millis(12)));
    assert_eq!(ports_until(&mut table, 19), [3]);
    assert_eq!(ports_until(&mut table, 20), [2]);
    assert!(ports_until(&mut table, 21).is_empty());
    assert_eq!(ports_until(&mut table, 22), [1]);
}

#[test]
fn time_wait_reused_leaves_nothing_in_the_queue() {
    let mut table = TimeWaits::new(3);
    // The same name again and again, as a client does that binds its port: no room is lost.
    for round in 0..1000 {
        let index = table.insert(record(1, round)).unwrap();
        assert_eq!(index, 0);
        assert!(table.remove(index).is_some());
        assert!(table.remove(index).is_none());
    }
    assert_eq!((table.next_deadline(), table.len()), (None, 0));
}

#[derive(Clone, Debug)]
enum Op {
    Insert,
    Remove(usize),
    Restart(usize),
    Advance(u64, usize),
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => Just(Op::Insert),
        1 => (0usize..40).prop_map(Op::Remove),
        2 => (0usize..40).prop_map(Op::Restart),
        2 => (0u64..60, 0usize..9).prop_map(|(by, budget)| Op::Advance(by, budget)),
    ]
}

proptest! {
    #[test]
    fn any_sequence_is_that_of_a_sorted_set(
        capacity in 0usize..30, ops in prop::collection::vec(any_op(), 0..300),
    ) {
        const LIFE: u64 = 100;
        let mut table = TimeWaits::new(capacity);
        // (deadline, order of its last start, port) and where each port lies.
        let mut queue: BTreeSet<(u64, usize, u16)> = BTreeSet::new();
        let mut places: BTreeMap<u32, (u64, usize, u16)> = BTreeMap::new();
        let mut now = 0;
        for (step, op) in ops.into_iter().enumerate() {
            let nth = |n: usize| places.keys().nth(n % places.len().max(1)).copied();
            match op {
                Op::Insert => {
                    let key = (now + LIFE, step, step as u16);
                    let index = table.insert(record(step as u16, key.0));
                    prop_assert_eq!(index.is_some(), queue.len() < capacity);
                    if let Some(index) = index {
                        prop_assert!(places.insert(index, key).is_none(), "a place given twice");
                        queue.insert(key);
                    }
                }
                Op::Remove(n) => if let Some(index) = nth(n) {
                    let key = places.remove(&index).unwrap();
                    queue.remove(&key);
                    prop_assert_eq!(table.remove(index).unwrap().tuple.remote_port, key.2);
                    prop_assert!(table.get(index).is_none());
                }
                Op::Restart(n) => if let Some(index) = nth(n) {
                    let key = places[&index];
                    let new = (now + LIFE, step, key.2);
                    table.restart(index, Instant::from_millis(new.0));
                    places.insert(index, new);
                    queue.remove(&key);
                    queue.insert(new);
                }
                Op::Advance(by, budget) => {
                    now += by;
                    for _ in 0..budget {
                        let due = queue.first().copied().filter(|key| key.0 <= now);
                        let ended = table.expire(Instant::from_millis(now));
                        let port = ended.as_ref().map(|(_, record)| record.tuple.remote_port);
                        prop_assert_eq!(port, due.map(|key| key.2));
                        if let (Some((index, _)), Some(key)) = (ended, due) {
                            prop_assert_eq!(places.remove(&index), Some(key));
                            queue.remove(&key);
                        }
                    }
                }
            }
            prop_assert_eq!(table.len(), queue.len());
            let first = queue.first().map(|key| Instant::from_millis(key.0));
            prop_assert_eq!(table.next_deadline(), first);
            for (index, key) in &places {
                prop_assert_eq!(table.get(*index).unwrap().tuple.remote_port, key.2);
            }
        }
    }
}
