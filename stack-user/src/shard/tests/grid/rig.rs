//! A shard with one connection, and a peer that says what it is told to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::super::{FRAME_LEN, Wire, addr, config};
use super::rows::Row;
use crate::service::{Connection, Service};
use crate::shard::{Command, ConnId, LocalAddr, Open, Request, Shard};
use crate::tables::flow::FlowKind;
use crate::tables::listeners::Listener;
use crate::tcp::{CloseReason, HEADROOM, Trouble};
use crate::time::{Duration, Instant};
use crate::wire::tcp::{Flags, Header, Options, Packet, Timestamps};
use crate::wire::{
    Addr, FourTuple, MacAddr, PROTOCOL_ICMP, PROTOCOL_TCP, checksum, ethernet, ipv4, tcp,
};

pub(super) const SYN: Flags = Flags::SYN;
pub(super) const ACK: Flags = Flags::ACK;
pub(super) const FIN: Flags = Flags::FIN;
pub(super) const RST: Flags = Flags::RST;

/// Ours and the peer's port.
const PORT: u16 = 80;
const PEER_PORT: u16 = 40_000;
/// The peer's initial sequence number, and what it takes for ours while there is none.
const IRS: u32 = 1_000_000;
const NO_ISS: u32 = 5_000_000;
/// The peer's clock of timestamps at the start.
const STAMP: u32 = 1_000_000;

/// A segment of the peer. Numbers count from the ISNs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seg {
    pub seq: i32,
    pub ack: i32,
    pub flags: Flags,
    /// Octets of text.
    pub text: usize,
    pub window: u16,
    pub urgent: u16,
    /// By how much its timestamp is ahead of the peer's clock in milliseconds; `None` without one.
    pub stamp: Option<i32>,
}

/// The shard, its connection and what became of it.
pub(super) struct Rig {
    pub row: Row,
    shard: Shard,
    log: Arc<Mutex<Vec<String>>>,
    leaves: Arc<AtomicBool>,
    now: Instant,
    start: Instant,
    id: Option<ConnId>,
    /// Our initial sequence number, once a segment told it.
    iss: Option<u32>,
    /// SND.UNA and SND.NXT as the peer sees them, from our ISN, and RCV.NXT from the peer's.
    pub una: i32,
    pub nxt: i32,
    pub rcv: i32,
    /// What was sent and what the user was told since the event began: milliseconds and words.
    sent: Vec<(u64, String)>,
    told: Vec<(u64, String)>,
}

/// Notes each call; closes nothing by itself.
struct Watch {
    log: Arc<Mutex<Vec<String>>>,
    /// Whether it leaves text where it is, rather than consuming all.
    leaves: Arc<AtomicBool>,
}

impl Watch {
    fn note(&self, what: impl Into<String>) {
        self.log.lock().expect("no panic before").push(what.into());
    }
}

impl Service for Watch {
    fn on_accept(&mut self, _conn: &mut dyn Connection) {
        self.note("accepted");
    }

    fn on_connected(&mut self, _conn: &mut dyn Connection) {
        self.note("connected");
    }

    fn on_data(&mut self, _conn: &mut dyn Connection, data: &[u8]) -> usize {
        if self.leaves.load(Ordering::Relaxed) {
            return 0;
        }
        self.note(format!("data {}", data.len()));
        data.len()
    }

    fn on_writable(&mut self, _conn: &mut dyn Connection) {
        self.note("writable");
    }

    fn on_peer_fin(&mut self, _conn: &mut dyn Connection) {
        self.note("fin");
    }

    fn on_urgent(&mut self, conn: &mut dyn Connection) {
        self.note(format!("urgent {:?}", conn.urgent_ahead()));
    }

    fn on_trouble(&mut self, _conn: &mut dyn Connection, trouble: Trouble) {
        self.note(format!("trouble: {trouble:?}"));
    }

    fn on_closed(&mut self, _user: u64, reason: CloseReason) {
        self.note(format!("closed: {reason:?}"));
    }
}

