use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const TICK: u64 = 1_000_000;

fn wheel() -> Wheel {
    Wheel::new(Duration::from_nanos(TICK), Instant::ZERO)
}

fn ticks(n: u64) -> Instant {
    Instant::from_nanos(n * TICK)
}

/// Expires without a bound worth the name and gives the keys, sorted.
fn expire(wheel: &mut Wheel, now: Instant) -> Vec<u32> {
    let mut keys = Vec::new();
    let count = wheel.expire(now, usize::MAX, &mut |key, _| keys.push(key));
    assert_eq!(count, keys.len());
    keys.sort_unstable();
    keys
}

#[test]
fn empty_expires_nothing_and_has_no_deadline() {
    let mut wheel = wheel();
    assert!(expire(&mut wheel, Instant::from_millis(u64::MAX / TICK)).is_empty());
    assert_eq!((wheel.next_deadline(), wheel.len()), (None, 0));
}

#[test]
fn armed_fires_not_before_its_deadline_and_within_a_tick() {
    // Distances around every border between levels, from origins around them too.
    for level in 0..=7 {
        for origin in [0, 1, 63, 64, 4095, 4096, (1 << 30) - 1] {
            for distance in [(1u64 << (6 * level)) - 1, 1 << (6 * level), (1 << (6 * level)) + 1] {
                for nanos in [0, 1, TICK - 1] {
                    let mut wheel = wheel();
                    expire(&mut wheel, ticks(origin));
                    let deadline = Instant::from_nanos((origin + distance) * TICK + nanos);
                    wheel.arm(7, 9, deadline);
                    assert!(wheel.next_deadline().unwrap() <= ticks(origin + distance + 1));
                    let before = Instant::from_nanos(deadline.as_nanos().saturating_sub(1));
                    if before < deadline && before >= ticks(origin) {
                        assert!(expire(&mut wheel, before).is_empty());
                    }
                    let mut fired = Vec::new();
                    let rounded = Instant::from_nanos(deadline.as_nanos().next_multiple_of(TICK));
                    wheel.expire(rounded, usize::MAX, &mut |k, g| fired.push((k, g)));
                    assert_eq!(fired, [(7, 9)], "{origin} {distance} {nanos}");
                    assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
                }
            }
        }
    }
}

#[test]
fn armed_for_the_past_fires_at_the_next_call() {
    let mut wheel = wheel();
    expire(&mut wheel, ticks(1000));
    wheel.arm(1, 0, ticks(3));
    wheel.arm(2, 0, ticks(1000));
    wheel.arm(3, 0, ticks(1001));
    assert_eq!(wheel.next_deadline(), Some(ticks(1000)));
    assert_eq!(expire(&mut wheel, ticks(1000)), [1, 2]);
}

#[test]
fn armed_for_never_makes_no_entry() {
    let mut wheel = wheel();
    wheel.arm(1, 0, Instant::NEVER);
    assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
}

#[test]
fn armed_beyond_the_horizon_fires_in_time() {
    let mut wheel = wheel();
    let far = (1 << 36) + 12_345;
    wheel.arm(1, 0, ticks(far));
    wheel.arm(2, 0, ticks(far * 2));
    wheel.arm(3, 0, ticks(far - 20_000));
    assert!(wheel.next_deadline().unwrap() <= ticks(far - 20_000));
    assert_eq!(expire(&mut wheel, ticks(far - 1)), [3]);
    assert_eq!(expire(&mut wheel, ticks(far)), [1]);
    assert!(expire(&mut wheel, ticks(far * 2 - 1)).is_empty());
    assert_eq!(expire(&mut wheel, ticks(far * 2)), [2]);
}

#[test]
fn time_running_backwards_fires_nothing_early() {
    let mut wheel = wheel();
    expire(&mut wheel, ticks(500));
    wheel.arm(1, 0, ticks(600));
    assert!(expire(&mut wheel, ticks(10)).is_empty());
    assert!(expire(&mut wheel, ticks(599)).is_empty());
    assert_eq!(expire(&mut wheel, ticks(600)), [1]);
}

