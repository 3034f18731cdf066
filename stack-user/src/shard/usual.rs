//! The usual segment on its straight way: from its frame to its connection and that one's service.
//!
//! Owns no rule of TCP. A frame that is not of the usual form, or whose segment is not the one that an
//! open connection expects next, goes the way through `demux`, `segments` and `deliver`, on which
//! nothing has happened yet.

use super::Shard;
use super::demux::Arrival;
use super::inner::Core;
use crate::counters::{Counter, DropReason};
use crate::tables::flow::{FlowKind, FlowRef};
use crate::tcp::pool::Chain;
use crate::tcp::{Gist, Segment, SeqNum, State};
use crate::time::Instant;
use crate::wire::tcp::Options;
use crate::wire::usual::Usual;
use crate::wire::{Addr, FourTuple, ipv4};

impl Shard {
    /// As [`Shard::take_usual`], for one of many.
    #[inline(never)]
    pub(super) fn take_usual_of_many(
        &mut self,
        likely: Option<FlowRef>,
        usual: &Usual<'_>,
        now: Instant,
    ) -> bool {
        self.take_usual(likely, usual, now)
    }

    /// Takes a usual frame whose segment is the next of the connection that it is likely for; whether it
    /// is. The addresses need no look: a connection has none that are not for us.
    #[inline(always)]
    pub(super) fn take_usual(
        &mut self,
        likely: Option<FlowRef>,
        usual: &Usual<'_>,
        now: Instant,
    ) -> bool {
        let Some(index) = likely.filter(|flow| flow.kind() == FlowKind::Tcb).map(FlowRef::index)
        else {
            return false;
        };
        let Some((conn, mut env)) = self.core.conn_env(index) else { return false };
        let gist = Gist {
            seq: SeqNum(usual.seq),
            ack: SeqNum(usual.ack),
            window: usual.window,
            stamps: Some(usual.stamps),
            len: usual.text.len(),
        };
        let is_next = names(usual, conn.tcb.tuple())
            && Gist::may_have(usual.flags)
            && conn.is_plain()
            && conn.tcb.predicts(&gist, &env);
        if !is_next {
            return false;
        }
        env.counters.count(Counter::SegmentsIn);
        let is_unseen = conn.tcb.on_predicted(&gist, &mut env, now);
        let service = conn.service;
        if conn.tcb.has_events() {
            self.deliver(index, (usual.text, Chain::default()), now);
            self.settle(index, now);
        } else if !self.deliver_plain((index, service), (usual.text, is_unseen), now) {
            self.settle(index, now);
        }
        true
    }
}

/// Whether a frame has the name of a connection.
#[inline]
fn names(usual: &Usual<'_>, tuple: &FourTuple) -> bool {
    tuple.remote_port == usual.src_port
        && tuple.local_port == usual.dst_port
        && tuple.remote.is_octets(usual.src)
        && tuple.local.is_octets(usual.dst)
}

impl Core {
    /// Reads a frame of the usual form that is for our link-layer address.
    #[inline(always)]
    pub(super) fn read_usual<'a>(&self, bytes: &'a [u8]) -> Option<Usual<'a>> {
        let config = &self.config;
        let usual = Usual::read(bytes, config.verify_checksums)?;
        if usual.to != config.mac || config.vlan.is_some() {
            return None;
        }
        Some(usual)
    }

    /// The hash of its flow.
    #[inline(always)]
    pub(super) fn hash_usual(&self, usual: &Usual<'_>) -> u64 {
        let (addrs, ports) = ((usual.dst, usual.src), (usual.dst_port, usual.src_port));
        self.hasher.hash_v4(addrs, ports)
    }

    /// The connection that the last lone segment was for, if this one has its name. Segments of one
    /// connection come in trains, and to compare a name takes a tenth of hash and look-up. One that is
    /// open is the one that the table has.
    #[inline(always)]
    pub(super) fn last_for(&self, usual: &Usual<'_>) -> Option<FlowRef> {
        let conn = self.conns.get(self.last)?;
        let is_it = conn.tcb.state() == State::Established && names(usual, conn.tcb.tuple());
        is_it.then_some(FlowRef::new(FlowKind::Tcb, self.last))
    }

    /// A usual frame that takes the long way after all: its segment, if it is for us.
    pub(super) fn admit<'a>(
        &self,
        usual: &Usual<'a>,
        hash: u64,
    ) -> Result<Arrival<'a>, DropReason> {
        let addr = |octets: [u8; 4]| Addr::from(core::net::Ipv4Addr::from(octets));
        let (local, remote) = (addr(usual.dst), addr(usual.src));
        let is_local = |addr: &Addr| self.config.addrs.iter().any(|local| local.addr == *addr);
        if !is_local(&local) {
            return Err(DropReason::DropNotOurs);
        }
        // RFC 9293 3.9.2.3 (MUST-63), CM-7.k.
        if ipv4::is_martian_source(&remote) || is_local(&remote) {
            return Err(DropReason::DropMartian);
        }
        Ok(Arrival {
            mac: usual.from,
            tuple: FourTuple {
                local,
                remote,
                local_port: usual.dst_port,
                remote_port: usual.src_port,
            },
            hash,
            segment: Segment {
                seq: SeqNum(usual.seq),
                ack: SeqNum(usual.ack),
                flags: usual.flags,
                window: usual.window,
                urgent: usual.urgent,
                options: Options { timestamps: Some(usual.stamps), ..Options::NONE },
                text: usual.text,
            },
            cookie: None,
        })
    }
}
