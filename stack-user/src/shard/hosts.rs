//! Hosts on the link and on the way: ARP and ICMP.

use super::Shard;
use super::inner::Core;
use super::replies::Body;
use crate::counters::Counter;
use crate::tcp::SeqNum;
use crate::time::Instant;
use crate::wire::arp::{Op, Packet};
use crate::wire::icmp::{Answer, Echo, Error, Message, Quoted};
use crate::wire::{Addr, MacAddr, ipv4};

impl Core {
    /// ARP (RFC 826), for addresses of our own. Every shard learns; the one that got the frame from
    /// the wire answers.
    pub(super) fn on_arp(&mut self, (mac, payload): (MacAddr, &[u8]), answers: bool, now: Instant) {
        let packet = match Packet::parse(payload) {
            Ok(packet) => packet,
            Err(reason) => return self.counters.count(reason),
        };
        let (sender, target) = (Addr::from(packet.sender_ip), Addr::from(packet.target_ip));
        let is_ours = self.local(target).is_some_and(|local| local.is_owned);
        if self.local(sender).is_some() || packet.sender_mac.is_group() {
            return self.counters.count(Counter::DropMartian);
        }
        // A probe has no sender address yet (RFC 5227, 2.1.1): there is nothing to learn.
        if !packet.sender_ip.is_unspecified() {
            self.learn((sender, packet.sender_mac), is_ours, now);
        }
        if is_ours && packet.op == Op::Request && answers {
            self.counters.count(Counter::ArpAnswered);
            let answer = Packet {
                op: Op::Reply,
                sender_mac: self.config.mac,
                sender_ip: packet.target_ip,
                target_mac: packet.sender_mac,
                target_ip: packet.sender_ip,
            };
            self.reply(mac, Body::Arp(answer));
        } else if !is_ours {
            self.counters.count(Counter::DropNotOurs);
        }
    }

    /// An echo for an address of our own (RFC 1122, 3.2.2.6; RFC 4443, 4.2).
    pub(super) fn answer_echo(&mut self, mac: MacAddr, addrs: (Addr, Addr), echo: &Echo<'_>) {
        let answer = Answer::EchoReply { ident: echo.ident, seq: echo.seq };
        self.reply_icmp(mac, addrs, (answer, Counter::EchoAnswered), echo.payload);
    }
}

impl Shard {
    /// ICMP: echo for addresses of our own, and errors about our segments.
    pub(super) fn on_icmp(&mut self, mac: MacAddr, packet: &ipv4::Packet<'_>, now: Instant) {
        let is_owned = self.core.local(packet.dst).is_some_and(|local| local.is_owned);
        match Message::parse(packet.payload) {
            Ok(Message::EchoRequest(echo)) if is_owned => {
                self.core.answer_echo(mac, (packet.dst, packet.src), &echo);
            }
            Ok(Message::Error(error, quoted)) => self.on_icmp_error(error, &quoted, now),
            Ok(_) => self.core.counters.count(Counter::DropIcmp),
            Err(reason) => self.core.counters.count(reason),
        }
    }

    /// RFC 9293 3.9.2.2 (MUST-54): an error goes to the connection whose segment it quotes.
    pub(super) fn on_icmp_error(&mut self, error: Error, quoted: &Quoted, now: Instant) {
        let hash = self.core.hasher.hash(&quoted.tuple);
        let Some(flow) = self.core.find(hash, &quoted.tuple) else {
            return self.core.counters.count(Counter::DropIcmp);
        };
        self.core.counters.count(Counter::IcmpErrorsIn);
        let index = flow.index();
        if flow.kind() != crate::tables::flow::FlowKind::Tcb {
            return;
        }
        if let Some((conn, mut env)) = self.core.conn_env(index) {
            conn.tcb.on_icmp(error, SeqNum(quoted.seq), &mut env);
        }
        self.settle(index, now);
    }
}
