//! What an operator may set for the connections of a shard.

use super::congestion::Algorithm;
use super::settings::{
    ADVERTISED, Bounds, ConfigError, HOP_LIMIT, KeepAlive, LINGER, RECEIVE_BUFFER, USER_TIMEOUT,
    check_traffic_class,
};
use crate::time::Duration;
use crate::wire::ipv4::Delivery;

/// Limits and times of TCP. The defaults are Linux's where RFC 9293 leaves a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The first receive window in octets.
    pub receive_window: u32,
    /// What a receive window may grow to in octets; it fixes the window scale that is offered.
    pub max_receive_window: u32,
    /// The most octets that a connection may have queued for sending.
    pub max_send_buffer: u32,
    /// How long an acknowledgment may wait for company (RFC 9293, 3.8.6.3: at most 500 ms); zero
    /// acknowledges each segment at once.
    pub delayed_ack: Duration,
    /// How often a SYN is sent again before the open fails (RFC 9293 3.8.3: MUST-23, CM-2.c,
    /// CM-2.e).
    pub syn_retries: u8,
    /// How often a SYN-ACK is sent again before the half-open entry goes (CM-2.d, CM-2.e).
    pub syn_ack_retries: u8,
    /// How often data or FIN are sent again before the connection fails: R2 of RFC 9293, 3.8.3
    /// (SHLD-11).
    pub retries: u8,
    /// As `retries`, once the user has closed for good and nobody waits for the outcome.
    pub orphan_retries: u8,
    /// How long FIN-WAIT-2 lasts once the user has closed for good.
    pub fin_wait_2: Duration,
    /// 2MSL: how long TIME-WAIT lasts (CM-6.a).
    pub time_wait: Duration,
    /// Whether short segments go out at once (Nagle's algorithm off).
    pub nodelay: bool,
    /// Whether new connections probe an idle peer (RFC 9293, 3.8.4).
    pub keepalive: bool,
    /// How a connection that was not told otherwise probes an idle peer.
    pub keepalive_times: KeepAlive,
    /// How long sent data may stay unacknowledged; `None` for as long as the retries last.
    pub user_timeout: Option<Duration>,
    /// The user timeout that peers are told (RFC 5482); `None` for none.
    pub advertise_user_timeout: Option<Duration>,
    /// Whether the user timeout follows what a peer tells (RFC 5482).
    pub adopt_user_timeout: bool,
    /// What a close does while data is unacknowledged, as
    /// [`Setting::Linger`](super::Setting::Linger).
    pub linger: Option<Duration>,
    /// The Differentiated Services field of new connections' packets, in the upper six bits, as
    /// [`Setting::TrafficClass`](super::Setting::TrafficClass).
    pub traffic_class: u8,
    /// The hops that packets may travel: the TTL.
    pub hop_limit: u8,
    /// Whether SACK is offered and taken (RFC 2018).
    pub sack: bool,
    /// Whether timestamps are offered and taken (RFC 7323, section 3).
    pub timestamps: bool,
    /// Whether window scaling is offered and taken (RFC 7323, section 2).
    pub window_scaling: bool,
    /// The least segments of a burst that ends with PSH (Linux's tcp_min_tso_segs).
    pub min_burst: u8,
    /// The congestion control of new connections.
    pub congestion: Algorithm,
    /// When a peer's SYN is answered by a cookie rather than remembered.
    pub syn_cookies: SynCookies,
    /// Whether the last acknowledgment of a handshake is answered by RST when the accept queue is
    /// full. Otherwise it is dropped, and the peer tries again.
    pub abort_on_overflow: bool,
}

