//! What a run is going to do: the options, checked against this machine. Changes nothing.

use core::net::Ipv4Addr;

use anyhow::{Context, Result};

use sluice::control::Refusal;
use sluice::control::attached::attached;
use sluice::control::config::{
    ConnectSpec, Endpoint, ListenSpec, OwnAddr, PortRange, check_listeners, check_local_ports,
};
use sluice::control::netlink::{Link, Netlink, receive_queues};
use sluice::control::ports;
use sluice::control::prefix::Prefix;
use sluice::datapath::{MTU_MAX, allowed_cpus};
use sluice::shard::Route;
use sluice::tcp;
use sluice::wire::{Addr, ipv6};

use crate::block;
use crate::capabilities;
use crate::cli::RunOptions;

/// A run that nothing known speaks against.
pub(crate) struct Plan {
    /// The interface.
    pub(crate) link: Link,
    /// Its MTU, which a frame holds.
    pub(crate) mtu: u16,
    /// Receive queues, each of which gets a worker.
    pub(crate) queues: u16,
    /// The CPUs that workers run on.
    pub(crate) cpus: Vec<usize>,
    /// The addresses that are served, the one to show first.
    pub(crate) addrs: Vec<Addr>,
    /// Whether the address is ours alone.
    pub(crate) is_owned: bool,
    /// Routes, longest prefix first.
    pub(crate) routes: Vec<Route>,
    /// Who listens.
    pub(crate) listeners: Vec<ListenSpec>,
    /// Local ports for active opens; none on a shared address where none are opened.
    pub(crate) local_ports: Option<PortRange>,
    /// Who is not heard.
    pub(crate) blocked: Vec<Prefix>,
    /// TCP's times and limits.
    pub(crate) tcp: tcp::Config,
    /// Reserved local ports of killed runs that were taken back.
    pub(crate) repaired: Vec<PortRange>,
}

impl Plan {
    /// Checks the options against the machine.
    pub(crate) fn make(options: &RunOptions, netlink: &mut Netlink) -> Result<Self> {
        let listeners = match &options.listen[..] {
            [] if options.load.is_some() => Vec::new(),
            [] => ListenSpec::DEFAULT.to_vec(),
            given => given.to_vec(),
        };
        check_listeners(&listeners)?;
        let tcp = options.transport.config()?;
        let listed = options.block_list.as_deref().map(block::read).transpose()?;
        let blocked = [options.block.clone(), listed.unwrap_or_default()].concat();
        capabilities::check()?;
        let link = link(&options.iface, netlink)?;
        let mtu = mtu(&link)?;
        let queues = queues(&link.name, options.queues)?;
        let cpus = cpus(options)?;
        let (addrs, routes) = match &options.addr[..] {
            [] => shared(&link, netlink)?,
            given => own(given, options, mtu, netlink)?,
        };
        check_places(&listeners, &addrs)?;
        check_peers(options, &addrs, &routes)?;
        let mut plan = Self {
            local_ports: local_ports(options),
            link,
            mtu,
            queues,
            cpus,
            addrs,
            is_owned: !options.addr.is_empty(),
            routes,
            listeners,
            blocked,
            tcp,
            repaired: Vec::new(),
        };
        plan.check_local_ports()?;
        Ok(plan)
    }

    fn check_local_ports(&mut self) -> Result<()> {
        let Some(range) = self.local_ports else { return Ok(()) };
        check_local_ports(range, &self.listeners, self.queues)?;
        if !self.is_owned {
            self.repaired = ports::repair().context("the reserved ports cannot be repaired")?;
            ports::check_reserved(range)?;
        }
        Ok(())
    }
}

fn link(name: &str, netlink: &mut Netlink) -> Result<Link> {
    let Some(link) = netlink.link(name).context("rtnetlink does not answer")? else {
        return Err(refuse(
            format_args!("there is no interface {name} in this network namespace"),
            "`ip link` lists those that there are",
        ));
    };
    if !link.is_ethernet {
        return Err(refuse(
            format_args!("{name} is no Ethernet interface"),
            "choose one that is, `ip link` shows them as link/ether",
        ));
    }
    if !link.is_up {
        return Err(refuse(
            format_args!("{name} is down"),
            format_args!("`ip link set dev {name} up`"),
        ));
    }
    if let Some(id) = link.program {
        let by = attached(link.index).and_then(|program| program.name).unwrap_or_default();
        return Err(refuse(
            format_args!("{name} is taken by another XDP program (id {id}, name `{by}`)"),
            format_args!("stop the process that holds it, or `ip link set dev {name} xdp off`"),
        ));
    }
    Ok(link)
}

