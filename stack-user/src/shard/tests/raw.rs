//! A shard, and peers that say by raw frames whatever a test wants.

use std::sync::{Arc, Mutex};

use super::{FAMILIES, Wire, addr, config};
use crate::counters::Counter;
use crate::service::{Connection, Service};
use crate::shard::{Command, FRAME_LEN, LocalAddr, Request, Shard, ShardConfig};
use crate::tables::listeners::{Listener, ListenerId};
use crate::tcp::{CloseReason, HEADROOM, State, Trouble};
use crate::time::{Duration, Instant};
use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::wire::ipv4::Delivery;
use crate::wire::tcp::{Flags, Header, Options, Packet, Timestamps};
use crate::wire::{Addr, MacAddr, PROTOCOL_TCP, checksum, ethernet, ipv4, ipv6, tcp};

pub(super) const SYN: Flags = Flags::SYN;
pub(super) const ACK: Flags = Flags::ACK;
pub(super) const FIN: Flags = Flags::FIN;
pub(super) const RST: Flags = Flags::RST;
/// The port of the shard that peers talk to.
pub(super) const PORT: u16 = 80;
/// The ISN of every peer.
pub(super) const IRS: u32 = 1_000_000;

/// What a peer says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Says {
    /// The peer's port.
    pub port: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: Flags,
    pub text: &'static [u8],
    pub options: Options,
}

/// What the shard says.
#[derive(Clone, Debug)]
pub(super) struct Hears {
    /// The peer's port.
    pub port: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: Flags,
    pub window: u16,
    pub options: Options,
    /// The traffic class and the TTL of the packet.
    pub carried: (u8, u8),
}

/// The shard.
pub(super) struct Raw {
    pub shard: Shard,
    /// The peer's address, and the shard's.
    pub ends: (Addr, Addr),
    pub now: Instant,
    told: Arc<Mutex<Vec<String>>>,
}

/// Notes each call with the peer's port; consumes everything and closes nothing by itself.
struct Watch(Arc<Mutex<Vec<String>>>);

impl Watch {
    fn note(&self, port: u64, what: impl core::fmt::Display) {
        self.0.lock().expect("no panic before").push(format!("{port}: {what}"));
    }
}

impl Service for Watch {
    fn on_accept(&mut self, conn: &mut dyn Connection) {
        *conn.user() = conn.tuple().remote_port.into();
        self.note(*conn.user(), "accepted");
    }

    fn on_connected(&mut self, conn: &mut dyn Connection) {
        *conn.user() = conn.tuple().remote_port.into();
        self.note(*conn.user(), "connected");
    }

    fn on_data(&mut self, conn: &mut dyn Connection, data: &[u8]) -> usize {
        self.note(*conn.user(), String::from_utf8_lossy(data));
        data.len()
    }

    fn on_writable(&mut self, conn: &mut dyn Connection) {
        self.note(conn.tuple().remote_port.into(), "writable");
    }

    fn on_peer_fin(&mut self, conn: &mut dyn Connection) {
        self.note(*conn.user(), "fin");
    }

    fn on_trouble(&mut self, conn: &mut dyn Connection, _trouble: Trouble) {
        self.note(conn.tuple().remote_port.into(), "trouble");
    }

    fn on_closed(&mut self, user: u64, reason: CloseReason) {
        self.note(user, format!("{reason:?}"));
    }
}

/// The peer's SYN, with MSS alone.
pub(super) fn syn(port: u16) -> Says {
    let options = Options { mss: Some(1460), ..Options::NONE };
    Says { port, seq: IRS, ack: 0, flags: SYN, text: &[], options }
}

/// The peer's SYN with every option, its timestamp `value`.
pub(super) fn full_syn(port: u16, value: u32) -> Says {
    let options = Options {
        mss: Some(1400),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { value, echo: 0 }),
        ..Options::NONE
    };
    Says { options, ..syn(port) }
}

impl Says {
    /// The acknowledgment of a SYN-ACK; its text follows the SYN.
    pub(super) fn answer(self, syn_ack: &Hears) -> Self {
        let stamps = syn_ack.options.timestamps;
        let timestamps = stamps.map(|stamps| Timestamps { value: stamps.echo, echo: stamps.value });
        Self {
            port: syn_ack.port,
            seq: syn_ack.ack,
            ack: syn_ack.seq.wrapping_add(1),
            flags: ACK,
            options: Options { timestamps, ..Options::NONE },
            ..self
        }
    }
}

impl Hears {
    pub(super) fn is(&self, flags: Flags) -> bool {
        self.flags == flags
    }
}

