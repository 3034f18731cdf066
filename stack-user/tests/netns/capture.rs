//! What Sluice sends, judged by another dissector.

use std::path::Path;

use crate::family::{Ip, NET, PREFIX, SUM};
use crate::packets::Capture;
use crate::process::{exists, quiet};
use crate::server::Sluice;
use crate::topology::{CLIENT, FREE, SERVER, Topology};
use crate::transfer::{assert_echoes, fetch};

/// Frames of `capture` that match `filter`, as tshark's lines. Checksums are checked.
fn tshark(capture: &Path, filter: &str) -> Vec<String> {
    let checks = "-o tcp.check_checksum:TRUE -o ip.check_checksum:TRUE";
    let line = format!("tshark -r {} {checks} -Y {filter}", capture.display());
    quiet(&line).lines().map(str::to_string).collect()
}

/// Whole connections and a refusal of a server with `options` at `address`: nothing malformed, no
/// bad checksum, and from each side SYN, data and FIN.
fn assert_capture_is_clean(test: &str, address: Ip, options: &str) {
    if !exists("tshark") {
        return crate::skip(test, "tshark is not installed (cargo xtask setup --dev)");
    }
    let topology = Topology::new();
    // Frames as they came, not as the client's kernel joined them.
    topology.client.quiet("ethtool -K veth1 gro off");
    let sluice = Sluice::start(&topology, options);
    let mut capture = Capture::start(&topology.client, "veth1", test);
    assert_echoes(&topology.client, (address, 7), &vec![7; 100_000]);
    fetch(&topology.client, address, 300_000);
    if address != SERVER {
        // On a shared address the kernel answers, with a checksum that it leaves to the device.
        assert!(topology.client.try_connect((address, 81)).is_err());
        topology.client.quiet(&format!("ping -n -c 1 -W 5 {address}"));
    }
    sluice.stop();
    let (path, count) = capture.finish();
    assert!(count > 100, "only {count} frames were captured");

    let sums = format!("tcp.checksum.status==0||{SUM}.checksum.status==0");
    let bad = tshark(path, &format!("_ws.malformed||{sums}"));
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    let unchecked = tshark(path, "tcp&&!(tcp.checksum.status==1)");
    assert!(unchecked.is_empty(), "{}", unchecked.join("\n"));
    for side in [address, CLIENT] {
        for flags in ["tcp.flags.syn==1", "tcp.len>0", "tcp.flags.fin==1"] {
            let filter = format!("tcp.port==7&&{NET}.src=={side}&&{flags}");
            assert!(!tshark(path, &filter).is_empty(), "nothing matches {filter}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn connections_of_a_shared_address_have_no_malformed_segment_and_no_bad_checksum() {
    assert_capture_is_clean(&format!("capture-shared-{NET}"), SERVER, "");
}

#[test]
#[ignore = "needs root"]
fn connections_of_an_own_address_have_no_malformed_segment_and_no_bad_checksum() {
    assert_capture_is_clean(
        &format!("capture-own-{NET}"),
        FREE,
        &format!("--addr {FREE}/{PREFIX}"),
    );
}
