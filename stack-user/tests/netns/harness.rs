//! The harness itself, against the kernel alone: what fails here is no fault of Sluice.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::Ordering;

use sluice::datapath::Clock;
use sluice::time::Instant;
use stack_ebpf::impair::Port;

use crate::impair::Rates;
use crate::packets::{Capture, send};
use crate::process::wait_until;
use crate::topology::{
    CLIENT, CLIENT_MAC, Middle, Options, PATIENCE, SERVER, SERVER_MAC, Topology, accept, pass,
};
use crate::transfer::read;
use relay::Link;

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
    wait_until("all are captured", PATIENCE, || capture.count(&frame) >= 3);
    capture.finish();
    assert_eq!(capture.count(&frame), 3);
}

/// The kernel talks to itself across `middle`; gives how long `bytes` took.
fn carry(topology: &Topology, bytes: usize) -> std::time::Duration {
    let clock = Clock::start();
    let listener = topology.server.listen((SERVER, 80));
    let mut stream = topology.client.connect((SERVER, 80));
    let (accepted, _) = accept(&listener);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let chunk = vec![7; 1 << 16];
            for _ in 0..bytes / chunk.len() {
                stream.write_all(&chunk).unwrap();
            }
        });
        let mut count = 0;
        let mut buffer = vec![0; 1 << 18];
        loop {
            match read(&accepted, &mut buffer).unwrap() {
                0 => break assert_eq!(count, bytes),
                len => count += len,
            }
        }
    });
    clock.now().since(Instant::ZERO)
}

#[test]
#[ignore = "needs root"]
fn relay_carries_everything_and_tells_its_ceiling() {
    const BYTES: usize = 64 << 20;
    let middle = Middle { relay: Some(Link::default()), ..Middle::default() };
    let topology = Topology::with(&Options { middle, ..Options::default() });
    let seconds = carry(&topology, BYTES).as_secs_f64();
    let carried = topology.relay().carried();
    let [frames, bytes, overflown, refused] =
        [&carried.frames, &carried.bytes, &carried.overflown, &carried.refused]
            .map(|count| count.load(Ordering::Relaxed));
    let (rate, bits) = (frames as f64 / seconds, bytes as f64 * 8.0 / seconds / 1e6);
    note!(
        "the relay carried {rate:.0} frames/s, {bits:.0} Mbit/s (information only; {overflown} \
         overflown, {refused} refused)"
    );
    assert!(bytes as usize > BYTES);
}

#[test]
#[ignore = "needs root"]
fn relay_delays_every_frame() {
    let delay = std::time::Duration::from_millis(20);
    let middle = Middle { relay: Some(Link { delay, ..Link::default() }), ..Middle::default() };
    let topology = Topology::with(&Options { middle, ..Options::default() });
    let clock = Clock::start();
    let listener = topology.server.listen((SERVER, 80));
    let mut stream = topology.client.connect((SERVER, 80));
    stream.write_all(b"x").unwrap();
    accept(&listener).0.read_exact(&mut [0]).unwrap();
    // ARP, SYN and SYN-ACK, then the byte.
    assert!(clock.now() >= Instant::ZERO + delay * 3, "{:?}", clock.now());
}

#[test]
#[ignore = "needs root"]
fn impaired_link_loses_repeats_and_detours_and_the_kernel_makes_it_good() {
    for relay in [None, Some(Link::default())] {
        let middle = Middle { impairs: true, relay };
        let mut topology = Topology::with(&Options { middle, ..Options::default() });
        let _program = pass(&topology.server, "veth0");
        let rates = Rates { loss: 10, duplication: 50, reordering: 50 };
        topology.impairment().set(rates, 1);
        carry(&topology, 4 << 20);
        for Port { frames, lost, duplicated, detoured, .. } in topology.impairment().counts() {
            note!("{frames} frames: {lost} lost, {duplicated} twice, {detoured} detoured");
            assert!(frames > 0 && (lost > 0 || frames < 300) && duplicated > 0 && detoured > 0);
        }
    }
}