impl Rig {
    /// A shard in the state of `row`, with nothing left to send and to tell.
    pub(super) fn at(row: Row) -> Self {
        let listeners = match row.listens() {
            true => vec![Listener::new(None, PORT, 0)],
            false => Vec::new(),
        };
        let (log, leaves) = (Arc::default(), Arc::default());
        let watch = Watch { log: Arc::clone(&log), leaves: Arc::clone(&leaves) };
        let mut config = config(1, listeners);
        // The kernel's tables answer for the next hop: no ARP among what is sent.
        config.addrs = vec![LocalAddr { addr: addr(1), is_owned: false }];
        config.tcp.time_wait = Duration::from_secs(20);
        let mut rig = Self {
            row,
            shard: Shard::new(config, vec![Box::new(watch)]),
            log,
            leaves,
            now: Instant::from_millis(10_000),
            start: Instant::from_millis(10_000),
            id: None,
            iss: None,
            una: 0,
            nxt: 0,
            rcv: 0,
            sent: Vec::new(),
            told: Vec::new(),
        };
        row.enter(&mut rig);
        assert_eq!(rig.state(), row.name(), "{:?} {:?}", rig.sent, rig.told);
        rig.begin();
        rig
    }

    /// What was done so far was preparation.
    pub(super) fn begin(&mut self) {
        self.sent.clear();
        self.told.clear();
        self.start = self.now;
    }

    /// The cells of the grid.
    pub(super) fn outcome(&mut self) -> String {
        let sent = self.sent_in_words();
        let told: Vec<_> =
            self.told.iter().map(|(at, what)| format!("{what}{}", after(*at))).collect();
        let told = told.join(", ");
        let dash = |text: String| if text.is_empty() { "-".into() } else { text };
        format!("{:<21} | {} | {}", self.state(), dash(sent), dash(told))
    }

    /// What was sent; of equal segments in a row their count, and the time of the last.
    fn sent_in_words(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        for run in self.sent.chunk_by(|a, b| a.1 == b.1) {
            let (at, segment) = &run[run.len() - 1];
            let count = if run.len() > 1 { format!("{} x ", run.len()) } else { String::new() };
            words.push(format!("{count}{segment}{}", after(*at)));
        }
        words.join("; ")
    }

    /// The state of our connection, told by what holds it.
    fn state(&self) -> String {
        let tuple = tuple();
        let hash = self.shard.core.hasher.hash(&tuple);
        let Some(flow) = self.shard.core.find(hash, &tuple) else {
            let is_back = matches!(self.row, Row::Listen | Row::HalfOpen);
            return if is_back { Row::Listen.name().into() } else { Row::Closed.name().into() };
        };
        match flow.kind() {
            FlowKind::HalfOpen => Row::HalfOpen.name().into(),
            FlowKind::TimeWait => Row::TimeWait.name().into(),
            FlowKind::Tcb => {
                let conn = self.shard.core.conns.get(flow.index()).expect("the flow has one");
                conn.tcb.state().name().into()
            }
        }
    }

    fn tell(&self, what: String) {
        self.log.lock().expect("no panic before").push(what);
    }

    /// OPEN, active.
    pub(super) fn open(&mut self) {
        let open = Open {
            local: Some(addr(1)),
            local_port: Some(PORT),
            remote: addr(2),
            remote_port: PEER_PORT,
            service: 0,
            settings: Vec::new(),
            user: 0,
        };
        match self.shard.open(&open, self.now) {
            Ok(id) => {
                self.id = Some(id);
                self.nxt = 1;
            }
            Err(error) => self.tell(format!("error: {error}")),
        }
        self.drain();
    }

    /// OPEN, passive.
    pub(super) fn listen(&mut self) {
        let opened = self.shard.listen(Listener::new(None, PORT, 0), self.now);
        self.tell(opened.map_or_else(|error| format!("error: {error}"), |_| "listening".into()));
        self.drain();
    }

