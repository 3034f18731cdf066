//! Four queues at each end, and a worker for each of ours: segments of one flow come to any of them, and
//! the flow stays with its shard.
//!
//! A veth has no receive hash: to which queue a frame comes is the sender's choice. The kernel chooses by
//! the flow's hash, which changes with a timeout, or as its XPS maps say, which is how a test chooses.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use nix::sys::time::TimeVal;

use crate::cookies::forged;
use crate::kernel::{Course, End, Source, run};
use crate::packets::{open, send};
use crate::process::{Process, pause, wait_until};
use crate::segment::{ACK, SYN, Segment};
use crate::server::{Opener, PEER_PORT, Sluice};
use crate::topology::{CLIENT, Middle, Namespace, Options, PATIENCE, SERVER, Topology};
use crate::transfer::{assert_echoes, pattern};
use crate::watch::Seen;
use relay::{Fate, Link, PacketSocket, Way};

/// Queues of each end.
const QUEUES: u32 = 4;

/// Two namespaces with four queues at each end of what joins them.
fn queues(relay: Option<Link>) -> Topology {
    let middle = Middle { relay, ..Middle::default() };
    Topology::with(&Options { queues: QUEUES, middle, ..Options::default() })
}

/// A script by which `interface` sends by `queue` alone, and so to its peer's queue of that number.
fn sends_by(interface: &str, queue: &str) -> String {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from).min(32);
    let all = (1_u64 << cpus) - 1;
    format!(
        "cd /sys/class/net/{interface}/queues; for q in tx-*; do \
         if [ $q = tx-{queue} ]; then echo {all:x}; else echo 0; fi > $q/xps_cpus; done"
    )
}

/// As [`sends_by`], from now on.
fn send_by(namespace: &Namespace, interface: &str, queue: u32) {
    let script = sends_by(interface, &queue.to_string());
    let status = namespace.command("sh").args(["-c", &script]).status();
    assert!(status.is_ok_and(|status| status.success()), "{script}");
}

/// Has `interface` send by one queue after the other, until the process ends.
fn send_by_turns(namespace: &Namespace, interface: &str) -> Process {
    let script = sends_by(interface, "$turn");
    let turns: Vec<String> = (0..QUEUES).map(|queue| queue.to_string()).collect();
    let turns = turns.join(" ");
    let script = format!("while :; do for turn in {turns}; do {script}; sleep 0.03; done; done");
    Process::start(namespace.command("sh").args(["-c", &script]))
}

/// Loses so many TCP segments in a thousand, drawn from a seed.
fn lose(topology: &Topology, per_mille: u64) {
    let mut state = 0x5EED_u64;
    topology.relay().filter(move |_, frame| {
        if Segment::of(frame).is_none() {
            return Fate::Carry;
        }
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if (state >> 20) % 1000 < per_mille { Fate::Drop } else { Fate::Carry }
    });
}

fn is_syn(segment: &Segment) -> bool {
    segment.has(SYN) && !segment.has(ACK)
}

#[test]
#[ignore = "needs root"]
fn flow_whose_segments_move_to_each_queue_stays_with_its_shard() {
    let topology = queues(None);
    let sluice = Sluice::start(&topology, "");
    let count = |name| sluice.counter(&topology.client, name);
    send_by(&topology.client, "veth1", 0);
    let mut stream = topology.client.connect((SERVER, 7));
    let text = pattern(20_000);
    let mut handed_over = Vec::new();
    for queue in 0..QUEUES {
        send_by(&topology.client, "veth1", queue);
        let before = count("frames_handed_over");
        stream.write_all(&text).unwrap();
        let mut back = vec![0; text.len()];
        stream.read_exact(&mut back).unwrap();
        assert!(back == text, "other bytes came back by queue {queue}");
        handed_over.push(count("frames_handed_over") - before);
    }
    // Its own queue is the first, to which the SYN came.
    assert_eq!(handed_over[0], 0, "{handed_over:?}");
    assert!(handed_over[1..].iter().all(|frames| *frames > 0), "{handed_over:?}");
    // This one, and the one that asks: a worker tells of its connections at the end of a turn, so that
    // one whose last acknowledgment and request come in the same turn still reads of itself as it was.
    wait_until("this one and the one that asks are open", PATIENCE, || {
        sluice.state(&topology.client, "ESTABLISHED") == 2
    });
    assert_eq!((count("frames_hand_over_full"), count("resets_out")), (0, 0));
    sluice.stop();
}

