//! What a script sets in net.ipv4.tcp_* while it runs.
//!
//! Scripts for a kernel set its switches by commands. The library remembers the values that it found
//! at its start, and takes over those that differ when a socket is made: what the script changed, and
//! not what the machine happens to have.

use std::collections::BTreeMap;
use std::fs;

use super::world::World;
use crate::tcp::congestion::Algorithm;
use crate::time::Duration;

/// The values found at the start, by name; empty where changes are not followed.
pub(super) struct Sysctl(BTreeMap<&'static str, String>);

impl Sysctl {
    pub(super) fn new(follows: bool) -> Self {
        let names = if follows { NAMES } else { &[] };
        Self(names.iter().filter_map(|name| Some((*name, read(name)?))).collect())
    }

    /// What has changed since the start, with its words.
    fn changed(&self) -> Vec<(&'static str, String)> {
        let differs = |(name, old): (&&'static str, &String)| {
            let value = read(name)?;
            (value != *old).then_some((*name, value))
        };
        self.0.iter().filter_map(differs).collect()
    }
}

impl World {
    /// Takes over what has been changed.
    pub(super) fn follow_sysctl(&mut self) {
        let changed = self.sysctl.changed();
        if changed.is_empty() {
            return;
        }
        for (name, value) in changed {
            self.flags.follow(name, &value);
        }
        self.flags.settle();
        if self.flags.tcp.check().is_ok() {
            self.shard.set_tcp(self.flags.tcp.clone());
        }
    }
}

impl super::flags::Flags {
    /// Takes over one value; what cannot be read, or is not possible here, changes nothing.
    fn follow(&mut self, name: &str, value: &str) {
        let words: Vec<u32> =
            value.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let tcp = &mut self.tcp;
        let first = words.first().copied();
        let seconds = |tcp: &mut Duration| {
            if let Some(first) = first {
                *tcp = Duration::from_secs(first.into());
            }
        };
        let count = |slot: &mut u8| {
            if let Some(first) = first.and_then(|first| u8::try_from(first).ok()) {
                *slot = first;
            }
        };
        let switch = |slot: &mut bool| *slot = first.map_or(*slot, |first| first != 0);
        match name {
            "tcp_timestamps" => switch(&mut tcp.timestamps),
            "tcp_sack" => switch(&mut tcp.sack),
            "tcp_window_scaling" => switch(&mut tcp.window_scaling),
            "tcp_abort_on_overflow" => switch(&mut tcp.abort_on_overflow),
            "tcp_syn_retries" => count(&mut tcp.syn_retries),
            "tcp_synack_retries" => count(&mut tcp.syn_ack_retries),
            "tcp_retries2" => count(&mut tcp.retries),
            "tcp_orphan_retries" => count(&mut tcp.orphan_retries),
            "tcp_fin_timeout" => seconds(&mut tcp.fin_wait_2),
            "tcp_keepalive_time" => seconds(&mut tcp.keepalive_times.idle),
            "tcp_keepalive_intvl" => seconds(&mut tcp.keepalive_times.interval),
            "tcp_keepalive_probes" => count(&mut tcp.keepalive_times.count),
            "tcp_min_tso_segs" => count(&mut tcp.min_burst),
            "tcp_congestion_control" => {
                tcp.congestion = Algorithm::named(value.trim()).unwrap_or(tcp.congestion);
            }
            "tcp_rmem" => {
                if let [_, first, most] = words[..] {
                    self.defaults.receive_buffer = first;
                    tcp.max_receive_window = most.max(4096);
                }
            }
            "tcp_wmem" => {
                if let [_, first, most] = words[..] {
                    self.defaults.send_buffer = first;
                    tcp.max_send_buffer = most.max(4608);
                }
            }
            "tcp_notsent_lowat" => {
                self.defaults.notsent_lowat = first.filter(|lowat| *lowat != u32::MAX).unwrap_or(0);
            }
            _ => {}
        }
    }
}

fn read(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok()
}

const NAMES: &[&str] = &[
    "tcp_abort_on_overflow",
    "tcp_congestion_control",
    "tcp_fin_timeout",
    "tcp_keepalive_intvl",
    "tcp_keepalive_probes",
    "tcp_keepalive_time",
    "tcp_min_tso_segs",
    "tcp_notsent_lowat",
    "tcp_orphan_retries",
    "tcp_retries2",
    "tcp_rmem",
    "tcp_sack",
    "tcp_syn_retries",
    "tcp_synack_retries",
    "tcp_timestamps",
    "tcp_window_scaling",
    "tcp_wmem",
];
