//! The other side: clients that say in raw frames what a scene wants, and understand the answers.

use std::net::Ipv4Addr;

use anyhow::{Result, anyhow, ensure};
use sluice::tcp::HEADROOM;
use sluice::wire::tcp::{Flags, Header, Options, Packet, Timestamps};
use sluice::wire::{Addr, MacAddr, PROTOCOL_TCP, arp, checksum, ethernet, ipv4, tcp};

/// One client's connection, as the client sees it.
#[derive(Clone, Debug)]
pub struct Flow {
    addr: Addr,
    port: u16,
    /// The next number to send.
    pub nxt: u32,
    /// What the stack has acknowledged.
    pub una: u32,
    /// What was heard from the stack: the acknowledgment to send.
    pub ack: u32,
    /// The stack's last timestamp.
    echo: u32,
}

/// What the stack said to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The flow's number.
    pub flow: usize,
    /// SEG.ACK.
    pub ack: u32,
    /// The flags without PSH.
    pub flags: Flags,
    /// Bytes of text.
    pub len: usize,
}

impl Flow {
    /// The `n`-th client.
    pub fn new(n: usize) -> Self {
        let addr = Ipv4Addr::from_bits(FIRST.to_bits() + (n / PORTS) as u32).into();
        let iss = (n as u32).wrapping_mul(0x9e37_79b9);
        let port = FIRST_PORT + (n % PORTS) as u16;
        Self { addr, port, nxt: iss, una: iss, ack: 0, echo: 0 }
    }

    /// Its address and port, and the next number to send.
    pub fn name(&self) -> ([u8; 4], u16, u32) {
        (ipv4::octets(&self.addr), self.port, self.nxt)
    }

    /// Begins once more, with numbers above those of the last time.
    pub fn renew(&mut self) {
        let iss = self.nxt.wrapping_add(1 << 20);
        *self = Self { nxt: iss, una: iss, ack: 0, echo: 0, ..self.clone() };
    }

    /// A frame with these flags and text, at the flow's present numbers, which go on behind it.
    pub fn say(&mut self, flags: Flags, text: &[u8], now: u64) -> Vec<u8> {
        self.say_with((flags, self.ack), text, now)
    }

    /// As [`Flow::say`], with an acknowledgment of the caller's choice.
    pub fn say_with(&mut self, (flags, ack): (Flags, u32), text: &[u8], now: u64) -> Vec<u8> {
        let frame = self.frame((flags, ack), text, now);
        let controls = u32::from(flags.has(Flags::SYN)) + u32::from(flags.has(Flags::FIN));
        self.nxt = self.nxt.wrapping_add(text.len() as u32 + controls);
        frame
    }

    /// A bare acknowledgment of `ack`.
    pub fn acknowledge(&self, ack: u32, now: u64) -> Vec<u8> {
        self.frame((Flags::ACK, ack), &[], now)
    }

    /// Takes in what the stack says to the flow, of which `at` is the number.
    fn take(&mut self, (at, addr): (usize, Addr), segment: &Packet<'_>) -> Result<Heard> {
        ensure!((addr, segment.dst_port) == (self.addr, self.port), "a segment for another flow");
        ensure!(!segment.flags.has(Flags::RST), "flow {at} was reset");
        if segment.flags.has(Flags::SYN) {
            self.ack = segment.seq;
        }
        let is_next = segment.seq == self.ack;
        ensure!(is_next, "flow {at} heard {} and expected {}", segment.seq, self.ack);
        self.ack = segment.seq.wrapping_add(segment.sequence_len());
        self.una = segment.ack;
        let stamps = segment.options.timestamps;
        self.echo = stamps.ok_or_else(|| anyhow!("flow {at} heard no timestamp"))?.value;
        let flags = segment.flags.without(Flags::PSH);
        Ok(Heard { flow: at, ack: segment.ack, flags, len: segment.payload.len() })
    }

    fn frame(&self, (flags, ack): (Flags, u32), text: &[u8], now: u64) -> Vec<u8> {
        let is_syn = flags.has(Flags::SYN);
        // A millisecond clock, as most have it; zero would be no timestamp to many.
        let value = (now / 1_000_000) as u32 + 1;
        let options = Options {
            mss: is_syn.then_some(1_460),
            window_scale: is_syn.then_some(7),
            sack_permitted: is_syn,
            timestamps: Some(Timestamps { value, echo: self.echo }),
            ..Options::NONE
        };
        let (src_port, dst_port, seq) = (self.port, PORT, self.nxt);
        let header =
            Header { src_port, dst_port, seq, ack, flags, window: 0xffff, ..Header::default() };
        let mut buf = [0; 2048];
        let head = HEADROOM + tcp::emit(&header, &options, &mut buf[HEADROOM..]);
        let end = head + text.len();
        buf[head..end].copy_from_slice(text);
        let server = SERVER.into();
        tcp::fill_checksum(&mut buf[HEADROOM..end], &self.addr, &server, checksum::sum(text));
        let before = &mut buf[..HEADROOM];
        let len = end - HEADROOM;
        let ip = HEADROOM - ipv4::emit_header(before, &self.addr, &server, PROTOCOL_TCP, len);
        let kind = ethernet::ETHERTYPE_IPV4;
        let start = ip - ethernet::emit(&mut before[..ip], SERVER_MAC, GATEWAY_MAC, kind, None);
        buf[start..end].to_vec()
    }
}

