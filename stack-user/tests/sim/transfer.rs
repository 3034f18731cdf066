//! Bulk data over sound paths: every octet, at the path's pace, and nothing sent twice.

use std::sync::{Arc, OnceLock};

use sluice::counters::Counter;
use sluice::time::Duration;

use crate::impairment::Impairment;
use crate::network::Fate;
use crate::node::Node;
use crate::path::Path;
use crate::peer::{Close, plans};
use crate::seed;

const MIB: u64 = 1 << 20;

fn retransmits(nodes: &[Node; 2]) -> u64 {
    nodes.iter().map(|node| node.count(Counter::Retransmits)).sum()
}

#[test]
fn established_bulk_both_ways_at_once_arrives_whole() {
    let mut path = Path::new(plans(8 * MIB, 8 * MIB), Impairment::default(), 1);
    path.transfer(1, Duration::from_secs(20));
    assert_eq!(retransmits(&path.net.nodes), 0);
    path.assert_clean();
}

#[test]
fn established_one_way_bulk_each_way() {
    for (there, back) in [(8 * MIB, 0), (0, 8 * MIB)] {
        let mut path = Path::new(plans(there, back), Impairment::default(), 1);
        path.transfer(1, Duration::from_secs(20));
        assert_eq!(retransmits(&path.net.nodes), 0);
        path.assert_clean();
    }
}

#[test]
fn established_sizes_around_the_edges_arrive_whole() {
    for size in [1, 2, 1447, 1448, 1449, 2895, 2896, 4096, 14_480, 65_535, 65_536, 65_537] {
        let mut path = Path::new(plans(size, size), Impairment::default(), size);
        path.transfer(1, Duration::from_secs(5));
        path.assert_clean();
    }
}

#[test]
fn established_rate_limited_path_is_filled() {
    let impairment = Impairment {
        rate: Some(50_000_000),
        queue: Duration::from_secs(2),
        ..Impairment::default()
    };
    let mut path = Path::new(plans(8 * MIB, 0), impairment, 1);
    let took = path.transfer(1, Duration::from_secs(10));
    // 8 MiB at 50 Mbit/s take 1.4 s with headers; twice that is a fault.
    assert!(took < Duration::from_millis(2_800), "{took:?}");
    assert_eq!(retransmits(&path.net.nodes), 0);
    path.assert_clean();
}

#[test]
fn established_short_queue_drops_and_recovers() {
    let impairment = Impairment {
        rate: Some(20_000_000),
        queue: Duration::from_millis(20),
        ..Impairment::default()
    };
    let mut path = Path::new(plans(4 * MIB, 0), impairment, 1);
    let took = path.transfer(1, Duration::from_secs(60));
    // 1.8 s at the full rate.
    assert!(took < Duration::from_secs(6), "{took:?}");
    path.assert_clean();
}

#[test]
fn established_jitter_is_no_loss() {
    let impairment = Impairment { jitter: Duration::from_millis(20), ..Impairment::default() };
    let mut path = Path::new(plans(2 * MIB, 2 * MIB), impairment, 1);
    path.transfer(1, Duration::from_secs(30));
    assert_eq!(retransmits(&path.net.nodes), 0);
    path.assert_clean();
}

#[test]
fn established_lan_delay_arrives_whole() {
    let impairment = Impairment::delay(Duration::from_micros(20));
    let mut path = Path::new(plans(16 * MIB, 16 * MIB), impairment, 1);
    path.transfer(1, Duration::from_secs(5));
    assert_eq!(retransmits(&path.net.nodes), 0);
    path.assert_clean();
}

// RFC 9293 3.7.1 and 3.7.3 (MUST-16, MUST-67, SHLD-6), CM-4.a.
#[test]
fn established_small_mtu_cuts_segments_to_it() {
    let impairment = Impairment { mtu: 576, ..Impairment::default() };
    let mut path = Path::with(plans(MIB, MIB), impairment, 1, |config| config.mtu = 576);
    path.transfer(1, Duration::from_secs(10));
    assert_eq!(path.net.links.each_ref().map(|link| link.lost), [0, 0]);
    path.assert_clean();
}

#[test]
fn established_peer_with_the_smaller_mtu_decides() {
    // The MSS option of one end binds the other (RFC 9293 3.7.1: MUST-15).
    let impairment = Impairment { mtu: 1_000, ..Impairment::default() };
    let mut path = Path::with(plans(MIB, MIB), impairment, 1, |config| {
        if config.mac.0[5] == 2 {
            config.mtu = 1_000;
        }
    });
    path.transfer(1, Duration::from_secs(10));
    assert_eq!(path.net.links.each_ref().map(|link| link.lost), [0, 0]);
    path.assert_clean();
}

#[test]
fn established_reader_of_small_bites_gets_everything() {
    let mut plans = plans(200_000, 100_000);
    plans[0].bite = 1;
    plans[1].bite = 777;
    let mut path = Path::new(plans, Impairment::default(), 1);
    path.transfer(1, Duration::from_secs(10));
    path.assert_clean();
}

#[test]
fn established_many_transfers_share_the_path() {
    let impairment = Impairment { rate: Some(200_000_000), ..Impairment::default() };
    let mut path = Path::new(plans(MIB / 2, MIB / 4), impairment, 1);
    path.transfer(40, Duration::from_secs(60));
    path.assert_clean();
}

#[test]
fn established_idle_connection_sends_nothing_and_still_works() {
    let mut plans = plans(1_000, 1_000);
    plans[0].close = Close::After(Duration::from_secs(7_000));
    let mut path = Path::new(plans, Impairment::default(), 1);
    path.net.connect();
    path.net.run_for(Duration::from_secs(10));
    let before = path.net.nodes.each_ref().map(|node| node.count(Counter::SegmentsOut));
    path.net.run_for(Duration::from_secs(6_000));
    let after = path.net.nodes.each_ref().map(|node| node.count(Counter::SegmentsOut));
    assert_eq!(before, after);
    path.net.run_for(Duration::from_secs(2_000));
    path.assert_complete();
    path.assert_clean();
}

// RFC 9293 3.4: sequence numbers wrap. The ISN follows a clock that makes 2^24 ticks in 64 s (RFC 6528),
// so a later start moves it to where they do so in the transfer.
#[test]
fn established_sequence_numbers_wrap_in_either_direction() {
    seed::each(10, |seed| {
        for node in [0, 1] {
            let (iss, _) = transfer_from(Duration::ZERO, node, seed);
            let before = 1 + 20_000 * seed as u32 % 200_000;
            let ticks = 0u32.wrapping_sub(before).wrapping_sub(iss);
            let nanos = (u128::from(ticks) * 64_000_000_000) >> 24;
            let (iss, path) = transfer_from(Duration::from_nanos(nanos as u64), node, seed);
            assert!(iss > u32::MAX - 300_000, "{iss}");
            assert_eq!(retransmits(&path.net.nodes), 0);
        }
    });
}

/// A transfer that begins `later`, and the ISN of `node`.
fn transfer_from(later: Duration, node: usize, seed: u64) -> (u32, Path) {
    let mut path = Path::new(plans(500_000, 500_000), Impairment::default(), seed);
    let first = Arc::new(OnceLock::new());
    let seen = Arc::clone(&first);
    path.net.filter = Box::new(move |sight| {
        if sight.from == node
            && let Some(segment) = sight.segment
        {
            seen.get_or_init(|| segment.seq);
        }
        Fate::Carry
    });
    path.net.now = path.net.now + later;
    path.transfer(1, Duration::from_secs(10));
    path.assert_clean();
    (*first.get().expect("a SYN was sent"), path)
}
