//! Tests of the shard as a whole: two shards on one wire, in virtual time.

mod closing;
mod cookies;
mod delivery;
mod discovery;
mod flags;
mod front;
mod grid;
mod internet;
mod ipv6;
mod listen;
mod pool;
mod queues;
mod raw;
mod refusals;
mod rules;
mod time_wait;
mod usual;

use core::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use super::*;
use crate::counters::Counter;
use crate::service::{Connection, Discard, Echo, Service};
use crate::tables::listeners::Listener;
use crate::tcp::{CloseReason, Unreachable};
use crate::time::Duration;
use crate::wire::{Addr, MacAddr};

struct Wire(Vec<Vec<u8>>, Vec<u8>);

impl Transmit for Wire {
    fn reserve(&mut self) -> Option<&mut [u8]> {
        Some(&mut self.1)
    }

    fn commit(&mut self, start: usize, len: usize) {
        self.0.push(self.1[start..start + len].to_vec());
    }
}

pub(super) fn addr(n: u8) -> Addr {
    Ipv4Addr::new(10, 0, 0, n).into()
}

pub(super) fn addr6(n: u8) -> Addr {
    Addr(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into()).octets())
}

/// The address of host `n`, in both families.
pub(super) const FAMILIES: [fn(u8) -> Addr; 2] = [addr, addr6];

pub(super) fn config(n: u8, listeners: Vec<Listener>) -> ShardConfig {
    let link = |prefix, prefix_len| Route { prefix, prefix_len, gateway: None };
    ShardConfig {
        index: 0,
        mac: MacAddr([2, 0, 0, 0, 0, n]),
        mtu: 1500,
        vlan: None,
        addrs: FAMILIES.map(|addr| LocalAddr { addr: addr(n), is_owned: true }).to_vec(),
        routes: Arc::new([link(addr(0), 120), link(addr6(0), 64)]),
        listeners,
        local_ports: 40_000..=49_999,
        verify_checksums: true,
        secrets: Secrets { flow: [1; 16], isn: [2; 16], port: [n; 16] },
        limits: Limits { connections: 64, half_open: 64, time_wait: 64, ..Limits::default() },
        tcp: crate::tcp::Config::default(),
    }
}

/// Sends `left` octets, then FIN, and keeps what comes back.
#[derive(Default)]
struct Client {
    left: usize,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    got: usize,
    closed: Option<CloseReason>,
}

impl Client {
    fn pump(&mut self, conn: &mut dyn Connection) {
        while self.left > 0 {
            let sent = conn.send(&[7; 5000][..self.left.min(5000)]);
            self.left -= sent;
            if sent == 0 {
                return;
            }
        }
        conn.shutdown_write();
    }
}

impl Service for Client {
    fn on_connected(&mut self, conn: &mut dyn Connection) {
        self.pump(conn);
    }

    fn on_writable(&mut self, conn: &mut dyn Connection) {
        self.pump(conn);
    }

    fn on_data(&mut self, _conn: &mut dyn Connection, data: &[u8]) -> usize {
        assert!(data.iter().all(|byte| *byte == 7));
        self.seen.lock().expect("no panic before").got += data.len();
        data.len()
    }

    fn on_closed(&mut self, _user: u64, reason: CloseReason) {
        self.seen.lock().expect("no panic before").closed = Some(reason);
    }
}

fn run(a: &mut Shard, b: &mut Shard, until: Instant) {
    run_from(a, b, (Instant::ZERO, until));
}

fn run_from(a: &mut Shard, b: &mut Shard, (mut now, until): (Instant, Instant)) {
    while now < until {
        let mut is_quiet = true;
        for turn in 0..2 {
            let (from, to) = if turn == 0 { (&mut *a, &mut *b) } else { (&mut *b, &mut *a) };
            from.on_timers(now);
            let mut wire = Wire(Vec::new(), vec![0; FRAME_LEN]);
            from.drain(&mut wire, now);
            for frames in wire.0.chunks(BATCH) {
                is_quiet = false;
                let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
                to.on_frames(&frames, &mut |_, _| {}, now);
            }
        }
        now = if is_quiet {
            let next = [a.next_deadline(), b.next_deadline()].into_iter().flatten().min();
            next.unwrap_or(until).max(now + Duration::from_micros(10))
        } else {
            now + Duration::from_micros(10)
        };
    }
}

