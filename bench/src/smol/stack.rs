//! smoltcp as the stack of a worker: an echo server whose sockets are armed again at once.
//!
//! smoltcp has no listener: each connection takes a socket that listens. One listens at a time, and the
//! next one is there before the next frame is looked at, so that no SYN finds none and smoltcp, which
//! looks through all sockets for each frame, has no more of them than connections.

use std::net::Ipv4Addr;
use std::time::Duration;

use sluice::counters::Counters;
use sluice::datapath::Stack;
use sluice::shard::{Command, Elsewhere, Request, Transmit};
use sluice::tcp::State as TcpState;
use sluice::time::Instant;
use sluice::wire::{MacAddr, arp, ethernet};
use smoltcp::iface::{
    Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet,
};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::wire::{EthernetAddress, IpCidr};

use super::device::{Egress, Ingress, Replies};
use crate::topology::{CLIENT_MAC, SERVER};

/// An interface with its sockets.
pub(super) struct Smol {
    interface: Interface,
    sockets: SocketSet<'static>,
    /// The socket that listens.
    listening: SocketHandle,
    /// Those of connections.
    open: Vec<SocketHandle>,
    /// Sockets whose connections have ended.
    free: Vec<Socket<'static>>,
    replies: Replies,
    /// A reply of ARP that names the client's end.
    introduction: Vec<u8>,
    /// When smoltcp is told it next.
    introduction_due: Instant,
    has_work: bool,
    /// When smoltcp's timers are looked at next.
    due: Option<Instant>,
    port: u16,
    mtu: u16,
    counters: Counters,
}

impl Smol {
    /// An echo server on `port` of the server's address, with the interface's address and MTU.
    pub(super) fn new((mac, mtu): ([u8; 6], u16), port: u16) -> Self {
        let mut replies = Replies::default();
        let mut device = Ingress { frames: &[], replies: &mut replies, mtu };
        let config = Config::new(EthernetAddress(mac).into());
        let mut interface = Interface::new(config, &mut device, smoltcp::time::Instant::ZERO);
        interface.update_ip_addrs(|addrs| {
            let pushed = addrs.push(IpCidr::new(SERVER.into(), PREFIX_LEN));
            debug_assert!(pushed.is_ok(), "there is room for one address");
        });
        // smoltcp remembers eight neighbours at most; the clients are more, behind one link-layer
        // address.
        let routed = interface.routes_mut().add_default_ipv4_route(GATEWAY);
        debug_assert!(routed.is_ok(), "there is room for one route");
        let mut sockets = SocketSet::new(Vec::new());
        let listening = sockets.add(listen(None, port));
        Self {
            interface,
            sockets,
            listening,
            open: Vec::new(),
            free: Vec::new(),
            replies,
            introduction: introduction(MacAddr(mac)),
            introduction_due: Instant::ZERO,
            has_work: false,
            due: None,
            port,
            mtu,
            counters: Counters::default(),
        }
    }

    /// Gives the frames to smoltcp, one after another; after each a socket listens.
    fn take(&mut self, frames: &[&[u8]], now: Instant) {
        for frame in frames {
            let Self { interface, sockets, replies, mtu, .. } = self;
            let frames = core::slice::from_ref(frame);
            let mut device = Ingress { frames, replies, mtu: *mtu };
            let found = interface.poll_ingress_single(time(now), &mut device, sockets);
            if found == PollIngressSingleResult::SocketStateChanged {
                self.arm();
            }
        }
    }

    /// Has another socket listen where the one that did has found its connection.
    fn arm(&mut self) {
        if self.sockets.get::<Socket<'_>>(self.listening).state() == State::Listen {
            return;
        }
        self.open.push(self.listening);
        self.listening = self.sockets.add(listen(self.free.pop(), self.port));
    }

    /// The application of all connections; sockets whose connections have ended are free again.
    fn serve(&mut self) {
        let mut at = 0;
        while let Some(handle) = self.open.get(at) {
            let socket = self.sockets.get_mut::<Socket<'_>>(*handle);
            echo(socket);
            // A reset leads one whose handshake was under way back to listening.
            if matches!(socket.state(), State::Closed | State::Listen) {
                let smoltcp::socket::Socket::Tcp(mut socket) = self.sockets.remove(*handle);
                socket.abort();
                self.free.push(socket);
                self.open.swap_remove(at);
            } else {
                at += 1;
            }
        }
    }

    /// Sends what smoltcp has to send; whether the ring had room for all.
    fn send(&mut self, tx: &mut dyn Transmit, now: Instant) -> bool {
        if !self.replies.flush(tx) {
            return false;
        }
        let mut device = Egress { tx, is_full: false, mtu: self.mtu };
        loop {
            let Self { interface, sockets, .. } = self;
            let sent = interface.poll_egress(time(now), &mut device, sockets);
            if device.is_full || sent == PollResult::None {
                return !device.is_full;
            }
        }
    }
}

