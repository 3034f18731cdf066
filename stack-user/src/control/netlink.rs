//! What the kernel knows of an interface: link, addresses, routes and neighbours.
//!
//! Owns two rtnetlink sockets: [`Netlink`] asks, [`Watch`] hears of changes, which the control thread
//! polls. Synchronous. Decides nothing: it tells facts.

mod event;

use core::net::IpAddr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage,
};
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::shard::Route;
use crate::wire::{Addr, MacAddr, ipv6};

use self::event::Entry;
pub use self::event::{Address, Event, Link};

/// A socket that asks.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens the socket.
    ///
    /// # Errors
    /// The socket's error.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; DATAGRAM] })
    }

    /// The interface named `name`; `None` when there is none.
    ///
    /// # Errors
    /// The socket's error.
    pub fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        self.link_that(|link| link.name == name)
    }

    /// The interface with number `index`; `None` when there is none.
    ///
    /// # Errors
    /// The socket's error.
    pub fn link_at(&mut self, index: u32) -> io::Result<Option<Link>> {
        self.link_that(|link| link.index == index)
    }

    fn link_that(&mut self, is_it: impl Fn(&Link) -> bool) -> io::Result<Option<Link>> {
        let mut found = None;
        self.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()), |event| {
            if let Event::Link(link) = event
                && is_it(&link)
            {
                found = Some(link);
            }
        })?;
        Ok(found)
    }

    /// The addresses of interface `index`: those of IPv4 first, the primary one before the others,
    /// and those that hold on the link alone last.
    ///
    /// # Errors
    /// The socket's error.
    pub fn addresses(&mut self, index: u32) -> io::Result<Vec<Address>> {
        let mut found = self.all_addresses()?;
        found.retain(|address| address.interface == index);
        found.sort_by_key(|it| (!it.addr.is_v4(), ipv6::is_link_local(&it.addr)));
        found.dedup();
        Ok(found)
    }

    /// Whether any interface of this namespace has `addr`, and which.
    ///
    /// # Errors
    /// The socket's error.
    pub fn interface_of(&mut self, addr: Addr) -> io::Result<Option<u32>> {
        let found = self.all_addresses()?;
        Ok(found.iter().find(|address| address.addr == addr).map(|address| address.interface))
    }

    /// The addresses of every interface of this namespace.
    ///
    /// # Errors
    /// The socket's error.
    pub fn all_addresses(&mut self) -> io::Result<Vec<Address>> {
        let mut found = Vec::new();
        for family in FAMILIES {
            let mut request = AddressMessage::default();
            request.header.family = family;
            self.dump(RouteNetlinkMessage::GetAddress(request), |event| {
                if let Event::Address(address) = event {
                    found.push(address);
                }
            })?;
        }
        Ok(found)
    }

    /// The routes of the main table through interface `index`, longest prefix first; of those with
    /// the same prefix the one with the least metric.
    ///
    /// # Errors
    /// The socket's error.
    pub fn routes(&mut self, index: u32) -> io::Result<Vec<Route>> {
        let mut found = Vec::new();
        for family in FAMILIES {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            self.dump(RouteNetlinkMessage::GetRoute(request), |event| {
                if let Event::Route { interface, metric, route } = event
                    && interface == index
                {
                    found.push((metric, route));
                }
            })?;
        }
        found.sort_by_key(|(metric, route)| {
            (core::cmp::Reverse(route.prefix_len), route.prefix, *metric)
        });
        found.dedup_by_key(|(_, route)| (route.prefix, route.prefix_len));
        Ok(found.into_iter().map(|(_, route)| route).collect())
    }

    /// The link-layer addresses known of the neighbours on interface `index`.
    ///
    /// # Errors
    /// The socket's error.
    pub fn neighbours(&mut self, index: u32) -> io::Result<Vec<(Addr, MacAddr)>> {
        let mut found = Vec::new();
        for family in FAMILIES {
            let mut request = NeighbourMessage::default();
            request.header.family = family;
            self.dump(RouteNetlinkMessage::GetNeighbour(request), |event| {
                if let Event::Neighbour { interface, addr, mac: Some(mac) } = event
                    && interface == index
                {
                    found.push((addr, mac));
                }
            })?;
        }
        Ok(found)
    }

    /// The link-layer address that the kernel has for `addr` on interface `index`. Unless that is
    /// certain, asks the kernel to resolve it, or to confirm it: what comes of that is an event of
    /// [`Watch`].
    ///
    /// # Errors
    /// The kernel's error.
    pub fn resolve(&mut self, index: u32, addr: Addr) -> io::Result<Option<MacAddr>> {
        let (family, destination) = match IpAddr::from(addr) {
            IpAddr::V4(v4) => (AddressFamily::Inet, NeighbourAddress::Inet(v4)),
            IpAddr::V6(v6) => (AddressFamily::Inet6, NeighbourAddress::Inet6(v6)),
        };
        let mut request = NeighbourMessage::default();
        request.header.family = family;
        request.header.ifindex = index;
        request.attributes = vec![NeighbourAttribute::Destination(destination)];
        let entry = self.entry(request.clone())?;
        // NTF_USE would take PERMANENT from an entry that an administrator made.
        if !entry.is_some_and(|entry| entry.is_certain) {
            request.header.flags = NeighbourFlags::Use;
            let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
            self.ask(RouteNetlinkMessage::NewNeighbour(request), flags, |_| {})?;
        }
        Ok(entry.map(|entry| entry.mac))
    }

    /// The valid entry of a neighbour.
    fn entry(&mut self, request: NeighbourMessage) -> io::Result<Option<Entry>> {
        let mut found = None;
        let request = RouteNetlinkMessage::GetNeighbour(request);
        let asked = self.ask(request, NLM_F_REQUEST | NLM_F_ACK, |message| {
            if let RouteNetlinkMessage::NewNeighbour(neighbour) = message {
                found = Entry::read(&neighbour);
            }
        });
        match asked {
            Err(err) if err.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            asked => asked.map(|()| found),
        }
    }

    fn dump(
        &mut self,
        request: RouteNetlinkMessage,
        mut each: impl FnMut(Event),
    ) -> io::Result<()> {
        let flags = NLM_F_REQUEST | NLM_F_DUMP;
        self.ask(request, flags, |message| event::events(message, &mut each))
    }

    /// Sends a request and reads its answer to the end.
    fn ask(
        &mut self,
        request: RouteNetlinkMessage,
        flags: u16,
        mut each: impl FnMut(RouteNetlinkMessage),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        loop {
            let len = self.socket.recv(&mut &mut self.buffer[..], 0)?;
            for message in event::messages(&self.buffer[..len]) {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => each(inner),
                    NetlinkPayload::Error(err) => {
                        return if err.code.is_none() { Ok(()) } else { Err(err.to_io()) };
                    }
                    NetlinkPayload::Done(_) => return Ok(()),
                    _ => {}
                }
            }
        }
    }
}

