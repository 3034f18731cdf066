//! Two shards of one interface: whose a segment is, whichever queue it comes to; and ports whose answers
//! come home.

use std::sync::Arc;

use super::raw::{ACK, PORT, RST, Raw, SYN, Says, syn};
use super::{FAMILIES, addr};
use crate::counters::Counter;
use crate::shard::{Elsewhere, Open, Shard};
use crate::tables::rss::{Families, Rss};
use crate::tcp::State;
use crate::time::{Duration, Instant};
use crate::wire::{Addr, FourTuple};

/// Shards from 0 on, which know of each other's flows.
fn shards<const COUNT: usize>(addr: fn(u8) -> Addr) -> [Raw; COUNT] {
    let mut all = core::array::from_fn(|index| {
        Raw::listening(|_| {}, |config| config.index = index as u16).0.between(addr)
    });
    let readers = all.each_ref().map(|raw: &Raw| raw.shard.flow_reader());
    for (own, raw) in all.iter_mut().enumerate() {
        let others = (0..).zip(&readers).filter(|(index, _)| usize::from(*index) != own);
        raw.shard.set_peers(others.map(|(index, reader)| (index, reader.clone())).collect());
    }
    all
}

/// A segment comes to the queue of `at`; the shards that it is handed to.
fn come(at: &mut Raw, says: Says) -> Vec<u16> {
    let (frame, mut owners) = (at.frame_of(says), Vec::new());
    at.shard.on_frames(
        &[&frame],
        &mut |_, to| match to {
            Elsewhere::Owner(shard) => owners.push(shard),
            Elsewhere::Every => panic!("a segment is nobody's but its owner's"),
        },
        at.now,
    );
    owners
}

/// A segment that came to the queue of shard 1 is handed to shard 0, which has it then.
fn hand_over(queue: &mut Raw, owner: &mut Raw, says: Says) {
    assert_eq!(come(queue, says), [0], "{says:?}");
    assert!(queue.sent().is_empty(), "the owner alone answers");
    let frame = owner.frame_of(says);
    owner.shard.on_handed_over(&[&frame], owner.now);
}

// RFC 9293 3.10.7.4: the flow is one, whichever queue its segments come to. CM-10.d.
#[test]
fn listen_syn_repeated_on_another_queue_meets_its_own_entry() {
    for addr in FAMILIES {
        let [mut owner, mut other] = shards(addr);
        let first = owner.answer(syn(9));
        let later = Duration::from_millis(1_100);
        (owner.now, other.now) = (owner.now + later, other.now + later);
        hand_over(&mut other, &mut owner, syn(9));
        let again = owner.sent();
        assert_eq!(again.len(), 1, "{again:?}");
        assert_eq!((again[0].seq, again[0].flags), (first.seq, SYN.union(ACK)));
        assert_eq!(owner.shard.census()[State::SynReceived as usize], 1);
        assert_eq!((other.shard.flows(), other.count(Counter::PassiveOpens)), (0, 0));
        // So does all the rest.
        let ack = syn(9).answer(&first);
        hand_over(&mut other, &mut owner, ack);
        hand_over(&mut other, &mut owner, Says { text: b"hello", ..ack });
        assert_eq!(owner.told(), ["9: accepted", "9: hello"]);
        assert_eq!((other.shard.flows(), owner.shard.flows()), (0, 1));
    }
}

#[test]
fn syn_received_at_two_shards_at_once_becomes_one_connection() {
    for addr in FAMILIES {
        for text in [&b""[..], b"hello"] {
            let [mut owner, mut other] = shards(addr);
            // Neither has an entry when it looks for the other's.
            let frame = owner.frame_of(syn(9));
            other.now = other.now + Duration::from_millis(1);
            owner.shard.on_frames(&[&frame], &mut |_, _| {}, owner.now);
            other.shard.on_handed_over(&[&frame], other.now);
            let (taken, double) = (owner.sent().remove(0), other.sent().remove(0));
            assert_ne!(taken.seq, double.seq);
            let ack = syn(9).answer(&taken);
            hand_over(&mut other, &mut owner, Says { text, ..ack });
            assert_eq!(owner.shard.census()[State::Established as usize], 1);
            assert_eq!((other.shard.flows(), other.count(Counter::HalfOpenDoubles)), (0, 1));
            assert_eq!(owner.sent().iter().filter(|sent| sent.is(RST)).count(), 0);
        }
    }
}

