//! What a host sends that means no good: each reason is counted to the frame, and the interface's own
//! counters say the same.

use crate::is_long;
use crate::packets::send;
use crate::process::wait_until;
use crate::segment::{ACK, FIN, RST, SYN};
use crate::server::Sluice;
use crate::topology::{CLIENT_MAC, PATIENCE, SERVER, SERVER_MAC, Topology};

/// What is wrong with a frame, and the counter that says so.
struct Junk {
    counter: &'static str,
    source: [u8; 4],
    flags: u8,
    /// Changes the packet, from its IP header on, before the header's checksum is made.
    change: fn(&mut Vec<u8>),
}

const PSH: u8 = 8;
const URG: u8 = 32;
const PEER: [u8; 4] = [10, 77, 3, 4];

fn kinds() -> Vec<Junk> {
    let junk = |counter, source, flags| Junk { counter, source, flags, change: |_| () };
    let changed = |counter, change| Junk { change, ..junk(counter, PEER, ACK) };
    vec![
        junk("xdp_drop_martian", SERVER.octets(), SYN),
        junk("xdp_drop_martian", [127, 0, 0, 1], ACK),
        junk("xdp_drop_martian", [224, 0, 0, 1], SYN),
        junk("xdp_drop_martian", [255; 4], SYN),
        junk("xdp_drop_blocked", [10, 66, 1, 2], SYN),
        junk("xdp_drop_tcp_null", PEER, 0),
        junk("xdp_drop_tcp_xmas", PEER, FIN | PSH | URG),
        junk("xdp_drop_syn_fin", PEER, SYN | FIN),
        junk("xdp_drop_syn_rst", PEER, SYN | RST),
        changed("xdp_drop_fragment", |packet| packet[6] = 0x20),
        changed("xdp_drop_ip_header", |packet| packet[0] = 0x44),
        changed("xdp_drop_ip_length", |packet| packet[3] = 99),
        changed("xdp_drop_tcp_header", |packet| packet[32] = 0x40),
        changed("xdp_drop_tcp_header", |packet| packet[32] = 0xf0),
        // A header whose checksum is of another one.
        changed("xdp_drop_ip_checksum", |packet| packet[10] = 1),
    ]
}

impl Junk {
    fn frame(&self, n: usize) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
        packet.extend(self.source);
        packet.extend(SERVER.octets());
        packet.extend(((n % 60_000) as u16 + 1).to_be_bytes());
        packet.extend([0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        (self.change)(&mut packet);
        // Over the other's, where there is one, so that it is wrong.
        let pairs = packet[..20].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
        let sum: u32 = pairs.sum();
        let sum = (sum >> 16) + (sum & 0xffff);
        let wrong = u16::from(packet[10]);
        let sum = !(((sum >> 16) + sum) as u16) ^ wrong;
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        let mut frame = [&SERVER_MAC[..], &CLIENT_MAC, &[8, 0], &packet].concat();
        frame.resize(60, 0);
        frame
    }
}

/// A counter of a driver's, by `ethtool -S`.
fn driver(topology: &Topology, name: &str) -> u64 {
    let text = topology.server.quiet("ethtool -S veth0");
    let values = text.lines().filter_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
    values.map(|value| value.parse::<u64>().unwrap()).sum()
}

/// Frames that the client's end could not hand over.
fn lost(topology: &Topology) -> u64 {
    let text = topology.client.ip("-s -j link show veth1");
    let links: serde_json::Value = serde_json::from_str(&text).unwrap();
    links[0]["stats64"]["tx"]["dropped"].as_u64().unwrap()
}

#[test]
#[ignore = "needs root"]
fn junk_is_counted_to_the_frame_up_to_what_the_interface_itself_lost() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "--block 10.66.0.0/16");
    let count = |name: &str| sluice.counter(&topology.client, name);
    let kinds = kinds();
    let each = if is_long() { 20_000 } else { 400 };
    let before = (lost(&topology), driver(&topology, "rx_queue_0_xdp_drops"));
    let mut names: Vec<_> = kinds.iter().map(|junk| junk.counter).collect();
    let frames = (0..each * kinds.len()).map(|n| kinds[n % kinds.len()].frame(n));
    assert_eq!(send(&topology.client, "veth1", frames), each * kinds.len());
    let sent = (each * kinds.len()) as u64;
    // A frame is lost while it is sent, so that these are all; the questions may lose some of their own.
    let lost = lost(&topology) - before.0;
    let sum = || {
        let mut names = kinds.iter().map(|junk| junk.counter).collect::<Vec<_>>();
        names.dedup();
        names.into_iter().map(count).sum::<u64>()
    };
    wait_until("all are counted", PATIENCE, || sum() + lost >= sent);
    assert_eq!(sum() + lost, sent, "{lost} were lost");
    note!("{sent} frames of junk, {lost} lost by the interface");
    names.dedup();
    for name in names {
        let of_this = (kinds.iter().filter(|junk| junk.counter == name).count() * each) as u64;
        let counted = count(name);
        assert!(counted <= of_this && counted + lost >= of_this, "{name}: {counted} of {of_this}");
    }
    // The driver counts what the program dropped.
    let dropped = driver(&topology, "rx_queue_0_xdp_drops") - before.1;
    assert_eq!(dropped, sum());
    // None of it came to a worker: what did are the questions for these counters.
    for name in ["drop_checksum", "drop_martian", "drop_fragment", "resets_out"] {
        assert_eq!(count(name), 0, "{name}");
    }
    sluice.stop();
}
