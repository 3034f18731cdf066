//! What IPv6 alone has: addresses of one link, and kernels that look for duplicates.

use std::net::{SocketAddrV6, TcpStream};

use crate::family::{ELSEWHERE, FORWARDING, Ip, PREFIX};
use crate::process::wait_until;
use crate::server::Sluice;
use crate::topology::{FREE, PATIENCE, SERVER, Topology};
use crate::transfer::{echo, fetch};

/// The link-local address of end `n`.
const fn local(n: u16) -> Ip {
    Ip::new(0xfe80, 0, 0, 0, 0, 0, 0, n)
}

// RFC 4862 5.4.3: the kernel asks whether anybody has the address, and is told.
#[test]
#[ignore = "needs root"]
fn kernel_that_wants_an_own_address_finds_it_taken() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, &format!("--addr {FREE}/{PREFIX}"));
    topology.client.ip(&format!("address add {FREE}/{PREFIX} dev veth1"));
    wait_until("the duplicate is found", PATIENCE, || {
        topology.client.ip("address show dev veth1").contains("dadfailed")
    });
    topology.client.ip(&format!("address delete {FREE}/{PREFIX} dev veth1"));
    fetch(&topology.client, FREE, 1000);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn gateway_may_be_one_of_the_link_alone() {
    let topology = Topology::new();
    let far = topology.beyond(ELSEWHERE.1, 1500);
    topology.client.write_sysctl(FORWARDING, "1");
    let options = format!("--addr {FREE}/{PREFIX} --gateway {}", local(2));
    let sluice = Sluice::start(&topology, &options);
    fetch(&far, FREE, 1 << 20);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn link_local_address_is_served_too() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    let index: u32 = {
        let shown = topology.client.ip("-o link show dev veth1");
        shown.split(':').next().and_then(|index| index.trim().parse().ok()).unwrap()
    };
    let to = SocketAddrV6::new(local(1), 7, 0, index);
    let stream = topology.client.inside(|| TcpStream::connect_timeout(&to.into(), PATIENCE));
    echo(&stream.unwrap(), 100_000);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn both_families_are_served_at_once() {
    let topology = Topology::new();
    let options = format!("--addr {FREE}/{PREFIX} --addr 10.77.0.9/24");
    let sluice = Sluice::start(&topology, &options);
    assert!(sluice.ready.contains(&format!(" {FREE},10.77.0.9 ")), "{}", sluice.ready);
    fetch(&topology.client, FREE, 1 << 20);
    let page = topology.client.quiet("curl --silent --fail --max-time 60 http://10.77.0.9/bytes/7");
    assert!(!page.is_empty());
    sluice.stop();
    let sluice = Sluice::start(&topology, "");
    fetch(&topology.client, SERVER, 1 << 20);
    topology.client.quiet("curl --silent --fail --max-time 60 http://10.77.0.1/stats");
    sluice.stop();
}

// RFC 4862 5.4.2: the group on which it is asked for.
#[test]
#[ignore = "needs root"]
fn group_of_an_own_address_is_joined_while_it_is_served() {
    let topology = Topology::new();
    let groups = || topology.server.ip("maddress show dev veth0");
    assert!(!groups().contains("ff02::1:ff00:9"));
    let sluice = Sluice::start(&topology, &format!("--addr {FREE}/{PREFIX}"));
    let shown = groups();
    assert!(shown.contains("ff02::1:ff00:9") && shown.contains("33:33:ff:00:00:09"), "{shown}");
    sluice.stop();
    assert!(!groups().contains("ff02::1:ff00:9"));
}
