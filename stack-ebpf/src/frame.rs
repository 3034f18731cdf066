//! Views over the headers of a received frame, bounds-checked one read at a time.
//!
//! Owns the layouts that the program looks at; takes no decision.
//!
//! A frame begins at an even address, and so does every header in it: the views are of halfwords. The
//! BPF target reads anything of a smaller alignment byte by byte.

use core::mem::{align_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute};

use crate::contract::AddressKey;

/// A halfword in network byte order.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Be16(u16);

impl Be16 {
    /// Its value.
    #[inline(always)]
    pub const fn get(self) -> u16 {
        u16::from_be(self.0)
    }
}

/// A link-layer address.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Mac([u16; 3]);

/// The link-layer address that a frame is sent to, in words: two are compared sooner than three halves. The
/// second has two octets.
#[derive(Clone, Copy)]
pub struct LinkAddress([u32; 2]);

impl LinkAddress {
    /// The address of these octets.
    #[inline(always)]
    pub const fn new([a, b, c, d, e, f]: [u8; 6]) -> Self {
        Self([u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, 0, 0])])
    }

    /// The frame's; `None` where it ends before its sender's does.
    #[inline(always)]
    pub fn of<F: Frame + ?Sized>(frame: &F) -> Option<Self> {
        let [first, second, _] = frame.words(0)?;
        Some(Self::of_words([first, second]))
    }

    /// The address that begins with these words, whatever follows it there.
    #[inline(always)]
    pub(crate) const fn of_words([first, second]: [u32; 2]) -> Self {
        Self([first, second & u32::from_ne_bytes([0xff, 0xff, 0, 0])])
    }

    /// Whether both are the same.
    #[inline(always)]
    pub const fn is(self, other: Self) -> bool {
        let ([a, b], [c, d]) = (self.0, other.0);
        (a ^ c) | (b ^ d) == 0
    }

    /// Whether the group bit is set: broadcast and multicast.
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        self.0[0] & u32::from_ne_bytes([1, 0, 0, 0]) != 0
    }
}

/// An IPv4 address.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct V4([u16; 2]);

impl V4 {
    /// Its four octets.
    #[inline(always)]
    pub fn octets(self) -> [u8; 4] {
        transmute!(self)
    }

    /// The address as a key, as `contract::mapped` makes it, though by words.
    #[inline(always)]
    pub fn mapped(self) -> AddressKey {
        transmute!([0, word([0, u16::MAX, self.0[0], self.0[1]])])
    }
}

/// An IPv6 address.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct V6([u16; 8]);

impl V6 {
    /// The address as a key.
    #[inline(always)]
    pub fn key(self) -> AddressKey {
        let [a, b, c, d, e, f, g, h] = self.0;
        transmute!([word([a, b, c, d]), word([e, f, g, h])])
    }
}

/// Four halfwords as they lie in memory, in one word; by arithmetic, which the compiler keeps in
/// registers, where a union of bytes would go by the stack.
#[inline(always)]
const fn word([a, b, c, d]: [u16; 4]) -> u64 {
    let [a, b, c, d] = [a as u64, b as u64, c as u64, d as u64];
    match cfg!(target_endian = "little") {
        true => a | b << 16 | c << 32 | d << 48,
        false => a << 48 | b << 32 | c << 16 | d,
    }
}

/// A received frame, from its Ethernet header on.
pub trait Frame {
    /// The header at `offset` bytes from the frame's start; `None` where the frame ends before it.
    fn read<T: FromBytes>(&self, offset: usize) -> Option<T>;

