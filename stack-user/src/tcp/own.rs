//! What one connection was told that others were not, and its yes-or-no state.
//!
//! Most connections live by the configuration alone: what differs lies in a box that is there only
//! where something does. The meaning of each setting stands with its subject.

use super::tcb::Ack;
use super::{Config, Env, KeepAlive, SeqNum, Setting, SettingError, State, Tcb};
use crate::time::{Duration, Instant};
use crate::wire::ipv4::Delivery;

/// A bit of [`Switches`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Switch {
    /// Short segments go out at once.
    NoDelay = 1,
    /// Short segments wait.
    Cork = 1 << 1,
    /// An idle peer is probed.
    KeepAlive = 1 << 2,
    /// The user timeout follows what the peer tells.
    AdoptTimeout = 1 << 3,
    /// The next segment without SYN tells the peer our user timeout.
    OwesTimeout = 1 << 4,
    /// The user closed for good: nobody reads, nobody writes.
    Closed = 1 << 5,
    /// The user reads no more: what arrives is acknowledged and dropped.
    Deaf = 1 << 6,
    /// The receive window was set, and grows no more.
    FixedWindow = 1 << 7,
    /// What is held back goes out now, whatever holds it.
    Pushed = 1 << 8,
    /// Timestamps are agreed (RFC 7323).
    Stamps = 1 << 9,
    /// SACK is agreed (RFC 2018).
    Sack = 1 << 10,
    /// The user was told that the send buffer is full.
    Starved = 1 << 11,
    /// The user closed before the handshake was over.
    ClosesWhenOpen = 1 << 12,
    /// The peer's FIN was seen.
    FinSeen = 1 << 13,
    /// The connection was aborted, reset or given up: what is unread is of no use.
    TextLost = 1 << 14,
    /// An idle peer is to be asked whether it is there (RFC 9293, 3.8.4).
    OwesKeepAlive = 1 << 15,
    /// A SYN is owed, or SYN and ACK in SYN-RECEIVED.
    OwesSyn = 1 << 16,
    /// A RST is owed, after an abort.
    OwesRst = 1 << 17,
    /// A zero-window probe is owed, or what the sender's SWS avoidance held back.
    OwesProbe = 1 << 18,
}

/// Yes-or-no state of a connection, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Switches(u32);

impl Switches {
    /// No switch.
    pub const NONE: Self = Self(0);

    /// These, and one more.
    pub const fn with(self, switch: Switch) -> Self {
        Self(self.0 | switch as u32)
    }

    /// Those of `others` that are on.
    pub const fn among(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Those that `others` has not.
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Whether any of `others` is on.
    pub const fn has_any_of(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    pub fn has(self, switch: Switch) -> bool {
        self.0 & switch as u32 != 0
    }

    pub fn set(&mut self, switch: Switch, on: bool) {
        if on { self.0 |= switch as u32 } else { self.0 &= !(switch as u32) }
    }

    /// Turns a switch off; whether it was on.
    pub fn take(&mut self, switch: Switch) -> bool {
        let was = self.has(switch);
        self.set(switch, false);
        was
    }

    /// What a new connection begins with.
    pub fn of(config: &Config) -> Self {
        let mut switches = Self::default();
        switches.set(Switch::NoDelay, config.nodelay);
        switches.set(Switch::KeepAlive, config.keepalive);
        switches.set(Switch::AdoptTimeout, config.adopt_user_timeout);
        switches.set(Switch::OwesTimeout, config.advertise_user_timeout.is_some());
        switches
    }
}

/// What the user said of the text behind its last (Linux's MSG_MORE).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum More {
    /// Nothing: what is queued is to be delivered.
    #[default]
    Unsaid,
    /// It follows, and nothing has arrived since: the last short segment waits, as behind a cork.
    Held,
    /// It follows: the last segment carries no PSH.
    Announced,
}

/// Where a connection differs from its configuration, and what few connections ever need.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub keepalive: Option<KeepAlive>,
    /// The user set it; `Some(None)` is without limit.
    pub user_timeout: Option<Option<Duration>>,
    /// REMOTE_UTO of RFC 5482.
    pub remote_timeout: Option<Duration>,
    pub advertised: Option<Option<Duration>>,
    pub linger: Option<Option<Duration>>,
    /// The most octets that may be queued for sending.
    pub send_buffer: Option<u32>,
    /// How often a SYN is sent again.
    pub syn_retries: Option<u8>,
    /// How long FIN-WAIT-2 lasts once the user has closed for good.
    pub fin_wait_2: Option<Duration>,
    pub traffic_class: Option<u8>,
    pub hop_limit: Option<u8>,
    /// Whether the user said that more text follows.
    pub more: More,
    /// SND.UP, until it is acknowledged.
    pub snd_up: Option<SeqNum>,
    /// RCV.UP, until the user has read past it.
    pub rcv_up: Option<SeqNum>,
    /// A smaller path MTU that an ICMP message claimed of the segment that began at this number, and
    /// that waits for proof.
    pub claimed_mtu: Option<(u16, SeqNum)>,
}