impl Stack for Smol {
    /// It opens nothing.
    fn open_wanted(&mut self, _now: Instant) -> usize {
        0
    }

    fn on_frames(
        &mut self,
        frames: &[&[u8]],
        _elsewhere: &mut dyn FnMut(usize, Elsewhere),
        now: Instant,
    ) {
        if now >= self.introduction_due {
            // smoltcp forgets a neighbour after a minute, and its questions' answers are the kernel's.
            self.introduction_due = now + INTRODUCTION;
            let introduction = core::mem::take(&mut self.introduction);
            self.take(&[&introduction], now);
            self.introduction = introduction;
        }
        self.take(frames, now);
        self.serve();
        self.has_work = true;
    }

    fn on_handed_over(&mut self, _frames: &[&[u8]], _now: Instant) {
        debug_assert!(false, "there is one worker");
    }

    fn on_timers(&mut self, _now: Instant) {
        self.has_work = true;
    }

    fn on_command(&mut self, _command: Command, _now: Instant) {}

    fn drain(&mut self, tx: &mut dyn Transmit, now: Instant) {
        self.has_work = !self.send(tx, now);
        // Asking smoltcp for its next deadline means to look through all sockets again; a look now and
        // then is cheaper, and no retransmission is that urgent.
        self.due = (!self.open.is_empty()).then(|| now + TICK);
    }

    fn poll_request(&mut self) -> Option<Request> {
        None
    }

    fn has_work(&self) -> bool {
        self.has_work
    }

    fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.due
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn census(&self) -> [u32; TcpState::ALL.len()] {
        [0; TcpState::ALL.len()]
    }
}

/// A socket that listens, of those that are free or new.
fn listen(free: Option<Socket<'static>>, port: u16) -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; BUFFER]);
    let mut socket = free.unwrap_or_else(|| {
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket
    });
    let listening = socket.listen(port);
    debug_assert!(listening.is_ok(), "a closed socket listens");
    socket
}

/// Every byte goes back; the peer's FIN is answered by ours once all went.
fn echo(socket: &mut Socket<'_>) {
    let mut text = [0; 2_048];
    while socket.can_recv() && socket.can_send() {
        let room = (socket.send_capacity() - socket.send_queue()).min(text.len());
        let Ok(got) = socket.recv_slice(&mut text[..room]) else { break };
        let sent = socket.send_slice(&text[..got]);
        debug_assert_eq!(sent, Ok(got), "there was room");
    }
    if socket.state() == State::CloseWait && !socket.can_recv() {
        socket.close();
    }
}

fn introduction(to: MacAddr) -> Vec<u8> {
    let mut bytes = vec![0; ethernet::HEADER_LEN + arp::LEN];
    let (header, rest) = bytes.split_at_mut(ethernet::HEADER_LEN);
    let from = MacAddr(CLIENT_MAC);
    ethernet::emit(header, to, from, ethernet::ETHERTYPE_ARP, None);
    let reply = arp::Packet {
        op: arp::Op::Reply,
        sender_mac: from,
        sender_ip: GATEWAY,
        target_mac: to,
        target_ip: SERVER,
    };
    reply.emit(rest);
    bytes
}

fn time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(now.as_micros() as i64)
}

/// The network in which smoltcp believes itself: the clients are outside.
const PREFIX_LEN: u8 = 24;
/// The router that smoltcp sends to; it has the client's link-layer address.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// How often smoltcp is told of it.
const INTRODUCTION: Duration = Duration::from_secs(20);
/// How often smoltcp's timers are looked at.
const TICK: Duration = Duration::from_millis(10);
/// Bytes of each socket's buffers.
const BUFFER: usize = 4 << 10;
