//! What the control plane asks of the kernel of neighbours, without a server.

use std::net::IpAddr;

use sluice::control::netlink::{Event, Netlink, Watch};
use sluice::wire::{Addr, MacAddr};

use crate::process::wait_until;
use crate::topology::{CLIENT, CLIENT_MAC, FREE, Options, PATIENCE, Topology};

/// A topology without a program.
pub(crate) fn bare() -> Topology {
    Topology::with(&Options { has_peer_program: false, ..Options::default() })
}

/// Both sockets, and the number of `veth0`, in the server's namespace.
pub(crate) fn open(topology: &Topology) -> (Netlink, Watch, u32) {
    topology.server.inside(|| {
        let mut netlink = Netlink::open().unwrap();
        let link = netlink.link("veth0").unwrap().unwrap();
        (netlink, Watch::open().unwrap(), link.index)
    })
}

/// Waits for an event that satisfies `wanted`.
pub(crate) fn await_event(watch: &mut Watch, wanted: impl Fn(&Event) -> bool) {
    let mut events = Vec::new();
    wait_until("the event", PATIENCE, || {
        watch.poll(&mut events);
        events.drain(..).any(|event| wanted(&event))
    });
}

#[test]
#[ignore = "needs root"]
fn neighbour_unknown_resolve_asks_and_is_told() {
    let topology = bare();
    let (mut netlink, mut watch, interface) = open(&topology);
    let addr = Addr::from(IpAddr::from(CLIENT));
    assert_eq!(netlink.resolve(interface, addr).unwrap(), None);
    let mac = Some(MacAddr(CLIENT_MAC));
    await_event(&mut watch, |event| *event == Event::Neighbour { interface, addr, mac });
    assert_eq!(netlink.resolve(interface, addr).unwrap(), mac);
}

#[test]
#[ignore = "needs root"]
fn neighbour_permanent_resolve_answers_and_leaves_it() {
    let topology = bare();
    topology.server.ip(&format!("neighbour add {FREE} lladdr 2:0:0:0:0:7 dev veth0 nud permanent"));
    let (mut netlink, _watch, interface) = open(&topology);
    let answer = netlink.resolve(interface, IpAddr::from(FREE).into()).unwrap();
    assert_eq!(answer, Some(MacAddr([2, 0, 0, 0, 0, 7])));
    let shown = topology.server.ip(&format!("neighbour show {FREE} dev veth0"));
    assert!(shown.contains("PERMANENT"), "{shown}");
}

#[test]
#[ignore = "needs root"]
fn neighbour_stale_resolve_answers_at_once_and_confirms_it() {
    let topology = bare();
    topology.server.ip(&format!("neighbour add {FREE} lladdr 2:0:0:0:0:7 dev veth0 nud stale"));
    let (mut netlink, _watch, interface) = open(&topology);
    let answer = netlink.resolve(interface, IpAddr::from(FREE).into()).unwrap();
    assert_eq!(answer, Some(MacAddr([2, 0, 0, 0, 0, 7])));
    let shown = topology.server.ip(&format!("neighbour show {FREE} dev veth0"));
    assert!(!shown.contains("STALE"), "{shown}");
}
