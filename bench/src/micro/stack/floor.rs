//! What a segment costs at the very least: a receiver that is no stack.
//!
//! It reads the frame, verifies both checksums, finds one of its flows by an unkeyed hash, compares its
//! name and the sequence number, copies the text, and writes an acknowledgment with timestamps and two
//! checksums. There is no application, no PAWS, no window, no timer, no state, no counter, no other
//! form of frame, and nobody is asked where the answer goes. Only the scene of data can be played on it.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use sluice::shard::FRAME_LEN;
use sluice::tcp::HEADROOM;
use sluice::wire::ipv4::Delivery;
use sluice::wire::tcp::{Flags, Header, Options, Timestamps};
use sluice::wire::usual::{self, Fields, Start, Usual};
use sluice::wire::{Addr, PROTOCOL_TCP, checksum, ethernet, ipv4, tcp};

use super::outbox::Outbox;
use super::peer::{self, Flow};
use super::{Stack, scene};

/// The flows, and the frames that answer them.
pub struct Floor {
    flows: Vec<Known>,
    /// Where all text goes.
    text: Box<[u8; FRAME_LEN]>,
    outbox: Outbox,
    /// How answers begin.
    start: Start,
}

/// A flow; where `port` is zero, none.
#[derive(Clone, Copy, Default)]
struct Known {
    addr: [u8; 4],
    port: u16,
    nxt: u32,
    seq: u32,
}

impl Floor {
    /// Takes a frame, if it is the next of a flow that is known.
    #[inline(always)]
    fn take(&mut self, frame: &[u8], now: u64) -> Option<()> {
        let usual = Usual::read(frame, true)?;
        let ((src, dst), (src_port, dst_port)) = (usual.addrs(), usual.ports());
        let place = place(src, src_port) & (self.flows.len() - 1);
        let flow = self.flows.get_mut(place)?;
        let is_next = flow.addr == src && flow.port == src_port;
        if !is_next || dst_port != peer::PORT || flow.nxt != usual.seq() {
            return None;
        }
        let text = usual.text();
        self.text.get_mut(..text.len())?.copy_from_slice(text);
        flow.nxt = flow.nxt.wrapping_add(text.len() as u32);
        let ack = Fields {
            src: dst,
            dst: src,
            src_port: dst_port,
            dst_port: src_port,
            seq: flow.seq,
            ack: flow.nxt,
            flags: Flags::ACK,
            window: WINDOW,
            urgent: 0,
            stamps: Timestamps { value: (now / 1_000_000) as u32, echo: usual.stamps().value },
        };
        let start = HEADROOM - usual::BEFORE;
        let out = self.outbox.next()?.get_mut(start..)?.first_chunk_mut()?;
        let checksum = self.start.checksum((ack.src, ack.dst));
        ack.write((&self.start, checksum), &usual.from(), out);
        self.outbox.commit(start, usual::LEN);
        Some(())
    }
}

impl Stack for Floor {
    const NAME: &'static str = "floor";

    fn new(conns: usize) -> Self {
        // Few flows meet at a place; one that does is refused at its opening.
        let flows = vec![Known::default(); (64 * conns).next_power_of_two()];
        let start = Start::new(peer::SERVER_MAC, Delivery::default());
        let (text, outbox) = (Box::new([0; FRAME_LEN]), Outbox::new(scene::ROUND));
        Self { flows, text, outbox, start }
    }

    fn adopt(&mut self, flow: &mut Flow, now: u64) -> Result<()> {
        flow.say(Flags::SYN, &[], now);
        let (addr, port, nxt) = flow.name();
        scene::learn(flow, &syn_ack(flow, now))?;
        let place = place(addr, port) & (self.flows.len() - 1);
        ensure!(self.flows[place].port == 0, "two flows have one place");
        self.flows[place] = Known { addr, port, nxt, seq: ISS + 1 };
        Ok(())
    }

    fn expect(&mut self, _flows: core::ops::Range<usize>) {}

    #[inline]
    fn turn(&mut self, frames: &[&[u8]], _flows: &[usize], now: u64) {
        for frame in frames {
            self.take(frame, now);
        }
    }

    fn refresh(&mut self, _now: u64) {}

    fn settle(&mut self, _now: u64) {}

    fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    fn open(&self) -> usize {
        self.flows.iter().filter(|flow| flow.port > 0).count()
    }

    fn held(&self, _flows: &[usize]) -> usize {
        0
    }
}

/// Where a flow lies, in a table of any size.
#[inline(always)]
fn place(addr: [u8; 4], port: u16) -> usize {
    let name = u64::from(u32::from_ne_bytes(addr)) << 16 | u64::from(port);
    (name.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}

/// The answer to the SYN of a flow.
fn syn_ack(flow: &Flow, now: u64) -> Vec<u8> {
    let (addr, port, nxt) = flow.name();
    let (local, remote): (Addr, Addr) = (peer::SERVER.into(), Ipv4Addr::from(addr).into());
    let header = Header {
        src_port: peer::PORT,
        dst_port: port,
        seq: ISS,
        ack: nxt,
        flags: Flags::SYN.union(Flags::ACK),
        window: WINDOW,
        ..Header::default()
    };
    let stamps = Timestamps { value: (now / 1_000_000) as u32, echo: 0 };
    let options = Options { timestamps: Some(stamps), ..Options::NONE };
    let mut frame = [0; 256];
    let len = tcp::emit(&header, &options, &mut frame[HEADROOM..]);
    let end = HEADROOM + len;
    tcp::fill_checksum(&mut frame[HEADROOM..end], &local, &remote, checksum::Partial::ZERO);
    let before = &mut frame[..HEADROOM];
    let ip = HEADROOM - ipv4::emit_header(before, &local, &remote, PROTOCOL_TCP, len);
    let (ours, kind) = (peer::SERVER_MAC, ethernet::ETHERTYPE_IPV4);
    let start = ip - ethernet::emit(&mut before[..ip], peer::GATEWAY_MAC, ours, kind, None);
    frame[start..end].to_vec()
}

const ISS: u32 = 1;
const WINDOW: u16 = 0xffff;