// CM-10.d.
#[test]
#[ignore = "needs root"]
fn syn_repeated_on_other_queues_is_answered_from_its_own_entry() {
    let topology = queues(Some(Link::default()));
    let sluice = Sluice::start(&topology, "");
    let is_heard = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&is_heard);
    let seen = Seen::with(topology.relay(), 7, move |way, segment| match way {
        Way::ToServer if is_syn(segment) => Fate::Hold,
        Way::ToClient if !heard.load(Ordering::Relaxed) => Fate::Drop,
        _ => Fate::Carry,
    });
    std::thread::scope(|scope| {
        let client = &topology.client;
        let connected = scope.spawn(move || client.connect((SERVER, 7)));
        for queue in 0..3 {
            seen.wait("the SYN comes again", (Way::ToServer, queue + 1), is_syn);
            send_by(topology.middle(), "m0", queue as u32);
            topology.relay().release();
            seen.wait("it is answered", (Way::ToClient, queue + 1), |segment| segment.has(SYN));
        }
        is_heard.store(true, Ordering::Relaxed);
        let mut stream = connected.join().unwrap();
        stream.write_all(b"one connection").unwrap();
        let mut back = [0; 14];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"one connection");
        let answers = seen.all(Way::ToClient, |segment| segment.has(SYN));
        assert!(answers.iter().all(|answer| answer.seq() == answers[0].seq()));
        // It, and the one that asks.
        assert_eq!(sluice.counter(client, "passive_opens"), 2);
        assert!(sluice.counter(client, "frames_handed_over") >= 2);
        assert_eq!(sluice.counter(client, "half_open_doubles"), 0);
    });
    sluice.stop();
}