// Each of the others may be the one that the peer knows: all see the segment, and one alone answers.
#[test]
fn syn_received_at_three_shards_at_once_becomes_one_connection() {
    let [mut owner, mut second, mut third] = shards(addr);
    let frame = owner.frame_of(syn(9));
    second.now = second.now + Duration::from_millis(1);
    third.now = third.now + Duration::from_millis(2);
    let answers = [&mut owner, &mut second, &mut third].map(|raw| {
        raw.shard.on_handed_over(&[&frame], raw.now);
        raw.sent().remove(0)
    });
    let ack = syn(9).answer(&answers[0]);
    assert_eq!(come(&mut third, ack), [0, 1]);
    let frame = owner.frame_of(ack);
    for raw in [&mut second, &mut owner] {
        raw.shard.on_handed_over(&[&frame], raw.now);
    }
    for raw in [&mut owner, &mut second, &mut third] {
        assert!(raw.sent().is_empty());
    }
    assert_eq!((second.shard.flows(), third.shard.flows()), (0, 0));
    assert_eq!(owner.shard.census()[State::Established as usize], 1);
}

#[test]
fn syn_received_double_gives_way_to_a_segment_beyond_its_window() {
    let [mut owner, mut other] = shards(addr);
    let frame = owner.frame_of(syn(9));
    owner.open(9);
    other.shard.on_handed_over(&[&frame], other.now);
    other.sent();
    let far = Says { seq: syn(9).seq + 1_000_000, flags: ACK, text: b"later", ..syn(9) };
    hand_over(&mut other, &mut owner, far);
    assert_eq!((other.shard.flows(), owner.shard.flows()), (0, 1));
}

#[test]
fn syn_received_wrong_acknowledgment_of_the_only_entry_is_refused() {
    let [mut owner, _other] = shards(addr);
    let syn_ack = owner.answer(syn(9));
    let ack = syn(9).answer(&syn_ack);
    let wrong = Says { ack: ack.ack + 1, ..ack };
    assert!(come(&mut owner, wrong).is_empty());
    assert!(owner.sent().iter().all(|sent| sent.is(RST)));
    assert_eq!(owner.count(Counter::HalfOpenDoubles), 0);
    owner.hear(ack);
    assert_eq!(owner.shard.census()[State::Established as usize], 1);
}

/// Queues in the order of a table of 128, under a key of no meaning.
fn rss(families: Families) -> Rss {
    let key: Vec<u8> = (0..40).map(|n: u8| n.wrapping_mul(73).wrapping_add(41)).collect();
    let table: Vec<u16> = (0..128).map(|entry| entry % 4).collect();
    Rss::new(&key, &table, families).expect("long enough")
}

const BOTH: Families = Families { v4: true, v6: true };

fn open(shard: &mut Shard, remote: Addr) -> FourTuple {
    let (local, local_port) = (None, None);
    let settings = Vec::new();
    let open = Open { local, local_port, remote, remote_port: PORT, service: 0, settings, user: 0 };
    let id = shard.open(&open, Instant::ZERO).expect("a port is free");
    shard.look(id, Instant::ZERO, |conn| conn.tuple()).expect("it is there")
}

// CM-2.b.
#[test]
fn closed_open_chooses_a_port_whose_answers_come_home() {
    let rss = Arc::new(rss(BOTH));
    for addr in FAMILIES {
        let mut raw = Raw::new(|config| config.index = 2);
        raw.shard.set_rss(Arc::clone(&rss));
        for _ in 0..200 {
            let name = open(&mut raw.shard, addr(2));
            assert_eq!(rss.hash(&name) % 4, 2, "{name:?}");
        }
        assert_eq!((raw.count(Counter::PortsAtHome), raw.count(Counter::PortsAway)), (200, 0));
    }
}

#[test]
fn closed_open_takes_other_ports_when_those_that_come_home_are_taken() {
    let mut raw = Raw::new(|config| (config.index, config.local_ports) = (1, 40_000..=40_063));
    raw.shard.set_rss(Arc::new(rss(BOTH)));
    let mut ports: Vec<u16> = (0..64).map(|_| open(&mut raw.shard, addr(2)).local_port).collect();
    ports.sort_unstable();
    assert_eq!(ports, (40_000..=40_063).collect::<Vec<_>>());
    let (home, away) = (raw.count(Counter::PortsAtHome), raw.count(Counter::PortsAway));
    assert_eq!((home, away), (16, 48));
}

#[test]
fn closed_open_of_a_family_that_is_hashed_otherwise_counts_neither() {
    let mut raw = Raw::new(|_| {});
    raw.shard.set_rss(Arc::new(rss(Families { v6: false, ..BOTH })));
    open(&mut raw.shard, FAMILIES[1](2));
    assert_eq!((raw.count(Counter::PortsAtHome), raw.count(Counter::PortsAway)), (0, 0));
    open(&mut raw.shard, FAMILIES[0](2));
    assert_eq!(raw.count(Counter::PortsAtHome), 1);
}