impl Raw {
    /// A shard without listeners, at an address that it shares with the kernel: no ARP is among what
    /// is sent.
    pub(super) fn new(adjust: impl FnOnce(&mut ShardConfig)) -> Self {
        let told = Arc::default();
        let watch = Watch(Arc::clone(&told));
        Self { told, ..Self::with(Box::new(watch), adjust) }
    }

    /// With a service of the test's own, which listens on [`PORT`].
    pub(super) fn serving(service: Box<dyn Service>) -> Self {
        let mut raw = Self::with(service, |_| {});
        raw.shard.listen(Listener::new(None, PORT, 0), raw.now).expect("the port is free");
        raw
    }

    fn with(service: Box<dyn Service>, adjust: impl FnOnce(&mut ShardConfig)) -> Self {
        let mut config = config(1, Vec::new());
        config.addrs = FAMILIES.map(|addr| LocalAddr { addr: addr(1), is_owned: false }).to_vec();
        config.limits.connections = 4_096;
        config.limits.half_open = 4_096;
        adjust(&mut config);
        let shard = Shard::new(config, vec![service]);
        let (now, told) = (Instant::from_millis(1_000_000), Arc::default());
        Self { shard, ends: (addr(2), addr(1)), now, told }
    }

    /// The same, for a peer of this family.
    pub(super) fn between(self, addr: fn(u8) -> Addr) -> Self {
        Self { ends: (addr(2), addr(1)), ..self }
    }

    /// As [`Raw::new`], with a listener on [`PORT`].
    pub(super) fn listening(
        listener: impl FnOnce(&mut Listener),
        adjust: impl FnOnce(&mut ShardConfig),
    ) -> (Self, ListenerId) {
        let mut raw = Self::new(adjust);
        let mut asked = Listener::new(None, PORT, 0);
        listener(&mut asked);
        let id = raw.shard.listen(asked, raw.now).expect("the port is free");
        (raw, id)
    }

    /// A segment arrives; what is sent then.
    pub(super) fn hear(&mut self, says: Says) -> Vec<Hears> {
        let (src, dst) = self.ends;
        self.take(&frame_between(&says, src, dst));
        self.sent()
    }

    /// The frame that says this.
    pub(super) fn frame_of(&self, says: Says) -> Vec<u8> {
        let (src, dst) = self.ends;
        frame_between(&says, src, dst)
    }

    /// A frame arrives.
    pub(super) fn take(&mut self, frame: &[u8]) {
        self.shard.on_frames(&[frame], &mut |_, _| {}, self.now);
    }

    /// As [`Raw::hear`], where exactly one segment answers.
    pub(super) fn answer(&mut self, says: Says) -> Hears {
        let mut heard = self.hear(says);
        assert_eq!(heard.len(), 1, "answers to {says:?}: {heard:?}");
        heard.remove(0)
    }

    /// A whole handshake; the SYN-ACK.
    pub(super) fn open(&mut self, port: u16) -> Hears {
        let syn_ack = self.answer(syn(port));
        assert!(syn_ack.is(SYN.union(ACK)), "{syn_ack:?}");
        assert!(self.hear(syn(port).answer(&syn_ack)).is_empty());
        syn_ack
    }

    /// A connection of a listener of `OnCall` that we closed first, in TIME-WAIT. `stamp` is the
    /// peer's last timestamp. Returns SND.NXT and RCV.NXT.
    pub(super) fn time_wait(
        &mut self,
        listener: ListenerId,
        port: u16,
        stamp: Option<u32>,
    ) -> (u32, u32) {
        let asked = stamp.map_or(syn(port), |value| full_syn(port, value));
        let syn_ack = self.answer(asked);
        let ack = syn(port).answer(&syn_ack);
        self.hear(ack);
        let conn = self.shard.accept(listener, self.now).expect("it is open");
        self.shard.with(conn, self.now, |conn| conn.shutdown_write());
        assert!(self.sent().iter().any(|sent| sent.is(FIN.union(ACK))));
        let fin = Says { ack: ack.ack + 1, flags: FIN.union(ACK), ..ack };
        assert!(self.answer(fin).is(ACK));
        assert_eq!(self.shard.census()[State::TimeWait as usize], 1);
        self.told();
        (fin.ack, fin.seq + 1)
    }

