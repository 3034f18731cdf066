//! What an operator may set for the connections of a shard.

use super::congestion::Algorithm;
use crate::time::Duration;

/// Limits and times of TCP. The defaults are Linux's where RFC 9293 leaves a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The first receive window in octets.
    pub receive_window: u32,
    /// What a receive window may grow to in octets; it fixes the window scale that is offered.
    pub max_receive_window: u32,
    /// The most octets that a connection may have queued for sending.
    pub max_send_buffer: u32,
    /// How long an acknowledgment may wait for company (RFC 9293, 3.8.6.3: at most 500 ms).
    pub delayed_ack: Duration,
    /// How often a SYN is sent again before the open fails.
    pub syn_retries: u8,
    /// How often a SYN-ACK is sent again before the half-open entry goes.
    pub syn_ack_retries: u8,
    /// How often data or FIN are sent again before the connection fails: R2 of RFC 9293, 3.8.3.
    pub retries: u8,
    /// How long FIN-WAIT-2 lasts with nothing arriving.
    pub fin_wait_2: Duration,
    /// 2MSL: how long TIME-WAIT lasts.
    pub time_wait: Duration,
    /// Whether short segments go out at once (Nagle's algorithm off).
    pub nodelay: bool,
    /// The congestion control of new connections.
    pub congestion: Algorithm,
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
            fin_wait_2: Duration::from_secs(60),
            time_wait: Duration::from_secs(60),
            nodelay: false,
            congestion: Algorithm::default(),
        }
    }
}

impl Config {
    /// The window scale that we offer: the least that can express the largest window (RFC 7323,
    /// section 2.3: at most 14).
    pub(crate) fn window_scale(&self) -> u8 {
        (0..14).find(|scale| self.max_receive_window >> scale <= 0xffff).unwrap_or(14)
    }
}
