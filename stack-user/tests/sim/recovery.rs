//! Loss, one fault at a time: what is sent again, how often, and how long it takes.
//!
//! Node 0 sends a mebibyte, 725 segments, over a path with a round trip of 20 ms. A fault is put on
//! a segment by its number in the stream.

use std::collections::HashMap;

use sluice::counters::Counter;
use sluice::tcp::congestion::Algorithm;
use sluice::time::Duration;

use crate::impairment::{Impairment, Strips};
use crate::network::{Fate, Filter};
use crate::path::Path;
use crate::peer::plans;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A filter over the segments with text of node 0: `decide` gets the number of the segment in the
/// stream, and how often it was sent before.
fn on_text(mut decide: impl FnMut(usize, u32) -> Fate + 'static) -> Filter {
    let mut seen = HashMap::new();
    Box::new(move |sight| match sight.segment {
        Some(segment) if sight.from == 0 && !segment.payload.is_empty() => {
            let next = seen.len();
            let (nth, times) = seen.entry(segment.seq).or_insert((next, 0));
            *times += 1;
            decide(*nth, *times - 1)
        }
        _ => Fate::Carry,
    })
}

/// What a transfer came to.
#[derive(Debug)]
struct Came {
    took: Duration,
    again: u64,
    timeouts: u64,
    fast: u64,
    dsacks: (u64, u64),
}

/// A transfer of a mebibyte with this filter.
fn transfer(impairment: Impairment, filter: Filter) -> Came {
    let mut path = Path::new(plans(1 << 20, 0), impairment, 1);
    path.net.filter = filter;
    let took = path.transfer(1, Duration::from_secs(60));
    let count = |node: usize, counter| path.net.nodes[node].count(counter);
    let came = Came {
        took,
        again: count(0, Counter::Retransmits),
        timeouts: count(0, Counter::RetransmitTimeouts),
        fast: count(0, Counter::FastRetransmits),
        dsacks: (count(1, Counter::DsacksOut), count(0, Counter::DsacksIn)),
    };
    path.assert_clean();
    came
}

fn without_sack() -> Impairment {
    let strips = Strips { sack: true, ..Strips::default() };
    Impairment { strips, ..Impairment::default() }
}

/// A path on which segments arrive one by one, 121 µs apart.
fn paced() -> Impairment {
    Impairment { rate: Some(100_000_000), queue: ms(500), ..Impairment::default() }
}

/// The time of a transfer without faults.
fn sound() -> Duration {
    transfer(Impairment::default(), Box::new(|_| Fate::Carry)).took
}

fn lose(range: core::ops::Range<usize>, times: u32) -> Filter {
    on_text(move |nth, sent| match range.contains(&nth) && sent < times {
        true => Fate::Drop,
        false => Fate::Carry,
    })
}

// RFC 6675 5, RFC 6582 3.2: one retransmission, no timeout, and a round trip or two.
#[test]
fn established_single_loss_costs_one_segment() {
    for path in [Impairment::default(), without_sack()] {
        let came = transfer(path, lose(200..201, 1));
        assert_eq!((came.again, came.timeouts, came.fast), (1, 0, 1), "{came:?}");
        assert!(came.took < sound() + ms(60), "{came:?}");
    }
}

// RFC 6675 5: a burst of losses in one window is repaired within some round trips; each segment goes
// again once.
#[test]
fn established_burst_loss_is_repaired_without_a_timeout() {
    let came = transfer(Impairment::default(), lose(200..220, 1));
    assert_eq!((came.again, came.timeouts, came.fast), (20, 0, 1), "{came:?}");
    assert!(came.took < sound() + ms(120), "{came:?}");
    // RFC 6582: without SACK one in each round trip.
    let came = transfer(without_sack(), lose(200..205, 1));
    assert_eq!((came.again, came.timeouts, came.fast), (5, 0, 1), "{came:?}");
}

// RFC 2018 8: what was SACKed does not go again after a timeout.
#[test]
fn established_lost_retransmission_costs_one_timeout() {
    let came = transfer(Impairment::default(), lose(200..201, 2));
    assert_eq!((came.again, came.timeouts), (2, 1), "{came:?}");
    assert!(came.took < sound() + ms(400), "{came:?}");
}

