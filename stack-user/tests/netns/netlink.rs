//! What the control plane asks of the kernel, without a server.

use sluice::control::netlink::{Event, Netlink, Watch};
use sluice::wire::{Addr, MacAddr};

use crate::process::wait_until;
use crate::topology::{CLIENT, CLIENT_MAC, FREE, Options, PATIENCE, Topology};

/// A topology without a program.
fn bare() -> Topology {
    Topology::with(&Options { has_peer_program: false, ..Options::default() })
}

/// Both sockets, and the number of `veth0`, in the server's namespace.
fn open(topology: &Topology) -> (Netlink, Watch, u32) {
    topology.server.inside(|| {
        let mut netlink = Netlink::open().unwrap();
        let link = netlink.link("veth0").unwrap().unwrap();
        (netlink, Watch::open().unwrap(), link.index)
    })
}

/// Waits for an event that satisfies `wanted`.
fn await_event(watch: &mut Watch, wanted: impl Fn(&Event) -> bool) {
    let mut events = Vec::new();
    wait_until("the event", PATIENCE, || {
        watch.poll(&mut events);
        events.drain(..).any(|event| wanted(&event))
    });
}

#[test]
#[ignore = "needs root"]
fn neighbour_unknown_resolve_sends_arp_and_is_told() {
    let topology = bare();
    let (mut netlink, mut watch, interface) = open(&topology);
    let addr = Addr::from(CLIENT);
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
    let answer = netlink.resolve(interface, FREE.into()).unwrap();
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
    let answer = netlink.resolve(interface, FREE.into()).unwrap();
    assert_eq!(answer, Some(MacAddr([2, 0, 0, 0, 0, 7])));
    let shown = topology.server.ip(&format!("neighbour show {FREE} dev veth0"));
    assert!(!shown.contains("STALE"), "{shown}");
}

#[test]
#[ignore = "needs root"]
fn link_leaving_a_bridge_is_not_gone() {
    let topology = bare();
    let (_netlink, mut watch, interface) = open(&topology);
    topology.server.ip("link add bridge0 type bridge");
    topology.server.ip("link set veth0 master bridge0");
    topology.server.ip("link set veth0 nomaster");
    let mut events = Vec::new();
    watch.poll(&mut events);
    let is_ours = |event: &Event| matches!(event, Event::Link(link) if link.index == interface);
    assert!(events.iter().any(is_ours));
    assert!(!events.contains(&Event::LinkGone { interface }));
    topology.server.ip("link delete veth0");
    await_event(&mut watch, |event| *event == Event::LinkGone { interface });
}

#[test]
#[ignore = "needs root"]
fn routes_for_some_segments_or_without_carrier_are_not_told() {
    let topology = bare();
    let (mut netlink, mut watch, interface) = open(&topology);
    topology.server.ip(&format!("route add 10.2.0.0/16 via {CLIENT} tos 0x10"));
    topology.server.ip(&format!("route add 10.3.0.0/16 via {CLIENT}"));
    let lens: Vec<u8> =
        netlink.routes(interface).unwrap().iter().map(|route| route.prefix_len).collect();
    assert_eq!(lens, [120, 112]);
    topology.client.ip("link set veth1 down");
    wait_until("the carrier is gone", PATIENCE, || netlink.routes(interface).unwrap().is_empty());
    topology.client.ip("link set veth1 up");
    wait_until("the carrier is back", PATIENCE, || netlink.routes(interface).unwrap().len() == 2);
    // The link's message is all that is heard of the end of its routes.
    watch.poll(&mut Vec::new());
    topology.server.ip("link set veth0 down");
    let mut events = Vec::new();
    watch.poll(&mut events);
    assert!(events.iter().any(|event| matches!(event, Event::Link(link) if !link.is_up)));
    assert!(!events.contains(&Event::RouteGone));
    assert_eq!(netlink.routes(interface).unwrap(), []);
}
