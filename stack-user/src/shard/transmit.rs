//! Sending what is owed: replies without state first, then the connections on the dirty list.

use super::inner::{Conn, Core, Hop, Mark};
use super::replies::{Body, Reply};
use super::{Shard, Transmit};
use crate::counters::Counter;
use crate::tcp::{HEADROOM, MAX_HEADER, MOST_PIECES, Written};
use crate::time::Instant;
use crate::wire::ethernet::{self, ETHERTYPE_ARP, ETHERTYPE_IPV4};
use crate::wire::ipv4::Delivery;
use crate::wire::run::Run;
use crate::wire::usual::{self, Fields};
use crate::wire::{Addr, MacAddr, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, arp, ipv4, ndp};

impl Shard {
    /// Sends what is owed until all is sent or `tx` has no more frames.
    pub fn drain(&mut self, tx: &mut dyn Transmit, now: Instant) {
        self.relieve(now);
        if !self.core.starved.is_empty() {
            self.feed_starved(now);
        }
        if !self.core.replies.is_empty() && !self.core.send_replies(tx) {
            return self.core.arm_rest(now);
        }
        // A connection that would send for ever goes to the end of the list after its share.
        for _ in 0..self.core.dirty.len() {
            let Some(index) = self.core.dirty.pop() else { break };
            if !self.send_plain(index, tx, now) && !self.send_any(index, tx, now) {
                return;
            }
        }
        self.core.dirty.end_round();
        if !self.core.replies.is_empty() {
            self.ask_now(tx, now);
        }
    }

    /// Resolution asks on the link: the question goes in this turn.
    #[inline(never)]
    fn ask_now(&mut self, tx: &mut dyn Transmit, now: Instant) {
        let is_question =
            |reply: &Reply| matches!(reply.body, Body::Arp(_) | Body::Discovery { .. });
        if self.core.replies.front().is_some_and(is_question) {
            self.drain(tx, now);
        }
    }

    /// Sees to connections that most are like: they owe an acknowledgment alone, or nothing. Whether it
    /// is one; nothing was done otherwise.
    #[inline]
    fn send_plain(&mut self, index: u32, tx: &mut dyn Transmit, now: Instant) -> bool {
        let core = &mut self.core;
        let Some(conn) = core.conns.get_mut(index) else { return false };
        if conn.marks.has(Mark::AckAlone) {
            return core.send_ack(index, tx, now);
        }
        let is_done = conn.is_plain() && conn.tcb.is_quiet();
        if is_done {
            core.publisher.note(index, conn, now);
            if conn.on_plain_output() {
                core.arm(index, now);
            }
        }
        is_done
    }

    /// Sends what a connection owes, at most its share of a turn. Without a frame for it, false: the rest
    /// of the list waits as well.
    #[inline(never)]
    fn send_any(&mut self, index: u32, tx: &mut dyn Transmit, now: Instant) -> bool {
        if let Some(conn) = self.core.conns.get_mut(index) {
            conn.marks.set(Mark::AckAlone, false);
        }
        match self.send_share(index, tx, now) {
            Sent::All => self.after_output(index, now),
            Sent::Share => {
                self.core.dirty.push_unarmed(index);
            }
            Sent::NoFrame => {
                self.core.dirty.put_back(index);
                self.core.arm_rest(now);
                return false;
            }
        }
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
        let mut share = SHARE;
        while share > 0 {
            if let Some(sent) = self.send_run(index, mac, tx, now) {
                if self.core.conns.get(index).is_none_or(|conn| conn.tcb.is_quiet()) {
                    return Sent::All;
                }
                share = share.saturating_sub(sent);
                continue;
            }
            share -= 1;
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

    /// Sends what may leave as a run; how many segments that were.
    fn send_run(
        &mut self,
        index: u32,
        mac: MacAddr,
        tx: &mut dyn Transmit,
        now: Instant,
    ) -> Option<usize> {
        // Tagged frames are rare.
        if self.core.config.vlan.is_some() || !self.core.conns.get(index)?.tcb.has_run() {
            return None;
        }
        let (room, most) = tx.reserve_run()?;
        let (conn, mut env) = self.core.conn_env(index)?;
        let written = conn.tcb.poll_run((&mut room[HEADROOM..], most), &mut env, now)?;
        let delivery = conn.tcb.delivery(env.config);
        let tuple = conn.tcb.tuple();
        let addrs = (tuple.local, tuple.remote, PROTOCOL_TCP);
        let Written { head, text, size, count, .. } = written;
        let start = self.core.write_headers(mac, (addrs, delivery), room, head + text);
        let head = HEADROOM - start + head;
        self.core.counters.add(Counter::FramesOut, count as u64);
        self.core.counters.add(Counter::BytesOut, (count * head + text) as u64);
        let Core { conns, pool, .. } = &mut self.core;
        let mut pieces = [&[][..]; MOST_PIECES];
        let n = conns.get_mut(index)?.tcb.run_text(&written, pool, &mut pieces);
        tx.commit_run(start, &pieces[..n], Run { head, size });
        Some(count)
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

impl Conn {
    /// Output has come to it, and it stays on no list. Whether it has a deadline, or had one.
    #[inline]
    fn on_plain_output(&mut self) -> bool {
        self.marks.set(Mark::Dirty, false);
        self.marks.set(Mark::Unarmed, false);
        self.marks.set(Mark::AckAlone, false);
        self.marks.has(Mark::Armed) || self.tcb.has_timer()
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
    /// Sends the acknowledgment that a connection owes, and nothing else, to a next hop that is known.
    /// Whether it could; nothing was done otherwise.
    #[inline(always)]
    fn send_ack(&mut self, index: u32, tx: &mut dyn Transmit, now: Instant) -> bool {
        let Some(conn) = self.conns.get_mut(index) else { return false };
        debug_assert!(conn.is_plain() && conn.owes_ack_alone(), "nobody has settled it");
        let Some(hop) = conn.next_hop.map(Hop::index) else { return false };
        let hop = self.neighbours.at(hop);
        if hop.ask_at <= now || self.config.vlan.is_some() {
            return false;
        }
        let Some(frame) = tx.reserve() else { return false };
        let out = frame.get_mut(START..START + usual::LEN);
        let Some(out) = out.and_then(|out| out.first_chunk_mut()) else { return false };
        let Some(mac) = &hop.mac else { return false };
        let (header, stamps) = conn.tcb.take_ack(&mut self.counters, now);
        let fields = Fields {
            src: ipv4::octets(&conn.tcb.tuple().local),
            dst: ipv4::octets(&conn.tcb.tuple().remote),
            src_port: header.src_port,
            dst_port: header.dst_port,
            seq: header.seq,
            ack: header.ack,
            flags: header.flags,
            window: header.window,
            urgent: 0,
            stamps,
        };
        // One that has a way of its own owes more than that.
        fields.write((&self.start, conn.ip_checksum), mac, out);
        let has_deadline = conn.on_plain_output();
        self.count_out(usual::LEN);
        tx.commit(START, usual::LEN);
        if has_deadline {
            self.arm(index, now);
        }
        true
    }

    /// Sends replies without state; false where there was no frame for the next.
    #[inline(never)]
    fn send_replies(&mut self, tx: &mut dyn Transmit) -> bool {
        while let Some(reply) = self.replies.pop_front() {
            let Some(frame) = tx.reserve() else {
                self.replies.push_front(reply);
                return false;
            };
            let (start, len) = self.write_reply(reply.mac, reply.body, frame);
            self.count_out(len);
            tx.commit(start, len);
        }
        true
    }

    #[inline]
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
