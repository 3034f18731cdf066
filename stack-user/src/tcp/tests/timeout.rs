//! The user timeout, and the option that tells it (RFC 5482).

use super::*;

/// The first timeout of a path of a microsecond is 200.001 ms, rounded up to the tick.
const ROUNDED: u64 = 1;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn impatient(limit: Duration) -> Bench {
    let mut bench = Bench::open();
    bench.set(Setting::UserTimeout(Some(limit)));
    bench
}

// CM-8.d. RFC 9293 3.8.3 (MUST-21): the user sets R2; 3.10.8: at the user timeout nothing is sent.
#[test]
fn established_user_timeout_ends_retransmission_at_its_time_in_silence() {
    let mut bench = impatient(secs(3));
    bench.send(b"text");
    bench.sent();
    let (sent, passed) = bench.run_out();
    assert_eq!(passed, 3_000 + ROUNDED);
    assert!(sent.iter().all(|sent| sent.text == b"text"));
    assert_eq!(bench.ended(), Some(CloseReason::TimedOut));
}

#[test]
fn established_user_timeout_longer_than_r2_goes_on() {
    let mut bench = impatient(secs(5_000));
    bench.send(b"text");
    bench.sent();
    let (sent, passed) = bench.run_out();
    assert_eq!(passed, 5_000_000 + ROUNDED);
    assert!(sent.len() > 40, "{}", sent.len());
}

#[test]
fn established_acknowledgment_begins_the_user_timeout_anew() {
    let mut bench = impatient(secs(3));
    bench.send(&[1; 2 * MSS as usize]);
    bench.sent();
    bench.wait();
    bench.wait();
    bench.arrive(segment(IRS + 1, ISS + 1 + u32::from(MSS), ACK, &[]));
    bench.sent();
    let (_, passed) = bench.run_out();
    assert_eq!(passed, 3_000 + ROUNDED);
}

// As on Linux the time runs though probes are answered: the user wants its data to get through.
#[test]
fn established_user_timeout_ends_a_window_that_stays_closed() {
    let mut bench = impatient(secs(10));
    bench.arrive(Segment { window: 0, ..segment(IRS + 1, ISS + 1, ACK, &[]) });
    bench.send(b"text");
    bench.sent();
    let mut passed = 0;
    while bench.tcb.state() == State::Established {
        passed += bench.wait();
        bench.sent();
        bench.arrive(Segment { window: 0, ..segment(IRS + 1, ISS + 1, ACK, &[]) });
    }
    // From the first probe on.
    assert_eq!(passed, 11_000 - 1_000 + 200 + ROUNDED);
}

// CM-8.c. RFC 9293 3.8.6.1 (MUST-36, MUST-37): without one, probes go on as long as the peer
// answers.
#[test]
fn established_closed_window_is_probed_for_as_long_as_the_peer_answers() {
    let mut bench = Bench::open();
    bench.arrive(Segment { window: 0, ..segment(IRS + 1, ISS + 1, ACK, &[]) });
    bench.send(b"text");
    bench.sent();
    for _ in 0..200 {
        bench.wait();
        assert_eq!(bench.sent().len(), 1);
        bench.arrive(Segment { window: 0, ..segment(IRS + 1, ISS + 1, ACK, &[]) });
    }
    assert_eq!(bench.tcb.state(), State::Established);
    bench.arrive(segment(IRS + 1, ISS + 1, ACK, &[]));
    assert_eq!(bench.sent()[0].text, b"text");
}

#[test]
fn established_closed_window_whose_probes_are_not_answered_ends_after_r2() {
    let mut bench = Bench::open();
    bench.arrive(Segment { window: 0, ..segment(IRS + 1, ISS + 1, ACK, &[]) });
    bench.send(b"text");
    bench.sent();
    let (sent, _) = bench.run_out();
    assert_eq!(sent.len(), 15);
    assert_eq!(bench.ended(), Some(CloseReason::TimedOut));
}