fn mtu(link: &Link) -> Result<u16> {
    let name = &link.name;
    u16::try_from(link.mtu).ok().filter(|mtu| *mtu <= MTU_MAX).ok_or_else(|| {
        refuse(
            format_args!("the MTU of {name} is {}, above {MTU_MAX}", link.mtu),
            format_args!("`ip link set dev {name} mtu {MTU_MAX}`, or less"),
        )
    })
}

/// Every queue has a worker: frames of a queue without one would be lost.
fn queues(name: &str, wanted: Option<u16>) -> Result<u16> {
    let had = receive_queues(name).with_context(|| format!("/sys does not show {name}"))?;
    match wanted {
        Some(wanted) if wanted < had => Err(refuse(
            format_args!("{name} has {had} receive queues, but {wanted} workers are asked for"),
            format_args!("raise --queues to {had} or `ethtool -L {name} combined {wanted}`"),
        )),
        Some(wanted) if wanted > had => Err(refuse(
            format_args!("{name} has {had} receive queues, not {wanted}"),
            format_args!("lower --queues to {had} or `ethtool -L {name} combined {wanted}`"),
        )),
        _ => Ok(had),
    }
}

fn cpus(options: &RunOptions) -> Result<Vec<usize>> {
    let allowed = allowed_cpus().context("sched_getaffinity")?;
    let Some(list) = &options.cpus else { return Ok(allowed) };
    match list.0.iter().find(|cpu| !allowed.contains(cpu)) {
        Some(cpu) => Err(refuse(
            format_args!("CPU {cpu} is not there or not allowed for this process"),
            format_args!("choose from {allowed:?}"),
        )),
        None => Ok(list.0.clone()),
    }
}

/// The interface's own addresses and routes.
fn shared(link: &Link, netlink: &mut Netlink) -> Result<(Vec<Addr>, Vec<Route>)> {
    let addresses = netlink.addresses(link.index).context("rtnetlink does not tell addresses")?;
    let addrs: Vec<Addr> = addresses.iter().map(|address| address.addr).collect();
    if addrs.is_empty() {
        return Err(refuse(
            format_args!("{} has no IP address", link.name),
            format_args!("`ip address add A/LEN dev {}`, or give --addr A/LEN", link.name),
        ));
    }
    let routes = netlink.routes(link.index).context("rtnetlink does not tell routes")?;
    Ok((addrs, routes))
}

/// Addresses that are ours alone, which must be nobody's here, and the routes that follow from them.
fn own(
    given: &[OwnAddr],
    options: &RunOptions,
    mtu: u16,
    netlink: &mut Netlink,
) -> Result<(Vec<Addr>, Vec<Route>)> {
    let gateways: Vec<Addr> = options.gateway.iter().copied().map(Addr::from).collect();
    let routes = own_routes(given, &gateways)?;
    let mut addrs = Vec::new();
    for own in given {
        if addrs.contains(&own.addr) {
            return Err(refuse(format_args!("--addr {own} stands twice"), "give it once"));
        }
        if !own.addr.is_v4() && mtu < ipv6::MIN_MTU {
            return Err(refuse(
                format_args!("--addr {own}: IPv6 does not fit in an MTU of {mtu}"),
                format_args!("`ip link set dev {} mtu {}`, or more", options.iface, ipv6::MIN_MTU),
            ));
        }
        addrs.push(own.addr);
    }
    check_own(&addrs, &gateways, netlink)?;
    Ok((addrs, routes))
}