// An acknowledgment acknowledges all before it: those that are lost are not missed.
#[test]
fn established_every_second_ack_lost_sends_nothing_again() {
    let mut count = 0;
    let came = transfer(
        paced(),
        Box::new(move |sight| {
            let is_ack = sight.from == 1 && sight.segment.is_some_and(|s| s.sequence_len() == 0);
            count += u32::from(is_ack);
            if is_ack && count % 2 == 0 { Fate::Drop } else { Fate::Carry }
        }),
    );
    assert_eq!((came.again, came.timeouts), (0, 0), "{came:?}");
}

fn overtaken(micros: u64) -> Came {
    let late = Fate::Late(Duration::from_micros(micros));
    transfer(paced(), on_text(move |nth, _| if nth == 320 { late } else { Fate::Carry }))
}

// RFC 5681 3.2: less than three segments that overtake one are no loss.
#[test]
fn established_reordering_below_three_is_no_loss() {
    let came = overtaken(2 * 121 + 60);
    assert_eq!((came.again, came.fast, came.timeouts), (0, 0, 0), "{came:?}");
}

// Three are taken for one; the retransmission is in vain, and the peer says so (RFC 2883, 4.1).
#[test]
fn established_reordering_above_three_is_reported_as_a_duplicate() {
    let came = overtaken(5 * 121);
    assert_eq!((came.again, came.fast, came.timeouts), (1, 1, 0), "{came:?}");
    assert_eq!(came.dsacks, (1, 1), "{came:?}");
}

// RFC 2883 4: a segment that the path doubled is reported, and is no hole.
#[test]
fn established_duplicate_of_the_path_is_reported_and_harmless() {
    let came =
        transfer(paced(), on_text(|nth, _| if nth == 200 { Fate::Twice } else { Fate::Carry }));
    assert_eq!((came.again, came.fast, came.dsacks), (0, 0, (1, 1)), "{came:?}");
}

// RFC 6298 5: a lost tail has nothing behind it that could tell; the timer brings it back.
#[test]
fn established_tail_loss_costs_one_timeout() {
    // As many octets as 724 segments of IPv4 carry, with timestamps, and some more.
    let last = 724 * 1_448 / (1_488 - crate::FAMILY.headers());
    let came = transfer(Impairment::default(), lose(last..last + 1, 1));
    assert_eq!((came.again, came.timeouts), (1, 1), "{came:?}");
    assert!(came.took < sound() + ms(300), "{came:?}");
}

// RFC 6298 3: an outage that loses acknowledgments alone leaves the estimate what it was: what is
// lost afterwards is found in the usual time.
#[test]
fn established_outage_of_acks_does_not_stretch_the_timeout() {
    let outage = |from: usize, at: sluice::time::Instant| {
        from == 1 && (200..20_000).contains(&at.as_millis())
    };
    let mut path = Path::with(plans(16 << 20, 0), paced(), 1, |_| {});
    let mut tail = lose(11_500..11_540, 3);
    path.net.filter = Box::new(move |sight| match outage(sight.from, sight.at) {
        true => Fate::Drop,
        false => tail(sight),
    });
    let took = path.transfer(1, Duration::from_secs(120));
    // The last timeout of the outage waits for up to 26 s. A sample of the outage's length would
    // make the losses after it cost a minute each.
    assert!(took < Duration::from_secs(45), "{took:?}");
    path.assert_clean();
}

// Both algorithms keep a bottleneck with a short queue busy.
#[test]
fn established_bottleneck_with_a_short_queue_is_kept_busy() {
    for algorithm in [Algorithm::NewReno, Algorithm::Cubic] {
        let queue = ms(40);
        let impairment = Impairment { rate: Some(20_000_000), queue, ..Impairment::default() };
        let mut path = Path::with(plans(8 << 20, 0), impairment, 1, |config| {
            config.tcp.congestion = algorithm;
        });
        let took = path.transfer(1, Duration::from_secs(30));
        // 3.5 s at the full rate, headers included.
        assert!(took < ms(4_600), "{algorithm:?} {took:?}");
        assert_eq!(path.net.nodes[0].count(Counter::RetransmitTimeouts), 0, "{algorithm:?}");
        path.assert_clean();
    }
}
