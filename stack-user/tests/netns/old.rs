//! Segments of another time, with Sluice at either end: old duplicates, old timestamps, names that
//! are used again while one end has them in TIME-WAIT.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;

use nix::sys::socket::{SockFlag, SockType, bind, connect, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;

use crate::family::{FAMILY, place, shown};
use crate::kernel::{Course, Source, run};
use crate::packets::send;
use crate::process::wait_until;
use crate::segment::{ACK, FIN, RST, SYN, Segment};
use crate::server::{Opener, PEER_PORT, Sluice};
use crate::topology::{CLIENT, PATIENCE, SERVER, Topology, accept};
use crate::transfer::read;
use crate::watch::{Seen, relayed};
use relay::Way;

fn has_text(segment: &Segment) -> bool {
    !segment.text().is_empty()
}

/// A connection to the echo of Sluice that has carried `text` both ways; the segment that did.
fn echoed(topology: &Topology, text: &[u8]) -> (TcpStream, Seen, Segment) {
    let seen = Seen::on(topology.relay(), 7);
    let mut stream = topology.client.connect((SERVER, 7));
    stream.write_all(text).unwrap();
    stream.read_exact(&mut vec![0; text.len()]).unwrap();
    let segment = seen.wait("the text", (Way::ToServer, 1), has_text).remove(0);
    (stream, seen, segment)
}

/// Sends `segment` from the client's end as it stands.
fn forge(topology: &Topology, segment: &Segment) {
    let frame = segment.frame();
    assert_eq!(send(&topology.client, "veth1", std::iter::once(frame)), 1);
}

#[test]
#[ignore = "needs root"]
fn served_text_with_an_old_timestamp_is_dropped_and_acknowledged() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "");
    let (mut stream, seen, first) = echoed(&topology, b"good");
    let before = sluice.counter(&topology.client, "paws_dropped");
    // RFC 7323 5.3, R1: the next in order, but from an hour ago.
    let next = first.seq().wrapping_add(4);
    let is_answer = |segment: &Segment| segment.is_bare() && segment.ack() == next;
    let acks = seen.all(Way::ToClient, is_answer).len();
    forge(&topology, &first.with_seq(next).with_text(b"evil").with_older_stamp(3_600_000));
    seen.wait("an acknowledgment", (Way::ToClient, acks + 1), is_answer);
    // It may have been that of a text that came twice.
    wait_until("it is dropped", PATIENCE, || {
        sluice.counter(&topology.client, "paws_dropped") == before + 1
    });
    stream.write_all(b"fair").unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"fair");
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn opened_text_with_an_old_timestamp_is_dropped() {
    let topology = relayed();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    let seen = Seen::on(topology.relay(), PEER_PORT);
    let opener = Opener::start(&topology, "--receive 200");
    let (mut stream, _) = accept(&listener);
    let bytes = crate::transfer::pattern(200);
    stream.write_all(&bytes[..100]).unwrap();
    let first = seen.wait("the text", (Way::ToServer, 1), has_text).remove(0);
    let next = first.seq().wrapping_add(100);
    seen.wait("its acknowledgment", (Way::ToClient, 1), |segment| segment.ack() == next);
    // With other bytes than the pattern's: taken, they would fail the connection.
    let forged = first.with_seq(next).with_text(&[0; 100]).with_older_stamp(3_600_000);
    let acks = seen.all(Way::ToClient, |segment| segment.ack() == next).len();
    forge(&topology, &forged);
    seen.wait("its answer", (Way::ToClient, acks + 1), |segment| segment.ack() == next);
    stream.write_all(&bytes[100..]).unwrap();
    assert_eq!(read(&stream, &mut [0]).unwrap(), 0);
    drop(stream);
    let summary = opener.finish(PATIENCE);
    summary.assert_all("done", 1);
    assert_eq!(summary.number("counters.paws_dropped"), 1);
}

