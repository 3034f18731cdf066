//! Each bounded table is flooded: its counter tells, memory stays within the bound, and somebody
//! else's connection gets through afterwards.

mod ground;

use std::net::Ipv4Addr;

use sluice::counters::Counter;
use sluice::shard::{LocalAddr, Open};
use sluice::tcp::{State, SynCookies};
use sluice::time::Duration;
use sluice::wire::tcp::Flags;

use self::ground::arp_request;
use self::ground::{BACKLOG, DISCARD, Ground, HOARD, NOBODY, ON_CALL, SPOUT, Spoken, Stranger};
use crate::node::addr;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn syn(n: u32, port: u16) -> Vec<u8> {
    Spoken { from: Stranger::nth(n), port, seq: n, ack: 0, window: 0xffff }.segment(Flags::SYN, &[])
}

#[test]
fn half_open_table_is_bounded_and_recovers() {
    let mut ground = Ground::new(|config| {
        config.limits.half_open = 32;
        config.tcp.syn_cookies = SynCookies::Never;
    });
    for n in 0..1_000 {
        ground.attack(&[syn(n, DISCARD)]);
        assert!(ground.victim().in_state(State::SynReceived) <= 32);
    }
    assert_eq!(ground.victim().in_state(State::SynReceived), 32);
    assert_eq!(ground.count(Counter::HalfOpenFull), 1_000 - 32);
    ground.net.run_for(secs(64));
    assert_eq!(ground.victim().in_state(State::SynReceived), 0);
    ground.serve();
}

#[test]
fn half_open_table_full_is_got_past_by_cookies() {
    let mut ground = Ground::new(|config| config.limits.half_open = 32);
    let flood: Vec<_> = (0..1_000).map(|n| syn(n, DISCARD)).collect();
    ground.attack(&flood);
    assert_eq!(ground.victim().in_state(State::SynReceived), 32);
    assert_eq!(ground.count(Counter::CookiesSent), 1_000 - 32);
    ground.serve();
    assert!(ground.count(Counter::CookiesReceived) > 0);
}

// A listener's own SYN queue is full; the others take connections as before.
#[test]
fn syn_queue_of_one_listener_is_bounded_alone() {
    let mut ground = Ground::new(|config| config.tcp.syn_cookies = SynCookies::Never);
    let flood: Vec<_> = (0..500).map(|n| syn(n, ON_CALL)).collect();
    ground.attack(&flood);
    assert_eq!(ground.victim().in_state(State::SynReceived), BACKLOG);
    assert_eq!(ground.count(Counter::SynQueueFull), 500 - u64::from(BACKLOG));
    assert_eq!(ground.count(Counter::HalfOpenFull), 0);
    ground.serve();
}

#[test]
fn accept_queue_is_bounded_and_recovers() {
    let mut ground = Ground::new(|_| {});
    let opened = (0..100).filter(|n| ground.open(Stranger::nth(*n), ON_CALL).is_some()).count();
    let on_call = ground.on_call;
    assert_eq!(ground.victim().shard.waiting(on_call), BACKLOG as usize + 1);
    assert!(opened < 100 && ground.count(Counter::AcceptQueueFull) > 0);
    ground.serve();
    let now = ground.net.now;
    while ground.victim().shard.accept(on_call, now).is_some() {}
    assert_eq!(ground.victim().shard.waiting(on_call), 0);
    assert!(ground.open(Stranger::nth(5_000), ON_CALL).is_some());
}

#[test]
fn connections_are_bounded_and_their_end_makes_room() {
    let mut ground = Ground::new(|config| config.limits.connections = 24);
    let mut opened: Vec<Spoken> = Vec::new();
    for n in 0..200 {
        opened.extend(ground.open(Stranger::nth(n), DISCARD));
        assert!(ground.victim().in_state(State::Established) <= 24);
    }
    assert_eq!(ground.victim().in_state(State::Established), 24);
    assert!(ground.count(Counter::TableFull) + ground.count(Counter::AcceptQueueFull) > 0);
    let resets: Vec<_> = opened.iter().map(|spoken| spoken.segment(Flags::RST, &[])).collect();
    ground.attack(&resets);
    ground.net.run_for(secs(64));
    assert_eq!(ground.victim().in_state(State::Established), 0);
    ground.serve();
}