#[test]
fn syn_sent_user_timeout_ends_the_open() {
    let mut bench = Bench::opening();
    bench.set(Setting::UserTimeout(Some(secs(5))));
    bench.sent();
    let (_, passed) = bench.run_out();
    assert_eq!((passed, bench.ended()), (5_000, Some(CloseReason::TimedOut)));
}

// RFC 9293 3.8.3 (SHLD-9, SHLD-10, MUST-20, MUST-22): at R1, three timeouts, the user is told, of a
// SYN as of data, and the connection goes on until R2.
#[test]
fn any_state_third_timeout_in_a_row_is_told() {
    let mut established = Bench::open();
    established.send(b"text");
    for mut bench in [established, Bench::opening()] {
        bench.sent();
        let told: Vec<_> = (0..5)
            .map(|_| {
                bench.wait();
                bench.sent();
                bench.tcb.poll_event().trouble
            })
            .collect();
        assert_eq!(told, [None, None, Some(Trouble::Unanswered), None, None]);
        assert!(!bench.run_out().0.is_empty());
    }
}

// RFC 5482 3.1: on the SYN, and on the first segment that is none.
#[test]
fn syn_sent_user_timeout_is_told_on_the_syn_and_once_after() {
    let config = Config { advertise_user_timeout: Some(secs(120)), ..Config::default() };
    let mut bench = Bench::opening_with(config);
    assert_eq!(bench.sent()[0].options.user_timeout, Some(120));
    let options = Options { mss: Some(MSS), ..Options::NONE };
    bench.arrive(Segment { options, ..segment(IRS, ISS + 1, SYN.union(ACK), &[]) });
    assert_eq!(bench.sent()[0].options.user_timeout, Some(120));
    bench.send(&[1; 3000]);
    let sent = bench.sent();
    assert!(sent.iter().all(|sent| sent.options.user_timeout.is_none()));
    assert_eq!(sent[0].text.len(), usize::from(MSS));
    // A change is told once; the segment that tells it is no longer than any other.
    bench.acknowledge(0xffff);
    bench.set(Setting::AdvertiseUserTimeout(Some(secs(40_000))));
    bench.send(&[1; 3000]);
    let sent = bench.sent();
    assert_eq!(sent[0].options.user_timeout, Some(0x8000 | 667));
    assert_eq!(sent[0].text.len(), usize::from(MSS) - 4);
    assert_eq!(sent[1].options.user_timeout, None);
}

/// An open connection that was told this by its peer.
fn told(config: Config, timeout: u16) -> Bench {
    let mut bench = Bench::open_with(config);
    let options = Options { user_timeout: Some(timeout), ..Options::NONE };
    bench.arrive(Segment { options, ..segment(IRS + 1, ISS + 1, ACK, &[]) });
    bench.send(b"text");
    bench.sent();
    bench
}

// CM-4.g. RFC 5482 3.1: min(U_LIMIT, max(ADV_UTO, REMOTE_UTO, L_LIMIT)).
#[test]
fn established_peers_timeout_is_adopted_within_its_bounds_where_that_is_on() {
    let config = Config { adopt_user_timeout: true, ..Config::default() };
    for (timeout, seconds) in [(200, 200), (1, 100), (0x8000 | 500, 3_600)] {
        assert_eq!(
            told(config.clone(), timeout).run_out().1,
            seconds * 1_000 + ROUNDED,
            "{timeout:#x}"
        );
    }
    let advertised = Config { advertise_user_timeout: Some(secs(300)), ..config.clone() };
    assert_eq!(told(advertised, 200).run_out().1, 300_000 + ROUNDED);
    // Zero is reserved, and off is off: R2 decides.
    let r2 = told(config, 0).run_out().1;
    assert_eq!(r2, told(Config::default(), 200).run_out().1);
    assert_eq!(r2 / 1000, 924);
}

// RFC 5482 3.1: what the user has set is not CHANGEABLE.
#[test]
fn established_timeout_set_by_the_user_stays() {
    let config = Config { adopt_user_timeout: true, ..Config::default() };
    let mut bench = told(config, 300);
    bench.set(Setting::UserTimeout(Some(secs(10))));
    assert_eq!(bench.run_out().1, 10_000 + ROUNDED);
}
