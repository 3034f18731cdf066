//! Settings and the configuration: what is impossible is refused, and nothing is changed by it.

use super::*;

fn refused(setting: Setting) -> OutOfRange {
    let mut bench = Bench::open();
    let now = bench.now;
    match bench.env(|tcb, env| tcb.configure(setting, env, now)) {
        Err(SettingError::OutOfRange(error)) => error,
        other => panic!("{setting:?} gave {other:?}"),
    }
}

#[test]
fn established_impossible_settings_are_refused_with_their_bound() {
    let times = KeepAlive::default();
    let (zero, day) = (Duration::ZERO, Duration::from_secs(86_400));
    let error = refused(Setting::KeepAlive(Some(KeepAlive { count: 0, ..times })));
    assert_eq!((error.name, error.given, error.least, error.most), ("keepalive count", 0, 1, 127));
    let error = refused(Setting::KeepAlive(Some(KeepAlive { count: 128, ..times })));
    assert_eq!(error.to_string(), "keepalive count is 128, above the most of 127");
    let error = refused(Setting::KeepAlive(Some(KeepAlive { idle: zero, ..times })));
    assert_eq!(error.to_string(), "keepalive idle time is 0 ms, below the least of 10 ms");
    refused(Setting::KeepAlive(Some(KeepAlive { interval: day, ..times })));
    refused(Setting::UserTimeout(Some(zero)));
    refused(Setting::UserTimeout(Some(30 * day)));
    refused(Setting::AdvertiseUserTimeout(Some(Duration::from_millis(999))));
    refused(Setting::AdvertiseUserTimeout(Some(23 * day)));
    refused(Setting::Linger(Some(day)));
    refused(Setting::HopLimit(0));
    refused(Setting::TrafficClass(0xb9));
    refused(Setting::MaxSegment(87));
    refused(Setting::MaxSegment(32_768));
    refused(Setting::ReceiveBuffer(2_303));
    refused(Setting::SendBuffer(4_607));
    // These bounds are the operator's.
    let config = Config::default();
    let error = refused(Setting::ReceiveBuffer(config.max_receive_window + 1));
    assert_eq!(error.most, u64::from(config.max_receive_window));
    let error = refused(Setting::SendBuffer(config.max_send_buffer + 1));
    assert_eq!(error.most, u64::from(config.max_send_buffer));
}

#[test]
fn closed_setting_is_refused() {
    let mut bench = Bench::open();
    bench.env(|tcb, env| tcb.abort(env));
    let now = bench.now;
    let set = bench.env(|tcb, env| tcb.configure(Setting::Cork(true), env, now));
    assert_eq!(set, Err(SettingError::Closed));
}

// RFC 9293 3.8.6.3 (MUST-40): less than half a second, whatever is asked for.
#[test]
fn default_configuration_is_possible_and_impossible_ones_are_named() {
    let good = Config::default();
    assert_eq!(good.check(), Ok(()));
    let zero = Duration::ZERO;
    let bad = [
        (Config { max_receive_window: 1 << 31, ..good.clone() }, "largest receive window"),
        (Config { receive_window: 7 << 20, ..good.clone() }, "receive buffer"),
        (Config { max_send_buffer: 1, ..good.clone() }, "largest send buffer"),
        (
            Config { delayed_ack: Duration::from_millis(500), ..good.clone() },
            "delayed acknowledgment",
        ),
        (Config { syn_retries: 0, ..good.clone() }, "SYN retries"),
        (Config { syn_ack_retries: 128, ..good.clone() }, "SYN-ACK retries"),
        (Config { retries: 0, ..good.clone() }, "retries"),
        (Config { orphan_retries: 0, ..good.clone() }, "orphan retries"),
        (Config { fin_wait_2: zero, ..good.clone() }, "FIN-WAIT-2"),
        (Config { time_wait: zero, ..good.clone() }, "TIME-WAIT"),
        (Config { user_timeout: Some(zero), ..good.clone() }, "user timeout"),
        (Config { advertise_user_timeout: Some(zero), ..good.clone() }, "advertised user timeout"),
        (Config { linger: Some(Duration::MAX), ..good.clone() }, "linger time"),
        (Config { hop_limit: 0, ..good.clone() }, "hop limit"),
        (Config { traffic_class: 3, ..good.clone() }, "ECN bits of the traffic class"),
        (
            Config {
                keepalive_times: KeepAlive { interval: zero, ..KeepAlive::default() },
                ..good.clone()
            },
            "keepalive interval",
        ),
    ];
    for (config, name) in bad {
        let Err(ConfigError::OutOfRange(error)) = config.check() else { panic!("{name}") };
        assert_eq!(error.name, name);
        assert!(error.to_string().starts_with(name), "{error}");
    }
}

// RFC 9293 3.7.1 (MUST-14): what we offer, and what we send.
#[test]
fn syn_sent_max_segment_bounds_the_offer_and_what_is_sent() {
    let mut bench = Bench::opening();
    bench.set(Setting::MaxSegment(1000));
    assert_eq!(bench.sent()[0].options.mss, Some(1000));
    let options = Options { mss: Some(MSS), ..Options::NONE };
    bench.arrive(Segment { options, ..segment(IRS, ISS + 1, SYN.union(ACK), &[]) });
    bench.send(&[1; 2000]);
    assert_eq!(bench.sent()[0].text.len(), 1000);
}

#[test]
fn established_receive_buffer_is_the_window_and_grows_no_more() {
    let mut bench = Bench::opening();
    bench.set(Setting::ReceiveBuffer(4_000));
    assert_eq!(bench.sent()[0].window, 4_000);
    let options = Options { mss: Some(MSS), ..Options::NONE };
    bench.arrive(Segment { options, ..segment(IRS, ISS + 1, SYN.union(ACK), &[]) });
    bench.sent();
    for i in 0..50 {
        bench.now = bench.now + Duration::from_millis(20);
        bench.arrive(segment(IRS + 1 + 1000 * i, ISS + 1, ACK, &[7; 1000]));
        assert!(bench.sent().iter().all(|sent| sent.window <= 4_000));
    }
    assert_eq!(bench.got.len(), 50_000);
}

#[test]
fn established_send_buffer_bounds_what_is_queued() {
    let mut bench = Bench::open();
    bench.set(Setting::SendBuffer(10_000));
    assert_eq!(bench.send(&[1; 20_000]), 10_000);
    assert_eq!(bench.tcb.unacknowledged(), 10_000);
    bench.sent();
    assert_eq!(bench.tcb.unsent(), 0);
    bench.acknowledge(0xffff);
    assert_eq!((bench.tcb.unacknowledged(), bench.send(&[1; 20_000])), (0, 10_000));
}
