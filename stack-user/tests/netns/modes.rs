//! The ways to attach: generic mode, several queues, larger frames, and what the ready line says of
//! them.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::family::{Ip, PREFIX, answer, question, shown};
use crate::packets::{Capture, send};
use crate::process::{piped, wait_until};
use crate::server::Sluice;
use crate::topology::{
    CLIENT, CLIENT_MAC, FREE, Namespace, Options, PATIENCE, SERVED, SERVER, SERVER_MAC, Topology,
    accept,
};
use crate::transfer::{assert_echoes, fetch};

/// Fetches a page with curl as text.
fn page(client: &Namespace, path: &str) -> String {
    let mut curl = client.command("curl");
    curl.args(["--silent", "--show-error", "--fail", "--max-time", "60"]);
    piped(curl.arg(format!("http://{}{path}", shown(SERVER))), |out| {
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        text
    })
}

#[test]
#[ignore = "needs root"]
fn ready_line_names_interface_address_ports_and_mode() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    assert_eq!(
        sluice.ready,
        format!("ready: veth0 {SERVED} 7=echo 9=discard 80=http mode=native,copy queues=1")
    );
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn status_page_names_what_runs() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    let html = page(&topology.client, "/");
    assert!(html.contains("<html") && html.contains("veth0"), "{html}");
    let stats = page(&topology.client, "/stats");
    for name in ["uptime", "native,copy", "segments_in", "drop_checksum"] {
        assert!(stats.contains(name), "no {name} in {stats}");
    }
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn generic_mode_serves_the_status_page_and_bytes() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "--mode generic");
    assert_eq!(sluice.ready_value("mode"), Some("generic,copy"));
    assert!(page(&topology.client, "/").contains("veth0"));
    fetch(&topology.client, SERVER, 20 << 20);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn two_queues_are_served_both() {
    let topology = Topology::with(&Options { queues: 2, ..Options::default() });
    let sluice = Sluice::start(&topology, "");
    assert_eq!(sluice.ready_value("queues"), Some("2"));
    // The kernel spreads connections over its queues by their ports.
    for _ in 0..32 {
        assert_echoes(&topology.client, (SERVER, 7), b"which queue?");
    }
    fetch(&topology.client, SERVER, 20 << 20);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn opened_connections_on_two_queues_are_echoed_on_whichever_queue_they_come() {
    const COUNT: usize = 32;
    let topology = Topology::with(&Options { queues: 2, ..Options::default() });
    let listener = topology.client.listen((CLIENT, 9000));
    let options = format!(" --connect {}:9000=echo", shown(CLIENT)).repeat(COUNT);
    let sluice = Sluice::start(&topology, &options);
    for _ in 0..COUNT {
        let (mut stream, _) = accept(&listener);
        stream.write_all(&[7; 20_000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert_eq!(back, [7; 20_000]);
    }
    // CM-2.b: a veth tells of no hash.
    wait_until("it says so", PATIENCE, || {
        sluice.errors().contains("local ports are chosen without regard to queues")
    });
    // The kernel chooses a queue by the flow's hash, Sluice the shard before there is one: with
    // so many connections some of the frames are always handed over.
    let stats = page(&topology.client, "/stats");
    assert!(stats.contains("frames_handed_over"), "{stats}");
    assert!(!stats.contains("\"frames_handed_over\":0,"), "{stats}");
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn busy_polling_server_serves_alike() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "--busy-poll");
    fetch(&topology.client, SERVER, 1 << 20);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn larger_mtu_than_a_frame_holds_is_no_harm() {
    let topology = Topology::with(&Options { mtu: 3000, ..Options::default() });
    let sluice = Sluice::start(&topology, "");
    fetch(&topology.client, SERVER, 1 << 20);
    assert_echoes(&topology.client, (SERVER, 7), &vec![7; 100_000]);
    sluice.stop();
}

/// A question for `address` from the client's end, behind tag `vlan`.
fn tagged_question(vlan: u8, address: Ip) -> Vec<u8> {
    let (to, rest) = question(address);
    [&to[..], &CLIENT_MAC, &[0x81, 0x00, 0, vlan], &rest].concat()
}

#[test]
#[ignore = "needs root"]
fn tagged_interface_answers_for_its_own_vlan_alone() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, &format!("--vlan 5 --addr {FREE}/{PREFIX}"));
    let mut capture = Capture::start(&topology.client, "veth1", "tagged");
    // Raw frames, since a kernel without VLAN devices is enough for this.
    for vlan in [6, 5, 0, 5] {
        send(&topology.client, "veth1", std::iter::once(tagged_question(vlan, FREE)));
    }
    let untagged = topology.client.try_connect((FREE, 7));
    assert!(untagged.is_err(), "served without a tag");
    // The kernel takes the tag off before it shows a frame.
    let reply = answer(FREE, SERVER_MAC);
    wait_until("both are answered", PATIENCE, || capture.count(&reply) >= 2);
    sluice.stop();
    capture.finish();
    assert_eq!(capture.count(&reply), 2);
}
