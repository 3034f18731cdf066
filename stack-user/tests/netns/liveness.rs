//! Whether the other side is still there, with Sluice at either end: keepalive, closed windows, and
//! peers that fall silent.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use nix::sys::socket::{setsockopt, sockopt};

use crate::process::wait_until;
use crate::segment::{RST, SYN, Segment};
use crate::server::{Opener, PEER_PORT, Sluice};
use crate::topology::{CLIENT, PATIENCE, SERVER, Topology, accept};
use crate::transfer::{assert_pattern, pattern, read};
use crate::watch::{Seen, relayed};
use relay::{Fate, Way};

/// Makes the kernel probe an idle peer every second, and give up after two probes.
fn keep_alive(stream: &TcpStream) {
    setsockopt(stream, sockopt::KeepAlive, &true).unwrap();
    setsockopt(stream, sockopt::TcpKeepIdle, &1).unwrap();
    setsockopt(stream, sockopt::TcpKeepInterval, &1).unwrap();
    setsockopt(stream, sockopt::TcpKeepCount, &2).unwrap();
}

/// Segments that only ask for an answer: below what the receiver has acknowledged.
fn probes(seen: &Seen, way: Way) -> Vec<Segment> {
    let back = if way == Way::ToServer { Way::ToClient } else { Way::ToServer };
    let next = seen.all(back, |segment| !segment.has(SYN)).iter().map(Segment::ack).max();
    let below = move |segment: &Segment| {
        segment.text().len() <= 1 && next.is_some_and(|next| segment.seq() == next.wrapping_sub(1))
    };
    seen.all(way, |segment| !segment.has(SYN) && below(segment))
}

/// Waits for `count` keepalive probes that go `way`.
fn await_probes(seen: &Seen, way: Way, count: usize) {
    wait_until("keepalive probes", PATIENCE, || probes(seen, way).len() >= count);
}

/// Everything of `port` is lost from now on.
fn cut(topology: &Topology, port: u16) -> Seen {
    Seen::with(topology.relay(), port, |_, _| Fate::Drop)
}

#[test]
#[ignore = "needs root"]
fn keepalive_of_the_kernel_is_answered_by_either_end() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "");
    let seen = Seen::on(topology.relay(), 7);
    let mut stream = topology.client.connect((SERVER, 7));
    keep_alive(&stream);
    // More than the count: without answers it would be over.
    await_probes(&seen, Way::ToServer, 4);
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    sluice.stop();

    let listener = topology.client.listen((CLIENT, PEER_PORT));
    let seen = Seen::on(topology.relay(), PEER_PORT);
    let opener = Opener::start(&topology, "--receive 100");
    let (mut stream, _) = accept(&listener);
    keep_alive(&stream);
    await_probes(&seen, Way::ToServer, 4);
    stream.write_all(&pattern(100)).unwrap();
    assert_eq!(read(&stream, &mut [0]).unwrap(), 0);
    drop(stream);
    opener.finish(PATIENCE).assert_all("done", 1);
}

#[test]
#[ignore = "needs root"]
fn served_zero_window_of_the_kernel_is_probed_until_it_opens() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "");
    let seen = Seen::on(topology.relay(), 80);
    let mut stream = topology.client.connect((SERVER, 80));
    stream.write_all(b"GET /bytes/20000000 HTTP/1.0\r\n\r\n").unwrap();
    await_closed_window(&seen, Way::ToServer);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    assert_eq!(assert_pattern(&mut &answer[head..]), 20_000_000);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn opened_zero_window_of_the_kernel_is_probed_until_it_opens() {
    let topology = relayed();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    let seen = Seen::on(topology.relay(), PEER_PORT);
    let opener = Opener::start(&topology, "--send 20000000");
    let (mut stream, _) = accept(&listener);
    await_closed_window(&seen, Way::ToServer);
    assert_eq!(assert_pattern(&mut stream), 20_000_000);
    drop(stream);
    opener.finish(PATIENCE).assert_all("done", 1);
}

