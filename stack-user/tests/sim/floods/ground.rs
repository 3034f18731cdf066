//! What a flood happens on: two nodes of ours, and an attacker who writes frames to the second one.

use std::net::Ipv4Addr;

use sluice::counters::Counter;
use sluice::service::{Connection, Discard, Service};
use sluice::shard::ShardConfig;
use sluice::tables::listeners::{Accepts, Listener, ListenerId};
use sluice::tcp::CloseReason;
use sluice::time::{Duration, Instant};
use sluice::wire::ethernet::{self, ETHERTYPE_ARP, ETHERTYPE_IPV4, Frame};
use sluice::wire::tcp::{Flags, Header, Options, Packet};
use sluice::wire::{Addr, MacAddr, PROTOCOL_TCP, arp, checksum, ipv4, tcp};

use crate::impairment::Impairment;
use crate::network::Network;
use crate::node::{Node, addr, config};
use crate::peer::{Log, Peer, plans};

/// The port on the second node that takes what comes.
pub(super) const DISCARD: u16 = 9;
/// The port on the second node whose service reads nothing.
pub(super) const HOARD: u16 = 12;
/// The port on the second node whose service sends without end.
pub(super) const SPOUT: u16 = 19;
/// The port on the second node whose connections wait to be accepted.
pub(super) const ON_CALL: u16 = 10;
/// A port on the second node where nobody listens.
pub(super) const NOBODY: u16 = 11;

/// A service that never reads.
struct Hoard;

impl Service for Hoard {
    fn on_data(&mut self, _conn: &mut dyn Connection, _data: &[u8]) -> usize {
        0
    }
}

/// A service that sends without end what lies in its send buffer alone.
struct Spout;

impl Service for Spout {
    fn on_accept(&mut self, conn: &mut dyn Connection) {
        while conn.send(&[7; 4096]) == 4096 {}
    }

    fn on_data(&mut self, _conn: &mut dyn Connection, data: &[u8]) -> usize {
        data.len()
    }

    fn on_writable(&mut self, conn: &mut dyn Connection) {
        self.on_accept(conn);
    }
}

/// Two nodes and an attacker.
pub(super) struct Ground {
    pub(super) net: Network,
    logs: [Log; 2],
    pub(super) on_call: ListenerId,
    served: usize,
}

impl Ground {
    /// The second node's configuration is changed by `adjust`.
    pub(super) fn new(adjust: impl FnOnce(&mut ShardConfig)) -> Self {
        let plans = plans(OCTETS, OCTETS);
        let ((peer_0, log_0), (peer_1, log_1)) = (Peer::new(plans[0]), Peer::new(plans[1]));
        let mut attacked = config(2, 1);
        attacked.listeners.push(Listener::new(None, DISCARD, 1));
        attacked.listeners.push(Listener::new(None, HOARD, 2));
        attacked.listeners.push(Listener::new(None, SPOUT, 3));
        attacked.limits.neighbours = 256;
        adjust(&mut attacked);
        let services: Vec<Box<dyn Service>> =
            vec![Box::new(peer_1), Box::new(Discard), Box::new(Hoard), Box::new(Spout)];
        let mut node = Node::new(attacked, services);
        let listener = Listener { accepts: Accepts::OnCall, backlog: BACKLOG, ..on_call() };
        let on_call = node.shard.listen(listener, Instant::ZERO).expect("the port is free");
        let nodes = [Node::new(config(1, 1), vec![Box::new(peer_0)]), node];
        let mut net = Network::new(nodes, Impairment::default(), 1);
        net.is_checked = true;
        net.run_for(Duration::from_secs(1));
        Self { net, logs: [log_0, log_1], on_call, served: 0 }
    }

    /// Somebody else's connection gets through, whatever happened before.
    pub(super) fn serve(&mut self) {
        self.net.connect();
        self.served += 1;
        let (logs, count) = (self.logs.clone(), self.served);
        let bound = Duration::from_secs(30);
        self.net.run_until(bound, |_| logs.iter().all(|log| log.are_over(count)));
        for log in &self.logs {
            let seen = log.conns().pop().expect("it opened");
            assert_eq!((seen.received, seen.closed), (OCTETS, Some(CloseReason::Closed)));
        }
    }