    /// Time passes; what is sent meanwhile, with milliseconds from now.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<(u64, Hears)> {
        let (start, end) = (self.now, self.now + time);
        let mut all = Vec::new();
        while let Some(next) = self.shard.next_deadline().filter(|next| *next <= end) {
            self.now = next.max(self.now);
            self.shard.on_timers(self.now);
            let at = self.now.since(start).as_millis() as u64;
            all.extend(self.sent().into_iter().map(|heard| (at, heard)));
        }
        self.now = end;
        all
    }

    /// Everything that is sent now.
    pub(super) fn sent(&mut self) -> Vec<Hears> {
        self.frames().iter().map(|frame| parsed(frame)).collect()
    }

    /// As [`Raw::sent`], whole frames.
    pub(super) fn frames(&mut self) -> Vec<Vec<u8>> {
        let mut wire = Wire(Vec::new(), vec![0; FRAME_LEN]);
        self.shard.drain(&mut wire, self.now);
        while let Some(Request::Resolve(addr)) = self.shard.poll_request() {
            let answer = Command::Neighbour { addr, mac: Some(PEER_MAC) };
            self.shard.on_command(answer, self.now);
            self.shard.drain(&mut wire, self.now);
        }
        assert!(!self.shard.has_work(), "everything is sent");
        wire.0
    }

    /// What services were told since the last time.
    pub(super) fn told(&mut self) -> Vec<String> {
        core::mem::take(&mut *self.told.lock().expect("no panic before"))
    }

    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.shard.counters()[counter]
    }
}

/// The frame of a segment of a peer.
pub(super) fn frame(says: &Says) -> Vec<u8> {
    frame_between(says, addr(2), addr(1))
}

/// As [`frame`], with these addresses.
pub(super) fn frame_between(says: &Says, src: Addr, dst: Addr) -> Vec<u8> {
    let mut buf = [0; 2048];
    let header = Header {
        src_port: says.port,
        dst_port: PORT,
        seq: says.seq,
        ack: says.ack,
        flags: says.flags,
        window: 0xffff,
        checksum: 0,
        urgent: 0,
    };
    let head = tcp::emit(&header, &says.options, &mut buf);
    let end = head + says.text.len();
    buf[head..end].copy_from_slice(says.text);
    let sum = checksum::sum(says.text);
    tcp::fill_checksum(&mut buf[..end], &src, &dst, sum);
    carried(&buf[..end], (src, dst, PROTOCOL_TCP))
}

/// A frame from the peer to the shard with this payload of IP.
pub(super) fn carried(payload: &[u8], (src, dst, protocol): (Addr, Addr, u8)) -> Vec<u8> {
    carried_with(payload, (src, dst, protocol), 64)
}

/// As [`carried`], with so many hops left.
pub(super) fn carried_with(
    payload: &[u8],
    (src, dst, protocol): (Addr, Addr, u8),
    hop_limit: u8,
) -> Vec<u8> {
    let mut before = [0; HEADROOM];
    let (names, len) = ((&src, &dst, protocol), payload.len());
    let delivery = Delivery { hop_limit, ..Delivery::default() };
    let (ip, ether) = match dst.is_v4() {
        true => (ipv4::emit_header_for(&mut before, names, delivery, len), ETHERTYPE_IPV4),
        false => (ipv6::emit_header_for(&mut before, names, (delivery, 0), len), ETHERTYPE_IPV6),
    };
    let to = if ipv6::is_multicast(&dst) { ipv6::group_mac(&dst) } else { OUR_MAC };
    let ip = HEADROOM - ip;
    let start = ip - ethernet::emit(&mut before[..ip], to, PEER_MAC, ether, None);
    [&before[start..], payload].concat()
}

fn parsed(frame: &[u8]) -> Hears {
    let frame = ethernet::Frame::parse(frame, None).expect("what we send parses");
    assert_eq!(frame.dst, PEER_MAC);
    let (src, dst, payload, carried) = match frame.ethertype {
        ETHERTYPE_IPV4 => {
            let packet = ipv4::Packet::parse(frame.payload).expect("what we send parses");
            (packet.src, packet.dst, packet.payload, (packet.tos, packet.ttl))
        }
        _ => {
            let packet = ipv6::Packet::parse(frame.payload).expect("what we send parses");
            let carried = (packet.traffic_class, packet.hop_limit);
            (packet.src, packet.dst, packet.payload, carried)
        }
    };
    assert!(tcp::verify(payload, &src, &dst));
    let segment = Packet::parse(payload).expect("what we send parses");
    Hears {
        port: segment.dst_port,
        seq: segment.seq,
        ack: segment.ack,
        flags: segment.flags,
        window: segment.window,
        options: segment.options,
        carried,
    }
}

/// The shard's link-layer address, and the peer's.
pub(super) const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(super) const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
