//! Map names, keys and values, as both sides of the border lay them out.
//!
//! Addresses of both families take 16 bytes in network byte order; an IPv4 address a.b.c.d is
//! `::ffff:a.b.c.d`. Values are plain bytes without padding the compiler chose, so that both sides
//! hash and compare the same.

use core::mem::{align_of, size_of};

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, big_endian as be, transmute,
};

use crate::frame::LinkAddress;
use crate::front::Budget;

/// The program that steers.
pub const PROGRAM: &str = "sluice_xdp";
/// The program that passes every frame, for the peer end of a veth pair.
pub const PASS_PROGRAM: &str = "sluice_pass";

/// The programs that [`PROGRAM`] goes on to where a gate is closed, for IPv4 and for IPv6.
pub const FRONT_PROGRAMS: [&str; 2] = ["sluice_front4", "sluice_front6"];
/// The program that [`FRONT_PROGRAMS`] leave to what they do not take, if they meet frames first.
pub const STEER_PROGRAM: &str = "sluice_steer";
/// Array of [`FRONT_PROGRAMS`], and behind them [`STEER_PROGRAM`].
pub const PROGRAMS: &str = "SLUICE_PROGS";

/// In the guard's object: the XDP program, which goes on to [`FRONT_PROGRAMS`] for listeners of the
/// kernel.
pub const GUARD_PROGRAM: &str = "sluice_guard";
/// In the guard's object: the classifier that hands a proven connection to its listener.
pub const GRANT_PROGRAM: &str = "sluice_grant";
/// In the guard's object: per-CPU array of two `u64`: connections that the kernel took as they were
/// handed to it, and those that it did not.
pub const GRANTS: &str = "SLUICE_GRANTS";
/// The kernel's function that hands a connection to a listener, which [`GRANT_PROGRAM`] calls.
pub const ASSIGN: &str = "bpf_sk_assign_tcp_reqsk";
/// What is called in its place until user space has put the function's number in the running kernel
/// there; no helper has this number.
pub const ASSIGN_NUMBER: u32 = 0x51ce_a551;

/// In the bench's build: restores the frame, then steers.
pub const BENCH_STEER: &str = "bench_steer";
/// In the bench's build: restores the frame, then passes it.
pub const BENCH_PASS: &str = "bench_pass";
/// In the bench's build: array of one [`Restored`].
pub const BENCH_FRAME: &str = "BENCH_FRAME";
/// The beginning of a frame, in words as they lie in memory: all that the program may change of it. A
/// frame that is measured has at least so many bytes.
pub type Restored = [u64; 9];

/// Array of one [`Config`].
pub const CONFIG: &str = "SLUICE_CONFIG";
/// Hash: [`AddressKey`] to a `u32` that is an [`Address`].
pub const ADDRESSES: &str = "SLUICE_ADDRS";
/// Hash: [`ListenerKey`] to a `u32` that is [`PRESENT`] plus the listener's place in every shard.
pub const LISTENERS: &str = "SLUICE_LISTEN";
/// Array of one [`crate::hints::Hints`], which follows from the two maps above.
pub const HINTS: &str = "SLUICE_HINTS";
/// XSKMAP: receive queue to AF_XDP socket.
pub const SOCKETS: &str = "SLUICE_XSKS";
/// Per-CPU array: [`crate::Verdict`] to a `u64` count of frames.
pub const COUNTERS: &str = "SLUICE_COUNTS";

/// Array of one [`Limits`].
pub const LIMITS: &str = "SLUICE_LIMITS";
/// Trie of longest prefixes: [`BlockKey`] to a `u32` that means nothing. What comes from there is dropped.
pub const BLOCKS: &str = "SLUICE_BLOCKS";
/// Hash that forgets what was not used for longest: [`source`] to a [`crate::front::Budget`] of SYNs.
pub const SOURCES: &str = "SLUICE_SOURCES";

/// Array of one [`crate::front::Front`], which user space maps.
pub const FRONT: &str = "SLUICE_FRONT";
/// Array of [`crate::front::Gate`], one for each shard, which user space maps.
pub const GATES: &str = "SLUICE_GATES";
/// Array of [`crate::front::Door`], [`crate::front::Front::doors`] for each shard, which user space maps.
pub const DOORS: &str = "SLUICE_DOORS";
/// Array of [`crate::flows::Bucket`], [`crate::front::Front::buckets`] for each shard, which user space
/// maps.
pub const FLOWS: &str = "SLUICE_FLOWS";
/// Array of the words of summaries of [`FLOWS`], [`crate::flows::SUMMARY_WORDS`] for each shard, which
/// user space maps.
pub const SUMMARY: &str = "SLUICE_SUMMARY";

/// The most addresses that [`ADDRESSES`] holds.
pub const MAX_ADDRESSES: u32 = 256;
/// The most entries that [`LISTENERS`] holds.
pub const MAX_LISTENERS: u32 = 4096;
/// The most receive queues that [`SOCKETS`] holds.
pub const MAX_QUEUES: u32 = 256;

/// The most prefixes that [`BLOCKS`] holds.
pub const MAX_BLOCKS: u32 = 1 << 16;