fn talk(addr: fn(u8) -> Addr, octets: usize) -> (Shard, Shard, Seen) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let client = Client { left: octets, seen: seen.clone() };
    let mut a = Shard::new(config(1, Vec::new()), vec![Box::new(client)]);
    let listener = Listener::new(None, 7, 0);
    let mut b = Shard::new(config(2, vec![listener]), vec![Box::new(Echo)]);
    let connect = Command::Connect { remote: addr(2), remote_port: 7, service: 0 };
    a.on_command(connect, Instant::ZERO);
    run(&mut a, &mut b, Instant::from_millis(200_000));
    let seen = core::mem::take(&mut *seen.lock().expect("no panic before"));
    (a, b, seen)
}

#[test]
fn established_echo_of_megabytes_comes_back_and_leaves_nothing() {
    let octets = 3_000_000;
    for addr in FAMILIES {
        let (a, b, seen) = talk(addr, octets);
        assert_eq!(seen.got, octets);
        assert_eq!(seen.closed, Some(CloseReason::Closed));
        for shard in [&a, &b] {
            assert!(shard.is_idle());
            assert_eq!((shard.flows(), shard.buffered()), (0, 0));
            assert_eq!(shard.counters()[Counter::Retransmits], 0);
            assert_eq!(shard.census().iter().skip(2).sum::<u32>(), 0);
        }
        assert_eq!(a.counters()[Counter::TimeWaits], 1);
    }
}

/// Opens a connection to port 7 of another host's, for that long; how it ended.
fn opened_to(remote: Addr, until: Instant) -> (Option<CloseReason>, Shard, Shard) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let client = Client { left: 1, seen: seen.clone() };
    let mut a = Shard::new(config(1, Vec::new()), vec![Box::new(client)]);
    let mut b = Shard::new(config(2, Vec::new()), Vec::new());
    let connect = Command::Connect { remote, remote_port: 7, service: 0 };
    a.on_command(connect, Instant::ZERO);
    run(&mut a, &mut b, until);
    let closed = seen.lock().expect("no panic before").closed;
    (closed, a, b)
}

// CM-7.e.
#[test]
fn syn_sent_port_without_listener_is_refused() {
    for addr in FAMILIES {
        let (closed, a, b) = opened_to(addr(2), Instant::from_millis(100));
        assert_eq!(closed, Some(CloseReason::Refused));
        assert!(a.is_idle() && b.is_idle());
        assert_eq!(b.counters()[Counter::ResetsOut], 1);
    }
}

// RFC 4861 7.2.2: three questions, a second apart, as for ARP.
#[test]
fn syn_sent_host_that_does_not_answer_is_unreachable() {
    for (addr, asked) in FAMILIES.into_iter().zip([Counter::ArpRequests, Counter::SolicitationsOut])
    {
        let (closed, a, _) = opened_to(addr(3), Instant::from_millis(10_000));
        assert_eq!(closed, Some(CloseReason::Unreachable(Unreachable::NextHop)));
        assert_eq!((a.counters()[asked], a.counters()[Counter::NeighbourFailed]), (3, 1));
        assert_eq!(a.flows(), 0);
    }
}

/// Sends what is told by its timer, a second after it was connected, and reads the echo.
struct Later;

impl Service for Later {
    fn on_connected(&mut self, conn: &mut dyn Connection) {
        conn.set_timer(Some(Duration::from_secs(1)));
    }

    fn on_timer(&mut self, conn: &mut dyn Connection) {
        match core::mem::replace(conn.user(), 1) {
            0 => {
                conn.send(&[7; 1000]);
                conn.set_timer(Some(Duration::from_secs(1)));
            }
            _ => conn.close(),
        }
    }

    fn on_data(&mut self, _conn: &mut dyn Connection, data: &[u8]) -> usize {
        data.len()
    }
}

