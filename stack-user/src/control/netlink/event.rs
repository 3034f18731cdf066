//! rtnetlink messages as facts.

use core::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::NetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage, LinkXdp};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHopFlags,
    RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::shard::Route;
use crate::wire::{Addr, MacAddr};

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its link-layer address; zero where it has none of Ethernet's length.
    pub mac: MacAddr,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether it is an Ethernet.
    pub is_ethernet: bool,
    /// The number of the XDP program that is attached.
    pub program: Option<u32>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The interface's number.
    pub interface: u32,
    /// The address.
    pub addr: Addr,
    /// Length of its network's prefix, as its family counts: of an IPv4 address at most 32.
    pub prefix_len: u8,
}

/// A fact, as an answer or as a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An interface is there, or changed.
    Link(Link),
    /// An interface is gone.
    LinkGone {
        /// Its number.
        interface: u32,
    },
    /// An address is there.
    Address(Address),
    /// An address is gone.
    AddressGone(Address),
    /// A route of the main table is there.
    Route {
        /// The interface it leads through.
        interface: u32,
        /// Its metric: of equal routes the least counts.
        metric: u32,
        /// The route.
        route: Route,
    },
    /// A route is gone.
    RouteGone,
    /// A neighbour has been resolved, or cannot be.
    Neighbour {
        /// The interface it is on.
        interface: u32,
        /// Its address.
        addr: Addr,
        /// Its link-layer address; `None` when it cannot be resolved.
        mac: Option<MacAddr>,
    },
    /// Changes were lost: everything has to be asked again.
    Lost,
}

/// What the kernel holds of a neighbour whose link-layer address it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The link-layer address.
    pub(super) mac: MacAddr,
    /// Whether it has been confirmed lately, or needs no confirmation.
    pub(super) is_certain: bool,
}

impl Entry {
    /// `None` where the kernel has no link-layer address, or one that failed.
    pub(super) fn read(message: &NeighbourMessage) -> Option<Self> {
        let Some(Event::Neighbour { mac, .. }) = read_neighbour(message) else { return None };
        let state = message.header.state;
        let is_certain = matches!(
            state,
            NeighbourState::Permanent | NeighbourState::Noarp | NeighbourState::Reachable
        );
        mac.map(|mac| Self { mac, is_certain })
    }
}

/// The messages of a datagram that can be read.
pub(super) fn messages(
    mut bytes: &[u8],
) -> impl Iterator<Item = NetlinkMessage<RouteNetlinkMessage>> {
    let each = core::iter::from_fn(move || {
        // The length in host order goes first, and messages are padded to four bytes (netlink(7)).
        let len = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let message = bytes.get(..len).filter(|_| len >= HEADER)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(NetlinkMessage::deserialize(message))
    });
    each.filter_map(Result::ok)
}

/// Tells what a message says, if it is of interest.
pub(super) fn events(message: RouteNetlinkMessage, each: &mut impl FnMut(Event)) {
    match message {
        // In the family of bridges a message is about the link's being a port: the end of that is
        // not the end of the link.
        RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link)
            if link.header.interface_family != AddressFamily::Unspec => {}
        RouteNetlinkMessage::NewLink(link) => each(Event::Link(read_link(&link))),
        RouteNetlinkMessage::DelLink(link) => {
            each(Event::LinkGone { interface: link.header.index });
        }
        RouteNetlinkMessage::NewAddress(address) => {
            if let Some(address) = read_address(&address) {
                each(Event::Address(address));
            }
        }
        RouteNetlinkMessage::DelAddress(address) => {
            if let Some(address) = read_address(&address) {
                each(Event::AddressGone(address));
            }
        }
        RouteNetlinkMessage::NewRoute(route) => read_route(&route, each),
        RouteNetlinkMessage::DelRoute(_) => each(Event::RouteGone),
        RouteNetlinkMessage::NewNeighbour(neighbour) => {
            if let Some(event) = read_neighbour(&neighbour) {
                each(event);
            }
        }
        // An entry that the kernel forgot says nothing of the neighbour: what we know stays until
        // it is asked for again.
        _ => {}
    }
}

