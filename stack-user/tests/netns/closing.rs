//! How connections end, with Sluice at either end: who closes first, both at once, one direction
//! alone, and by RST.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use crate::family::shown;
use crate::process::wait_until;
use crate::segment::{ACK, FIN, RST, SYN, Segment};
use crate::server::{Opener, PEER_PORT, Sluice};
use crate::topology::{CLIENT, PATIENCE, SERVER, Topology, accept};
use crate::transfer::{assert_pattern, pattern, read};
use crate::watch::{Seen, relayed};
use relay::{Fate, Way};

/// The kernel's connections in the client's namespace that are in `state`, as `ss` names it.
pub(crate) fn in_state(topology: &Topology, state: &str) -> Vec<String> {
    let shown = topology.client.quiet(&format!("ss -Htan state {state}"));
    shown.lines().map(str::to_string).collect()
}

/// Makes close(2) send RST.
pub(crate) fn reset(stream: TcpStream) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&stream, sockopt::Linger, &linger).unwrap();
}

fn is_fin(segment: &Segment) -> bool {
    segment.has(FIN)
}

fn is_reset(segment: &Segment) -> bool {
    segment.has(RST)
}

/// The number behind a FIN.
fn end(fin: &Segment) -> u32 {
    fin.seq().wrapping_add(fin.text().len() as u32 + 1)
}

#[test]
#[ignore = "needs root"]
fn served_kernel_closes_first_and_keeps_time_wait() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "");
    let seen = Seen::on(topology.relay(), 7);
    let mut stream = topology.client.connect((SERVER, 7));
    stream.write_all(b"first").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert_eq!(back, b"first");
    wait_until("the kernel is in TIME-WAIT", PATIENCE, || {
        in_state(&topology, "time-wait").iter().any(|line| line.contains(":7"))
    });
    for way in [Way::ToServer, Way::ToClient] {
        // One FIN, however often a relay that was late has made its sender repeat it.
        let fins = seen.wait("its FIN", (way, 1), is_fin);
        assert!(fins.iter().all(|fin| end(fin) == end(&fins[0])), "{way:?}: {fins:?}");
    }
    assert!(!seen.any(is_reset));
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn served_sluice_closes_first_and_keeps_time_wait() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "");
    let mut stream = topology.client.connect((SERVER, 80));
    let port = stream.local_addr().unwrap().port();
    stream.write_all(b"GET /bytes/10 HTTP/1.0\r\n\r\n").unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    drop(stream);
    wait_until("Sluice is in TIME-WAIT", PATIENCE, || {
        sluice.state(&topology.client, "TIME-WAIT") == 1
    });
    let name = format!("{}:{port}", shown(CLIENT));
    let left = in_state(&topology, "time-wait");
    assert!(!left.iter().any(|line| line.contains(&name)), "{left:?}");
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn served_both_close_at_once_and_their_fins_cross() {
    let topology = relayed();
    let mut sluice = Sluice::start(&topology, "--grace 15");
    let mut stream = topology.client.connect((SERVER, 7));
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    let held = hold_fins(&topology, 7);
    stream.shutdown(Shutdown::Write).unwrap();
    // Sluice closes everything at its end.
    sluice.ask_to_end();
    assert_fins_cross(&topology, &held, 7);
    assert_eq!(read(&stream, &mut [0; 8]).unwrap(), 0);
    sluice.assert_ends_well();
}

#[test]
#[ignore = "needs root"]
fn opened_both_close_at_once_and_their_fins_cross() {
    let topology = relayed();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    // From the start: how soon Sluice's comes is its own business.
    let held = hold_fins(&topology, PEER_PORT);
    let opener = Opener::start(&topology, "--hold 0.3");
    let (stream, _) = accept(&listener);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_fins_cross(&topology, &held, PEER_PORT);
    assert_eq!(read(&stream, &mut [0; 8]).unwrap(), 0);
    opener.finish(PATIENCE).assert_all("done", 1);
}

/// Holds what carries a FIN.
fn hold_fins(topology: &Topology, port: u16) -> Seen {
    Seen::with(topology.relay(), port, |_, segment| match segment.has(FIN) {
        true => Fate::Hold,
        false => Fate::Carry,
    })
}

/// Waits for a FIN from each side, lets them cross, and for the acknowledgment of both.
fn assert_fins_cross(topology: &Topology, held: &Seen, port: u16) {
    let fin = |way| held.wait("its FIN", (way, 1), is_fin).remove(0);
    let (theirs, ours) = (fin(Way::ToServer), fin(Way::ToClient));
    let seen = Seen::on(topology.relay(), port);
    topology.relay().release();
    for (way, fin) in [(Way::ToClient, theirs), (Way::ToServer, ours)] {
        // RFC 9293 3.6, figure 14: each FIN is acknowledged by a segment of its own.
        seen.wait("the acknowledgment of the FIN", (way, 1), |segment| {
            segment.has(ACK) && segment.ack() == end(&fin)
        });
    }
    assert!(!seen.any(is_reset));
}

