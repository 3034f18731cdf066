//! Views over the headers of a received frame, bounds-checked one read at a time.
//!
//! Owns the layouts that the program looks at; takes no decision. Checksums are left to user space.

use core::mem::size_of;

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, big_endian as be};

/// A received frame, from its Ethernet header on.
pub trait Frame {
    /// The header at `offset` bytes from the frame's start; `None` where the frame ends before it.
    fn read<T: FromBytes>(&self, offset: usize) -> Option<T>;

    /// The frame's length in bytes.
    fn length(&self) -> usize;
}

impl Frame for [u8] {
    fn read<T: FromBytes>(&self, offset: usize) -> Option<T> {
        let end = offset.checked_add(size_of::<T>())?;
        T::read_from_bytes(self.get(offset..end)?).ok()
    }

    fn length(&self) -> usize {
        self.len()
    }
}

/// The Ethernet header without tags.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ethernet {
    /// Who it is sent to.
    pub destination: [u8; 6],
    /// Who sent it.
    pub source: [u8; 6],
    /// What follows; a tag's TPID where the frame is tagged.
    pub ethertype: be::U16,
}

/// What follows a TPID (IEEE 802.1Q, 9.6).
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Tag {
    /// Priority, drop eligibility and VLAN identifier.
    pub control: be::U16,
    /// What follows.
    pub ethertype: be::U16,
}

impl Tag {
    /// The VLAN identifier; 0 for a tag that carries a priority alone.
    #[inline(always)]
    pub const fn vlan(&self) -> u16 {
        self.control.get() & 0x0fff
    }
}

/// An ARP packet for IPv4 over Ethernet (RFC 826).
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Arp {
    /// Hardware type, protocol type and the lengths of both addresses.
    pub kind: [u8; 6],
    /// Request or reply.
    pub operation: be::U16,
    /// The sender's link-layer address.
    pub sender_mac: [u8; 6],
    /// The sender's IPv4 address.
    pub sender: [u8; 4],
    /// The target's link-layer address.
    pub target_mac: [u8; 6],
    /// The target's IPv4 address.
    pub target: [u8; 4],
}

impl Arp {
    /// [`Arp::kind`] of IPv4 over Ethernet.
    pub const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
}

/// The IPv4 header without options (RFC 791, 3.1).
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv4 {
    version_ihl: u8,
    tos: u8,
    /// Header and payload, in bytes.
    pub total_length: be::U16,
    id: be::U16,
    flags_offset: be::U16,
    ttl: u8,
    /// The transport protocol.
    pub protocol: u8,
    checksum: be::U16,
    /// Who sent it.
    pub source: [u8; 4],
    /// Who it is sent to.
    pub destination: [u8; 4],
}

impl Ipv4 {
    /// The version field.
    #[inline(always)]
    pub const fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// The header's length in bytes, 0 to 60; less than 20 is malformed.
    #[inline(always)]
    pub const fn header_length(&self) -> usize {
        (self.version_ihl & 0x0f) as usize * 4
    }

    /// Which part of a packet this is.
    #[inline(always)]
    pub const fn fragment(&self) -> Fragment {
        let field = self.flags_offset.get();
        Fragment::new(field & 0x1fff, field & 0x2000 != 0)
    }
}

/// The IPv6 header (RFC 8200, 3).
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv6 {
    version_class_flow: be::U32,
    /// What follows this header, in bytes.
    pub payload_length: be::U16,
    /// What the next header is.
    pub next_header: u8,
    hop_limit: u8,
    /// Who sent it.
    pub source: [u8; 16],
    /// Who it is sent to.
    pub destination: [u8; 16],
}

impl Ipv6 {
    /// The version field.
    #[inline(always)]
    pub const fn version(&self) -> u8 {
        (self.version_class_flow.get() >> 28) as u8
    }
}

/// The beginning of an IPv6 extension header that carries its own length (RFC 8200, 4.2).
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Extension {
    /// What the next header is.
    pub next_header: u8,
    length: u8,
}

