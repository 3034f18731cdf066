//! The peers' side of the wire: their frames, and what they learn from ours.

use core::net::Ipv4Addr;

use sluice::wire::ethernet::{self, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Frame};
use sluice::wire::ndp::{self, Advertisement, Message, Solicitation};
use sluice::wire::tcp::{self, Flags, Header, Options, Packet, SackBlocks, Timestamps};
use sluice::wire::{
    Addr, MacAddr, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, arp, checksum, ipv4, ipv6,
};

use super::super::source::Source;

/// The shard's link-layer address.
pub const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// Another host, by its number: on the link or behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host(u8);

impl Host {
    pub fn any(source: &mut Source<'_>) -> Self {
        Self(source.below(HOSTS.into()) as u8)
    }

    fn is_v6(self) -> bool {
        self.0 >= 6
    }

    fn ip(self) -> Ipv4Addr {
        match self.0 {
            0..4 => Ipv4Addr::new(10, 0, 0, 100 + self.0),
            _ => Ipv4Addr::new(192, 0, 2, self.0),
        }
    }

    pub fn addr(self) -> Addr {
        if self.is_v6() { on_link(100 + self.0) } else { self.ip().into() }
    }

    /// The shard's address number `local`, of the host's family.
    fn ours(self, local: u8) -> Addr {
        if self.is_v6() { on_link(local) } else { Ipv4Addr::new(10, 0, 0, local).into() }
    }

    fn mac(self) -> MacAddr {
        MacAddr([2, 0, 0, 0, 1, self.0.min(4)])
    }
}

/// A host of the link's IPv6.
pub fn on_link(n: u8) -> Addr {
    Addr([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n])
}

/// What a peer knows of a connection.
#[derive(Clone, Copy, Debug)]
struct Flow {
    host: Host,
    port: u16,
    local: u8,
    local_port: u16,
    /// The number after what it sent.
    next: u32,
    /// The number after what came from us.
    came: u32,
    /// What we acknowledged last.
    acked: u32,
    has_stamps: bool,
    clock: u32,
    echo: u32,
}

/// The peers.
#[derive(Default)]
pub struct Peers {
    flows: Vec<Flow>,
    /// Frames of ours, all well-formed.
    pub seen: u64,
}

