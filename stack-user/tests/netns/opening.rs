//! How connections begin, or do not, with Sluice at either end: lost SYNs, SYN-ACKs and third ACKs,
//! refusals, silence, and two SYNs that cross.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{SockFlag, SockType, bind, connect, setsockopt, socket, sockopt};

use crate::family::{ELSEWHERE, FAMILY, FORWARDING, Ip, PREFIX, host, place, shown};
use crate::process::wait_until;
use crate::segment::{ACK, FIN, RST, SYN, Segment};
use crate::server::{Opener, PEER_PORT, Sluice};
use crate::topology::{CLIENT, FREE, PATIENCE, SERVER, Topology, accept};
use crate::transfer::{assert_echoes, pattern, read};
use crate::watch::{Seen, drop_first, relayed};
use relay::{Fate, Way};

fn is_syn(segment: &Segment) -> bool {
    segment.has(SYN) && !segment.has(ACK)
}

fn is_syn_ack(segment: &Segment) -> bool {
    segment.has(SYN | ACK)
}

/// A kernel's server that echoes one connection to its end.
fn echo_one(listener: &std::net::TcpListener, len: usize) {
    let (mut stream, _) = accept(listener);
    let mut text = vec![0; len];
    stream.read_exact(&mut text).unwrap();
    stream.write_all(&text).unwrap();
    assert_eq!(read(&stream, &mut [0]).unwrap(), 0);
}

#[test]
#[ignore = "needs root"]
fn served_syn_ack_lost_is_repeated_with_the_same_number() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "");
    let seen = Seen::with(topology.relay(), 7, drop_first(2, Way::ToClient, is_syn_ack));
    assert_echoes(&topology.client, (SERVER, 7), b"late");
    let answers = seen.all(Way::ToClient, is_syn_ack);
    assert!(answers.len() >= 3, "{}", answers.len());
    assert!(answers.iter().all(|answer| answer.seq() == answers[0].seq()));
    assert!(!seen.any(|segment| segment.has(RST)));
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn opened_syn_ack_lost_makes_sluice_repeat_its_syn() {
    let topology = relayed();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    let lost = drop_first(1, Way::ToServer, is_syn_ack);
    let seen = Seen::with(topology.relay(), PEER_PORT, lost);
    let opener = Opener::start(&topology, "--send 100 --receive 100");
    echo_one(&listener, 100);
    opener.finish(PATIENCE).assert_all("done", 1);
    let syns = seen.all(Way::ToClient, is_syn);
    // Either may repeat first: the kernel its SYN-ACK or we the SYN.
    assert!(syns.iter().all(|syn| syn.seq() == syns[0].seq()));
    assert!(seen.all(Way::ToServer, is_syn_ack).len() >= 2);
    assert!(!seen.any(|segment| segment.has(RST)));
}

#[test]
#[ignore = "needs root"]
fn opened_syn_lost_is_repeated() {
    let topology = relayed();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    let lost = drop_first(2, Way::ToClient, is_syn);
    let seen = Seen::with(topology.relay(), PEER_PORT, lost);
    let opener = Opener::start(&topology, "--send 100 --receive 100");
    echo_one(&listener, 100);
    opener.finish(PATIENCE).assert_all("done", 1);
    let syns = seen.all(Way::ToClient, is_syn);
    assert_eq!(syns.len(), 3);
    assert!(syns.iter().all(|syn| syn.seq() == syns[0].seq()));
}

#[test]
#[ignore = "needs root"]
fn served_third_ack_lost_is_made_good_by_data() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "");
    let seen = Seen::with(topology.relay(), 7, drop_first(1, Way::ToServer, Segment::is_bare));
    assert_echoes(&topology.client, (SERVER, 7), b"data completes the handshake");
    // Before it a client that was late may have been asked again.
    let mut after = seen.since(|way, segment| way == Way::ToServer && !segment.text().is_empty());
    let is_repeated = after.any(|(way, segment)| way == Way::ToClient && is_syn_ack(&segment));
    assert!(!is_repeated, "there was no need to repeat it");
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn served_third_ack_lost_of_a_silent_client_is_asked_for_again() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "");
    let seen = Seen::with(topology.relay(), 7, drop_first(1, Way::ToServer, Segment::is_bare));
    let mut stream = topology.client.connect((SERVER, 7));
    seen.wait("a second third ACK", (Way::ToServer, 2), Segment::is_bare);
    assert_eq!(seen.all(Way::ToClient, is_syn_ack).len(), 2);
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn opened_third_ack_lost_is_made_good() {
    let topology = relayed();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    // With data at once, then without before the kernel has spoken.
    for (send, receive) in [(100, 0), (0, 100)] {
        let lost = drop_first(1, Way::ToClient, Segment::is_bare);
        let _seen = Seen::with(topology.relay(), PEER_PORT, lost);
        let options = format!("--send {send} --receive {receive} --close passive --time-wait 1");
        let opener = Opener::start(&topology, &options);
        let (mut stream, _) = accept(&listener);
        stream.read_exact(&mut vec![0; send]).unwrap();
        stream.write_all(&pattern(receive)).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read(&stream, &mut [0]).unwrap(), 0);
        opener.finish(PATIENCE).assert_all("done", 1);
    }
}

#[test]
#[ignore = "needs root"]
fn opened_to_a_port_that_nobody_serves_is_refused() {
    let topology = relayed();
    let opener = Opener::start(&topology, "--connections 10");
    opener.finish(PATIENCE).assert_all("refused", 10);
}

