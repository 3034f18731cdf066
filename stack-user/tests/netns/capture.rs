//! What Sluice sends, judged by another dissector.

use std::collections::BTreeSet;
use std::path::Path;

use crate::packets::Capture;
use crate::process::{exists, quiet};
use crate::server::Sluice;
use crate::topology::{SERVER, Topology};
use crate::transfer::{assert_echoes, fetch};

/// Frames of `capture` that match `filter`, as tshark's lines. Checksums are checked.
fn tshark(capture: &Path, filter: &str, fields: &str) -> Vec<String> {
    let checks = "-o tcp.check_checksum:TRUE -o ip.check_checksum:TRUE";
    let line = format!("tshark -r {} {checks} -Y {filter} {fields}", capture.display());
    quiet(&line).lines().map(str::to_string).collect()
}

#[test]
#[ignore = "needs root"]
fn whole_connections_have_no_malformed_segment_and_no_bad_checksum() {
    if !exists("tshark") {
        return crate::skip(
            "whole_connections",
            "tshark is not installed (cargo xtask setup --dev)",
        );
    }
    let topology = Topology::new();
    // Frames as they came, not as the client's kernel joined them.
    topology.client.quiet("ethtool -K veth1 gro off");
    let sluice = Sluice::start(&topology, "");
    let mut capture = Capture::start(&topology.client, "veth1", "connections");
    assert_echoes(&topology.client, (SERVER, 7), &vec![7; 100_000]);
    fetch(&topology.client, SERVER, 300_000);
    let refused = topology.client.try_connect((SERVER, 81));
    assert!(refused.is_err());
    sluice.stop();
    let (path, count) = capture.finish();
    assert!(count > 20, "only {count} frames were captured");

    let bad = tshark(path, "_ws.malformed||tcp.checksum.status==0||ip.checksum.status==0", "");
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    // Nothing was left unchecked, and the connection is whole: SYN, data and FIN from both sides.
    let flags =
        tshark(path, "tcp.port==7", "-T fields -e ip.src -e tcp.flags.syn -e tcp.flags.fin");
    let kinds: BTreeSet<_> = flags.iter().map(|line| line.replace('\t', " ")).collect();
    for side in ["10.77.0.1", "10.77.0.2"] {
        for flags in ["1 0", "0 0", "0 1"].map(|flags| format!("{side} {flags}")) {
            let is_there = |kind: &String| {
                kind == &flags || kind == &flags.replace('1', "True").replace('0', "False")
            };
            assert!(kinds.iter().any(is_there), "no `{flags}` in {kinds:?}");
        }
    }
    let unchecked = tshark(path, "tcp&&!(tcp.checksum.status==1)", "");
    assert!(unchecked.is_empty(), "{}", unchecked.join("\n"));
}
