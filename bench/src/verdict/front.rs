//! The front line's verdicts: a gate that is closed, and what comes to it.
//!
//! The frame that is measured has the length of its answer, so that a round leaves it as long as it was.

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{Array, HashMap, ProgramArray};
use nix::time::{ClockId, clock_gettime};
use stack_ebpf::contract::{self, ListenerKey, PRESENT, mapped};
use stack_ebpf::cookie::{Keys, Period, encode};
use stack_ebpf::flow::{FlowName, Offsets};
use stack_ebpf::flows::{Bucket, Entry, FEWEST_BUCKETS, Kind, home, mark};
use stack_ebpf::front::{Door, Front, Gate};
use stack_ebpf::hints::Hints;
use stack_ebpf::siphash::Key;
use zerocopy::transmute;

use super::frames::{EVERYWHERE, MAC, SHARED};
use super::{XDP_REDIRECT, XDP_TX, map};
use crate::object;

/// A segment for a closed gate, its verdict, and what it may cost.
pub(super) struct Guarded {
    pub(super) work: &'static str,
    /// What comes.
    kind: Segment,
    /// What the program returns.
    pub(super) action: u32,
    /// What it may take over a bare XDP_PASS, in ns.
    pub(super) limit: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Segment {
    Syn,
    Acknowledgment,
    Known,
}

/// What is measured.
pub(super) const GUARDED: [Guarded; 3] = [
    Guarded {
        work: "XDP verdict, cookie SYN-ACK with every option",
        kind: Segment::Syn,
        action: XDP_TX,
        limit: Some(260),
    },
    Guarded {
        work: "XDP verdict, cookie check of an acknowledgment",
        kind: Segment::Acknowledgment,
        action: XDP_REDIRECT,
        limit: Some(140),
    },
    Guarded {
        work: "XDP verdict, known flow at a closed gate",
        kind: Segment::Known,
        action: XDP_REDIRECT,
        limit: None,
    },
];

impl Guarded {
    /// The frame, with right checksums.
    pub(super) fn frame(&self) -> Vec<u8> {
        let (sequence, acknowledgment, flags) = match self.kind {
            Segment::Syn => (IRS, 0, 0x02),
            _ => (IRS + 1, cookie().wrapping_add(1), 0x10),
        };
        let port = if self.kind == Segment::Known { KNOWN_PORT } else { PEER_PORT };
        let mut tcp = Vec::new();
        tcp.extend(port.to_be_bytes());
        tcp.extend(EVERYWHERE.to_be_bytes());
        tcp.extend(sequence.to_be_bytes());
        tcp.extend(acknowledgment.to_be_bytes());
        tcp.extend([0xa0, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
        // MSS, SACK permitted, timestamps, window scale: the answer's last octets are the same.
        tcp.extend([2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, SCALE]);
        let mut ip = vec![0x45, 0, 0, 60, 0, 1, 0x40, 0, 64, 6, 0, 0];
        ip.extend(PEER);
        ip.extend(SHARED);
        let sum = checksum(&[&ip[12..], &[0, 6, 0, 40], &tcp].concat());
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        let sum = checksum(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        [&MAC[..], &[2, 0, 0, 0, 0, 2, 8, 0], &ip, &tcp].concat()
    }
}

/// Closes the gate of the listener of every address.
pub(super) fn close(ebpf: &mut Ebpf) -> Result<()> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    let origin = now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64;
    let front = Front {
        keys: keys(),
        flow: FLOW_KEY,
        origin,
        nonce: 1,
        stray_cost: 1,
        reset_cost: 1,
        buckets: BUCKETS,
        shards: 1,
        doors: 1,
        flags: 0,
        traffic_class: 0,
        hop_limit: 64,
        zero: 0,
    };
    let front: [u8; size_of::<Front>()] = transmute!(front);
    let mut array: Array<_, [u8; size_of::<Front>()]> = map(ebpf, contract::FRONT)?;
    array.set(0, front, 0)?;
    let gate: [u8; size_of::<Gate>()] = transmute!(Gate::new(1, true));
    let mut array: Array<_, [u8; size_of::<Gate>()]> = map(ebpf, contract::GATES)?;
    array.set(0, gate, 0)?;
    let options = Door::WINDOW_SCALING | Door::SACK | Door::TIMESTAMPS;
    let door: [u8; size_of::<Door>()] =
        transmute!(Door::closed([64_240; 4], [1460, 1440], SCALE, options));
    let mut array: Array<_, [u8; size_of::<Door>()]> = map(ebpf, contract::DOORS)?;
    array.set(0, door, 0)?;
    let hash = name(KNOWN_PORT).fingerprint(&FLOW_KEY);
    let mut bucket: Bucket = [0; 8];
    bucket[3] = Entry::new(hash, Kind::Established, 0).0;
    let mut array: Array<_, Bucket> = map(ebpf, contract::FLOWS)?;
    array.set(home(hash, BUCKETS), bucket, 0)?;
    let (word, bit) = mark(home(hash, BUCKETS));
    let mut array: Array<_, u64> = map(ebpf, contract::SUMMARY)?;
    array.set(word, bit, 0)?;
    let key: [u8; size_of::<ListenerKey>()] = transmute!(ListenerKey::wildcard(EVERYWHERE));
    let mut hash: HashMap<_, [u8; size_of::<ListenerKey>()], u32> = map(ebpf, contract::LISTENERS)?;
    hash.insert(key, PRESENT, 0)?;
    let mut hints = super::hints();
    hints.add_door(EVERYWHERE, Some(0));
    let hints: [u8; size_of::<Hints>()] = transmute!(hints);
    let mut array: Array<_, [u8; size_of::<Hints>()]> = map(ebpf, contract::HINTS)?;
    array.set(0, hints, 0)?;
    for (place, name) in [(0, contract::FRONT_PROGRAMS[0]), (2, contract::STEER_PROGRAM)] {
        let program = object::program(ebpf, name)?;
        let program = program.fd()?.try_clone().context("a descriptor")?;
        let mut array: ProgramArray<_> = map(ebpf, contract::PROGRAMS)?;
        array.set(place, &program, 0)?;
    }
    Ok(())
}

/// Opens it again.
pub(super) fn open(ebpf: &mut Ebpf) -> Result<()> {
    let gate: [u8; size_of::<Gate>()] = transmute!(Gate::default());
    let mut array: Array<_, [u8; size_of::<Gate>()]> = map(ebpf, contract::GATES)?;
    array.set(0, gate, 0)?;
    Ok(())
}

fn keys() -> Keys {
    Keys::at(SECRET, Period(0))
}

fn name(remote_port: u16) -> FlowName {
    FlowName { local: mapped(SHARED), remote: mapped(PEER), local_port: EVERYWHERE, remote_port }
}

/// A cookie of the first 64 s after the gate was closed.
fn cookie() -> u32 {
    let offsets = Offsets::new(name(PEER_PORT).fingerprint(&FLOW_KEY), &SECRET);
    encode(&keys(), offsets, IRS, 6, Period(0)).expect("the keys are of this time")
}

pub(super) fn checksum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let sum = (sum >> 16) + (sum & 0xffff);
    !(((sum >> 16) + sum) as u16)
}

const SECRET: Key = Key::new(*b"a secret of ours");
const FLOW_KEY: Key = Key::new(*b"the key of flows");
const PEER: [u8; 4] = [10, 0, 0, 2];
const PEER_PORT: u16 = 40_000;
const KNOWN_PORT: u16 = 40_001;
const IRS: u32 = 77_000;
/// How large the array of flows is, and its summary as far as it is used.
pub(super) const SIZES: [(&str, u32); 2] =
    [(contract::FLOWS, BUCKETS), (contract::SUMMARY, BUCKETS / 64)];
const BUCKETS: u32 = FEWEST_BUCKETS;
/// Of the peer and of ours.
const SCALE: u8 = 7;