#[test]
fn established_state_is_published_at_once_and_figures_within_100_ms() {
    let mut a = Shard::new(config(1, Vec::new()), vec![Box::new(Later)]);
    let listener = Listener::new(None, 7, 0);
    let mut b = Shard::new(config(2, vec![listener]), vec![Box::new(Echo)]);
    let connect = Command::Connect { remote: addr(2), remote_port: 7, service: 0 };
    a.on_command(connect, Instant::ZERO);
    let mut published = |from: u64, until: u64| {
        run_from(&mut a, &mut b, (Instant::from_millis(from), Instant::from_millis(until)));
        let records = a.region().record_reader();
        let records: Vec<_> = records.iter(u32::MAX).map(|(_, record)| record).collect();
        (records, a.region().written_at())
    };
    let (records, at) = published(0, 1);
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].tuple.remote, records[0].tuple.remote_port), (addr(2), 7));
    assert_eq!((records[0].tuple.local, records[0].summary.state), (addr(1), State::Established));
    assert!(records[0].summary.cwnd > 0 && at < Instant::from_millis(1));
    // Text goes out and comes back at once; the figures are shown later.
    assert!(published(1, 1050).1 < Instant::from_millis(1000));
    let (records, at) = published(1050, 1150);
    assert!(at >= Instant::from_millis(1100) && at < Instant::from_millis(1102), "{at:?}");
    assert!(records[0].summary.srtt > 0);
    // What has ended is shown no longer.
    assert!(published(1150, 2010).0.is_empty());
    assert_eq!(a.region().records_used(), 1);
}

/// A service that never closes by itself.
struct Idle;

impl Service for Idle {
    fn on_data(&mut self, _conn: &mut dyn Connection, data: &[u8]) -> usize {
        data.len()
    }
}

/// What `shard` sends now.
fn sent_by(shard: &mut Shard, now: Instant) -> Vec<Vec<u8>> {
    let mut wire = Wire(Vec::new(), vec![0; FRAME_LEN]);
    shard.drain(&mut wire, now);
    wire.0
}

fn give(shard: &mut Shard, frames: &[Vec<u8>], now: Instant) {
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    shard.on_frames(&frames, &mut |_, _| {}, now);
}

// RFC 9293 3.6, figure 14: the acknowledgment of the peer's FIN is owed also when that of our own
// comes in the same batch.
#[test]
fn fin_wait_1_fin_and_acknowledgment_in_one_batch_acknowledges_the_fin() {
    let mut a = Shard::new(config(1, Vec::new()), vec![Box::new(Idle)]);
    let listener = Listener::new(None, 7, 0);
    let mut b = Shard::new(config(2, vec![listener]), vec![Box::new(Idle)]);
    let connect = Command::Connect { remote: addr(2), remote_port: 7, service: 0 };
    a.on_command(connect, Instant::ZERO);
    let now = Instant::from_millis(10);
    run(&mut a, &mut b, now);
    let end = Command::Shutdown { deadline: Instant::from_millis(60_000) };
    a.on_command(end.clone(), now);
    b.on_command(end, now);
    let (mut from_a, from_b) = (sent_by(&mut a, now), sent_by(&mut b, now));
    give(&mut a, &from_b, now);
    from_a.extend(sent_by(&mut a, now));
    assert_eq!((from_a.len(), from_b.len()), (2, 1), "a FIN each, and an acknowledgment");
    give(&mut b, &from_a, now);
    let last = sent_by(&mut b, now);
    give(&mut a, &last, now);
    for shard in [&a, &b] {
        assert_eq!(shard.census()[State::TimeWait as usize], 1);
        assert_eq!(shard.census()[State::Closing as usize], 0);
    }
}

// A RST that waits for its next hop outlives the end of the shutdown; nobody looks at it meanwhile.
#[test]
fn shutdown_that_is_over_asks_for_no_more_turns() {
    let listener = Listener::new(None, 7, 0);
    let mut a = Shard::new(config(1, Vec::new()), vec![Box::new(Discard)]);
    let mut b = Shard::new(config(2, vec![listener]), vec![Box::new(Discard)]);
    let open = Command::Connect { remote: addr(2), remote_port: 7, service: 0 };
    a.on_command(open, Instant::ZERO);
    run(&mut a, &mut b, Instant::from_millis(1_000));
    let now = Instant::from_millis(1_000);
    b.on_command(Command::Neighbour { addr: addr(1), mac: None }, now);
    b.on_command(Command::Shutdown { deadline: now }, now);
    let mut turns = 0;
    let mut wire = Wire(Vec::new(), vec![0; FRAME_LEN]);
    while b.next_deadline().is_some_and(|next| next <= now) && turns < 10 {
        b.on_timers(now);
        b.drain(&mut wire, now);
        turns += 1;
    }
    assert!(turns < 10, "a worker would spin until the next hop is given up");
}