/// Takes a frame of the stack in; which of `flows`, the first clients, it is for, and what it says.
///
/// # Errors
/// When it is no sound segment to one of the flows.
pub fn hear(flows: &mut [Flow], frame: &[u8]) -> Result<Heard> {
    let (addr, segment) = parse(frame)?;
    let host = addr.as_v4().map_or(0, |addr| addr.to_bits().wrapping_sub(FIRST.to_bits()));
    let at = host as usize * PORTS + usize::from(segment.dst_port.wrapping_sub(FIRST_PORT));
    let flow = flows.get_mut(at).ok_or_else(|| anyhow!("a segment for nobody"))?;
    flow.take((at, addr), &segment)
}

/// As [`hear`], for one flow alone.
///
/// # Errors
/// When it is no sound segment to that flow.
pub fn hear_alone(flow: &mut Flow, frame: &[u8]) -> Result<Heard> {
    let (addr, segment) = parse(frame)?;
    flow.take((0, addr), &segment)
}

/// The receiver's address, and the segment.
fn parse(frame: &[u8]) -> Result<(Addr, Packet<'_>)> {
    let unsound = |reason| anyhow!("a frame of the stack is not sound: {reason:?}");
    let frame = ethernet::Frame::parse(frame, None).map_err(unsound)?;
    ensure!(frame.dst == GATEWAY_MAC && frame.src == SERVER_MAC, "a frame for somebody else");
    let packet = ipv4::Packet::parse(frame.payload).map_err(unsound)?;
    ensure!(packet.protocol == PROTOCOL_TCP, "a packet that is not TCP");
    let verified = tcp::verify(packet.payload, &packet.src, &packet.dst);
    ensure!(verified, "a segment with a wrong checksum");
    Ok((packet.dst, Packet::parse(packet.payload).map_err(unsound)?))
}

/// The router says where it is, so that the stack need not ask.
pub fn arp_reply() -> Vec<u8> {
    let mut bytes = vec![0; ethernet::HEADER_LEN + arp::LEN];
    let (header, rest) = bytes.split_at_mut(ethernet::HEADER_LEN);
    ethernet::emit(header, SERVER_MAC, GATEWAY_MAC, ethernet::ETHERTYPE_ARP, None);
    let reply = arp::Packet {
        op: arp::Op::Reply,
        sender_mac: GATEWAY_MAC,
        sender_ip: GATEWAY,
        target_mac: SERVER_MAC,
        target_ip: SERVER,
    };
    reply.emit(rest);
    bytes
}

/// The stack's address.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
/// The router behind which all clients are.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub const GATEWAY_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
/// The stack's port.
pub const PORT: u16 = 80;

const FIRST: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 0);
const FIRST_PORT: u16 = 32_768;
/// Ports of a client's address.
const PORTS: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_have_names_of_their_own() {
        let name = |n| (Flow::new(n).addr, Flow::new(n).port);
        assert_ne!(name(0), name(1));
        assert_ne!(name(0), name(PORTS));
        assert_eq!(name(PORTS).1, FIRST_PORT);
    }

    #[test]
    fn numbers_go_on_behind_text_syn_and_fin() {
        let mut flow = Flow::new(0);
        let iss = flow.nxt;
        flow.say(Flags::SYN, &[], 0);
        flow.say(Flags::ACK, &[0; 9], 0);
        flow.say(Flags::FIN.union(Flags::ACK), &[], 0);
        assert_eq!(flow.nxt.wrapping_sub(iss), 11);
    }

    #[test]
    fn frame_with_a_wrong_checksum_is_noticed() {
        // A client's own frame is for somebody else; damaged it does not get as far.
        let mut frame = Flow::new(0).say(Flags::SYN, &[], 0);
        assert!(hear(&mut [Flow::new(0)], &frame).is_err());
        frame[..6].copy_from_slice(&GATEWAY_MAC.0);
        frame[6..12].copy_from_slice(&SERVER_MAC.0);
        let last = frame.len() - 1;
        frame[last] ^= 1;
        let error = hear(&mut [Flow::new(0)], &frame).unwrap_err();
        assert_eq!(error.to_string(), "a segment with a wrong checksum");
    }
}
