//! `sluice block`, and the options beside it: who is not heard, and how often one may ask.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;
use std::time::Duration;

use crate::family::{CLIENT, Ip};
use crate::process::wait_until;
use crate::server::Sluice;
use crate::topology::{PATIENCE, SERVER, Topology};
use crate::transfer::assert_echoes;

/// Runs `sluice block` in the server's namespace.
fn block(topology: &Topology, line: &str) -> Output {
    let mut command = topology.server.command(env!("CARGO_BIN_EXE_sluice"));
    command.arg("block").args(line.split_whitespace()).output().unwrap()
}

fn blocked(topology: &Topology, line: &str) -> String {
    let output = block(topology, line);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Asserts that `sluice block` refuses in one line that holds the words.
fn assert_refuses(topology: &Topology, line: &str, words: &[&str]) {
    let output = block(topology, line);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{line}: {errors}");
    assert!(errors.starts_with("error: ") && errors.lines().count() == 1, "{line}: {errors}");
    for word in words {
        assert!(errors.contains(word), "{line}: no `{word}` in {errors}");
    }
}

fn host(ip: Ip) -> String {
    format!("{ip}/{}", ip.octets().len() * 8)
}

/// Asks, and waits for the answer for so long.
fn is_answered(mut stream: &TcpStream, patience: Duration) -> bool {
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(b"x").unwrap();
    stream.read(&mut [0]).is_ok_and(|length| length == 1)
}

#[test]
#[ignore = "needs root"]
fn blocked_client_is_heard_no_more_until_it_is_removed() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    let stream = topology.client.connect((SERVER, 7));
    assert!(is_answered(&stream, PATIENCE));
    assert_eq!(blocked(&topology, "list --iface veth0"), "");
    blocked(&topology, &format!("add --iface veth0 {CLIENT}"));
    assert_eq!(blocked(&topology, "list --iface veth0"), format!("{}\n", host(CLIENT)));
    let is_heard = is_answered(&stream, Duration::from_millis(300));
    assert!(!is_heard, "an open connection is not heard either");
    blocked(&topology, &format!("remove --iface veth0 {CLIENT}"));
    assert_eq!(blocked(&topology, "list --iface veth0"), "");
    // What the client sends again is heard.
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    (&stream).read_exact(&mut [0]).unwrap();
    assert_echoes(&topology.client, (SERVER, 7), b"heard");
    assert!(sluice.counter(&topology.client, "xdp_drop_blocked") > 0);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn blocked_from_the_start_by_option_and_by_file() {
    let topology = Topology::new();
    let file = std::env::temp_dir().join(format!("sluice-test-blocks-{}", std::process::id()));
    std::fs::write(&file, format!("# by hand\n\n{CLIENT} # the client\n10.200.0.0/16\n")).unwrap();
    let options = format!("--block 2001:db8:bad::/48 --block-list {}", file.display());
    let sluice = Sluice::start(&topology, &options);
    std::fs::remove_file(&file).unwrap();
    let list = blocked(&topology, "list --iface veth0");
    let lines: Vec<_> = list.lines().collect();
    assert!(lines.contains(&"10.200.0.0/16") && lines.contains(&"2001:db8:bad::/48"), "{list}");
    assert!(lines.contains(&&host(CLIENT)[..]) && lines.len() == 3, "{list}");
    // The kernel's ports are none of our business.
    let listener = topology.server.listen((SERVER, 8080));
    drop(topology.client.connect((SERVER, 8080)));
    drop(listener);
    blocked(&topology, &format!("remove --iface veth0 {CLIENT}"));
    assert_echoes(&topology.client, (SERVER, 7), b"heard");
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn block_refuses_what_it_cannot_do_in_one_line() {
    let topology = Topology::new();
    assert_refuses(&topology, "list --iface veth7", &["veth7"]);
    assert_refuses(&topology, "list --iface veth0", &["no Sluice serves on veth0"]);
    let sluice = Sluice::start(&topology, "");
    for (line, words) in [
        ("add --iface veth0 10.0.0.0/33", ["33", "0 to 32"]),
        ("add --iface veth0 10.0.0.1/24", ["10.0.0.1/24", "give 10.0.0.0/24"]),
        ("add --iface veth0 nobody", ["nobody", "no IP address"]),
        ("add --iface veth0", ["CIDR", "--help"]),
        ("remove --iface veth0 10.9.0.0/16", ["10.9.0.0/16", "not on the block list"]),
    ] {
        assert_refuses(&topology, line, &words);
    }
    sluice.stop();
    assert_refuses(&topology, "add --iface veth0 10.9.0.0/16", &["no Sluice serves on veth0"]);
}

#[test]
#[ignore = "needs root"]
fn limit_lets_a_client_in_that_asks_again() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "--syn-limit 2,3");
    // The fourth at once waits for its SYN to be repeated, a second later.
    for _ in 0..5 {
        assert_echoes(&topology.client, (SERVER, 7), b"again");
    }
    wait_until("a SYN was dropped", PATIENCE, || {
        sluice.counter(&topology.client, "xdp_drop_syn_limit") > 0
    });
    sluice.stop();
}
