//! One connection between a user and a peer that both do what the fuzzer says: segments with numbers
//! that are nearly right, timers, calls. A byte-stream oracle knows what each side may see.

use core::net::Ipv4Addr;

use sluice::counters::Counters;
use sluice::tcp::pool::Pool;
use sluice::tcp::{Census, Config, Env, Events, Outlet, Segment, SeqNum, State, Tcb};
use sluice::time::{Duration, Instant};
use sluice::wire::tcp::{Flags, Options, Packet, SackBlocks, Timestamps};
use sluice::wire::{Addr, FourTuple, tcp};

use super::settings;
use super::source::{IS_TRACED, Source};

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let Some(mut world) = World::new(&mut source) else { return };
    world.settle(&mut source);
    let mut steps = 0;
    while !source.is_spent() && !world.tcb.is_over() && steps < MOST_STEPS {
        world.step(&mut source);
        world.settle(&mut source);
        steps += 1;
    }
    world.finish();
}

/// The connection, what a shard gives it, and the oracle.
struct World {
    tcb: Tcb,
    pool: Pool,
    counters: Counters,
    census: Census,
    config: Config,
    now: Instant,
    /// Our ISS and the peer's.
    iss: u32,
    irs: u32,
    /// Octets of the peer's stream that came out in order.
    delivered: u32,
    /// Octets that the user consumed of them.
    consumed: u32,
    /// Octets that the send buffer took.
    taken: u32,
    /// The number after the last octet that we sent, and the last acknowledgment and right edge.
    sent: u32,
    acked: u32,
    edge: Option<u32>,
    /// The scale of our window field, once the handshake says.
    scale: u8,
    /// The user reads no more.
    is_deaf: bool,
    /// The furthest octet that the peer's windows ever allowed.
    allowed: u32,
    /// The first number that the peer has not acknowledged.
    una: u32,
    peer: Peer,
    told: Told,
}

/// What the peer said in its SYN.
#[derive(Default)]
struct Peer {
    scale: u8,
    has_stamps: bool,
    clock: u32,
    has_sent_syn: bool,
}

/// What the user was told.
#[derive(Default)]
struct Told {
    opened: bool,
    fin: bool,
    closed: bool,
}

impl World {
    fn new(source: &mut Source<'_>) -> Option<Self> {
        let config = settings::config(source);
        config.check().ok()?;
        let mut pool = Pool::new(4 << 20);
        let (mut counters, mut census) = (Counters::default(), Census::default());
        let (iss, irs) = (near_wrap(source), near_wrap(source));
        let offset = source.u32();
        let mss = 88 + source.u16() % 9_000;
        let now = Instant::from_millis(source.u64() >> 24);
        let tcb = Tcb::connect(
            tuple(),
            (SeqNum(iss), offset),
            mss,
            &mut Env {
                pool: &mut pool,
                counters: &mut counters,
                census: &mut census,
                config: &config,
            },
        );
        Some(Self {
            tcb,
            pool,
            counters,
            census,
            config,
            now,
            iss,
            irs,
            delivered: 0,
            consumed: 0,
            taken: 0,
            sent: iss,
            acked: irs,
            edge: None,
            scale: 0,
            is_deaf: false,
            allowed: iss.wrapping_add(1),
            una: iss,
            peer: Peer { clock: source.u32(), ..Peer::default() },
            told: Told::default(),
        })
    }

