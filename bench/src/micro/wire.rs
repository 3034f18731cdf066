//! Headers: parsed from a frame's bytes and written into them, ours beside smoltcp.
//!
//! Both verify and make all checksums, and have the same options.

use std::hint::black_box;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use sluice::tcp::HEADROOM;
use sluice::wire::tcp::{Flags, Header, Options, Packet, Timestamps};
use sluice::wire::{Addr, MacAddr, PROTOCOL_TCP, checksum, ethernet, ipv4, tcp};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpProtocol, Ipv4Packet,
    Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, TcpTimestampRepr,
};

use super::OURS;
use super::pair::{Plan, Work};
use crate::clock::Stopwatch;
use crate::row::Row;

/// The rows of this file.
pub fn rows(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for len in plan.sizes(&[0, 64, 1_448]) {
        let work = format!("wire, parse a segment of {len} B");
        if plan.wants(&work) {
            let (mut ours, mut theirs) = (Parse::new(*len, parse), Parse::new(*len, parse_smoltcp));
            rows.push(plan.pair(&work, (OURS, &mut ours), ("smoltcp", &mut theirs)));
        }
        let work = format!("wire, emit a segment of {len} B");
        if plan.wants(&work) {
            let (mut ours, mut theirs) = (Emit::new(*len, emit), Emit::new(*len, emit_smoltcp));
            rows.push(plan.pair(&work, (OURS, &mut ours), ("smoltcp", &mut theirs)));
        }
    }
    Ok(rows)
}

/// What both read from a segment, and write into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fields {
    src: Ipv4Addr,
    dst: Ipv4Addr,
    ports: (u16, u16),
    seq: u32,
    ack: u32,
    window: u16,
    stamps: (u32, u32),
    len: usize,
}

#[inline]
fn parse(frame: &[u8]) -> Option<Fields> {
    let frame = ethernet::Frame::parse(frame, None).ok()?;
    let packet = ipv4::Packet::parse(frame.payload).ok()?;
    let segment = Packet::parse(packet.payload).ok()?;
    if !tcp::verify(packet.payload, &packet.src, &packet.dst) {
        return None;
    }
    let stamps = segment.options.timestamps?;
    Some(Fields {
        src: packet.src.as_v4()?,
        dst: packet.dst.as_v4()?,
        ports: (segment.src_port, segment.dst_port),
        seq: segment.seq,
        ack: segment.ack,
        window: segment.window,
        stamps: (stamps.value, stamps.echo),
        len: segment.payload.len(),
    })
}

#[inline]
fn parse_smoltcp(frame: &[u8]) -> Option<Fields> {
    let checksums = ChecksumCapabilities::default();
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
    let ip = Ipv4Repr::parse(&packet, &checksums).ok()?;
    let segment = TcpPacket::new_checked(packet.payload()).ok()?;
    let addrs = (ip.src_addr.into(), ip.dst_addr.into());
    let segment = TcpRepr::parse(&segment, &addrs.0, &addrs.1, &checksums).ok()?;
    let stamps = segment.timestamp?;
    Some(Fields {
        src: ip.src_addr,
        dst: ip.dst_addr,
        ports: (segment.src_port, segment.dst_port),
        seq: segment.seq_number.0 as u32,
        ack: segment.ack_number?.0 as u32,
        window: segment.window_len,
        stamps: (stamps.tsval, stamps.tsecr),
        len: segment.payload.len(),
    })
}

/// Writes a segment somewhere into `buf`; where it lies.
#[inline]
fn emit(fields: &Fields, text: &[u8], buf: &mut [u8]) -> (usize, usize) {
    let (src, dst): (Addr, Addr) = (fields.src.into(), fields.dst.into());
    let header = Header {
        src_port: fields.ports.0,
        dst_port: fields.ports.1,
        seq: fields.seq,
        ack: fields.ack,
        flags: Flags::ACK,
        window: fields.window,
        ..Header::default()
    };
    let (value, echo) = fields.stamps;
    let options = Options { timestamps: Some(Timestamps { value, echo }), ..Options::NONE };
    let head = HEADROOM + tcp::emit(&header, &options, &mut buf[HEADROOM..]);
    let end = head + text.len();
    let sum = checksum::copy_and_sum(&mut buf[head..end], text);
    tcp::fill_checksum(&mut buf[HEADROOM..end], &src, &dst, sum);
    let before = &mut buf[..HEADROOM];
    let ip = HEADROOM - ipv4::emit_header(before, &src, &dst, PROTOCOL_TCP, end - HEADROOM);
    let (to, from) = (MacAddr(TO), MacAddr(FROM));
    let ether = ethernet::ETHERTYPE_IPV4;
    (ip - ethernet::emit(&mut before[..ip], to, from, ether, None), end)
}

