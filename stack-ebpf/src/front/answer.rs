//! The decision for a segment whose shard may have closed a gate.

use core::mem::size_of;

use super::options::{self, NONE, Offers};
use super::reply::{Reply, SynAck};
use super::segment::{ACK, FIN, RST, SYN, Segment};
use super::sieve::Sieve;
use super::sum::{self, Chunk};
use super::syn::{self, Syn};
use super::{Door, Front, Gate, MAX_SHARDS, Record};
use crate::cookie::{self, Offered, Period};
use crate::flow::{Offsets, stamp_clock};
use crate::flows::{self, Bucket, Entry};
use crate::frame::{self, Ethernet, Frame, Tag};
use crate::verdict::Verdict;

/// A frame that is answered in place.
pub trait Wire: Frame {
    /// Copies `length` octets from `offset` on, at most those of a chunk, and zeros behind
    /// them.
    fn load(&self, offset: usize, length: usize, into: &mut Chunk) -> bool;

    /// Makes the frame so long at its end; `false` where that cannot be.
    fn resize(&mut self, length: usize) -> bool;

    /// Writes words, as they lie in memory, from an even `offset` on; `false` where the frame ends before.
    fn write<const N: usize>(&mut self, offset: usize, words: [u32; N]) -> bool;
}

/// Memory that is as large as the decision needs, which is more than a program's stack has.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Scratch {
    /// What the shard is told with the frame.
    pub record: Record,
    /// The verdict of [`crate::steer::classify`], as the program hands it on; zero, which is never handed on,
    /// where nobody has classified the frame.
    pub steered: u32,
    pub(super) offers: Offers,
    pub(super) syn: Syn,
    /// The header of a SYN, and a piece of its text.
    pub(super) header: Chunk,
    pub(super) text: Chunk,
}

impl Scratch {
    /// Nothing yet.
    pub const EMPTY: Self = Self {
        record: Record::EMPTY,
        steered: 0,
        offers: Offers::NOTHING,
        syn: Syn::NONE,
        header: Chunk::ZERO,
        text: Chunk::ZERO,
    };
}

/// The maps and the clock as the program sees them.
pub trait Defence {
    /// What user space set.
    fn front(&self) -> &Front;

    /// The receive queue of this frame, which is the shard's number too.
    fn queue(&self) -> u32;

    /// A shard's gate.
    fn gate(&self, shard: u32) -> Option<&Gate>;

    /// The place of the listener of exactly this address and port, or of wildcard and port.
    fn listener(&self, local: &[u64; 2], port: u16) -> Option<u32>;

    /// The door at an index.
    fn door(&self, index: u32) -> Option<&Door>;

    /// The bucket of flows at an index.
    fn bucket(&self, index: u32) -> Option<&Bucket>;

    /// The word of the summaries of flows at an index.
    fn summary(&self, index: u32) -> Option<&u64>;

    /// Whether [`crate::steer::classify`] has refused what comes from nobody, and IPv4 headers with a
    /// wrong checksum.
    fn is_classified(&self) -> bool;

    /// The kernel's coarse monotonic clock, in ns.
    fn now(&self) -> u64;

    /// Takes one out of this CPU's budget of strays that go to shards.
    fn spend_stray(&self, cost: u64, now: u64) -> bool;

    /// Takes one out of this CPU's budget of RSTs.
    fn spend_reset(&self, cost: u64, now: u64) -> bool;

    /// Remembers for a while that a flow has answered a cookie: its shard may not have
    /// written it down when the next segment comes.
    fn prove(&self, fingerprint: u64);

    /// Whether it has.
    fn is_proven(&self, fingerprint: u64) -> bool;

    /// Gives back `value`. In the program the verifier does not know that.
    fn unknown(&self, value: u64) -> u64;
}

/// What to do with a frame that [`crate::steer::classify`] gives to a socket: that, or something better.
/// `vlan` is the one that is served.
#[inline(always)]
pub fn defend<W: Wire, D: Defence>(
    wire: &mut W,
    defence: &D,
    (verdict, vlan): (Verdict, u16),
    scratch: &mut Scratch,
) -> Verdict {
    let done = match is_ipv6(wire, vlan) {
        Some(true) => defend_ipv6(wire, defence, vlan, scratch),
        Some(false) => defend_ipv4(wire, defence, (vlan, None), scratch),
        None => None,
    };
    done.unwrap_or(verdict)
}

