//! Sluice's shard as its worker drives it.

use std::sync::Arc;

use anyhow::{Result, ensure};
use sluice::service::{Connection, Service};
use sluice::shard::{Limits, LocalAddr, Route, Secrets, Shard, ShardConfig, Transmit};
use sluice::tables::listeners::Listener;
use sluice::tcp;
use sluice::time::{Duration, Instant};
use sluice::wire::Addr;
use sluice::wire::tcp::Flags;

use super::outbox::Outbox;
use super::peer::{self, Flow};
use super::{REPLY, REQUEST, Stack, scene, window};

/// A shard and the frames that it sends.
pub struct Ours {
    shard: Shard,
    outbox: Outbox,
}

impl Transmit for Outbox {
    fn reserve(&mut self) -> Option<&mut [u8]> {
        self.next()
    }

    fn commit(&mut self, start: usize, len: usize) {
        Self::commit(self, start, len);
    }
}

/// The application.
struct App;

impl Service for App {
    fn on_data(&mut self, conn: &mut dyn Connection, data: &[u8]) -> usize {
        if data.first() == Some(&REQUEST) {
            conn.send(&REPLY);
        }
        data.len()
    }
}

impl Stack for Ours {
    const NAME: &'static str = crate::micro::OURS;

    fn new(conns: usize) -> Self {
        let shard = Shard::new(config(conns), vec![Box::new(App)]);
        Self { shard, outbox: Outbox::new(scene::ROUND) }
    }

    fn adopt(&mut self, flow: &mut Flow, now: u64) -> Result<()> {
        let syn = flow.say(Flags::SYN, &[], now);
        self.turn(&[&syn], &[], now);
        let sent: Vec<Vec<u8>> = self.outbox.frames().map(<[u8]>::to_vec).collect();
        self.outbox.clear();
        ensure!(sent.len() == 1, "{} frames answer a SYN", sent.len());
        scene::learn(flow, &sent[0])?;
        let ack = flow.say(Flags::ACK, &[], now);
        self.turn(&[&ack], &[], now);
        Ok(())
    }

    fn expect(&mut self, _flows: core::ops::Range<usize>) {}

    #[inline]
    fn turn(&mut self, frames: &[&[u8]], _flows: &[usize], now: u64) {
        let now = Instant::from_nanos(now);
        self.shard.on_frames(frames, &mut |_, _| {}, now);
        if self.shard.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.shard.on_timers(now);
        }
        self.shard.drain(&mut self.outbox, now);
    }

    fn refresh(&mut self, now: u64) {
        self.turn(&[&peer::arp_reply()], &[], now);
    }

    fn settle(&mut self, now: u64) {
        let time = Instant::from_nanos(now);
        // A turn runs a bounded number of them.
        while self.shard.next_deadline().is_some_and(|deadline| deadline <= time) {
            self.turn(&[], &[], now);
        }
    }

    fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    fn open(&self) -> usize {
        self.shard.flows()
    }

    fn held(&self, _flows: &[usize]) -> usize {
        self.shard.buffered()
    }
}

fn config(conns: usize) -> ShardConfig {
    let everywhere = std::net::Ipv4Addr::UNSPECIFIED.into();
    let gateway: Addr = peer::GATEWAY.into();
    ShardConfig {
        index: 0,
        mac: peer::SERVER_MAC,
        mtu: 1500,
        vlan: None,
        addrs: vec![LocalAddr { addr: peer::SERVER.into(), is_owned: true }],
        routes: Arc::new([Route { prefix: everywhere, prefix_len: 96, gateway: Some(gateway) }]),
        listeners: vec![Listener::new(None, peer::PORT, 0)],
        local_ports: 40_000..=49_999,
        verify_checksums: true,
        secrets: Secrets { flow: [1; 16], isn: [2; 16], port: [4; 16] },
        limits: Limits { connections: conns + 1_024, ..Limits::default() },
        tcp: tcp::Config {
            nodelay: true,
            delayed_ack: Duration::ZERO,
            receive_window: window(conns) as u32,
            ..tcp::Config::default()
        },
    }
}