#[inline]
fn emit_smoltcp(fields: &Fields, text: &[u8], buf: &mut [u8]) -> (usize, usize) {
    let checksums = ChecksumCapabilities::default();
    let segment = TcpRepr {
        src_port: fields.ports.0,
        dst_port: fields.ports.1,
        control: TcpControl::None,
        seq_number: TcpSeqNumber(fields.seq as i32),
        ack_number: Some(TcpSeqNumber(fields.ack as i32)),
        window_len: fields.window,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: Some(TcpTimestampRepr::new(fields.stamps.0, fields.stamps.1)),
        payload: text,
    };
    let ip = Ipv4Repr {
        src_addr: fields.src,
        dst_addr: fields.dst,
        next_header: IpProtocol::Tcp,
        payload_len: segment.buffer_len(),
        hop_limit: 64,
    };
    let ethernet = EthernetRepr {
        src_addr: EthernetAddress(FROM),
        dst_addr: EthernetAddress(TO),
        ethertype: EthernetProtocol::Ipv4,
    };
    let end = ethernet.buffer_len() + ip.buffer_len() + segment.buffer_len();
    let mut frame = EthernetFrame::new_unchecked(&mut buf[..end]);
    ethernet.emit(&mut frame);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &checksums);
    let (src, dst) = (fields.src.into(), fields.dst.into());
    segment.emit(&mut TcpPacket::new_unchecked(packet.payload_mut()), &src, &dst, &checksums);
    (0, end)
}

fn fields(len: usize) -> Fields {
    Fields {
        src: Ipv4Addr::new(10, 0, 0, 1),
        dst: Ipv4Addr::new(10, 0, 0, 2),
        ports: (80, 40_000),
        seq: 0x8000_0001,
        ack: 0x1234_5678,
        window: 0x7fff,
        stamps: (77, 78),
        len,
    }
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 11 + 5) as u8).collect()
}

struct Parse<F> {
    frame: Vec<u8>,
    wanted: Fields,
    parse: F,
}

impl<F: Fn(&[u8]) -> Option<Fields>> Parse<F> {
    fn new(len: usize, parse: F) -> Self {
        let mut buf = [0; 2_048];
        let (start, end) = emit(&fields(len), &text(len), &mut buf);
        Self { frame: buf[start..end].to_vec(), wanted: fields(len), parse }
    }
}

impl<F: Fn(&[u8]) -> Option<Fields>> Work for Parse<F> {
    fn round(&mut self, watch: &mut Stopwatch) -> Result<u64> {
        let mut last = None;
        watch.time(|| {
            for _ in 0..ROUND {
                last = black_box((self.parse)(black_box(&self.frame)));
            }
        });
        ensure!(last == Some(self.wanted), "{last:?} was parsed");
        Ok(ROUND)
    }
}

struct Emit<F> {
    fields: Fields,
    text: Vec<u8>,
    buf: [u8; 2_048],
    emit: F,
}

impl<F: Fn(&Fields, &[u8], &mut [u8]) -> (usize, usize)> Emit<F> {
    fn new(len: usize, emit: F) -> Self {
        Self { fields: fields(len), text: text(len), buf: [0; 2_048], emit }
    }
}

impl<F: Fn(&Fields, &[u8], &mut [u8]) -> (usize, usize)> Work for Emit<F> {
    fn round(&mut self, watch: &mut Stopwatch) -> Result<u64> {
        let mut place = (0, 0);
        // What is not written must not look like the last round's.
        self.buf.fill(0xa5);
        watch.time(|| {
            for _ in 0..ROUND {
                let (fields, text) = (black_box(&self.fields), black_box(&self.text));
                place = black_box((self.emit)(fields, text, black_box(&mut self.buf)));
            }
        });
        let frame = &self.buf[place.0..place.1];
        let parsed = parse(frame).context("a frame does not parse")?;
        ensure!(parsed == self.fields, "{parsed:?} was written");
        ensure!(frame.ends_with(&self.text), "another text was written");
        Ok(ROUND)
    }
}

const TO: [u8; 6] = [2, 0, 0, 0, 0, 1];
const FROM: [u8; 6] = [2, 0, 0, 0, 0, 2];
const ROUND: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parses_what_the_other_writes() {
        for len in [0, 1, 64, 1_448] {
            let mut watch = Stopwatch::new();
            Parse::new(len, parse).round(&mut watch).unwrap();
            Parse::new(len, parse_smoltcp).round(&mut watch).unwrap();
            Emit::new(len, emit).round(&mut watch).unwrap();
            Emit::new(len, emit_smoltcp).round(&mut watch).unwrap();
        }
    }

    #[test]
    fn damage_is_noticed_by_both() {
        let mut frame = Parse::new(64, parse).frame;
        let last = frame.len() - 1;
        frame[last] ^= 0x10;
        assert_eq!((parse(&frame), parse_smoltcp(&frame)), (None, None));
    }

    #[test]
    fn emit_that_writes_something_else_is_noticed() {
        let other = |fields: &Fields, text: &[u8], buf: &mut [u8]| {
            emit(&Fields { seq: 1, ..*fields }, text, buf)
        };
        assert!(Emit::new(64, other).round(&mut Stopwatch::new()).is_err());
    }
}
