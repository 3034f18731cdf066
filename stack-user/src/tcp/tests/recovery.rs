//! Loss and its repair: SACK, NewReno, timeouts, and the windows meanwhile.
//!
//! Scenes are told in segments of the MSS: the peer acknowledges `n` of them, or reports from `a` to
//! before `b` by SACK. The round trip is 100 ms where nothing else is said.

use super::*;
use crate::time::Duration;

pub(super) const N: u32 = MSS as u32;

/// The number of the first octet of segment `n`.
pub(super) fn at(n: u32) -> u32 {
    ISS + 1 + n * N
}

pub(super) fn wait(bench: &mut Bench, millis: u64) {
    bench.now = bench.now + Duration::from_millis(millis);
}

/// The peer acknowledges `n` segments and reports `blocks`.
pub(super) fn ack(bench: &mut Bench, n: u32, blocks: &[(u32, u32)]) {
    let sack = blocks.iter().map(|block| (at(block.0), at(block.1))).collect();
    bench.arrive(Segment {
        options: Options { sack, ..Options::NONE },
        ..segment(IRS + 1, at(n), ACK, &[])
    });
}

/// Which segments are sent now, by their numbers.
pub(super) fn goes(bench: &mut Bench) -> Vec<u32> {
    let sent = bench.sent();
    sent.iter().filter(|sent| !sent.text.is_empty()).map(|sent| (sent.seq - at(0)) / N).collect()
}

/// An open connection with a round trip of 100 ms that has `queued` segments to send, of which ten
/// are out.
pub(super) fn loaded(mut bench: Bench, queued: u32) -> Bench {
    bench.send(&vec![7; (queued * N) as usize]);
    assert_eq!(goes(&mut bench).len() as u32, queued.min(10));
    wait(&mut bench, 100);
    bench
}

pub(super) fn with_sack(queued: u32) -> Bench {
    loaded(slow(Options { sack_permitted: true, ..Options::NONE }), queued)
}

pub(super) fn without_sack(queued: u32) -> Bench {
    loaded(slow(Options::NONE), queued)
}

/// An open connection whose handshake took 100 ms.
pub(super) fn slow(options: Options) -> Bench {
    let mut bench = Bench::opening();
    bench.sent();
    wait(&mut bench, 100);
    let options = Options { mss: Some(MSS), ..options };
    bench.arrive(Segment { options, ..segment(IRS, ISS + 1, SYN.union(ACK), &[]) });
    bench.sent();
    bench
}

pub(super) fn info(bench: &Bench) -> Info {
    bench.tcb.info(bench.now)
}

// linux/tcp.h: where no text has come the time runs from the handshake.
#[test]
fn established_times_since_text_run_from_the_handshake() {
    let mut bench = Bench::open();
    wait(&mut bench, 1000);
    let times = |bench: &Bench| {
        let info = info(bench);
        [info.last_data_recv, info.last_data_sent].map(|time| time.as_millis())
    };
    assert_eq!(times(&bench), [1000, 1000]);
    bench.arrive(segment(IRS + 1, ISS + 1, ACK, b"text"));
    wait(&mut bench, 10);
    assert_eq!(times(&bench), [10, 1010]);
}

pub(super) fn reno(mut bench: Bench) -> Bench {
    bench.tcb.set_congestion(congestion::Algorithm::NewReno);
    bench
}

// RFC 3042, and RFC 6675 5 (3): one new segment for each of the first two.
#[test]
fn established_first_duplicates_let_new_segments_out() {
    for (mut bench, has_sack) in [(with_sack(15), true), (without_sack(15), false)] {
        for n in 1..=2 {
            let sacked = [(1, n + 1)];
            ack(&mut bench, 0, if has_sack { &sacked } else { &[] });
            assert_eq!(goes(&mut bench), [9 + n]);
            assert_eq!((info(&bench).ca_state, info(&bench).sacked), (CaState::Disorder, n));
            wait(&mut bench, 10);
        }
        // It was reordering: one of the three is new, and slow start goes on.
        ack(&mut bench, 3, &[]);
        assert_eq!(goes(&mut bench), [12, 13]);
        let told = info(&bench);
        assert_eq!((told.cwnd, told.ca_state, told.sacked), (11, CaState::Open, 0));
        assert_eq!((told.total_retrans, bench.counters[Counter::FastRetransmits]), (0, 0));
    }
}

