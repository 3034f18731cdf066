//! A shard and many clients, whose segments are made by hand so that they cost no memory.

use std::net::Ipv4Addr;

use sluice::service::Service;
use sluice::shard::{BATCH, FRAME_LEN, Limits, Shard, Transmit};
use sluice::time::{Duration, Instant};
use sluice::wire::ethernet::{self, ETHERTYPE_IPV4, Frame};
use sluice::wire::tcp::{Flags, Header, Options, Packet, Timestamps, emit, fill_checksum};
use sluice::wire::{Addr, MacAddr, PROTOCOL_TCP, checksum, ipv4};

use crate::node::{self, PORT};

/// A shard and its clients.
pub(crate) struct Crowd {
    pub(crate) shard: Shard,
    pub(crate) now: Instant,
    outbox: Outbox,
}

/// What the shard sent.
struct Outbox {
    sent: Vec<Answer>,
    frame: Vec<u8>,
}

/// A segment from the shard to a client.
pub(crate) struct Answer {
    /// The client.
    pub(crate) client: u32,
    pub(crate) header: Header,
    /// Octets of text.
    pub(crate) text: u32,
}

/// What a client sends.
#[derive(Clone, Copy)]
pub(crate) struct Sends {
    pub(crate) client: u32,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: Flags,
    pub(crate) text: &'static [u8],
}

impl Transmit for Outbox {
    fn reserve(&mut self) -> Option<&mut [u8]> {
        Some(&mut self.frame)
    }

    fn commit(&mut self, start: usize, len: usize) {
        let frame = Frame::parse(&self.frame[start..start + len], None).expect("Ethernet");
        if frame.ethertype != ETHERTYPE_IPV4 {
            // ARP: the clients' segments say where they are.
            return;
        }
        let packet = ipv4::Packet::parse(frame.payload).expect("IPv4");
        let segment = Packet::parse(packet.payload).expect("TCP");
        let host = packet.dst.0[15];
        let client =
            u32::from(host - FIRST_HOST) * PORTS + u32::from(segment.dst_port - FIRST_PORT);
        let text = segment.payload.len() as u32;
        self.sent.push(Answer { client, header: segment.header(), text });
    }
}

impl Crowd {
    /// A shard with one service and these limits.
    pub(crate) fn new(limits: Limits, service: Box<dyn Service>) -> Self {
        let mut config = node::config(1, 1);
        config.limits = Limits { neighbours: 256, ..limits };
        let outbox = Outbox { sent: Vec::new(), frame: vec![0; FRAME_LEN] };
        Self { shard: Shard::new(config, vec![service]), now: Instant::ZERO, outbox }
    }

    /// One batch of segments, and what the shard answers.
    pub(crate) fn exchange(&mut self, sends: impl Iterator<Item = Sends>) -> Vec<Answer> {
        self.now = self.now + STEP;
        if self.shard.next_deadline().is_some_and(|next| next <= self.now) {
            self.shard.on_timers(self.now);
        }
        let frames: Vec<_> = sends.map(|sends| self.frame(sends)).collect();
        let views: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        self.shard.on_frames(&views, &mut |_, _| panic!("there is one shard"), self.now);
        self.shard.drain(&mut self.outbox, self.now);
        std::mem::take(&mut self.outbox.sent)
    }

    /// Opens connections of these clients; what each is to acknowledge.
    pub(crate) fn open(&mut self, clients: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
        let syn = |client| Sends { client, seq: ISN, ack: 0, flags: Flags::SYN, text: &[] };
        let answers = self.exchange(clients.map(syn));
        let opened: Vec<_> = answers.iter().map(|a| (a.client, a.header.seq + 1)).collect();
        self.exchange(opened.iter().map(|&(client, ack)| ack_of(client, ISN + 1, ack)));
        opened
    }

    /// Goes on until nothing is left to do before `until`.
    pub(crate) fn wait(&mut self, until: Instant) {
        while let Some(next) = self.shard.next_deadline().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.shard.on_timers(self.now);
            self.shard.drain(&mut self.outbox, self.now);
            assert!(self.outbox.sent.is_empty(), "sent to a client that said nothing");
        }
        self.now = until;
    }

    fn frame(&self, sends: Sends) -> Vec<u8> {
        let Sends { client, seq, ack, flags, text } = sends;
        let host = FIRST_HOST + u8::try_from(client / PORTS).expect("there are that many hosts");
        let (from, to) = (Addr::from(Ipv4Addr::new(10, 0, 0, host)), node::addr(1));
        let is_syn = flags.has(Flags::SYN);
        let stamps = Timestamps { value: 1 + self.now.as_millis() as u32, echo: 0 };
        let options = Options {
            mss: is_syn.then_some(1460),
            window_scale: is_syn.then_some(7),
            sack_permitted: is_syn,
            timestamps: Some(stamps),
            ..Options::default()
        };
        let header = Header {
            src_port: FIRST_PORT + (client % PORTS) as u16,
            dst_port: PORT,
            seq,
            ack,
            flags,
            window: 64_240,
            checksum: 0,
            urgent: 0,
        };
        let mut bytes = [0; 200];
        let len = emit(&header, &options, &mut bytes[HEADERS..]) + text.len();
        let end = HEADERS + len;
        bytes[end - text.len()..end].copy_from_slice(text);
        fill_checksum(&mut bytes[HEADERS..end], &from, &to, checksum::sum(text));
        ipv4::emit_header(&mut bytes[..HEADERS], &from, &to, PROTOCOL_TCP, len);
        let ip = HEADERS - 20;
        let (ours, theirs) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 1, host]));
        let start = ip - ethernet::emit(&mut bytes[..ip], ours, theirs, ETHERTYPE_IPV4, None);
        bytes[start..end].to_vec()
    }
}

/// A bare acknowledgment.
pub(crate) fn ack_of(client: u32, seq: u32, ack: u32) -> Sends {
    Sends { client, seq, ack, flags: Flags::ACK, text: &[] }
}

/// The clients below `count`, in batches.
pub(crate) fn batches(count: u32) -> impl Iterator<Item = std::ops::Range<u32>> {
    (0..count).step_by(BATCH).map(move |first| first..count.min(first + BATCH as u32))
}

/// From one batch to the next: ten million connections open and close within a minute.
const STEP: Duration = Duration::from_micros(100);
/// The clients' initial sequence number.
pub(crate) const ISN: u32 = 1000;
/// Clients of one host: its ports.
const PORTS: u32 = 60_000;
const FIRST_PORT: u16 = 2000;
const FIRST_HOST: u8 = 2;
/// Ethernet and IPv4.
const HEADERS: usize = 34;
