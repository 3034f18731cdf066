//! Configurations and settings with any value: what is possible is taken and works, what is not is
//! refused with the bound.

use sluice::tcp::congestion::Algorithm;
use sluice::tcp::{Config, KeepAlive, OutOfRange, Setting, SettingError, SynCookies};
use sluice::time::Duration;

use super::source::Source;

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let config = any_config(&mut source);
    if config.check().is_err() {
        return;
    }
    while !source.is_spent() {
        let setting = setting(&mut source);
        if let Err(SettingError::OutOfRange(bound)) = setting.check(&config) {
            let OutOfRange { given, least, most, .. } = bound;
            assert!(given < least || given > most, "{bound:?}");
            assert!(bound.to_string().contains(bound.name));
        }
    }
}

/// A configuration whose values are possible but for few.
pub fn config(source: &mut Source<'_>) -> Config {
    let window = 2_304 + source.scaled(20) as u32;
    Config {
        receive_window: window,
        max_receive_window: window + source.scaled(24) as u32,
        max_send_buffer: 4_608 + source.scaled(22) as u32,
        delayed_ack: Duration::from_millis(source.scaled(9)),
        retries: 1 + source.u8() % 16,
        orphan_retries: 1 + source.u8() % 16,
        syn_retries: 1 + source.u8() % 8,
        fin_wait_2: Duration::from_millis(1 + source.scaled(18)),
        time_wait: Duration::from_millis(1 + source.scaled(18)),
        nodelay: source.bool(),
        keepalive: source.bool(),
        keepalive_times: keepalive(source),
        user_timeout: source.option(|source| Duration::from_millis(1 + source.scaled(20))),
        advertise_user_timeout: source.option(|source| Duration::from_millis(source.scaled(28))),
        adopt_user_timeout: source.bool(),
        linger: source.option(|source| Duration::from_millis(source.scaled(16))),
        congestion: algorithm(source),
        ..Config::default()
    }
}

fn any_config(source: &mut Source<'_>) -> Config {
    Config {
        receive_window: source.u32(),
        max_receive_window: source.u32(),
        max_send_buffer: source.u32(),
        delayed_ack: time(source),
        syn_retries: source.u8(),
        syn_ack_retries: source.u8(),
        retries: source.u8(),
        orphan_retries: source.u8(),
        fin_wait_2: time(source),
        time_wait: time(source),
        keepalive_times: keepalive(source),
        user_timeout: source.option(time),
        advertise_user_timeout: source.option(time),
        linger: source.option(time),
        syn_cookies: [SynCookies::Never, SynCookies::WhenFull, SynCookies::Always][source.below(3)],
        congestion: algorithm(source),
        ..Config::default()
    }
}

/// Any setting with any value.
pub fn setting(source: &mut Source<'_>) -> Setting {
    match source.below(11) {
        0 => Setting::NoDelay(source.bool()),
        1 => Setting::Cork(source.bool()),
        2 => Setting::QuickAck(source.bool()),
        3 => Setting::KeepAlive(source.option(keepalive)),
        4 => Setting::UserTimeout(source.option(time)),
        5 => Setting::AdvertiseUserTimeout(source.option(time)),
        6 => Setting::AdoptUserTimeout(source.bool()),
        7 => Setting::Linger(source.option(time)),
        8 => Setting::MaxSegment(source.u16()),
        9 => Setting::ReceiveBuffer(source.scaled(32) as u32),
        _ => Setting::SendBuffer(source.scaled(32) as u32),
    }
}

fn keepalive(source: &mut Source<'_>) -> KeepAlive {
    KeepAlive {
        idle: Duration::from_millis(10 + source.scaled(25)),
        interval: Duration::from_millis(10 + source.scaled(25)),
        count: 1 + source.u8() % 128,
    }
}

fn time(source: &mut Source<'_>) -> Duration {
    match source.below(4) {
        0 => Duration::from_nanos(source.u64()),
        1 => Duration::from_secs(source.u64()),
        _ => Duration::from_millis(source.scaled(32)),
    }
}

fn algorithm(source: &mut Source<'_>) -> Algorithm {
    if source.bool() { Algorithm::Cubic } else { Algorithm::NewReno }
}