// RFC 6675 5, RFC 6937 (CM-4.c): recovery begins with the third, the window falls to seven tenths, and from
// there each segment delivered lets one out.
#[test]
fn recovery_of_one_segment_sends_one_for_each_delivered() {
    let mut bench = with_sack(10);
    for n in 2..=3 {
        ack(&mut bench, 0, &[(1, n)]);
        assert!(goes(&mut bench).is_empty());
    }
    ack(&mut bench, 0, &[(1, 4)]);
    assert_eq!(goes(&mut bench), [0]);
    let told = info(&bench);
    assert_eq!((told.ca_state, told.cwnd, told.ssthresh), (CaState::Recovery, 7, Some(7)));
    assert_eq!((told.unacked, told.sacked, told.lost, told.retrans), (10, 3, 1, 1));
    bench.send(&vec![7; 7 * N as usize]);
    assert!(goes(&mut bench).is_empty());
    for n in 5..=10 {
        ack(&mut bench, 0, &[(1, n)]);
        assert_eq!(goes(&mut bench), [5 + n]);
    }
    ack(&mut bench, 10, &[]);
    assert_eq!(goes(&mut bench), [16]);
    let told = info(&bench);
    assert_eq!((told.ca_state, told.cwnd, told.ssthresh), (CaState::Open, 7, Some(7)));
    assert_eq!((told.total_retrans, told.sacked, told.lost, told.retrans), (1, 0, 0, 0));
    assert!(bench.tcb.recovery.is_none(), "nothing is kept");
}

// RFC 6675 5 (2): one acknowledgment that reports three segments above a hole is enough.
#[test]
fn recovery_begins_with_one_sack_of_three_segments() {
    let mut bench = with_sack(10);
    ack(&mut bench, 0, &[(4, 7)]);
    // RFC 6675 4, IsLost: the four below, and none above.
    assert_eq!(info(&bench).lost, 4);
    assert_eq!(goes(&mut bench)[0], 0);
}

// RFC 6675 4, NextSeg rule 1, and RFC 6937: a burst is repaired in its order, at the pace at which
// the rest is delivered.
#[test]
fn recovery_of_a_burst_repairs_each_segment_once() {
    let mut bench = with_sack(10);
    for n in 5..=6 {
        ack(&mut bench, 0, &[(4, n)]);
        assert!(goes(&mut bench).is_empty());
    }
    for n in 7..=10 {
        ack(&mut bench, 0, &[(4, n)]);
        assert_eq!(goes(&mut bench), [n - 7]);
    }
    wait(&mut bench, 100);
    for n in 1..=3 {
        ack(&mut bench, n, &[(4, 10)]);
        assert!(goes(&mut bench).is_empty(), "nothing goes twice");
    }
    ack(&mut bench, 10, &[]);
    bench.send(&vec![7; 10 * N as usize]);
    assert_eq!(goes(&mut bench).len(), 7);
    assert_eq!(info(&bench).total_retrans, 4);
}

