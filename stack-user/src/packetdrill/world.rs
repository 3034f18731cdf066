//! The shard, its clock's reading, and the sockets above it.
//!
//! Owns what ties them: frames around the tool's IP packets, what the shard's service hears, and what
//! every socket looks like after each step ([`View`]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::clock::Parking;
use super::epoll::Epoll;
use super::flags::Flags;
use super::socket::{Phase, Role, Socket, View};
use super::sysctl::Sysctl;
use crate::service::{Connection, Service};
use crate::shard::{
    Command, ConnId, FRAME_LEN, Limits, LocalAddr, Route, Secrets, Shard, ShardConfig, Transmit,
};
use crate::tcp::CloseReason;
use crate::time::Instant;
use crate::wire::{Addr, MacAddr};

/// Everything behind the interface.
pub(super) struct World {
    pub shard: Shard,
    /// The clock.
    pub now: Instant,
    pub flags: Flags,
    pub sysctl: Sysctl,
    /// By descriptor.
    pub sockets: BTreeMap<i32, Socket>,
    /// By descriptor.
    pub epolls: BTreeMap<i32, Epoll>,
    /// IP packets that left and when, for `netdev_receive`.
    pub outbox: VecDeque<(Vec<u8>, Instant)>,
    pub parking: Parking,
    addrs: Vec<Addr>,
    heard: Heard,
    /// The word of the newest socket.
    newest: u64,
    frame: Vec<u8>,
}

/// What the service heard, in its order.
type Heard = Arc<Mutex<Vec<News>>>;

enum News {
    /// The connection of this word opened.
    Opened(u64),
    /// Its peer marked an urgent byte.
    Urgent(u64),
    /// It is over.
    Closed(u64, CloseReason),
}

impl World {
    pub(super) fn new(flags: Flags) -> Self {
        let heard = Heard::default();
        let service = Watcher { heard: heard.clone() };
        let local = Addr::from(flags.local);
        let shard = Shard::new(shard_config(&flags, local), vec![Box::new(service)]);
        let mut world = Self {
            shard,
            now: START,
            sysctl: Sysctl::new(flags.follows_sysctl),
            flags,
            sockets: BTreeMap::new(),
            epolls: BTreeMap::new(),
            outbox: VecDeque::new(),
            parking: Parking::default(),
            addrs: vec![local],
            heard,
            newest: 0,
            frame: Vec::new(),
        };
        world.answer_resolution(GATEWAY);
        world
    }

    /// A word for a new socket.
    pub(super) fn new_word(&mut self) -> u64 {
        self.newest += 1;
        self.newest
    }

    /// Serves `addr` too.
    pub(super) fn adopt(&mut self, addr: Addr) {
        if !self.addrs.contains(&addr) {
            self.addrs.push(addr);
            let local = LocalAddr { addr, is_owned: false };
            self.shard.on_command(Command::Address(local), self.now);
        }
    }

    /// An IP packet arrives. The first of an address that the world does not serve tells it to.
    pub(super) fn inject(&mut self, packet: &[u8]) {
        if let Some(to) = packet.get(16..20).filter(|_| packet[0] >> 4 == 4) {
            let to = core::net::Ipv4Addr::new(to[0], to[1], to[2], to[3]);
            if !to.is_multicast() && !to.is_broadcast() && !to.is_unspecified() {
                self.adopt(to.into());
            }
        }
        let kind: [u8; 2] =
            if packet.first().is_some_and(|b| b >> 4 == 6) { [0x86, 0xdd] } else { [0x08, 0x00] };
        self.frame.clear();
        self.frame.extend_from_slice(&OURS.0);
        self.frame.extend_from_slice(&THEIRS.0);
        self.frame.extend_from_slice(&kind);
        self.frame.extend_from_slice(packet);
        let frame = core::mem::take(&mut self.frame);
        self.shard.on_frames(&[&frame], &mut |_, _| {}, self.now);
        self.frame = frame;
    }

    pub(super) fn next_deadline(&self) -> Instant {
        self.shard.next_deadline().unwrap_or(Instant::NEVER)
    }

    /// Does what is due now.
    pub(super) fn on_timers(&mut self) {
        self.shard.on_timers(self.now);
        self.turn();
    }

    /// After anything was done: sends what is owed and looks at every socket.
    pub(super) fn turn(&mut self) {
        while self.shard.has_work() {
            let mut port = Port { outbox: &mut self.outbox, frame: &mut self.frame, now: self.now };
            self.shard.drain(&mut port, self.now);
            while let Some(request) = self.shard.poll_request() {
                let crate::shard::Request::Resolve(addr) = request;
                self.answer_resolution(addr);
            }
        }
        self.hear();
        let fds: Vec<i32> = self.sockets.keys().copied().collect();
        for fd in fds {
            self.look(fd);
        }
    }