    fn env<R>(&mut self, run: impl FnOnce(&mut Tcb, &mut Env<'_>) -> R) -> R {
        let mut env = Env {
            pool: &mut self.pool,
            counters: &mut self.counters,
            census: &mut self.census,
            config: &self.config,
        };
        run(&mut self.tcb, &mut env)
    }

    fn step(&mut self, source: &mut Source<'_>) {
        match source.below(16) {
            0..7 => self.segment(source),
            7 => self.send(source),
            8 => self.consume(source),
            9 | 10 => self.wait(source),
            11 => self.close(source),
            12 if source.below(16) == 0 => self.env(|tcb, env| tcb.abort(env)),
            13 => {
                let (setting, now) = (settings::setting(source), self.now);
                let _ = self.env(|tcb, env| tcb.configure(setting, env, now));
            }
            14 => self.handshake(source),
            _ => self.now = self.now + Duration::from_micros(source.scaled(24)),
        }
    }

    /// The segment that the handshake waits for, and nearly always right.
    fn handshake(&mut self, source: &mut Source<'_>) {
        let flags = if source.below(8) == 0 { Flags::SYN } else { SYN_ACK };
        let options = self.syn_options(source);
        self.arrive(&Segment {
            seq: SeqNum(self.irs),
            ack: SeqNum(self.iss.wrapping_add(1)),
            flags,
            window: source.u16(),
            urgent: 0,
            options,
            text: &[],
        });
    }

    fn syn_options(&mut self, source: &mut Source<'_>) -> Options {
        let options = Options {
            mss: source.option(Source::u16),
            window_scale: source.option(|source| source.u8() % 20),
            sack_permitted: source.bool(),
            timestamps: source.option(|_| Timestamps { value: self.peer.clock, echo: 0 }),
            user_timeout: source.option(Source::u16),
            ..Options::NONE
        };
        if !self.peer.has_sent_syn {
            self.peer.scale = options.window_scale.unwrap_or(0).min(14);
            self.peer.has_stamps = options.timestamps.is_some();
        }
        options
    }

    /// A segment whose numbers are near those that are expected.
    fn segment(&mut self, source: &mut Source<'_>) {
        let next = self.irs.wrapping_add(1).wrapping_add(self.delivered);
        let seq = match source.below(8) {
            0..4 => next,
            4 | 5 => next.wrapping_add(source.scaled(17) as u32),
            6 => next.wrapping_sub(source.scaled(17) as u32),
            _ => source.u32(),
        };
        let ack = match source.below(8) {
            0..3 => self.sent,
            3 | 4 => self.una,
            5 => self.una.wrapping_add(source.scaled(16) as u32),
            6 => self.una.wrapping_sub(source.scaled(16) as u32),
            _ => source.u32(),
        };
        let flags = match source.below(16) {
            0..10 => Flags::ACK,
            10 => Flags::ACK.union(Flags::FIN),
            11 => Flags::ACK.union(Flags::PSH),
            12 => Flags::ACK.union(Flags::URG),
            13 if source.below(8) == 0 => Flags::RST,
            14 => Flags(source.u8()),
            _ => Flags::ACK,
        };
        let len = if source.bool() { source.scaled(13) as u32 } else { 0 };
        // A SYN lies before the text.
        let first = seq.wrapping_add(u32::from(flags.contains(Flags::SYN)));
        let text: Vec<u8> = (0..len).map(|at| theirs(first.wrapping_add(at))).collect();
        let options = self.options(source);
        let window = source.u16();
        self.arrive(&Segment {
            seq: SeqNum(seq),
            ack: SeqNum(ack),
            flags,
            window,
            urgent: source.u16(),
            options,
            text: &text,
        });
    }

    fn options(&mut self, source: &mut Source<'_>) -> Options {
        if source.below(16) == 0 {
            return self.syn_options(source);
        }
        self.peer.clock = self.peer.clock.wrapping_add(source.below(8) as u32);
        let clock = match source.below(8) {
            0 => self.peer.clock.wrapping_sub(source.scaled(31) as u32),
            _ => self.peer.clock,
        };
        let mut sack = SackBlocks::NONE;
        for _ in 0..source.below(8).saturating_sub(3) {
            let left = self.una.wrapping_add(source.scaled(17) as u32);
            sack.push(left, left.wrapping_add(source.scaled(14) as u32));
        }
        let sends_stamps = self.peer.has_stamps ^ (source.below(32) == 0);
        let timestamps = sends_stamps.then(|| Timestamps { value: clock, echo: source.u32() });
        Options { timestamps, sack, ..Options::NONE }
    }

    fn arrive(&mut self, segment: &Segment<'_>) {
        let was = self.tcb.state();
        let now = self.now;
        if *IS_TRACED {
            let Segment { seq, ack, flags, window, options, text, .. } = segment;
            let len = text.len();
            eprintln!("{now:?} {was:?} <- {seq:?} {ack:?} {flags:?} {window} {len} {options:?}");
        }
        let accepted = self.env(|tcb, env| tcb.on_segment(segment, env, now));
        self.note_window(segment, was);
        self.deliver(&segment.text[accepted.text]);
        let mut follows = accepted.follows;
        while !follows.is_empty() {
            let front = follows.front(&self.pool).to_vec();
            follows.consume(&mut self.pool, front.len());
            self.deliver(&front);
        }
    }

    /// Whatever a segment offers may be used: which of them counts is for the connection to say.
    fn note_window(&mut self, segment: &Segment<'_>, was: State) {
        if matches!(was, State::SynSent) && self.tcb.state() != State::SynSent {
            self.peer.has_sent_syn = true;
            self.irs = segment.seq.0;
            self.acked = segment.seq.0;
        }
        let shift = if segment.flags.contains(Flags::SYN) { 0 } else { self.peer.scale };
        // What acknowledges something old or unsent offers nothing.
        let is_fit = segment.ack.0.wrapping_sub(self.una) <= self.sent.wrapping_sub(self.una);
        let from = if is_fit { segment.ack.0 } else { self.una };
        let edge = from.wrapping_add(u32::from(segment.window) << shift);
        self.allowed = later(self.allowed, edge);
    }

    /// Text in order: it must be the peer's, and goes to the unread.
    fn deliver(&mut self, text: &[u8]) {
        for octet in text {
            let seq = self.irs.wrapping_add(1).wrapping_add(self.delivered);
            assert_eq!(*octet, theirs(seq), "a wrong octet at {}", self.delivered);
            self.delivered = self.delivered.wrapping_add(1);
        }
        if !self.tcb.is_text_lost() {
            self.env(|tcb, env| tcb.keep_unread(text, env));
        }
    }

    fn send(&mut self, source: &mut Source<'_>) {
        let len = source.scaled(16) as u32;
        let text: Vec<u8> = (0..len).map(|at| ours(self.taken.wrapping_add(at))).collect();
        let taken = self.env(|tcb, env| tcb.send(&text, env));
        assert!(taken <= text.len());
        self.taken = self.taken.wrapping_add(taken as u32);
    }

    fn close(&mut self, source: &mut Source<'_>) {
        let now = self.now;
        match source.below(8) {
            0 | 1 => self.env(|tcb, env| tcb.shutdown_write(env)),
            2 => {
                self.is_deaf = true;
                self.env(|tcb, env| tcb.shutdown_read(env));
            }
            3 => {
                self.is_deaf = true;
                self.env(|tcb, env| tcb.close(env, now));
            }
            4 => {
                let len = source.scaled(9) as u32;
                let text: Vec<u8> = (0..len).map(|at| ours(self.taken.wrapping_add(at))).collect();
                let taken = self.env(|tcb, env| tcb.send_urgent(&text, env));
                self.taken = self.taken.wrapping_add(taken as u32);
            }
            _ => {}
        }
    }

    fn consume(&mut self, source: &mut Source<'_>) {
        let mut chain = self.tcb.take_unread();
        let len = (source.scaled(17) as usize).min(chain.len());
        chain.consume(&mut self.pool, len);
        self.consumed = self.consumed.wrapping_add(len as u32);
        self.tcb.put_unread(chain);
        self.tcb.on_consumed();
    }

    fn wait(&mut self, source: &mut Source<'_>) {
        let next = self.tcb.next_deadline(self.now);
        if next == Instant::NEVER {
            return;
        }
        self.now = self.now.max(next) + Duration::from_micros(source.scaled(12));
        let now = self.now;
        self.env(|tcb, env| tcb.on_timer(env, now));
    }

    /// Output, unless the fuzzer holds frames back; then everything that must hold between two steps.
    fn settle(&mut self, source: &mut Source<'_>) {
        let events = self.tcb.poll_event();
        self.note(&events);
        let frames = if source.below(8) == 0 { source.below(4) } else { MOST_FRAMES };
        let mut outlet = Outlet::Waiting;
        let mut out = vec![0; 16 << 10];
        for count in 0.. {
            assert!(count < MOST_FRAMES, "output without end");
            if count == frames {
                break;
            }
            let now = self.now;
            let Some(len) = self.env(|tcb, env| tcb.poll_transmit(&mut out, env, now)) else {
                outlet = Outlet::Open;
                break;
            };
            self.check_sent(&out[..len]);
        }
        let held = self.tcb.assert_sound(&self.pool, outlet);
        self.una = held.una.0;
        let in_use = (held.sending + held.receiving) * sluice::tcp::pool::CHUNK;
        assert_eq!(in_use, self.pool.used(), "chunks that nobody holds");
    }

    fn note(&mut self, events: &Events) {
        assert!(!(events.opened && self.told.opened), "opened twice");
        assert!(!(events.fin && self.told.fin), "the peer's FIN twice");
        assert!(!(events.closed.is_some() && self.told.closed), "closed twice");
        self.told.opened |= events.opened;
        self.told.fin |= events.fin;
        self.told.closed |= events.closed.is_some();
    }

    fn check_sent(&mut self, bytes: &[u8]) {
        assert!(tcp::verify(bytes, &tuple().local, &tuple().remote), "a wrong checksum");
        let packet = Packet::parse(bytes).expect("what we send parses");
        if *IS_TRACED {
            let Packet { seq, ack, flags, window, options, payload, .. } = packet;
            let (now, len) = (self.now, payload.len());
            eprintln!("{now:?} -> {seq} {ack} {flags:?} {window} {len} {options:?}");
        }
        if packet.flags.contains(Flags::RST) {
            return;
        }
        let is_syn = packet.flags.contains(Flags::SYN);
        if is_syn {
            assert_eq!(packet.seq, self.iss);
            self.sent = later(self.sent, self.iss.wrapping_add(1));
        }
        let first = self.iss.wrapping_add(1);
        for (at, octet) in packet.payload.iter().enumerate() {
            let offset = packet.seq.wrapping_add(at as u32).wrapping_sub(first);
            assert_eq!(*octet, ours(offset), "a wrong octet was sent at {offset}");
            assert!(offset < self.taken, "octets from nowhere at {offset}");
        }
        let text_end = packet.seq.wrapping_add(packet.payload.len() as u32);
        // RFC 9293 3.8.6.1: one octet beyond the window is a probe.
        let beyond = text_end.wrapping_sub(self.allowed) as i32;
        assert!(beyond <= 1 || is_syn, "{beyond} octets beyond the window: {:?}", self.tcb);
        self.sent = later(self.sent, packet.seq.wrapping_add(packet.sequence_len()));
        if packet.flags.contains(Flags::ACK) {
            self.check_ack(&packet, is_syn);
        }
    }

    /// Acknowledgments and the right edge of the window never move back, and nothing is acknowledged
    /// that did not come.
    fn check_ack(&mut self, packet: &Packet<'_>, is_syn: bool) {
        assert!(packet.ack.wrapping_sub(self.acked) as i32 >= 0, "an acknowledgment moved back");
        self.acked = packet.ack;
        let came = self.irs.wrapping_add(1).wrapping_add(self.delivered);
        let beyond = packet.ack.wrapping_sub(came) as i32;
        // A user that reads no more has text acknowledged that it never sees.
        assert!(beyond <= i32::from(self.told.fin) || self.is_deaf, "{beyond} too many");
        if is_syn {
            return;
        }
        self.scale = self.tcb.info(self.now).rcv_wscale;
        let edge = packet.ack.wrapping_add(u32::from(packet.window) << self.scale);
        if let Some(before) = self.edge {
            assert!(edge.wrapping_sub(before) as i32 >= 0, "the window shrank");
        }
        self.edge = Some(edge);
    }

    /// Whatever was done, an abort ends it and gives everything back.
    fn finish(mut self) {
        self.env(|tcb, env| tcb.abort(env));
        assert_eq!(self.tcb.state(), State::Closed);
        let events = self.tcb.poll_event();
        self.note(&events);
        self.env(|tcb, env| tcb.release(env));
        assert_eq!(self.pool.used(), 0, "chunks were lost");
        for state in State::ALL {
            assert_eq!(self.census.of(state), 0, "{}", state.name());
        }
    }
}

fn tuple() -> FourTuple {
    let addr = |n| Addr::from(Ipv4Addr::new(10, 0, 0, n));
    FourTuple { local: addr(1), remote: addr(2), local_port: 80, remote_port: 40_000 }
}

/// The octet of the peer's stream at this number.
fn theirs(seq: u32) -> u8 {
    (seq.wrapping_mul(0x9e37_79b1) >> 24) as u8
}

/// The octet of our stream at this offset.
fn ours(offset: u32) -> u8 {
    (offset.wrapping_mul(0x85eb_ca77) >> 23) as u8
}

fn later(a: u32, b: u32) -> u32 {
    if (b.wrapping_sub(a) as i32) > 0 { b } else { a }
}

/// A sequence number, often one that soon wraps.
fn near_wrap(source: &mut Source<'_>) -> u32 {
    if source.bool() { source.u32() } else { 0u32.wrapping_sub(u32::from(source.u16())) }
}

const SYN_ACK: Flags = Flags(Flags::SYN.0 | Flags::ACK.0);
const MOST_STEPS: usize = 2_000;
const MOST_FRAMES: usize = 100_000;