/// Whether a frame is IPv6's; `None` where it is not IPv4's either.
#[inline(always)]
pub fn is_ipv6<F: Frame + ?Sized>(frame: &F, vlan: u16) -> Option<bool> {
    let [ethertype] = frame.read::<[u16; 1]>(place(vlan).at - 2)?;
    match u16::from_be(ethertype) {
        frame::ETHERTYPE_IPV4 => Some(false),
        frame::ETHERTYPE_IPV6 => Some(true),
        _ => None,
    }
}

/// The part of [`defend`] for IPv4; `None`: steered as without. With a sieve for frames that were
/// handed over, of which it leaves some.
#[inline(always)]
pub fn defend_ipv4<W: Wire, D: Defence>(
    wire: &mut W,
    defence: &D,
    (vlan, sieve): (u16, Option<Sieve<'_>>),
    scratch: &mut Scratch,
) -> Option<Verdict> {
    let place = place(vlan);
    let segment = Segment::<false>::of_ipv4(wire, place.at)?;
    if let Some(sieve) = sieve
        // The verifier has one state after it, not one for each way through.
        && defence.unknown(sieve.takes(wire, &segment) as u64) == 0
    {
        return None;
    }
    Line { defence, front: defence.front(), place, segment }.meet(wire, scratch)
}

/// The part of [`defend`] for IPv6; `None`: steered as without.
#[inline(always)]
pub fn defend_ipv6<W: Wire, D: Defence>(
    wire: &mut W,
    defence: &D,
    vlan: u16,
    scratch: &mut Scratch,
) -> Option<Verdict> {
    let place = place(vlan);
    let segment = Segment::<true>::of_ipv6(wire, place.at)?;
    Line { defence, front: defence.front(), place, segment }.meet(wire, scratch)
}

#[inline(always)]
fn place(vlan: u16) -> Place {
    Place { at: size_of::<Ethernet>() + if vlan != 0 { size_of::<Tag>() } else { 0 }, vlan }
}

/// Where the network header begins, and the VLAN that answers carry.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub at: usize,
    pub vlan: u16,
}

/// A segment before the front line.
struct Line<'a, D, const V6: bool> {
    defence: &'a D,
    front: &'a Front,
    place: Place,
    segment: Segment<V6>,
}

