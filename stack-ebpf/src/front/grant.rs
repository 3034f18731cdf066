//! What the kernel is told of a connection whose cookie was made here, for a listener of the kernel's.
//!
//! Such a listener knows nothing of the SYN: the terms of the connection come from the acknowledgment,
//! from its cookie and from the timestamp that it echoes.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::answer::Wire;
use super::segment::Segment;
use super::sum::Chunk;
use super::{Door, Front, Record};
use crate::contract::AddressKey;
use crate::cookie::{MSS, Offered};
use crate::flow::{Offsets, Words};
use crate::frame::{self, Ethernet, Frame, LinkAddress};

/// A connection as the kernel's sockets are looked up by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its name.
    pub name: Words,
    /// Its family.
    pub is_ipv6: bool,
}

impl Caller {
    /// Our address.
    #[inline(always)]
    pub fn local(&self) -> AddressKey {
        let [a, b] = self.name.local;
        zerocopy::transmute!([a.to_le(), b.to_le()])
    }

    /// Our port.
    #[inline(always)]
    pub const fn port(&self) -> u16 {
        (self.name.ports >> 16) as u16
    }

    /// The kernel's `struct bpf_sock_tuple`, of which IPv4 has the first [`Caller::IPV4`] octets: both
    /// addresses and both ports, the sender's first.
    #[inline(always)]
    pub const fn tuple(&self) -> [u32; 9] {
        let ([a, b], [c, d]) = (self.name.remote, self.name.local);
        let ports = self.name.ports.to_be().rotate_left(16);
        if !self.is_ipv6 {
            return [high(b), high(d), ports, 0, 0, 0, 0, 0, 0];
        }
        [low(a), high(a), low(b), high(b), low(c), high(c), low(d), high(d), ports]
    }

    /// Octets of the tuple that IPv4 has.
    pub const IPV4: u32 = 12;
    /// Octets of the tuple that IPv6 has.
    pub const IPV6: u32 = 36;
}

#[inline(always)]
const fn low(word: u64) -> u32 {
    (word as u32).to_le()
}

#[inline(always)]
const fn high(word: u64) -> u32 {
    ((word >> 32) as u32).to_le()
}

/// Who sends a frame that holds a whole segment of TCP, to the interface with this link-layer address;
/// `None` for any other frame, for tagged ones, and for those with IP options or extension headers.
#[inline(always)]
pub fn caller<F: Frame + ?Sized>(frame: &F, mac: [u8; 6]) -> Option<Caller> {
    let ethernet: Ethernet = frame.read(0)?;
    if !LinkAddress::of(frame)?.is(LinkAddress::new(mac)) {
        return None;
    }
    match ethernet.ethertype.get() {
        frame::ETHERTYPE_IPV4 => {
            let segment = Segment::<false>::of_ipv4(frame, size_of::<Ethernet>())?;
            Some(Caller { name: segment.name, is_ipv6: false })
        }
        frame::ETHERTYPE_IPV6 => {
            let segment = Segment::<true>::of_ipv6(frame, size_of::<Ethernet>())?;
            Some(Caller { name: segment.name, is_ipv6: true })
        }
        _ => None,
    }
}

/// The terms of a connection, as the kernel's `struct bpf_tcp_req_attrs` has them.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Terms {
    /// The peer's timestamp.
    pub stamp: u32,
    /// Ours, which it echoes: the kernel's clock for this connection goes on from there.
    pub echo: u32,
    /// The most text in a segment that the peer takes.
    pub mss: u16,
    /// Our window shift.
    pub our_scale: u8,
    /// The peer's window shift.
    pub scale: u8,
    /// Not zero: ECN was agreed on.
    pub takes_ecn: u8,
    /// Not zero: the windows are scaled.
    pub scales: u8,
    /// Not zero: SACK was agreed on.
    pub takes_sack: u8,
    /// Not zero: timestamps were agreed on.
    pub is_stamped: u8,
    /// Not zero: ours are in microseconds.
    pub in_microseconds: u8,
    reserved: [u8; 3],
}

/// What is known when a segment comes whose cookie was found valid.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// What user space set.
    pub front: &'a Front,
    /// What the listener offers.
    pub door: &'a Door,
    /// What was found.
    pub record: &'a Record,
}

/// A connection that is the kernel's to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose it is.
    pub caller: Caller,
    /// On which terms.
    pub terms: Terms,
}

