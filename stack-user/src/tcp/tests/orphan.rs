//! Closing for good: orphans, unread data, lingering, and giving up.

use super::*;

const FIN_ACK: Flags = Flags(0x11);

fn keep(bench: &mut Bench, text: &[u8]) {
    let got = bench.got.len();
    let nxt = bench.tcb.rcv.nxt.0;
    bench.arrive(segment(nxt, ISS + 1, ACK, text));
    bench.got.truncate(got);
    bench.env(|tcb, env| tcb.keep_unread(text, env));
    bench.sent();
}

// RFC 9293 3.6.1 (SHLD-3, MAY-1), CM-5.f. RFC 1122 4.2.2.13, RFC 2525 2.17: the peer must know that
// its data was not read.
#[test]
fn established_close_with_unread_data_is_a_reset() {
    let mut bench = Bench::open();
    keep(&mut bench, b"unread");
    bench.close_for_good();
    assert_eq!(bench.ended(), Some(CloseReason::Aborted));
    assert_eq!(bench.sent_flags(), [RST.union(ACK)]);
    assert_eq!(bench.counters[Counter::AbortsOnClose], 1);
    assert_eq!(bench.pool.used(), 0);
}

#[test]
fn established_close_after_everything_was_read_is_a_fin() {
    let mut bench = Bench::open();
    keep(&mut bench, b"read");
    let mut out = [0; 10];
    assert_eq!(bench.tcb.peek(&mut out, &bench.pool), 4);
    assert_eq!(bench.env(|tcb, env| tcb.read(&mut out, env)), 4);
    assert_eq!((&out[..4], bench.tcb.unread()), (&b"read"[..], 0));
    bench.close_for_good();
    assert_eq!(bench.sent_flags(), [FIN_ACK]);
    assert_eq!(bench.tcb.state(), State::FinWait1);
}

// RFC 9293 3.10.4 (CLOSE) and RFC 1122 4.2.2.13: data after the close is answered with RST.
#[test]
fn fin_wait_orphan_new_data_is_refused_and_ends_it() {
    for is_acknowledged in [false, true] {
        let mut bench = Bench::open();
        bench.close_for_good();
        bench.sent();
        let ack = ISS + 1 + u32::from(is_acknowledged);
        assert!(bench.arrive(segment(IRS + 1, ack, ACK, b"late")));
        assert_eq!(bench.ended(), Some(CloseReason::Aborted));
        assert_eq!(bench.counters[Counter::AbortsOnData], 1);
        assert_eq!(bench.sent_flags(), []);
    }
}

// What the peer had sent before is no news; it came again for a lost acknowledgment.
#[test]
fn fin_wait_2_orphan_old_data_is_acknowledged() {
    let mut bench = Bench::open();
    bench.arrive(segment(IRS + 1, ISS + 1, ACK, b"text"));
    bench.close_for_good();
    bench.sent();
    bench.arrive(segment(IRS + 5, ISS + 2, ACK, &[]));
    assert!(!bench.arrive(segment(IRS + 1, ISS + 2, ACK, b"text")));
    assert_eq!((bench.tcb.state(), bench.sent_flags()), (State::FinWait2, vec![ACK]));
}

// CM-5.b.
#[test]
fn fin_wait_2_orphan_ends_after_its_time() {
    let mut bench = Bench::open();
    bench.close_for_good();
    bench.sent();
    bench.arrive(segment(IRS + 1, ISS + 2, ACK, &[]));
    assert_eq!(bench.wait(), 60_000);
    assert_eq!(bench.ended(), Some(CloseReason::TimedOut));
    assert_eq!(bench.sent_flags(), []);
}

// A half-close lasts for as long as the peer sends: the user still reads.
#[test]
fn fin_wait_2_half_closed_has_no_timer_until_it_is_closed_for_good() {
    let mut bench = Bench::open();
    bench.close();
    bench.sent();
    bench.arrive(segment(IRS + 1, ISS + 2, ACK, &[]));
    assert!(!bench.tcb.has_timer());
    bench.close_for_good();
    assert_eq!(bench.wait(), 60_000);
    assert_eq!(bench.tcb.state(), State::Closed);
}

// CM-5.a, CM-11.b. The client of a published capture: its FIN ten times more without an answer,
// then RST. RFC 9293 3.8.3 (MUST-20).
#[test]
fn fin_wait_1_unanswered_fin_is_repeated_ten_times_and_ends_with_rst() {
    let mut bench = Bench::open_with(Config { orphan_retries: 10, ..Config::default() });
    bench.close_for_good();
    let first = bench.sent();
    assert_eq!((first.len(), first[0].flags), (1, FIN_ACK));
    let (sent, _) = bench.run_out();
    let (last, fins) = sent.split_last().expect("segments were sent");
    assert_eq!(fins.len(), 10);
    assert!(fins.iter().all(|fin| *fin == first[0]));
    assert_eq!((last.flags, last.seq, last.ack), (RST.union(ACK), ISS + 2, IRS + 1));
    assert_eq!(bench.ended(), Some(CloseReason::TimedOut));
    assert!(bench.tcb.is_over());
}

// CM-5.a. The user still reads: R2 is the connection's, and the waits double up to the maximum.
#[test]
fn fin_wait_1_half_closed_gives_up_after_r2() {
    let mut bench = Bench::open();
    bench.close();
    bench.sent();
    let (sent, passed) = bench.run_out();
    assert_eq!(sent.len(), 15 + 1);
    assert_eq!(sent.last().map(|last| last.flags), Some(RST.union(ACK)));
    // RFC 9293 3.8.3 (SHLD-11): at least 100 seconds.
    assert_eq!(passed / 1000, 924);
}