#[test]
fn time_wait_is_bounded_and_nobody_waits_for_it() {
    let mut ground = Ground::new(|config| config.limits.time_wait = 16);
    for n in 0..100 {
        let mut spoken = ground.open(Stranger::nth(n), DISCARD).expect("there is room");
        // The victim closes second, so that its side is LAST-ACK: no record; then first, by RST of
        // nobody: each close order in turn.
        ground.attack(&[spoken.segment(Flags::FIN.union(Flags::ACK), &[])]);
        spoken.seq += 1;
        spoken.ack += 1;
        ground.attack(&[spoken.segment(Flags::ACK, &[])]);
    }
    for _ in 0..40 {
        // Node 0 closes first, in its own name: the records are node 0's, whose bound is larger.
        ground.serve();
    }
    assert!(ground.victim().in_state(State::TimeWait) <= 16);
    ground.serve();
}

#[test]
fn neighbours_that_nobody_uses_give_way() {
    let mut ground = Ground::new(|config| config.limits.neighbours = 8);
    let host = |n: u8| Ipv4Addr::new(10, 0, 0, 20 + n);
    let flood: Vec<_> = (0..200).map(|n| arp_request(host(n))).collect();
    ground.attack(&flood);
    ground.serve();
}

#[test]
fn neighbours_in_use_are_bounded_and_given_up() {
    let mut ground = Ground::new(|config| config.limits.neighbours = 8);
    let now = ground.net.now;
    for n in 20..60 {
        ground.victim().connect(n, DISCARD, now);
    }
    ground.net.poke(1);
    assert_eq!(ground.count(Counter::NeighboursFull), 40 - 8);
    assert_eq!(ground.victim().in_state(State::SynSent), 8);
    ground.net.run_for(secs(5));
    assert_eq!(ground.victim().in_state(State::SynSent), 0);
    ground.serve();
}

#[test]
fn replies_are_bounded_when_nothing_can_be_sent() {
    let mut ground = Ground::new(|config| {
        config.limits.replies = 16;
        config.limits.resets_per_second = u32::MAX;
    });
    ground.victim().set_slots(0);
    let flood: Vec<_> = (0..500).map(|n| syn(n, NOBODY)).collect();
    assert!(ground.attack(&flood).is_empty());
    assert_eq!(ground.count(Counter::RepliesDropped), 500 - 16);
    ground.victim().set_slots(48);
    let now = ground.net.now;
    assert_eq!(ground.victim().turn(&[], now).len(), 16);
    ground.serve();
}

#[test]
fn resets_have_a_budget_of_a_second() {
    let mut ground = Ground::new(|config| config.limits.resets_per_second = 50);
    let flood: Vec<_> = (0..500).map(|n| syn(n, NOBODY)).collect();
    assert_eq!(ground.attack(&flood).len(), 50);
    assert_eq!(ground.count(Counter::ResetsLimited), 450);
    ground.net.run_for(secs(1));
    assert_eq!(ground.attack(&flood[..60]).len(), 50);
    ground.serve();
}

// CVE-2016-5696: the budget is the connection's own.
#[test]
fn challenge_acks_have_a_budget_of_each_connection() {
    let mut ground = Ground::new(|_| {});
    let spoken: Vec<_> =
        (0..2).map(|n| ground.open(Stranger::nth(n), DISCARD).expect("there is room")).collect();
    for (one, before) in spoken.iter().zip([0, 10]) {
        let flood: Vec<_> =
            (0..300).map(|_| one.segment_at(one.seq + 7, Flags::RST, &[])).collect();
        assert_eq!(ground.attack(&flood).len(), 10);
        assert_eq!(ground.count(Counter::ChallengeAcks), before + 10);
    }
    assert_eq!(ground.count(Counter::ChallengeAcksLimited), 2 * 290);
    ground.serve();
}

#[test]
fn ranges_out_of_order_are_bounded() {
    let mut ground = Ground::new(|_| {});
    let spoken = ground.open(Stranger::nth(1), DISCARD).expect("there is room");
    let flood: Vec<_> =
        (1..2_000).map(|n| spoken.segment_at(spoken.seq + 2 * n, Flags::ACK, &[n as u8])).collect();
    ground.attack(&flood);
    assert!(ground.count(Counter::OutOfOrderDropped) > 1_000);
    let used = ground.victim().shard.buffered();
    assert!(used <= 64 * 4_096, "{used} octets are kept");
    ground.serve();
}

// The worst order for a list of chunks: each octet comes before the one that came last.
#[test]
fn octets_in_reverse_take_little_more_room_than_they_have() {
    let mut ground = Ground::new(|_| {});
    let spoken = ground.open(Stranger::nth(1), DISCARD).expect("there is room");
    let flood: Vec<_> = (1..8_000)
        .rev()
        .map(|n| spoken.segment_at(spoken.seq + n, Flags::ACK, &[n as u8]))
        .collect();
    ground.attack(&flood);
    let used = ground.victim().shard.buffered();
    assert!(used <= 8 * 4_096, "{used} octets are kept for 8000");
    ground.serve();
}

