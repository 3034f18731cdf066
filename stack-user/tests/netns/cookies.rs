//! SYN cookies of the XDP program, with the kernel's clients: every option kept, gates that close and
//! open, and what answers nothing.

use std::io::{Read, Write};
use std::net::Shutdown;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::family::{ETHERTYPE, HEADER, header, seal};
use crate::packets::send;
use crate::process::wait_until;
use crate::segment::{ACK, RST, SYN, Segment};
use crate::server::Sluice;
use crate::topology::{CLIENT_MAC, PATIENCE, SERVER, SERVER_MAC, Topology};
use crate::transfer::{assert_echoes, fetch, pattern};
use crate::watch::{Seen, drop_first, relayed};
use relay::Way;

/// A frame to port 80 of the server from a host that is not there.
pub(crate) fn forged(n: u32, flags: u8) -> Vec<u8> {
    let [_, b, c, d] = n.to_be_bytes();
    let mut packet = header();
    let address = SERVER.octets().len();
    let source = &mut packet[HEADER - 2 * address..HEADER - address];
    (source[2], source[address - 1]) = (1 + c % 250, d.max(1));
    packet.extend((1_024 + (n % 60_000) as u16).to_be_bytes());
    packet.extend([0, 80, 0, 0, b, d, 0, 0, 0x12, 0x67, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    seal(&mut packet);
    let frame = [&SERVER_MAC[..], &CLIENT_MAC, &ETHERTYPE, &packet].concat();
    Segment::of(&frame).expect("a segment of TCP").frame()
}

pub(crate) fn forge(topology: &Topology, from: u32, count: u32, flags: u8) {
    let frames = (from..from + count).map(|n| forged(n, flags));
    assert_eq!(send(&topology.client, "veth1", frames) as u32, count);
}

/// Two namespaces with a relay, whose end towards the server takes what XDP sends.
fn relayed_for_xdp() -> Topology {
    let mut topology = relayed();
    topology.pass_in_the_middle();
    topology
}

/// Sends strays until one of them is seen in `judged`: while the array of flows is not complete, they go to the
/// shard. Returns how many were sent.
fn await_array(topology: &Topology, judged: impl Fn() -> u64) -> u32 {
    let mut sent = 0;
    wait_until("all flows are written down", PATIENCE, || {
        forge(topology, sent, 1, ACK);
        sent += 1;
        judged() > 0
    });
    sent
}

#[test]
#[ignore = "needs root"]
fn always_serves_curl_by_cookies_of_the_program_alone() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "--syn-cookies always");
    for size in [1, 1 << 20, 64 << 20] {
        fetch(&topology.client, SERVER, size);
    }
    let count = |name| sluice.counter(&topology.client, name);
    assert!(count("xdp_tx_cookie") >= 4, "{}", count("xdp_tx_cookie"));
    assert!(count("cookies_received") >= 4);
    // The record that the program writes ahead of a frame arrives with it.
    assert!(count("cookies_told") >= 4);
    assert!(count("xdp_redirect_cookie") >= 4 && count("xdp_redirect_flow") > 0);
    for name in ["cookies_sent", "cookies_failed", "xdp_tx_reset", "xdp_drop_stray"] {
        assert_eq!(count(name), 0, "{name}");
    }
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn always_keeps_window_scale_sack_and_timestamps() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "--syn-cookies always");
    let mut stream = topology.client.connect((SERVER, 7));
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
    // The peer's view: both shifts, SACK, timestamps, and our MSS.
    let seen = topology.client.quiet("ss -tinoH state established");
    for word in [" ts ", " sack ", " wscale:7,"] {
        assert!(seen.contains(word), "{word} is not in {seen}");
    }
    // Timestamps went on from those of the SYN-ACK: nothing was dropped as old.
    let mut text = pattern(1 << 20);
    std::thread::scope(|scope| {
        let writer = stream.try_clone().unwrap();
        let text = &text;
        scope.spawn(move || (&writer).write_all(text).unwrap());
        let mut back = vec![0; text.len()];
        stream.read_exact(&mut back).unwrap();
        assert!(back == *text);
    });
    text.clear();
    assert_eq!(sluice.counter(&topology.client, "paws_dropped"), 0);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn always_without_timestamps_or_with_no_option_serves_too() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "--syn-cookies always");
    for (stamps, scaling, sack) in
        [("0", "1", "1"), ("0", "0", "0"), ("1", "0", "1"), ("1", "1", "0")]
    {
        topology.client.write_sysctl("net/ipv4/tcp_timestamps", stamps);
        topology.client.write_sysctl("net/ipv4/tcp_window_scaling", scaling);
        topology.client.write_sysctl("net/ipv4/tcp_sack", sack);
        fetch(&topology.client, SERVER, 1 << 20);
        assert_echoes(&topology.client, (SERVER, 7), &pattern(300_000));
    }
    assert_eq!(sluice.counter(&topology.client, "cookies_failed"), 0);
    sluice.stop();
}

