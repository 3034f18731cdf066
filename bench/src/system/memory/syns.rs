//! SYNs of hosts that do not answer: each leaves a half-open connection.
//!
//! They come from addresses that the client's kernel does not have, so that it resets nothing.

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use relay::PacketSocket;
use sluice::tcp::HEADROOM;
use sluice::wire::tcp::{Flags, Header, Options, Packet, Timestamps};
use sluice::wire::{Addr, MacAddr, PROTOCOL_TCP, checksum, ethernet, ipv4, tcp};

use crate::clock::{now, pause};
use crate::serve::Service;
use crate::topology::{CLIENT_END, CLIENT_MAC, CLIENTS, SERVER, SERVER_END, SERVER_MAC, Topology};

/// Makes a way back to them, before the server looks for its routes.
pub(super) fn prepare(topology: &Topology) -> Result<()> {
    let via = CLIENTS.first;
    let route = format!("route add {NETWORK} via {via} dev {SERVER_END}");
    topology.server.ip(&route).map(|_| ())
}

/// Sends `count` of them; how many were answered, each counted once.
///
/// # Errors
/// Where fewer than nine of ten were.
pub(super) fn send(topology: &Topology, count: u64) -> Result<u64> {
    let socket = topology.client.inside(|| Ok(PacketSocket::open(CLIENT_END)?))?;
    setsockopt(&socket.fd, sockopt::RcvBufForce, &(32 << 20))?;
    let mut answered = vec![false; usize::try_from(count)?];
    for n in 0..count {
        ensure!(socket.send_all(&syn(n)), "the kernel does not take a frame");
        if n % 16 == 15 {
            hear(&socket, &mut answered)?;
        }
    }
    let last = now() + PATIENCE;
    while now() < last && !answered.iter().all(|is| *is) {
        hear(&socket, &mut answered)?;
        pause(Duration::from_millis(1));
    }
    let found = answered.iter().filter(|is| **is).count() as u64;
    ensure!(found * 10 >= count * 9, "{found} of {count} SYNs were answered");
    Ok(found)
}

/// Takes all answers that have come.
fn hear(socket: &PacketSocket, answered: &mut [bool]) -> Result<()> {
    let mut buffer = [0; 2_048];
    loop {
        match recv(socket.fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(len) => {
                let of = number(&buffer[..len]).and_then(|n| answered.get_mut(n));
                of.into_iter().for_each(|is| *is = true);
            }
            Err(Errno::EAGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The `n`-th host and port.
fn from(n: u64) -> (Ipv4Addr, u16) {
    let (host, port) = ((n / PORTS) as u32, (n % PORTS) as u16);
    (Ipv4Addr::from_bits(FIRST.to_bits() + host), FIRST_PORT + port)
}

/// Whose SYN a frame answers; `None` for everything else.
fn number(frame: &[u8]) -> Option<usize> {
    let frame = ethernet::Frame::parse(frame, None).ok()?;
    let packet = ipv4::Packet::parse(frame.payload).ok()?;
    let segment = Packet::parse(packet.payload).ok()?;
    if packet.protocol != PROTOCOL_TCP || !segment.flags.has(Flags::SYN) {
        return None;
    }
    let host = packet.dst.as_v4()?.to_bits().checked_sub(FIRST.to_bits())?;
    let port = segment.dst_port.checked_sub(FIRST_PORT)?;
    Some(host as usize * PORTS as usize + usize::from(port))
}

/// With the options of a usual host.
fn syn(n: u64) -> Vec<u8> {
    let (host, src_port) = from(n);
    let header = Header {
        src_port,
        dst_port: Service::Echo.port(),
        seq: n as u32,
        flags: Flags::SYN,
        window: 0xffff,
        ..Header::default()
    };
    let options = Options {
        mss: Some(1_460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 1, echo: 0 }),
        ..Options::NONE
    };
    let (client, server) = (Addr::from(host), Addr::from(SERVER));
    let mut buf = [0; 256];
    let end = HEADROOM + tcp::emit(&header, &options, &mut buf[HEADROOM..]);
    tcp::fill_checksum(&mut buf[HEADROOM..end], &client, &server, checksum::sum(&[]));
    let before = &mut buf[..HEADROOM];
    let ip = ipv4::emit_header(before, &client, &server, PROTOCOL_TCP, end - HEADROOM);
    let ip = HEADROOM - ip;
    let (to, from) = (MacAddr(SERVER_MAC), MacAddr(CLIENT_MAC));
    let start = ip - ethernet::emit(&mut before[..ip], to, from, ethernet::ETHERTYPE_IPV4, None);
    buf[start..end].to_vec()
}

/// For measurements of networks (RFC 2544).
const NETWORK: &str = "198.18.0.0/15";
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const FIRST_PORT: u16 = 2_000;
/// Of each host.
const PORTS: u64 = 50_000;
/// Time for the last answers: before any is sent again.
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syns_are_sound_and_all_different() {
        let parse = |n| {
            let bytes = syn(n);
            let frame = ethernet::Frame::parse(&bytes, None).unwrap();
            let packet = ipv4::Packet::parse(frame.payload).unwrap();
            assert!(tcp::verify(packet.payload, &packet.src, &packet.dst));
            let segment = Packet::parse(packet.payload).unwrap();
            assert_eq!((segment.flags, segment.dst_port), (Flags::SYN, 7));
            (packet.src, segment.src_port)
        };
        assert_eq!(parse(0), (Addr::from(FIRST), FIRST_PORT));
        assert_eq!(parse(PORTS + 1).1, FIRST_PORT + 1);
        assert_ne!(parse(0), parse(PORTS));
    }

    #[test]
    fn frame_that_is_no_answer_has_no_number() {
        assert_eq!(number(&[0; 10]), None);
        // To the server, which is none of the hosts.
        assert_eq!(number(&syn(5)), None);
    }
}
