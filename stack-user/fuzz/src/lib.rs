//! The bodies of the fuzz targets. `cargo xtask fuzz` runs them under libFuzzer; the test `corpus` of
//! stack-user runs the same bodies over every file of the committed corpora, and over random bytes.

mod cookie;
mod settings;
mod shard;
mod source;
mod tcb;
mod verdict;
mod wire;

/// A target's name and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("ethernet", wire::ethernet),
    ("arp", wire::arp),
    ("ipv4", wire::ipv4),
    ("ipv6", wire::ipv6),
    ("icmp", wire::icmp),
    ("icmpv6", wire::icmpv6),
    ("tcp", wire::tcp),
    ("options", wire::options),
    ("cookie", cookie::run),
    ("tcb", tcb::run),
    ("shard", shard::run),
    ("settings", settings::run),
    ("verdict", verdict::run),
];

/// Runs the body of that name.
///
/// # Panics
/// When the body finds a fault, or no target has this name.
pub fn run(name: &str, data: &[u8]) {
    let (_, body) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target's name");
    body(data);
}
