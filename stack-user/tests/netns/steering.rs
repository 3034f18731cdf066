//! What goes to Sluice, what stays the kernel's, and who answers for ports that nobody serves.

use std::io::{ErrorKind, Read, Write};

use crate::family::{Ip, PREFIX, shown};
use crate::process::{Process, wait_until};
use crate::server::{Sluice, command};
use crate::topology::{CLIENT, CLIENT_MAC, FREE, PATIENCE, SERVER, Topology, accept};
use crate::transfer::{assert_echoes, fetch, read};

fn assert_refused(topology: &Topology, to: (Ip, u16)) {
    let error = topology.client.try_connect(to).expect_err("nobody listens there");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
}

fn ping(topology: &Topology, address: Ip) {
    topology.client.quiet(&format!("ping -n -c 3 -i 0.2 -W 5 {address}"));
}

/// Connects from a kernel's client to a kernel's listener of the server's namespace.
fn assert_kernel_serves(topology: &Topology, at: (Ip, u16)) {
    let listener = topology.server.listen(at);
    let mut stream = topology.client.connect(at);
    let (mut accepted, _) = accept(&listener);
    accepted.write_all(b"from the kernel").unwrap();
    drop(accepted);
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "from the kernel");
}

#[test]
#[ignore = "needs root"]
fn shared_address_unserved_port_is_refused_by_the_kernel() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    assert_refused(&topology, (SERVER, 81));
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn shared_address_kernel_port_still_reaches_the_kernel() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    assert_kernel_serves(&topology, (SERVER, 8080));
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn shared_address_ping_is_answered_by_the_kernel() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    ping(&topology, SERVER);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn shared_address_served_port_is_held_against_the_kernel() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    let taken = topology.server.inside(|| std::net::TcpListener::bind((SERVER, 80)));
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse);
    sluice.stop();
    assert_kernel_serves(&topology, (SERVER, 80));
}

#[test]
#[ignore = "needs root"]
fn own_address_is_served_answers_ping_and_refuses_other_ports() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, &format!("--addr {FREE}/{PREFIX}"));
    assert!(sluice.ready.contains(&FREE.to_string()), "{}", sluice.ready);
    ping(&topology, FREE);
    fetch(&topology.client, FREE, 1 << 20);
    assert_echoes(&topology.client, (FREE, 7), b"own");
    assert_refused(&topology, (FREE, 81));
    // The interface's own address stays the kernel's, all ports of it.
    assert_kernel_serves(&topology, (SERVER, 80));
    ping(&topology, SERVER);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn own_address_that_another_host_has_is_refused() {
    let topology = Topology::new();
    let options = format!("--addr {CLIENT}/{PREFIX}");
    let mut sluice = Process::start(&mut command(&topology, "veth0", &options));
    assert_eq!(sluice.wait(PATIENCE).code(), Some(2), "{}", sluice.errors());
    // The output is read by another thread, which may be late.
    wait_until("the conflict is named", PATIENCE, || sluice.errors().contains("error: "));
    let mac = CLIENT_MAC.map(|byte| format!("{byte:02x}")).join(":");
    let errors = sluice.errors();
    assert!(errors.contains(&CLIENT.to_string()) && errors.contains(&mac), "{errors}");
}

/// Sluice connects to a kernel's listener in the client's namespace, where an echo answers.
fn assert_connects(options: &str, ports: std::ops::RangeInclusive<u16>, from: Ip) {
    let topology = Topology::new();
    let listener = topology.client.listen((CLIENT, 9000));
    let peer = shown(CLIENT);
    let options = format!("--connect {peer}:9000=echo --local-ports 40000-40999 {options}");
    let sluice = Sluice::start(&topology, &options);
    let (mut stream, peer) = accept(&listener);
    assert_eq!(peer.ip(), from);
    assert!(ports.contains(&peer.port()), "from port {}", peer.port());
    stream.write_all(b"who connects?").unwrap();
    let mut back = [0; 13];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"who connects?");
    sluice.stop();
    assert_eq!(read(&stream, &mut back).unwrap(), 0, "the connection is closed with FIN");
}

#[test]
#[ignore = "needs root"]
fn shared_address_active_open_reaches_a_kernel_listener() {
    assert_connects("", 40_000..=40_999, SERVER);
}

#[test]
#[ignore = "needs root"]
fn own_address_active_open_reaches_a_kernel_listener() {
    assert_connects(&format!("--addr {FREE}/{PREFIX}"), 40_000..=40_999, FREE);
}

#[test]
#[ignore = "needs root"]
fn static_neighbour_serves_an_active_open_and_stays_static() {
    let topology = Topology::new();
    let mac = CLIENT_MAC.map(|byte| format!("{byte:02x}")).join(":");
    topology.server.ip(&format!("neighbour add {CLIENT} lladdr {mac} dev veth0 nud permanent"));
    let listener = topology.client.listen((CLIENT, 9000));
    let peer = shown(CLIENT);
    let options = format!("--connect {peer}:9000=echo --local-ports 40000-40999");
    let sluice = Sluice::start(&topology, &options);
    let (mut stream, _) = accept(&listener);
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    sluice.stop();
    let shown = topology.server.ip(&format!("neighbour show {CLIENT} dev veth0"));
    assert!(shown.contains("PERMANENT"), "{shown}");
}
