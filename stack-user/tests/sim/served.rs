//! The services that come with Sluice, over a whole stack and a faulty path.

use std::sync::{Arc, Mutex, PoisonError};

use sluice::service::http::{Http, Snapshot, Status, pattern};
use sluice::service::{Chargen, Connection, Discard, Echo, Service};
use sluice::tcp::CloseReason;
use sluice::time::Duration;
use sluice::wire::tcp::Flags;

use crate::impairment::Impairment;
use crate::network::{Fate, Network};
use crate::node::{Node, config};
use crate::peer::{Peer, Plan, plans};

/// Sends `request`, closes if it should, and keeps what comes.
struct Client {
    request: Vec<u8>,
    sent: usize,
    closes: bool,
    /// Resets the connection after this much has come.
    enough: usize,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    bytes: Vec<u8>,
    closed: Option<CloseReason>,
}

impl Client {
    fn pump(&mut self, conn: &mut dyn Connection) {
        self.sent += conn.send(&self.request[self.sent..]);
        if self.sent == self.request.len() && self.closes {
            conn.shutdown_write();
        }
    }
}

impl Service for Client {
    fn on_connected(&mut self, conn: &mut dyn Connection) {
        self.pump(conn);
    }

    fn on_writable(&mut self, conn: &mut dyn Connection) {
        self.pump(conn);
    }

    fn on_data(&mut self, conn: &mut dyn Connection, data: &[u8]) -> usize {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.bytes.extend_from_slice(data);
        if seen.bytes.len() >= self.enough {
            conn.abort();
        }
        data.len()
    }

    fn on_closed(&mut self, _user: u64, reason: CloseReason) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).closed = Some(reason);
    }
}

struct Nothing;

impl Status for Nothing {
    fn snapshot(&self) -> Snapshot {
        Snapshot::default()
    }
}

/// What a client that sends `request` gets from `service`, over a path that loses 2 %.
fn ask(service: Box<dyn Service>, request: Vec<u8>, closes: bool, enough: usize) -> Seen {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let client = Client { request, sent: 0, closes, enough, seen: Arc::clone(&seen) };
    let nodes =
        [Node::new(config(1, 1), vec![Box::new(client)]), Node::new(config(2, 1), vec![service])];
    let impairment = Impairment { reorder: 0.05, ..Impairment::loss(0.02) };
    let mut net = Network::new(nodes, impairment, 1);
    // RFC 9293 3.8.5 (SHLD-13): no service of ours uses urgent data.
    net.filter = Box::new(|sight| {
        assert!(sight.segment.is_none_or(|segment| !segment.flags.has(Flags::URG)));
        Fate::Carry
    });
    net.connect();
    net.run_to_end(Duration::from_secs(1_000));
    net.nodes.iter().for_each(Node::assert_clean);
    seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

// RFC 9293 3.8.5 (SHLD-13): new protocols should not use urgent data; no service of ours does.
#[test]
fn echo_brings_everything_back_and_closes() {
    let mut bytes = vec![0; 1 << 20];
    pattern(3, &mut bytes);
    let seen = ask(Box::new(Echo), bytes.clone(), true, usize::MAX);
    assert!(seen.bytes == bytes);
    assert_eq!(seen.closed, Some(CloseReason::Closed));
}

#[test]
fn discard_takes_everything_and_closes() {
    let seen = ask(Box::new(Discard), vec![1; 1 << 20], true, usize::MAX);
    assert!(seen.bytes.is_empty());
    assert_eq!(seen.closed, Some(CloseReason::Closed));
}

#[test]
fn chargen_sends_lines_until_it_is_reset() {
    let seen = ask(Box::new(Chargen), Vec::new(), false, 500_000);
    assert_eq!(seen.closed, Some(CloseReason::Aborted));
    let lines: Vec<&[u8]> = seen.bytes.split(|byte| *byte == b'\n').collect();
    assert!(lines[..lines.len() - 1].iter().all(|line| line.len() == 73));
}

#[test]
fn http_serves_pipelined_requests_and_closes_when_asked() {
    let request = b"GET /bytes/1000000 HTTP/1.1\r\nHost: a\r\n\r\n\
                    GET /stats HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let seen = ask(Box::new(Http::new(Arc::new(Nothing))), request.to_vec(), true, usize::MAX);
    let start = seen.bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let mut expected = vec![0; 1_000_000];
    pattern(0, &mut expected);
    assert!(seen.bytes[start..start + 1_000_000] == expected);
    assert!(seen.bytes[start + 1_000_000..].starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert_eq!(seen.closed, Some(CloseReason::Closed));
}

// Every client reads what comes, so the echoes of all get through, however small the server's pool.
#[test]
fn echo_of_many_clients_gets_through_a_small_pool() {
    let client = Peer::new(Plan { receive_from: 11, ..plans(300_000, 0)[0] });
    let mut small = config(2, 1);
    small.limits.buffers = 1 << 20;
    let nodes =
        [Node::new(config(1, 1), vec![Box::new(client.0)]), Node::new(small, vec![Box::new(Echo)])];
    let mut net = Network::new(nodes, Impairment::default(), 1);
    (0..24).for_each(|_| net.connect());
    net.run_until(Duration::from_secs(900), |_| client.1.are_over(24));
    assert!(client.1.conns().iter().all(|seen| seen.received == 300_000));
}
