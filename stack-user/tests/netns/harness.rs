//! The harness itself, against the kernel alone: what fails here is no fault of Sluice.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::packets::{Capture, send};
use crate::topology::{CLIENT, CLIENT_MAC, Options, SERVER, SERVER_MAC, Topology, accept};

/// A topology without anything of Sluice.
fn bare() -> Topology {
    Topology::with(&Options { has_peer_program: false, queues: 2, ..Options::default() })
}

#[test]
#[ignore = "needs root"]
fn kernel_on_both_ends_carries_bytes() {
    let topology = bare();
    let listener = topology.server.listen((SERVER, 80));
    let mut stream = topology.client.connect((SERVER, 80));
    stream.write_all(b"hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let (mut accepted, peer) = accept(&listener);
    assert_eq!(peer.ip(), CLIENT);
    let mut text = String::new();
    accepted.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
}

#[test]
#[ignore = "needs root"]
fn dropped_topology_leaves_no_namespace() {
    let topology = bare();
    let names = [topology.server.name.clone(), topology.client.name.clone()];
    let there = |name: &String| std::path::Path::new("/run/netns").join(name).exists();
    assert!(names.iter().all(there));
    drop(topology);
    assert!(!names.iter().any(there));
}

#[test]
#[ignore = "needs root"]
fn state_of_a_namespace_stays_the_same_and_shows_a_change() {
    let topology = bare();
    let before = topology.server.state();
    assert_eq!(before, topology.server.state());
    topology.server.write_sysctl(crate::topology::RESERVED_PORTS, "5000");
    assert_ne!(before, topology.server.state());
}

#[test]
#[ignore = "needs root"]
fn raw_frame_is_sent_and_captured() {
    let topology = bare();
    let mut capture = Capture::start(&topology.server, "veth0", "raw-frame");
    let frame = [&SERVER_MAC[..], &CLIENT_MAC, &[0x88, 0xb5], &[1; 50]].concat();
    assert_eq!(send(&topology.client, "veth1", std::iter::repeat_n(frame.clone(), 3)), 3);
    let (path, _) = capture.finish();
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(bytes.windows(frame.len()).filter(|window| *window == frame).count(), 3);
}
