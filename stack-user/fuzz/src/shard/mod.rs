//! A whole shard, fed with frames: valid handshakes, what follows them, what nearly follows them, and
//! anything at all; with timers, commands and a user between. No frame in any order panics, loops, or
//! leaves anything behind.

mod frames;
mod puppet;

use core::net::Ipv4Addr;
use std::sync::Arc;

use sluice::counters::Counter;
use sluice::service::{Chargen, Discard, Echo};
use sluice::shard::{
    BATCH, Command, ConnId, FRAME_LEN, Limits, LocalAddr, Open, Route, Secrets, Shard, ShardConfig,
    Transmit,
};
use sluice::tables::listeners::{Accepts, Listener, ListenerId};
use sluice::tcp::State;
use sluice::time::{Duration, Instant};
use sluice::wire::{Addr, MacAddr};

use self::frames::{Host, OURS, Peers, on_link};
use self::puppet::Puppet;
use super::settings;
use super::source::Source;

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let mut world = World::new(&mut source);
    let mut steps = 0;
    while !source.is_spent() && steps < MOST_STEPS {
        world.step(&mut source);
        steps += 1;
    }
    world.finish();
}

struct World {
    shard: Shard,
    now: Instant,
    peers: Peers,
    /// Frames that arrive in the next turn.
    arriving: Vec<Vec<u8>>,
    tx: Tx,
    listeners: Vec<ListenerId>,
    opened: Vec<ConnId>,
}

/// The frames of a turn.
struct Tx {
    frames: Vec<Vec<u8>>,
    frame: Vec<u8>,
    slots: usize,
}

impl Transmit for Tx {
    fn reserve(&mut self) -> Option<&mut [u8]> {
        (self.frames.len() < self.slots).then_some(&mut self.frame[..])
    }

    fn commit(&mut self, start: usize, len: usize) {
        self.frames.push(self.frame[start..start + len].to_vec());
        self.frame.fill(0xa5);
    }
}

impl World {
    fn new(source: &mut Source<'_>) -> Self {
        let mut config = settings::config(source);
        if config.check().is_err() {
            config = Default::default();
        }
        let puppet = Puppet::new(source.u64());
        let services: [Box<dyn sluice::service::Service>; 4] =
            [Box::new(puppet), Box::new(Echo), Box::new(Discard), Box::new(Chargen)];
        let mut shard = Shard::new(shard_config(config), services.into());
        let on_call =
            Listener { accepts: Accepts::OnCall, backlog: 1, ..Listener::new(None, 8, 0) };
        let now = Instant::from_millis(source.u32().into());
        let id = shard.listen(on_call, now).expect("the port is free");
        let tx = Tx { frames: Vec::new(), frame: vec![0xa5; FRAME_LEN], slots: 64 };
        let (arriving, opened) = (Vec::new(), Vec::new());
        Self { shard, now, peers: Peers::default(), arriving, tx, listeners: vec![id], opened }
    }

    fn step(&mut self, source: &mut Source<'_>) {
        match source.below(16) {
            0..8 => {
                let frame = self.peers.segment(source);
                self.arrive(frame, source);
            }
            8 => {
                let frame = self.peers.discovery(source);
                self.arrive(frame, source);
            }
            9 => {
                let frame = self.peers.icmp(source);
                self.arrive(frame, source);
            }
            10 => self.arriving.push(frames::raw(source)),
            11 | 12 => self.command(source),
            13 => {
                if let Some(next) = self.shard.next_deadline() {
                    self.now = self.now.max(next);
                }
            }
            14 => self.now = self.now + Duration::from_micros(source.scaled(27)),
            _ => self.tx.slots = source.below(8) * 16,
        }
        if self.arriving.len() == BATCH || source.below(4) != 0 {
            self.turn();
        }
    }

    /// A frame as it is, or with some octets changed.
    fn arrive(&mut self, mut frame: Vec<u8>, source: &mut Source<'_>) {
        if source.below(16) == 0 {
            for _ in 0..source.below(4) {
                let at = source.below(frame.len());
                frame[at] ^= source.u8();
            }
        }
        if source.below(16) == 0 {
            frame.truncate(source.below(frame.len()).max(1));
        }
        self.arriving.push(frame);
    }

    fn turn(&mut self) {
        let frames: Vec<&[u8]> = self.arriving.iter().map(Vec::as_slice).collect();
        self.shard.on_frames(&frames, &mut |_, _| {}, self.now);
        self.arriving.clear();
        if self.shard.next_deadline().is_some_and(|next| next <= self.now) {
            self.shard.on_timers(self.now);
        }
        self.shard.drain(&mut self.tx, self.now);
        for frame in core::mem::take(&mut self.tx.frames) {
            self.peers.on_frame(&frame);
        }
        if !self.shard.has_work() {
            self.shard.assert_sound(self.now);
        }
    }