#[test]
#[ignore = "needs root"]
fn served_old_text_is_acknowledged_and_not_taken_twice() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "");
    let (mut stream, seen, first) = echoed(&topology, b"once");
    let next = first.seq().wrapping_add(4);
    let is_answer = |segment: &Segment| segment.is_bare() && segment.ack() == next;
    let acks = seen.all(Way::ToClient, is_answer).len();
    forge(&topology, &first);
    seen.wait("an acknowledgment", (Way::ToClient, acks + 1), is_answer);
    stream.write_all(b"twice").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert_eq!(back, b"twice");
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn served_old_syn_gets_an_answer_that_its_host_resets() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "");
    let seen = Seen::on(topology.relay(), 7);
    crate::transfer::assert_echoes(&topology.client, (SERVER, 7), b"x");
    let syn = seen.wait("the SYN", (Way::ToServer, 1), |segment| segment.has(SYN)).remove(0);
    // RFC 9293 3.5, figure 8; of another port, since the old name is in TIME-WAIT at its host.
    let old = syn.with_source_port(1);
    let seen = Seen::on(topology.relay(), 7);
    forge(&topology, &old);
    seen.wait("the answer", (Way::ToClient, 1), |segment| segment.has(SYN | ACK));
    seen.wait("the reset", (Way::ToServer, 1), |segment| segment.has(RST));
    wait_until("the half-open entry is gone", PATIENCE, || {
        sluice.state(&topology.client, "SYN-RECEIVED") == 0
    });
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn served_old_fin_in_time_wait_is_acknowledged_again_and_a_reset_changes_nothing() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "");
    let seen = Seen::on(topology.relay(), 80);
    let port = closed_by_sluice(&topology, None, false);
    let is_of = move |segment: &Segment| segment.is_of(port);
    let fins = seen
        .wait("the kernel's FIN", (Way::ToServer, 1), |segment| is_of(segment) && segment.has(FIN));
    let fin = fins[0].clone();
    let after = fin.seq().wrapping_add(fin.text().len() as u32 + 1);
    let is_answer =
        move |segment: &Segment| is_of(segment) && segment.is_bare() && segment.ack() == after;
    seen.wait("its acknowledgment", (Way::ToClient, 1), is_answer);
    // RFC 1337: a RST does not end TIME-WAIT.
    forge(&topology, &fin.clone().with_seq(after).with_flags(RST | ACK));
    forge(&topology, &fin);
    seen.wait("its second acknowledgment", (Way::ToClient, 2), is_answer);
    assert!(sluice.state(&topology.client, "TIME-WAIT") >= 1);
    sluice.stop();
}

/// Makes a connection that Sluice closes first, from `port` where one is given; gives its port.
fn closed_by_sluice(topology: &Topology, port: Option<u16>, reuses: bool) -> u16 {
    let mut stream = connect_from(topology, port, reuses);
    stream.write_all(b"GET /bytes/10 HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let port = stream.local_addr().unwrap().port();
    drop(stream);
    // Until its FIN is acknowledged the kernel has the name itself.
    let name = format!("{}:{port} ", shown(CLIENT));
    wait_until("the kernel has forgotten it", PATIENCE, || {
        !topology.client.quiet("ss -Htan").contains(&name)
    });
    port
}

/// A kernel's connection to port 80 from `port` of the client's address.
fn connect_from(topology: &Topology, port: Option<u16>, reuses: bool) -> TcpStream {
    topology.client.inside(|| {
        let fd = socket(FAMILY, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
        let fd = fd.unwrap();
        setsockopt(&fd, sockopt::ReuseAddr, &reuses).unwrap();
        let patience = TimeVal::new(PATIENCE.as_secs() as i64, 0);
        setsockopt(&fd, sockopt::ReceiveTimeout, &patience).unwrap();
        setsockopt(&fd, sockopt::SendTimeout, &patience).unwrap();
        bind(fd.as_raw_fd(), &place(CLIENT, port.unwrap_or(0))).unwrap();
        connect(fd.as_raw_fd(), &place(SERVER, 80)).unwrap();
        fd.into()
    })
}

#[test]
#[ignore = "needs root"]
fn served_port_bound_again_reuses_time_wait() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "");
    let port = closed_by_sluice(&topology, None, false);
    for reuses in [false, true, false] {
        closed_by_sluice(&topology, Some(port), reuses);
    }
    assert_eq!(sluice.counter(&topology.client, "time_wait_reuses"), 3);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn served_port_bound_again_without_timestamps_reuses_time_wait() {
    let topology = relayed();
    topology.client.write_sysctl("net/ipv4/tcp_timestamps", "0");
    let sluice = Sluice::start(&topology, "");
    let port = closed_by_sluice(&topology, None, false);
    // RFC 9293 3.10.7.4: by the sequence number alone, which the kernel lets grow.
    closed_by_sluice(&topology, Some(port), false);
    assert_eq!(sluice.counter(&topology.client, "time_wait_reuses"), 1);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn served_port_that_the_kernel_has_in_time_wait_is_bound_again() {
    let topology = relayed();
    topology.client.write_sysctl("net/ipv4/tcp_tw_reuse", "1");
    topology.client.write_sysctl("net/ipv4/ip_local_port_range", "40000 40001");
    let sluice = Sluice::start(&topology, "");
    // The kernel closes first; it takes a port of its own again after a second.
    let source = Source::Connect { to: (SERVER, 7), from: &[CLIENT], at_once: 1 };
    let course = Course { send: 100, receive: 100, ..Course::default() };
    let open_one = || run(&topology.client, &source, course, (1, false));
    (0..2).for_each(|_| open_one().assert_all("a new name", 1));
    for _ in 0..2 {
        wait_until("a port is free again", PATIENCE, || open_one().failures.is_empty());
    }
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn opened_names_that_the_kernel_has_in_time_wait_are_used_again() {
    let topology = relayed();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    let options =
        "--local-ports 61000-61000 --connections 20 --at-once 1 --close passive --send 10";
    let opener = Opener::start(&topology, options);
    let course = Course { receive: 10, ..Course::default() };
    let outcome = run(&topology.client, &Source::Accept(&listener), course, (20, false));
    outcome.assert_all("one name twenty times", 20);
    opener.finish(PATIENCE).assert_all("done", 20);
}