// RFC 2018 8 and RFC 6675 5.1: after a timeout what was SACKed is not sent again, and the holes go
// by slow start.
#[test]
fn loss_after_a_timeout_repairs_the_holes_alone() {
    let mut bench = with_sack(10);
    ack(&mut bench, 0, &[(3, 4)]);
    ack(&mut bench, 0, &[(3, 4), (6, 7)]);
    assert!(goes(&mut bench).is_empty());
    // RTO = SRTT + max(4 RTTVAR, 200 ms), from the last transmission.
    assert_eq!(bench.wait(), 200);
    assert_eq!(goes(&mut bench), [0]);
    let told = info(&bench);
    assert_eq!((told.ca_state, told.cwnd, told.ssthresh), (CaState::Loss, 1, Some(7)));
    assert_eq!((told.sacked, told.lost, told.retrans), (2, 8, 1));
    wait(&mut bench, 100);
    ack(&mut bench, 1, &[(3, 4), (6, 7)]);
    assert_eq!(goes(&mut bench), [1, 2]);
    wait(&mut bench, 100);
    ack(&mut bench, 4, &[(6, 7)]);
    assert_eq!(goes(&mut bench), [4, 5, 7, 8]);
    ack(&mut bench, 8, &[]);
    assert_eq!(goes(&mut bench), [9]);
    ack(&mut bench, 10, &[]);
    let told = info(&bench);
    assert_eq!((told.ca_state, told.total_retrans, told.retransmits), (CaState::Open, 8, 0));
}

// RFC 2018 8: a receiver that acknowledges up to a segment that it had reported has dropped it.
#[test]
fn loss_of_what_was_sacked_is_noticed_and_everything_goes_again() {
    let mut bench = with_sack(10);
    ack(&mut bench, 0, &[(1, 10)]);
    assert_eq!(goes(&mut bench), [0]);
    wait(&mut bench, 100);
    ack(&mut bench, 1, &[]);
    assert!(goes(&mut bench).is_empty());
    // The rest of its acknowledgments may be on the way: half of a round trip.
    assert_eq!(bench.wait(), 50);
    assert_eq!(goes(&mut bench), [1]);
    assert_eq!((info(&bench).sacked, info(&bench).lost), (0, 9));
    assert_eq!(bench.counters[Counter::SackReneges], 1);
    wait(&mut bench, 100);
    for n in 2..=10 {
        ack(&mut bench, n, &[]);
        goes(&mut bench);
    }
    assert_eq!((info(&bench).unacked, bench.pool.used()), (0, 0));
}

// RFC 6675 5: a retransmission that is lost too is found by the timer, and the segments that were
// repaired meanwhile are not sent again.
#[test]
fn recovery_lost_retransmission_is_found_by_the_timer() {
    let mut bench = with_sack(10);
    ack(&mut bench, 0, &[(1, 10)]);
    assert_eq!(goes(&mut bench), [0]);
    let ssthresh = info(&bench).ssthresh;
    assert_eq!(bench.wait(), 300);
    assert_eq!(goes(&mut bench), [0]);
    let told = info(&bench);
    assert_eq!((told.ca_state, told.lost, told.retrans), (CaState::Loss, 1, 1));
    // RFC 5681 3.1: the threshold falls once for a flight.
    assert_eq!(told.ssthresh, ssthresh);
    ack(&mut bench, 10, &[]);
    assert_eq!(info(&bench).total_retrans, 2);
}

// RFC 6675 4, NextSeg rule 3: with nothing new to send, a hole that is not certainly lost goes too.
#[test]
fn recovery_with_room_repairs_what_may_be_lost() {
    let mut bench = with_sack(10);
    ack(&mut bench, 0, &[(1, 4)]);
    assert_eq!(goes(&mut bench), [0]);
    ack(&mut bench, 0, &[(1, 4), (5, 7), (8, 9)]);
    // 4 has three above it, 7 has one.
    assert_eq!(info(&bench).lost, 2);
    assert_eq!(goes(&mut bench), [4, 7]);
}

// RFC 6675 4, NextSeg rule 4: once in a recovery, and only after the first hole is filled, the last
// segment goes again, so that a lost tail makes itself known.
#[test]
fn recovery_with_a_lost_tail_is_rescued_once() {
    let mut bench = with_sack(10);
    ack(&mut bench, 0, &[(1, 4), (5, 8)]);
    assert_eq!(goes(&mut bench), [0, 4]);
    ack(&mut bench, 0, &[(1, 4), (5, 8)]);
    assert!(goes(&mut bench).is_empty(), "not before the first hole is filled");
    wait(&mut bench, 100);
    ack(&mut bench, 4, &[(5, 8)]);
    assert_eq!(goes(&mut bench), [9]);
    ack(&mut bench, 8, &[]);
    assert!(goes(&mut bench).is_empty(), "once");
    ack(&mut bench, 8, &[(9, 10)]);
    assert_eq!(bench.counters[Counter::RetransmitTimeouts], 0);
}

