//! Closing: every order, half-close, abort, and the records that follow.

use super::*;
use crate::time::Duration;

const FIN_ACK: Flags = Flags(0x11);

// CM-1.g. RFC 9293 figure 12.
#[test]
fn fin_wait_1_normal_close_ends_in_time_wait() {
    let mut bench = Bench::open();
    bench.close();
    assert_eq!(bench.tcb.state(), State::FinWait1);
    let sent = bench.sent();
    assert_eq!((sent[0].seq, sent[0].flags), (ISS + 1, FIN_ACK));
    bench.arrive(segment(IRS + 1, ISS + 2, ACK, &[]));
    assert_eq!(bench.tcb.state(), State::FinWait2);
    bench.arrive(segment(IRS + 1, ISS + 2, ACK, b"late"));
    assert_eq!(bench.got, b"late");
    bench.arrive(segment(IRS + 5, ISS + 2, FIN_ACK, &[]));
    assert_eq!(bench.tcb.state(), State::TimeWait);
    assert!(bench.tcb.poll_event().fin);
}

// A peer that says more after its FIN does not make us keep it.
#[test]
fn established_fin_drops_what_was_kept_beyond_it() {
    let mut bench = Bench::open();
    bench.arrive(segment(IRS + 9, ISS + 1, ACK, &[7; 2_000]));
    assert!(bench.pool.used() > 0);
    bench.arrive(segment(IRS + 1, ISS + 1, FIN_ACK, b"end"));
    assert_eq!((bench.tcb.state(), &bench.got[..]), (State::CloseWait, &b"end"[..]));
    assert_eq!(bench.pool.used(), 0);
    assert!(bench.sent().iter().all(|sent| sent.options.sack.is_empty()));
}

// CM-1.c. RFC 9293 figure 13: both close at once.
#[test]
fn fin_wait_1_fin_without_our_ack_is_a_simultaneous_close() {
    let mut bench = Bench::open();
    bench.close();
    bench.sent();
    bench.arrive(segment(IRS + 1, ISS + 1, FIN_ACK, &[]));
    assert_eq!(bench.tcb.state(), State::Closing);
    assert_eq!(bench.sent()[0].ack, IRS + 2);
    bench.arrive(segment(IRS + 2, ISS + 2, ACK, &[]));
    assert_eq!(bench.tcb.state(), State::TimeWait);
}

// CM-1.e, CM-1.g.
#[test]
fn fin_wait_1_fin_with_our_ack_goes_to_time_wait_at_once() {
    let mut bench = Bench::open();
    bench.close();
    bench.sent();
    bench.arrive(segment(IRS + 1, ISS + 2, FIN_ACK, b"bye"));
    assert_eq!((bench.tcb.state(), &bench.got[..]), (State::TimeWait, &b"bye"[..]));
}

// CM-1.d: the peer closes first; RFC 9293 3.6, case 2.
#[test]
fn close_wait_sends_what_is_queued_and_ends_by_last_ack() {
    let mut bench = Bench::open();
    bench.arrive(segment(IRS + 1, ISS + 1, FIN_ACK, &[]));
    assert_eq!(bench.tcb.state(), State::CloseWait);
    bench.send(b"rest");
    bench.close();
    let sent = bench.sent();
    assert_eq!(bench.tcb.state(), State::LastAck);
    assert_eq!((&sent[0].text[..], sent[0].flags.contains(FIN)), (&b"rest"[..], true));
    bench.arrive(segment(IRS + 2, ISS + 6, ACK, &[]));
    assert_eq!(bench.tcb.poll_event().closed, Some(CloseReason::Closed));
    assert!(bench.tcb.is_over());
}

// CM-1.e.
#[test]
fn established_fin_before_a_gap_waits_for_the_text() {
    let mut bench = Bench::open();
    bench.arrive(segment(IRS + 4, ISS + 1, FIN_ACK, b"def"));
    assert_eq!(bench.tcb.state(), State::Established);
    bench.arrive(segment(IRS + 1, ISS + 1, ACK, b"abc"));
    assert_eq!((bench.tcb.state(), &bench.got[..]), (State::CloseWait, &b"abcdef"[..]));
    assert_eq!(bench.sent()[0].ack, IRS + 8);
}

#[test]
fn last_ack_lost_fin_is_sent_again() {
    let mut bench = Bench::open();
    bench.arrive(segment(IRS + 1, ISS + 1, FIN_ACK, &[]));
    bench.close();
    let first = bench.sent();
    bench.wait();
    assert_eq!(bench.sent(), first);
}

// The window is closed: the FIN still goes again, for it takes no window.
#[test]
fn fin_wait_1_fin_into_a_zero_window_is_retransmitted() {
    let mut bench = Bench::open();
    bench.close();
    bench.sent();
    bench.arrive(Segment { window: 0, ..segment(IRS + 1, ISS + 1, ACK, &[]) });
    bench.wait();
    assert_eq!(bench.sent_flags(), [FIN_ACK]);
}

// CM-5.g. RFC 9293 3.10.5.
#[test]
fn established_abort_sends_rst_and_drops_what_is_queued() {
    let mut bench = Bench::open();
    bench.send(&[1; 100_000]);
    bench.sent();
    bench.env(|tcb, env| tcb.abort(env));
    assert!(!bench.tcb.is_over());
    let sent = bench.sent();
    assert_eq!((sent.len(), sent[0].flags), (1, RST.union(ACK)));
    assert_eq!(bench.tcb.poll_event().closed, Some(CloseReason::Aborted));
    assert_eq!((bench.pool.used(), bench.tcb.is_over()), (0, true));
}

