//! What the flags string of the tool (`--so_flags`) sets.

use core::net::Ipv4Addr;
use core::str::FromStr;

use crate::tcp::Config;
use crate::tcp::congestion::Algorithm;
use crate::time::Duration;

/// The values of the flags string: `key=value` pairs with commas between them. docs/operations.md
/// tells them to users.
///
/// | key | value | default |
/// |---|---|---|
/// | `local` | our IPv4 address for connections that were not bound | 192.168.0.1 |
/// | `mtu` | octets, 68 to 9000 | 1500 |
/// | `cc` | `cubic` or `reno` | `cubic` |
/// | `sack`, `timestamps`, `window_scaling` | `0` or `1` | `1` |
/// | `rcvbuf` | a new socket's receive buffer in octets, as the middle number of tcp_rmem | 131072 |
/// | `max_rcvbuf` | what it may grow to, which fixes the window scale | 15728640 |
/// | `sndbuf` | a new socket's send buffer in octets | 262144 |
/// | `max_sndbuf` | what it may grow to | 4194304 |
/// | `syn_retries`, `synack_retries`, `retries` | counts | 7, 5, 15 |
/// | `fin_timeout_ms`, `time_wait_ms` | milliseconds | 60000 |
/// | `sysctl` | `1`: follow the changes that a script makes to net.ipv4.tcp_* while it runs | `1` |
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flags {
    /// Our address until another is bound or a packet comes for it.
    pub local: Ipv4Addr,
    /// The MTU of the link in octets.
    pub mtu: u16,
    /// What the connections of a socket begin with.
    pub defaults: Defaults,
    /// Whether changes of net.ipv4.tcp_* are followed.
    pub follows_sysctl: bool,
    /// TCP's limits and times.
    pub tcp: Config,
}

/// What SO_RCVBUF, SO_SNDBUF and the like are on a new socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Defaults {
    /// SO_RCVBUF in octets.
    pub receive_buffer: u32,
    /// SO_SNDBUF in octets.
    pub send_buffer: u32,
    /// TCP_NOTSENT_LOWAT in octets, zero for none.
    pub notsent_lowat: u32,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            local: Ipv4Addr::new(192, 168, 0, 1),
            mtu: 1500,
            defaults: Defaults { receive_buffer: 131_072, send_buffer: 262_144, notsent_lowat: 0 },
            follows_sysctl: true,
            tcp: Config { max_receive_window: MAX_RECEIVE_BUFFER, ..Config::default() },
        }
    }
}

impl FromStr for Flags {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut flags = Self::default();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or(format!("`{pair}` is not key=value"))?;
            flags.set(key.trim(), value.trim())?;
        }
        flags.settle();
        flags.tcp.check().map_err(|error| error.to_string())?;
        Ok(flags)
    }
}

impl Flags {
    /// Takes over what a new socket's receive buffer means for its first window. Linux counts half of
    /// the buffer as overhead, and begins with no more than a SYN can say.
    pub(super) fn settle(&mut self) {
        let window = self.defaults.receive_buffer / 2;
        self.tcp.receive_window = if window > BEYOND_A_SYN { 0xffff } else { window };
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let tcp = &mut self.tcp;
        match key {
            "local" => self.local = parse(key, value)?,
            "mtu" => {
                self.mtu = parse(key, value)?;
                if !(68..=9000).contains(&self.mtu) {
                    return Err(format!("mtu is {}, not between 68 and 9000 octets", self.mtu));
                }
            }
            "cc" => {
                tcp.congestion = Algorithm::named(value)
                    .ok_or(format!("cc is `{value}`, neither cubic nor reno"))?;
            }
            "sack" => tcp.sack = parse_switch(key, value)?,
            "timestamps" => tcp.timestamps = parse_switch(key, value)?,
            "window_scaling" => tcp.window_scaling = parse_switch(key, value)?,
            "rcvbuf" => self.defaults.receive_buffer = parse(key, value)?,
            "max_rcvbuf" => tcp.max_receive_window = parse(key, value)?,
            "sndbuf" => self.defaults.send_buffer = parse(key, value)?,
            "max_sndbuf" => tcp.max_send_buffer = parse(key, value)?,
            "syn_retries" => tcp.syn_retries = parse(key, value)?,
            "synack_retries" => tcp.syn_ack_retries = parse(key, value)?,
            "retries" => tcp.retries = parse(key, value)?,
            "fin_timeout_ms" => tcp.fin_wait_2 = parse_millis(key, value)?,
            "time_wait_ms" => tcp.time_wait = parse_millis(key, value)?,
            "sysctl" => self.follows_sysctl = parse_switch(key, value)?,
            _ => return Err(format!("there is no flag `{key}`")),
        }
        Ok(())
    }
}

fn parse<T: FromStr>(key: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{key} cannot be `{value}`"))
}

fn parse_switch(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(format!("{key} is `{value}`, neither 0 nor 1")),
    }
}

fn parse_millis(key: &str, value: &str) -> Result<Duration, String> {
    parse(key, value).map(Duration::from_millis)
}

/// A window that is more than a SYN can say also once it is cut to whole segments.
const BEYOND_A_SYN: u32 = 0xffff + 1460;
/// The largest receive buffer of the public scripts' settings; a window scale of 8.
const MAX_RECEIVE_BUFFER: u32 = 15 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_set_what_they_name() {
        let flags: Flags = "mtu=1400, cc=reno,sack=0,retries=3".parse().expect("all are known");
        assert_eq!((flags.mtu, flags.tcp.congestion), (1400, Algorithm::NewReno));
        assert_eq!((flags.tcp.sack, flags.tcp.timestamps, flags.tcp.retries), (false, true, 3));
        assert_eq!("".parse(), Ok(Flags::default()));
    }

    #[test]
    fn receive_buffer_fixes_the_first_window() {
        let window = |text: &str| text.parse::<Flags>().map(|flags| flags.tcp.receive_window);
        assert_eq!(window(""), Ok(65_536));
        assert_eq!(window("rcvbuf=540000"), Ok(65_535));
        assert_eq!(window("rcvbuf=20000"), Ok(10_000));
    }

    #[test]
    fn flags_that_are_unknown_or_impossible_are_refused() {
        for text in ["speed=9", "sack", "sack=2", "mtu=60", "cc=bbr", "retries=200", "local=x"] {
            assert!(text.parse::<Flags>().is_err(), "{text}");
        }
    }
}