// RFC 6582 3.2: without SACK a partial acknowledgment names the next hole.
#[test]
fn recovery_without_sack_repairs_one_hole_each_round_trip() {
    let mut bench = reno(without_sack(10));
    for _ in 0..2 {
        ack(&mut bench, 0, &[]);
        assert!(goes(&mut bench).is_empty());
    }
    ack(&mut bench, 0, &[]);
    assert_eq!(goes(&mut bench), [0]);
    let told = info(&bench);
    assert_eq!((told.ca_state, told.ssthresh), (CaState::Recovery, Some(5)));
    wait(&mut bench, 100);
    ack(&mut bench, 4, &[]);
    assert_eq!(goes(&mut bench), [4]);
    assert_eq!(info(&bench).ca_state, CaState::Recovery);
    wait(&mut bench, 100);
    ack(&mut bench, 10, &[]);
    assert_eq!(info(&bench).ca_state, CaState::Open);
    assert_eq!(bench.counters[Counter::FastRetransmits], 1);
}

// RFC 6582 4: duplicates of what was sent before a timeout begin no fast retransmit.
#[test]
fn loss_without_sack_duplicates_after_a_timeout_say_nothing() {
    let mut bench = without_sack(10);
    bench.wait();
    assert_eq!(goes(&mut bench), [0]);
    for _ in 0..5 {
        ack(&mut bench, 0, &[]);
        assert!(goes(&mut bench).is_empty());
    }
    let told = info(&bench);
    assert_eq!((told.ca_state, told.cwnd, told.sacked), (CaState::Loss, 1, 0));
    assert_eq!(bench.counters[Counter::FastRetransmits], 0);
}

// RFC 5681 3.1 and RFC 6298 5.5: the threshold falls with the first timeout, the window is one.
#[test]
fn loss_repeated_timeouts_lower_the_threshold_once() {
    let mut bench = with_sack(10);
    let mut waits = Vec::new();
    for _ in 0..4 {
        waits.push(bench.wait());
        assert_eq!(goes(&mut bench), [0]);
        assert_eq!((info(&bench).cwnd, info(&bench).ssthresh), (1, Some(7)));
    }
    assert_eq!(waits, [200, 600, 1200, 2400]);
    assert_eq!((info(&bench).retransmits, info(&bench).backoff), (4, 4));
    // RFC 6298 3: without a sample the back-off stays; the next segment sent once gives one.
    ack(&mut bench, 1, &[]);
    assert_eq!((info(&bench).retransmits, info(&bench).backoff), (0, 4));
}

// RFC 6675 5: blocks on an acknowledgment that was overtaken count.
#[test]
fn recovery_takes_sack_from_an_old_acknowledgment() {
    let mut bench = with_sack(20);
    ack(&mut bench, 0, &[(1, 3), (8, 9)]);
    assert_eq!(goes(&mut bench)[0], 0);
    ack(&mut bench, 4, &[(8, 9)]);
    goes(&mut bench);
    let before = info(&bench);
    ack(&mut bench, 3, &[(5, 7)]);
    assert_eq!(info(&bench).sacked, before.sacked + 2);
    assert!(!goes(&mut bench).is_empty(), "what was delivered lets more out");
}