    /// From now on the user leaves text where it is.
    pub(super) fn leaves_text(&self) {
        self.leaves.store(true, Ordering::Relaxed);
    }

    /// A call of the connection's user; what it returns is told.
    pub(super) fn call(&mut self, run: impl FnOnce(&mut dyn Connection) -> String) {
        let id = self.id.or_else(|| self.shard.core.conns.iter().map(|(id, _)| id).next());
        let told = id.and_then(|id| self.shard.with(id, self.now, run));
        let told = told.unwrap_or_else(|| "error: no connection".into());
        if !told.is_empty() {
            self.tell(told);
        }
        self.drain();
    }

    /// CLOSE of RFC 9293: our FIN.
    pub(super) fn close(&mut self) {
        self.call(|conn| {
            conn.shutdown_write();
            String::new()
        });
    }

    /// SEND of ten octets.
    pub(super) fn send(&mut self) {
        self.call(|conn| format!("took {}", conn.send(&[7; 10])));
    }

    /// A segment of the peer with the numbers as they are, that acknowledges everything.
    pub(super) fn segment(&self, flags: Flags) -> Seg {
        let (seq, ack) = (self.rcv, self.nxt);
        Seg { seq, ack, flags, text: 0, window: 0xffff, urgent: 0, stamp: Some(0) }
    }

    /// As [`Rig::segment`], but nothing more is acknowledged than our SYN.
    pub(super) fn holding(&self, flags: Flags) -> Seg {
        Seg { ack: self.una.max(self.nxt.min(1)), ..self.segment(flags) }
    }

    /// The peer's SYN.
    pub(super) fn syn(&self) -> Seg {
        Seg { seq: 0, ..self.segment(SYN) }
    }

    /// The segment arrives, and what it leads to is sent.
    pub(super) fn arrive(&mut self, seg: Seg) {
        let mut buf = [0; 256];
        let clock = STAMP.wrapping_add(self.now.as_millis() as u32);
        let stamp = seg.stamp.map(|ahead| clock.wrapping_add_signed(ahead));
        let is_syn = seg.flags.contains(SYN);
        let options = Options {
            mss: is_syn.then_some(1460),
            window_scale: is_syn.then_some(0),
            sack_permitted: is_syn,
            timestamps: stamp.map(|value| Timestamps { value, echo: 0 }),
            ..Options::NONE
        };
        let has_ack = seg.flags.contains(ACK);
        let header = Header {
            src_port: PEER_PORT,
            dst_port: PORT,
            seq: IRS.wrapping_add_signed(seg.seq),
            ack: if has_ack { self.iss().wrapping_add_signed(seg.ack) } else { 0 },
            flags: seg.flags,
            window: seg.window,
            checksum: 0,
            urgent: seg.urgent,
        };
        let len = tcp::emit(&header, &options, &mut buf);
        let whole = len + seg.text;
        buf[len..whole].fill(7);
        let sum = checksum::sum(&buf[len..whole]);
        tcp::fill_checksum(&mut buf[..whole], &addr(2), &addr(1), sum);
        self.deliver(PROTOCOL_TCP, &buf[..whole]);
    }

    /// An ICMP error of this type and code arrives, about our segment with this number.
    pub(super) fn icmp(&mut self, kind: u8, code: u8, seq: i32) {
        let mut quote = [0; 28];
        ipv4::emit_header(&mut quote[..20], &addr(1), &addr(2), PROTOCOL_TCP, 20);
        quote[20..22].copy_from_slice(&PORT.to_be_bytes());
        quote[22..24].copy_from_slice(&PEER_PORT.to_be_bytes());
        quote[24..28].copy_from_slice(&self.iss().wrapping_add_signed(seq).to_be_bytes());
        let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
        if (kind, code) == (3, 4) {
            message[6..8].copy_from_slice(&1000_u16.to_be_bytes());
        }
        message.extend(quote);
        let sum = checksum::finish(checksum::sum(&message));
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        self.deliver(PROTOCOL_ICMP, &message);
    }