#[test]
#[ignore = "needs root"]
fn opened_to_a_silent_peer_times_out() {
    let topology = relayed();
    let seen = Seen::with(topology.relay(), PEER_PORT, |_, _| Fate::Drop);
    let opener = Opener::start(&topology, "--syn-retries 1");
    opener.finish(PATIENCE).assert_all("timed_out", 1);
    assert_eq!(seen.all(Way::ToClient, is_syn).len(), 2);
}

#[test]
#[ignore = "needs root"]
fn opened_to_a_host_that_is_not_there_is_unreachable() {
    let topology = relayed();
    let opener = Opener::start(&topology, &format!("--to {}:9000", shown(host(77))));
    opener.finish(PATIENCE).assert_all("unreachable", 1);
}

#[test]
#[ignore = "needs root"]
fn opened_to_a_net_that_the_router_cannot_reach_is_unreachable() {
    let topology = relayed();
    let (net, peer) = ELSEWHERE;
    topology.server.ip(&format!("route add {net} via {CLIENT}"));
    topology.client.write_sysctl(FORWARDING, "1");
    topology.client.ip(&format!("route add unreachable {net}"));
    let options = format!("--to {}:9000 --syn-retries 2", shown(peer));
    let opener = Opener::start(&topology, &options);
    opener.finish(PATIENCE).assert_all("unreachable", 1);
}

#[test]
#[ignore = "needs root"]
fn syns_that_cross_open_one_connection() {
    let topology = relayed();
    let seen = Seen::with(topology.relay(), PEER_PORT, |_, segment| match is_syn(segment) {
        true => Fate::Hold,
        false => Fate::Carry,
    });
    let options = "--local-ports 61000-61000 --send 100 --receive 100";
    let opener = Opener::start(&topology, options);
    let ours = seen.wait("our SYN", (Way::ToClient, 1), is_syn);
    let mut stream = begin_connect(&topology, PEER_PORT, (SERVER, ours[0].ports().0));
    seen.wait("the kernel's SYN", (Way::ToServer, 1), is_syn);
    let seen = Seen::on(topology.relay(), PEER_PORT);
    topology.relay().release();
    // RFC 9293 3.5, figure 7: a SYN is answered with SYN-ACK. Ours is not needed where the kernel's
    // comes together with its SYN.
    seen.wait("the kernel's SYN-ACK", (Way::ToServer, 1), is_syn_ack);
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = [0; 100];
    stream.read_exact(&mut text).unwrap();
    stream.write_all(&text).unwrap();
    assert_eq!(read(&stream, &mut [0]).unwrap(), 0);
    drop(stream);
    opener.finish(PATIENCE).assert_all("done", 1);
}

/// A kernel's connection from `port` of the client's address, on its way.
fn begin_connect(topology: &Topology, port: u16, to: (Ip, u16)) -> TcpStream {
    topology.client.inside(|| {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(FAMILY, SockType::Stream, flags, None).unwrap();
        setsockopt(&fd, sockopt::ReuseAddr, &true).unwrap();
        bind(fd.as_raw_fd(), &place(CLIENT, port)).unwrap();
        assert_eq!(connect(fd.as_raw_fd(), &place(to.0, to.1)), Err(Errno::EINPROGRESS));
        fd.into()
    })
}

#[test]
#[ignore = "needs root"]
fn served_handshake_that_is_never_completed_goes_and_what_follows_is_reset() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "--syn-ack-retries 1");
    let seen = Seen::with(topology.relay(), 7, |way, segment| {
        match way == Way::ToServer && !segment.has(SYN) {
            true => Fate::Drop,
            false => Fate::Carry,
        }
    });
    // To the kernel the connection is open.
    let mut stream = topology.client.connect((SERVER, 7));
    wait_until("the entry is gone", PATIENCE, || {
        sluice.state(&topology.client, "SYN-RECEIVED") == 0
    });
    assert_eq!(seen.all(Way::ToClient, is_syn_ack).len(), 2);
    let seen = Seen::on(topology.relay(), 7);
    stream.write_all(b"is anybody there?").unwrap();
    assert_eq!(read(&stream, &mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(seen.any(|segment| segment.has(RST)) && !seen.any(|segment| segment.has(FIN)));
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn opened_names_are_of_the_range_and_each_its_own() {
    let topology = Topology::new();
    let listener = topology.client.listen_with((CLIENT, PEER_PORT), 200);
    for (address, options) in [(SERVER, String::new()), (FREE, format!("--addr {FREE}/{PREFIX}"))] {
        // As many as there are ports: none is left over, and none is given twice.
        let range = "--local-ports 45000-45099 --connections 100 --at-once 100";
        let opener = Opener::start(&topology, &format!("{range} --close passive {options}"));
        let accepted: Vec<_> = (0..100).map(|_| accept(&listener)).collect();
        let mut names: Vec<_> = accepted.iter().map(|(_, peer)| *peer).collect();
        names.sort_unstable();
        let wanted: Vec<_> = (45_000..45_100).map(|port| (address, port).into()).collect();
        assert_eq!(names, wanted);
        drop(accepted);
        opener.finish(PATIENCE).assert_all("done", 100);
    }
}

#[test]
#[ignore = "needs root"]
fn opened_beyond_the_range_is_told_as_that() {
    let topology = Topology::new();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    let range = "--local-ports 45000-45001 --connections 3 --at-once 3 --close passive";
    let opener = Opener::start(&topology, range);
    let accepted = [accept(&listener), accept(&listener)];
    drop(accepted);
    let summary = opener.finish(PATIENCE);
    assert_eq!(summary.number("outcomes.no_resources"), 1);
    assert_eq!(summary.number("outcomes.done"), 2);
}
