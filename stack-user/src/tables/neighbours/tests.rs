use super::*;
use core::net::Ipv4Addr;

const OLD: MacAddr = MacAddr([2; 6]);
const NEW: MacAddr = MacAddr([4; 6]);

fn addr(n: u8) -> Addr {
    Ipv4Addr::new(10, 0, 0, n).into()
}

#[test]
fn full_table_gives_the_place_of_what_nobody_uses() {
    let mut table = Neighbours::new(2, 0);
    let waits = TcbId { index: 7, generation: 0 };
    let used = table.intern(addr(1)).expect("there is room");
    table.at(used).users = 1;
    let awaited = table.intern(addr(2)).expect("there is room");
    table.at(awaited).waiting.push(waits);
    assert_eq!(table.intern(addr(3)), None);
    assert!(table.learn(addr(3), MacAddr([2; 6]), true, Instant::ZERO).is_empty());
    assert_eq!(table.learn(addr(2), MacAddr([2; 6]), false, Instant::ZERO), [waits]);
    assert_eq!(table.intern(addr(3)), Some(awaited));
    assert_eq!((table.at(awaited).addr, table.at(awaited).mac), (addr(3), None));
    assert_eq!(table.intern(addr(1)), Some(used));
}

fn told(is_solicited: bool, is_override: bool, target_mac: Option<MacAddr>) -> Advertisement {
    Advertisement { target: addr(1), is_solicited, is_override, target_mac }
}

/// What an advertisement makes of a neighbour that is as `before` makes it.
fn becomes(before: fn(&mut Neighbour), told: &Advertisement) -> (Reach, Option<MacAddr>) {
    let mut table = Neighbours::new(2, 0);
    let index = table.intern(addr(1)).expect("there is room");
    before(table.at(index));
    table.advertised(told, Instant::ZERO);
    (table.at(index).reach, table.at(index).mac)
}

// RFC 4861 7.2.5, the lines of appendix C's table.
#[test]
fn advertisement_changes_a_neighbour_as_its_flags_say() {
    let incomplete: fn(&mut Neighbour) = |_| {};
    let reachable: fn(&mut Neighbour) = |entry| entry.confirm(OLD, Instant::NEVER);
    let probe: fn(&mut Neighbour) = |entry| {
        entry.suppose(OLD);
        entry.asked(Instant::NEVER);
    };
    use Reach::{Incomplete, Probe, Reachable, Stale};
    let cases = [
        (incomplete, told(true, true, None), (Incomplete, None)),
        (incomplete, told(true, false, Some(NEW)), (Reachable, Some(NEW))),
        (incomplete, told(false, false, Some(NEW)), (Stale, Some(NEW))),
        (reachable, told(false, true, Some(OLD)), (Reachable, Some(OLD))),
        (reachable, told(false, true, Some(NEW)), (Stale, Some(NEW))),
        (reachable, told(true, true, Some(NEW)), (Reachable, Some(NEW))),
        (reachable, told(true, false, Some(NEW)), (Stale, Some(OLD))),
        (probe, told(true, false, Some(NEW)), (Probe, Some(OLD))),
        (probe, told(true, false, None), (Reachable, Some(OLD))),
        (probe, told(true, false, Some(OLD)), (Reachable, Some(OLD))),
        (probe, told(false, true, Some(OLD)), (Probe, Some(OLD))),
        (probe, told(false, true, Some(NEW)), (Stale, Some(NEW))),
    ];
    for (line, (before, told, after)) in cases.into_iter().enumerate() {
        assert_eq!(becomes(before, &told), after, "line {line}");
    }
}

// RFC 4861 7.2.5: nobody asked, and no entry is made.
#[test]
fn advertisement_of_a_stranger_makes_no_entry() {
    let mut table = Neighbours::new(2, 0);
    table.advertised(&told(true, true, Some(NEW)), Instant::ZERO);
    assert!(table.index.is_empty());
}

// RFC 4861 7.2.3: a solicitation shows where its sender is, not that our packets get there.
#[test]
fn sender_of_a_solicitation_is_stale_where_it_is_new_or_has_moved() {
    let mut table = Neighbours::new(2, 0);
    table.hear(addr(1), OLD);
    let index = table.intern(addr(1)).expect("it is there");
    assert_eq!((table.at(index).reach, table.at(index).mac), (Reach::Stale, Some(OLD)));
    table.learn(addr(1), OLD, false, Instant::ZERO);
    table.hear(addr(1), OLD);
    assert_eq!(table.at(index).reach, Reach::Reachable, "nothing new");
    table.hear(addr(1), NEW);
    assert_eq!((table.at(index).reach, table.at(index).mac), (Reach::Stale, Some(NEW)));
}

// RFC 4861 6.3.2.
#[test]
fn answer_counts_for_half_to_one_and_a_half_of_the_usual_time() {
    for (random, millis) in [(0, 15_000), (29_999, 44_999), (30_000, 15_000)] {
        let mut table = Neighbours::new(2, random);
        table.learn(addr(1), OLD, true, Instant::ZERO);
        assert_eq!(table.at(0).ask_at, Instant::from_millis(millis));
    }
}
