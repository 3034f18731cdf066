//! What the user of one connection may set, and the bounds of it.
//!
//! Owns the values and their checks, for a connection and for the configuration that new ones begin
//! with. What a setting does stands where its subject is handled.

use core::fmt;

use super::Config;
use super::config::{FIN_WAIT_2, SYN_RETRIES};
use super::congestion::Algorithm;
use crate::time::Duration;

/// One setting of one connection; new connections begin with those of [`Config`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Short segments go out at once: Nagle's algorithm is off (RFC 9293, 3.7.4).
    NoDelay(bool),
    /// Short segments wait for company until this is off again, for a retransmission timeout at most.
    Cork(bool),
    /// The next acknowledgments go out at once; off, they are delayed from now on. As on Linux this
    /// lasts for a few segments, not for good.
    QuickAck(bool),
    /// Probes for an idle peer (RFC 9293, 3.8.4); `None` for none.
    KeepAlive(Option<KeepAlive>),
    /// How long sent data may stay unacknowledged, a window closed, or a keepalive probe unanswered
    /// before the connection is given up; `None` for as long as the retries last. Once it is set the
    /// peer's wish no longer changes it (RFC 5482, 3.1: CHANGEABLE).
    UserTimeout(Option<Duration>),
    /// The user timeout that the peer is told (RFC 5482: ADV_UTO); `None` for none. On the wire it is
    /// whole seconds, and whole minutes above nine hours.
    AdvertiseUserTimeout(Option<Duration>),
    /// Whether the user timeout follows what the peer tells (RFC 5482).
    AdoptUserTimeout(bool),
    /// What a close does while data is unacknowledged. `None`: the connection goes on in background,
    /// and its user hears of the end. A time: its user hears after that time at the latest. Zero: a
    /// RST, and what is queued is dropped.
    Linger(Option<Duration>),
    /// The most text of a segment, in octets, in both directions; what the peer sends is bounded only
    /// before our SYN.
    MaxSegment(u16),
    /// The receive window in octets, which then grows no more. It never shrinks below what was
    /// offered.
    ReceiveBuffer(u32),
    /// The most octets that may be queued for sending.
    SendBuffer(u32),
    /// How often a SYN is sent again before the open fails (Linux's TCP_SYNCNT).
    SynRetries(u8),
    /// How long FIN-WAIT-2 lasts once the user has closed for good; `None` for what the configuration
    /// says (Linux's TCP_LINGER2).
    FinWait2(Option<Duration>),
    /// The Differentiated Services field of the connection's packets, in the upper six bits of the
    /// octet (RFC 2474); the lower two are ECN's, and zero. Changing it while data is out reorders it.
    TrafficClass(u8),
    /// The hops that the connection's packets may travel: the TTL.
    HopLimit(u8),
    /// How the congestion window grows and falls.
    Congestion(Algorithm),
}

/// How an idle peer is probed (RFC 9293 3.8.4: MUST-27, MAY-5, CM-8.a).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Nothing arrived for that long: the first probe goes out.
    pub idle: Duration,
    /// Between two probes.
    pub interval: Duration,
    /// Probes without any answer before the connection is given up.
    pub count: u8,
}

impl Default for KeepAlive {
    /// RFC 9293 3.8.4 (MUST-28): two hours. The rest is Linux's.
    fn default() -> Self {
        Self { idle: Duration::from_secs(7_200), interval: Duration::from_secs(75), count: 9 }
    }
}

/// A value outside its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange {
    /// What was to be set.
    pub name: &'static str,
    /// The value asked for.
    pub given: u64,
    /// The least that is possible.
    pub least: u64,
    /// The most that is possible.
    pub most: u64,
    /// What these numbers count: `ms`, `octets`, or nothing for a plain number.
    pub unit: &'static str,
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, given, least, most, unit } = self;
        let space = if unit.is_empty() { "" } else { " " };
        if given < least {
            write!(f, "{name} is {given}{space}{unit}, below the least of {least}{space}{unit}")
        } else {
            write!(f, "{name} is {given}{space}{unit}, above the most of {most}{space}{unit}")
        }
    }
}

/// Why a setting was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingError {
    /// The value is impossible.
    OutOfRange(OutOfRange),
    /// The connection is over.
    Closed,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange(error) => error.fmt(f),
            Self::Closed => f.write_str("the connection is over"),
        }
    }
}

impl core::error::Error for SettingError {}

/// Why a configuration was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A value is impossible.
    OutOfRange(OutOfRange),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ConfigError {}

