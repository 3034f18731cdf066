//! Frames to flows: passes over a batch, so that the cache misses of different frames overlap. What
//! loads memory has a loop of its own: among the work on frames the processor would look only a few
//! frames ahead.

use core::hint::black_box;

use super::front::Ahead;
use super::inner::{Conn, Core, Mark};
use super::refusals::Refused;
use super::{BATCH, Elsewhere, Shard};
use crate::counters::{Counter, DropReason};
use crate::tables::flow::{FlowKind, FlowRef};
use crate::tcp::{HalfOpenVerdict, Segment};
use crate::time::Instant;
use crate::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Frame};
use crate::wire::icmpv6::Carried;
use crate::wire::tcp::Packet;
use crate::wire::usual::Usual;
use crate::wire::{Addr, FourTuple, MacAddr, PROTOCOL_ICMP, PROTOCOL_TCP, ipv4, tcp};

/// A frame that passed the checks of its headers.
pub(super) enum Parsed<'a> {
    /// One of the usual form, and its flow's hash. Its addresses were not looked at.
    Usual(Usual<'a>, u64),
    Segment(Arrival<'a>),
    Arp(MacAddr, &'a [u8]),
    Icmp(MacAddr, ipv4::Packet<'a>),
    Icmpv6(MacAddr, Carried, &'a [u8]),
    Refused(Refused<'a>),
}

impl Parsed<'_> {
    /// The hash of its flow.
    #[inline]
    fn hash(&self) -> Option<u64> {
        match self {
            Self::Usual(_, hash) => Some(*hash),
            Self::Segment(arrival) => Some(arrival.hash),
            _ => None,
        }
    }
}

/// A segment on its way to its flow.
pub(super) struct Arrival<'a> {
    /// Who sent the frame.
    pub mac: MacAddr,
    pub tuple: FourTuple,
    pub hash: u64,
    pub segment: Segment<'a>,
    /// The index of the MSS of a cookie that it answers, as the XDP program has found at this time.
    pub cookie: Option<u8>,
}

impl Shard {
    pub(super) fn take_frames(
        &mut self,
        frames: (&[&[u8]], &[Ahead<'_>]),
        mut elsewhere: Option<&mut dyn FnMut(usize, Elsewhere)>,
        now: Instant,
    ) {
        debug_assert!(frames.0.len() <= BATCH);
        self.core.wheel.keep_up(now);
        // The slots of a whole batch are 12 KiB, which a few frames should not have to clear.
        match frames.0.len() {
            1 => self.take_single(frames, &mut elsewhere, now),
            0 => {}
            2..=8 => self.take_batch::<8>(frames, &mut elsewhere, now),
            _ => self.take_batch::<BATCH>(frames, &mut elsewhere, now),
        }
        self.core.tend_front(now);
    }

    /// Takes a frame that came alone: there is nothing that its look-ups could overlap with.
    #[inline]
    fn take_single(
        &mut self,
        (frames, ahead): (&[&[u8]], &[Ahead<'_>]),
        elsewhere: &mut Passing<'_>,
        now: Instant,
    ) {
        let frame = frames[0];
        self.core.count_in(frame);
        let usual = self.core.read_usual(frame);
        // Segments of one connection come in trains, and to compare a name takes a tenth of hash and
        // look-up. One that is open is the one that the table has.
        if let Some(usual) = &usual
            && self.take_usual(self.core.last, usual, now)
        {
            return;
        }
        self.take_stray((frame, ahead.first().copied()), usual, elsewhere, now);
    }

    /// Takes a frame that came alone, and is not the next of the connection of the one before.
    #[inline(never)]
    fn take_stray(
        &mut self,
        (frame, ahead): (&[u8], Option<Ahead<'_>>),
        usual: Option<Usual<'_>>,
        elsewhere: &mut Passing<'_>,
        now: Instant,
    ) {
        let mut slot = None;
        if let Some(usual) = usual {
            slot = Some(Parsed::Usual(usual, self.core.hash_usual(&usual)));
        } else if let Err(reason) = self.core.parse(frame, &mut slot) {
            self.core.counters.count(reason);
        }
        let hash = slot.as_ref().and_then(Parsed::hash);
        let likely = hash.and_then(|hash| self.core.flows.likely(hash));
        if let Some(usual) = &usual
            && self.take_usual_of(likely, usual, now)
        {
            self.core.last = likely.map_or(0, FlowRef::index);
            return;
        }
        let ahead = ahead.map(|ahead| (ahead, frame.len()));
        let look = Look { likely, is_fresh: true };
        self.take_parsed((0, ahead), (&mut slot, look), elsewhere, now);
    }

    /// Takes at most `SLOTS` frames. Apart, for a frame that comes alone needs none of its memory.
    #[inline(never)]
    fn take_batch<const SLOTS: usize>(
        &mut self,
        (frames, ahead): (&[&[u8]], &[Ahead<'_>]),
        elsewhere: &mut Passing<'_>,
        now: Instant,
    ) {
        // First pass: parse and hash.
        let mut parsed: [Option<Parsed<'_>>; SLOTS] = core::array::from_fn(|_| None);
        for (slot, frame) in parsed.iter_mut().zip(frames) {
            self.core.count_in(frame);
            if let Some(usual) = self.core.read_usual(frame) {
                *slot = Some(Parsed::Usual(usual, self.core.hash_usual(&usual)));
            } else if let Err(reason) = self.core.parse(frame, slot) {
                self.core.counters.count(reason);
            }
        }
        // Second pass: find the records, and load their first lines.
        let mut likely = [None; SLOTS];
        self.core.load_ahead(&parsed[..frames.len()], &mut likely);
        // Third pass: each in its turn, names compared. A frame before may have changed what was found.
        for index in 0..frames.len() {
            if let Some(Parsed::Usual(usual, _)) = &parsed[index]
                && self.take_usual_of(likely[index], usual, now)
            {
                continue;
            }
            let ahead = ahead.get(index).map(|ahead| (*ahead, frames[index].len()));
            let look = Look { likely: likely[index], is_fresh: index == 0 };
            self.take_parsed((index, ahead), (&mut parsed[index], look), elsewhere, now);
        }
    }

    /// Takes a frame that was parsed, and is not the next of its connection.
    #[inline(never)]
    fn take_parsed(
        &mut self,
        (index, ahead): (usize, Option<(Ahead<'_>, usize)>),
        (parsed, look): (&mut Option<Parsed<'_>>, Look),
        elsewhere: &mut Passing<'_>,
        now: Instant,
    ) {
        match parsed {
            Some(Parsed::Usual(usual, hash)) => match self.core.admit(usual, *hash) {
                Ok(mut arrival) => {
                    self.take_segment((index, ahead), (&mut arrival, look), elsewhere, now);
                }
                Err(reason) => self.core.counters.count(reason),
            },
            Some(Parsed::Segment(arrival)) => {
                self.take_segment((index, ahead), (arrival, look), elsewhere, now);
            }
            Some(Parsed::Arp(mac, payload)) => {
                self.core.on_arp((*mac, payload), elsewhere.is_some(), now);
                if let Some(elsewhere) = elsewhere {
                    elsewhere(index, Elsewhere::Every);
                }
            }
            Some(Parsed::Icmp(mac, packet)) => self.on_icmp(*mac, packet, now),
            Some(Parsed::Icmpv6(mac, carried, bytes)) => {
                let seen = self.on_icmpv6((*mac, bytes), carried, elsewhere.is_some(), now);
                if let (Some(seen), Some(elsewhere)) = (seen, elsewhere) {
                    elsewhere(index, seen);
                }
            }
            Some(Parsed::Refused(refused)) => self.core.answer_refused(refused, now),
            None => {}
        }
    }

    /// Takes a segment to its flow, here or at another shard.
    fn take_segment(
        &mut self,
        (index, ahead): (usize, Option<(Ahead<'_>, usize)>),
        (arrival, look): (&mut Arrival<'_>, Look),
        elsewhere: &mut Passing<'_>,
        now: Instant,
    ) {
        let flow = self.core.confirm(look, arrival);
        let told = ahead.filter(|_| may_ask(flow));
        let told = told.and_then(|told| self.core.told(told, arrival));
        arrival.cookie = told.and_then(|record| self.core.cookie_told(&record, now));
        let named = told.map(|record| record.owner);
        let is_others = match flow {
            None => self.core.pass_on((index, arrival), named, elsewhere),
            Some(flow) => self.core.give_way(flow, (index, arrival), elsewhere),
        };
        if !is_others {
            self.on_arrival(flow, arrival, now);
        }
    }
}

/// What the table was found to have for a segment's hash.
#[derive(Clone, Copy)]
struct Look {
    likely: Option<FlowRef>,
    /// Whether nothing has happened since.
    is_fresh: bool,
}

/// Who is told of frames that other shards have to see.
type Passing<'a> = Option<&'a mut dyn FnMut(usize, Elsewhere)>;

impl Core {
    #[inline]
    fn count_in(&mut self, frame: &[u8]) {
        self.counters.count(Counter::FramesIn);
        self.counters.add(Counter::BytesIn, frame.len() as u64);
    }

    /// Parses a frame into its slot.
    fn parse<'a>(&self, bytes: &'a [u8], slot: &mut Option<Parsed<'a>>) -> Result<(), DropReason> {
        let frame = Frame::parse(bytes, self.config.vlan)?;
        match frame.ethertype {
            ETHERTYPE_ARP => {
                *slot = Some(Parsed::Arp(frame.src, frame.payload));
                return Ok(());
            }
            ETHERTYPE_IPV4 => {}
            ETHERTYPE_IPV6 => return self.parse_v6(&frame, slot),
            _ => return Err(DropReason::DropEthernet),
        }
        // RFC 9293 3.9.2.3 (MUST-57), CM-7.j: what came by broadcast or multicast is no segment for
        // us.
        if frame.dst.is_group() {
            return Err(DropReason::DropMartian);
        }
        if frame.dst != self.config.mac {
            return Err(DropReason::DropNotOurs);
        }
        let packet = ipv4::Packet::parse(frame.payload)?;
        if self.local(packet.dst).is_none() {
            return Err(DropReason::DropNotOurs);
        }
        // RFC 9293 3.9.2.3 (MUST-63), CM-7.k.
        if ipv4::is_martian_source(&packet.src) || self.local(packet.src).is_some() {
            return Err(DropReason::DropMartian);
        }
        match packet.protocol {
            PROTOCOL_TCP => {
                let addrs = (&packet.dst, &packet.src);
                *slot =
                    Some(Parsed::Segment(self.parse_segment(frame.src, addrs, packet.payload)?));
            }
            PROTOCOL_ICMP => *slot = Some(Parsed::Icmp(frame.src, packet)),
            _ => return Err(self.refuse_v4(frame.src, &packet, slot)),
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn parse_segment<'a>(
        &self,
        mac: MacAddr,
        (local, remote): (&Addr, &Addr),
        bytes: &'a [u8],
    ) -> Result<Arrival<'a>, DropReason> {
        let header = Packet::parse(bytes)?;
        // RFC 9293 3.1 (MUST-3).
        if self.config.verify_checksums && !tcp::verify(bytes, remote, local) {
            return Err(DropReason::DropChecksum);
        }
        let tuple = FourTuple {
            local: *local,
            remote: *remote,
            local_port: header.dst_port,
            remote_port: header.src_port,
        };
        let hash = self.hasher.hash(&tuple);
        Ok(Arrival { mac, tuple, hash, segment: header.into(), cookie: None })
    }

    /// The record of a flow.
    pub(super) fn find(&self, hash: u64, tuple: &FourTuple) -> Option<FlowRef> {
        self.flows.find(hash, |flow| self.name_of(flow) == Some(tuple))
    }

    fn name_of(&self, flow: FlowRef) -> Option<&FourTuple> {
        let index = flow.index();
        match flow.kind() {
            FlowKind::Tcb => self.conns.get(index).map(|conn| conn.tcb.tuple()),
            FlowKind::HalfOpen => self.half_open.get(index).map(|entry| &entry.record.tuple),
            FlowKind::TimeWait => self.time_waits.get(index).map(|record| &record.tuple),
        }
    }

    /// Finds what the table is likely to have for each segment, and loads the names in those records and
    /// the alarms of connections that have one.
    fn load_ahead(&self, parsed: &[Option<Parsed<'_>>], likely: &mut [Option<FlowRef>]) {
        for slot in parsed {
            if let Some(hash) = slot.as_ref().and_then(Parsed::hash) {
                self.flows.touch(hash);
            }
        }
        for (flow, slot) in likely.iter_mut().zip(parsed) {
            *flow = slot.as_ref().and_then(Parsed::hash).and_then(|hash| self.flows.likely(hash));
        }
        for flow in likely.iter().flatten() {
            black_box(match flow.kind() {
                FlowKind::Tcb => self.conns.get(flow.index()).map(Conn::touch),
                _ => self.name_of(*flow).map(|name| name.remote_port.into()),
            });
        }
        for flow in likely.iter().flatten() {
            let is_armed = |conn: &Conn| conn.marks.has(Mark::Armed);
            if flow.kind() == FlowKind::Tcb && self.conns.get(flow.index()).is_some_and(is_armed) {
                self.alarms.touch(flow.index());
            }
        }
    }

    /// The segment's flow. What the second pass found is right if it is a record with this name, which
    /// keeps its place while it lives, and that it found nothing while that is new; everything else is
    /// looked up again.
    fn confirm(&self, look: Look, arrival: &Arrival<'_>) -> Option<FlowRef> {
        let is_detached =
            |index| self.conns.get(index).is_some_and(|conn: &Conn| conn.marks.has(Mark::Detached));
        match look.likely {
            Some(flow)
                if self.name_of(flow) == Some(&arrival.tuple)
                    && !(flow.kind() == FlowKind::Tcb && is_detached(flow.index())) =>
            {
                look.likely
            }
            None if look.is_fresh => None,
            _ => self.find(arrival.hash, &arrival.tuple),
        }
    }

    /// Hands a segment without a flow here to the shard that has it, if one has.
    fn pass_on(
        &self,
        (index, arrival): (usize, &Arrival<'_>),
        named: Option<u16>,
        elsewhere: &mut Passing<'_>,
    ) -> bool {
        if let Some(elsewhere) = elsewhere
            && let Some(owner) = self.owner(arrival.hash, named)
        {
            elsewhere(index, Elsewhere::Owner(owner));
            return true;
        }
        false
    }

    /// Gives a half-open entry up that the segment does not fit, where other shards have the flow, and
    /// the segment to all of them: workers that stood still while a SYN came again on other queues made
    /// an entry each, with different ISNs, of which the peer has taken one.
    fn give_way(
        &mut self,
        flow: FlowRef,
        (index, arrival): (usize, &Arrival<'_>),
        elsewhere: &mut Passing<'_>,
    ) -> bool {
        if flow.kind() != FlowKind::HalfOpen || self.peers.is_empty() {
            return false;
        }
        let Some(entry) = self.half_open.get(flow.index()) else { return false };
        let verdict = entry.record.on_segment(&arrival.segment);
        if matches!(verdict, HalfOpenVerdict::Open | HalfOpenVerdict::Repeat) {
            return false;
        }
        let mut is_others = false;
        for (shard, _) in self.peers.iter().filter(|(_, flows)| flows.contains(arrival.hash)) {
            is_others = true;
            // One that was handed over has been given to all already.
            if let Some(elsewhere) = elsewhere {
                elsewhere(index, Elsewhere::Owner(*shard));
            }
        }
        if is_others {
            self.counters.count(Counter::HalfOpenDoubles);
            self.remove_half_open(flow.index());
        }
        is_others
    }

    /// The other shard that has this flow; the one that is told of is looked at first.
    fn owner(&self, hash: u64, told: Option<u16>) -> Option<u16> {
        let told = self.peers.iter().filter(|(shard, _)| Some(*shard) == told);
        let mut peers = told.chain(&self.peers);
        peers.find(|(_, flows)| flows.contains(hash)).map(|(shard, _)| *shard)
    }
}

/// Whether what the XDP program says of a segment of this flow changes anything.
fn may_ask(flow: Option<FlowRef>) -> bool {
    flow.is_none_or(|flow| flow.kind() == FlowKind::HalfOpen)
}
