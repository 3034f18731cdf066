//! The decision for one frame: the kernel's, ours, or nobody's.
//!
//! Owns the order of the checks. On a shared address a frame leaves the kernel's path only when an
//! address and a port of ours can be read in it; whatever is unclear is passed. On an address of our
//! own all goes to user space, except what no header view could be laid over.
//!
//! Everything is inlined: the verifier follows packet bounds best through one function.

use core::mem::size_of;

use zerocopy::transmute;

use crate::contract::{Address, AddressKey, Config};
use crate::flow::Words;
use crate::frame::{
    self, Arp, Ethernet, Extension, Fragment, FragmentHeader, Frame, Icmp, Ipv4, Ipv6, LinkAddress,
    Ports, Tag, Tcp, V6,
};
use crate::verdict::Verdict;

mod sanity;

pub(crate) use sanity::{is_martian, oddity};

/// The maps as the program sees them.
pub trait Tables {
    /// What user space set; `None` before the map has its one entry.
    fn config(&self) -> Option<&Config>;

    /// How `addr` is owned; `None` where it is not ours.
    fn address(&self, addr: &AddressKey) -> Option<Address>;

    /// Whether `port` is listened on, at `local` or at every shared address. Asked only of a `local`
    /// that [`Tables::address`] has called shared before.
    fn is_listener(&self, local: &AddressKey, port: u16) -> bool;

    /// The same of any `local`, which takes longer.
    #[inline(always)]
    fn listens(&self, local: &AddressKey, port: u16) -> bool {
        self.is_listener(local, port)
    }

    /// Told of a whole TCP segment over IPv4 as soon as it is known to be for a listener or an address of our
    /// own: the program leaves it there to a front line whose gate is closed, and does not come back.
    #[inline(always)]
    fn hand_over(&self) {}

    /// Whether `source` is on the block list.
    #[inline(always)]
    fn is_blocked(&self, _source: &AddressKey) -> bool {
        false
    }

    /// Whether `source` may send another SYN to `port` of `local`, where that is listened on: at an
    /// open gate each has a budget.
    #[inline(always)]
    fn admits(&self, _local: &AddressKey, _port: u16, _source: &AddressKey) -> bool {
        true
    }
}

/// What to do with `frame`, and why.
#[inline(always)]
pub fn classify<F: Frame + ?Sized, T: Tables>(frame: &F, tables: &T) -> Verdict {
    decide(frame, tables).unwrap_or_else(|verdict| verdict)
}

/// A verdict found early takes the way of an error, so that `?` ends the walk.
type Decision<T> = Result<T, Verdict>;

#[inline(always)]
fn decide<F: Frame + ?Sized, T: Tables>(frame: &F, tables: &T) -> Decision<Verdict> {
    let config = tables.config().ok_or(Verdict::PassAddress)?;
    let ethernet: Ethernet = frame.read(0).ok_or(Verdict::PassMalformed)?;
    let (ethertype, at) = untag(frame, &ethernet, config.vlan)?;
    let steer = Steer { frame, tables, config };
    let to = LinkAddress::of(frame).ok_or(Verdict::PassMalformed)?;
    let (for_us, for_group) = (to.is(config.link_address()), to.is_group());
    match ethertype {
        frame::ETHERTYPE_IPV4 if for_us => steer.ipv4(at),
        frame::ETHERTYPE_IPV6 if for_us => steer.ipv6(at),
        // Solicitations go to a multicast address. A TCP segment that was sent to one is not for
        // us, whatever its IP address says (RFC 9293, 3.10.7.4, MUST-57; RFC 1122, 3.2.1.3).
        frame::ETHERTYPE_IPV6 if for_group => steer.ipv6_multicast(at),
        frame::ETHERTYPE_ARP if for_us || for_group => steer.arp(at),
        frame::ETHERTYPE_ARP | frame::ETHERTYPE_IPV4 | frame::ETHERTYPE_IPV6 => {
            Err(Verdict::PassMac)
        }
        _ => Err(Verdict::PassEthertype),
    }
}

