//! What the control plane hears of a link and its routes, without a server.

use sluice::control::netlink::Event;

use crate::netlink::{await_event, bare, open};
use crate::process::wait_until;
use crate::topology::{CLIENT, PATIENCE};

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
    assert_eq!(lens, [120, 112, 64, 64], "the link was up before");
    topology.client.ip("link set veth1 down");
    wait_until("the carrier is gone", PATIENCE, || netlink.routes(interface).unwrap().is_empty());
    topology.client.ip("link set veth1 up");
    wait_until("the carrier is back", PATIENCE, || netlink.routes(interface).unwrap().len() == 4);
    // The link's message is all that is heard of the end of its routes.
    watch.poll(&mut Vec::new());
    topology.server.ip("link set veth0 down");
    let mut events = Vec::new();
    watch.poll(&mut events);
    assert!(events.iter().any(|event| matches!(event, Event::Link(link) if !link.is_up)));
    assert_eq!(netlink.routes(interface).unwrap(), []);
}