// Blocks that report what is not in flight, or the first segment, are ignored and counted.
#[test]
fn established_impossible_blocks_are_ignored() {
    let mut bench = with_sack(10);
    for block in [(at(2), at(2)), (at(3), at(2)), (at(9), at(11)), (at(0), at(3))] {
        let sack = [(at(5), at(6)), block].into_iter().collect();
        let options = Options { sack, ..Options::NONE };
        bench.arrive(Segment { options, ..segment(IRS + 1, at(0), ACK, &[]) });
    }
    assert_eq!(info(&bench).sacked, 1);
    assert_eq!(bench.counters[Counter::SackBlocksIgnored], 4);
}

// A block that covers a part of a segment says nothing of it.
#[test]
fn established_part_of_a_segment_is_not_sacked() {
    let mut bench = with_sack(4);
    let options = Options { sack: [(at(4) - 1, at(4))].into_iter().collect(), ..Options::NONE };
    bench.arrive(Segment { options, ..segment(IRS + 1, at(0), ACK, &[]) });
    assert_eq!(info(&bench).sacked, 0);
}

// RFC 2883 4.1 (CM-4.d): a duplicate of what was acknowledged is reported once, before all else.
#[test]
fn established_duplicate_text_is_reported_by_d_sack() {
    let mut bench = Bench::open();
    bench.arrive(segment(IRS + 1, ISS + 1, ACK, &[1; 100]));
    bench.sent();
    bench.arrive(segment(IRS + 1, ISS + 1, ACK, &[1; 50]));
    let sent = bench.sent();
    assert_eq!((sent.len(), sent[0].ack), (1, IRS + 101));
    assert_eq!(sent[0].options.sack.as_slice(), [(IRS + 1, IRS + 51)]);
    // Out of order, then the same again (4.2): the duplicate first, then what holds it.
    bench.arrive(segment(IRS + 201, ISS + 1, ACK, &[3; 100]));
    assert_eq!(bench.sent()[0].options.sack.as_slice(), [(IRS + 201, IRS + 301)]);
    bench.arrive(segment(IRS + 201, ISS + 1, ACK, &[3; 50]));
    let blocks = [(IRS + 201, IRS + 251), (IRS + 201, IRS + 301)];
    assert_eq!(bench.sent()[0].options.sack.as_slice(), blocks);
    // Text that fills the gap and repeats what is behind it (4.3).
    bench.arrive(segment(IRS + 101, ISS + 1, ACK, &[2; 150]));
    let sent = bench.sent();
    assert_eq!((sent[0].ack, &bench.got.len()), (IRS + 301, &300));
    assert_eq!(sent[0].options.sack.as_slice(), [(IRS + 201, IRS + 251)]);
    assert_eq!(bench.counters[Counter::DsacksOut], 3);
}

// RFC 2883 4: a D-SACK is counted, and is neither a hole nor a reason to send again.
#[test]
fn established_d_sack_is_counted_and_is_no_hole() {
    let mut bench = with_sack(10);
    ack(&mut bench, 4, &[(1, 2)]);
    ack(&mut bench, 4, &[(5, 6), (5, 8)]);
    let told = info(&bench);
    assert_eq!((told.dsack_dups, told.sacked, told.lost), (2, 3, 1));
    assert_eq!(bench.counters[Counter::DsacksIn], 2);
}

// RFC 6298 3: an acknowledgment after an outage that lost acknowledgments gives no sample, although
// its timestamp echoes a segment of long ago.
#[test]
fn established_lost_acknowledgments_are_no_long_round_trip() {
    let stamped =
        |echo, value| Options { timestamps: Some(Timestamps { value, echo }), ..Options::NONE };
    let mut bench = slow(stamped(0, 500));
    bench.send(&[1; 100]);
    bench.sent();
    let first = bench.now.as_millis() as u32;
    for _ in 0..8 {
        bench.wait();
        assert_eq!(bench.sent().len(), 1);
    }
    let last = bench.now.as_millis() as u32;
    assert!(last - first > 60_000);
    wait(&mut bench, 100);
    let done =
        |echo| Segment { options: stamped(echo, 600), ..segment(IRS + 1, ISS + 101, ACK, &[]) };
    bench.arrive(done(first));
    assert_eq!(info(&bench).rtt.as_millis(), 100);
    assert_eq!(info(&bench).backoff, 8, "and no sample ends the back-off");
    // RFC 7323 4.1: an echo of the last retransmission does.
    bench.send(&[2; 100]);
    bench.sent();
    bench.wait();
    assert_eq!(bench.sent().len(), 1);
    let again = bench.now.as_millis() as u32;
    wait(&mut bench, 60);
    let options = stamped(again, 700);
    bench.arrive(Segment { options, ..segment(IRS + 1, ISS + 201, ACK, &[]) });
    let told = info(&bench);
    assert_eq!((told.backoff, told.rtt.as_millis(), told.min_rtt.as_millis()), (0, 95, 60));
}

