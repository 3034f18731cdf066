//! What hosts on the link and beyond it see of Sluice besides TCP: errors, path MTU, cookies.

use std::io::ErrorKind;
use std::net::UdpSocket;

use crate::family::{ELSEWHERE, FORWARDING, Ip, PREFIX};
use crate::server::Sluice;
use crate::topology::{CLIENT, FREE, PATIENCE, SERVER, Topology};
use crate::transfer::{assert_echoes, fetch};

/// Sends a datagram from the client to a port that nobody has; whether the client hears of that.
fn is_refused(topology: &Topology, to: Ip) -> bool {
    let socket = topology.client.inside(|| UdpSocket::bind((CLIENT, 0)).unwrap());
    socket.connect((to, 5300)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(b"anybody there?").unwrap();
    socket.recv(&mut [0; 64]).unwrap_err().kind() == ErrorKind::ConnectionRefused
}

#[test]
#[ignore = "needs root"]
fn datagram_to_nobody_is_answered_by_port_unreachable() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, &format!("--addr {FREE}/{PREFIX}"));
    assert!(is_refused(&topology, FREE), "of an own address by Sluice");
    assert!(is_refused(&topology, SERVER), "of the kernel's by the kernel");
    sluice.stop();
    let sluice = Sluice::start(&topology, "");
    assert!(is_refused(&topology, SERVER), "of a shared one by the kernel");
    assert_eq!(sluice.counter(&topology.client, "icmp_errors_out"), 0);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn cookies_alone_serve_every_connection() {
    for (address, options) in [(SERVER, String::new()), (FREE, format!("--addr {FREE}/{PREFIX}"))] {
        let topology = Topology::new();
        let sluice = Sluice::start(&topology, &format!("--syn-cookies always {options}"));
        for _ in 0..20 {
            assert_echoes(&topology.client, (address, 7), b"no entry was made for me");
        }
        fetch(&topology.client, address, 1 << 20);
        sluice.stop();
    }
}

#[test]
#[ignore = "needs root"]
fn link_that_takes_less_is_told_by_its_router_and_heeded() {
    const MTU: u32 = 1300;
    let topology = Topology::new();
    let far = topology.beyond(ELSEWHERE.1, MTU);
    topology.client.write_sysctl(FORWARDING, "1");
    let options = format!("--addr {FREE}/{PREFIX} --gateway {CLIENT}");
    let sluice = Sluice::start(&topology, &options);
    fetch(&far, FREE, 3 << 20);
    let shown = crate::server::stats_of(&far, FREE);
    let reductions = shown["counters"]["path_mtu_reductions"].as_u64();
    assert!(reductions.is_some_and(|count| count > 0), "{shown}");
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn own_address_is_found_again_by_who_forgot_it() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, &format!("--addr {FREE}/{PREFIX}"));
    for _ in 0..3 {
        assert_echoes(&topology.client, (FREE, 7), b"where are you?");
        topology.client.ip(&format!("neighbour flush to {FREE}"));
    }
    sluice.stop();
}