impl Peers {
    /// A segment of a flow, mostly one that moves it on.
    pub fn segment(&mut self, source: &mut Source<'_>) -> Vec<u8> {
        let at = self.choose(source);
        let flow = &mut self.flows[at];
        flow.clock = flow.clock.wrapping_add(source.below(4) as u32);
        let near = |number: u32, source: &mut Source<'_>| match source.below(8) {
            0 => number.wrapping_add(source.scaled(17) as u32),
            1 => number.wrapping_sub(source.scaled(17) as u32),
            2 if source.below(4) == 0 => source.u32(),
            _ => number,
        };
        let flags = flags(source);
        let seq = near(flow.next, source);
        let ack = near(flow.came, source);
        let len = if source.bool() { source.scaled(11) as usize % 1_400 } else { 0 };
        let text = vec![source.u8(); len];
        let is_syn = flags.contains(Flags::SYN);
        if is_syn {
            flow.has_stamps = source.bool();
        }
        let value = near(flow.clock, source);
        let sends_stamps = flow.has_stamps ^ (source.below(16) == 0);
        let mut options = Options {
            timestamps: sends_stamps.then_some(Timestamps { value, echo: flow.echo }),
            ..Options::NONE
        };
        if is_syn || source.below(32) == 0 {
            options.mss = source.option(Source::u16);
            options.window_scale = source.option(|source| source.u8() % 16);
            options.sack_permitted = source.bool();
            options.user_timeout = source.option(Source::u16);
        } else if source.below(8) == 0 {
            options.sack = sack(flow.acked, source);
        }
        let header = Header {
            src_port: flow.port,
            dst_port: flow.local_port,
            seq,
            ack,
            flags,
            window: source.u16(),
            checksum: 0,
            urgent: source.u16(),
        };
        if seq == flow.next {
            let controls = u32::from(is_syn) + u32::from(flags.contains(Flags::FIN));
            flow.next = flow.next.wrapping_add(len as u32 + controls);
        }
        let (host, local) = (flow.host, flow.local);
        ip(host, local, PROTOCOL_TCP, &segment(&header, &options, &text, (host, local)))
    }

    /// A flow that is known, or a new one.
    fn choose(&mut self, source: &mut Source<'_>) -> usize {
        let at = source.below(16);
        if at >= self.flows.len() && self.flows.len() < 16 {
            let clock = source.u32();
            self.flows.push(Flow {
                host: Host::any(source),
                port: 7 + source.u16() % 4,
                local: 1 + u8::from(source.below(4) == 0),
                local_port: 7 + source.u16() % 4,
                next: source.u32(),
                came: 0,
                acked: 0,
                has_stamps: true,
                clock,
                echo: 0,
            });
            return self.flows.len() - 1;
        }
        at % self.flows.len()
    }

    /// Learns from a frame of ours, which must be well-formed.
    pub fn on_frame(&mut self, bytes: &[u8]) {
        self.seen += 1;
        let frame = Frame::parse(bytes, None).expect("a frame");
        assert_eq!(frame.src, OURS);
        if frame.ethertype == ETHERTYPE_ARP {
            arp::Packet::parse(frame.payload).expect("an ARP packet");
            return;
        }
        let (src, dst, protocol, payload) = match frame.ethertype {
            ETHERTYPE_IPV4 => {
                let packet = ipv4::Packet::parse(frame.payload).expect("an IPv4 packet");
                (packet.src, packet.dst, packet.protocol, packet.payload)
            }
            _ => {
                let packet = ipv6::Packet::parse(frame.payload).expect("an IPv6 packet");
                (packet.src, packet.dst, packet.next_header, packet.payload)
            }
        };
        if protocol != PROTOCOL_TCP {
            return;
        }
        assert!(tcp::verify(payload, &src, &dst), "a wrong checksum");
        let segment = Packet::parse(payload).expect("a segment");
        let Some(flow) = self.flows.iter_mut().find(|flow| {
            flow.host.addr() == dst
                && flow.port == segment.dst_port
                && flow.local_port == segment.src_port
        }) else {
            self.adopt((&src, &dst), &segment);
            return;
        };
        let end = segment.seq.wrapping_add(segment.sequence_len());
        if segment.flags.contains(Flags::SYN) || end.wrapping_sub(flow.came) as i32 > 0 {
            flow.came = end;
        }
        if segment.flags.contains(Flags::ACK) && !segment.flags.contains(Flags::RST) {
            flow.acked = segment.ack;
        }
        if let Some(stamps) = segment.options.timestamps {
            flow.echo = stamps.value;
        }
    }

    /// A connection that the shard opened.
    fn adopt(&mut self, (src, dst): (&Addr, &Addr), segment: &Packet<'_>) {
        let host = (0..HOSTS).map(Host).find(|host| host.addr() == *dst);
        let (Some(host), true) = (host, self.flows.len() < 24) else { return };
        self.flows.push(Flow {
            host,
            port: segment.dst_port,
            local: src.0[15],
            local_port: segment.src_port,
            next: segment.seq ^ 0x5555,
            came: segment.seq.wrapping_add(segment.sequence_len()),
            acked: segment.ack,
            has_stamps: true,
            clock: 1,
            echo: 0,
        });
    }

    /// ARP or neighbour discovery of any kind, mostly what was asked for.
    pub fn discovery(&mut self, source: &mut Source<'_>) -> Vec<u8> {
        let host = Host::any(source);
        if host.is_v6() {
            return discovery_v6(host, source);
        }
        let gateway = Ipv4Addr::new(10, 0, 0, 200);
        let sender_ip = match source.below(8) {
            0 => Ipv4Addr::from(source.u32()),
            1 => Ipv4Addr::new(10, 0, 0, 1),
            2..5 => gateway,
            _ => host.ip(),
        };
        let packet = arp::Packet {
            op: if source.bool() { arp::Op::Request } else { arp::Op::Reply },
            sender_mac: host.mac(),
            sender_ip,
            target_mac: OURS,
            target_ip: Ipv4Addr::new(10, 0, 0, 1 + source.u8() % 3),
        };
        let mut payload = [0; arp::LEN];
        packet.emit(&mut payload);
        let dst = if source.bool() { MacAddr::BROADCAST } else { OURS };
        frame(dst, host.mac(), ETHERTYPE_ARP, &payload)
    }

    /// An echo request, or an error that quotes a segment of ours.
    pub fn icmp(&mut self, source: &mut Source<'_>) -> Vec<u8> {
        let (kind, code) = match source.below(4) {
            0 => (8, 0),
            1 | 2 => (3, source.u8() % 16),
            _ => (source.u8(), source.u8()),
        };
        let [a, b, c, d] = source.u32().to_be_bytes();
        let mut bytes = vec![kind, code, 0, 0, a, b, c, d];
        let at = self.choose(source);
        let flow = self.flows[at];
        if kind == 8 {
            bytes.resize(8 + source.scaled(12) as usize % 1_400, 5);
        } else {
            let seq = flow.acked.wrapping_add(source.scaled(16) as u32);
            let names = (flow.host.ours(flow.local), flow.host.addr(), PROTOCOL_TCP);
            let ports = [flow.local_port.to_be_bytes(), flow.port.to_be_bytes()].concat();
            bytes.extend(packet(names, &[&ports[..], &seq.to_be_bytes()].concat()));
        }
        let host = Host::any(source);
        let host = if host.is_v6() == flow.host.is_v6() { host } else { flow.host };
        if !host.is_v6() {
            let sum = checksum::finish(checksum::sum(&bytes));
            bytes[2..4].copy_from_slice(&sum.to_be_bytes());
            return ip(host, flow.local, PROTOCOL_ICMP, &bytes);
        }
        // The types of IPv6: echo request, unreachable, and the rest as they come.
        bytes[0] = match kind {
            8 => 128,
            3 => 1 + code % 4,
            other => other,
        };
        let ours = host.ours(flow.local);
        ip(host, flow.local, PROTOCOL_ICMPV6, &summed(bytes, (&host.addr(), &ours)))
    }
}

