//! What a recovery does to the window, step by step, and what gives no reason for one.

use super::recovery::*;
use super::*;

/// An open connection whose window of twenty segments went out a round trip ago; ten more wait.
fn twenty_out() -> Bench {
    let mut bench = with_sack(40);
    ack(&mut bench, 10, &[]);
    assert_eq!(goes(&mut bench).len(), 20);
    wait(&mut bench, 100);
    bench
}

// RFC 6937 3.1: while more is in flight than the threshold, CEIL(prr_delivered * ssthresh /
// RecoverFS) - prr_out: of twenty delivered fourteen are replaced.
#[test]
fn recovery_above_the_threshold_sends_seven_for_each_ten_delivered() {
    let mut bench = twenty_out();
    for n in 12..=13 {
        ack(&mut bench, 10, &[(11, n)]);
        goes(&mut bench);
    }
    ack(&mut bench, 10, &[(11, 14)]);
    assert_eq!(goes(&mut bench), [10]);
    assert_eq!(info(&bench).ssthresh, Some(14));
    let mut counts = Vec::new();
    for n in 15..=20 {
        ack(&mut bench, 10, &[(11, n)]);
        counts.push(goes(&mut bench).len());
    }
    // The sums are 0.7, 1.4, 2.1, ... 4.9, rounded up; the first was the retransmission.
    assert_eq!(counts, [1, 1, 0, 1, 1, 0]);
}

// RFC 6937 3.1, its slow start: below the threshold, one more than was delivered by
// an acknowledgment that moves SND.UNA and shows nothing new to be lost.
#[test]
fn recovery_below_the_threshold_sends_one_more_where_a_hole_was_filled() {
    let mut bench = with_sack(10);
    for n in 5..=10 {
        ack(&mut bench, 0, &[(4, n)]);
        goes(&mut bench);
    }
    let told = info(&bench);
    assert_eq!((told.sacked, told.lost, told.retrans, told.ssthresh), (6, 4, 4, Some(7)));
    bench.send(&vec![7; 10 * N as usize]);
    assert!(goes(&mut bench).is_empty());
    ack(&mut bench, 1, &[(4, 10)]);
    assert_eq!(goes(&mut bench), [10, 11]);
}

// A partial acknowledgment whose SACK lies more than three segments above SND.UNA
// shows the next hole, though fewer than three segments were SACKed.
#[test]
fn recovery_partial_acknowledgment_far_below_what_is_sacked_shows_the_next_hole() {
    let mut bench = with_sack(10);
    ack(&mut bench, 0, &[(1, 4), (8, 9)]);
    assert_eq!((goes(&mut bench)[0], info(&bench).lost), (0, 1));
    wait(&mut bench, 100);
    ack(&mut bench, 4, &[(8, 9)]);
    let told = info(&bench);
    assert_eq!((told.ca_state, told.sacked, told.lost), (CaState::Recovery, 1, 1));
}

// RFC 5681 3.1: a timeout after the peer has answered the last one is a new loss, and the threshold
// falls again, though not all that was out at the first is acknowledged.
#[test]
fn loss_timeout_after_an_answer_lowers_the_threshold_again() {
    let mut bench = with_sack(10);
    bench.wait();
    assert_eq!(goes(&mut bench), [0]);
    wait(&mut bench, 100);
    ack(&mut bench, 1, &[]);
    assert_eq!(goes(&mut bench), [1, 2]);
    assert_eq!((info(&bench).cwnd, info(&bench).ssthresh), (2, Some(7)));
    bench.wait();
    assert_eq!((info(&bench).cwnd, info(&bench).ssthresh), (1, Some(2)));
}

// RFC 5681 2: a duplicate carries no data and leaves the window what it was.
#[test]
fn established_repeated_numbers_with_text_or_a_new_window_are_no_duplicates() {
    let mut bench = without_sack(10);
    for n in 0..4 {
        bench.arrive(segment(IRS + 1 + 10 * n, at(0), ACK, &[1; 10]));
        let window = 0xfff0 - n as u16;
        bench.arrive(Segment { window, ..segment(IRS + 11 + 10 * n, at(0), ACK, &[]) });
        bench.arrive(segment(IRS + 11 + 10 * n, at(0), ACK, &[]));
    }
    assert_eq!(info(&bench).ca_state, CaState::Open);
    assert_eq!(bench.counters[Counter::DuplicateAcksIn], 0);
    assert!(goes(&mut bench).is_empty());
}
