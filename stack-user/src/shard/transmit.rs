//! Sending what is owed: replies without state first, then the connections on the dirty list.

use super::inner::{Core, Hop, Mark};
use super::replies::{Body, Reply};
use super::{Shard, Transmit};
use crate::counters::Counter;
use crate::tcp::{Env, HEADROOM, MAX_HEADER};
use crate::time::Instant;
use crate::wire::ethernet::{self, ETHERTYPE_ARP, ETHERTYPE_IPV4};
use crate::wire::ipv4::Delivery;
use crate::wire::usual::{self, Usual};
use crate::wire::{Addr, MacAddr, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, arp, ipv4, ndp};

impl Shard {
    /// Sends what is owed until all is sent or `tx` has no more frames.
    pub fn drain(&mut self, tx: &mut dyn Transmit, now: Instant) {
        // Who sums tagged frames is not asked: they are rare.
        self.core.config.tcp.leaves_sums = tx.makes_sums() && self.core.config.vlan.is_none();
        self.relieve(now);
        self.feed_starved(now);
        while let Some(reply) = self.core.replies.pop_front() {
            let Some(frame) = tx.reserve() else {
                self.core.replies.push_front(reply);
                return self.core.arm_rest(now);
            };
            let (start, len) = self.core.write_reply(reply.mac, reply.body, frame);
            self.core.count_out(len);
            tx.commit(start, len);
        }
        // A connection that would send for ever goes to the end of the list after its share.
        for _ in 0..self.core.dirty.len() {
            let Some(index) = self.core.dirty.pop_front() else { return };
            if self.send_plain(index, tx, now) {
                continue;
            }
            match self.send_share(index, tx, now) {
                Sent::All => self.after_output(index, now),
                Sent::Share => {
                    self.core.dirty.push_back(index);
                    self.core.unarmed += 1;
                }
                Sent::NoFrame => {
                    self.core.dirty.push_front(index);
                    self.core.unarmed = self.core.dirty.len().min(self.core.unarmed + 1);
                    return self.core.arm_rest(now);
                }
            }
        }
        self.core.unarmed = self.core.dirty.len();
        // Resolution asks on the link: the question goes in this turn.
        let is_question =
            |reply: &Reply| matches!(reply.body, Body::Arp(_) | Body::Discovery { .. });
        if self.core.replies.front().is_some_and(is_question) {
            self.drain(tx, now);
        }
    }

    /// Sends what most connections owe: an acknowledgment with timestamps, to a next hop that is known,
    /// and nothing else. Whether that was it; nothing was done otherwise.
    #[inline]
    fn send_plain(&mut self, index: u32, tx: &mut dyn Transmit, now: Instant) -> bool {
        let core = &mut self.core;
        let Some(conn) = core.conns.get_mut(index) else { return false };
        let Some(hop) = conn.next_hop.map(Hop::index) else { return false };
        let hop = core.neighbours.at(hop);
        let (Some(mac), false) = (hop.mac, hop.ask_at <= now) else { return false };
        let (local, remote) = (&conn.tcb.tuple().local, &conn.tcb.tuple().remote);
        let is_v4 = local.is_v4() && remote.is_v4();
        if !is_v4 || core.config.vlan.is_some() || !conn.is_plain() {
            return false;
        }
        let (src, dst) = (ipv4::octets(local), ipv4::octets(remote));
        if !conn.tcb.owes_stamped_ack() || conn.tcb.owes_several() {
            return false;
        }
        let Some(frame) = tx.reserve() else { return false };
        let Some(out) = frame.get_mut(START..).and_then(|out| out.first_chunk_mut()) else {
            return false;
        };
        let mut env = Env {
            pool: &mut core.pool,
            counters: &mut core.counters,
            census: &mut core.census,
            config: &core.config.tcp,
        };
        let (header, stamps) = conn.tcb.take_ack(&mut env, now);
        let delivery = conn.tcb.delivery(&core.config.tcp);
        let usual = Usual {
            to: mac,
            from: core.config.mac,
            src,
            dst,
            src_port: header.src_port,
            dst_port: header.dst_port,
            seq: header.seq,
            ack: header.ack,
            flags: header.flags,
            window: header.window,
            urgent: 0,
            stamps,
            text: &[],
        };
        usual.write(delivery, out);
        conn.marks.set(Mark::Dirty, false);
        conn.marks.set(Mark::Unarmed, false);
        if conn.marks.has(Mark::Armed) || conn.tcb.has_timer() {
            core.arm(index, now);
        }
        core.count_out(usual::LEN);
        tx.commit(START, usual::LEN);
        true
    }