/// Opens that many connections.
fn open_all(ground: &mut Ground, count: u32, port: u16) -> Vec<Spoken> {
    (0..count).map(|n| ground.open(Stranger::nth(n), port).expect("there is room")).collect()
}

fn reset_all(ground: &mut Ground, spoken: &[Spoken]) {
    let resets: Vec<_> = spoken.iter().map(|one| one.segment(Flags::RST, &[])).collect();
    ground.attack(&resets);
}

// Early text may take a quarter of the pool, text that nobody reads half of it.
#[test]
fn pool_of_receivers_is_bounded_by_its_marks() {
    let mut ground = Ground::new(|config| config.limits.buffers = POOL);
    let mut spoken = open_all(&mut ground, 32, HOARD);
    for one in &mut spoken {
        let text = [7; 1_460];
        let flood: Vec<_> =
            (1..40).map(|n| one.segment_at(one.seq + n * 1_460, Flags::ACK, &text)).collect();
        ground.attack(&flood);
        let used = ground.victim().shard.buffered();
        assert!(used <= POOL / 4 + SLACK, "{used} octets of early text");
    }
    assert!(ground.count(Counter::OutOfOrderDropped) > 0);
    for one in &mut spoken {
        for _ in 0..40 {
            let segment = one.segment(Flags::ACK, &[7; 1_460]);
            let answers = ground.attack(&[segment]);
            one.seq = answers.last().map_or(one.seq + 1_460, |answer| answer.ack);
        }
        let used = ground.victim().shard.buffered();
        assert!(used <= POOL / 2 + SLACK, "{used} octets of unread text");
    }
    assert!(ground.count(Counter::PoolExhausted) > 0);
    reset_all(&mut ground, &spoken);
    ground.net.run_for(secs(1_200));
    ground.serve();
}

// Peers whose windows are closed hold what is to be sent: they are reset when there is no room left.
#[test]
fn pool_of_senders_is_bounded_and_taken_back_from_closed_windows() {
    let mut ground = Ground::new(|config| {
        config.limits.buffers = POOL;
        config.tcp.retries = 100;
    });
    let spoken = open_all(&mut ground, 32, SPOUT);
    for one in &spoken {
        let closed = Spoken { window: 0, ..*one };
        ground.attack(&[closed.segment(Flags::ACK, &[])]);
    }
    assert!(ground.victim().shard.buffered() <= POOL / 2 + SLACK);
    ground.net.run_for(secs(120));
    assert!(ground.count(Counter::AbortsOnMemory) > 0);
    // Those that wait take the room that the first leave, and have their minute too.
    ground.net.run_for(secs(300));
    assert!(ground.count(Counter::AbortsOnMemory) >= 24);
    ground.serve();
}

// Connections that were closed for good, and whose peers never say anything more.
#[test]
fn orphans_are_bounded() {
    let mut ground = Ground::new(|config| config.limits.orphans = 10);
    let spoken = open_all(&mut ground, 50, DISCARD);
    for one in &spoken {
        // The service answers the FIN by closing for good; its own FIN is never acknowledged.
        ground.attack(&[one.segment(Flags::FIN.union(Flags::ACK), &[])]);
        let orphans = ground.victim().shard.orphans();
        assert!(orphans <= 10, "{orphans}");
    }
    assert_eq!(ground.count(Counter::AbortsOnMemory), 40);
    ground.net.run_for(secs(1_200));
    assert_eq!(ground.victim().shard.orphans(), 0);
    ground.serve();
}

#[test]
fn requests_to_the_kernel_are_bounded() {
    let shared = addr(3);
    let mut ground = Ground::new(|config| {
        config.limits.replies = 16;
        config.addrs.push(LocalAddr { addr: shared, is_owned: false });
    });
    let now = ground.net.now;
    for n in 20..80 {
        let open = Open {
            local: Some(shared),
            local_port: None,
            remote: addr(n),
            remote_port: DISCARD,
            service: 1,
            settings: Vec::new(),
            user: 0,
        };
        ground.victim().shard.open(&open, now).expect("there is room");
        ground.net.poke(1);
    }
    let mut asked = 0;
    while ground.victim().shard.poll_request().is_some() {
        asked += 1;
    }
    assert_eq!((asked, ground.count(Counter::RequestsDropped)), (16, 60 - 16));
    ground.net.run_for(secs(10));
    ground.serve();
}

/// The least pool.
const POOL: usize = 1 << 20;
/// What one segment may take beyond a mark.
const SLACK: usize = 32 * 4_096;