/// A socket that hears of changes.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Watch {
    /// Listens to links, addresses, routes and neighbours.
    ///
    /// # Errors
    /// The socket's error.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        socket.set_non_blocking(true)?;
        // Where the system allows less, a burst is told as `Event::Lost` sooner.
        let _ = socket.set_rx_buf_sz(RECEIVE_BUFFER);
        Ok(Self { socket, buffer: vec![0; DATAGRAM] })
    }

    /// Appends the events that wait. [`Event::Lost`] says that there were more than the kernel
    /// kept: everything has to be asked again.
    pub fn poll(&mut self, events: &mut Vec<Event>) {
        loop {
            match self.socket.recv(&mut &mut self.buffer[..], 0) {
                Ok(len) => {
                    for message in event::messages(&self.buffer[..len]) {
                        if let NetlinkPayload::InnerMessage(inner) = message.payload {
                            event::events(inner, &mut |event| events.push(event));
                        }
                    }
                }
                Err(err) if err.raw_os_error() == Some(libc::ENOBUFS) => events.push(Event::Lost),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Watch {
    /// Readable when there are events.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// How many receive queues the interface has.
///
/// # Errors
/// When /sys has no such interface.
pub fn receive_queues(name: &str) -> io::Result<u16> {
    let entries = fs::read_dir(format!("/sys/class/net/{name}/queues"))?;
    let is_rx = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("rx-");
    Ok(u16::try_from(entries.flatten().filter(is_rx).count()).unwrap_or(u16::MAX))
}

/// The families that are asked for. A kernel without IPv6 tells of the other twice, which does no harm.
const FAMILIES: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];
/// Multicast groups of rtnetlink that are listened to.
const GROUPS: [u32; 6] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV6_ROUTE,
];
/// The longest datagram that rtnetlink sends, in bytes.
const DATAGRAM: usize = 64 << 10;
/// Bytes that may wait on the watching socket.
const RECEIVE_BUFFER: usize = 1 << 20;