    fn answer_resolution(&mut self, addr: Addr) {
        let command = Command::Neighbour { addr, mac: Some(THEIRS) };
        self.shard.on_command(command, self.now);
    }

    /// Tells the sockets what their connections came to.
    fn hear(&mut self) {
        let heard =
            core::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        for news in heard {
            let (News::Opened(word) | News::Urgent(word) | News::Closed(word, _)) = news;
            if let Some(socket) = self.sockets.values_mut().find(|socket| socket.word == word) {
                match news {
                    News::Opened(_) => socket.on_opened(),
                    News::Urgent(_) => socket.on_urgent(),
                    News::Closed(_, reason) => socket.on_closed(reason),
                }
            }
        }
    }

    /// Takes a new view of a socket.
    fn look(&mut self, fd: i32) {
        let Some(socket) = self.sockets.get_mut(&fd) else { return };
        let view = match &socket.role {
            Role::Fresh => View::default(),
            Role::Listening(listener) => {
                View { queued: self.shard.waiting(*listener), ..View::default() }
            }
            Role::Connection { id, phase } => {
                let seen = self.shard.look(*id, self.now, |conn| View::of(conn));
                match seen {
                    Some(view) => view,
                    None if *phase == Phase::Over => View { unread: 0, ..socket.view },
                    None => View::default(),
                }
            }
        };
        socket.on_view(view);
    }

    /// Runs `run` on the connection `id`; `None` when it is over.
    pub(super) fn with<R>(
        &mut self,
        id: ConnId,
        run: impl FnOnce(&mut dyn Connection) -> R,
    ) -> Option<R> {
        self.shard.with(id, self.now, run)
    }
}

/// Hears what becomes of connections, and touches nothing: calls do.
struct Watcher {
    heard: Heard,
}

impl Watcher {
    fn note(&self, news: News) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(news);
    }
}

impl Service for Watcher {
    fn on_connected(&mut self, conn: &mut dyn Connection) {
        self.note(News::Opened(*conn.user()));
    }

    fn on_data(&mut self, _conn: &mut dyn Connection, _data: &[u8]) -> usize {
        0
    }

    fn on_peer_fin(&mut self, _conn: &mut dyn Connection) {}

    fn on_urgent(&mut self, conn: &mut dyn Connection) {
        self.note(News::Urgent(*conn.user()));
    }

    fn on_closed(&mut self, user: u64, reason: CloseReason) {
        self.note(News::Closed(user, reason));
    }
}

/// Where the shard's frames go: to the outbox, without their Ethernet header.
struct Port<'a> {
    outbox: &'a mut VecDeque<(Vec<u8>, Instant)>,
    frame: &'a mut Vec<u8>,
    now: Instant,
}

impl Transmit for Port<'_> {
    fn reserve(&mut self) -> Option<&mut [u8]> {
        self.frame.resize(MOST_FRAME, 0);
        Some(self.frame)
    }

    fn commit(&mut self, start: usize, len: usize) {
        let packet = &self.frame[start + ETHERNET..start + len];
        self.outbox.push_back((packet.to_vec(), self.now));
    }
}

fn shard_config(flags: &Flags, local: Addr) -> ShardConfig {
    let everywhere = Route {
        prefix: Addr::from(core::net::Ipv4Addr::UNSPECIFIED),
        prefix_len: 96,
        gateway: Some(GATEWAY),
    };
    ShardConfig {
        index: 0,
        mac: OURS,
        mtu: flags.mtu,
        vlan: None,
        addrs: vec![LocalAddr { addr: local, is_owned: false }],
        routes: Arc::new([everywhere]),
        listeners: Vec::new(),
        local_ports: 32_768..=60_999,
        verify_checksums: true,
        // A script's run is repeatable, so the keys are not random.
        secrets: Secrets { flow: [1; 16], isn: [2; 16], port: [4; 16] },
        limits: Limits {
            connections: 4096,
            half_open: 4096,
            time_wait: 4096,
            neighbours: 16,
            replies: 1024,
            resets_per_second: 20_000,
            buffers: 64 << 20,
            ..Limits::default()
        },
        tcp: flags.tcp.clone(),
    }
}

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
/// Every peer is behind it: 192.168.255.254, of no meaning outside.
const GATEWAY: Addr = Addr([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 168, 255, 254]);
const ETHERNET: usize = 14;
/// A frame for the largest MTU that the flags allow.
const MOST_FRAME: usize = FRAME_LEN + 9000;
/// Where the clock begins: no time of the stack's is zero.
const START: Instant = Instant::from_millis(10_000);