#[test]
fn budget_spent_leaves_the_rest_for_the_next_call() {
    let mut wheel = wheel();
    for key in 0..1000 {
        wheel.arm(key, 0, ticks(5000 + u64::from(key) / 100));
    }
    let mut keys = Vec::new();
    let mut calls = 0;
    while wheel.next_deadline().is_some_and(|at| at <= ticks(5010)) {
        let before = keys.len();
        let count = wheel.expire(ticks(5010), 7, &mut |key, _| keys.push(key));
        assert_eq!(count, keys.len() - before);
        assert!(count <= 7);
        calls += 1;
    }
    keys.sort_unstable();
    assert!(keys.into_iter().eq(0..1000));
    // Each entry moves down at most twice from that distance, and fires once.
    assert!(calls <= 3 * 1000 / 7 + 10, "{calls} calls");
}

#[test]
fn budget_of_zero_does_nothing() {
    let mut wheel = wheel();
    wheel.arm(1, 0, ticks(1));
    assert_eq!(wheel.expire(ticks(2), 0, &mut |_, _| panic!("fired")), 0);
    assert_eq!(wheel.len(), 1);
}

#[test]
fn jump_over_hours_touches_entries_not_ticks() {
    let mut wheel = wheel();
    let hours = 100 * 3600 * 1000;
    for key in 0..100u32 {
        wheel.arm(key, 0, ticks(u64::from(key) * hours / 100));
    }
    // The budget counts each move of an entry: five levels down at most, then fired.
    let mut fired = 0;
    wheel.expire(ticks(hours), 6 * 100, &mut |_, _| fired += 1);
    assert_eq!((fired, wheel.len()), (100, 0));
}

#[test]
fn rearming_for_ever_reuses_the_pool() {
    let mut wheel = wheel();
    let mut now = 0;
    for key in 0..10_000 {
        wheel.arm(key, 0, ticks(1 + u64::from(key) % 300));
    }
    let round = |wheel: &mut Wheel, now: &mut u64| {
        for _ in 0..1000 {
            *now += 1;
            let mut again = Vec::new();
            wheel.expire(ticks(*now), usize::MAX, &mut |key, _| again.push(key));
            for key in again {
                wheel.arm(key, 0, ticks(*now + 1 + u64::from(key) % 300));
            }
        }
    };
    round(&mut wheel, &mut now);
    let bytes = wheel.pool.bytes();
    round(&mut wheel, &mut now);
    assert_eq!((wheel.pool.bytes(), wheel.len()), (bytes, 10_000));
}

#[test]
fn a_million_timers_take_under_13_bytes_each() {
    let mut wheel = wheel();
    for key in 0..1_000_000 {
        wheel.arm(key, 0, ticks(u64::from(key) % 7_200_000));
    }
    assert!(wheel.pool.bytes() < 13_000_000, "{} bytes", wheel.pool.bytes());
}

/// A step of the property test.
#[derive(Clone, Debug)]
enum Op {
    Arm { after: u64 },
    ArmBehind { before: u64 },
    Advance { by: u64, budget: usize },
}

fn any_op() -> impl Strategy<Value = Op> {
    // Distances of every magnitude.
    let nanos = (0u32..58, any::<u64>()).prop_map(|(bits, value)| value & ((1 << bits) - 1));
    prop_oneof![
        3 => nanos.clone().prop_map(|after| Op::Arm { after }),
        1 => nanos.clone().prop_map(|before| Op::ArmBehind { before }),
        2 => (nanos, prop_oneof![Just(usize::MAX), 0usize..20])
            .prop_map(|(by, budget)| Op::Advance { by, budget }),
    ]
}