fn read_link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: MacAddr::default(),
        mtu: 0,
        is_up: message.header.flags.contains(LinkFlags::Up),
        is_ethernet: message.header.link_layer_type == LinkLayerType::Ether,
        program: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(bytes) => link.mac = read_mac(bytes).unwrap_or_default(),
            LinkAttribute::Xdp(parts) => {
                // With programs of several modes at once only their own kinds are there.
                link.program = parts.iter().find_map(|part| match part {
                    LinkXdp::ProgId(id)
                    | LinkXdp::DrvProgId(id)
                    | LinkXdp::SkbProgId(id)
                    | LinkXdp::HwProgId(id) => Some(*id).filter(|id| *id != 0),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    link
}

fn read_address(message: &AddressMessage) -> Option<Address> {
    // Another host has it (RFC 4862, 5.4.5).
    if message.header.flags.contains(AddressHeaderFlags::Dadfailed) {
        return None;
    }
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(local) => Some(*local),
        _ => None,
    });
    // Only where the link has but two ends the two differ; of IPv6 one alone is told then.
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(IpAddr::V6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    });
    Some(Address {
        interface: message.header.index,
        addr: local.or(address)?.into(),
        prefix_len: message.header.prefix_len,
    })
}

/// Routes of other tables and kinds are told as nothing, and so are those for a type of service or a
/// source alone, which are not for all segments, and those that do not work. Of several next hops
/// each is a route.
fn read_route(message: &RouteMessage, each: &mut impl FnMut(Event)) {
    let header = &message.header;
    let is_plain = header.tos == 0 && header.source_prefix_length == 0;
    let is_dead = header.flags.intersects(RouteFlags::Dead | RouteFlags::Linkdown);
    if header.table != RouteHeader::RT_TABLE_MAIN
        || header.kind != RouteType::Unicast
        || !is_plain
        || is_dead
    {
        return;
    }
    let is_v6 = header.address_family == AddressFamily::Inet6;
    let mut prefix: Addr = match is_v6 {
        true => Addr::UNSPECIFIED,
        false => Ipv4Addr::UNSPECIFIED.into(),
    };
    let (mut interface, mut gateway, mut metric) = (None, None, 0);
    let mut hops = &[][..];
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(addr) => prefix = read_addr(addr).unwrap_or(prefix),
            RouteAttribute::Gateway(addr) => gateway = read_addr(addr),
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Priority(value) => metric = *value,
            RouteAttribute::MultiPath(several) => hops = several,
            _ => {}
        }
    }
    let prefix_len = match is_v6 {
        true => header.destination_prefix_length.min(128),
        false => header.destination_prefix_length.min(32) + 96,
    };
    let route = |gateway| Route { prefix, prefix_len, gateway };
    if let Some(interface) = interface {
        each(Event::Route { interface, metric, route: route(gateway) });
    }
    let dead = RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown;
    for hop in hops.iter().filter(|hop| !hop.flags.intersects(dead)) {
        let gateway = hop.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(addr) => read_addr(addr),
            _ => None,
        });
        let interface = hop.interface_index;
        each(Event::Route { interface, metric, route: route(gateway) });
    }
}

fn read_addr(addr: &RouteAddress) -> Option<Addr> {
    match addr {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6).into()),
        _ => None,
    }
}

fn read_neighbour(message: &NeighbourMessage) -> Option<Event> {
    let mut addr = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                addr = Some(Addr::from(*v4));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                addr = Some(IpAddr::V6(*v6).into());
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = read_mac(bytes),
            _ => {}
        }
    }
    let mac = match message.header.state {
        NeighbourState::Failed => None,
        // Nothing is known yet.
        NeighbourState::Incomplete | NeighbourState::None => return None,
        // Reachable, stale, and on the way from one to the other: an address that worked.
        _ => Some(mac?),
    };
    Some(Event::Neighbour { interface: message.header.ifindex, addr: addr?, mac })
}