#[test]
#[ignore = "needs root"]
fn served_half_closed_by_sluice_takes_what_the_kernel_still_sends() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "");
    let seen = Seen::on(topology.relay(), 80);
    let mut stream = topology.client.connect((SERVER, 80));
    stream.write_all(b"GET /bytes/10 HTTP/1.0\r\n\r\n").unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    // Its FIN is here; we go on.
    stream.write_all(&vec![7; 1 << 20]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    seen.wait("the kernel's FIN", (Way::ToServer, 1), is_fin);
    wait_until("the kernel's end is closed", PATIENCE, || {
        in_state(&topology, "last-ack").is_empty()
    });
    assert!(!seen.any(is_reset));
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn opened_half_closed_by_sluice_takes_what_the_kernel_still_sends() {
    let topology = relayed();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    let opener = Opener::start(&topology, "--close half --send 10000 --receive 1000000");
    let (mut stream, _) = accept(&listener);
    assert_eq!(assert_pattern(&mut stream), 10_000);
    // Its FIN is here; we go on.
    stream.write_all(&pattern(1_000_000)).unwrap();
    drop(stream);
    opener.finish(PATIENCE).assert_all("done", 1);
}

#[test]
#[ignore = "needs root"]
fn opened_half_closed_by_the_kernel_goes_on_sending() {
    let topology = relayed();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    let opener = Opener::start(&topology, "--close passive --send 1000000 --receive 10");
    let (mut stream, _) = accept(&listener);
    stream.write_all(&pattern(10)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(assert_pattern(&mut stream), 1_000_000);
    opener.finish(PATIENCE).assert_all("done", 1);
}

#[test]
#[ignore = "needs root"]
fn opened_each_close_order_ends_in_order() {
    let topology = relayed();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    let seen = Seen::on(topology.relay(), PEER_PORT);
    for (close, kernel_first) in [("active", false), ("passive", true)] {
        let options = format!("--close {close} --send 100 --receive 100 --time-wait 1");
        let opener = Opener::start(&topology, &options);
        let (mut stream, peer) = accept(&listener);
        stream.read_exact(&mut [0; 100]).unwrap();
        stream.write_all(&pattern(100)).unwrap();
        if kernel_first {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(read(&stream, &mut [0; 8]).unwrap(), 0);
        drop(stream);
        opener.finish(PATIENCE).assert_all("done", 1);
        // The end that closed first is in TIME-WAIT.
        let name = format!(":{}", peer.port());
        let is_there = in_state(&topology, "time-wait").iter().any(|line| line.contains(&name));
        assert_eq!(is_there, kernel_first, "{close}");
    }
    assert!(!seen.any(is_reset));
}

#[test]
#[ignore = "needs root"]
fn served_reset_by_the_kernel_is_over_at_once() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "");
    let before = sluice.counter(&topology.client, "resets_in");
    let mut stream = topology.client.connect((SERVER, 7));
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    reset(stream);
    wait_until("the reset is counted", PATIENCE, || {
        sluice.counter(&topology.client, "resets_in") == before + 1
    });
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn opened_reset_by_the_kernel_is_told_as_that() {
    let topology = relayed();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    let opener = Opener::start(&topology, "--receive 10");
    reset(accept(&listener).0);
    opener.finish(PATIENCE).assert_all("reset", 1);
}

#[test]
#[ignore = "needs root"]
fn opened_reset_by_sluice_is_told_to_the_kernel() {
    let topology = relayed();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    let opener = Opener::start(&topology, "--close reset --send 10 --receive 10");
    let (mut stream, _) = accept(&listener);
    stream.read_exact(&mut [0; 10]).unwrap();
    stream.write_all(&pattern(10)).unwrap();
    let error = read(&stream, &mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    opener.finish(PATIENCE).assert_all("done", 1);
}

#[test]
#[ignore = "needs root"]
fn fin_that_is_lost_is_sent_again_by_either_end() {
    let topology = relayed();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    for way in [Way::ToClient, Way::ToServer] {
        let fate = crate::watch::drop_first(2, way, is_fin);
        let seen = Seen::with(topology.relay(), PEER_PORT, fate);
        let opener = Opener::start(&topology, "--send 10 --time-wait 1");
        let (mut stream, _) = accept(&listener);
        assert_eq!(assert_pattern(&mut stream), 10);
        drop(stream);
        assert!(seen.wait("the FINs", (way, 3), is_fin).len() >= 3);
        opener.finish(PATIENCE + Duration::from_secs(10)).assert_all("done", 1);
    }
}

#[test]
#[ignore = "needs root"]
fn linger_of_no_time_closes_with_a_reset_at_either_end() {
    let topology = relayed();
    let sluice = Sluice::start(&topology, "--linger 0");
    let mut stream = topology.client.connect((SERVER, 7));
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    // The service closes when we do.
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read(&stream, &mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    sluice.stop();

    let listener = topology.client.listen((CLIENT, PEER_PORT));
    let opener = Opener::start(&topology, "--linger 0 --receive 10");
    let (mut stream, _) = accept(&listener);
    stream.write_all(&pattern(10)).unwrap();
    assert_eq!(read(&stream, &mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    opener.finish(PATIENCE).assert_all("aborted", 1);
}

#[test]
#[ignore = "needs root"]
fn linger_waits_for_the_acknowledgment_and_no_longer_than_it_was_told() {
    let topology = relayed();
    let listener = topology.client.listen((CLIENT, PEER_PORT));
    for (is_cut, outcome) in [(false, "done"), (true, "lingering")] {
        let seen = Seen::with(topology.relay(), PEER_PORT, move |_, segment| {
            match is_cut && !segment.has(SYN) && !segment.is_bare() {
                true => Fate::Drop,
                false => Fate::Carry,
            }
        });
        let opener = Opener::start(&topology, "--linger 2 --send 10 --time-wait 1");
        let (mut stream, _) = accept(&listener);
        if !is_cut {
            assert_eq!(assert_pattern(&mut stream), 10);
        }
        seen.wait("our FIN", (Way::ToClient, 1), is_fin);
        drop(stream);
        opener.finish(PATIENCE).assert_all(outcome, 1);
    }
}