impl<D: Defence, const V6: bool> Line<'_, D, V6> {
    /// What a peer takes that does not say (RFC 9293, 3.7.1: MUST-15).
    const LEAST_MSS: u16 = if V6 { 1220 } else { 536 };

    #[inline(always)]
    fn meet<W: Wire>(&self, wire: &mut W, scratch: &mut Scratch) -> Option<Verdict> {
        let (segment, front) = (&self.segment, self.front);
        let port = (segment.name.ports >> 16) as u16;
        let place = self.defence.listener(&segment.name.local, port)?;
        if place >= front.doors {
            return None;
        }
        let door = self.defence.door(self.defence.queue() * front.doors + place)?;
        if door.is_closed == 0 {
            return None;
        }
        let fingerprint = segment.name.fingerprint(&front.flow);
        let record = &mut scratch.record;
        *record = Record {
            nonce: front.nonce,
            fingerprint,
            length: wire.length() as u32,
            sequence: segment.sequence,
            acknowledgment: segment.acknowledgment,
            ..Record::EMPTY
        };
        let known = known(self.defence, front, fingerprint);
        if known != NOBODYS && known != UNKNOWN {
            record.owner = Entry(known).shard() as u16;
            return Some(Verdict::RedirectFlow);
        }
        let is_complete = known == NOBODYS;
        let now = self.defence.now();
        let clock = now.saturating_sub(front.origin);
        if segment.has(SYN) && !segment.has(ACK | RST | FIN) {
            return Some(self.answer_syn(wire, scratch, (door, clock)));
        }
        if segment.has(ACK) && !segment.has(SYN | RST) {
            let offsets = Offsets::new(fingerprint, &front.keys.sequence);
            let (irs, iss) =
                (segment.sequence.wrapping_sub(1), segment.acknowledgment.wrapping_sub(1));
            let period = Period::at(clock);
            if let Some(mss) = cookie::decode(&front.keys, offsets, irs, iss, period) {
                self.defence.prove(fingerprint);
                record.mss = mss;
                record.period = period.0 as u8;
                return Some(Verdict::RedirectCookie);
            }
        }
        if self.defence.is_proven(fingerprint) {
            return Some(Verdict::RedirectProven);
        }
        Some(self.stray(wire, (is_complete, now)))
    }

    /// Answers a SYN by a cookie, in place.
    #[inline(always)]
    fn answer_syn<W: Wire>(
        &self,
        wire: &mut W,
        scratch: &mut Scratch,
        (door, clock): (&Door, u64),
    ) -> Verdict {
        let (segment, front) = (&self.segment, self.front);
        if self.is_martian() {
            return Verdict::DropMartian;
        }
        if !self.defence.is_classified() && !segment.is_sound(wire) {
            return Verdict::DropIpChecksum;
        }
        match self.read_usual(wire, &mut scratch.offers) {
            Some(true) => {}
            Some(false) => return Verdict::DropChecksum,
            None => match self.read_any(wire, scratch) {
                syn::SOUND => {}
                syn::CUT => return Verdict::DropTcpHeader,
                syn::UNSOUND => return Verdict::DropChecksum,
                syn::LONG => return Verdict::RedirectUnanswered,
                _ => return Verdict::DropTcpOption,
            },
        }
        let offsets = Offsets::new(scratch.record.fingerprint, &front.keys.sequence);
        let Some(answer) = self.syn_ack(door, offsets, (scratch.offers, clock)) else {
            return Verdict::RedirectUnanswered;
        };
        match self.reply().syn_ack(wire, &answer) {
            Some(()) => Verdict::TransmitCookie,
            None => Verdict::DropUnsent,
        }
    }

    /// Reads the options of a SYN that is laid out as Linux does it and has no text, and whether its
    /// checksum is right; `None` for any other.
    #[inline(always)]
    fn read_usual<W: Wire>(&self, wire: &W, offers: &mut Offers) -> Option<bool> {
        let segment = &self.segment;
        // What the verifier does not learn here it need not follow where the SYN is another.
        let differs = (segment.header ^ USUAL) | (segment.length ^ USUAL);
        if self.defence.unknown(differs as u64) != 0 {
            return None;
        }
        let header = wire.words(segment.at)?;
        *offers = options::usual(&header)?;
        let sum = sum::of_addresses::<V6>(&segment.name) + sum::pseudo(USUAL);
        Some(self.trusts_checksums() || sum::finish(sum + sum::of(&header)) == 0)
    }

    /// The same for any other SYN, or what is wrong with it.
    #[inline(always)]
    fn read_any<W: Wire>(&self, wire: &W, scratch: &mut Scratch) -> u64 {
        let Segment { at, header, length, .. } = self.segment;
        let sum = sum::of_addresses::<V6>(&self.segment.name) + sum::pseudo(length);
        let is_trusted = self.trusts_checksums() as u64;
        let (at, header, length) = (at as u64, header as u64, length as u64);
        scratch.syn = Syn { at, header, length, sum, is_trusted };
        syn::read(self.defence, wire, scratch)
    }

    #[inline(always)]
    fn trusts_checksums(&self) -> bool {
        self.front.flags & Front::TRUSTS_CHECKSUMS != 0
    }

    /// What the SYN-ACK says, as the shard would say it; `None` while the keys are of other times.
    #[inline(always)]
    fn syn_ack(
        &self,
        door: &Door,
        offsets: Offsets,
        (offers, clock): (Offers, u64),
    ) -> Option<SynAck> {
        let segment = &self.segment;
        let mss = if offers.mss == NONE { Self::LEAST_MSS } else { offers.mss as u16 };
        let period = Period::at(clock);
        // Each choice is one that the verifier need not remember.
        let unknown = |value| self.defence.unknown(value);
        let index = unknown(cookie::mss_index(mss) as u64) as u8;
        let iss = cookie::encode(&self.front.keys, offsets, segment.sequence, index, period)?;
        let takes = |option: u8| unknown((door.options & option) as u64) != 0;
        let is_stamped = unknown((offers.stamp != NONE && takes(Door::TIMESTAMPS)) as u64) != 0;
        // Without timestamps nothing would bring the others back.
        let scales = is_stamped && offers.scale != NONE && takes(Door::WINDOW_SCALING);
        let takes_sack = is_stamped && offers.sack != 0 && takes(Door::SACK);
        let (scales, takes_sack) = (unknown(scales as u64) != 0, unknown(takes_sack as u64) != 0);
        let offered = Offered {
            window_scale: if scales { Some(offers.scale as u8) } else { None },
            sack_permitted: takes_sack,
        };
        let stamp = offered.into_clock(stamp_clock(clock)).wrapping_add(offsets.stamp());
        let of_family = if V6 { 2 } else { 0 };
        Some(SynAck {
            iss,
            irs: segment.sequence,
            window: door.windows[of_family + is_stamped as usize],
            mss: door.mss[V6 as usize],
            stamps: if is_stamped { Some((stamp, offers.stamp as u32)) } else { None },
            scale: if scales { Some(door.scale) } else { None },
            takes_sack,
        })
    }

    /// A segment that belongs to nothing we know of.
    #[inline(always)]
    fn stray<W: Wire>(&self, wire: &mut W, (is_complete, now): (bool, u64)) -> Verdict {
        let (segment, front) = (&self.segment, self.front);
        if !is_complete && self.defence.spend_stray(front.stray_cost, now) {
            return Verdict::RedirectStray;
        }
        // RFC 9293 3.10.7.2: any acknowledgment is bad, and a RST is not answered.
        if !segment.has(ACK) || segment.has(RST) {
            return Verdict::DropStray;
        }
        if !is_complete || self.is_martian() || !self.defence.spend_reset(front.reset_cost, now) {
            return Verdict::DropStray;
        }
        match self.reply().reset(wire, segment.acknowledgment) {
            Some(()) => Verdict::TransmitReset,
            None => Verdict::DropUnsent,
        }
    }

    #[inline(always)]
    fn is_martian(&self) -> bool {
        !self.defence.is_classified() && self.segment.is_martian()
    }

    #[inline(always)]
    fn reply(&self) -> Reply<V6> {
        Reply {
            place: self.place,
            name: self.segment.name,
            traffic_class: self.front.traffic_class as u8,
            hop_limit: self.front.hop_limit as u8,
        }
    }
}