fn read_mac(bytes: &[u8]) -> Option<MacAddr> {
    bytes.try_into().ok().map(MacAddr)
}

/// Length of a message's header in bytes.
const HEADER: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv6Addr;
    use netlink_packet_core::{NetlinkHeader, NetlinkPayload};
    use netlink_packet_route::route::RouteNextHop;

    fn facts(message: RouteNetlinkMessage) -> Vec<Event> {
        let mut found = Vec::new();
        events(message, &mut |event| found.push(event));
        found
    }

    fn v4(d: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, d)
    }

    fn neighbour(state: NeighbourState, mac: Option<[u8; 6]>) -> RouteNetlinkMessage {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 3;
        message.header.state = state;
        message.attributes = vec![NeighbourAttribute::Destination(NeighbourAddress::Inet(v4(2)))];
        message.attributes.extend(mac.map(|mac| NeighbourAttribute::LinkLayerAddress(mac.into())));
        RouteNetlinkMessage::NewNeighbour(message)
    }

    #[test]
    fn neighbour_stale_is_known_and_failed_is_not() {
        let known = |mac| vec![Event::Neighbour { interface: 3, addr: v4(2).into(), mac }];
        let mac = [2, 0, 0, 0, 0, 9];
        assert_eq!(facts(neighbour(NeighbourState::Stale, Some(mac))), known(Some(MacAddr(mac))));
        assert_eq!(facts(neighbour(NeighbourState::Failed, None)), known(None));
        assert_eq!(facts(neighbour(NeighbourState::Incomplete, None)), []);
    }

    #[test]
    fn route_of_the_main_table_is_told_with_its_length_over_128_bits() {
        let mut message = RouteMessage::default();
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.kind = RouteType::Unicast;
        message.header.destination_prefix_length = 24;
        message.attributes = vec![
            RouteAttribute::Destination(RouteAddress::Inet(v4(0))),
            RouteAttribute::Gateway(RouteAddress::Inet(v4(1))),
            RouteAttribute::Oif(3),
            RouteAttribute::Priority(100),
        ];
        let route = Route { prefix: v4(0).into(), prefix_len: 120, gateway: Some(v4(1).into()) };
        let told = facts(RouteNetlinkMessage::NewRoute(message.clone()));
        assert_eq!(told, [Event::Route { interface: 3, metric: 100, route }]);
        message.header.table = 255;
        assert_eq!(facts(RouteNetlinkMessage::NewRoute(message)), []);
    }

    fn v6(last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
    }

    fn addr(v6: Ipv6Addr) -> Addr {
        IpAddr::V6(v6).into()
    }

    #[test]
    fn facts_of_ipv6_are_told_as_they_are() {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet6;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.kind = RouteType::Unicast;
        let gateway = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        message.attributes =
            vec![RouteAttribute::Gateway(RouteAddress::Inet6(gateway)), RouteAttribute::Oif(3)];
        let route =
            Route { prefix: Addr::UNSPECIFIED, prefix_len: 0, gateway: Some(addr(gateway)) };
        let told = facts(RouteNetlinkMessage::NewRoute(message.clone()));
        assert_eq!(told, [Event::Route { interface: 3, metric: 0, route }]);
        message.header.destination_prefix_length = 64;
        message.attributes =
            vec![RouteAttribute::Destination(RouteAddress::Inet6(v6(0))), RouteAttribute::Oif(3)];
        let route = Route { prefix: addr(v6(0)), prefix_len: 64, gateway: None };
        let told = facts(RouteNetlinkMessage::NewRoute(message));
        assert_eq!(told, [Event::Route { interface: 3, metric: 0, route }]);
        let mut message = NeighbourMessage::default();
        message.header.state = NeighbourState::Reachable;
        message.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6(2))),
            NeighbourAttribute::LinkLayerAddress(vec![2; 6]),
        ];
        let mac = Some(MacAddr([2; 6]));
        let told = facts(RouteNetlinkMessage::NewNeighbour(message));
        assert_eq!(told, [Event::Neighbour { interface: 0, addr: addr(v6(2)), mac }]);
    }

    #[test]
    fn address_of_ipv6_is_told_unless_another_host_has_it() {
        let mut message = AddressMessage::default();
        message.header.prefix_len = 64;
        message.attributes = vec![AddressAttribute::Address(IpAddr::V6(v6(1)))];
        let told = Address { interface: 0, addr: addr(v6(1)), prefix_len: 64 };
        let tell =
            |message: &AddressMessage| facts(RouteNetlinkMessage::NewAddress(message.clone()));
        assert_eq!(tell(&message), [Event::Address(told)]);
        message.header.flags = AddressHeaderFlags::Dadfailed;
        assert_eq!(tell(&message), []);
    }

    #[test]
    fn route_that_is_dead_or_for_some_segments_is_not_told() {
        let mut message = RouteMessage::default();
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.kind = RouteType::Unicast;
        message.attributes = vec![RouteAttribute::Oif(3)];
        let told = |change: &dyn Fn(&mut RouteMessage)| {
            let mut message = message.clone();
            change(&mut message);
            facts(RouteNetlinkMessage::NewRoute(message)).len()
        };
        assert_eq!(told(&|_| {}), 1);
        assert_eq!(told(&|message| message.header.flags = RouteFlags::Dead), 0);
        assert_eq!(told(&|message| message.header.flags = RouteFlags::Linkdown), 0);
        assert_eq!(told(&|message| message.header.tos = 0x10), 0);
        assert_eq!(told(&|message| message.header.source_prefix_length = 8), 0);
        let hop = |flags| {
            let mut hop = RouteNextHop::default();
            (hop.interface_index, hop.flags) = (3, flags);
            hop
        };
        let hops = vec![hop(RouteNextHopFlags::Dead), hop(RouteNextHopFlags::empty())];
        let hops = RouteAttribute::MultiPath(hops);
        assert_eq!(told(&|message| message.attributes = vec![hops.clone()]), 1);
    }

    #[test]
    fn link_that_leaves_a_bridge_is_not_gone() {
        let mut link = LinkMessage::default();
        link.header.index = 3;
        link.header.interface_family = AddressFamily::Bridge;
        assert_eq!(facts(RouteNetlinkMessage::DelLink(link.clone())), []);
        link.header.interface_family = AddressFamily::Unspec;
        let gone = [Event::LinkGone { interface: 3 }];
        assert_eq!(facts(RouteNetlinkMessage::DelLink(link)), gone);
    }

    #[test]
    fn neighbour_entry_is_certain_unless_it_is_stale() {
        let read = |state| match neighbour(state, Some([2; 6])) {
            RouteNetlinkMessage::NewNeighbour(message) => Entry::read(&message),
            _ => None,
        };
        let entry = |is_certain| Some(Entry { mac: MacAddr([2; 6]), is_certain });
        for state in [NeighbourState::Permanent, NeighbourState::Noarp, NeighbourState::Reachable] {
            assert_eq!(read(state), entry(true));
        }
        assert_eq!(read(NeighbourState::Stale), entry(false));
        assert_eq!(read(NeighbourState::Failed), None);
    }

    #[test]
    fn datagram_with_a_message_that_cannot_be_read_gives_the_others() {
        let message = || {
            let inner = neighbour(NeighbourState::Stale, Some([2; 6]));
            let mut message =
                NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(inner));
            message.finalize();
            let mut bytes = vec![0; message.buffer_len()];
            message.serialize(&mut bytes);
            bytes
        };
        let mut broken = message();
        broken.truncate(20);
        broken[..4].copy_from_slice(&20_u32.to_ne_bytes());
        let datagram = [message(), broken, message(), vec![7; 9]].concat();
        assert_eq!(messages(&datagram).count(), 2);
    }
}