impl Extension {
    /// The extension header's length in bytes, 8 to 2048.
    #[inline(always)]
    pub const fn length(&self) -> usize {
        (self.length as usize + 1) * 8
    }
}

/// The IPv6 fragment header (RFC 8200, 4.5).
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FragmentHeader {
    /// What the next header is.
    pub next_header: u8,
    reserved: u8,
    offset_more: be::U16,
    id: be::U32,
}

impl FragmentHeader {
    /// Which part of a packet this is; one that holds all of it counts as [`Fragment::Whole`].
    #[inline(always)]
    pub const fn fragment(&self) -> Fragment {
        let field = self.offset_more.get();
        Fragment::new(field >> 3, field & 1 != 0)
    }
}

/// Which part of a packet an IP packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// All of it.
    Whole,
    /// The first part: it holds the transport header.
    First,
    /// A later part: its ports are not to be seen.
    Later,
}

impl Fragment {
    #[inline(always)]
    const fn new(offset: u16, more: bool) -> Self {
        match (offset, more) {
            (0, false) => Self::Whole,
            (0, true) => Self::First,
            _ => Self::Later,
        }
    }
}

/// The first four bytes of a TCP header, all that an ICMP error need quote of the ports.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ports {
    /// The sender's.
    pub source: be::U16,
    /// The receiver's.
    pub destination: be::U16,
}

/// The TCP header without options (RFC 9293, 3.1).
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Tcp {
    /// Both ports.
    pub ports: Ports,
    sequence: be::U32,
    acknowledgment: be::U32,
    offset_reserved: u8,
    flags: u8,
    window: be::U16,
    checksum: be::U16,
    urgent: be::U16,
}

impl Tcp {
    /// The header's length in bytes, 0 to 60; less than 20 is malformed.
    #[inline(always)]
    pub const fn header_length(&self) -> usize {
        (self.offset_reserved >> 4) as usize * 4
    }

    /// Whether SYN and ACK are set.
    #[inline(always)]
    pub const fn is_syn_ack(&self) -> bool {
        self.flags & 0x12 == 0x12
    }

    /// Whether RST is set.
    #[inline(always)]
    pub const fn is_reset(&self) -> bool {
        self.flags & 0x04 != 0
    }
}

/// The fixed part of an ICMP or ICMPv6 message; in an error the quoted packet follows.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Icmp {
    /// The message's type.
    pub kind: u8,
    /// What it means within its type.
    pub code: u8,
    checksum: be::U16,
    rest: [u8; 4],
}

impl Icmp {
    /// Whether it is an IPv4 error that ends or shrinks a flow: destination unreachable, time
    /// exceeded or parameter problem (RFC 1122, 3.2.2). Source quench is deprecated (RFC 6633), and
    /// redirects are the kernel's.
    #[inline(always)]
    pub const fn is_v4_error(&self) -> bool {
        matches!(self.kind, 3 | 11 | 12)
    }

    /// Whether it is an ICMPv6 error of a known type (RFC 4443, 3).
    #[inline(always)]
    pub const fn is_v6_error(&self) -> bool {
        matches!(self.kind, 1..=4)
    }

    /// Whether it is a neighbour solicitation or advertisement (RFC 4861, 4.3 and 4.4); the target
    /// address follows.
    #[inline(always)]
    pub const fn is_neighbour(&self) -> bool {
        matches!(self.kind, 135 | 136)
    }
}

/// Ethertype of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// Ethertype of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// Ethertype of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// TPID of a customer VLAN tag.
pub const TPID_CUSTOMER: u16 = 0x8100;
/// TPID of a service VLAN tag.
pub const TPID_SERVICE: u16 = 0x88a8;

/// Protocol number of IPv6 hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of the IPv6 routing header.
pub const ROUTING: u8 = 43;
/// Protocol number of the IPv6 fragment header.
pub const FRAGMENT: u8 = 44;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;
/// Protocol number of IPv6 destination options.
pub const DESTINATION_OPTIONS: u8 = 60;