/// Looks for a flow in the regions of all shards, that of this queue's first: its entry, else [`NOBODYS`]
/// or [`UNKNOWN`]. A function of its own: so the verifier has one state after it, not one
/// for each way out.
#[inline(never)]
fn known<D: Defence>(defence: &D, front: &Front, fingerprint: u64) -> u64 {
    let unknown = |value: u32| defence.unknown(value as u64) as u32;
    let queue = defence.queue();
    let home = flows::home(fingerprint, front.buckets);
    let (word, bit) = flows::mark(home);
    let mut incomplete = (front.shards > MAX_SHARDS) as u32;
    for nth in 0..MAX_SHARDS {
        // All that the verifier could follow from shard to shard.
        if unknown(nth) >= unknown(front.shards) {
            break;
        }
        // The queue's own, then the others from zero on.
        let shard = match nth {
            0 => queue,
            nth => nth - (unknown(nth) <= queue) as u32,
        };
        // Before the region: else the last entries could come, and the mark, between the two looks.
        let complete = defence.gate(shard).map_or(0, |gate| gate.is_complete);
        incomplete = unknown(incomplete | (complete == 0) as u32);
        let index = shard.wrapping_mul(flows::SUMMARY_WORDS).wrapping_add(word);
        if defence.summary(index).is_some_and(|marks| marks & bit == 0) {
            continue;
        }
        let index = shard.wrapping_mul(front.buckets).wrapping_add(home);
        if let Some(bucket) = defence.bucket(index) {
            let found = defence.unknown(flows::find(bucket, fingerprint));
            if found != 0 {
                return found;
            }
        }
    }
    defence.unknown(if incomplete == 0 { NOBODYS } else { UNKNOWN })
}

/// No entry: no shard has the flow. No entry is this, for a kind of zero is none.
const NOBODYS: u64 = 0;
/// No entry: a shard that has not written all of its flows down may have it. Nor is this one: shard 255
/// is not looked at.
const UNKNOWN: u64 = 0x3ff;
/// Octets of the header of a SYN of Linux's.
const USUAL: usize = 40;
