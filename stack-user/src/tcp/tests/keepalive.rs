//! Keepalive (RFC 9293, 3.8.4).

use super::*;

fn times() -> KeepAlive {
    let (idle, interval) = (Duration::from_secs(60), Duration::from_secs(10));
    KeepAlive { idle, interval, count: 3 }
}

/// An open connection that probes an idle peer.
fn probing() -> Bench {
    let mut bench = Bench::open();
    bench.set(Setting::KeepAlive(Some(times())));
    bench
}

// CM-8.b. RFC 9293 3.8.4 (MUST-25, MUST-28): off unless it is asked for, and then two hours.
#[test]
fn established_keepalive_is_off_by_default_and_waits_two_hours() {
    let bench = Bench::open();
    assert!(!bench.tcb.has_timer());
    let mut bench = Bench::open_with(Config { keepalive: true, ..Config::default() });
    assert_eq!(bench.wait(), 7_200_000);
    assert_eq!(bench.sent().len(), 1);
}

// RFC 9293 3.8.4 (MAY-5). RFC 9293 3.8.4 (MUST-24, MUST-27): on and off for each connection, with
// its own interval.
#[test]
fn established_keepalive_is_turned_on_and_off() {
    let mut bench = probing();
    bench.now = Instant::from_millis(30_000);
    bench.set(Setting::KeepAlive(None));
    assert!(!bench.tcb.has_timer());
    bench.set(Setting::KeepAlive(Some(times())));
    assert_eq!(bench.wait(), 60_000);
}

// CM-8.a. RFC 9293 3.8.4 (SHLD-12): SEG.SEQ = SND.NXT-1, no data. An answer begins the time anew.
#[test]
fn established_idle_peer_is_probed_and_its_answer_counts() {
    let mut bench = probing();
    for _ in 0..20 {
        assert_eq!(bench.wait(), 60_000);
        let sent = bench.sent();
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].seq, sent[0].ack, sent[0].flags), (ISS, IRS + 1, ACK));
        assert!(sent[0].text.is_empty());
        bench.acknowledge(0xffff);
    }
    assert_eq!(bench.tcb.state(), State::Established);
    assert_eq!(bench.counters[Counter::KeepAliveProbes], 20);
}

// CM-8.a, CM-7.f. RFC 9293 3.8.4 (MUST-29): a probe that is not answered is no proof; all of them
// are.
#[test]
fn established_silent_peer_is_given_up_after_the_count() {
    let mut bench = probing();
    let mut waits = Vec::new();
    let mut flags = Vec::new();
    while bench.tcb.state() == State::Established {
        waits.push(bench.wait() / 1000);
        flags.extend(bench.sent_flags());
    }
    assert_eq!(waits, [60, 10, 10, 10]);
    assert_eq!(flags, [ACK, ACK, ACK, RST.union(ACK)]);
    assert_eq!(bench.ended(), Some(CloseReason::TimedOut));
    assert_eq!(bench.counters[Counter::KeepAliveDrops], 1);
}

#[test]
fn established_last_probe_answered_keeps_the_connection() {
    let mut bench = probing();
    for _ in 0..3 {
        bench.wait();
        bench.sent();
    }
    bench.acknowledge(0xffff);
    assert_eq!(bench.wait(), 60_000);
    assert_eq!(bench.sent_flags(), [ACK]);
}

// RFC 9293 3.8.4 (MUST-26): anything that arrives begins the time anew, and no probe goes out while
// data is outstanding.
#[test]
fn established_traffic_puts_the_probe_off() {
    let mut bench = probing();
    bench.now = Instant::from_millis(50_000);
    bench.arrive(segment(IRS + 1, ISS + 1, ACK, b"text"));
    bench.sent();
    assert_eq!(bench.wait(), 60_000);
    bench.sent();
    bench.acknowledge(0xffff);
    bench.send(b"data");
    bench.sent();
    let start = bench.now;
    while bench.now.since(start) < Duration::from_secs(200) {
        bench.wait();
        assert!(bench.sent().iter().all(|sent| sent.seq == ISS + 1), "data goes again, no probe");
    }
    assert_eq!(bench.counters[Counter::KeepAliveProbes], 1);
}

// What an attacker can send without knowing the numbers is no sign of life.
#[test]
fn established_segment_out_of_window_does_not_put_the_probe_off() {
    let mut bench = probing();
    bench.now = Instant::from_millis(50_000);
    bench.arrive(segment(IRS.wrapping_sub(70_000), ISS + 1, ACK, &[]));
    bench.sent();
    assert_eq!(bench.wait(), 10_000);
}

// The user timeout stands in for the count, as on Linux.
#[test]
fn established_user_timeout_bounds_the_probes() {
    let mut bench = probing();
    bench.set(Setting::UserTimeout(Some(Duration::from_secs(75))));
    let (sent, passed) = bench.run_out();
    assert_eq!(passed, 80_000);
    let flags: Vec<_> = sent.iter().map(|sent| sent.flags).collect();
    assert_eq!(flags, [ACK, ACK, RST.union(ACK)]);
}

// CM-7.f.
#[test]
fn fin_wait_2_half_closed_silent_peer_is_found_out() {
    let mut bench = probing();
    bench.close();
    bench.sent();
    bench.acknowledge(0xffff);
    assert_eq!(bench.tcb.state(), State::FinWait2);
    let (_, passed) = bench.run_out();
    assert_eq!((passed, bench.ended()), (90_000, Some(CloseReason::TimedOut)));
}

#[test]
fn fin_wait_2_orphan_has_its_own_timer_alone() {
    let mut bench = probing();
    bench.close_for_good();
    bench.sent();
    bench.acknowledge(0xffff);
    let (sent, passed) = bench.run_out();
    assert_eq!((sent.len(), passed), (0, 60_000));
}

// A probe of the peer's, in answer to which it wants to see our numbers.
#[test]
fn established_probe_of_the_peer_is_answered() {
    let mut bench = Bench::open();
    bench.arrive(segment(IRS, ISS + 1, ACK, &[]));
    let sent = bench.sent();
    assert_eq!((sent[0].seq, sent[0].ack, sent[0].flags), (ISS + 1, IRS + 1, ACK));
    bench.arrive(segment(IRS, ISS + 1, ACK, b"x"));
    assert_eq!(bench.sent()[0].ack, IRS + 1);
    assert!(bench.got.is_empty());
}
