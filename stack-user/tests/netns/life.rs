//! Beginning and end: what is left on the machine, what a crash leaves, what an idle server costs,
//! and frames that no one should send.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use crate::family::{ETHERTYPE, HEADER, PREFIX, header, seal, shown};
use crate::packets::send;
use crate::process::{pause, wait_until};
use crate::server::Sluice;
use crate::topology::{
    CLIENT, CLIENT_MAC, FREE, PATIENCE, RESERVED_PORTS, SERVER, SERVER_MAC, Topology, accept,
};
use crate::transfer::{assert_echoes, fetch, read};

#[test]
#[ignore = "needs root"]
fn stopped_server_leaves_nothing_behind() {
    let topology = Topology::new();
    topology.server.write_sysctl(RESERVED_PORTS, "5000-5001,41000");
    let before = topology.server.state();
    let peer = shown(CLIENT);
    let options = format!("--listen 80=http --connect {peer}:1=echo --local-ports 45000-45999");
    let sluice = Sluice::start(&topology, &options);
    assert!(topology.server.has_program("veth0"));
    let reserved = topology.server.sysctl(RESERVED_PORTS);
    assert_eq!(reserved, "5000-5001,41000,45000-45999");
    fetch(&topology.client, SERVER, 1000);
    sluice.stop();
    assert_eq!(topology.server.state(), before);
}

#[test]
#[ignore = "needs root"]
fn stopped_server_with_an_own_address_leaves_nothing_behind() {
    let topology = Topology::new();
    let before = topology.server.state();
    let sluice = Sluice::start(&topology, &format!("--addr {FREE}/{PREFIX}"));
    fetch(&topology.client, FREE, 1000);
    sluice.stop();
    assert_eq!(topology.server.state(), before);
}

#[test]
#[ignore = "needs root"]
fn killed_server_leaves_the_interface_usable_by_the_kernel() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    let mut open = topology.client.connect((SERVER, 7));
    open.write_all(b"x").unwrap();
    open.read_exact(&mut [0]).unwrap();
    sluice.crash();
    assert!(!topology.server.has_program("veth0"));
    // The kernel knows nothing of the connection: it resets it.
    open.write_all(b"y").unwrap();
    assert!(open.read_exact(&mut [0]).is_err());
    let listener = topology.server.listen((SERVER, 80));
    let mut stream = topology.client.connect((SERVER, 80));
    accept(&listener).0.write_all(b"kernel").unwrap();
    let mut text = [0; 6];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"kernel");
}

#[test]
#[ignore = "needs root"]
fn killed_server_has_its_reserved_ports_taken_back_by_the_next() {
    let topology = Topology::new();
    let before = topology.server.sysctl(RESERVED_PORTS);
    let peer = shown(CLIENT);
    let options = format!("--connect {peer}:1=echo --local-ports 45000-45999");
    Sluice::start(&topology, &options).crash();
    assert_ne!(topology.server.sysctl(RESERVED_PORTS), before, "nothing else could undo it");
    Sluice::start(&topology, &options).stop();
    assert_eq!(topology.server.sysctl(RESERVED_PORTS), before);
}

