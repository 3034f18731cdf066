//! Transfers over links that lose, repeat, reorder and delay, with Sluice at either end: every byte
//! arrives, in order, once.

use std::time::Duration;

use crate::impair::Rates;
use crate::kernel::{Course, End, Source, run};
use crate::server::{Opener, PEER_PORT, Sluice};
use crate::topology::{CLIENT, Middle, Options, PATIENCE, SERVER, Topology};
use relay::Link;

/// What is moved each way by each connection.
const BYTES: usize = 1 << 20;

/// Two connections at once, one each way, with Sluice as server, then as client.
fn assert_carries(what: &str, rates: Rates, relay: Option<Link>) {
    let middle = Middle { impairs: true, relay };
    let mut topology = Topology::with(&Options { middle, ..Options::default() });
    let seed = seed();

    // Upload and download, one after the other's request, over one connection each.
    let sluice = Sluice::start(&topology, "--listen 7=echo --listen 80=http");
    topology.impairment().set(rates, seed);
    let download = Course {
        request: b"GET /bytes/1048576 HTTP/1.0\r\n\r\n",
        receive: BYTES,
        head: true,
        end: End::Second,
        ..Course::default()
    };
    let both = Course { send: BYTES, receive: BYTES, end: End::Half, ..Course::default() };
    for (name, port, course) in [("download", 80, download), ("echo", 7, both)] {
        let source = Source::Connect { to: (SERVER, port), from: &[CLIENT], at_once: 1 };
        let outcome = run(&topology.client, &source, course, (1, false));
        outcome.assert_all(&format!("{what}, {name} of {BYTES} bytes, seed {seed}"), 1);
    }
    sluice.stop();

    let listener = topology.client.listen((CLIENT, PEER_PORT));
    for (name, send, receive) in [("upload", BYTES, 0), ("download", 0, BYTES)] {
        let opener = Opener::start(&topology, &format!("--send {send} --receive {receive}"));
        let course = Course { send: receive, receive: send, end: End::Second, ..Course::default() };
        let outcome = run(&topology.client, &Source::Accept(&listener), course, (1, false));
        outcome.assert_all(&format!("{what}, our client's {name}, seed {seed}"), 1);
        let summary = opener.finish(PATIENCE);
        summary.assert_all("done", 1);
        if receive > 0 {
            // The longer way is really longer: what took it was overtaken.
            let overtaken = summary.number("counters.out_of_order_in");
            note!("{what}: {overtaken} segments came out of order");
            assert!(overtaken > 0 || rates.reordering == 0);
        }
    }

    let counts = topology.impairment().counts();
    for (way, port) in ["from us", "to us"].into_iter().zip(counts) {
        note!(
            "{what}, {way}: {} frames, {} lost, {} twice, {} detoured",
            port.frames,
            port.lost,
            port.duplicated,
            port.detoured
        );
        assert_eq!(port.lost > 0, rates.loss > 0);
        assert_eq!(port.duplicated > 0, rates.duplication > 0);
        assert_eq!(port.detoured > 0, rates.reordering > 0);
    }
}

/// The seed of the impairment, from the environment where it is set there.
fn seed() -> u64 {
    let given = std::env::var("SLUICE_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(0x5EED)
}

#[test]
#[ignore = "needs root"]
fn one_percent_loss_is_made_good() {
    assert_carries("1 % loss", Rates { loss: 10, ..Rates::default() }, None);
}

#[test]
#[ignore = "needs root"]
fn five_percent_loss_is_made_good() {
    assert_carries("5 % loss", Rates { loss: 50, ..Rates::default() }, None);
}

#[test]
#[ignore = "needs root"]
fn five_percent_duplication_is_no_harm() {
    assert_carries("5 % duplication", Rates { duplication: 50, ..Rates::default() }, None);
}

#[test]
#[ignore = "needs root"]
fn five_percent_reordering_is_put_right() {
    assert_carries("5 % reordering", Rates { reordering: 50, ..Rates::default() }, None);
}

#[test]
#[ignore = "needs root"]
fn delay_with_all_impairments_is_made_good() {
    let link = Link { delay: Duration::from_millis(10), ..Link::default() };
    let rates = Rates { loss: 10, duplication: 10, reordering: 10 };
    assert_carries("20 ms there and back, 1 % of each", rates, Some(link));
}

#[test]
#[ignore = "needs root"]
fn delay_with_five_percent_loss_is_made_good() {
    let link = Link { delay: Duration::from_millis(10), ..Link::default() };
    assert_carries("20 ms, 5 % loss", Rates { loss: 50, ..Rates::default() }, Some(link));
}

#[test]
#[ignore = "needs root"]
fn narrow_link_with_a_short_queue_is_filled_and_loses_nothing_in_the_end() {
    let link = Link { delay: Duration::from_millis(10), rate: Some(50_000_000), queue: 64 << 10 };
    assert_carries("50 Mbit/s, 20 ms", Rates::default(), Some(link));
}