#[test]
#[ignore = "needs root"]
fn served_zero_window_of_ours_is_probed_by_the_kernel_until_it_opens() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "");
    let seen = Seen::on(topology.relay(), 7);
    let stream = topology.client.connect((SERVER, 7));
    // Nobody reads the echo: first the kernel's window closes, then ours.
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| (&stream).write_all(&pattern(40_000_000)));
        await_closed_window(&seen, Way::ToClient);
        let mut back = vec![0; 40_000_000];
        (&stream).read_exact(&mut back).unwrap();
        assert!(back == pattern(40_000_000));
        writing.join().unwrap().unwrap();
    });
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn opened_zero_window_of_ours_is_probed_by_the_kernel_until_it_opens() {
    let topology = relayed();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    let seen = Seen::on(topology.relay(), PEER_PORT);
    // Long enough for two probes of a kernel that has measured the round trip while the machine was busy.
    let opener = Opener::start(&topology, "--receive 20000000 --pause 5");
    let (stream, _) = accept(&listener);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| (&stream).write_all(&pattern(20_000_000)));
        await_closed_window(&seen, Way::ToClient);
        writing.join().unwrap().unwrap();
    });
    assert_eq!(read(&stream, &mut [0]).unwrap(), 0);
    drop(stream);
    opener.finish(PATIENCE).assert_all("done", 1);
}

/// Waits until what goes `way` closes the window three times over: to the last text, and to two
/// probes.
fn await_closed_window(seen: &Seen, way: Way) {
    seen.wait("a window that stays closed", (way, 3), |segment| {
        segment.window() == 0 && !segment.has(RST) && !segment.has(SYN)
    });
}

#[test]
#[ignore = "needs root"]
fn keepalive_of_ours_is_answered_by_the_kernel() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "--keepalive 1,1,2");
    let seen = Seen::on(topology.relay(), 7);
    let mut stream = topology.client.connect((SERVER, 7));
    await_probes(&seen, Way::ToClient, 4);
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    sluice.stop();

    let listener = topology.client.listen((CLIENT, PEER_PORT));
    let seen = Seen::on(topology.relay(), PEER_PORT);
    let opener = Opener::start(&topology, "--receive 100 --keepalive 1,1,2");
    let (mut stream, _) = accept(&listener);
    await_probes(&seen, Way::ToClient, 4);
    stream.write_all(&pattern(100)).unwrap();
    assert_eq!(read(&stream, &mut [0]).unwrap(), 0);
    drop(stream);
    opener.finish(PATIENCE).assert_all("done", 1);
}

#[test]
#[ignore = "needs root"]
fn served_idle_peer_that_fell_silent_is_given_up_by_keepalive() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "--keepalive 1,1,2");
    let seen = Seen::on(topology.relay(), 7);
    let mut stream = topology.client.connect((SERVER, 7));
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    // Idle is only who has nothing unacknowledged.
    let echo = seen.wait("the echo", (Way::ToClient, 1), |segment| !segment.text().is_empty());
    let after = echo[0].seq().wrapping_add(1);
    seen.wait("its acknowledgment", (Way::ToServer, 1), |segment| segment.ack() == after);
    let seen = cut(&topology, 7);
    wait_until("it is given up", PATIENCE, || {
        sluice.counter(&topology.client, "keepalive_drops") == 1
    });
    assert!(seen.all(Way::ToClient, |_| true).len() >= 2, "it was asked");
    // Back again, the kernel learns that the connection is gone.
    topology.relay().clear();
    stream.write_all(b"y").unwrap();
    assert_eq!(read(&stream, &mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn opened_idle_peer_that_fell_silent_is_given_up_by_keepalive() {
    let topology = relayed();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    let opener = Opener::start(&topology, "--receive 100 --keepalive 1,1,2");
    let _stream = accept(&listener);
    let _seen = cut(&topology, PEER_PORT);
    opener.finish(PATIENCE).assert_all("timed_out", 1);
}

#[test]
#[ignore = "needs root"]
fn opened_busy_peer_that_fell_silent_is_given_up_by_the_user_timeout() {
    let topology = relayed();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    let opener = Opener::start(&topology, "--send 100000000 --user-timeout 2");
    let (mut stream, _) = accept(&listener);
    stream.read_exact(&mut [0; 1000]).unwrap();
    let _seen = cut(&topology, PEER_PORT);
    opener.finish(PATIENCE).assert_all("timed_out", 1);
}

#[test]
#[ignore = "needs root"]
fn opened_busy_peer_that_fell_silent_is_given_up_after_its_retries() {
    let topology = relayed();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    let opener = Opener::start(&topology, "--send 100000000 --retries 3");
    let (mut stream, _) = accept(&listener);
    stream.read_exact(&mut [0; 1000]).unwrap();
    let _seen = cut(&topology, PEER_PORT);
    opener.finish(PATIENCE).assert_all("timed_out", 1);
}

#[test]
#[ignore = "needs root"]
fn silence_is_noticed_by_the_kernel_alike() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "");
    let mut stream = topology.client.connect((SERVER, 7));
    keep_alive(&stream);
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    let _seen = cut(&topology, 7);
    assert_eq!(read(&stream, &mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    sluice.stop();
}
