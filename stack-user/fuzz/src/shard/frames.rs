//! The peers' side of the wire: their frames, and what they learn from ours.

use core::net::Ipv4Addr;

use sluice::wire::ethernet::{self, ETHERTYPE_ARP, ETHERTYPE_IPV4, Frame};
use sluice::wire::tcp::{self, Flags, Header, Options, Packet, SackBlocks, Timestamps};
use sluice::wire::{Addr, MacAddr, PROTOCOL_ICMP, PROTOCOL_TCP, arp, checksum, ipv4};

use super::super::source::Source;

/// The shard's link-layer address.
pub const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// Another host, by its number: on the link or behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host(u8);

impl Host {
    pub fn any(source: &mut Source<'_>) -> Self {
        Self(source.below(6) as u8)
    }

    fn ip(self) -> Ipv4Addr {
        match self.0 {
            0..4 => Ipv4Addr::new(10, 0, 0, 100 + self.0),
            _ => Ipv4Addr::new(192, 0, 2, self.0),
        }
    }

    pub fn addr(self) -> Addr {
        self.ip().into()
    }

    fn mac(self) -> MacAddr {
        MacAddr([2, 0, 0, 0, 1, self.0.min(4)])
    }
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
        let packet = ipv4::Packet::parse(frame.payload).expect("an IPv4 packet");
        if packet.protocol != PROTOCOL_TCP {
            return;
        }
        assert!(tcp::verify(packet.payload, &packet.src, &packet.dst), "a wrong checksum");
        let segment = Packet::parse(packet.payload).expect("a segment");
        let Some(flow) = self.flows.iter_mut().find(|flow| {
            flow.host.addr() == packet.dst
                && flow.port == segment.dst_port
                && flow.local_port == segment.src_port
        }) else {
            self.adopt(&packet, &segment);
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
    fn adopt(&mut self, packet: &ipv4::Packet<'_>, segment: &Packet<'_>) {
        let host = (0..6).map(Host).find(|host| host.addr() == packet.dst);
        let (Some(host), true) = (host, self.flows.len() < 24) else { return };
        self.flows.push(Flow {
            host,
            port: segment.dst_port,
            local: packet.src.0[15],
            local_port: segment.src_port,
            next: segment.seq ^ 0x5555,
            came: segment.seq.wrapping_add(segment.sequence_len()),
            acked: segment.ack,
            has_stamps: true,
            clock: 1,
            echo: 0,
        });
    }

    /// ARP of any kind, mostly what was asked for.
    pub fn arp(&mut self, source: &mut Source<'_>) -> Vec<u8> {
        let host = Host::any(source);
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
            let mut quoted = [0; 28];
            let ours = Ipv4Addr::new(10, 0, 0, flow.local).into();
            ipv4::emit_header(&mut quoted[..20], &ours, &flow.host.addr(), PROTOCOL_TCP, 8);
            quoted[20..22].copy_from_slice(&flow.local_port.to_be_bytes());
            quoted[22..24].copy_from_slice(&flow.port.to_be_bytes());
            quoted[24..].copy_from_slice(&seq.to_be_bytes());
            bytes.extend_from_slice(&quoted);
        }
        let sum = checksum::finish(checksum::sum(&bytes));
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        ip(Host::any(source), flow.local, PROTOCOL_ICMP, &bytes)
    }
}

/// Any bytes, mostly behind headers that bring them further.
pub fn raw(source: &mut Source<'_>) -> Vec<u8> {
    let (kind, len) = (source.below(4), source.below(128));
    let host = Host::any(source);
    let bytes = source.bytes(len);
    match kind {
        0 => bytes.to_vec(),
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
    let ours = Ipv4Addr::new(10, 0, 0, local).into();
    tcp::fill_checksum(&mut bytes, &host.addr(), &ours, checksum::sum(text));
    bytes
}

fn ip(host: Host, local: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; ipv4::HEADER_LEN];
    let ours = Ipv4Addr::new(10, 0, 0, local).into();
    ipv4::emit_header(&mut bytes, &host.addr(), &ours, protocol, payload.len());
    bytes.extend_from_slice(payload);
    frame(OURS, host.mac(), ETHERTYPE_IPV4, &bytes)
}

fn frame(dst: MacAddr, src: MacAddr, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; ethernet::HEADER_LEN];
    ethernet::emit(&mut bytes, dst, src, ethertype, None);
    bytes.extend_from_slice(payload);
    bytes
}