// Linux's eight: more than a hundred seconds.
#[test]
fn last_ack_orphan_gives_up_after_eight_retries() {
    let mut bench = Bench::open();
    bench.arrive(segment(IRS + 1, ISS + 1, FIN_ACK, &[]));
    bench.close_for_good();
    bench.sent();
    let (sent, passed) = bench.run_out();
    assert_eq!(sent.len(), 8 + 1);
    assert_eq!(passed / 100, 1022);
    assert_eq!(bench.counters[Counter::AbortsOnTimeout], 1);
}

// RFC 9293 3.8.6.1 (MUST-37) keeps a connection that answers probes; an orphan's has nobody to
// keep it for, as on Linux: it ends once the wait cannot grow any more.
#[test]
fn fin_wait_1_orphan_behind_a_closed_window_ends_though_probes_are_answered() {
    let mut bench = Bench::open();
    bench.send(b"text");
    bench.sent();
    bench.acknowledge(0);
    bench.send(b"more");
    bench.close_for_good();
    assert_eq!(bench.sent(), []);
    let mut probes = 0;
    while bench.tcb.state() != State::Closed {
        bench.wait();
        probes += bench.sent().len();
        bench.arrive(Segment { window: 0, ..segment(IRS + 1, ISS + 5, ACK, &[]) });
    }
    assert!((9..15).contains(&probes), "{probes}");
    assert_eq!(bench.ended(), Some(CloseReason::TimedOut));
    assert_eq!(bench.pool.used(), 0);
}

// CM-5.e.
#[test]
fn established_linger_of_zero_is_a_reset_that_drops_what_is_queued() {
    let mut bench = Bench::open();
    bench.set(Setting::Linger(Some(Duration::ZERO)));
    bench.send(&[1; 100_000]);
    bench.sent();
    bench.close_for_good();
    assert_eq!(bench.sent_flags(), [RST.union(ACK)]);
    assert_eq!(bench.ended(), Some(CloseReason::Aborted));
    assert_eq!((bench.pool.used(), bench.counters[Counter::AbortsOnLinger]), (0, 1));
}

#[test]
fn fin_wait_1_linger_releases_the_user_when_everything_is_acknowledged() {
    let mut bench = Bench::open();
    bench.set(Setting::Linger(Some(Duration::from_secs(5))));
    bench.send(b"text");
    bench.close_for_good();
    bench.sent();
    bench.acknowledge(0xffff);
    assert_eq!(bench.tcb.poll_event().released, Some(CloseReason::Closed));
    // The rest is FIN-WAIT-2's.
    assert_eq!((bench.tcb.state(), bench.wait()), (State::FinWait2, 60_000));
}

// CM-5.d.
#[test]
fn fin_wait_1_linger_releases_the_user_at_its_end_and_goes_on_in_background() {
    let mut bench =
        Bench::open_with(Config { linger: Some(Duration::from_secs(1)), ..Config::default() });
    bench.send(b"text");
    bench.close_for_good();
    bench.sent();
    let released = loop {
        bench.wait();
        bench.sent();
        if let Some(reason) = bench.tcb.poll_event().released {
            break reason;
        }
    };
    assert_eq!((bench.now.as_millis(), released), (1_000, CloseReason::Lingering));
    assert_eq!(bench.tcb.state(), State::FinWait1);
    bench.acknowledge(0xffff);
    assert_eq!(bench.tcb.state(), State::FinWait2);
    assert_eq!(bench.tcb.poll_event().released, Some(CloseReason::Closed));
}

// CM-5.c. In background the user is told of the end alone.
#[test]
fn fin_wait_1_without_linger_nobody_is_released_early() {
    let mut bench = Bench::open();
    bench.close_for_good();
    bench.sent();
    bench.arrive(segment(IRS + 1, ISS + 2, ACK, &[]));
    assert_eq!(bench.tcb.poll_event(), Events::default());
}

// RFC 9293 3.10.4: CLOSE in SYN-SENT; Linux sends nothing either.
#[test]
fn syn_sent_close_ends_without_a_word() {
    let mut bench = Bench::opening();
    bench.sent();
    bench.close_for_good();
    assert_eq!((bench.sent_flags(), bench.ended()), (vec![], Some(CloseReason::Aborted)));
    assert!(bench.tcb.is_over());
}

// RFC 9293 3.10.5: in LAST-ACK an abort says nothing; here text is dropped that the peer never had.
#[test]
fn last_ack_abort_tells_the_peer_only_of_what_it_did_not_get() {
    for text in [0, 100_000] {
        let mut bench = Bench::open();
        bench.arrive(segment(IRS + 1, ISS + 1, FIN_ACK, &[]));
        bench.send(&vec![1; text]);
        bench.close();
        bench.sent();
        bench.env(|tcb, env| tcb.abort(env));
        let expected = if text > 0 { vec![RST.union(ACK)] } else { vec![] };
        assert_eq!(bench.sent_flags(), expected);
    }
}

#[test]
fn established_reading_shut_down_data_is_acknowledged_and_dropped() {
    let mut bench = Bench::open();
    keep(&mut bench, b"unread");
    bench.env(|tcb, env| tcb.shutdown_read(env));
    assert_eq!(bench.pool.used(), 0);
    let nxt = bench.tcb.rcv.nxt.0;
    bench.arrive(segment(nxt, ISS + 1, ACK, b"more"));
    assert_eq!(bench.sent()[0].ack, nxt + 4);
    assert!(bench.got.is_empty());
    bench.arrive(segment(nxt + 4, ISS + 1, FIN_ACK, &[]));
    assert!(bench.tcb.poll_event().fin);
    bench.close_for_good();
    assert_eq!(bench.tcb.state(), State::LastAck);
}