/// An ICMPv6 message with its checksum.
fn summed(mut bytes: Vec<u8>, (src, dst): (&Addr, &Addr)) -> Vec<u8> {
    let pseudo = checksum::pseudo_header(src, dst, PROTOCOL_ICMPV6, bytes.len());
    let sum = checksum::finish(pseudo + checksum::sum(&bytes));
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// A solicitation or an advertisement, from a host or from nobody, to one address or to a group.
fn discovery_v6(host: Host, source: &mut Source<'_>) -> Vec<u8> {
    let target = if source.bool() { host.addr() } else { on_link(1 + source.u8() % 3) };
    let mac = source.option(|_| host.mac());
    let message = match source.below(4) {
        0..2 => Message::Solicitation(Solicitation { target, source_mac: mac }),
        flags => Message::Advertisement(Advertisement {
            target,
            is_solicited: flags == 2,
            is_override: source.bool(),
            target_mac: mac,
        }),
    };
    let src = match source.below(8) {
        0 => Addr::UNSPECIFIED,
        1 => on_link(1),
        _ => host.addr(),
    };
    let (dst, to) = match source.below(4) {
        0 => (ipv6::ALL_NODES, ipv6::group_mac(&ipv6::ALL_NODES)),
        1 => (ipv6::solicited_node(&target), ipv6::group_mac(&ipv6::solicited_node(&target))),
        _ => (on_link(1), OURS),
    };
    let mut bytes = [0; ndp::LEN];
    let len = message.emit((&src, &dst), &mut bytes);
    let mut whole = packet((src, dst, PROTOCOL_ICMPV6), &bytes[..len]);
    whole[7] = if source.below(16) == 0 { source.u8() } else { ndp::HOP_LIMIT };
    frame(to, host.mac(), ETHERTYPE_IPV6, &whole)
}

/// Any bytes, mostly behind headers that bring them further.
pub fn raw(source: &mut Source<'_>) -> Vec<u8> {
    let (kind, len) = (source.below(4), source.below(128));
    let host = Host::any(source);
    let bytes = source.bytes(len);
    match kind {
        0 => bytes.to_vec(),
        1 if host.is_v6() => frame(OURS, host.mac(), ETHERTYPE_IPV6, bytes),
        1 => frame(OURS, host.mac(), ETHERTYPE_IPV4, bytes),
        2 => ip(host, 1, source.u8(), bytes),
        _ => ip(host, 1, PROTOCOL_TCP, bytes),
    }
}

fn flags(source: &mut Source<'_>) -> Flags {
    match source.below(16) {
        0..3 => Flags::SYN,
        3..10 => Flags::ACK,
        10 => Flags::SYN.union(Flags::ACK),
        11 => Flags::FIN.union(Flags::ACK),
        12 => Flags::RST,
        13 => Flags::ACK.union(Flags::URG).union(Flags::PSH),
        14 => Flags(source.u8()),
        _ => Flags::FIN.union(Flags::ACK).union(Flags::PSH),
    }
}

fn sack(acked: u32, source: &mut Source<'_>) -> SackBlocks {
    let mut sack = SackBlocks::NONE;
    for _ in 0..1 + source.below(3) {
        let left = acked.wrapping_add(source.scaled(16) as u32);
        sack.push(left, left.wrapping_add(source.scaled(13) as u32));
    }
    sack
}

fn segment(header: &Header, options: &Options, text: &[u8], (host, local): (Host, u8)) -> Vec<u8> {
    let mut bytes = vec![0; tcp::HEADER_LEN + options.len() + text.len()];
    let len = tcp::emit(header, options, &mut bytes);
    bytes[len..].copy_from_slice(text);
    tcp::fill_checksum(&mut bytes, &host.addr(), &host.ours(local), checksum::sum(text));
    bytes
}

fn ip(host: Host, local: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let ethertype = if host.is_v6() { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
    let bytes = packet((host.addr(), host.ours(local), protocol), payload);
    frame(OURS, host.mac(), ethertype, &bytes)
}

fn packet((src, dst, protocol): (Addr, Addr, u8), payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; if dst.is_v4() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN }];
    match dst.is_v4() {
        true => ipv4::emit_header(&mut bytes, &src, &dst, protocol, payload.len()),
        false => ipv6::emit_header(&mut bytes, &src, &dst, protocol, payload.len()),
    };
    bytes.extend_from_slice(payload);
    bytes
}

fn frame(dst: MacAddr, src: MacAddr, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; ethernet::HEADER_LEN];
    ethernet::emit(&mut bytes, dst, src, ethertype, None);
    bytes.extend_from_slice(payload);
    bytes
}

/// Other hosts, the last three of IPv6.
const HOSTS: u8 = 9;