    pub(super) fn victim(&mut self) -> &mut Node {
        &mut self.net.nodes[1]
    }

    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.net.nodes[1].count(counter)
    }

    /// The attacker's frames arrive at once; what is sent in return, taken apart.
    pub(super) fn attack(&mut self, frames: &[Vec<u8>]) -> Vec<Answer> {
        let now = self.net.now;
        let node = self.victim();
        let mut answers = Vec::new();
        for frames in frames.chunks(64) {
            let mut sent = node.turn(frames, now);
            while node.shard.has_work() && !sent.is_empty() {
                answers.extend(sent.iter().filter_map(|frame| Answer::of(frame)));
                sent = node.turn(&[], now);
            }
            answers.extend(sent.iter().filter_map(|frame| Answer::of(frame)));
        }
        node.shard.assert_sound(now);
        answers
    }

    /// A whole handshake with a port; the attacker's side of the connection.
    pub(super) fn open(&mut self, from: Stranger, port: u16) -> Option<Spoken> {
        let mut spoken = Spoken { from, port, seq: 1_000, ack: 0, window: 0xffff };
        let answers = self.attack(&[spoken.segment(Flags::SYN, &[])]);
        let syn_ack = answers.iter().find(|answer| answer.flags.contains(Flags::SYN))?;
        (spoken.seq, spoken.ack) = (1_001, syn_ack.seq.wrapping_add(1));
        self.attack(&[spoken.segment(Flags::ACK, &[])]);
        Some(spoken)
    }
}

fn on_call() -> Listener {
    Listener::new(None, ON_CALL, 1)
}

/// One of many that do not exist: an address on the link, and a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stranger {
    pub(super) ip: Ipv4Addr,
    pub(super) port: u16,
}

impl Stranger {
    /// The `n`th, all different.
    pub(super) fn nth(n: u32) -> Self {
        let [_, a, b, c] = n.to_be_bytes();
        Self {
            ip: Ipv4Addr::new(10, 0, 0, 100 + c % 100),
            port: 1_024 + u16::from(a) * 251 + u16::from(b) * 199 + u16::from(c),
        }
    }
}

/// What the attacker knows of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spoken {
    pub(super) from: Stranger,
    pub(super) port: u16,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) window: u16,
}

impl Spoken {
    pub(super) fn segment(&self, flags: Flags, text: &[u8]) -> Vec<u8> {
        self.segment_at(self.seq, flags, text)
    }

    pub(super) fn segment_at(&self, seq: u32, flags: Flags, text: &[u8]) -> Vec<u8> {
        let header = Header {
            src_port: self.from.port,
            dst_port: self.port,
            seq,
            ack: self.ack,
            flags,
            window: self.window,
            checksum: 0,
            urgent: 0,
        };
        let is_syn = flags.contains(Flags::SYN);
        let options = Options { mss: is_syn.then_some(1460), ..Options::NONE };
        let mut bytes = vec![0; tcp::HEADER_LEN + options.len() + text.len()];
        let len = tcp::emit(&header, &options, &mut bytes);
        bytes[len..].copy_from_slice(text);
        let (src, dst) = (Addr::from(self.from.ip), addr(2));
        tcp::fill_checksum(&mut bytes, &src, &dst, checksum::sum(text));
        let mut packet = vec![0; ipv4::HEADER_LEN];
        ipv4::emit_header(&mut packet, &src, &dst, PROTOCOL_TCP, bytes.len());
        packet.extend_from_slice(&bytes);
        frame(VICTIM, ETHERTYPE_IPV4, &packet)
    }
}

/// An ARP request for the victim's address, from whoever it says.
pub(super) fn arp_request(from: Ipv4Addr) -> Vec<u8> {
    let packet = arp::Packet {
        op: arp::Op::Request,
        sender_mac: ATTACKER,
        sender_ip: from,
        target_mac: MacAddr::default(),
        target_ip: Ipv4Addr::new(10, 0, 0, 2),
    };
    let mut payload = [0; arp::LEN];
    packet.emit(&mut payload);
    frame(MacAddr::BROADCAST, ETHERTYPE_ARP, &payload)
}

fn frame(dst: MacAddr, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; ethernet::HEADER_LEN];
    ethernet::emit(&mut bytes, dst, ATTACKER, ethertype, None);
    bytes.extend_from_slice(payload);
    bytes
}

/// A segment that the victim sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) flags: Flags,
    pub(super) seq: u32,
    pub(super) ack: u32,
}

impl Answer {
    fn of(bytes: &[u8]) -> Option<Self> {
        let frame = Frame::parse(bytes, None).expect("a frame");
        if frame.ethertype != ETHERTYPE_IPV4 {
            return None;
        }
        let packet = ipv4::Packet::parse(frame.payload).expect("a packet");
        let segment = Packet::parse(packet.payload).expect("a segment");
        Some(Self { flags: segment.flags, seq: segment.seq, ack: segment.ack })
    }
}

const OCTETS: u64 = 30_000;
/// Of the listener on call.
pub(super) const BACKLOG: u32 = 4;
const VICTIM: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const ATTACKER: MacAddr = MacAddr([2, 0, 0, 0, 0, 66]);