// The kernel's timeout gives a SYN that comes again another hash, and so another queue.
#[test]
#[ignore = "needs root"]
fn syns_that_wait_on_several_queues_at_once_open_one_connection_each() {
    const COUNT: usize = 64;
    let topology = queues(None);
    let sluice = Sluice::start(&topology, "");
    assert_echoes(&topology.client, (SERVER, 7), b"the neighbours know each other");
    sluice.hold();
    let streams: Vec<TcpStream> = std::thread::scope(|scope| {
        let connect = || topology.client.connect((SERVER, 7));
        let clients: Vec<_> = (0..COUNT).map(|_| scope.spawn(connect)).collect();
        // Some of them come three times.
        pause(Duration::from_millis(2_500));
        sluice.go_on();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let text = pattern(3_000);
    for mut stream in &streams {
        stream.write_all(&text).unwrap();
        let mut back = vec![0; text.len()];
        stream.read_exact(&mut back).unwrap();
        assert!(back == text, "other bytes came back");
    }
    // All are open still: a copy that came after the end would be an old duplicate, and end in RST.
    let count = |name| sluice.counter(&topology.client, name);
    assert!(count("frames_handed_over") > 0);
    assert_eq!(count("resets_out"), 0);
    let doubles = count("half_open_doubles");
    note!("{doubles} half-open entries gave way to another shard's");
    drop(streams);
    sluice.stop();
}

/// SYN `nth` of a round, from a host that is not there.
fn syn(round: u32, nth: u16) -> Segment {
    let segment = Segment::of(&forged(round << 8 | 1, SYN)).expect("a segment of TCP");
    segment.with_source_port(10_000 + nth)
}

/// What the SYN-ACKs say that come until none does for a while: the numbers that each port was given.
fn given(socket: &PacketSocket) -> BTreeMap<u16, BTreeSet<u32>> {
    let (mut buffer, mut given) = (vec![0; 2_048], BTreeMap::<_, BTreeSet<_>>::new());
    while let Ok(len) = recv(socket.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        match Segment::of(&buffer[..len]) {
            Some(segment) if segment.has(SYN | ACK) => {
                given.entry(segment.ports().1).or_default().insert(segment.seq());
            }
            _ => {}
        }
    }
    given
}

// Both workers have a copy of the same SYN before them at the same moment, when neither has an entry yet.
// Whether that happens is the scheduler's business: of two thousand SYNs it does to a few.
#[test]
#[ignore = "needs root"]
fn syns_on_two_queues_at_once_leave_doubles_that_give_way() {
    const FLOWS: u16 = 2_000;
    // Each worker has another order, so that they meet again and again.
    const BLOCK: u16 = 16;
    let topology = Topology::with(&Options { queues: 2, ..Options::default() });
    let sluice = Sluice::start(&topology, "--syn-cookies never --backlog 8192");
    let client = &topology.client;
    assert_echoes(client, (SERVER, 7), b"the neighbours know each other");
    let send_all = |queue, frames: &mut dyn Iterator<Item = Vec<u8>>| {
        send_by(client, "veth1", queue);
        send(client, "veth1", frames);
    };
    let backwards = |begin| (begin..begin + BLOCK).rev();
    let mut doubles = Vec::new();
    for round in 0..40 {
        sluice.hold();
        send_all(0, &mut (0..FLOWS).map(|nth| syn(round, nth).frame()));
        let order = (0..FLOWS).step_by(BLOCK.into()).flat_map(backwards);
        send_all(1, &mut order.map(|nth| syn(round, nth).frame()));
        let socket = open(client, "veth1");
        setsockopt(&socket.fd, sockopt::RcvBufForce, &(64 << 20)).unwrap();
        setsockopt(&socket.fd, sockopt::ReceiveTimeout, &TimeVal::new(0, 300_000)).unwrap();
        sluice.go_on();
        let given = given(&socket).into_iter().filter(|(_, numbers)| numbers.len() > 1);
        doubles = given
            .map(|(port, numbers)| (syn(round, port - 10_000), *numbers.first().unwrap()))
            .collect();
        if !doubles.is_empty() {
            break;
        }
    }
    note!("{} SYNs met no entry at either of two shards", doubles.len());
    assert!(!doubles.is_empty());
    // The peer takes one of the two, and its acknowledgment comes to both queues.
    for queue in 0..2 {
        let ack = |(syn, iss): &(Segment, u32)| {
            let ack = syn.clone().with_flags(ACK).with_seq(syn.seq() + 1);
            ack.with_ack(iss.wrapping_add(1)).frame()
        };
        send_all(queue, &mut doubles.iter().map(ack));
    }
    let count = doubles.len() as u64;
    let counter = |name| sluice.counter(client, name);
    wait_until("the doubles are gone", PATIENCE, || counter("half_open_doubles") == count);
    // They, and the one that asks.
    wait_until("one of each is open", PATIENCE, || {
        sluice.state(client, "ESTABLISHED") == count + 1
    });
    assert_eq!(counter("resets_out"), 0);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn served_connections_whose_segments_move_and_get_lost_carry_every_byte() {
    const COUNT: usize = 100;
    let topology = queues(Some(Link::default()));
    let sluice = Sluice::start(&topology, "");
    let _turns = send_by_turns(topology.middle(), "m0");
    lose(&topology, 20);
    let source = Source::Connect { to: (SERVER, 7), from: &[CLIENT], at_once: COUNT };
    let course = Course { send: 1 << 16, receive: 1 << 16, end: End::Half, ..Course::default() };
    let outcome = run(&topology.client, &source, course, (COUNT, false));
    outcome.assert_all("four queues, 2 % loss, the kernel opens", COUNT);
    topology.relay().clear();
    let count = |name| sluice.counter(&topology.client, name);
    let handed_over = count("frames_handed_over");
    note!("{handed_over} of {} frames were handed over", count("frames_in"));
    assert!(handed_over > 0 && count("retransmits") > 0);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn opened_connections_whose_segments_move_and_get_lost_carry_every_byte() {
    const COUNT: usize = 100;
    let topology = queues(Some(Link::default()));
    let listener = topology.client.listen_with((CLIENT, PEER_PORT), 256);
    let _turns = send_by_turns(topology.middle(), "m0");
    lose(&topology, 20);
    let options = format!("--connections {COUNT} --at-once {COUNT} --send 65536 --receive 65536");
    let opener = Opener::start(&topology, &options);
    let course = Course { send: 1 << 16, receive: 1 << 16, end: End::Second, ..Course::default() };
    let outcome = run(&topology.client, &Source::Accept(&listener), course, (COUNT, false));
    outcome.assert_all("four queues, 2 % loss, Sluice opens", COUNT);
    let summary = opener.finish(PATIENCE);
    summary.assert_all("done", COUNT as u64);
    let [handed_over, at_home, away, again] =
        ["frames_handed_over", "ports_at_home", "ports_away", "retransmits"]
            .map(|name| summary.number(&format!("counters.{name}")));
    note!("{handed_over} frames were handed over");
    assert!(handed_over > 0 && again > 0);
    // A veth tells of no hash by which ports could be chosen.
    assert_eq!((at_home, away), (0, 0));
}