// The text that comes with the acknowledgment, and right behind it, before the shard has seen either.
#[test]
#[ignore = "needs root"]
fn always_takes_text_that_comes_at_once() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "--syn-cookies always");
    for _ in 0..200 {
        let mut stream = topology.client.connect((SERVER, 9));
        stream.write_all(&pattern(14_000)).unwrap();
    }
    let count = |name| sluice.counter(&topology.client, name);
    wait_until("all is taken", PATIENCE, || count("data_bytes_in") >= 200 * 14_000);
    assert_eq!(
        (count("xdp_tx_reset"), count("xdp_drop_stray"), count("cookies_failed")),
        (0, 0, 0)
    );
    sluice.stop();
}

// A veth's queue is served by the CPU that sends: the FIN meets another than the text before it, while the
// shard, which stands still, has not written the connection down.
#[test]
#[ignore = "needs root"]
fn always_text_and_fin_by_two_cpus_are_never_reset() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "--syn-cookies always");
    let count = |name| sluice.counter(&topology.client, name);
    await_array(&topology, || count("xdp_tx_reset"));
    let resets = count("xdp_tx_reset");
    let run_on = |cpu| {
        let mut cpus = CpuSet::new();
        cpus.set(cpu).unwrap();
        // Where there is but one there is nothing to be seen.
        let _ = sched_setaffinity(Pid::from_raw(0), &cpus);
    };
    sluice.hold();
    let streams: Vec<_> = (0..20)
        .map(|_| {
            run_on(0);
            let mut stream = topology.client.connect((SERVER, 7));
            stream.write_all(&pattern(1_024)).unwrap();
            run_on(1);
            stream.shutdown(Shutdown::Write).unwrap();
            stream
        })
        .collect();
    sluice.go_on();
    for mut stream in streams {
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert!(back == pattern(1_024));
    }
    assert_eq!(count("xdp_tx_reset"), resets);
    assert!(count("xdp_redirect_proven") >= 20);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn always_acknowledgment_lost_is_made_good_by_the_text() {
    let topology = relayed_for_xdp();
    let sluice = Sluice::start(&topology, "--syn-cookies always");
    let lost = drop_first(1, Way::ToServer, |segment| segment.is_bare() && segment.has(ACK));
    let seen = Seen::with(topology.relay(), 7, lost);
    assert_echoes(&topology.client, (SERVER, 7), b"late");
    assert!(!seen.any(|segment| segment.has(RST)));
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn always_syn_ack_lost_is_made_again() {
    let topology = relayed_for_xdp();
    let sluice = Sluice::start(&topology, "--syn-cookies always");
    let lost = drop_first(1, Way::ToClient, |segment| segment.has(SYN | ACK));
    let seen = Seen::with(topology.relay(), 7, lost);
    assert_echoes(&topology.client, (SERVER, 7), b"late");
    let answers = seen.all(Way::ToClient, |segment| segment.has(SYN | ACK));
    assert!(answers.len() >= 2 && answers.iter().all(|answer| answer.seq() == answers[0].seq()));
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn always_answers_what_answers_nothing_by_rst_or_not_at_all() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "--syn-cookies always");
    let count = |name| sluice.counter(&topology.client, name);
    let sent = await_array(&topology, || count("xdp_tx_reset"));
    let seen = || count("xdp_tx_reset") + count("xdp_redirect_stray");
    wait_until("all strays were seen", PATIENCE, || seen() == u64::from(sent));
    let [resets, dropped, failed] = ["xdp_tx_reset", "xdp_drop_stray", "cookies_failed"].map(count);
    forge(&topology, 1_000, 100, ACK);
    forge(&topology, 1_000, 100, RST);
    wait_until("strays are answered", PATIENCE, || count("xdp_tx_reset") == resets + 100);
    wait_until("RSTs are dropped", PATIENCE, || count("xdp_drop_stray") == dropped + 100);
    assert_eq!(count("cookies_failed"), failed, "none came to the shard");
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn always_drops_what_answers_nothing_where_that_is_asked() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "--syn-cookies always --stray-acks drop");
    let count = |name| sluice.counter(&topology.client, name);
    let sent = await_array(&topology, || count("xdp_drop_stray"));
    let before = count("xdp_drop_stray");
    let late = u64::from(sent) - before - count("xdp_redirect_stray");
    forge(&topology, 1_000, 100, ACK);
    wait_until("strays are dropped", PATIENCE, || count("xdp_drop_stray") >= before + 100);
    assert!(count("xdp_drop_stray") <= before + 100 + late);
    assert_eq!(count("xdp_tx_reset"), 0);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn auto_flood_closes_the_gate_serves_meanwhile_and_opens_it_again() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "--backlog 64 --syn-ack-retries 0 --syn-cookies auto");
    let count = |name| sluice.counter(&topology.client, name);
    fetch(&topology.client, SERVER, 1 << 20);
    assert_eq!((count("gates_closed"), count("xdp_tx_cookie")), (0, 0));
    // How soon the worker meets the flood is the scheduler's business: all of it that fits may lie in the
    // ring before the gate is closed, and entries may be given up in between. Hence it goes on until
    // the program has answered, and until a peer has come in by a cookie.
    let mut sent = 0;
    let mut flood = || {
        forge(&topology, sent, FLOOD, SYN);
        sent += FLOOD;
        assert!(sent <= 1_000 * FLOOD, "{sent} SYNs changed nothing");
    };
    while count("xdp_tx_cookie") < 100 {
        flood();
    }
    assert!(count("gates_closed") > 0);
    while count("cookies_received") == 0 {
        flood();
        fetch(&topology.client, SERVER, 1 << 20);
    }
    // Forged entries are given up after a second, as asked.
    wait_until("the gate is open again", PATIENCE, || {
        count("gates_opened") == count("gates_closed")
    });
    let [answered, closed] = ["xdp_tx_cookie", "gates_closed"].map(count);
    fetch(&topology.client, SERVER, 1 << 20);
    assert_eq!((count("xdp_tx_cookie"), count("gates_closed")), (answered, closed));
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn never_remembers_what_fits_and_answers_nothing_else() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "--backlog 64 --syn-ack-retries 0 --syn-cookies never");
    forge(&topology, 0, 1_000, SYN);
    let count = |name| sluice.counter(&topology.client, name);
    wait_until("forged entries are given up", PATIENCE, || {
        topology.client.try_connect((SERVER, 7)).is_ok()
    });
    assert_eq!((count("xdp_tx_cookie"), count("cookies_sent"), count("gates_closed")), (0, 0, 0));
    sluice.stop();
}

/// SYNs that are sent at once: fewer than a veth's ring holds, more than the queue.
const FLOOD: u32 = 200;