impl Tcb {
    /// Changes a setting of this connection.
    ///
    /// # Errors
    /// [`SettingError`], and nothing was changed.
    pub fn configure(
        &mut self,
        setting: Setting,
        env: &mut Env<'_>,
        now: Instant,
    ) -> Result<(), SettingError> {
        setting.check(env.config)?;
        if self.state() == State::Closed {
            return Err(SettingError::Closed);
        }
        match setting {
            Setting::NoDelay(on) => {
                self.switches.set(Switch::NoDelay, on);
                // As on Linux this also sends what a cork holds at the moment.
                self.switches.set(Switch::Pushed, on);
            }
            Setting::Cork(on) => {
                self.switches.set(Switch::Cork, on);
                self.switches.set(Switch::Pushed, !on);
            }
            Setting::QuickAck(on) => self.set_quick_ack(on),
            Setting::KeepAlive(keepalive) => {
                self.switches.set(Switch::KeepAlive, keepalive.is_some());
                if keepalive.is_some_and(|times| times != *self.keepalive_times(env.config)) {
                    self.own_mut().keepalive = keepalive;
                }
                self.restart_keepalive(env.config, now);
            }
            Setting::UserTimeout(time) => self.own_mut().user_timeout = Some(time),
            Setting::AdvertiseUserTimeout(time) => {
                self.own_mut().advertised = Some(time);
                self.switches.set(Switch::OwesTimeout, time.is_some());
            }
            Setting::AdoptUserTimeout(on) => self.switches.set(Switch::AdoptTimeout, on),
            Setting::Linger(time) => self.own_mut().linger = Some(time),
            Setting::MaxSegment(octets) => {
                self.snd.mss = self.snd.mss.min(octets);
                self.rcv.mss = self.rcv.mss.min(octets);
            }
            Setting::ReceiveBuffer(octets) => {
                self.rcv.limit = octets;
                self.switches.set(Switch::FixedWindow, true);
            }
            Setting::SendBuffer(octets) => self.own_mut().send_buffer = Some(octets),
            Setting::SynRetries(count) => self.own_mut().syn_retries = Some(count),
            Setting::FinWait2(time) => self.own_mut().fin_wait_2 = time,
            // RFC 9293 3.9.1.9 (MUST-48, SHLD-21, SHLD-23): the user's to choose, at any time; it stays
            // as it is while the user leaves it alone.
            Setting::TrafficClass(octet) => self.own_mut().traffic_class = Some(octet),
            Setting::HopLimit(hops) => self.own_mut().hop_limit = Some(hops),
            Setting::Congestion(algorithm) => self.cc.choose(algorithm),
        }
        Ok(())
    }

    fn set_quick_ack(&mut self, on: bool) {
        self.rcv.quick = if on { super::tcb::QUICK_ACKS } else { 0 };
        if on && self.owed.ack == Ack::Delayed {
            self.owed.ack = Ack::Now;
        }
    }

    /// What the user said of the text behind its last.
    pub(super) fn more(&self) -> More {
        self.own.as_ref().map_or(More::Unsaid, |own| own.more)
    }

    pub(super) fn set_more(&mut self, more: More) {
        if more != self.more() {
            self.own_mut().more = more;
        }
    }

    pub(super) fn own_mut(&mut self) -> &mut Own {
        self.own.get_or_insert_default()
    }

    /// How an idle peer of this connection is probed.
    pub(super) fn keepalive_times<'a>(&'a self, config: &'a Config) -> &'a KeepAlive {
        let own = self.own.as_ref().and_then(|own| own.keepalive.as_ref());
        own.unwrap_or(&config.keepalive_times)
    }

