//! Tests of a connection as a whole: segments and time in, segments out.

mod attack;
mod close;
mod keepalive;
mod network;
mod open;
mod orphan;
mod predicted;
mod push;
mod recovery;
mod reduction;
mod run;
mod settings;
mod timeout;
mod transfer;
mod urgent;
mod window;
mod window_growth;

use super::pool::Pool;
use super::*;
use crate::counters::{Counter, Counters};
use crate::time::{Duration, Instant};
use crate::wire::tcp::{Flags, Options, Packet, Timestamps};
use crate::wire::{Addr, FourTuple};
use core::net::Ipv4Addr;

const SYN: Flags = Flags::SYN;
const ACK: Flags = Flags::ACK;
const FIN: Flags = Flags::FIN;
const RST: Flags = Flags::RST;
/// Our ISS and the peer's.
const ISS: u32 = 1_000;
const IRS: u32 = 9_000;
const MSS: u16 = 1460;

/// A connection with all that a shard gives it.
struct Bench {
    tcb: Tcb,
    pool: Pool,
    counters: Counters,
    census: Census,
    config: Config,
    now: Instant,
    /// Text that came in order.
    got: Vec<u8>,
}

/// A segment that the connection sent.
#[derive(Debug, PartialEq)]
struct Sent {
    seq: u32,
    ack: u32,
    flags: Flags,
    window: u16,
    urgent: u16,
    options: Options,
    text: Vec<u8>,
}

fn tuple() -> FourTuple {
    let addr = |n| Addr::from(Ipv4Addr::new(10, 0, 0, n));
    FourTuple { local: addr(1), remote: addr(2), local_port: 80, remote_port: 40_000 }
}

fn segment(seq: u32, ack: u32, flags: Flags, text: &[u8]) -> Segment<'_> {
    let (seq, ack) = (SeqNum(seq), SeqNum(ack));
    Segment { seq, ack, flags, window: 0xffff, urgent: 0, options: Options::NONE, text }
}

impl Bench {
    fn with(config: Config, make: impl FnOnce(&mut Env<'_>) -> Tcb) -> Self {
        let mut pool = Pool::new(8 << 20);
        let (mut counters, mut census) = (Counters::default(), Census::default());
        let tcb = make(&mut Env {
            pool: &mut pool,
            counters: &mut counters,
            census: &mut census,
            config: &config,
        });
        Self { tcb, pool, counters, census, config, now: Instant::ZERO, got: Vec::new() }
    }

    /// An active open, its SYN not sent yet.
    fn opening() -> Self {
        Self::opening_with(Config::default())
    }

    fn opening_with(config: Config) -> Self {
        Self::with(config, |env| Tcb::connect(tuple(), (SeqNum(ISS), 0), MSS, env))
    }

    /// An open connection without timestamps and with the peer's window scale 0.
    fn open() -> Self {
        Self::open_as(Config::default(), Options { sack_permitted: true, ..Options::NONE })
    }

    /// The same, with this configuration.
    fn open_with(config: Config) -> Self {
        Self::open_as(config, Options { sack_permitted: true, ..Options::NONE })
    }

    /// The same, and the peer takes no SACK.
    fn open_without_sack() -> Self {
        Self::open_as(Config::default(), Options::NONE)
    }

    /// An open connection whose peer offers these options and its MSS.
    fn open_as(config: Config, options: Options) -> Self {
        let mut bench = Self::opening_with(config);
        bench.sent();
        let options = Options { mss: Some(MSS), ..options };
        bench.arrive(Segment { options, ..segment(IRS, ISS + 1, SYN.union(ACK), &[]) });
        assert_eq!(bench.tcb.state(), State::Established);
        bench.sent();
        bench.tcb.poll_event();
        bench
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

    fn arrive(&mut self, segment: Segment<'_>) -> bool {
        let now = self.now;
        let accepted = self.env(|tcb, env| tcb.on_segment(&segment, env, now));
        self.got.extend(&segment.text[accepted.text]);
        self.got.extend(accepted.follows.into_vec(&mut self.pool));
        accepted.is_refused
    }

    /// Everything that is sent now.
    fn sent(&mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        let now = self.now;
        let mut frame = [0; 2048];
        while let Some(len) = self.env(|tcb, env| tcb.poll_transmit(&mut frame, env, now)) {
            let bytes = &frame[..len];
            assert!(crate::wire::tcp::verify(bytes, &tuple().local, &tuple().remote));
            let packet = Packet::parse(bytes).expect("what we send parses");
            all.push(Sent {
                seq: packet.seq,
                ack: packet.ack,
                flags: packet.flags,
                window: packet.window,
                urgent: packet.urgent,
                options: packet.options,
                text: packet.payload.to_vec(),
            });
            assert!(all.len() < 5000, "output comes to an end");
        }
        all
    }

    /// The flags of everything that is sent now.
    fn sent_flags(&mut self) -> Vec<Flags> {
        self.sent().into_iter().map(|sent| sent.flags).collect()
    }

    fn send(&mut self, text: &[u8]) -> usize {
        self.env(|tcb, env| tcb.send(text, env))
    }

    /// Our FIN: CLOSE of RFC 9293.
    fn close(&mut self) {
        self.env(|tcb, env| tcb.shutdown_write(env));
    }

    /// close(2): both directions, for good.
    fn close_for_good(&mut self) {
        let now = self.now;
        self.env(|tcb, env| tcb.close(env, now));
    }

    fn set(&mut self, setting: Setting) {
        let now = self.now;
        let set = self.env(|tcb, env| tcb.configure(setting, env, now));
        assert_eq!(set, Ok(()));
    }

    /// The peer acknowledges everything, with this window field.
    fn acknowledge(&mut self, window: u16) {
        let (seq, ack) = (self.tcb.rcv.nxt.0, self.tcb.snd.nxt.0);
        self.arrive(Segment { window, ..segment(seq, ack, ACK, &[]) });
    }

    /// Why the connection ended, if it did since the last call.
    fn ended(&mut self) -> Option<CloseReason> {
        self.tcb.poll_event().closed
    }

    /// Waits until the connection ends, and counts the segments that it sends meanwhile.
    fn run_out(&mut self) -> (Vec<Sent>, u64) {
        let (mut all, start) = (Vec::new(), self.now);
        while self.tcb.state() != State::Closed {
            self.wait();
            all.extend(self.sent());
        }
        (all, self.now.since(start).as_millis() as u64)
    }

    /// Goes to the next deadline and handles it; how many milliseconds passed.
    fn wait(&mut self) -> u64 {
        let next = self.tcb.next_deadline(self.now);
        assert_ne!(next, Instant::NEVER, "a timer runs");
        let passed = next.since(self.now).as_millis() as u64;
        self.now = next;
        self.env(|tcb, env| tcb.on_timer(env, next));
        passed
    }
}