// RFC 5681 3.1, RFC 6928 2 and RFC 6298 5.7: a SYN that was lost once costs the timeout, twice the
// initial window too.
#[test]
fn syn_sent_lost_syns_cost_the_timeout_and_then_the_window() {
    for (lost, cwnd) in [(1, 10), (2, 1)] {
        let mut bench = Bench::opening();
        bench.sent();
        for _ in 0..lost {
            bench.wait();
            bench.sent();
        }
        let options = Options { mss: Some(MSS), ..Options::NONE };
        bench.arrive(Segment { options, ..segment(IRS, ISS + 1, SYN.union(ACK), &[]) });
        let told = info(&bench);
        assert_eq!((told.cwnd, told.rto, told.backoff), (cwnd, Duration::from_secs(3), 0));
        assert_eq!((told.total_retrans, told.delivered), (lost, 1));
    }
}

// The octets of TCP_INFO go on counting where sequence numbers begin anew.
#[test]
fn established_octets_are_counted_past_the_wrap() {
    let mut bench = Bench::open();
    let near = u32::MAX - 5;
    (bench.tcb.snd.una, bench.tcb.snd.nxt) = (SeqNum(near), SeqNum(near));
    bench.tcb.rare.short = SeqNum(near);
    (bench.tcb.rcv.nxt, bench.tcb.rcv.acked) = (SeqNum(near), SeqNum(near));
    bench.tcb.rcv.edge = SeqNum(near) + 1000;
    bench.send(&[1; 10]);
    assert_eq!(bench.sent().len(), 1);
    bench.tcb.snd.wl1 = SeqNum(near);
    bench.arrive(segment(near, 4, FIN.union(ACK), &[2; 20]));
    let told = info(&bench);
    let before = |start: u32| u64::from(near - start - 1);
    assert_eq!(told.bytes_acked, before(ISS) + 10);
    assert_eq!(told.bytes_received, before(IRS) + 20);
}

// The figures of TCP_INFO are segments, however short these are.
#[test]
fn established_short_segments_are_counted_one_by_one() {
    let mut bench = slow(Options { sack_permitted: true, ..Options::NONE });
    bench.set(Setting::NoDelay(true));
    for n in 1..=12 {
        bench.send(&[1; 10]);
        let goes = bench.sent().len();
        assert_eq!(goes, usize::from(n <= 10), "the window is ten segments, not octets");
    }
    assert_eq!((info(&bench).unacked, info(&bench).notsent), (10, 20));
    bench.arrive(segment(IRS + 1, ISS + 31, ACK, &[]));
    assert_eq!((info(&bench).unacked, info(&bench).delivered), (7, 4));
    assert_eq!(info(&bench).cwnd, 13);
}

// RFC 9293 3.8.6.2.1: short segments that go again go together.
#[test]
fn loss_of_short_segments_packs_them_anew() {
    let mut bench = slow(Options { sack_permitted: true, ..Options::NONE });
    bench.set(Setting::NoDelay(true));
    for n in 0..5 {
        bench.send(&[n; 10]);
        bench.sent();
    }
    bench.wait();
    let sent = bench.sent();
    assert_eq!((sent.len(), sent[0].text.len()), (1, 50));
    assert_eq!((info(&bench).unacked, info(&bench).lost), (1, 1));
}