    /// Sends segments of one connection, at most its share of a turn.
    fn send_share(&mut self, index: u32, tx: &mut dyn Transmit, now: Instant) -> Sent {
        if self.core.conns.get(index).is_none_or(|conn| conn.tcb.is_quiet()) {
            return Sent::All;
        }
        let Some(mac) = self.core.resolve(index, now) else {
            if let Some((conn, mut env)) = self.core.conn_env(index)
                && !conn.marks.has(Mark::Waiting)
            {
                // No route, or no room to remember the next hop.
                conn.tcb.on_no_next_hop(&mut env, now);
            }
            return Sent::All;
        };
        for _ in 0..SHARE {
            let Some(frame) = tx.reserve() else { return Sent::NoFrame };
            let longest = HEADROOM + MAX_HEADER + usize::from(self.core.config.mtu);
            let end = longest.min(frame.len());
            let Some((conn, mut env)) = self.core.conn_env(index) else { return Sent::All };
            let Some(len) = conn.tcb.poll_transmit(&mut frame[HEADROOM..end], &mut env, now) else {
                return Sent::All;
            };
            // RFC 9293 3.9.1.9 (SHLD-22): what the user chose goes to IP as it is.
            let delivery = conn.tcb.delivery(env.config);
            let tuple = conn.tcb.tuple();
            let addrs = (tuple.local, tuple.remote, PROTOCOL_TCP);
            let is_last = conn.tcb.is_quiet();
            let start = self.core.write_headers(mac, (addrs, delivery), frame, len);
            let whole = HEADROOM - start + len;
            self.core.count_out(whole);
            tx.commit(start, whole);
            if is_last {
                return Sent::All;
            }
        }
        Sent::Share
    }

    fn after_output(&mut self, index: u32, now: Instant) {
        let Some(conn) = self.core.conns.get_mut(index) else { return };
        conn.marks.set(Mark::Dirty, false);
        if conn.is_unsettled() {
            self.settle(index, now);
        } else {
            self.core.note_changed(index, now);
            self.core.arm(index, now);
        }
    }
}

/// What became of a connection's turn.
enum Sent {
    /// It has nothing more to send now.
    All,
    /// It sent its share, and may have more.
    Share,
    /// There was no frame.
    NoFrame,
}

impl Core {
    fn count_out(&mut self, len: usize) {
        self.counters.count(Counter::FramesOut);
        self.counters.add(Counter::BytesOut, len as u64);
    }

    /// Writes a reply into `frame`; where in it the frame begins, and its length.
    fn write_reply(&mut self, mac: MacAddr, body: Body, frame: &mut [u8]) -> (usize, usize) {
        let out = &mut frame[HEADROOM..];
        let (carried, len) = match body {
            Body::Segment { tuple, bare } => {
                let len = bare.write(&tuple, out);
                self.counters.count(Counter::SegmentsOut);
                if bare.flags.has(crate::wire::tcp::Flags::RST) {
                    self.counters.count(Counter::ResetsOut);
                }
                let addrs = (tuple.local, tuple.remote, PROTOCOL_TCP);
                ((addrs, self.config.tcp.delivery()), len)
            }
            Body::Arp(packet) => {
                let len = packet.emit(out).max(arp::LEN);
                let (ours, vlan) = (self.config.mac, self.config.vlan);
                let before = &mut frame[..HEADROOM];
                let start = HEADROOM - ethernet::emit(before, mac, ours, ETHERTYPE_ARP, vlan);
                return (start, HEADROOM - start + len);
            }
            Body::Discovery { local, remote, message } => {
                let len = message.emit((&local, &remote), out);
                let delivery = Delivery { hop_limit: ndp::HOP_LIMIT, ..Delivery::default() };
                (((local, remote, PROTOCOL_ICMPV6), delivery), len)
            }
            Body::Icmp { local, remote, answer, mut back } => {
                let (addrs, protocol) = match local.is_v4() {
                    true => (None, PROTOCOL_ICMP),
                    false => (Some((&local, &remote)), PROTOCOL_ICMPV6),
                };
                // What comes back fits in a chunk: it came in one frame.
                let len = answer.emit(addrs, back.front(&self.pool), out);
                back.clear(&mut self.pool);
                (((local, remote, protocol), Delivery::default()), len)
            }
        };
        let start = self.write_headers(mac, carried, frame, len);
        (start, HEADROOM - start + len)
    }

    /// Writes the headers of IP and Ethernet in front of a payload of `len` octets at [`HEADROOM`];
    /// where they begin.
    fn write_headers(
        &self,
        mac: MacAddr,
        (names, delivery): ((Addr, Addr, u8), Delivery),
        frame: &mut [u8],
        len: usize,
    ) -> usize {
        let (local, remote, protocol) = names;
        if !local.is_v4() {
            return self.write_headers_v6(mac, (names, delivery), frame, len);
        }
        let before = &mut frame[..HEADROOM];
        let names = (&local, &remote, protocol);
        let ip = before.len() - ipv4::emit_header_for(before, names, delivery, len);
        let (ours, vlan) = (self.config.mac, self.config.vlan);
        ip - ethernet::emit(&mut before[..ip], mac, ours, ETHERTYPE_IPV4, vlan)
    }
}

/// Where a frame of the usual form begins.
const START: usize = HEADROOM - usual::BEFORE;
/// The most segments of one connection in one turn: two packets of 64 KiB, where they leave in such.
const SHARE: usize = 90;
