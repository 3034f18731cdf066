//! What a path does to frames, in one direction.

use sluice::time::Duration;

/// The faults and limits of one direction of a path. Probabilities are from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Impairment {
    /// Time from one end to the other.
    pub(crate) delay: Duration,
    /// The most that is added to `delay` by chance; the order stays.
    pub(crate) jitter: Duration,
    /// How many IP packets are lost.
    pub(crate) loss: f64,
    /// How many frames are overtaken by those behind them.
    pub(crate) reorder: f64,
    /// The most by which an overtaken frame is late.
    pub(crate) lateness: Duration,
    /// How many frames arrive twice.
    pub(crate) duplicate: f64,
    /// How many IP packets have one bit inverted.
    pub(crate) corrupt: f64,
    /// Bits per second; `None` for no limit.
    pub(crate) rate: Option<u64>,
    /// How long a frame may queue for its turn at `rate` before it is dropped.
    pub(crate) queue: Duration,
    /// The longest IP packet in octets; longer ones are dropped in silence.
    pub(crate) mtu: usize,
    /// Options that a box on the way takes out of every SYN.
    pub(crate) strips: Strips,
}

/// Options that a box on the way takes out of every SYN: both ends must do without.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Strips {
    pub(crate) mss: bool,
    pub(crate) window_scale: bool,
    pub(crate) sack: bool,
    pub(crate) timestamps: bool,
}

impl Impairment {
    /// A path without faults.
    pub(crate) fn delay(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// A path of 10 ms that loses this part of the frames.
    pub(crate) fn loss(loss: f64) -> Self {
        Self { loss, ..Self::default() }
    }
}

impl Default for Impairment {
    /// 10 ms, no faults, no limits but Ethernet's MTU.
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            loss: 0.0,
            reorder: 0.0,
            lateness: Duration::from_millis(5),
            duplicate: 0.0,
            corrupt: 0.0,
            rate: None,
            queue: Duration::from_millis(100),
            mtu: 1500,
            strips: Strips::default(),
        }
    }
}