fn time_wait() -> TimeWait {
    let mut bench = Bench::open();
    bench.close();
    bench.sent();
    bench.arrive(segment(IRS + 1, ISS + 2, FIN_ACK, &[]));
    TimeWait::of(&bench.tcb, Duration::from_secs(60), Instant::ZERO)
}

// CM-6.c, CM-6.d, CM-6.e. RFC 9293 3.10.7.4 TIME-WAIT; RFC 1337; RFC 6191.
#[test]
fn time_wait_answers_old_segments_survives_rst_and_gives_way_to_a_newer_syn() {
    let record = time_wait();
    assert_eq!((record.snd_nxt, record.rcv_nxt), (SeqNum(ISS + 2), SeqNum(IRS + 2)));
    let verdict =
        |seq, flags, text| record.on_segment(&segment(seq, ISS + 2, flags, text), Duration::ZERO);
    assert_eq!(verdict(IRS + 1, FIN_ACK, &[]), TimeWaitVerdict::Restart);
    assert_eq!(verdict(IRS + 2, RST, &[]), TimeWaitVerdict::Drop);
    assert_eq!(verdict(IRS + 2, ACK, &[]), TimeWaitVerdict::Drop);
    assert_eq!(verdict(IRS - 5, ACK, b"old"), TimeWaitVerdict::Acknowledge);
    assert_eq!(verdict(IRS, SYN, &[]), TimeWaitVerdict::Acknowledge);
    let reuse = TimeWaitVerdict::Reuse { above: SeqNum(ISS + 2) };
    assert_eq!(verdict(IRS + 3, SYN, &[]), reuse);
}

// RFC 9293 3.6.1 (SHLD-4, MAY-2), CM-6.e.
#[test]
fn time_wait_timestamps_decide_before_sequence_numbers() {
    let record = TimeWait { recent: 100, has_stamps: true, ..time_wait() };
    let verdict = |seq, value| {
        let options = Options { timestamps: Some(Timestamps { value, echo: 0 }), ..Options::NONE };
        record.on_segment(&Segment { options, ..segment(seq, 0, SYN, &[]) }, Duration::ZERO)
    };
    let reuse = TimeWaitVerdict::Reuse { above: SeqNum(ISS + 2) };
    assert_eq!(verdict(IRS - 1000, 101), reuse);
    assert_eq!(verdict(IRS - 1000, 100), TimeWaitVerdict::Acknowledge);
    assert_eq!(verdict(IRS + 1000, 100), reuse);
    assert_eq!(verdict(IRS + 1000, 99), TimeWaitVerdict::Acknowledge);
}

// RFC 7323 5.5: a TS.Recent of 24 days is worth nothing, in TIME-WAIT as elsewhere.
#[test]
fn time_wait_timestamp_of_24_days_is_not_compared() {
    let record = TimeWait { recent: 100, has_stamps: true, ..time_wait() };
    let options = Options { timestamps: Some(Timestamps { value: 99, echo: 0 }), ..Options::NONE };
    let fin = Segment { options, ..segment(IRS + 1, ISS + 2, FIN_ACK, &[]) };
    let days = |days: u64| Duration::from_secs(days * 24 * 3600);
    assert_eq!(record.on_segment(&fin, days(23)), TimeWaitVerdict::Stale);
    assert_eq!(record.on_segment(&fin, days(24)), TimeWaitVerdict::Restart);
    let syn = Segment { options, ..segment(IRS - 1000, 0, SYN, &[]) };
    assert_eq!(record.on_segment(&syn, days(23)), TimeWaitVerdict::Acknowledge);
    let reuse = TimeWaitVerdict::Reuse { above: SeqNum(ISS + 2) };
    assert_eq!(record.on_segment(&syn, days(24)), reuse);
}

#[test]
fn time_wait_age_counts_from_its_last_renewal() {
    let record = time_wait();
    let whole = Duration::from_secs(60);
    assert_eq!(record.age(whole, Instant::ZERO), Duration::ZERO);
    assert_eq!(record.age(whole, Instant::from_millis(1_500)), Duration::from_millis(1_500));
    assert_eq!(record.age(whole, Instant::from_millis(90_000)), whole);
    let stamped = TimeWait { has_stamps: true, ..time_wait() };
    assert!(!stamped.may_be_reopened(Duration::from_secs(1)));
    assert!(stamped.may_be_reopened(Duration::from_millis(1_001)));
    assert!(!record.may_be_reopened(whole));
}

// RFC 9293 3.10.7.4, eighth: a FIN alone ends the peer's text. Text that came early and found no room
// does not, although the text before it arrives.
#[test]
fn established_early_text_that_was_refused_is_no_end() {
    let mut bench = Bench::open();
    for n in 1..=65 {
        bench.arrive(segment(IRS + 1 + 2 * n, ISS + 1, ACK, &[1]));
    }
    assert_eq!(bench.counters[Counter::OutOfOrderDropped], 1);
    bench.arrive(segment(IRS + 1, ISS + 1, ACK, &[1; 130]));
    assert_eq!((bench.tcb.state(), bench.got.len()), (State::Established, 130));
}

// RFC 9293 3.10.7.4: of a segment that reaches beyond the window the rest is cut off, and the FIN
// with it.
#[test]
fn established_early_fin_beyond_the_window_is_not_kept() {
    let mut bench = Bench::open();
    let edge = bench.tcb.rcv.edge.0;
    bench.arrive(segment(edge - 5, ISS + 1, FIN.union(ACK), &[1; 10]));
    while SeqNum(edge + 5).is_after(bench.tcb.rcv.nxt) {
        let seq = bench.tcb.rcv.nxt.0;
        bench.sent();
        bench.arrive(segment(seq, ISS + 1, ACK, &vec![1; 1000.min((edge + 5 - seq) as usize)]));
    }
    assert_eq!(bench.tcb.state(), State::Established);
}
