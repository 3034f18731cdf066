//! The usual segment on its straight way: from its frame to its connection and that one's service.
//!
//! Owns no rule of TCP. A frame that is not of the usual form, or whose segment is not the one that an
//! open connection expects next, goes the way through `demux`, `segments` and `deliver`, on which
//! nothing has happened yet.

use super::Shard;
use super::deliver::Offer;
use super::demux::Arrival;
use super::inner::{Conn, Core, Lists, Mark};
use crate::counters::{Counter, DropReason};
use crate::tables::flow::{FlowKind, FlowRef};
use crate::tcp::pool::Chain;
use crate::tcp::{Env, Gist, Segment, SeqNum};
use crate::time::Instant;
use crate::wire::tcp::Options;
use crate::wire::usual::{Fields, Usual};
use crate::wire::{Addr, FourTuple, ipv4};

impl Shard {
    /// As [`Shard::take_usual`], for the connection that the table has.
    #[inline]
    pub(super) fn take_usual_of(
        &mut self,
        likely: Option<FlowRef>,
        usual: &Usual<'_>,
        now: Instant,
    ) -> bool {
        likely
            .filter(|flow| flow.kind() == FlowKind::Tcb)
            .is_some_and(|flow| self.take_usual(flow.index(), usual, now))
    }

    /// Takes a usual frame whose segment is the next of the connection at `index`, for which it is likely;
    /// whether it is. The addresses need no look: a connection has none that are not for us.
    // Apart: what its caller needs where it is not would have to be kept all the way.
    #[inline(never)]
    pub(super) fn take_usual(&mut self, index: u32, usual: &Usual<'_>, now: Instant) -> bool {
        let Some((conn, env, lists)) = self.core.conn_parts(index) else { return false };
        let Some(Took { service, is_unseen, is_settled }) =
            conn.take_usual((index, usual), env, lists, now)
        else {
            return false;
        };
        let text = usual.text();
        if !is_settled {
            self.deliver_unsettled((index, service), (text, is_unseen), now);
        } else if !text.is_empty() {
            let offer = self.offer_plain((index, service), text, now);
            if offer != Offer::TakenAlone && !self.settle_offered(index, (offer, is_unseen), now) {
                self.settle(index, now);
            }
        }
        true
    }

    /// What a predicted segment brought to a connection that there is more to be done for.
    #[inline(never)]
    fn deliver_unsettled(
        &mut self,
        (index, service): (u32, u16),
        (text, is_unseen): (&[u8], bool),
        now: Instant,
    ) {
        let has_events = self.core.conns.get(index).is_some_and(|conn| conn.tcb.has_events());
        if has_events {
            self.deliver(index, (text, Chain::default()), now);
        } else if self.deliver_plain((index, service), (text, is_unseen), now) {
            return;
        }
        self.settle(index, now);
    }
}

/// A usual segment that its connection has taken.
struct Took {
    service: u16,
    /// As [`Tcb::on_predicted`] says.
    ///
    /// [`Tcb::on_predicted`]: crate::tcp::Tcb::on_predicted
    is_unseen: bool,
    /// Whether the connection is settled, should its service do nothing to it.
    is_settled: bool,
}

impl Conn {
    /// Takes a usual segment, if it is the next. In one piece, so that what prediction has found need not
    /// be looked at again.
    #[inline(always)]
    fn take_usual(
        &mut self,
        (index, usual): (u32, &Usual<'_>),
        mut env: Env<'_>,
        mut lists: Lists<'_>,
        now: Instant,
    ) -> Option<Took> {
        if !self.is_named(usual) || !Gist::may_have(usual.flags()) || !self.is_served() {
            return None;
        }
        let gist = Gist {
            seq: SeqNum(usual.seq()),
            ack: SeqNum(usual.ack()),
            window: usual.window(),
            stamps: Some(usual.stamps()),
            len: usual.text().len(),
        };
        if !self.tcb.predicts(&gist, &env) {
            return None;
        }
        debug_assert!(self.is_plain(), "prediction looks at the rest");
        let is_unseen = self.tcb.on_predicted(&gist, &mut env, now);
        // Ahead of the call: a service that does nothing to its connection leaves nothing to be settled.
        let (has_events, owes_ack_alone) = match is_unseen {
            true => {
                debug_assert!(!self.tcb.has_events(), "text alone tells of nothing else");
                (false, self.tcb.owes_predicted_ack() && !self.tcb.owes_several())
            }
            false => (self.tcb.has_events(), self.owes_ack_alone()),
        };
        let is_settled = !has_events
            && lists.settle_plain((index, self), (is_unseen, owes_ack_alone), &env, now);
        env.counters.count(Counter::SegmentsIn);
        Some(Took { service: self.service, is_unseen, is_settled })
    }

    /// Whether a frame has its name.
    #[inline(always)]
    fn is_named(&self, usual: &Usual<'_>) -> bool {
        let ((src, dst), tuple) = (usual.addrs(), self.tcb.tuple());
        let ports = u32::from(tuple.remote_port) << 16 | u32::from(tuple.local_port);
        self.marks.has(Mark::V4)
            && ports == usual.both_ports()
            && ipv4::octets(&tuple.remote) == src
            && ipv4::octets(&tuple.local) == dst
    }
}

impl Core {
    /// Reads a frame of the usual form that is for our link-layer address.
    #[inline(always)]
    pub(super) fn read_usual<'a>(&self, bytes: &'a [u8]) -> Option<Usual<'a>> {
        let config = &self.config;
        let usual = Usual::read(bytes, config.verify_checksums)?;
        if !usual.is_to(&config.mac) || config.vlan.is_some() {
            return None;
        }
        Some(usual)
    }

    /// The hash of its flow.
    #[inline(always)]
    pub(super) fn hash_usual(&self, usual: &Usual<'_>) -> u64 {
        let ((src, dst), (src_port, dst_port)) = (usual.addrs(), usual.ports());
        self.hasher.hash_v4((dst, src), (dst_port, src_port))
    }

    /// A usual frame that takes the long way after all: its segment, if it is for us.
    pub(super) fn admit<'a>(
        &self,
        usual: &Usual<'a>,
        hash: u64,
    ) -> Result<Arrival<'a>, DropReason> {
        let Fields { src, dst, src_port, dst_port, .. } = usual.fields();
        let addr = |octets: [u8; 4]| Addr::from(core::net::Ipv4Addr::from(octets));
        let (local, remote) = (addr(dst), addr(src));
        let is_local = |addr: &Addr| self.config.addrs.iter().any(|local| local.addr == *addr);
        if !is_local(&local) {
            return Err(DropReason::DropNotOurs);
        }
        // RFC 9293 3.9.2.3 (MUST-63), CM-7.k.
        if ipv4::is_martian_source(&remote) || is_local(&remote) {
            return Err(DropReason::DropMartian);
        }
        Ok(Arrival {
            mac: usual.from(),
            tuple: FourTuple { local, remote, local_port: dst_port, remote_port: src_port },
            hash,
            segment: segment_of(usual),
            cookie: None,
        })
    }
}

/// The segment of a usual frame.
fn segment_of<'a>(usual: &Usual<'a>) -> Segment<'a> {
    let Fields { seq, ack, flags, window, urgent, stamps, .. } = usual.fields();
    Segment {
        seq: SeqNum(seq),
        ack: SeqNum(ack),
        flags,
        window,
        urgent,
        options: Options { timestamps: Some(stamps), ..Options::NONE },
        text: usual.text(),
    }
}