/// Advances and checks what fires against the map of deadlines.
fn check_expire(
    wheel: &mut Wheel,
    model: &mut BTreeMap<(u64, u32), u32>,
    now: u64,
    budget: usize,
) -> Result<(), TestCaseError> {
    let mut fired = Vec::new();
    let count = wheel.expire(Instant::from_nanos(now), budget, &mut |k, g| fired.push((k, g)));
    prop_assert_eq!(count, fired.len());
    prop_assert!(count <= budget);
    for (key, generation) in fired {
        let deadline = model.iter().find(|(entry, _)| entry.1 == key).map(|(entry, _)| entry.0);
        let deadline = deadline.ok_or_else(|| TestCaseError::fail("fired twice"))?;
        prop_assert!(deadline <= now, "{} fired at {}", deadline, now);
        prop_assert_eq!(model.remove(&(deadline, key)), Some(generation));
    }
    prop_assert_eq!(wheel.len(), model.len());
    let next = wheel.next_deadline().map(Instant::as_nanos);
    prop_assert_eq!(next.is_some(), !model.is_empty());
    if let (Some(next), Some((&(earliest, _), _))) = (next, model.first_key_value()) {
        prop_assert!(next < earliest.max(now) + TICK, "{} after {}", next, earliest);
        if next > now {
            // Nothing was left undone: what is a tick late has fired.
            prop_assert!(earliest + TICK > now, "{} not fired at {}", earliest, now);
        }
    }
    if budget == usize::MAX {
        prop_assert!(next.is_none_or(|next| next > now));
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_sequence_fires_as_a_sorted_map_would(
        origin in 0u64..1 << 40, ops in prop::collection::vec(any_op(), 0..200),
    ) {
        let mut now = origin;
        let mut wheel = Wheel::new(Duration::from_nanos(TICK), Instant::from_nanos(now));
        let mut model = BTreeMap::new();
        for (key, op) in (0u32..).zip(ops) {
            match op {
                Op::Arm { after } => {
                    wheel.arm(key, key ^ 0x5555, Instant::from_nanos(now + after));
                    model.insert((now + after, key), key ^ 0x5555);
                }
                Op::ArmBehind { before } => {
                    let deadline = now.saturating_sub(before);
                    wheel.arm(key, key, Instant::from_nanos(deadline));
                    model.insert((deadline, key), key);
                }
                Op::Advance { by, budget } => {
                    now += by;
                    check_expire(&mut wheel, &mut model, now, budget)?;
                }
            }
        }
        // Following next_deadline alone fires all of it, in few steps.
        let mut steps = 0;
        while let Some(next) = wheel.next_deadline() {
            now = now.max(next.as_nanos());
            check_expire(&mut wheel, &mut model, now, usize::MAX)?;
            steps += 1;
            prop_assert!(steps < 200 * 8);
        }
        prop_assert!(model.is_empty());
    }
}

proptest! {
    // A caller that cancels by a new generation hears of each key's last deadline, in time and once,
    // whatever was armed before; around the borders of levels and of the horizon.
    #[test]
    fn cancelled_by_generation_only_the_last_deadline_counts(
        origin in (0u32..40, 0u64..130).prop_map(|(bits, more)| ((1u64 << bits) + more) * TICK),
        ops in prop::collection::vec(
            (0u32..6, prop::option::of((0u32..40, 0u64..130)), 0u64..200, 1usize..8), 1..120,
        ),
    ) {
        let mut now = origin;
        let mut wheel = Wheel::new(Duration::from_nanos(TICK), Instant::from_nanos(now));
        // The generation and the deadline of each key.
        let mut wanted: BTreeMap<u32, (u32, u64)> = BTreeMap::new();
        for (generation, (key, arm, steps, budget)) in (0u32..).zip(ops) {
            if let Some((bits, more)) = arm {
                let deadline = now + (1 << bits) * TICK + more * 997;
                wheel.arm(key, generation, Instant::from_nanos(deadline));
                wanted.insert(key, (generation, deadline));
            } else {
                wanted.remove(&key);
            }
            now += steps * steps * steps * 1_003;
            let mut fired = Vec::new();
            // As a worker does: bounded turns until nothing is due.
            while wheel.next_deadline().is_some_and(|next| next.as_nanos() <= now) {
                let mut touched = 0;
                wheel.expire(Instant::from_nanos(now), budget, &mut |key, generation| {
                    touched += 1;
                    fired.push((key, generation));
                });
                prop_assert!(touched <= budget);
            }
            for (key, generation) in fired {
                if let Some((_, deadline)) = wanted.get(&key).filter(|want| want.0 == generation) {
                    prop_assert!(*deadline <= now, "{} is early", key);
                    wanted.remove(&key);
                }
            }
            for (key, (_, deadline)) in &wanted {
                prop_assert!(deadline + TICK > now, "{} is late", key);
            }
        }
    }
}
