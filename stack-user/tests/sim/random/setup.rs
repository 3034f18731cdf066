//! What is drawn for a run: the nodes' limits and patience, their actors' temper, the path's faults.

use sluice::shard::{Limits, ShardConfig};
use sluice::tables::listeners::{Accepts, Listener};
use sluice::tcp::congestion::Algorithm;
use sluice::tcp::{self, KeepAlive, SynCookies};
use sluice::time::Duration;

use super::actor::Temper;
use crate::impairment::{Impairment, Strips};
use crate::node::{PORT, config};
use crate::seed::Rng;

/// What a node is made of, each time it comes back.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) config: ShardConfig,
    /// The listener whose connections wait to be accepted.
    pub(super) on_call: Listener,
    pub(super) temper: Temper,
}

/// The port of [`Setup::on_call`].
pub(super) const ON_CALL: u16 = PORT + 1;

pub(super) type LocalPorts = std::ops::RangeInclusive<u16>;

/// Many local ports, or so few that names are used again at once.
pub(super) fn local_ports(rng: &mut Rng) -> LocalPorts {
    40_000..=[40_002, 40_007, 49_999][rng.below(3) as usize]
}

pub(super) fn setup(n: u8, seed: u64, (mtu, ports): (usize, LocalPorts), rng: &mut Rng) -> Setup {
    let mut config = config(n, seed);
    config.mtu = mtu as u16;
    config.local_ports = ports;
    if rng.chance(0.3) {
        config.limits = Limits {
            connections: 2 + rng.below(16) as usize,
            half_open: 1 + rng.below(8) as usize,
            time_wait: rng.below(8) as usize,
            buffers: 1 << (20 + rng.below(3)),
            ..config.limits
        };
    }
    config.tcp = stack(rng);
    let temper = Temper {
        operations: 1 + rng.below(24),
        burst_bits: 8 + rng.below(13),
        pause: Duration::from_micros(1 + rng.scaled(8_000_000)),
        abort: if rng.chance(0.5) { 0.3 } else { 0.0 },
    };
    let on_call = Listener {
        backlog: rng.scaled(8) as u32,
        accepts: Accepts::OnCall,
        defers_accept: rng.chance(0.2).then(|| Duration::from_secs(rng.scaled(60))),
        ..Listener::new(None, ON_CALL, 0)
    };
    Setup { config, on_call, temper }
}

#[allow(clippy::needless_update, reason = "what is not drawn here is as usual")]
fn stack(rng: &mut Rng) -> tcp::Config {
    let window = 2_304 + rng.scaled(200_000) as u32;
    let seconds = |rng: &mut Rng, most: u64| Duration::from_secs(1 + rng.scaled(most));
    let config = tcp::Config {
        receive_window: window,
        max_receive_window: window.max(1 << (10 + rng.below(14))),
        max_send_buffer: 4_608 + rng.scaled(4 << 20) as u32,
        nodelay: rng.chance(0.5),
        delayed_ack: Duration::from_millis(rng.below(100)),
        retries: 5 + rng.below(8) as u8,
        orphan_retries: 4 + rng.below(8) as u8,
        syn_retries: 1 + rng.below(7) as u8,
        syn_ack_retries: rng.below(6) as u8,
        fin_wait_2: seconds(rng, 600),
        time_wait: Duration::from_millis(1 + rng.scaled(240_000)),
        keepalive: rng.chance(0.3),
        keepalive_times: KeepAlive {
            idle: seconds(rng, 100),
            interval: seconds(rng, 30),
            count: 1 + rng.below(5) as u8,
        },
        user_timeout: rng.chance(0.2).then(|| seconds(rng, 100)),
        advertise_user_timeout: rng.chance(0.2).then(|| seconds(rng, 100)),
        adopt_user_timeout: rng.chance(0.3),
        linger: rng.chance(0.2).then(|| Duration::from_millis(rng.scaled(20_000))),
        syn_cookies: [SynCookies::Never, SynCookies::WhenFull, SynCookies::Always]
            [rng.below(3) as usize],
        abort_on_overflow: rng.chance(0.3),
        congestion: if rng.chance(0.5) { Algorithm::Cubic } else { Algorithm::NewReno },
        ..tcp::Config::default()
    };
    config.check().expect("possible values");
    config
}

/// The faults of one direction.
pub(super) fn faults(rng: &mut Rng, mtu: usize, strips: Strips) -> Impairment {
    let mut part = |most: f64| match rng.chance(0.5) {
        true => (rng.below(1_000) as f64 / 1_000.0) * most,
        false => 0.0,
    };
    let impairment = Impairment {
        loss: part(0.3),
        reorder: part(0.3),
        duplicate: part(0.3),
        corrupt: part(0.1),
        mtu,
        strips,
        ..Impairment::default()
    };
    Impairment {
        delay: Duration::from_micros(1 + rng.scaled(200_000)),
        jitter: Duration::from_micros(rng.scaled(40_000)),
        lateness: Duration::from_micros(rng.scaled(300_000)),
        rate: rng.chance(0.3).then(|| 200_000 + rng.scaled(100_000_000)),
        queue: Duration::from_millis(5 + rng.scaled(500)),
        ..impairment
    }
}

/// Both directions lose the same options: a box that takes an answer away that was agreed breaks any
/// connection.
pub(super) fn strips(rng: &mut Rng) -> Strips {
    if rng.chance(0.6) {
        return Strips::default();
    }
    Strips {
        mss: rng.chance(0.2),
        window_scale: rng.chance(0.4),
        sack: rng.chance(0.4),
        timestamps: rng.chance(0.4),
    }
}