/// The link's networks, and the gateways for the rest.
fn own_routes(given: &[OwnAddr], gateways: &[Addr]) -> Result<Vec<Route>> {
    let mut routes = Vec::new();
    for own in given {
        let (prefix, prefix_len) = (own.network(), own.prefix_len);
        routes.push(Route { prefix, prefix_len, gateway: None });
        if !own.addr.is_v4() {
            routes.push(Route { prefix: LINK_LOCAL, prefix_len: 64, gateway: None });
        }
    }
    let mut families = Vec::new();
    for gateway in gateways {
        let is_neighbour = given.iter().any(|own| own.is_on_link(*gateway));
        if !is_neighbour || given.iter().any(|own| own.addr == *gateway) {
            let networks: Vec<String> = given.iter().map(OwnAddr::to_string).collect();
            return Err(refuse(
                format_args!(
                    "--gateway {gateway} is no other host of the network of --addr {}",
                    networks.join(", ")
                ),
                "give one that is on the network of --addr",
            ));
        }
        if families.contains(&gateway.is_v4()) {
            return Err(refuse(
                format_args!("--gateway {gateway} is the second one of its family"),
                "give one for each family",
            ));
        }
        families.push(gateway.is_v4());
        let (prefix, prefix_len) = match gateway.is_v4() {
            true => (Ipv4Addr::UNSPECIFIED.into(), 96),
            false => (Addr::UNSPECIFIED, 0),
        };
        routes.push(Route { prefix, prefix_len, gateway: Some(*gateway) });
    }
    routes.sort_by_key(|route| (core::cmp::Reverse(route.prefix_len), route.prefix));
    routes.dedup();
    Ok(routes)
}

/// Neither an own address nor its gateway may be the kernel's.
fn check_own(addrs: &[Addr], gateways: &[Addr], netlink: &mut Netlink) -> Result<()> {
    let mut taken =
        |addr: Addr| netlink.interface_of(addr).context("rtnetlink does not tell addresses");
    for addr in addrs {
        if taken(*addr)?.is_some() {
            return Err(refuse(
                format_args!("--addr {addr} is an address of the kernel"),
                "leave out --addr to share it, or give an address that the kernel does not have",
            ));
        }
    }
    for gateway in gateways {
        if taken(*gateway)?.is_some() {
            return Err(refuse(
                format_args!("--gateway {gateway} is an address of this host"),
                "give that of another host",
            ));
        }
    }
    Ok(())
}

fn check_places(listeners: &[ListenSpec], addrs: &[Addr]) -> Result<()> {
    for listener in listeners {
        if let Some(addr) = listener.addr
            && !addrs.contains(&addr)
        {
            let served: Vec<String> = addrs.iter().map(Addr::to_string).collect();
            return Err(refuse(
                format_args!("--listen {listener}: {addr} is not an address that is served"),
                format_args!("choose from {}, or leave the address out", served.join(", ")),
            ));
        }
    }
    Ok(())
}

fn check_peers(options: &RunOptions, addrs: &[Addr], routes: &[Route]) -> Result<()> {
    let of = |peer: &ConnectSpec| Endpoint { addr: peer.addr, port: peer.port };
    let connects = options.connect.iter().map(|peer| ("--connect", of(peer)));
    let load = options.load.iter().map(|load| ("--to", load.to));
    for (option, peer) in connects.chain(load) {
        if addrs.contains(&peer.addr) {
            return Err(refuse(
                format_args!("{option} {peer}: that is our own address"),
                "give that of another host",
            ));
        }
        let has_address = addrs.iter().any(|ours| ours.is_v4() == peer.addr.is_v4());
        if !has_address || !routes.iter().any(|route| route.next_hop(peer.addr).is_some()) {
            return Err(refuse(
                format_args!("{option} {peer}: no route leads there"),
                "add one through this interface (with --addr, give --gateway)",
            ));
        }
    }
    Ok(())
}

/// What was given, else a range of our own where connections are opened.
fn local_ports(options: &RunOptions) -> Option<PortRange> {
    let opens = !options.connect.is_empty() || options.load.is_some();
    let default = match options.addr.is_empty() {
        false => Some(OWN_PORTS),
        true if opens => Some(SHARED_PORTS),
        true => None,
    };
    options.local_ports.or(default)
}

fn refuse(what: impl core::fmt::Display, remedy: impl core::fmt::Display) -> anyhow::Error {
    Refusal::new(what, remedy).into()
}

/// Where every link-local address is (RFC 4291, 2.5.6).
const LINK_LOCAL: Addr = Addr([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
/// Local ports of an address of our own: the dynamic ports of RFC 6335, section 6.
const OWN_PORTS: PortRange = PortRange { first: 49_152, last: 65_535 };
/// Local ports of a shared address: above those that the kernel chooses from by default.
const SHARED_PORTS: PortRange = PortRange { first: 61_000, last: 61_999 };
