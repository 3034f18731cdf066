//! Templates of headers: a case names what is special and takes the rest by struct update.

use std::vec;
use std::vec::Vec;

use super::{HTTP, MAC, PEER, PEER6, SHARED, SHARED6};

/// An Ethernet header with any number of tags.
pub(super) struct Ethernet {
    pub(super) destination: [u8; 6],
    /// TPID and tag control of each tag, the outer one first.
    pub(super) tags: Vec<(u16, u16)>,
    pub(super) ethertype: u16,
    pub(super) payload: Vec<u8>,
}

impl Ethernet {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::from(self.destination);
        bytes.extend([2, 0, 0, 0, 0, 2]);
        for (tpid, control) in &self.tags {
            bytes.extend(tpid.to_be_bytes());
            bytes.extend(control.to_be_bytes());
        }
        bytes.extend(self.ethertype.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }
}

/// A SYN for the HTTP listener.
impl Default for Ethernet {
    fn default() -> Self {
        Self {
            destination: MAC,
            tags: Vec::new(),
            ethertype: 0x0800,
            payload: Ipv4::default().bytes(),
        }
    }
}

/// An IPv4 header with its payload.
pub(super) struct Ipv4 {
    pub(super) version: u8,
    pub(super) source: [u8; 4],
    pub(super) destination: [u8; 4],
    pub(super) protocol: u8,
    /// The header's length in words; options are NOPs.
    pub(super) ihl: u8,
    pub(super) flags_offset: u16,
    /// Added to the total length, to make it lie.
    pub(super) lie: i32,
    /// Added to the checksum.
    pub(super) damage: u16,
    pub(super) payload: Vec<u8>,
}

impl Ipv4 {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let options = usize::from(self.ihl).saturating_sub(5) * 4;
        let total = i32::try_from(20 + options + self.payload.len()).unwrap() + self.lie;
        let mut bytes = vec![self.version << 4 | self.ihl, 0];
        bytes.extend(u16::try_from(total).unwrap().to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend(self.flags_offset.to_be_bytes());
        bytes.extend([64, self.protocol, 0, 0]);
        bytes.extend(self.source);
        bytes.extend(self.destination);
        bytes.extend(vec![1; options]);
        let sum = checksum(&bytes).wrapping_add(self.damage);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// In an untagged frame for the interface.
    pub(super) fn frame(&self) -> Vec<u8> {
        Ethernet { payload: self.bytes(), ..Ethernet::default() }.bytes()
    }
}

/// A SYN for the HTTP listener.
impl Default for Ipv4 {
    fn default() -> Self {
        Self {
            version: 4,
            source: PEER,
            destination: SHARED,
            protocol: 6,
            ihl: 5,
            flags_offset: 0x4000,
            lie: 0,
            damage: 0,
            payload: Tcp::default().bytes(),
        }
    }
}

/// An IPv6 header with its payload.
pub(super) struct Ipv6 {
    pub(super) version: u8,
    pub(super) source: [u8; 16],
    pub(super) destination: [u8; 16],
    pub(super) next_header: u8,
    /// Added to the payload length, to make it lie.
    pub(super) lie: i32,
    pub(super) payload: Vec<u8>,
}

impl Ipv6 {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let length = i32::try_from(self.payload.len()).unwrap() + self.lie;
        let mut bytes = vec![self.version << 4, 0, 0, 0];
        bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        bytes.extend([self.next_header, 64]);
        bytes.extend(self.source);
        bytes.extend(self.destination);
        bytes.extend(&self.payload);
        bytes
    }

    /// In an untagged frame for the interface.
    pub(super) fn frame(&self) -> Vec<u8> {
        Ethernet { ethertype: 0x86dd, payload: self.bytes(), ..Ethernet::default() }.bytes()
    }
}

/// A SYN for the HTTP listener.
impl Default for Ipv6 {
    fn default() -> Self {
        Self {
            version: 6,
            source: PEER6,
            destination: SHARED6,
            next_header: 6,
            lie: 0,
            payload: Tcp::default().bytes(),
        }
    }
}

/// A TCP segment.
pub(super) struct Tcp {
    pub(super) source: u16,
    pub(super) destination: u16,
    /// The data offset in words.
    pub(super) offset: u8,
    pub(super) flags: u8,
    /// Bytes behind the fixed header.
    pub(super) rest: usize,
}

impl Tcp {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::from(self.source.to_be_bytes());
        bytes.extend(self.destination.to_be_bytes());
        bytes.extend([0; 8]);
        bytes.extend([self.offset << 4, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        bytes.extend(vec![1; self.rest]);
        bytes
    }
}

/// A SYN for the HTTP listener with four bytes of options.
impl Default for Tcp {
    fn default() -> Self {
        Self { source: 40_000, destination: HTTP, offset: 6, flags: 2, rest: 4 }
    }
}

/// A SYN for `port` of an IPv4 address, in a frame for the interface.
pub(super) fn syn(destination: [u8; 4], port: u16) -> Vec<u8> {
    Ipv4 { destination, payload: to_port(port), ..Ipv4::default() }.frame()
}

/// A SYN for `port`, from its TCP header on.
pub(super) fn to_port(port: u16) -> Vec<u8> {
    Tcp { destination: port, ..Tcp::default() }.bytes()
}

/// A segment of ours from `port`, as an error quotes it.
pub(super) fn from_port(port: u16) -> Vec<u8> {
    Tcp { source: port, destination: 40_000, ..Tcp::default() }.bytes()
}

/// An ICMP or ICMPv6 message of `kind` with `body` behind its eight fixed bytes.
pub(super) fn icmp(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 0, 0, 0], body].concat()
}

/// The checksum of octets of an even number (RFC 1071); zero over what holds its own.
fn checksum(octets: &[u8]) -> u16 {
    let pairs = octets.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = pairs.sum();
    let sum = (sum >> 16) + (sum & 0xffff);
    !(((sum >> 16) + sum) as u16)
}