    fn command(&mut self, source: &mut Source<'_>) {
        let now = self.now;
        match source.below(12) {
            0 => {
                let remote = Host::any(source).addr();
                let connect =
                    Command::Connect { remote, remote_port: 9, service: source.u16() % 5 };
                self.shard.on_command(connect, now);
            }
            1 | 2 => self.open(source),
            3 => {
                let addr = Host::any(source).addr();
                let mac = source.option(|source| MacAddr([2, 0, 0, 0, 1, source.u8()]));
                self.shard.on_command(Command::Neighbour { addr, mac }, now);
            }
            4 => self.shard.on_command(Command::Routes(routes(source.bool())), now),
            5 => while self.shard.poll_request().is_some() {},
            6 => {
                let at = source.below(self.listeners.len());
                if let Some(id) = self.shard.accept(self.listeners[at], now) {
                    self.opened.push(id);
                }
            }
            7 => self.relisten(source),
            8 if source.below(64) == 0 => {
                let deadline = now + Duration::from_millis(source.scaled(14));
                self.shard.on_command(Command::Shutdown { deadline }, now);
            }
            _ => self.use_connection(source),
        }
    }

    fn open(&mut self, source: &mut Source<'_>) {
        let open = Open {
            local: source.option(|source| local(source.below(3) as u8 + 1)),
            local_port: source.option(|source| 7 + source.u16() % 4),
            remote: Host::any(source).addr(),
            remote_port: 7 + source.u16() % 4,
            service: source.u16() % 5,
            settings: Vec::new(),
            user: 0,
        };
        let id = self.shard.open(&open, self.now);
        self.opened.extend(id);
    }

    fn relisten(&mut self, source: &mut Source<'_>) {
        let at = source.below(self.listeners.len());
        if self.shard.unlisten(self.listeners[at], self.now) && self.listeners.len() > 1 {
            self.listeners.remove(at);
        }
        let listener = Listener {
            backlog: source.below(4) as u32,
            accepts: if source.bool() { Accepts::OnCall } else { Accepts::AtOnce },
            defers_accept: source.option(|source| Duration::from_millis(source.scaled(16))),
            ..Listener::new(
                source.option(|source| local(source.below(3) as u8 + 1)),
                6 + source.u16() % 4,
                source.u16() % 5,
            )
        };
        self.listeners.extend(self.shard.listen(listener, self.now));
    }

    fn use_connection(&mut self, source: &mut Source<'_>) {
        if self.opened.is_empty() {
            return;
        }
        let at = source.below(self.opened.len());
        let (operation, octets) = (source.below(6), source.scaled(15) as usize);
        let used = self.shard.with(self.opened[at], self.now, |conn| match operation {
            0 => conn.close(),
            1 => conn.abort(),
            2 => conn.resume(),
            3 => conn.set_timer(Some(Duration::from_micros(octets as u64))),
            _ => drop(conn.send(&vec![7; octets])),
        });
        if used.is_none() {
            self.opened.swap_remove(at);
        }
    }

    /// The shard shuts down; once its time and 2MSL have passed nothing is left.
    fn finish(mut self) {
        self.tx.slots = 1 << 16;
        self.turn();
        let deadline = self.now + Duration::from_secs(5);
        self.shard.on_command(Command::Shutdown { deadline }, self.now);
        self.turn();
        let mut turns = 0;
        while let Some(next) = self.shard.next_deadline() {
            self.now = self.now.max(next);
            self.turn();
            turns += 1;
            assert!(turns < MOST_TURNS, "timers without end");
        }
        assert!(self.shard.is_idle(), "connections are left");
        assert_eq!(self.shard.flows(), 0, "entries are left in the flow table");
        assert_eq!(self.shard.buffered(), 0, "buffers are left");
        for state in State::ALL.into_iter().filter(|state| *state != State::Listen) {
            assert_eq!(self.shard.census()[state as usize], 0, "left in {}", state.name());
        }
        assert_eq!(self.shard.counters()[Counter::FramesOut], self.peers.seen, "frames");
    }
}

fn shard_config(tcp: sluice::tcp::Config) -> ShardConfig {
    ShardConfig {
        index: 0,
        mac: OURS,
        mtu: 1500,
        vlan: None,
        addrs: vec![
            LocalAddr { addr: local(1), is_owned: true },
            LocalAddr { addr: local(2), is_owned: false },
            LocalAddr { addr: on_link(1), is_owned: true },
            LocalAddr { addr: on_link(2), is_owned: false },
        ],
        routes: routes(true),
        listeners: (0..3).map(|n| Listener::new(None, 7 + 2 * n, n)).collect(),
        local_ports: 7..=10,
        verify_checksums: true,
        secrets: Secrets { flow: [1; 16], isn: [2; 16], port: [4; 16] },
        limits: Limits {
            connections: 6,
            half_open: 3,
            time_wait: 3,
            neighbours: 4,
            replies: 8,
            resets_per_second: 20,
            icmp_errors_per_second: 20,
            buffers: 1 << 20,
            orphans: 2,
        },
        tcp,
    }
}

fn local(n: u8) -> Addr {
    Ipv4Addr::new(10, 0, 0, n).into()
}

fn routes(has_gateway: bool) -> Arc<[Route]> {
    let prefix = |prefix: [u8; 4], prefix_len, gateway| Route {
        prefix: Ipv4Addr::from(prefix).into(),
        prefix_len,
        gateway,
    };
    let link = prefix([10, 0, 0, 0], 120, None);
    let link_v6 = Route { prefix: on_link(0), prefix_len: 64, gateway: None };
    match has_gateway {
        true => [link, link_v6, prefix([0; 4], 96, Some(local(200)))].into(),
        false => [link, link_v6].into(),
    }
}

const MOST_STEPS: usize = 1_000;
const MOST_TURNS: usize = 10_000;
