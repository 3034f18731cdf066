//! smoltcp in memory, used as its documentation asks: ingress, the application, egress.
//!
//! smoltcp looks through all its sockets for each frame and each turn. The connections that stay are
//! opened in a set of one and moved, which would otherwise take minutes.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, ensure};
use sluice::wire::tcp::Flags;
use smoltcp::iface::{
    Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet,
};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr};

use super::outbox::Outbox;
use super::peer::{self, Flow};
use super::{REPLY, REQUEST, Stack, scene, window};

/// An interface, its sockets and the frames that it sends.
pub struct Smol {
    interface: Interface,
    sockets: SocketSet<'static>,
    /// The socket of each flow.
    handles: Vec<SocketHandle>,
    outbox: Outbox,
    conns: usize,
}

/// The frames of one turn, and where those of the stack go.
struct Memory<'a> {
    frames: &'a [&'a [u8]],
    outbox: &'a mut Outbox,
}

struct Received<'a>(&'a [u8]);

struct Sending<'a>(&'a mut Outbox);

impl RxToken for Received<'_> {
    #[inline]
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(self.0)
    }
}

impl TxToken for Sending<'_> {
    #[inline]
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let buffer = self.0.next().expect("a token is given only where there is a buffer");
        let result = fill(&mut buffer[..len]);
        self.0.commit(0, len);
        result
    }
}

impl Device for Memory<'_> {
    type RxToken<'a>
        = Received<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Sending<'a>
    where
        Self: 'a;

    #[inline]
    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        self.outbox.next()?;
        let (first, rest) = self.frames.split_first()?;
        self.frames = rest;
        Some((Received(first), Sending(self.outbox)))
    }

    #[inline]
    fn transmit(&mut self, _now: Instant) -> Option<Sending<'_>> {
        self.outbox.next()?;
        Some(Sending(self.outbox))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        // Checksums are verified and made in software unless something else is said.
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

impl Smol {
    /// A socket that listens, set up as ours is.
    fn listening(&self) -> Socket<'static> {
        let buffer = |len: usize| SocketBuffer::new(vec![0; len]);
        let sending = if self.conns == 1 { 64 << 10 } else { 4 << 10 };
        let mut socket = Socket::new(buffer(window(self.conns)), buffer(sending));
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        socket.set_tsval_generator(Some(stamp));
        listen(&mut socket);
        socket
    }

    fn turn_with(&mut self, frames: &[&[u8]], sockets: &mut SocketSet<'static>, now: u64) {
        let time = time(now);
        let mut device = Memory { frames, outbox: &mut self.outbox };
        self.interface.poll(time, &mut device, sockets);
    }
}

impl Stack for Smol {
    const NAME: &'static str = "smoltcp";

    fn round(conns: usize) -> usize {
        if conns > 1_000 { scene::BATCH } else { scene::ROUND }
    }

    fn new(conns: usize) -> Self {
        let mut outbox = Outbox::new(scene::ROUND);
        let mut device = Memory { frames: &[], outbox: &mut outbox };
        let mut config = Config::new(EthernetAddress(peer::SERVER_MAC.0).into());
        config.random_seed = 7;
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        interface.update_ip_addrs(|addrs| {
            let pushed = addrs.push(IpCidr::new(peer::SERVER.into(), 24));
            debug_assert!(pushed.is_ok(), "there is room for one address");
        });
        let routed = interface.routes_mut().add_default_ipv4_route(peer::GATEWAY);
        debug_assert!(routed.is_ok(), "there is room for one route");
        let sockets = SocketSet::new(Vec::new());
        Self { interface, sockets, handles: Vec::new(), outbox, conns }
    }

    fn adopt(&mut self, flow: &mut Flow, now: u64) -> Result<()> {
        if self.handles.is_empty() {
            self.refresh(now);
        }
        let mut alone = SocketSet::new(Vec::new());
        let handle = alone.add(self.listening());
        let syn = flow.say(Flags::SYN, &[], now);
        self.turn_with(&[&syn], &mut alone, now);
        let sent: Vec<Vec<u8>> = self.outbox.frames().map(<[u8]>::to_vec).collect();
        self.outbox.clear();
        ensure!(sent.len() == 1, "{} frames answer a SYN", sent.len());
        scene::learn(flow, &sent[0])?;
        let ack = flow.say(Flags::ACK, &[], now);
        self.turn_with(&[&ack], &mut alone, now);
        let smoltcp::socket::Socket::Tcp(socket) = alone.remove(handle);
        self.handles.push(self.sockets.add(socket));
        Ok(())
    }

    fn expect(&mut self, flows: core::ops::Range<usize>) {
        while self.handles.len() > flows.end
            && let Some(handle) = self.handles.pop()
        {
            self.sockets.remove(handle);
        }
        while self.handles.len() < flows.end {
            let socket = self.listening();
            self.handles.push(self.sockets.add(socket));
        }
        for handle in &self.handles[flows] {
            let socket = self.sockets.get_mut::<Socket<'_>>(*handle);
            if socket.state() == State::Closed {
                listen(socket);
            }
        }
    }

    #[inline]
    fn turn(&mut self, frames: &[&[u8]], flows: &[usize], now: u64) {
        STAMP.store((now / 1_000_000) as u32 + 1, Ordering::Relaxed);
        let time = time(now);
        let mut device = Memory { frames, outbox: &mut self.outbox };
        let Self { interface, sockets, handles, .. } = self;
        interface.poll_maintenance(time);
        while interface.poll_ingress_single(time, &mut device, sockets)
            != PollIngressSingleResult::None
        {}
        for flow in flows {
            serve(sockets.get_mut(handles[*flow]));
        }
        while interface.poll_egress(time, &mut device, sockets) != PollResult::None {}
    }

    fn refresh(&mut self, now: u64) {
        self.turn_with(&[&peer::arp_reply()], &mut SocketSet::new(Vec::new()), now);
    }

    fn settle(&mut self, now: u64) {
        self.turn(&[], &[], now);
    }

    fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    fn open(&self) -> usize {
        let is_open = |handle: &&SocketHandle| {
            let state = self.sockets.get::<Socket<'_>>(**handle).state();
            !matches!(state, State::Closed | State::Listen)
        };
        self.handles.iter().filter(is_open).count()
    }

    fn held(&self, flows: &[usize]) -> usize {
        let held = |flow: &usize| {
            let socket = self.sockets.get::<Socket<'_>>(self.handles[*flow]);
            socket.recv_queue() + socket.send_queue()
        };
        flows.iter().map(held).sum()
    }
}

/// The application of one socket.
#[inline]
fn serve(socket: &mut Socket<'_>) {
    while socket.can_recv() {
        // Requests that came together are answered each.
        let taken = socket.recv(|text| match text.first() {
            Some(&REQUEST) => (1, true),
            _ => (text.len(), false),
        });
        if taken == Ok(true) {
            let sent = socket.send_slice(&REPLY);
            debug_assert_eq!(sent, Ok(REPLY.len()));
        }
    }
    if socket.state() == State::CloseWait {
        socket.close();
    }
}

fn listen(socket: &mut Socket<'_>) {
    let listening = socket.listen(peer::PORT);
    debug_assert!(listening.is_ok(), "a closed socket listens");
}

fn time(now: u64) -> Instant {
    Instant::from_micros((now / 1_000) as i64)
}

/// smoltcp asks a plain function for the timestamp.
fn stamp() -> u32 {
    STAMP.load(Ordering::Relaxed)
}

static STAMP: AtomicU32 = AtomicU32::new(1);