    /// So many words from `offset` on, as they lie in memory, of which a frame's halves alone are
    /// aligned; `None` where the frame ends before.
    #[inline(always)]
    fn words<const N: usize>(&self, offset: usize) -> Option<[u32; N]> {
        let halves: [[u16; 2]; N] = self.read(offset)?;
        Some(halves.map(|halves| transmute!(halves)))
    }

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
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ethernet {
    /// Who it is sent to.
    pub destination: Mac,
    /// Who sent it.
    pub source: Mac,
    /// What follows; a tag's TPID where the frame is tagged.
    pub ethertype: Be16,
}

/// What follows a TPID (IEEE 802.1Q, 9.6).
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Tag {
    /// Priority, drop eligibility and VLAN identifier.
    pub control: Be16,
    /// What follows.
    pub ethertype: Be16,
}

impl Tag {
    /// The VLAN identifier; 0 for a tag that carries a priority alone.
    #[inline(always)]
    pub const fn vlan(&self) -> u16 {
        self.control.get() & 0x0fff
    }
}

/// An ARP packet for IPv4 over Ethernet (RFC 826).
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Arp {
    /// Hardware type, protocol type and the lengths of both addresses.
    pub kind: [Be16; 3],
    /// Request or reply.
    pub operation: Be16,
    /// The sender's link-layer address.
    pub sender_mac: Mac,
    /// The sender's IPv4 address.
    pub sender: V4,
    /// The target's link-layer address.
    pub target_mac: Mac,
    /// The target's IPv4 address.
    pub target: V4,
}

impl Arp {
    /// [`Arp::kind`] of IPv4 over Ethernet.
    pub const ETHERNET_IPV4: [Be16; 3] =
        [Be16(1_u16.to_be()), Be16(0x0800_u16.to_be()), Be16(0x0604_u16.to_be())];
}

/// The IPv4 header without options (RFC 791, 3.1).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ipv4 {
    version_ihl: u8,
    tos: u8,
    /// Header and payload, in bytes.
    pub total_length: Be16,
    id: Be16,
    flags_offset: Be16,
    ttl: u8,
    /// The transport protocol.
    pub protocol: u8,
    checksum: Be16,
    /// Who sent it.
    pub source: V4,
    /// Who it is sent to.
    pub destination: V4,
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

    /// Whether the checksum of the header is right, where it has no options.
    #[inline(always)]
    pub fn is_sound(&self) -> bool {
        let halves: [u16; 10] = transmute!(*self);
        let mut sum = 0;
        for half in halves {
            sum += half as u32;
        }
        // Twice: the first time may carry.
        let sum = (sum >> 16) + (sum & 0xffff);
        (sum >> 16) + (sum & 0xffff) == 0xffff
    }

    /// Which part of a packet this is.
    #[inline(always)]
    pub const fn fragment(&self) -> Fragment {
        Fragment::of_ipv4(self.flags_offset.get())
    }
}

/// The IPv6 header (RFC 8200, 3).
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ipv6 {
    version_class: Be16,
    flow: Be16,
    /// What follows this header, in bytes.
    pub payload_length: Be16,
    /// What the next header is.
    pub next_header: u8,
    hop_limit: u8,
    /// Who sent it.
    pub source: V6,
    /// Who it is sent to.
    pub destination: V6,
}

impl Ipv6 {
    /// The version field.
    #[inline(always)]
    pub const fn version(&self) -> u8 {
        (self.version_class.get() >> 12) as u8
    }
}

/// The beginning of an IPv6 extension header that carries its own length (RFC 8200, 4.2).
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
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
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FragmentHeader {
    /// What the next header is.
    pub next_header: u8,
    reserved: u8,
    offset_more: Be16,
    id: [Be16; 2],
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
    /// By the flags and the offset of an IPv4 header.
    #[inline(always)]
    pub const fn of_ipv4(field: u16) -> Self {
        Self::new(field & 0x1fff, field & 0x2000 != 0)
    }

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
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ports {
    /// The sender's.
    pub source: Be16,
    /// The receiver's.
    pub destination: Be16,
}

/// The TCP header without options (RFC 9293, 3.1).
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Tcp {
    /// Both ports.
    pub ports: Ports,
    sequence: [Be16; 2],
    acknowledgment: [Be16; 2],
    offset_reserved: u8,
    flags: u8,
    window: Be16,
    checksum: Be16,
    urgent: Be16,
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

    /// FIN, SYN, RST, PSH, ACK and URG, from the lowest bit on.
    #[inline(always)]
    pub const fn flags(&self) -> u8 {
        self.flags & 0x3f
    }

    /// Whether RST is set.
    #[inline(always)]
    pub const fn is_reset(&self) -> bool {
        self.flags & 0x04 != 0
    }
}

/// The fixed part of an ICMP or ICMPv6 message; in an error the quoted packet follows.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Icmp {
    /// The message's type.
    pub kind: u8,
    /// What it means within its type.
    pub code: u8,
    checksum: Be16,
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

const _: () = assert!(size_of::<Ethernet>() == 14 && align_of::<Ethernet>() == 2);
const _: () = assert!(size_of::<Arp>() == 28 && size_of::<Ipv4>() == 20 && size_of::<Ipv6>() == 40);
const _: () = assert!(size_of::<FragmentHeader>() == 8 && size_of::<Icmp>() == 8);
const _: () = assert!(size_of::<Tcp>() == 20 && align_of::<Tcp>() == 2);