/// What the kernel is told of this frame's connection; `None` where the record is of no valid cookie, or
/// of another frame. `unknown` is as for the options of a SYN.
#[inline(always)]
pub fn grant<W: Wire>(
    wire: &W,
    said: Said<'_>,
    header: &mut Chunk,
    unknown: impl Fn(u64) -> u64,
) -> Option<Grant> {
    if said.record.nonce != said.front.nonce || said.record.mss as usize >= MSS.len() {
        return None;
    }
    let at = size_of::<Ethernet>();
    let [ethertype] = wire.read::<[u16; 1]>(at - 2)?;
    match u16::from_be(ethertype) {
        frame::ETHERTYPE_IPV4 => {
            let segment = Segment::<false>::of_ipv4(wire, at)?;
            let stamps = stamps(wire, (segment.at, segment.header), header, unknown)?;
            segment.agree(said, stamps)
        }
        frame::ETHERTYPE_IPV6 => {
            let segment = Segment::<true>::of_ipv6(wire, at)?;
            let stamps = stamps(wire, (segment.at, segment.header), header, unknown)?;
            segment.agree(said, stamps)
        }
        _ => None,
    }
}

impl<const V6: bool> Segment<V6> {
    /// The least that the kernel takes for what a peer takes.
    const LEAST: u16 = if V6 { 1220 } else { 536 };

    #[inline(always)]
    fn agree(&self, said: Said<'_>, stamps: Stamps) -> Option<Grant> {
        let Said { front, door, record } = said;
        let is_of_this =
            record.sequence == self.sequence && record.acknowledgment == self.acknowledgment;
        if !is_of_this {
            return None;
        }
        let mss = MSS[record.mss as usize & (MSS.len() - 1)];
        let mss = if mss < Self::LEAST { Self::LEAST } else { mss };
        let mut terms = Terms { mss, ..Terms::default() };
        if stamps.are_there != 0 && door.options & Door::TIMESTAMPS != 0 {
            let offsets = Offsets::new(record.fingerprint, &front.keys.sequence);
            let offered = Offered::from_clock(stamps.echo.wrapping_sub(offsets.stamp()));
            (terms.stamp, terms.echo, terms.is_stamped) = (stamps.value, stamps.echo, 1);
            if let Some(scale) = offered.window_scale
                && door.options & Door::WINDOW_SCALING != 0
            {
                // RFC 7323, 2.3: a greater one counts as 14.
                terms.scale = if scale > 14 { 14 } else { scale };
                (terms.our_scale, terms.scales) = (door.scale, 1);
            }
            terms.takes_sack = (offered.sack_permitted && door.options & Door::SACK != 0) as u8;
        }
        Some(Grant { caller: Caller { name: self.name, is_ipv6: V6 }, terms })
    }
}

/// The timestamps of a segment.
struct Stamps {
    are_there: u32,
    value: u32,
    echo: u32,
}

/// Reads the timestamps of the segment whose header lies there; `None` where that cannot be read.
#[inline(always)]
fn stamps<W: Wire>(
    wire: &W,
    (at, length): (usize, usize),
    header: &mut Chunk,
    unknown: impl Fn(u64) -> u64,
) -> Option<Stamps> {
    if !wire.load(at, length, header) {
        return None;
    }
    let byte = |at: u64| header.octets()[at as usize & 63] as u32;
    let word = |at| byte(at) << 24 | byte(at + 1) << 16 | byte(at + 2) << 8 | byte(at + 3);
    let mut found = Stamps { are_there: 0, value: 0, echo: 0 };
    let (mut at, end) = (FIXED, length as u64);
    for _ in FIXED..LONGEST {
        // All that the verifier could follow from option to option.
        at = unknown(at);
        if at + 1 >= end || byte(at) == END {
            break;
        }
        if byte(at) == NOP {
            at += 1;
            continue;
        }
        let len = byte(at + 1) as u64;
        if byte(at) == STAMPS && len == 10 && at + 10 <= end {
            found = Stamps { are_there: 1, value: word(at + 2), echo: word(at + 6) };
            break;
        }
        if len < 2 {
            break;
        }
        at += len;
    }
    Some(found)
}

/// Octets of a header without options, and of the longest one.
const FIXED: u64 = 20;
const LONGEST: u64 = 60;
const END: u32 = 0;
const NOP: u32 = 1;
const STAMPS: u32 = 8;

const _: () = assert!(size_of::<Terms>() == 20);

#[cfg(test)]
mod tests;
