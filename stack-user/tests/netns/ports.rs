//! What the control plane keeps from the kernel's sockets, without a server.

use std::io::Read;
use std::net::{IpAddr, Shutdown};

use sluice::control::config::PortRange;
use sluice::control::ports;

use crate::family::{LOCALHOST, UNSPECIFIED, shown};
use crate::topology::{CLIENT, Options, RESERVED_PORTS, SERVER, Topology, accept};

const RANGE: PortRange = PortRange { first: 42_000, last: 42_099 };

/// A topology without a program.
fn bare() -> Topology {
    Topology::with(&Options { has_peer_program: false, ..Options::default() })
}

/// The range must be refused in the server's namespace, with `words`, and nothing left changed.
fn assert_refused(topology: &Topology, words: &[&str]) {
    let refusal = topology.server.inside(|| ports::reserve(RANGE).map(drop)).unwrap_err();
    let text = refusal.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
    assert_eq!(topology.server.sysctl(RESERVED_PORTS), "");
}

#[test]
#[ignore = "needs root"]
fn range_with_a_listener_or_a_connection_is_refused_and_its_process_named() {
    let topology = bare();
    let pid = format!("(pid {})", std::process::id());
    let listener = topology.server.listen((SERVER, 42_007));
    assert_refused(&topology, &["port 42007", &pid]);
    let _stream = topology.client.connect((SERVER, 42_007));
    let _accepted = accept(&listener);
    drop(listener);
    assert_refused(&topology, &["port 42007", &pid]);
}

#[test]
#[ignore = "needs root"]
fn range_with_a_port_that_is_only_bound_is_refused() {
    let topology = bare();
    let spec = "42008=echo".parse().unwrap();
    let _held =
        topology.server.inside(|| ports::hold(&[spec], &[IpAddr::from(SERVER).into()], 0)).unwrap();
    assert_refused(&topology, &["port 42008", "kernel socket"]);
}

#[test]
#[ignore = "needs root"]
fn range_with_a_socket_of_the_loopback_or_a_closed_connection_is_reserved() {
    let topology = bare();
    let _local = topology.server.listen((LOCALHOST, 42_009));
    let listener = topology.server.listen((SERVER, 42_010));
    let mut stream = topology.client.connect((SERVER, 42_010));
    // The end that closes first, the server's, is left in TIME-WAIT.
    let (mut accepted, _) = accept(&listener);
    drop(listener);
    accepted.shutdown(Shutdown::Write).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    drop(stream);
    accepted.read_to_end(&mut Vec::new()).unwrap();
    drop(accepted);
    let left = topology.server.quiet("ss -Htan state time-wait");
    assert!(
        left.contains(&format!("{}:42010", shown(SERVER))) && left.contains(&CLIENT.to_string())
    );
    let reserved = topology.server.inside(|| ports::reserve(RANGE)).unwrap();
    assert_eq!(topology.server.sysctl(RESERVED_PORTS), "42000-42099");
    topology.server.inside(|| drop(reserved));
    assert_eq!(topology.server.sysctl(RESERVED_PORTS), "");
}

#[test]
#[ignore = "needs root"]
fn port_with_a_listener_is_refused_and_its_process_named() {
    let topology = bare();
    let _listener = topology.server.listen((UNSPECIFIED, 80));
    let spec = "80=echo".parse().unwrap();
    let held = topology
        .server
        .inside(|| ports::hold(&[spec], &[IpAddr::from(SERVER).into()], 0).map(drop));
    let text = held.unwrap_err().to_string();
    assert!(text.contains("port 80 ") && text.contains(&format!("(pid {})", std::process::id())));
}