    /// How long the peer may be silent while something is due from it.
    pub(super) fn user_timeout(&self, config: &Config) -> Option<Duration> {
        // CM-8.d: the user's, the peer's where it is adopted, or the configuration's.
        let own = self.own.as_deref();
        if let Some(set) = own.and_then(|own| own.user_timeout) {
            return set;
        }
        let remote = own.and_then(|own| own.remote_timeout);
        match remote.filter(|_| self.switches.has(Switch::AdoptTimeout)) {
            // RFC 5482 3.1: USER_TIMEOUT = min(U_LIMIT, max(ADV_UTO, REMOTE_UTO, L_LIMIT)).
            Some(remote) => {
                let advertised = self.advertised_timeout(config).unwrap_or_default();
                Some(remote.max(advertised).clamp(LOWER_LIMIT, UPPER_LIMIT))
            }
            None => config.user_timeout,
        }
    }

    /// The user timeout that the peer is told (RFC 5482: ADV_UTO).
    pub(super) fn advertised_timeout(&self, config: &Config) -> Option<Duration> {
        let own = self.own.as_ref().and_then(|own| own.advertised);
        own.unwrap_or(config.advertise_user_timeout)
    }

    /// How often our SYN is sent again.
    pub(super) fn syn_retries(&self, config: &Config) -> u8 {
        self.own.as_ref().and_then(|own| own.syn_retries).unwrap_or(config.syn_retries)
    }

    /// How long FIN-WAIT-2 lasts once the user has closed for good.
    pub(super) fn fin_wait_2(&self, config: &Config) -> Duration {
        self.own.as_ref().and_then(|own| own.fin_wait_2).unwrap_or(config.fin_wait_2)
    }

    /// How IP is asked to carry the connection's packets.
    pub fn delivery(&self, config: &Config) -> Delivery {
        let own = self.own.as_deref();
        let (class, hops) =
            (own.and_then(|own| own.traffic_class), own.and_then(|own| own.hop_limit));
        Delivery {
            traffic_class: class.unwrap_or(config.traffic_class),
            hop_limit: hops.unwrap_or(config.hop_limit),
        }
    }

    /// What a close does while data is unacknowledged.
    pub(super) fn linger(&self, config: &Config) -> Option<Duration> {
        self.own.as_ref().and_then(|own| own.linger).unwrap_or(config.linger)
    }

    /// The peer told its user timeout; `value` is the option's field. Zero says nothing.
    pub(super) fn on_peer_timeout(&mut self, value: u16) {
        // CM-4.g.
        // RFC 5482 3.1: it is followed only where the user allowed it.
        if self.switches.has(Switch::AdoptTimeout) && value & !MINUTES != 0 {
            self.own_mut().remote_timeout = Some(from_wire(value));
        }
    }
}

/// The field of the user timeout option (RFC 5482, section 3): seconds, or minutes where seconds do
/// not fit in 15 bits.
pub(super) fn to_wire(time: Duration) -> u16 {
    let seconds = time.as_secs().max(1);
    match u16::try_from(seconds) {
        Ok(seconds) if seconds < MINUTES => seconds,
        _ => MINUTES | (seconds.div_ceil(60)).min(u64::from(!MINUTES)) as u16,
    }
}

fn from_wire(value: u16) -> Duration {
    let unit = if value & MINUTES != 0 { 60 } else { 1 };
    Duration::from_secs(u64::from(value & !MINUTES) * unit)
}

/// The granularity bit.
const MINUTES: u16 = 0x8000;
/// L_LIMIT of RFC 5482, section 3.1: R2's 100 seconds.
const LOWER_LIMIT: Duration = Duration::from_secs(100);
/// U_LIMIT: no peer keeps a connection of ours longer than this without an answer.
const UPPER_LIMIT: Duration = Duration::from_secs(3_600);

/// Switches that are a question to output.
pub(super) const ASKS: Switches = Switches::NONE
    .with(Switch::Pushed)
    .with(Switch::OwesKeepAlive)
    .with(Switch::OwesSyn)
    .with(Switch::OwesRst)
    .with(Switch::OwesProbe);

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 5482 section 3.
    #[test]
    fn timeouts_are_seconds_on_the_wire_and_minutes_where_seconds_do_not_fit() {
        for (seconds, wire) in [(1, 1), (100, 100), (32_767, 32_767)] {
            assert_eq!(to_wire(Duration::from_secs(seconds)), wire);
            assert_eq!(from_wire(wire), Duration::from_secs(seconds));
        }
        assert_eq!(to_wire(Duration::from_secs(32_768)), MINUTES | 547);
        assert_eq!(from_wire(MINUTES | 547), Duration::from_secs(547 * 60));
        assert_eq!(to_wire(Duration::from_secs(1 << 40)), u16::MAX);
    }
}