/// The value of the entry of [`LISTENERS`] whose place is zero.
pub const PRESENT: u32 = 1;

/// An address of either family, IPv4 as `::ffff:a.b.c.d`; the key of [`ADDRESSES`].
pub type AddressKey = [u8; 16];

/// The IPv4 address a.b.c.d as an [`AddressKey`].
#[inline(always)]
pub const fn mapped(v4: [u8; 4]) -> AddressKey {
    let [a, b, c, d] = v4;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// The addresses that count as one source of SYNs: IPv4 each by itself, of IPv6 a /64, which is what one
/// host has at its disposal. As a key's two words.
#[inline(always)]
pub fn source(addr: &AddressKey) -> [u64; 2] {
    let [network, host]: [u64; 2] = transmute!(*addr);
    if is_mapped(addr) { [network, host] } else { [network, 0] }
}

/// Whether an address is `::ffff:a.b.c.d`.
#[inline(always)]
fn is_mapped(addr: &AddressKey) -> bool {
    let [network, host]: [u64; 2] = transmute!(*addr);
    network == 0 && u64::from_be(host) >> 32 == 0xffff
}

/// A prefix of either family; the key of [`BLOCKS`], behind the number of its bits.
///
/// The families are told apart by a word ahead of the address: mapped addresses alone would fall under
/// short prefixes of IPv6, such as `::/0`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct BlockKey {
    family: [u8; 4],
    /// The address; zeros behind the prefix.
    pub addr: AddressKey,
}

impl BlockKey {
    /// The key of an address.
    #[inline(always)]
    pub fn new(addr: AddressKey) -> Self {
        Self { family: [if is_mapped(&addr) { 4 } else { 6 }, 0, 0, 0], addr }
    }

    /// The bits of a key whose address counts with its first `len` of 128.
    #[inline(always)]
    pub const fn bits(len: u32) -> u32 {
        32 + len
    }
}

/// What is let through, besides the block list.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Limits {
    /// Not zero: [`BLOCKS`] may hold something. While it is zero nobody looks.
    pub has_blocks: u64,
    /// Nanoseconds of a source's budget for a SYN at an open gate; zero for no limit.
    pub syn_cost: u64,
    /// How far ahead of time a source's budget may be spent, in ns.
    pub syn_burst: u64,
}

impl Limits {
    /// As many SYNs a second from each source as `rate` says, and `burst` of them at once.
    pub const fn set_syns(&mut self, rate: u32, burst: u32) {
        self.syn_cost = Budget::cost_of(rate);
        self.syn_burst = self.syn_cost * burst.saturating_sub(1) as u64;
    }
}

/// How an address in [`ADDRESSES`] is owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Address {
    /// The interface's own address: steered by port, the rest is the kernel's.
    Shared = 1,
    /// An address that the kernel does not have: all of its traffic is ours.
    Own = 2,
}

impl Address {
    /// The address kind whose map value is `value`.
    #[inline(always)]
    pub const fn from_value(value: u32) -> Option<Self> {
        match value {
            1 => Some(Self::Shared),
            2 => Some(Self::Own),
            _ => None,
        }
    }
}

/// An address and a port that are listened on; the key of [`LISTENERS`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ListenerKey {
    /// The address; all zero stands for every shared address.
    pub addr: AddressKey,
    /// The port, in network byte order.
    pub port: be::U16,
    /// Zero: the kernel hashes it too.
    pad: [u8; 2],
}

impl ListenerKey {
    /// The key of `port` on `addr`.
    #[inline(always)]
    pub const fn new(addr: AddressKey, port: u16) -> Self {
        Self { addr, port: be::U16::new(port), pad: [0; 2] }
    }

    /// The key of `port` on every shared address.
    #[inline(always)]
    pub const fn wildcard(port: u16) -> Self {
        Self::new([0; 16], port)
    }
}

/// What the program is told once, before it is attached. All zero steers nothing by port range and
/// knows no link-layer address, hence passes everything.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(4))]
pub struct Config {
    /// The interface's link-layer address.
    pub mac: [u8; 6],
    /// The VLAN that is served, 1 to 4094, in host byte order; 0 serves untagged frames.
    pub vlan: u16,
    /// The first local port of active opens on shared addresses, in host byte order; 0 for none.
    pub ports_first: u16,
    /// The last of these ports.
    pub ports_last: u16,
}

impl Config {
    /// [`Config::mac`], read as words.
    #[inline(always)]
    pub fn link_address(&self) -> LinkAddress {
        let [first, second, _]: [u32; 3] = transmute!(*self);
        LinkAddress::of_words([first, second])
    }

    /// Whether `port` is one of the local ports of active opens.
    #[inline(always)]
    pub const fn is_local_port(&self, port: u16) -> bool {
        self.ports_first != 0 && self.ports_first <= port && port <= self.ports_last
    }
}

const _: () = assert!(size_of::<ListenerKey>() == 20 && align_of::<ListenerKey>() == 1);
const _: () = assert!(size_of::<BlockKey>() == 20 && align_of::<BlockKey>() == 1);
const _: () = assert!(size_of::<Limits>() == 24);
const _: () = assert!(size_of::<Config>() == 12 && align_of::<Config>() == 4);
