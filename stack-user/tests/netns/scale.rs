//! Many connections: short ones one after another, and many at once, with Sluice at either end.
//!
//! By default a twentieth of the full counts; all of them with `cargo xtask test --long`. Rates are
//! printed and judged by nobody: the machine is shared.

use crate::family::{Ip, NODAD, PREFIX, host};
use crate::kernel::{Course, End, Source, run};
use crate::server::{Opener, PEER_PORT, Sluice};
use crate::topology::{CLIENT, Options, PATIENCE, SERVER, Topology};

/// `full` connections with `--long`, else a twentieth.
fn share(full: usize) -> usize {
    if crate::is_long() { full } else { full / 20 }
}

/// A request that makes the server of HTTP close first.
const CLOSING: Course = Course {
    request: b"GET /bytes/100 HTTP/1.0\r\n\r\n",
    send: 0,
    receive: 100,
    head: true,
    end: End::Second,
};

/// Gives the client's end more addresses.
fn addresses(topology: &Topology, count: u8) -> Vec<Ip> {
    let addresses: Vec<_> = (100..100 + count).map(host).collect();
    for address in &addresses {
        topology.client.ip(&format!("address add {address}/{PREFIX} dev veth1 {NODAD}"));
    }
    addresses
}

#[test]
#[ignore = "needs root"]
fn short_connections_of_many_addresses_all_succeed() {
    let topology = Topology::new();
    let from = addresses(&topology, 20);
    let sluice = Sluice::start(&topology, "");
    let source = Source::Connect { to: (SERVER, 7), from: &from, at_once: 200 };
    let course = Course { send: 100, receive: 100, ..Course::default() };
    let outcome = run(&topology.client, &source, course, (share(100_000), false));
    outcome.assert_all("echo, the kernel closes first", share(100_000));
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn short_connections_of_one_address_reuse_time_wait_and_all_succeed() {
    let topology = Topology::new();
    // Fewer ports than connections: each name is used again while Sluice has it in TIME-WAIT.
    topology.client.write_sysctl("net/ipv4/ip_local_port_range", "32768 34767");
    let sluice = Sluice::start(&topology, "");
    let source = Source::Connect { to: (SERVER, 80), from: &[CLIENT], at_once: 200 };
    let outcome = run(&topology.client, &source, CLOSING, (share(100_000), false));
    outcome.assert_all("HTTP, Sluice closes first, one address", share(100_000));
    let reuses = sluice.counter(&topology.client, "time_wait_reuses");
    assert!(reuses as usize >= share(100_000) - 2000, "only {reuses} reuses of TIME-WAIT");
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn short_connections_to_the_kernel_all_succeed() {
    let topology = Topology::new();
    topology.client.write_sysctl("net/ipv4/tcp_max_syn_backlog", "8192");
    let listener = topology.client.listen_with((CLIENT, PEER_PORT), 4096);
    let count = share(100_000);
    // The kernel closes first: our names meet its TIME-WAIT when they come round.
    let options = format!(
        "--connections {count} --at-once 200 --send 100 --receive 100 --close passive \
         --local-ports 20000-21999"
    );
    let course = Course { send: 100, receive: 100, ..Course::default() };
    let opener = Opener::start(&topology, &options);
    let outcome = run(&topology.client, &Source::Accept(&listener), course, (count, false));
    outcome.assert_all("the kernel's end", count);
    let summary = opener.finish(PATIENCE);
    summary.print_rate("our end, the kernel closes first");
    summary.assert_all("done", count as u64);
}

#[test]
#[ignore = "needs root"]
fn short_connections_that_sluice_opens_and_closes_all_succeed() {
    let topology = Topology::new();
    topology.client.write_sysctl("net/ipv4/tcp_max_syn_backlog", "8192");
    let listener = topology.client.listen_with((CLIENT, PEER_PORT), 4096);
    let count = share(100_000);
    // Our TIME-WAIT holds each port for a second: the rate leaves some free.
    let options = format!(
        "--connections {count} --at-once 500 --rate 20000 --send 100 --receive 100 \
         --local-ports 10000-49999 --time-wait 1"
    );
    let course = Course { send: 100, receive: 100, end: End::Second, ..Course::default() };
    let opener = Opener::start(&topology, &options);
    let outcome = run(&topology.client, &Source::Accept(&listener), course, (count, false));
    outcome.assert_all("the kernel's end", count);
    let summary = opener.finish(PATIENCE);
    summary.print_rate("our end, we close first");
    summary.assert_all("done", count as u64);
}

#[test]
#[ignore = "needs root"]
fn connections_at_once_each_echo_a_mebibyte() {
    const MIB: usize = 1 << 20;
    let topology = Topology::with(&Options { waits: true, ..Options::default() });
    let sluice = Sluice::start(&topology, "");
    let count = share(10_000);
    let source = Source::Connect { to: (SERVER, 7), from: &[CLIENT], at_once: count };
    let course = Course { send: MIB, receive: MIB, ..Course::default() };
    let outcome = run(&topology.client, &source, course, (count, true));
    outcome.assert_all("echo of 1 MiB each", count);
    assert_eq!(outcome.at_once, count);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn connections_at_once_to_the_kernel_each_move_a_mebibyte_both_ways() {
    const MIB: usize = 1 << 20;
    let topology = Topology::with(&Options { waits: true, ..Options::default() });
    let count = share(10_000);
    // Room for all of them: from a SYN cookie whose ACK was lost the kernel knows nothing, and it
    // resets what we believe to be open.
    topology.client.write_sysctl("net/ipv4/tcp_max_syn_backlog", "16384");
    let listener = topology.client.listen_with((CLIENT, PEER_PORT), 16384);
    // The kernel's ends close with text unacknowledged, and an orphan has but eight repetitions.
    topology.client.write_sysctl("net/ipv4/tcp_orphan_retries", "15");
    // Half-closed they are ours to the end. Closed for good while much is unacknowledged they would
    // be orphans, which have eight repetitions and are the first to go when buffers run out.
    let options = format!(
        "--connections {count} --at-once {count} --gather --close half --send {MIB} \
         --receive {MIB} --local-ports 20000-31999"
    );
    let course = Course { send: MIB, receive: MIB, end: End::Second, ..Course::default() };
    let opener = Opener::start(&topology, &options);
    let outcome = run(&topology.client, &Source::Accept(&listener), course, (count, false));
    let summary = opener.finish(PATIENCE);
    summary.print_rate("1 MiB both ways");
    summary.assert_all("done", count as u64);
    outcome.assert_all("the kernel's end", count);
    assert_eq!(summary.number("at_once"), count as u64);
}