/// The ethertype behind the tag that is served, and where the network header begins.
#[inline(always)]
fn untag<F: Frame + ?Sized>(frame: &F, ethernet: &Ethernet, served: u16) -> Decision<(u16, usize)> {
    let ethertype = ethernet.ethertype.get();
    let tagged = ethertype == frame::TPID_CUSTOMER || ethertype == frame::TPID_SERVICE;
    if served == 0 {
        return match tagged {
            true => Err(Verdict::PassVlan),
            false => Ok((ethertype, size_of::<Ethernet>())),
        };
    }
    if ethertype != frame::TPID_CUSTOMER {
        return Err(Verdict::PassVlan);
    }
    let tag: Tag = frame.read(size_of::<Ethernet>()).ok_or(Verdict::PassMalformed)?;
    let inner = tag.ethertype.get();
    // A second tag belongs to somebody else's network.
    if tag.vlan() != served || inner == frame::TPID_CUSTOMER || inner == frame::TPID_SERVICE {
        return Err(Verdict::PassVlan);
    }
    Ok((inner, size_of::<Ethernet>() + size_of::<Tag>()))
}

/// What every check looks at.
struct Steer<'a, F: ?Sized, T> {
    frame: &'a F,
    tables: &'a T,
    config: &'a Config,
}

/// A transport header and what its IP header said of it.
#[derive(Clone, Copy)]
struct Transport {
    /// Where it begins in the frame.
    at: usize,
    /// Where it ends, as the IP length says.
    end: usize,
    /// Which part of a packet holds it.
    fragment: Fragment,
    protocol: u8,
    /// The packet's destination.
    local: AddressKey,
    /// Where the IP header begins.
    network: usize,
    is_v6: bool,
    /// Whether an IPv4 header has no options.
    is_plain: bool,
}