    fn deliver(&mut self, protocol: u8, payload: &[u8]) {
        let mut frame = [0; 512];
        let end = HEADROOM + payload.len();
        frame[HEADROOM..end].copy_from_slice(payload);
        let before = &mut frame[..HEADROOM];
        let ip = HEADROOM - ipv4::emit_header(before, &addr(2), &addr(1), protocol, payload.len());
        let ours = MacAddr([2, 0, 0, 0, 0, 1]);
        let ether = ethernet::ETHERTYPE_IPV4;
        let start = ip - ethernet::emit(&mut before[..ip], ours, PEER_MAC, ether, None);
        self.shard.on_frames(&[&frame[start..end]], &mut |_, _| {}, self.now);
        self.drain();
    }

    /// Lets time pass in silence; what falls due happens.
    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..10_000 {
            match self.shard.next_deadline().filter(|next| *next <= end) {
                Some(next) => {
                    self.now = next.max(self.now);
                    self.shard.on_timers(self.now);
                    self.drain();
                }
                None => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("timers come to an end");
    }

    fn drain(&mut self) {
        let mut wire = Wire(Vec::new(), vec![0; FRAME_LEN]);
        self.shard.drain(&mut wire, self.now);
        while let Some(Request::Resolve(addr)) = self.shard.poll_request() {
            let answer = Command::Neighbour { addr, mac: Some(PEER_MAC) };
            self.shard.on_command(answer, self.now);
            self.shard.drain(&mut wire, self.now);
        }
        assert!(!self.shard.has_work(), "everything is sent");
        let after = self.now.since(self.start).as_millis() as u64;
        for frame in wire.0 {
            let words = self.words(&frame);
            self.sent.push((after, words));
        }
        let told = core::mem::take(&mut *self.log.lock().expect("no panic before"));
        self.told.extend(told.into_iter().map(|what| (after, what)));
    }

    /// A frame of ours in words.
    fn words(&mut self, frame: &[u8]) -> String {
        let frame = ethernet::Frame::parse(frame, None).expect("what we send parses");
        let packet = ipv4::Packet::parse(frame.payload).expect("what we send parses");
        assert_eq!((packet.src, packet.dst), (addr(1), addr(2)));
        assert!(tcp::verify(packet.payload, &packet.src, &packet.dst));
        let segment = Packet::parse(packet.payload).expect("what we send parses");
        if segment.flags.contains(SYN) {
            self.iss = Some(segment.seq);
        }
        let mut words = format!("{:?} {}", segment.flags, self.number(segment.seq, 'S'));
        if segment.flags.contains(ACK) {
            words += &format!(" ack {}", self.number(segment.ack, 'R'));
        }
        if !segment.payload.is_empty() {
            words += &format!(" text {}", segment.payload.len());
        }
        if segment.flags.contains(Flags::URG) {
            words += &format!(" urgent {}", segment.urgent);
        }
        for (left, right) in segment.options.sack.as_slice() {
            words += &format!(" sack {}..{}", self.number(*left, 'R'), self.number(*right, 'R'));
        }
        words
    }

    fn iss(&self) -> u32 {
        self.iss.unwrap_or(NO_ISS)
    }

    /// A number as its distance from the ISN of the side that it should belong to.
    fn number(&self, number: u32, side: char) -> String {
        let base = if side == 'S' { self.iss() } else { IRS };
        match number.wrapping_sub(base) as i32 {
            far if far.abs() > 1_000_000 => number.to_string(),
            near => format!("{side}{near:+}"),
        }
    }
}

/// A time in words; nothing for the beginning.
fn after(ms: u64) -> String {
    if ms > 0 { format!(" @ {ms} ms") } else { String::new() }
}

fn tuple() -> FourTuple {
    let (local, remote): (Addr, Addr) = (addr(1), addr(2));
    FourTuple { local, remote, local_port: PORT, remote_port: PEER_PORT }
}

const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
