//! Faulty paths: loss, reordering, duplication, corruption, and all of them, by seeds.

use sluice::counters::Counter;
use sluice::time::Duration;

use crate::impairment::Impairment;
use crate::network::Fate;
use crate::path::Path;
use crate::peer::{Close, plans};
use crate::seed::{self, Rng};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn lossy(loss: f64, octets: u64, bound: Duration) {
    seed::each(10, |seed| {
        // Timeouts that have doubled often take longer than these states usually last.
        let mut path = Path::with(plans(octets, octets), Impairment::loss(loss), seed, |config| {
            config.tcp.fin_wait_2 = Duration::from_secs(500);
            config.tcp.time_wait = Duration::from_secs(500);
        });
        path.transfer(1, bound);
        path.assert_clean();
    });
}

#[test]
fn established_one_percent_loss_arrives_whole() {
    lossy(0.01, 1 << 20, Duration::from_secs(60));
}

#[test]
fn established_five_percent_loss_arrives_whole() {
    lossy(0.05, 512 << 10, Duration::from_secs(200));
}

#[test]
fn established_ten_percent_loss_arrives_whole() {
    lossy(0.1, 256 << 10, Duration::from_secs(600));
}

#[test]
fn established_thirty_percent_loss_arrives_whole() {
    lossy(0.3, 48 << 10, Duration::from_secs(3_600));
}

#[test]
fn established_one_lost_segment_is_repaired_within_a_round_trip() {
    // RFC 5681 3.2: three duplicate ACKs bring it back without a timeout.
    let mut path = Path::new(plans(1 << 20, 0), Impairment::default(), 1);
    let mut seen = 0;
    path.net.filter = Box::new(move |sight| {
        let is_data = sight.from == 0 && sight.segment.is_some_and(|s| s.payload.len() > 1_000);
        seen += u32::from(is_data);
        if is_data && seen == 200 { Fate::Drop } else { Fate::Carry }
    });
    path.transfer(1, Duration::from_secs(20));
    let sender = &path.net.nodes[0];
    assert_eq!(sender.count(Counter::FastRetransmits), 1);
    assert_eq!(sender.count(Counter::RetransmitTimeouts), 0);
    assert_eq!(sender.count(Counter::Retransmits), 1);
    path.assert_clean();
}

#[test]
fn established_lost_acks_hurt_nobody() {
    seed::each(5, |seed| {
        let mut path = Path::with(plans(1 << 20, 0), Impairment::default(), seed, |config| {
            config.tcp.fin_wait_2 = Duration::from_secs(500);
        });
        path.net.links[1].impairment.loss = 0.3;
        path.transfer(1, Duration::from_secs(600));
        path.assert_clean();
    });
}

#[test]
fn established_reordering_arrives_whole() {
    seed::each(10, |seed| {
        let impairment = Impairment { reorder: 0.2, lateness: ms(8), ..Impairment::default() };
        let mut path = Path::new(plans(1 << 20, 1 << 20), impairment, seed);
        path.transfer(1, Duration::from_secs(60));
        path.assert_clean();
    });
}

#[test]
fn established_duplicates_are_delivered_once() {
    seed::each(10, |seed| {
        let impairment = Impairment { duplicate: 0.5, ..Impairment::default() };
        let mut path = Path::new(plans(1 << 20, 1 << 20), impairment, seed);
        path.transfer(1, Duration::from_secs(60));
        path.assert_clean();
    });
}

#[test]
fn established_corruption_is_found_and_repaired() {
    seed::each(10, |seed| {
        let impairment = Impairment { corrupt: 0.02, ..Impairment::default() };
        let mut path = Path::new(plans(512 << 10, 512 << 10), impairment, seed);
        path.transfer(1, Duration::from_secs(200));
        assert!(path.net.nodes.iter().any(|node| node.count(Counter::DropChecksum) > 0));
        path.assert_clean();
    });
}

#[test]
fn established_outage_of_ten_seconds_is_survived() {
    let mut path = Path::new(plans(4 << 20, 4 << 20), Impairment::default(), 1);
    path.net.filter = Box::new(|sight| {
        let is_out = (200..10_200).contains(&sight.at.as_millis());
        if is_out { Fate::Drop } else { Fate::Carry }
    });
    path.transfer(1, Duration::from_secs(60));
    path.assert_clean();
}

/// Faults, sizes and manners of closing, all drawn from the seed.
fn anything(seed: u64) {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let mut part = |most: f64| (rng.below(1_000) as f64 / 1_000.0) * most;
    let impairment = Impairment {
        loss: part(0.1),
        reorder: part(0.3),
        duplicate: part(0.2),
        corrupt: part(0.02),
        ..Impairment::default()
    };
    let impairment = Impairment {
        delay: Duration::from_micros(10 + rng.below(100_000)),
        jitter: Duration::from_micros(rng.below(20_000)),
        lateness: Duration::from_micros(rng.below(50_000)),
        rate: [None, Some(1_000_000 + rng.below(100_000_000))][rng.below(2) as usize],
        mtu: 576 + rng.below(925) as usize,
        ..impairment
    };
    let size = |rng: &mut Rng| rng.next() >> (45 + rng.below(19));
    let mut plans = plans(size(&mut rng), size(&mut rng));
    for plan in &mut plans {
        plan.bite = [usize::MAX, 1 + rng.below(5_000) as usize][rng.below(2) as usize];
        plan.stall =
            [None, Some((rng.below(100_000), ms(rng.below(20_000))))][rng.below(2) as usize];
    }
    // A reader that stalls needs its timer for that; the others may close by it.
    if plans.iter().all(|plan| plan.stall.is_none()) && rng.chance(0.3) {
        plans[0].close = Close::After(ms(rng.below(3_000)));
        plans[1].close = Close::After(ms(rng.below(3_000)));
    } else if rng.chance(0.5) {
        plans[1].close = Close::AfterSending;
    }
    let mtu = impairment.mtu as u16;
    let count = 1 + rng.below(3) as usize;
    let mut path = Path::with(plans, impairment, seed, |config| config.mtu = mtu);
    path.transfer(count, Duration::from_secs(3_600));
    path.assert_clean();
}

#[test]
fn any_path_brings_every_octet_and_leaves_nothing() {
    seed::each(200, anything);
}
