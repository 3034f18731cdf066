//! One end of the network: a shard, its configuration, and the frames that it sends.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use sluice::counters::Counter;
use sluice::service::Service;
use sluice::shard::{
    BATCH, Command, FRAME_LEN, Limits, LocalAddr, RUN_HEAD, Route, Secrets, Shard, ShardConfig,
    Transmit,
};
use sluice::tables::listeners::{Listener, ListenerId};
use sluice::tcp::{self, State};
use sluice::time::Instant;
use sluice::wire::run::Run;
use sluice::wire::{Addr, MacAddr};

use crate::FAMILY;
use crate::seed::Rng;

/// A shard on the network.
pub(crate) struct Node {
    pub(crate) shard: Shard,
    /// A listener whose connections wait to be accepted, and how many of them still are.
    pub(crate) on_call: Option<(ListenerId, usize)>,
    outbox: Outbox,
}

/// The frames of one turn.
struct Outbox {
    frames: Vec<Vec<u8>>,
    frame: Vec<u8>,
    head: [u8; RUN_HEAD],
    /// How many frames a turn may send.
    slots: usize,
}

impl Transmit for Outbox {
    fn reserve(&mut self) -> Option<&mut [u8]> {
        (self.frames.len() < self.slots).then_some(&mut self.frame[..])
    }

    fn commit(&mut self, start: usize, len: usize) {
        self.frames.push(self.frame[start..start + len].to_vec());
        // What the next frame does not write must not look like the last one.
        self.frame.fill(0xa5);
    }

    fn reserve_run(&mut self) -> Option<(&mut [u8], usize)> {
        Some((&mut self.head, self.slots.saturating_sub(self.frames.len())))
    }

    fn commit_run(&mut self, start: usize, text: &[&[u8]], run: Run) {
        let whole = [&[&self.head[start..start + run.head]], text].concat().concat();
        for n in 0..run.count(whole.len()) {
            let len = run.cut(&whole, n, &mut self.frame).expect("a segment fits a frame");
            self.frames.push(self.frame[..len].to_vec());
        }
        self.head.fill(0xa5);
    }
}

impl Node {
    pub(crate) fn new(config: ShardConfig, services: Vec<Box<dyn Service>>) -> Self {
        let len = FRAME_LEN.max(usize::from(config.mtu) + 128);
        let outbox = Outbox {
            frames: Vec::new(),
            frame: vec![0xa5; len],
            head: [0xa5; RUN_HEAD],
            slots: 48,
        };
        Self { shard: Shard::new(config, services), on_call: None, outbox }
    }

    /// How many frames a turn may send from now on.
    #[allow(dead_code, reason = "floods are of IPv4")]
    pub(crate) fn set_slots(&mut self, slots: usize) {
        self.outbox.slots = slots;
    }

    /// Opens a connection from service 0 to a port of the other node.
    pub(crate) fn connect(&mut self, to: u8, remote_port: u16, now: Instant) {
        let connect = Command::Connect { remote: addr(to), remote_port, service: 0 };
        self.shard.on_command(connect, now);
    }

    /// One turn of a worker; returns the frames that it sends.
    pub(crate) fn turn(&mut self, arrived: &[Vec<u8>], now: Instant) -> Vec<Vec<u8>> {
        for batch in arrived.chunks(BATCH) {
            let frames: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
            self.shard.on_frames(&frames, &mut |_, _| {}, now);
        }
        if self.shard.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.shard.on_timers(now);
        }
        if let Some((listener, left)) = &mut self.on_call {
            while *left > 0 && self.shard.accept(*listener, now).is_some() {
                *left -= 1;
            }
        }
        self.shard.drain(&mut self.outbox, now);
        std::mem::take(&mut self.outbox.frames)
    }

    /// Frames dropped because they were damaged on the way.
    pub(crate) fn damaged(&self) -> u64 {
        let reasons = [
            Counter::DropIpHeader,
            Counter::DropTcpHeader,
            Counter::DropTcpOption,
            Counter::DropChecksum,
        ];
        reasons.iter().map(|reason| self.count(*reason)).sum()
    }

    pub(crate) fn count(&self, counter: Counter) -> u64 {
        self.shard.counters()[counter]
    }

    /// How many connections and records are in `state`.
    pub(crate) fn in_state(&self, state: State) -> u32 {
        self.shard.census()[state as usize]
    }

    /// Asserts that no connection, record or buffer is left.
    pub(crate) fn assert_clean(&self) {
        for state in State::ALL.into_iter().filter(|state| *state != State::Listen) {
            assert_eq!(self.in_state(state), 0, "left in {}", state.name());
        }
        assert_eq!(self.shard.flows(), 0, "entries left in the flow table");
        assert_eq!(self.shard.buffered(), 0, "buffer memory left in use");
        assert!(self.shard.is_idle());
    }
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "each network is of one family")]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// The octets of the headers in front of a segment's options and text.
    pub(crate) const fn headers(self) -> usize {
        match self {
            Self::V4 => 40,
            Self::V6 => 60,
        }
    }

    /// What counts a node's questions for neighbours.
    pub(crate) const fn question(self) -> Counter {
        match self {
            Self::V4 => Counter::ArpRequests,
            Self::V6 => Counter::SolicitationsOut,
        }
    }
}

/// The address of node `n`.
pub(crate) fn addr(n: u8) -> Addr {
    match FAMILY {
        Family::V4 => Ipv4Addr::new(10, 0, 0, n).into(),
        Family::V6 => Addr(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into()).octets()),
    }
}

/// The configuration of node `n`, which listens on [`PORT`] for service 0.
pub(crate) fn config(n: u8, seed: u64) -> ShardConfig {
    let mut rng = Rng::new(seed ^ u64::from(n) << 32);
    let prefix_len = if FAMILY == Family::V4 { 120 } else { 64 };
    let (flow, isn, port) = (rng.key(), rng.key(), rng.key());
    ShardConfig {
        index: 0,
        mac: MacAddr([2, 0, 0, 0, 0, n]),
        mtu: 1500,
        vlan: None,
        addrs: vec![LocalAddr { addr: addr(n), is_owned: true }],
        routes: Arc::new([Route { prefix: addr(0), prefix_len, gateway: None }]),
        listeners: vec![Listener::new(None, PORT, 0)],
        local_ports: 40_000..=49_999,
        verify_checksums: true,
        secrets: Secrets { flow, isn, port },
        limits: Limits {
            connections: 2_048,
            half_open: 1_024,
            time_wait: 2_048,
            neighbours: 16,
            buffers: 256 << 20,
            ..Limits::default()
        },
        tcp: tcp::Config::default(),
    }
}

/// The port that the nodes listen on.
pub(crate) const PORT: u16 = 700;