impl<F: Frame + ?Sized, T: Tables> Steer<'_, F, T> {
    #[inline(always)]
    fn arp(&self, at: usize) -> Decision<Verdict> {
        let arp: Arp = self.frame.read(at).ok_or(Verdict::PassMalformed)?;
        if arp.kind != Arp::ETHERNET_IPV4 {
            return Err(Verdict::PassArp);
        }
        // The target: requests for our address and replies to us. The sender: somebody else who
        // claims our address (RFC 5227, 2.1.1 and 2.4).
        if self.is_own(&arp.target.mapped()) || self.is_own(&arp.sender.mapped()) {
            return Ok(Verdict::RedirectNeighbour);
        }
        Err(Verdict::PassArp)
    }

    #[inline(always)]
    fn ipv4(&self, at: usize) -> Decision<Verdict> {
        let [first, .., destination] = self.ipv4_words(at)?;
        if u32::from_be(first) >> 28 != 4 {
            return Err(Verdict::PassMalformed);
        }
        let local = transmute!(Words::mapped(u32::from_le(destination)).map(u64::to_le));
        let address = self.tables.address(&local).ok_or(Verdict::PassAddress)?;
        // Not read before: what outlasts a look into a map lies on the stack meanwhile.
        let [first, second, third, ..] = self.ipv4_words(at)?.map(u32::from_be);
        let header = (first >> 24 & 0xf) as usize * 4;
        let protocol = (third >> 16) as u8;
        if header < size_of::<Ipv4>() {
            // Where the ports are cannot be known; the kernel would drop it too, and count it.
            return Err(match address == Address::Own || protocol == frame::TCP {
                true => Verdict::DropIpHeader,
                false => Verdict::PassMalformed,
            });
        }
        let transport = Transport {
            at: at + header,
            end: at + (first & 0xffff) as usize,
            fragment: Fragment::of_ipv4(second as u16),
            protocol,
            local,
            network: at,
            is_v6: false,
            is_plain: header == size_of::<Ipv4>(),
        };
        match address {
            Address::Own => self.own(&transport),
            Address::Shared => self.shared(&transport),
        }
    }

    #[inline(always)]
    fn ipv4_words(&self, at: usize) -> Decision<[u32; 5]> {
        self.frame.words(at).ok_or(Verdict::PassMalformed)
    }

    #[inline(always)]
    fn ipv6(&self, at: usize) -> Decision<Verdict> {
        let ip: Ipv6 = self.frame.read(at).ok_or(Verdict::PassMalformed)?;
        if ip.version() != 6 {
            return Err(Verdict::PassMalformed);
        }
        let local = ip.destination.key();
        let address = self.tables.address(&local).ok_or(Verdict::PassAddress)?;
        let end = at + size_of::<Ipv6>() + ip.payload_length.get() as usize;
        let transport = self.behind_extensions(at, end, (local, ip.next_header));
        match address {
            Address::Own => self.own(&transport),
            Address::Shared => self.shared(&transport),
        }
    }

    /// Steps over at most [`EXTENSIONS`] extension headers behind the header at `network`. What is not
    /// reached has a protocol that nobody steers.
    #[inline(always)]
    fn behind_extensions(&self, network: usize, end: usize, of: (AddressKey, u8)) -> Transport {
        let (mut at, (local, mut protocol)) = (network + size_of::<Ipv6>(), of);
        let mut fragment = Fragment::Whole;
        for _ in 0..EXTENSIONS {
            match protocol {
                frame::HOP_BY_HOP | frame::ROUTING | frame::DESTINATION_OPTIONS => {
                    let Some(header) = self.frame.read::<Extension>(at) else { break };
                    protocol = header.next_header;
                    at += header.length();
                }
                frame::FRAGMENT => {
                    let Some(header) = self.frame.read::<FragmentHeader>(at) else { break };
                    protocol = header.next_header;
                    fragment = header.fragment();
                    at += size_of::<FragmentHeader>();
                }
                _ => break,
            }
            // Behind a later fragment's header lie bytes from the middle of something.
            if fragment == Fragment::Later {
                break;
            }
        }
        let (is_v6, is_plain) = (true, false);
        Transport { at, end, fragment, protocol, local, network, is_v6, is_plain }
    }

    #[inline(always)]
    fn ipv6_multicast(&self, at: usize) -> Decision<Verdict> {
        let ip: Ipv6 = self.frame.read(at).ok_or(Verdict::PassMalformed)?;
        if ip.version() != 6 || ip.next_header != frame::ICMPV6 {
            return Err(Verdict::PassMac);
        }
        let at = at + size_of::<Ipv6>();
        let icmp: Icmp = self.frame.read(at).ok_or(Verdict::PassMalformed)?;
        if !icmp.is_neighbour() {
            return Err(Verdict::PassIcmp);
        }
        let target = at + size_of::<Icmp>();
        let target: V6 = self.frame.read(target).ok_or(Verdict::PassMalformed)?;
        match self.is_own(&target.key()) {
            true => Ok(Verdict::RedirectNeighbour),
            false => Err(Verdict::PassIcmp),
        }
    }

    /// A packet for an address of our own: user space gets it unless something is wrong with it. What
    /// comes for a port that nobody listens on is answered there.
    #[inline(always)]
    fn own(&self, transport: &Transport) -> Decision<Verdict> {
        let length = self.length(transport)?;
        if self.is_discovery(transport) {
            return Ok(Verdict::RedirectOwn);
        }
        if transport.protocol != frame::TCP {
            self.check_source(transport)?;
            return Ok(Verdict::RedirectOwn);
        }
        match transport.fragment {
            Fragment::First => return Err(Verdict::DropFragment),
            Fragment::Later => {
                self.check_source(transport)?;
            }
            Fragment::Whole => {
                self.hand_over(transport);
                let tcp = self.check_tcp(transport.at, length)?;
                let source = self.check_source(transport)?;
                self.check_flags(&tcp, (transport, &source), false)?;
            }
        }
        Ok(Verdict::RedirectOwn)
    }

    /// A packet for an address that the kernel has too.
    #[inline(always)]
    fn shared(&self, transport: &Transport) -> Decision<Verdict> {
        if transport.fragment == Fragment::Later {
            return Err(Verdict::PassFragment);
        }
        match transport.protocol {
            frame::TCP => self.shared_tcp(transport),
            frame::ICMP | frame::ICMPV6 => self.shared_icmp(transport),
            _ => Err(Verdict::PassProtocol),
        }
    }

    #[inline(always)]
    fn shared_tcp(&self, transport: &Transport) -> Decision<Verdict> {
        let ports: Ports = self.frame.read(transport.at).ok_or(Verdict::PassMalformed)?;
        let verdict = self.port(&transport.local, ports.destination.get());
        let verdict = verdict.ok_or(match transport.fragment {
            Fragment::Whole => Verdict::PassPort,
            Fragment::First | Fragment::Later => Verdict::PassFragment,
        })?;
        // From here on it is ours: what is wrong with it is dropped.
        if transport.fragment == Fragment::First {
            return Err(Verdict::DropFragment);
        }
        if verdict == Verdict::RedirectListener {
            self.hand_over(transport);
        }
        let length = self.length(transport)?;
        let tcp = self.check_tcp(transport.at, length)?;
        let source = self.check_source(transport)?;
        if verdict == Verdict::RedirectListener {
            self.check_flags(&tcp, (transport, &source), true)?;
        }
        Ok(verdict)
    }

    /// IPv6 has no front line that judges what was not classified.
    #[inline(always)]
    fn hand_over(&self, transport: &Transport) {
        if !transport.is_v6 {
            self.tables.hand_over();
        }
    }

    /// An ICMP error is ours when the packet that it quotes has our address and port as source.
    #[inline(always)]
    fn shared_icmp(&self, transport: &Transport) -> Decision<Verdict> {
        if transport.fragment == Fragment::First {
            return Err(Verdict::PassFragment);
        }
        let icmp: Icmp = self.frame.read(transport.at).ok_or(Verdict::PassMalformed)?;
        let at = transport.at + size_of::<Icmp>();
        let (source, ports) = match transport.protocol {
            frame::ICMP if icmp.is_v4_error() => self.quoted_v4(at)?,
            frame::ICMPV6 if icmp.is_v6_error() => self.quoted_v6(at)?,
            _ => return Err(Verdict::PassIcmp),
        };
        // An error goes back to the source of what it quotes.
        if source != transport.local || self.port(&source, ports).is_none() {
            return Err(Verdict::PassIcmp);
        }
        // Routers cut quotes as they like, but not the frame below the length they wrote.
        self.length(transport)?;
        self.check_source(transport)?;
        Ok(Verdict::RedirectIcmpError)
    }

    /// Source address and port of a quoted IPv4 packet.
    #[inline(always)]
    fn quoted_v4(&self, at: usize) -> Decision<(AddressKey, u16)> {
        let ip: Ipv4 = self.frame.read(at).ok_or(Verdict::PassIcmp)?;
        let header = ip.header_length();
        let whole = ip.version() == 4 && header >= size_of::<Ipv4>();
        if !whole || ip.protocol != frame::TCP || ip.fragment() == Fragment::Later {
            return Err(Verdict::PassIcmp);
        }
        let ports: Ports = self.frame.read(at + header).ok_or(Verdict::PassIcmp)?;
        Ok((ip.source.mapped(), ports.source.get()))
    }

    /// Source address and port of a quoted IPv6 packet; what we send has no extension headers.
    #[inline(always)]
    fn quoted_v6(&self, at: usize) -> Decision<(AddressKey, u16)> {
        let ip: Ipv6 = self.frame.read(at).ok_or(Verdict::PassIcmp)?;
        if ip.version() != 6 || ip.next_header != frame::TCP {
            return Err(Verdict::PassIcmp);
        }
        let ports: Ports = self.frame.read(at + size_of::<Ipv6>()).ok_or(Verdict::PassIcmp)?;
        Ok((ip.source.key(), ports.source.get()))
    }

    /// Whether a port of a shared address is ours, and by what.
    #[inline(always)]
    fn port(&self, local: &AddressKey, port: u16) -> Option<Verdict> {
        if self.config.is_local_port(port) {
            return Some(Verdict::RedirectLocalPort);
        }
        self.tables.is_listener(local, port).then_some(Verdict::RedirectListener)
    }

    /// How many bytes the IP length leaves to the transport; the lengths may contradict each other or the
    /// frame.
    #[inline(always)]
    fn length(&self, transport: &Transport) -> Decision<usize> {
        let Transport { at, end, .. } = *transport;
        match at <= end && end <= self.frame.length() {
            true => Ok(end - at),
            false => Err(Verdict::DropIpLength),
        }
    }

    /// RFC 9293, 3.1: the data offset covers the fixed header and lies within the segment.
    #[inline(always)]
    fn check_tcp(&self, at: usize, length: usize) -> Decision<Tcp> {
        let tcp: Tcp = self.frame.read(at).ok_or(Verdict::DropTcpHeader)?;
        let header = tcp.header_length();
        match size_of::<Tcp>() <= header && header <= length {
            true => Ok(tcp),
            false => Err(Verdict::DropTcpHeader),
        }
    }

    #[inline(always)]
    fn is_own(&self, addr: &AddressKey) -> bool {
        self.tables.address(addr) == Some(Address::Own)
    }
}

/// How many IPv6 extension headers are stepped over, here as in user space.
const EXTENSIONS: usize = 4;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod watched;