#[test]
#[ignore = "needs root"]
fn interface_down_is_waited_for_and_serves_again() {
    let topology = Topology::new();
    let mut sluice = Sluice::start(&topology, "");
    topology.server.ip("link set veth0 down");
    wait_until("it says so", PATIENCE, || sluice.errors().contains("veth0 is down"));
    sluice.assert_alive();
    topology.server.ip("link set veth0 up");
    wait_until("it says so", PATIENCE, || sluice.errors().contains("veth0 is up again"));
    assert_echoes(&topology.client, (SERVER, 7), b"after the pause");
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn interface_removed_ends_the_server_with_a_message() {
    let topology = Topology::new();
    let mut sluice = Sluice::start(&topology, "");
    topology.server.ip("link delete veth0");
    assert_eq!(sluice.exit_code(), Some(1));
    wait_until("it says so", PATIENCE, || sluice.errors().contains("error: "));
    assert!(sluice.errors().contains("veth0 was removed"), "{}", sluice.errors());
}

#[test]
#[ignore = "needs root"]
fn server_starts_again_right_after_a_crash() {
    let topology = Topology::new();
    Sluice::start(&topology, "").crash();
    let sluice = Sluice::start(&topology, "");
    assert_echoes(&topology.client, (SERVER, 7), b"again");
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn stopped_server_closes_open_connections_with_fin() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    let mut open = topology.client.connect((SERVER, 7));
    open.write_all(b"x").unwrap();
    open.read_exact(&mut [0]).unwrap();
    let closing = std::thread::spawn(move || {
        let len = read(&open, &mut [0; 8]);
        let _ = open.shutdown(Shutdown::Both);
        len
    });
    sluice.stop();
    assert_eq!(closing.join().unwrap().expect("FIN, not RST"), 0);
}

#[test]
#[ignore = "needs root"]
fn time_limit_ends_the_server_by_itself() {
    let topology = Topology::new();
    let before = topology.server.state();
    // Time enough for one page also where the machine is busy.
    let mut sluice = Sluice::start(&topology, "--for 4");
    fetch(&topology.client, SERVER, 1000);
    sluice.assert_ends_well();
    assert_eq!(topology.server.state(), before);
}

#[test]
#[ignore = "needs root"]
fn idle_server_uses_less_than_two_percent_of_a_core() {
    const TIME: Duration = Duration::from_secs(5);
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    assert_echoes(&topology.client, (SERVER, 7), b"not idle yet");
    let before = sluice.cpu_time();
    pause(TIME);
    let used = (sluice.cpu_time() - before) / TIME.as_secs_f64();
    assert!(used < 0.02, "idle at {:.1} % of a core", used * 100.0);
    sluice.stop();
}

/// A fixed sequence of numbers (xorshift), so that a failure can be had again.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A frame that is right up to a point and random after it.
fn garbage(numbers: &mut Numbers) -> Vec<u8> {
    let ethernet = [&SERVER_MAC[..], &CLIENT_MAC].concat();
    let len = (numbers.next() % 1400) as usize + 1;
    let mut ip = [header(), numbers.bytes(len)].concat();
    seal(&mut ip);
    if len >= 14 {
        let port = [7u16, 9, 80][(numbers.next() % 3) as usize];
        ip[HEADER + 2..HEADER + 4].copy_from_slice(&port.to_be_bytes());
    }
    match numbers.next() % 5 {
        0 => numbers.bytes(len + 14),
        1 => [&ethernet[..], &[0x08, 0x06], &numbers.bytes(len)].concat(),
        2 => [&ethernet[..], &ETHERTYPE, &numbers.bytes(len)].concat(),
        3 => [&ethernet[..], &[0x81, 0x00, 0, 5], &ETHERTYPE, &ip].concat(),
        _ => [&ethernet[..], &ETHERTYPE, &ip].concat(),
    }
}

#[test]
#[ignore = "needs root"]
fn garbage_on_the_wire_leaves_the_server_alive() {
    const FRAMES: usize = 20_000;
    let topology = Topology::new();
    // Unchecked checksums let garbage come further.
    for options in ["", "--trust-checksums"] {
        let mut sluice = Sluice::start(&topology, options);
        let mut numbers = Numbers(0x5eed);
        let frames = std::iter::repeat_with(|| garbage(&mut numbers)).take(FRAMES);
        let sent = send(&topology.client, "veth1", frames);
        assert!(sent > FRAMES / 2, "only {sent} frames were sent");
        sluice.assert_alive();
        let mut stream = topology.client.connect((SERVER, 7));
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"sane").unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        drop(stream);
        sluice.stop();
    }
}
