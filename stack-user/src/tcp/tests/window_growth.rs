//! How the congestion window grows, and what holds a sender back.

use super::recovery::*;
use super::*;

// RFC 5681 3.1 with stretch acknowledgments: the window grows by what was delivered.
#[test]
fn established_slow_start_grows_by_segments_and_not_by_acknowledgments() {
    for step in [1, 2, 5, 10] {
        let mut bench = with_sack(40);
        for n in (step..=10).step_by(step as usize) {
            ack(&mut bench, n, &[]);
            assert_eq!(goes(&mut bench).len() as u32, 2 * step);
        }
        assert_eq!(info(&bench).cwnd, 20);
    }
}

// RFC 7661 4.1, as Linux has it: five of ten segments say nothing of the path, six do a little.
#[test]
fn established_window_grows_only_while_it_is_used() {
    for (out, windows) in [(5, [10, 10, 10]), (6, [12, 12, 12]), (9, [12, 14, 16])] {
        let mut bench = with_sack(out);
        for (n, window) in windows.into_iter().enumerate() {
            ack(&mut bench, (2 * n as u32 + 2).min(out), &[]);
            assert_eq!(info(&bench).cwnd, window, "{out} out");
        }
    }
}

// RFC 2861 3.1, RFC 5681 4.1.
#[test]
fn established_idle_connection_begins_with_the_initial_window() {
    let mut bench = with_sack(26);
    ack(&mut bench, 10, &[]);
    assert_eq!(goes(&mut bench).len(), 16);
    wait(&mut bench, 100);
    ack(&mut bench, 26, &[]);
    assert_eq!(info(&bench).cwnd, 36);
    wait(&mut bench, 2000);
    bench.send(&vec![7; 20 * N as usize]);
    assert_eq!((goes(&mut bench).len(), info(&bench).cwnd), (10, 10));
}

// RFC 9293 3.8.6 (MUST-34, MUST-35, SHLD-15, SHLD-16, SHLD-17): of what lies outside of a window that
// the peer has taken back the first segment alone goes again, which asks for the window; nothing new
// goes, and what the window takes back in is repaired as usual.
#[test]
fn loss_into_a_closed_window_repeats_the_first_segment_alone() {
    let mut bench = with_sack(12);
    bench.arrive(Segment { window: 0, ..segment(IRS + 1, at(2), ACK, &[]) });
    for _ in 0..3 {
        bench.wait();
        assert_eq!(goes(&mut bench), [2]);
        bench.arrive(Segment { window: 0, ..segment(IRS + 1, at(2), ACK, &[]) });
        assert!(goes(&mut bench).is_empty());
    }
    wait(&mut bench, 10);
    ack(&mut bench, 3, &[]);
    assert_eq!(goes(&mut bench), [3, 4]);
}

// Where there is no record for another segment it waits, and the timer tries again.
#[test]
fn established_no_record_for_a_segment_delays_it() {
    let mut bench = Bench::open();
    let mut held = super::flight::Flight::default();
    let segment = (SeqNum(0), 1, super::flight::Marks::NONE);
    while held.push(&mut bench.pool.records, segment, bench.now) {}
    bench.send(b"hello");
    assert!(bench.sent().is_empty());
    assert_eq!(bench.counters[Counter::FlightRecordsFull], 1);
    held.clear(&mut bench.pool.records);
    bench.wait();
    assert_eq!(bench.sent()[0].text, b"hello");
}