/// When a peer's SYN is answered by a cookie rather than remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SynCookies {
    /// Never: what finds no room is dropped.
    Never,
    /// When there is no room to remember it.
    #[default]
    WhenFull,
    /// Always, which is meant for tests.
    Always,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            receive_window: 64 << 10,
            max_receive_window: 6 << 20,
            max_send_buffer: 4 << 20,
            delayed_ack: Duration::from_millis(40),
            syn_retries: 7,
            syn_ack_retries: 5,
            retries: 15,
            orphan_retries: 8,
            fin_wait_2: Duration::from_secs(60),
            time_wait: Duration::from_secs(60),
            nodelay: false,
            // RFC 9293 3.8.4 (MUST-25), CM-8.b.
            keepalive: false,
            keepalive_times: KeepAlive::default(),
            user_timeout: None,
            advertise_user_timeout: None,
            adopt_user_timeout: false,
            linger: None,
            traffic_class: 0,
            hop_limit: Delivery::default().hop_limit,
            sack: true,
            timestamps: true,
            window_scaling: true,
            min_burst: 2,
            congestion: Algorithm::default(),
            syn_cookies: SynCookies::default(),
            abort_on_overflow: false,
        }
    }
}

impl Config {
    /// How packets without a connection of their own are carried.
    pub(crate) fn delivery(&self) -> Delivery {
        Delivery { traffic_class: self.traffic_class, hop_limit: self.hop_limit }
    }

    /// Whether every value is possible. Whoever makes a shard asks first.
    ///
    /// # Errors
    /// The first value that is not, with its bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let checks = [
            Bounds::new("largest receive window", 2_304, MAX_BUFFER, "octets")
                .check(self.max_receive_window.into()),
            RECEIVE_BUFFER.up_to(self.max_receive_window).check(self.receive_window.into()),
            Bounds::new("largest send buffer", 4_608, MAX_BUFFER, "octets")
                .check(self.max_send_buffer.into()),
            DELAYED_ACK.check_time(self.delayed_ack),
            SYN_RETRIES.check(self.syn_retries.into()),
            SYN_ACK_RETRIES.check(self.syn_ack_retries.into()),
            RETRIES.check(self.retries.into()),
            ORPHAN_RETRIES.check(self.orphan_retries.into()),
            FIN_WAIT_2.check_time(self.fin_wait_2),
            TIME_WAIT.check_time(self.time_wait),
            self.keepalive_times.check(),
            USER_TIMEOUT.check_some(self.user_timeout),
            ADVERTISED.check_some(self.advertise_user_timeout),
            LINGER.check_some(self.linger),
            check_traffic_class(self.traffic_class),
            HOP_LIMIT.check(self.hop_limit.into()),
        ];
        checks.into_iter().collect::<Result<(), _>>().map_err(ConfigError::OutOfRange)
    }

    /// The window scale that we offer: the least that can express the largest window (RFC 7323,
    /// section 2.3: at most 14).
    pub(crate) fn window_scale(&self) -> u8 {
        window_scale(self.max_receive_window)
    }
}

/// The least scale that can express a window of `octets` (RFC 7323, section 2.3: at most 14).
pub(crate) fn window_scale(octets: u32) -> u8 {
    (0..14).find(|scale| octets >> scale <= 0xffff).unwrap_or(14)
}

/// The first window of a connection whose buffer has room for `octets`: whole segments, as Linux
/// offers them. A buffer of 65,535, the most that a SYN can say, is offered as it is.
pub(crate) fn first_window(octets: u32, mss: u32) -> u32 {
    if octets == 0xffff || octets < mss || mss == 0 { octets } else { octets - octets % mss }
}

/// RFC 7323, section 2.3: the largest window that the largest shift can express.
const MAX_BUFFER: u64 = 1 << 30;
/// RFC 9293, 3.8.6.3 (MUST-40): less than half a second.
const DELAYED_ACK: Bounds = Bounds::new("delayed acknowledgment", 0, 499, "ms");
pub(super) const SYN_RETRIES: Bounds = Bounds::new("SYN retries", 1, 127, "");
const SYN_ACK_RETRIES: Bounds = Bounds::new("SYN-ACK retries", 0, 127, "");
const RETRIES: Bounds = Bounds::new("retries", 1, 127, "");
const ORPHAN_RETRIES: Bounds = Bounds::new("orphan retries", 1, 127, "");
const DAY: u64 = 24 * 3_600_000;
pub(super) const FIN_WAIT_2: Bounds = Bounds::new("FIN-WAIT-2", 1, DAY, "ms");
const TIME_WAIT: Bounds = Bounds::new("TIME-WAIT", 1, DAY, "ms");