impl Setting {
    /// Whether the value is possible for connections of this configuration.
    ///
    /// # Errors
    /// [`SettingError::OutOfRange`] with the bound.
    pub fn check(&self, config: &Config) -> Result<(), SettingError> {
        let checked = match *self {
            Self::NoDelay(_)
            | Self::Cork(_)
            | Self::QuickAck(_)
            | Self::AdoptUserTimeout(_)
            | Self::Congestion(_) => Ok(()),
            Self::TrafficClass(octet) => check_traffic_class(octet),
            Self::HopLimit(hops) => HOP_LIMIT.check(hops.into()),
            Self::KeepAlive(keepalive) => keepalive.map_or(Ok(()), |keepalive| keepalive.check()),
            Self::UserTimeout(time) => USER_TIMEOUT.check_some(time),
            Self::AdvertiseUserTimeout(time) => ADVERTISED.check_some(time),
            Self::Linger(time) => LINGER.check_some(time),
            Self::MaxSegment(octets) => MAX_SEGMENT.check(octets.into()),
            Self::ReceiveBuffer(octets) => {
                RECEIVE_BUFFER.up_to(config.max_receive_window).check(octets.into())
            }
            Self::SynRetries(count) => SYN_RETRIES.check(count.into()),
            Self::FinWait2(time) => FIN_WAIT_2.check_some(time),
            Self::SendBuffer(octets) => {
                SEND_BUFFER.up_to(config.max_send_buffer).check(octets.into())
            }
        };
        checked.map_err(SettingError::OutOfRange)
    }
}

impl KeepAlive {
    /// Whether the values are possible.
    ///
    /// # Errors
    /// The first that is not, with its bounds.
    pub fn check(&self) -> Result<(), OutOfRange> {
        IDLE.check_time(self.idle)?;
        INTERVAL.check_time(self.interval)?;
        COUNT.check(self.count.into())
    }
}

/// Whether an octet is a Differentiated Services field, with the bits of ECN clear.
pub(super) fn check_traffic_class(octet: u8) -> Result<(), OutOfRange> {
    Bounds::new("ECN bits of the traffic class", 0, 0, "").check(u64::from(octet & 3))
}

/// The bounds of a value.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    name: &'static str,
    least: u64,
    most: u64,
    unit: &'static str,
}

impl Bounds {
    pub(super) const fn new(name: &'static str, least: u64, most: u64, unit: &'static str) -> Self {
        Self { name, least, most, unit }
    }

    pub(super) const fn up_to(self, most: u32) -> Self {
        Self { most: most as u64, ..self }
    }

    pub(super) fn check(self, given: u64) -> Result<(), OutOfRange> {
        let Self { name, least, most, unit } = self;
        if (least..=most).contains(&given) {
            return Ok(());
        }
        Err(OutOfRange { name, given, least, most, unit })
    }

    /// Checks a time in milliseconds; a part of one counts as a whole one, so that only zero is zero.
    pub(super) fn check_time(self, time: Duration) -> Result<(), OutOfRange> {
        self.check(u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }

    pub(super) fn check_some(self, time: Option<Duration>) -> Result<(), OutOfRange> {
        time.map_or(Ok(()), |time| self.check_time(time))
    }
}

/// Linux's bounds are 1 to 32767 s; a test over real time wants less.
const IDLE: Bounds = Bounds::new("keepalive idle time", 10, 32_767_000, "ms");
const INTERVAL: Bounds = Bounds::new("keepalive interval", 10, 32_767_000, "ms");
const COUNT: Bounds = Bounds::new("keepalive count", 1, 127, "");
/// Milliseconds in Linux's signed word: 24 days.
pub(super) const USER_TIMEOUT: Bounds = Bounds::new("user timeout", 1, i32::MAX as u64, "ms");
/// RFC 5482, section 3: 15 bits of minutes; zero says nothing.
pub(super) const ADVERTISED: Bounds =
    Bounds::new("advertised user timeout", 1_000, 32_767 * 60_000, "ms");
pub(super) const LINGER: Bounds = Bounds::new("linger time", 0, 65_535_000, "ms");
/// RFC 9293 3.9.2 (MUST-49): whoever configures a connection says how far its packets may go.
pub(super) const HOP_LIMIT: Bounds = Bounds::new("hop limit", 1, 255, "");
/// Linux's bounds: the options of a segment must leave room for text.
const MAX_SEGMENT: Bounds = Bounds::new("maximum segment", 88, 32_767, "octets");
pub(super) const RECEIVE_BUFFER: Bounds =
    Bounds::new("receive buffer", 2_304, u32::MAX as u64, "octets");
const SEND_BUFFER: Bounds = Bounds::new("send buffer", 4_608, u32::MAX as u64, "octets");
